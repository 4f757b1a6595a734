//! Connections to a target, over the policy.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::CallError;
use super::target::Target;
use crate::egress::{EgressPolicy, is_own};
use crate::resolve::Resolve;

/// Addresses of one host that are tried; more would only eat the time.
const ADDRESSES_MAX: usize = 16;

/// A connection, with TLS or without.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub(crate) type Stream = Box<dyn Io>;

/// Opens connections to what the policy allows.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    pub(crate) policy: EgressPolicy,
    pub(crate) resolver: Arc<dyn Resolve>,
}

impl Dialer {
    /// Connects, and speaks TLS if the target does.
    pub(crate) async fn dial(
        &self,
        target: &Target,
        tls: Option<&TlsConnector>,
    ) -> Result<Stream, CallError> {
        let stream = self.dial_tcp(target).await?;
        let Some((connector, name)) = tls.zip(target.tls_name.clone()) else {
            return Ok(Box::new(stream));
        };
        let secured = connector.connect(name, stream).await;
        Ok(Box::new(secured.map_err(|error| target.connect_failed(error))?))
    }

    /// Resolves once, checks every address, and connects to one of those that were checked.
    async fn dial_tcp(&self, target: &Target) -> Result<TcpStream, CallError> {
        let resolved = self.resolver.resolve(&target.host).await;
        let addresses =
            resolved.map_err(|source| CallError::Resolve { host: target.host.clone(), source })?;
        let addresses = &addresses[..addresses.len().min(ADDRESSES_MAX)];
        for address in addresses {
            let own = is_own(address.to_canonical());
            self.policy.check(&target.host, *address, own)?;
        }
        let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match TcpStream::connect(SocketAddr::new(*address, target.port)).await {
                Ok(stream) => {
                    // Best effort: without it a call is only slower.
                    drop(stream.set_nodelay(true));
                    return Ok(stream);
                }
                Err(error) => failed = error,
            }
        }
        Err(target.connect_failed(failed))
    }
}
