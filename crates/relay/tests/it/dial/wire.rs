//! What stands between an agent and its hub.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};

/// Forwards connections until it is told to stop, and then keeps them open and is silent.
pub(super) async fn wire(to: SocketAddr) -> (SocketAddr, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (silence, silent) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut silent = silent.clone();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    () = async { drop(silent.wait_for(|silent| *silent).await) } => {
                        std::future::pending::<()>().await;
                    }
                }
            });
        }
    });
    (address, silence)
}

/// A line to a place: of what comes from who connects, so much at once, and the next so long after.
#[derive(Clone, Copy)]
pub(super) struct Line {
    pub(super) bytes: usize,
    pub(super) each: Duration,
}

impl Line {
    /// 400 KiB a second, to a place nearby.
    pub(super) const NARROW: Self = Self { bytes: 2 << 10, each: Duration::from_millis(5) };
    /// To one that is far away.
    pub(super) const LONG: Self = Self { bytes: 64 << 10, each: Duration::from_millis(30) };

    /// Forwards connections.
    pub(super) async fn to(self, to: SocketAddr) -> SocketAddr {
        let socket = TcpSocket::new_v4().unwrap();
        // What waits is to wait at its sender.
        socket.set_recv_buffer_size(16 << 10).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(16).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let far = TcpStream::connect(to).await.unwrap();
                let (mut from, mut back) = near.into_split();
                let (mut of_hub, mut to_hub) = far.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut of_hub, &mut back).await });
                tokio::spawn(async move {
                    let mut some = vec![0; self.bytes];
                    while let Ok(count @ 1..) = from.read(&mut some).await {
                        tokio::time::sleep(self.each).await;
                        if to_hub.write_all(&some[..count]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        address
    }
}

/// An HTTP proxy that connects to one place, whatever is asked for, if it is asked with this
/// `Proxy-Authorization`. Tells the requests.
pub(super) async fn proxy(
    to: SocketAddr,
    authorization: Option<&'static str>,
) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, requests) = mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(near.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let line = |value: &str| format!("\r\nProxy-Authorization: {value}\r\n");
            let allowed = authorization.is_none_or(|value| head.contains(&line(value)));
            let _ = asked.send(head).await;
            if !allowed {
                let answer = "HTTP/1.1 407 Proxy Authentication Required\r\n\
                    Proxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n";
                near.write_all(answer.as_bytes()).await.unwrap();
                continue;
            }
            let mut far = TcpStream::connect(to).await.unwrap();
            near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut near, &mut far).await });
        }
    });
    (address, requests)
}
