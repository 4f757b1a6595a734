//! What stands between an agent and its hub.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
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
