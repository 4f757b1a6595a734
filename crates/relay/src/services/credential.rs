//! Credentials for services, out of their files.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use strait_net::fields::Fields;
use strait_types::{Classified, ErrorKind, Redacted};

use super::Credentials;
use super::files::Files;

/// A credential cannot be used. For the agent's log: the text names the file, never its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("credential file {file} {why}")]
pub struct CredentialError {
    file: String,
    why: String,
}

impl Classified for CredentialError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

/// A credential as its files hold it now. It cannot be printed.
#[derive(Clone)]
pub enum Credential {
    /// None is needed.
    None,
    /// A field of every request.
    Field {
        /// Its name.
        name: HeaderName,
        /// Its value.
        value: Redacted<Vec<u8>>,
    },
    /// A certificate of every connection, both in PEM.
    Certificate {
        /// The chain.
        chain: Vec<u8>,
        /// The key.
        key: Redacted<Vec<u8>>,
    },
}

impl Credential {
    /// Reads a credential. Called again as files may have changed: where it fails, the credential
    /// read before goes on being used, and where the result is the same
    /// ([`is_same`](Self::is_same)), nothing happened.
    ///
    /// # Errors
    /// A file that cannot be read, is empty, or holds what no field can.
    pub fn load(credentials: &Credentials, files: &dyn Files) -> Result<Self, CredentialError> {
        let authorization = |scheme: &str, path: &Path| {
            let token = text(path, files)?;
            let value = [scheme.as_bytes(), b" ", token.expose()].concat();
            field(AUTHORIZATION, Redacted::new(value), path)
        };
        match credentials {
            Credentials::None => Ok(Self::None),
            Credentials::Bearer(path) => authorization("Bearer", path),
            Credentials::Token(path) => authorization("Token", path),
            Credentials::Field { name, value: path } => {
                field(name.clone(), text(path, files)?, path)
            }
            Credentials::Basic { user: path, password } => {
                let user = text(path, files)?;
                if user.expose().contains(&b':') {
                    return Err(wrong(path, "holds a colon, which no user name can"));
                }
                let password = text(password, files)?;
                let pair = [user.expose().as_slice(), b":", password.expose()].concat();
                let pair = Redacted::new(pair);
                let value = format!("Basic {}", STANDARD.encode(pair.expose()));
                field(AUTHORIZATION, Redacted::new(value.into_bytes()), path)
            }
            Credentials::ClientCertificate { chain, key } => {
                let whole = |path: &Path| files.read(path).map_err(|why| wrong(path, why));
                Ok(Self::Certificate { chain: whole(chain)?.expose().clone(), key: whole(key)? })
            }
        }
    }

    /// Sets the field, if it is one. Comes after every removal. Where there is a credential of
    /// ours, nothing of the client's stands beside it.
    pub fn add(&self, fields: &mut Fields) {
        if let Self::Field { name, value } = self {
            fields.set_secret(name.as_str(), value.expose());
        }
    }

    /// Whether another one is the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Field { name: a, value: b }, Self::Field { name: c, value: d }) => {
                a == c && b.expose() == d.expose()
            }
            (Self::Certificate { chain: a, key: b }, Self::Certificate { chain: c, key: d }) => {
                a == c && b.expose() == d.expose()
            }
            _ => false,
        }
    }
}

fn wrong(path: &Path, why: impl Into<String>) -> CredentialError {
    CredentialError { file: path.display().to_string(), why: why.into() }
}

/// A file's content without the blanks around it, which editors and secrets bring along.
fn text(path: &Path, files: &dyn Files) -> Result<Redacted<Vec<u8>>, CredentialError> {
    let bytes = files.read(path).map_err(|why| wrong(path, why))?;
    let text = bytes.expose().trim_ascii();
    if text.is_empty() {
        return Err(wrong(path, "is empty"));
    }
    Ok(Redacted::new(text.to_vec()))
}

fn field(
    name: HeaderName,
    value: Redacted<Vec<u8>>,
    path: &Path,
) -> Result<Credential, CredentialError> {
    match HeaderValue::from_bytes(value.expose()) {
        Ok(_) => Ok(Credential::Field { name, value }),
        Err(_) => Err(wrong(path, "holds what no HTTP field can")),
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Field { .. } => "Field([redacted])",
            Self::Certificate { .. } => "Certificate([redacted])",
        })
    }
}
