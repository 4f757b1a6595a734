//! Connections to services.

use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io};

use rustls::CertificateError;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use strait_pki::UnknownAuthority;
use strait_types::Report;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::postgres;
use super::reach::Reach;
use super::trust::{Offered, TlsSource};
use crate::link::control::{Unreached, shown};
use crate::message::{ConnectError, Failure};
use crate::services::StartTls;

/// Addresses of one host that are tried; more would only eat the time.
const ADDRESSES_MAX: usize = 16;
/// When a service's machine that says nothing is asked whether it is there, and how often then:
/// nothing else limits the silence of events.
const ALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10));

/// A connection, with TLS or without.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

pub(super) type Io = Box<dyn Transport>;

/// Where a service listens.
pub(super) enum Place {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How a service is reached.
pub(super) struct Dialer {
    pub(super) service: String,
    pub(super) place: Place,
    pub(super) tls: Option<TlsSource>,
    /// How TLS is asked for, if it does not begin at once.
    pub(super) starttls: Option<StartTls>,
    pub(super) reach: Reach,
}

impl Dialer {
    /// Connects. Whether the other side chose HTTP/2 comes with it.
    ///
    /// # Errors
    /// What the client is told; the rest is in this machine's log.
    pub(super) async fn dial(
        &self,
        offered: Offered,
        limit: Duration,
    ) -> Result<(Io, bool), Failure> {
        let done = match tokio::time::timeout(limit, self.connect(offered)).await {
            Ok(done) => done,
            Err(_) => {
                tracing::warn!(service = self.service, place = %self.place, "no connection in time");
                Err(Failure::ConnectTimeout(limit))
            }
        };
        self.reach.saw(done.as_ref().err().map(Unreached::of));
        done
    }

    async fn connect(&self, offered: Offered) -> Result<(Io, bool), Failure> {
        let io: Io = match &self.place {
            Place::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                Box::new(stream.map_err(|error| self.failed(&error))?)
            }
            Place::Tcp { host, port } => {
                let mut stream = self.tcp(host, *port).await?;
                let Some(tls) = &self.tls else { return Ok((Box::new(stream), false)) };
                if let Some(StartTls::Postgres) = self.starttls {
                    self.ask_for_tls(&mut stream).await?;
                }
                return self.secure(tls, host, stream, offered).await;
            }
        };
        Ok((io, false))
    }

    async fn tcp(&self, host: &str, port: u16) -> Result<TcpStream, Failure> {
        let found = tokio::net::lookup_host((host, port)).await.map_err(|error| {
            let err = &error as &dyn std::error::Error;
            tracing::warn!(service = self.service, place = %self.place, err, "name not resolved");
            Failure::ConnectFailed(ConnectError::NameUnknown)
        })?;
        let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in found.take(ADDRESSES_MAX) {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Best effort: without them a request is only slower, and one whose service
                    // is gone without a word waits longer.
                    drop(stream.set_nodelay(true));
                    drop(SockRef::from(&stream).set_tcp_keepalive(&ALIVE));
                    return Ok(stream);
                }
                Err(error) => failed = error,
            }
        }
        Err(self.failed(&failed))
    }

    async fn secure(
        &self,
        tls: &TlsSource,
        host: &str,
        stream: TcpStream,
        offered: Offered,
    ) -> Result<(Io, bool), Failure> {
        let config = tls.config(offered).await.map_err(|error| {
            tracing::error!(service = self.service, err = error, "TLS cannot be set up");
            Failure::Internal
        })?;
        let name = tls.server_name().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(|_| Failure::Internal)?;
        let secured = TlsConnector::from(config).connect(name, stream).await;
        let secured = secured.map_err(|error| {
            let err = Report(&error).to_string();
            tracing::warn!(service = self.service, place = %self.place, err, "TLS failed");
            Failure::UpstreamTls { why: why(&error, tls.has_own_authorities()) }
        })?;
        let h2 = secured.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Box::new(secured), h2))
    }

    async fn ask_for_tls(&self, stream: &mut TcpStream) -> Result<(), Failure> {
        let answered = postgres::ask_for_tls(stream).await;
        if answered.map_err(|error| self.failed(&error))? {
            return Ok(());
        }
        tracing::warn!(service = self.service, place = %self.place, "the server takes no TLS");
        Err(Failure::UpstreamTls { why: "was not reached: the server takes no TLS".to_owned() })
    }

    fn failed(&self, error: &io::Error) -> Failure {
        let err = error as &dyn std::error::Error;
        tracing::warn!(service = self.service, place = %self.place, err, "connection failed");
        Failure::ConnectFailed(match error.kind() {
            io::ErrorKind::ConnectionRefused => ConnectError::Refused,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                ConnectError::Unreachable
            }
            _ => ConnectError::Failed,
        })
    }
}

/// What is wrong with a certificate, without any name of the private side but of who signed it:
/// that tells which authority is missing.
fn why(error: &io::Error, own: bool) -> String {
    let found = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(unknown) = found.and_then(UnknownAuthority::of) {
        let by = match own {
            true => "tls.caFile",
            false => "an authority that the agent's machine trusts; see tls.caFile",
        };
        return format!("is not signed by {by} (issuer: {})", shown(&unknown.issuer));
    }
    let text = match found {
        Some(rustls::Error::InvalidCertificate(reason)) => match reason {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "is not valid yet"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "is for another name; see tls.serverName"
            }
            CertificateError::Revoked => "is revoked",
            _ => "is not acceptable",
        },
        Some(rustls::Error::AlertReceived(_)) => "was not reached: it refused the TLS handshake",
        _ => "was not reached: the TLS handshake failed",
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_as_the_services_file_has_it() {
        let tcp = |host: &str| Place::Tcp { host: host.into(), port: 5432 };
        for (place, shown) in [
            (tcp("orders-db.prod.svc"), "orders-db.prod.svc:5432"),
            (tcp("127.0.0.1"), "127.0.0.1:5432"),
            (tcp("::1"), "[::1]:5432"),
            (Place::Unix("/run/wiki.sock".into()), "unix:/run/wiki.sock"),
        ] {
            assert_eq!(place.to_string(), shown);
        }
    }
}
