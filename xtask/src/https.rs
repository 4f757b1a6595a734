//! The little of HTTP that development commands need: one GET, and connections to measure with.
//!
//! Bounded: [`BODY_MAX_BYTES`], [`REDIRECTS_MAX`], [`GET_TIME_MAX`]. No proxy is used.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The largest body that is taken.
const BODY_MAX_BYTES: usize = 256 << 20;

/// How often an answer may send elsewhere.
const REDIRECTS_MAX: usize = 5;

/// Time for a GET, body and redirects included.
const GET_TIME_MAX: Duration = Duration::from_secs(300);

/// A connection's two halves: what sends requests, and what must be driven meanwhile.
pub(crate) type Halves = (SendRequest<Full<Bytes>>, Driver);

/// The half that moves bytes.
pub(crate) type Driver = Connection<TokioIo<Box<dyn Stream>>, Full<Bytes>>;

/// What HTTP reads from and writes to, TLS or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Gets a body, with the certificate authorities that this machine trusts.
///
/// # Errors
/// No way to the server, an answer other than 200, or a limit of this module.
pub(crate) fn get(url: &str) -> Result<Bytes> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let fetch = async {
        tokio::time::timeout(GET_TIME_MAX, follow(url))
            .await
            .unwrap_or_else(|_| Err(anyhow!("no answer within {} s", GET_TIME_MAX.as_secs())))
    };
    runtime.block_on(fetch).with_context(|| format!("cannot get {url}"))
}

async fn follow(url: &str) -> Result<Bytes> {
    let tls = tls(system_roots()?, None)?;
    let mut uri: Uri = url.parse()?;
    for _ in 0..=REDIRECTS_MAX {
        let response = exchange(&uri, tls.clone()).await?;
        match response.status() {
            StatusCode::OK => return Ok(response.into_body()),
            status if status.is_redirection() => uri = location(&uri, response.headers())?,
            status => bail!("the server answered {status}"),
        }
    }
    bail!("more than {REDIRECTS_MAX} redirects")
}

/// Sends one GET on a connection of its own.
async fn exchange(uri: &Uri, tls: Arc<ClientConfig>) -> Result<Response<Bytes>> {
    let authority = uri.authority().context("the address has no host")?;
    let secure = uri.scheme_str() != Some("http");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let (mut sender, driver) = connect(authority.host(), port, secure.then_some(tls)).await?;
    let request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, authority.as_str())
        .header(header::USER_AGENT, "strait-xtask")
        .body(Full::default())?;
    drive(driver, answer(&mut sender, request)).await
}

/// Sends a request and reads the whole answer.
///
/// # Errors
/// The connection breaks, or the body is larger than [`BODY_MAX_BYTES`].
pub(crate) async fn answer(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>> {
    sender.ready().await?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body =
        Limited::new(body, BODY_MAX_BYTES).collect().await.map_err(|error| anyhow!(error))?;
    Ok(Response::from_parts(head, body.to_bytes()))
}

/// Moves a connection's bytes while something uses it, in one task.
///
/// # Errors
/// What the user of the connection says, or why the connection ended under it.
pub(crate) async fn drive<T>(driver: Driver, user: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::pin!(driver, user);
    tokio::select! {
        biased;
        result = &mut user => result,
        ended = &mut driver => {
            ended?;
            // The connection is closed: its user has an answer, or an error, by now.
            user.await
        }
    }
}

/// Where a redirect points: an address, or a path on the same server.
fn location(from: &Uri, headers: &HeaderMap) -> Result<Uri> {
    let location = headers.get(header::LOCATION).context("a redirect without a location")?;
    let to: Uri = location.to_str()?.parse()?;
    if to.authority().is_some() {
        return Ok(to);
    }
    let mut parts = to.into_parts();
    parts.scheme = from.scheme().cloned();
    parts.authority = from.authority().cloned();
    Ok(Uri::from_parts(parts)?)
}

/// Opens a connection; without a TLS configuration, in the clear.
///
/// # Errors
/// The server cannot be reached, or is not whom it should be.
pub(crate) async fn connect(
    host: &str,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Halves> {
    Ok(http1::handshake(TokioIo::new(open(host, port, tls).await?)).await?)
}

/// Opens a connection to use without an HTTP library.
///
/// # Errors
/// As for [`connect`].
pub(crate) async fn open(
    host: &str,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Box<dyn Stream>> {
    let tcp = TcpStream::connect((host, port)).await?;
    tcp.set_nodelay(true)?;
    Ok(match tls {
        Some(tls) => {
            let name = ServerName::try_from(host.to_owned())?;
            Box::new(TlsConnector::from(tls).connect(name, tcp).await?)
        }
        None => Box::new(tcp),
    })
}

/// A TLS configuration that trusts these authorities and shows this certificate.
///
/// # Errors
/// Key and certificate do not fit.
pub(crate) fn tls(
    roots: RootCertStore,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(Arc::new(match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    }))
}

fn system_roots() -> Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        bail!("this machine trusts no certificate authority: {:?}", found.errors);
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A server that gives these answers, one a connection; its address.
    fn server(answers: &'static [&'static str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let _ = lines
                    .take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty()))
                    .count();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        format!("http://{address}")
    }

    #[test]
    fn gets_a_body_where_it_is_sent_to() {
        let url = server(&[
            "HTTP/1.1 302 Found\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody",
        ]);
        assert_eq!(get(&url).unwrap(), "body");
    }

    #[test]
    fn says_what_the_server_answered() {
        let url = server(&["HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"]);
        let error = format!("{:#}", get(&url).unwrap_err());
        assert_eq!(error, format!("cannot get {url}: the server answered 404 Not Found"));
    }

    #[test]
    fn does_not_take_half_a_body_for_a_whole_one() {
        let url = server(&["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"]);
        assert!(get(&url).is_err());
    }

    #[test]
    fn follows_a_redirect_to_an_address_or_a_path() {
        let from: Uri = "https://a.example:444/x?y".parse().unwrap();
        for (to, wanted) in
            [("/z?q", "https://a.example:444/z?q"), ("https://b.example/z", "https://b.example/z")]
        {
            let headers = HeaderMap::from_iter([(header::LOCATION, to.parse().unwrap())]);
            assert_eq!(location(&from, &headers).unwrap().to_string(), wanted);
        }
        assert!(location(&from, &HeaderMap::new()).is_err());
    }
}
