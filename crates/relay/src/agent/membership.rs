//! What an agent holds once it has joined, in one file.

use std::path::Path;

use jiff::Timestamp;
use strait_machinery::json::{Value, parse};
use strait_machinery::object;
use strait_pki::{ClientIdentity, PkiError, TrustBundle};
use strait_runtime::fs::{self, FsError};
use strait_types::{ClusterName, HubId, Redacted};

/// Largest membership file, bytes.
const FILE_MAX: usize = 256 << 10;

/// Most addresses of a hub.
const ADDRESSES_MAX: usize = 64;

/// An agent's membership in a hub: whom it belongs to, and the key and certificate that prove
/// it. Key and certificate stand in one file, which is replaced as a whole: no crash can leave
/// one without the other.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The hub.
    pub hub: HubId,
    /// The hub's addresses, `host:port`, at least one; tried in this order.
    pub addresses: Vec<String>,
    /// The CA that the hub's certificate must come from, PEM.
    pub ca: String,
    /// The certificate, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: Redacted<String>,
    /// Name of the Agent object.
    pub agent: String,
    /// Logical cluster that holds the Agent object.
    pub cluster: ClusterName,
    /// The path of that workspace, as the hub told it.
    pub workspace: String,
    /// When to ask for the next certificate.
    pub renew_at: Timestamp,
    /// When the certificate ends.
    pub not_after: Timestamp,
}

/// A membership cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// The file.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The file, or a hub's answer, lacks something.
    #[error("{from}: {field} is missing or malformed")]
    Malformed {
        /// Where it was read.
        from: String,
        /// What it lacks.
        field: &'static str,
    },
}

impl Membership {
    /// Reads a file; `None` when there is none.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub fn load(path: &Path) -> Result<Option<Self>, MembershipError> {
        let bytes = match fs::read_capped(path, FILE_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.io().kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let from = path.display().to_string();
        let malformed = |field| MembershipError::Malformed { from: from.clone(), field };
        let value = parse(&bytes).map_err(|_| malformed("JSON"))?;
        Self::from_value(&value).map(Some).map_err(malformed)
    }

    /// Reads what [`to_value`](Self::to_value) made.
    ///
    /// # Errors
    /// The name of the field that is missing or malformed.
    pub fn from_value(value: &Value) -> Result<Self, &'static str> {
        let key = value.str_at(&["key"]).ok_or("key")?.to_owned();
        Self::read(value, Redacted::new(key))
    }

    /// All of it, the key included.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let hubs = self.addresses.iter().map(|address| object! {"addr": address.as_str()});
        object! {
            "hub": self.hub.as_str(),
            "hubs": hubs.collect::<Value>(),
            "ca": self.ca.as_str(),
            "certificate": self.certificate.as_str(),
            "key": self.key.expose().as_str(),
            "agent": self.agent.as_str(),
            "cluster": self.cluster.as_str(),
            "workspace": self.workspace.as_str(),
            "renewAt": self.renew_at.to_string(),
            "notAfter": self.not_after.to_string(),
        }
    }

    /// Writes a file that only its owner reads, durably.
    ///
    /// # Errors
    /// The file cannot be written; the one before is whole then.
    pub fn save(&self, path: &Path) -> Result<(), MembershipError> {
        fs::write_atomic(path, &self.to_value().to_pretty_bytes(), 0o600)?;
        Ok(())
    }

    /// Reads what a hub answered to joining or renewing; the key is the agent's own.
    ///
    /// # Errors
    /// The name of the field that is missing or malformed.
    pub fn granted(answer: &Value, key: Redacted<String>) -> Result<Self, MembershipError> {
        let malformed =
            |field| MembershipError::Malformed { from: "the hub's answer".into(), field };
        Self::read(answer, key).map_err(malformed)
    }

    fn read(value: &Value, key: Redacted<String>) -> Result<Self, &'static str> {
        let text = |field: &'static str| value.str_at(&[field]).map(str::to_owned).ok_or(field);
        let time = |field: &'static str| text(field)?.parse::<Timestamp>().map_err(|_| field);
        let hubs = value.array_at(&["hubs"]).iter().take(ADDRESSES_MAX);
        let addresses: Vec<_> =
            hubs.filter_map(|hub| hub.str_at(&["addr"])).map(str::to_owned).collect();
        let membership = Self {
            hub: text("hub")?.parse().map_err(|_| "hub")?,
            addresses: Some(addresses).filter(|addresses| !addresses.is_empty()).ok_or("hubs")?,
            ca: text("ca")?,
            certificate: text("certificate")?,
            key,
            agent: text("agent")?,
            cluster: ClusterName::new(&text("cluster")?).map_err(|_| "cluster")?,
            workspace: text("workspace")?,
            renew_at: time("renewAt")?,
            not_after: time("notAfter")?,
        };
        membership.identity().map_err(|_| "certificate")?;
        membership.trust().map_err(|_| "ca")?;
        Ok(membership)
    }

    /// The key and certificate, for connections.
    ///
    /// # Errors
    /// One of them is no PEM.
    pub fn identity(&self) -> Result<ClientIdentity, PkiError> {
        ClientIdentity::from_pem(self.certificate.as_bytes(), self.key.expose().as_bytes())
    }

    /// What the hub's certificate must come from.
    ///
    /// # Errors
    /// It is no PEM.
    pub fn trust(&self) -> Result<TrustBundle, PkiError> {
        TrustBundle::from_pem(self.ca.as_bytes())
    }
}
