//! The service at the end of every path: so cheap that it is not what is measured.
//!
//! It answers `GET /small` with 1 KiB, `GET /bulk/N` with N bytes, `PUT` once it has read the
//! body, and `GET /quiet` with one event and then nothing until the client leaves. Connections
//! are kept. One thread serves them all.

use std::io;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::wire::{HEAD_MAX, content_length, head_end, request_line};

/// Bytes of a small answer's body.
const SMALL: usize = 1 << 10;
/// Bytes that a bulk body is written and read in.
const PIECE: usize = 256 << 10;

/// What the answer to `/quiet` ends with until the client leaves.
pub(crate) const EVENT: &[u8] = b"data: open\n\n";

/// A running service. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Service {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts one on a port of its own.
    ///
    /// # Errors
    /// No port, or no thread.
    pub(crate) fn start() -> Result<Self> {
        Self::start_on(std::net::TcpListener::bind("127.0.0.1:0")?)
    }

    /// Starts one that listens there.
    ///
    /// # Errors
    /// No thread.
    pub(crate) fn start_on(listener: std::net::TcpListener) -> Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("service".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = accept(listener) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                connections.spawn(serve(stream));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves a connection until either side ends it.
async fn serve(mut stream: TcpStream) -> io::Result<()> {
    let small = small();
    let mut buffer = vec![0; HEAD_MAX];
    let mut filled = 0;
    loop {
        let Some(end) = head_end(&buffer[..filled]) else {
            if filled == buffer.len() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            match stream.read(&mut buffer[filled..]).await? {
                0 => return Ok(()),
                read => filled += read,
            }
            continue;
        };
        let head = &buffer[..end];
        let body = content_length(head).unwrap_or(0);
        let early = body.min((filled - end) as u64);
        match request_line(head) {
            Some((b"GET", b"/small")) => stream.write_all(&small).await?,
            Some((b"GET", b"/quiet")) => return quiet(stream).await,
            Some((b"GET", path)) if bulk_bytes(path).is_some() => {
                send(&mut stream, bulk_bytes(path).unwrap_or(0)).await?;
            }
            Some((b"PUT", _)) => {
                discard(&mut stream, body - early).await?;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
            }
            _ => {
                return stream
                    .write_all(
                        b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                    )
                    .await;
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "not more than the buffer holds")]
        let taken = end + early as usize;
        buffer.copy_within(taken..filled, 0);
        filled -= taken;
    }
}

fn small() -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {SMALL}\r\n\r\n"
    );
    [head.as_bytes(), &[b'.'; SMALL]].concat()
}

/// How many bytes are asked for.
fn bulk_bytes(path: &[u8]) -> Option<u64> {
    std::str::from_utf8(path.strip_prefix(b"/bulk/")?).ok()?.parse().ok()
}

async fn send(stream: &mut TcpStream, bytes: u64) -> io::Result<()> {
    static BODY: [u8; PIECE] = [b'.'; PIECE];
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {bytes}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut left = bytes;
    while left > 0 {
        let piece = piece(left);
        stream.write_all(&BODY[..piece]).await?;
        left -= piece as u64;
    }
    Ok(())
}

async fn discard(stream: &mut TcpStream, bytes: u64) -> io::Result<()> {
    let mut buffer = vec![0; piece(bytes)];
    let mut left = bytes;
    while left > 0 {
        match stream.read(&mut buffer[..piece(left)]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => left -= read as u64,
        }
    }
    Ok(())
}

/// How much of what is left goes at once.
pub(crate) fn piece(left: u64) -> usize {
    usize::try_from(left).map_or(PIECE, |left| left.min(PIECE))
}

/// One event, and nothing more until the client leaves.
async fn quiet(mut stream: TcpStream) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n\
                x-accel-buffering: no\r\ntransfer-encoding: chunked\r\n\r\n";
    let size = format!("{:x}\r\n", EVENT.len());
    stream.write_all(&[head.as_bytes(), size.as_bytes(), EVENT, b"\r\n"].concat()).await?;
    while stream.read(&mut [0]).await? > 0 {}
    Ok(())
}
