//! Clients that begin handshakes and go no further.

use tokio::net::TcpSocket;

use super::*;

/// A socket from another address of this machine.
async fn from(last: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, last], 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

#[tokio::test]
async fn who_begins_many_handshakes_holds_up_itself() {
    let scene = Scene::new();
    let limits = Limits { handshakes: [3, 2], ..Limits::default() };
    let (to, _served) = scene.serve(limits, ok()).await;
    let silent = [from(1, to).await, from(1, to).await, from(1, to).await];
    // It is served behind those three, of which the third has no turn.
    let other = secure(scene.client_config(), from(2, to).await);
    tokio::time::timeout(LIMITS.connect, other).await.unwrap().unwrap();
    let mut own = Box::pin(secure(scene.client_config(), from(1, to).await));
    tokio::select! {
        biased;
        _ = &mut own => panic!("both turns are taken"),
        other = secure(scene.client_config(), from(2, to).await) => drop(other.unwrap()),
    }
    drop(silent);
    tokio::time::timeout(LIMITS.connect, own).await.unwrap().unwrap();
}
