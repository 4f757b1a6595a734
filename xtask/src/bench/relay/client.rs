//! A client of the service: one connection, one request at a time, bytes read and dropped.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::service::{EVENT, piece};
use super::wire::{HEAD_MAX, content_length, head_end, status};
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
        let (_, mut filled) = self.head().await?;
        while !self.buffer[..filled].windows(EVENT.len()).any(|window| window == EVENT) {
            filled += self.read(filled).await?;
        }
        Ok(())
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
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
