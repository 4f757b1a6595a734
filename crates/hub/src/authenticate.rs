//! Who is asking: client certificates, read once per connection and judged at every request.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use jiff::Timestamp;
use strait_auth::{User, groups};
use strait_net::Connection;
use strait_pki::{AgentIdentity, PeerCertificate, TrustBundle, VerifyError};
use strait_relay::hub::{Certificate, RENEW_GRACE};
use strait_relay::{AgentSpec, Agents, INSTANCE_EXTRA};
use strait_runtime::Clock;
use strait_types::HubId;

/// Key of a user's extra that names the credential, as Kubernetes has it.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// Nobody proved who is asking. The text is told to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unauthenticated {
    /// The certificate is not believed.
    #[error(transparent)]
    Certificate(#[from] VerifyError),
    /// Credentials other than a certificate.
    #[error("only client certificates are accepted")]
    Credential,
    /// The certificate is believed but its agent is refused.
    #[error("{0}")]
    Agent(&'static str),
}

/// Reads client certificates.
pub(crate) struct Authenticator {
    pub(crate) authorities: TrustBundle,
    pub(crate) hub: HubId,
    pub(crate) agents: Agents,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What a connection's certificate proved, once for the connection.
#[derive(Clone)]
struct Proved(Result<Arc<Peer>, VerifyError>);

struct Peer {
    certificate: PeerCertificate,
    agent: Option<AgentIdentity>,
    user: Arc<User>,
}

impl Authenticator {
    /// The user behind a request: the one of the connection's certificate; without one whoever
    /// the headers prove, and without those nobody in particular.
    pub(crate) fn requester(
        &self,
        connection: &Connection,
        headers: &HeaderMap,
    ) -> Result<Arc<User>, Unauthenticated> {
        // Bearer tokens are not issued, so none proves anything.
        if connection.certificates().is_empty() && headers.contains_key(AUTHORIZATION) {
            return Err(Unauthenticated::Credential);
        }
        self.user(connection)
    }

    /// The user behind a connection. Without a certificate: nobody in particular.
    pub(crate) fn user(&self, connection: &Connection) -> Result<Arc<User>, Unauthenticated> {
        if connection.certificates().is_empty() {
            return Ok(Arc::new(User::anonymous()));
        }
        let peer = self.peer(connection)?;
        if self.clock.now() > peer.certificate.not_after {
            return Err(VerifyError::Expired(peer.certificate.not_after).into());
        }
        self.check_agent(&peer)?;
        Ok(peer.user.clone())
    }

    /// The agent behind a connection, if it is one's, and when its certificate ends; whether it is
    /// honoured is to be asked again and again.
    pub(crate) fn agent(&self, connection: &Connection) -> Option<(AgentIdentity, Timestamp)> {
        let peer = self.peer(connection).ok()?;
        Some((peer.agent.clone()?, peer.certificate.not_after))
    }

    /// What a connection's certificate proves, as of now.
    pub(crate) fn proved(&self, connection: &Connection) -> Result<Certificate, Unauthenticated> {
        let user = self.user(connection)?;
        let peer = self.peer(connection)?;
        let (issued, until) = (peer.certificate.not_before, peer.certificate.not_after);
        Ok(Certificate { user, issued, until })
    }

    /// The agent behind a request to renew: its certificate may have ended lately.
    pub(crate) fn renewing(
        &self,
        connection: &Connection,
    ) -> Result<AgentIdentity, Unauthenticated> {
        let peer = match self.peer(connection) {
            Ok(peer) => peer,
            Err(VerifyError::Expired(end)) => self.lately_expired(connection, end)?,
            Err(error) => return Err(error.into()),
        };
        self.check_agent(&peer)?;
        peer.agent.clone().ok_or(Unauthenticated::Agent("the certificate is not an agent's"))
    }

    fn lately_expired(
        &self,
        connection: &Connection,
        end: Timestamp,
    ) -> Result<Arc<Peer>, VerifyError> {
        if self.clock.now().duration_since(end).unsigned_abs() > RENEW_GRACE {
            return Err(VerifyError::Expired(end));
        }
        let certificate =
            PeerCertificate::verify(connection.certificates(), &self.authorities, end)?;
        Ok(Arc::new(self.read(certificate)?))
    }

    fn peer(&self, connection: &Connection) -> Result<Arc<Peer>, VerifyError> {
        connection
            .cached(|connection| {
                let now = self.clock.now();
                let verified =
                    PeerCertificate::verify(connection.certificates(), &self.authorities, now);
                Proved(verified.and_then(|certificate| self.read(certificate)).map(Arc::new))
            })
            .0
    }

    /// An identity in a URI of ours wins over the subject; a URI of ours that is not this hub's
    /// proves nothing.
    fn read(&self, certificate: PeerCertificate) -> Result<Peer, VerifyError> {
        let claim = certificate.uris.iter().find(|uri| AgentIdentity::is_claimed_by(uri));
        let agent = match claim {
            Some(uri) => {
                let identity: AgentIdentity = uri.parse().map_err(|_| VerifyError::Malformed)?;
                if *identity.hub() != self.hub {
                    return Err(VerifyError::UnknownAuthority);
                }
                Some(identity)
            }
            None => None,
        };
        let credential = format!("X509SHA256={}", certificate.fingerprint);
        let user = match &agent {
            Some(agent) => {
                let mut user = User::authenticated(&agent.user(), &[groups::AGENTS]);
                let instance = vec![agent.instance().to_string()];
                user.extra = BTreeMap::from([
                    (INSTANCE_EXTRA.to_owned(), instance),
                    (CREDENTIAL_ID.to_owned(), vec![credential]),
                ]);
                user
            }
            None => {
                // Agents are agents by their URI alone.
                let groups: Vec<&str> = certificate
                    .groups
                    .iter()
                    .map(String::as_str)
                    .filter(|own| *own != groups::AGENTS)
                    .collect();
                let mut user = User::authenticated(&certificate.user, &groups);
                user.extra = BTreeMap::from([(CREDENTIAL_ID.to_owned(), vec![credential])]);
                user
            }
        };
        Ok(Peer { certificate, agent, user: Arc::new(user) })
    }

    /// Whether the agent's object still honours the certificate.
    fn check_agent(&self, peer: &Peer) -> Result<(), Unauthenticated> {
        let Some(identity) = &peer.agent else {
            return Ok(());
        };
        let Some(object) = self.agents.find(identity.cluster(), identity.name()) else {
            return Err(Unauthenticated::Agent("the agent does not exist any more"));
        };
        let spec = AgentSpec::of(&object);
        let certificate = &peer.certificate;
        match spec.refuses(
            identity.instance().as_str(),
            &certificate.serial,
            certificate.not_before,
        ) {
            Some(why) => Err(Unauthenticated::Agent(why)),
            None => Ok(()),
        }
    }
}
