//! Behind a balancer of TCP that says whose its connections are.

use super::*;

const VERSION_2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\x1f\x90\x01\xbb";

/// A balancer that asks by itself.
const OWN: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Answers whose connection it is.
fn whose() -> Handler {
    handler(|connection: Arc<Connection>, _| async move {
        let nobodys = if connection.is_nobodys() { " of nobody" } else { "" };
        Response::new(Body::from(format!("{}{nobodys}", connection.peer().ip())))
    })
}

/// What it says of a client's.
fn of(last: u8) -> String {
    format!("PROXY TCP4 192.0.2.{last} 127.0.0.1 8080 443\r\n")
}

/// A connection over TLS behind these bytes; none where it is closed.
async fn behind(scene: &Scene, to: SocketAddr, header: &[u8]) -> Option<TlsStream<TcpStream>> {
    let mut socket = TcpStream::connect(to).await.unwrap();
    // In pieces: it need not come at once.
    let (first, rest) = header.split_at(header.len().min(1));
    socket.write_all(first).await.unwrap();
    tokio::task::yield_now().await;
    socket.write_all(rest).await.unwrap();
    secure(scene.client_config(), socket).await.ok()
}

async fn ask(tls: &mut TlsStream<TcpStream>) -> String {
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    tls.write_all(request).await.unwrap();
    let answer = read_to_end(tls).await;
    answer.rsplit("\r\n").next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_trusted_balancer_says_whose_a_connection_is() {
    let scene = Scene::new();
    let to = scene.serve_behind(&["127.0.0.0/8"], Limits::default(), whose()).await;
    for (header, expected) in [
        (&b""[..], Some("127.0.0.1")),
        (b"PROXY TCP4 192.0.2.7 127.0.0.1 8080 443\r\n", Some("192.0.2.7")),
        (b"PROXY TCP6 2001:db8::7 ::1 8080 443\r\n", Some("2001:db8::7")),
        (b"PROXY UNKNOWN\r\n", Some("127.0.0.1 of nobody")),
        (OWN, Some("127.0.0.1")),
        (VERSION_2, Some("192.0.2.7")),
        (b"PROXY TCP4 somebody 127.0.0.1 8080 443\r\n", None),
        (b"POST / HTTP/1.1\r\nHost: h\r\n\r\n", None),
    ] {
        let said = match behind(&scene, to, header).await {
            Some(mut tls) => Some(ask(&mut tls).await),
            None => None,
        };
        assert_eq!(said.as_deref(), expected, "{header:?}");
    }
    let failures = "strait_net_connection_failures_total{reason=\"proxy\"}";
    assert_eq!(scene.metric(failures), "2");
}

#[tokio::test]
async fn nobody_else_says_whose_a_connection_is() {
    let scene = Scene::new();
    for proxies in [&[][..], &["192.0.2.0/24"]] {
        let to = scene.serve_behind(proxies, Limits::default(), whose()).await;
        let header = b"PROXY TCP4 192.0.2.7 127.0.0.1 8080 443\r\n";
        assert!(behind(&scene, to, header).await.is_none());
        assert_eq!(ask(&mut behind(&scene, to, b"").await.unwrap()).await, "127.0.0.1");
    }
}

#[tokio::test]
async fn clients_behind_a_balancer_are_counted_each_by_itself() {
    let scene = Scene::new();
    let limits = Limits { per_client: Some(1), ..Limits::default() };
    let to = scene.serve_behind(&["127.0.0.1"], limits, whose()).await;
    let one = behind(&scene, to, of(1).as_bytes()).await.unwrap();
    let mut other = behind(&scene, to, of(2).as_bytes()).await.unwrap();
    assert!(behind(&scene, to, of(1).as_bytes()).await.is_none());
    assert_eq!(ask(&mut other).await, "192.0.2.2");
    drop(one);
    let failures = "strait_net_connection_failures_total{reason=\"address_limit\"}";
    assert_eq!(scene.metric(failures), "1");
}

#[tokio::test]
async fn one_client_alone_has_half_of_all_places_and_its_balancer_all() {
    let scene = Scene::new();
    let limits = Limits { connections: 4, ..Limits::default() };
    let to = scene.serve_behind(&["127.0.0.1"], limits, whose()).await;
    let mut held = Vec::new();
    for (header, taken) in [(of(1), true), (of(1), true), (of(1), false), (of(2), true)] {
        let connection = behind(&scene, to, header.as_bytes()).await;
        assert_eq!(connection.is_some(), taken, "{header}");
        held.extend(connection);
    }
    drop(held);
    let all = async {
        let mut own = Vec::new();
        while own.len() < 4 {
            // Places are free again a moment after their connections ended.
            own.extend(behind(&scene, to, OWN).await);
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all).await.expect("it has all");
    let failures = "strait_net_connection_failures_total{reason=\"address_limit\"}";
    assert_eq!(scene.metric(failures), "1");
}
