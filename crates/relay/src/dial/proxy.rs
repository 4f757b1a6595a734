//! The way through an HTTP proxy: `CONNECT` (RFC 9110 §9.3.6), then as if it were not there.

use std::fmt;
use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use percent_encoding::percent_decode_str;
use strait_types::Redacted;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::address::Address;

/// Longest head of an answer, bytes.
const HEAD_MAX: usize = 8 << 10;

/// Longest time for an answer.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A proxy of the operator's.
#[derive(Clone)]
pub struct Proxy {
    pub(super) address: Address,
    /// The value of `Proxy-Authorization`.
    authorization: Option<Redacted<String>>,
}

/// A text is no proxy's URL. The text may hold a password and is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not the URL of a proxy such as http://user:password@proxy.example:3128")]
pub struct InvalidProxy;

/// The proxy does not connect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The file that names it.
    #[error("the proxy's file cannot be used: {0}")]
    File(String),
    /// It cannot be reached.
    #[error("cannot connect to the proxy {proxy}")]
    Unreachable {
        /// Its host and port.
        proxy: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It wants a user and a password, or others.
    #[error("the proxy {proxy} wants a user and a password (407){}", hint(*given))]
    Unauthorized {
        /// Its host and port.
        proxy: String,
        /// Whether it was given some.
        given: bool,
    },
    /// It says no.
    #[error("the proxy {proxy} does not connect to {address}: it answered {status}")]
    Refused {
        /// Its host and port.
        proxy: String,
        /// Where to.
        address: String,
        /// Status of its answer.
        status: u16,
    },
    /// What it answered is none to `CONNECT`.
    #[error("the proxy {proxy} does not speak HTTP as a proxy does")]
    Malformed {
        /// Its host and port.
        proxy: String,
    },
    /// It broke off.
    #[error("the proxy {proxy} broke off")]
    Broken {
        /// Its host and port.
        proxy: String,
        /// How.
        #[source]
        source: io::Error,
    },
}

const fn hint(given: bool) -> &'static str {
    if given { " and takes not those that its URL has" } else { "; its URL has none" }
}

impl std::str::FromStr for Proxy {
    type Err = InvalidProxy;

    /// Reads a URL; without a scheme it is `http`.
    fn from_str(text: &str) -> Result<Self, InvalidProxy> {
        let text = text.trim();
        let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url: Uri = url.parse().map_err(|_| InvalidProxy)?;
        if url.scheme_str() != Some("http")
            || !matches!(url.path(), "" | "/")
            || url.query().is_some()
        {
            return Err(InvalidProxy);
        }
        let authority = url.authority().ok_or(InvalidProxy)?;
        let authorization = authority.as_str().rsplit_once('@').map(|(user, _)| {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            let mut pair: Vec<u8> = percent_decode_str(user).collect();
            pair.push(b':');
            pair.extend(percent_decode_str(password));
            Redacted::new(format!("Basic {}", STANDARD.encode(pair)))
        });
        let port = authority.port_u16().unwrap_or(80);
        let address = format!("{}:{port}", authority.host()).parse().map_err(|_| InvalidProxy)?;
        Ok(Self { address, authorization })
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Asks the proxy, over a connection to it, for one to an address.
    pub(super) async fn connect<T>(&self, stream: &mut T, to: &Address) -> Result<(), ProxyError>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let proxy = self.address.to_string();
        let asked = self.ask(stream, to).await;
        let head = asked.map_err(|source| match source.kind() {
            io::ErrorKind::InvalidData => ProxyError::Malformed { proxy: proxy.clone() },
            _ => ProxyError::Broken { proxy: proxy.clone(), source },
        })?;
        match status(&head) {
            Some(200..=299) => Ok(()),
            Some(407) => {
                Err(ProxyError::Unauthorized { proxy, given: self.authorization.is_some() })
            }
            Some(status) => Err(ProxyError::Refused { proxy, address: to.to_string(), status }),
            None => Err(ProxyError::Malformed { proxy }),
        }
    }

    async fn ask<T>(&self, stream: &mut T, to: &Address) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let authorization = self
            .authorization
            .as_ref()
            .map(|value| Redacted::new(format!("Proxy-Authorization: {}\r\n", value.expose())));
        let authorization = authorization.as_ref().map_or("", |line| line.expose().as_str());
        let request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{authorization}\r\n");
        stream.write_all(Redacted::new(request).expose().as_bytes()).await?;
        stream.flush().await?;
        let mut head = Vec::new();
        loop {
            if stream.take(1_024).read_buf(&mut head).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if head.len() > HEAD_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            match head.windows(4).position(|four| four == b"\r\n\r\n") {
                // A TLS server does not speak first: what follows a positive answer is nobody's.
                Some(end) if end + 4 < head.len() && matches!(status(&head), Some(200..=299)) => {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                Some(_) => return Ok(head),
                None => {}
            }
        }
    }
}

/// The status of an answer of HTTP/1.
fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?;
    let (minor, rest) = rest.split_first()?;
    let digits = rest.strip_prefix(b" ")?.get(..3)?;
    let ends = matches!(rest.get(4), Some(b' ' | b'\r'));
    let is_status = matches!(minor, b'0' | b'1') && digits.iter().all(u8::is_ascii_digit) && ends;
    std::str::from_utf8(digits).ok().filter(|_| is_status)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_proxy_and_perhaps_a_user() {
        let secret = |text: &str| STANDARD.encode(text);
        for (url, expected) in [
            ("http://proxy.example:3128", Some(("proxy.example:3128", None))),
            ("proxy.example:3128\n", Some(("proxy.example:3128", None))),
            ("http://proxy.example/", Some(("proxy.example:80", None))),
            ("http://[::1]:3128", Some(("[::1]:3128", None))),
            ("http://jo:s%40cret@p:1", Some(("p:1", Some(secret("jo:s@cret"))))),
            ("http://jo@p:1", Some(("p:1", Some(secret("jo:"))))),
            ("https://proxy.example:3128", None),
            ("socks5://proxy.example:3128", None),
            ("http://proxy.example/path", None),
            ("http://:1", None),
            ("", None),
        ] {
            let read = url.parse::<Proxy>().ok();
            let found = read.as_ref().map(|proxy| {
                let value = proxy.authorization.as_ref().map(|value| value.expose().clone());
                (proxy.address.to_string(), value)
            });
            let expected = expected.map(|(address, user)| {
                (address.to_owned(), user.map(|user| format!("Basic {user}")))
            });
            assert_eq!(found, expected, "{url}");
            assert!(!format!("{read:?}").contains("cret"), "{read:?}");
        }
    }

    #[tokio::test]
    async fn answers_are_told_apart() {
        let proxy: Proxy = "http://jo:secret@p:1".parse().unwrap();
        let to: Address = "hub.example:443".parse().unwrap();
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(9_000));
        for (answer, expected) in [
            ("HTTP/1.1 200 Connection established\r\n\r\n", ""),
            ("HTTP/1.0 200\r\nVia: x\r\n\r\n", ""),
            ("HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\n\r\nbody", "takes not those"),
            ("HTTP/1.1 403 Forbidden\r\n\r\n", "hub.example:443: it answered 403"),
            ("HTTP/1.1 200 OK\r\n\r\nhello", "does not speak HTTP"),
            ("HTTP/2 200 OK\r\n\r\n", "does not speak HTTP"),
            ("220 smtp.example\r\n\r\n", "does not speak HTTP"),
            (&long, "does not speak HTTP"),
            ("HTTP/1.1 200 OK\r\n", "broke off"),
        ] {
            let (mut near, mut far) = tokio::io::duplex(64 << 10);
            far.write_all(answer.as_bytes()).await.unwrap();
            far.shutdown().await.unwrap();
            let result = proxy.connect(&mut near, &to).await;
            let text = result.err().map_or_else(String::new, |error| error.to_string());
            assert!(text.contains(expected) && text.is_empty() == expected.is_empty(), "{text}");
            assert!(!text.contains("secret"), "{text}");
            drop(near);
            let mut asked = String::new();
            far.read_to_string(&mut asked).await.unwrap();
            let expected = "CONNECT hub.example:443 HTTP/1.1\r\nHost: hub.example:443\r\n\
                Proxy-Authorization: Basic am86c2VjcmV0\r\n\r\n";
            assert_eq!(asked, expected);
        }
    }
}
