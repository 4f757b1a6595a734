//! A client of the service: one connection, one request at a time, bytes read and dropped.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::service::{EVENT, piece};
use super::wire::{HEAD_MAX, content_length, head_end, status, unchunked};
use crate::https::{self, Stream};

/// Bytes that a bulk body is read in.
const BULK_BUFFER: usize = 64 << 10;

/// Where a path to the service begins, and what is said there.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Who listens.
    pub(crate) address: SocketAddr,
    /// Whom to trust, where the path has TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// What stands before the service's own paths.
    pub(crate) prefix: String,
    /// Credentials, of which each client shows one in turn; none where none is asked for.
    pub(crate) tokens: Vec<String>,
}

impl Target {
    /// A request of the client with this number.
    pub(crate) fn request(&self, client: usize, method: &str, path: &str, body: u64) -> Vec<u8> {
        let Self { address, prefix, .. } = self;
        let mut head = format!("{method} {prefix}{path} HTTP/1.1\r\nhost: {address}\r\n");
        if !self.tokens.is_empty() {
            let token = &self.tokens[client % self.tokens.len()];
            let _ = write!(head, "authorization: Bearer {token}\r\n");
        }
        if method == "PUT" {
            let _ = write!(head, "content-length: {body}\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

/// An open connection.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there, or not whom the target trusts.
    pub(crate) async fn open(target: &Target) -> Result<Self> {
        let host = target.address.ip().to_string();
        let stream = https::open(&host, target.address.port(), target.tls.clone()).await?;
        Ok(Self { stream, buffer: vec![0; HEAD_MAX] })
    }

    /// Sends a request and reads all of the answer.
    ///
    /// # Errors
    /// The connection breaks, or the answer is not 200 with a length.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<()> {
        let left = self.begin(request).await?;
        self.discard(left).await
    }

    /// Sends a request and reads the head of the answer; how much of the body is still to come.
    ///
    /// # Errors
    /// As for [`exchange`](Self::exchange).
    pub(crate) async fn begin(&mut self, request: &[u8]) -> Result<u64> {
        self.send(request).await?;
        let (end, filled) = self.head().await?;
        let length = content_length(&self.buffer[..end]).context("an answer without a length")?;
        let had = (filled - end) as u64;
        length.checked_sub(had).context("more than was announced")
    }

    /// Downloads: a request whose answer is large.
    ///
    /// # Errors
    /// As for [`exchange`](Self::exchange).
    pub(crate) async fn download(&mut self, request: &[u8]) -> Result<()> {
        let left = self.begin(request).await?;
        self.buffer.resize(BULK_BUFFER, 0);
        self.discard(left).await
    }

    /// Uploads so many bytes after the head of a request, and reads the answer.
    ///
    /// # Errors
    /// As for [`exchange`](Self::exchange).
    pub(crate) async fn upload(&mut self, request: &[u8], bytes: u64) -> Result<()> {
        self.stream.write_all(request).await?;
        let body = vec![b'.'; piece(bytes)];
        let mut left = bytes;
        while left > 0 {
            let piece = piece(left);
            self.stream.write_all(&body[..piece]).await?;
            left -= piece as u64;
        }
        self.exchange(&[]).await
    }

    /// Asks for the stream that stays quiet after its first event, and waits for that.
    ///
    /// # Errors
    /// The connection breaks, or the answer is not 200.
    pub(crate) async fn open_quiet(&mut self, request: &[u8]) -> Result<()> {
        self.send(request).await?;
        let (end, mut filled) = self.head().await?;
        while unchunked(&self.buffer[end..filled]) != EVENT {
            filled += self.read(filled).await?;
        }
        Ok(())
    }

    /// Waits until the other side ends the connection.
    ///
    /// # Errors
    /// The connection breaks.
    pub(crate) async fn ended(&mut self) -> Result<()> {
        while self.stream.read(&mut self.buffer).await? > 0 {}
        Ok(())
    }

    /// Sends bytes of a request, and waits for nothing.
    ///
    /// # Errors
    /// The connection breaks.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// Reads a head with status 200: where it ends, and how much was read.
    async fn head(&mut self) -> Result<(usize, usize)> {
        let mut filled = 0;
        let end = loop {
            filled += self.read(filled).await?;
            if let Some(end) = head_end(&self.buffer[..filled]) {
                break end;
            }
        };
        if status(&self.buffer[..end]) != Some(200) {
            bail!("answered {}", String::from_utf8_lossy(&self.buffer[..filled]).escape_debug());
        }
        Ok((end, filled))
    }

    async fn read(&mut self, filled: usize) -> Result<usize> {
        match self.stream.read(&mut self.buffer[filled..]).await? {
            0 if filled == self.buffer.len() => bail!("a head of more than {HEAD_MAX} bytes"),
            0 => bail!("the connection ended"),
            read => Ok(read),
        }
    }

    async fn discard(&mut self, mut left: u64) -> Result<()> {
        while left > 0 {
            let read = self.read(0).await? as u64;
            left = left.checked_sub(read).context("more than was announced")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::bench::relay::path::target;
    use crate::bench::relay::service::Service;

    #[tokio::test]
    async fn does_all_that_the_service_offers_on_one_connection() {
        let service = Service::start().unwrap();
        let target = target(service.address.port(), None, String::new());
        let mut client = Client::open(&target).await.unwrap();
        let bytes = 3_000_001;
        let request = |method, path: &str| target.request(0, method, path, bytes);
        client.exchange(&request("GET", "/small")).await.unwrap();
        client.download(&request("GET", &format!("/bulk/{bytes}"))).await.unwrap();
        client.upload(&request("PUT", "/bulk"), bytes).await.unwrap();
        client.exchange(&request("GET", "/small")).await.unwrap();
        client.open_quiet(&request("GET", "/quiet")).await.unwrap();
        let mut stalled = Client::open(&target).await.unwrap();
        let left = stalled.begin(&request("GET", "/bulk/1000000")).await.unwrap();
        assert!((1_000_000 - HEAD_MAX as u64..=1_000_000).contains(&left), "{left}");
        let refused = stalled.exchange(&request("GET", "/other")).await.unwrap_err();
        assert_ne!(refused.to_string(), "");
    }

    #[tokio::test]
    async fn an_event_may_come_in_pieces() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = target(listener.local_addr().unwrap().port(), None, String::new());
        let answering = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await.unwrap();
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let answer = format!("{head}1\r\nd\r\nb\r\nata: open\n\n\r\n");
            for byte in answer.bytes() {
                stream.write_all(&[byte]).await.unwrap();
            }
            stream
        };
        let asking = async {
            let mut client = Client::open(&target).await.unwrap();
            client.open_quiet(&target.request(0, "GET", "/quiet", 0)).await.unwrap();
        };
        tokio::join!(asking, answering);
    }

    #[tokio::test]
    async fn only_a_whole_answer_with_status_200_counts() {
        for (answer, wanted) in [
            ("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n", "answered HTTP/1.1 502"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", "the connection ended"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nmore", "more than was announced"),
            ("HTTP/1.1 200 OK\r\n\r\n", "an answer without a length"),
            ("HTTP/1.1 200 OK\r\n", "the connection ended"),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let target = target(listener.local_addr().unwrap().port(), None, String::new());
            let answering = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            };
            let asking = async {
                let mut client = Client::open(&target).await.unwrap();
                client.exchange(&target.request(0, "GET", "/small", 0)).await.unwrap_err()
            };
            let (error, ()) = tokio::join!(asking, answering);
            assert!(error.to_string().starts_with(wanted), "{error} for {answer:?}");
        }
    }

    #[test]
    fn clients_show_tokens_in_turn() {
        let mut target = target(8443, None, "/services/relay/a/s".into());
        target.tokens = vec!["t0".into(), "t1".into()];
        assert_eq!(
            String::from_utf8(target.request(3, "PUT", "/bulk", 7)).unwrap(),
            "PUT /services/relay/a/s/bulk HTTP/1.1\r\nhost: 127.0.0.1:8443\r\n\
             authorization: Bearer t1\r\ncontent-length: 7\r\n\r\n"
        );
    }
}
