//! Join tokens: `sj1.` and base64url of JSON that says where the hub is, by which key it is
//! recognised, who the agent will be, and a secret that is good for a few uses.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use strait_machinery::json::{Value, parse};
use strait_machinery::object;
use strait_types::{ClusterName, Redacted, is_dns1123_label};

/// What every token begins with; another format gets another one.
const PREFIX: &str = "sj1.";

/// Longest token, characters.
const LENGTH_MAX: usize = 4096;

/// Bytes of the secret.
pub const SECRET_LENGTH: usize = 32;

/// A text is not a join token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a join token (sj1.…): make one with `strait agent token create NAME`")]
pub struct InvalidToken;

/// A join token.
#[derive(Clone)]
pub struct JoinToken {
    /// Addresses of the hub, `host:port`, at least one.
    pub hubs: Vec<String>,
    /// SHA-256 of the hub CA's public key: the agent accepts no other.
    pub ca: [u8; 32],
    /// The logical cluster of the Agent object.
    pub cluster: ClusterName,
    /// The Agent's name.
    pub agent: String,
    /// Which token of the agent's.
    pub id: String,
    /// What proves it.
    pub secret: Redacted<[u8; SECRET_LENGTH]>,
}

impl JoinToken {
    /// What the hub keeps of the secret.
    #[must_use]
    pub fn secret_hash(&self) -> String {
        hex(&Sha256::digest(self.secret.expose()))
    }

    /// The token itself. Whoever has it can join.
    #[must_use]
    pub fn reveal(&self) -> String {
        let value = object! {
            "hubs": self.hubs.iter().collect::<Value>(),
            "ca": hex(&self.ca),
            "cluster": self.cluster.as_str(),
            "agent": &*self.agent,
            "id": &*self.id,
            "secret": hex(self.secret.expose()),
        };
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(value.to_bytes()))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("hubs", &self.hubs)
            .field("cluster", &self.cluster)
            .field("agent", &self.agent)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl FromStr for JoinToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        read(text).ok_or(InvalidToken)
    }
}

fn read(text: &str) -> Option<JoinToken> {
    let encoded = text.trim().strip_prefix(PREFIX).filter(|_| text.len() <= LENGTH_MAX)?;
    let value = parse(&URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()?;
    let text = |key: &str| value.str_at(&[key]);
    let hubs: Vec<String> =
        value.array_at(&["hubs"]).iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let agent = text("agent").filter(|agent| is_dns1123_label(agent))?.to_owned();
    let id = text("id").filter(|id| is_dns1123_label(id))?.to_owned();
    Some(JoinToken {
        ca: unhex(text("ca")?)?,
        cluster: ClusterName::new(text("cluster")?).ok()?,
        agent,
        id,
        secret: Redacted::new(unhex(text("secret")?)?),
        hubs: Some(hubs).filter(|hubs| !hubs.is_empty())?,
    })
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            hubs: vec!["hub.example:6443".into()],
            ca: [7; 32],
            cluster: ClusterName::new("prov").unwrap(),
            agent: "smith".into(),
            id: "abc".into(),
            secret: Redacted::new([9; 32]),
        }
    }

    #[test]
    fn tokens_read_back_and_do_not_print_their_secret() {
        let text = token().reveal();
        let read: JoinToken = format!(" {text}\n").parse().unwrap();
        assert_eq!(read.reveal(), text);
        assert_eq!(read.secret_hash(), token().secret_hash());
        assert!(!format!("{read:?}").contains(&hex(&[9; 32])));
    }

    #[test]
    fn anything_else_is_refused() {
        let text = token().reveal();
        for text in [
            "",
            "sj1.",
            "sj2.e30",
            "sj1.e30",
            &text[..text.len() - 2],
            &text.replace("sj1", "sj9"),
            &format!("sj1.{}", "A".repeat(5000)),
        ] {
            assert!(text.parse::<JoinToken>().is_err(), "{text}");
        }
    }
}
