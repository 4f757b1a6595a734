//! Both kinds of HTTP without TLS, at one listener.

use super::*;

fn told() -> Handler {
    handler(|_, request| async move {
        let version = request.version();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(Body::from(format!("{version:?} {}", body.len())))
    })
}

pub(super) async fn serve(
    scene: &Scene,
    clear: Clear,
    handler: Handler,
) -> (SocketAddr, strait_runtime::Task<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server { clear, ..scene.plain() };
    (address, scene.tasks.spawn("server", server.serve(listener, handler)))
}

async fn begin(scene: &Scene, address: SocketAddr) -> Http2 {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let exec = Streams(scene.tasks.clone());
    let (sender, connection) = http2::handshake(exec, stream).await.unwrap();
    scene.tasks.spawn_daemon("client", connection);
    sender
}

#[tokio::test]
async fn a_client_that_knows_that_http2_is_spoken_speaks_it() {
    let scene = Scene::new();
    let (address, served) = serve(&scene, Clear::Http1Or2, told()).await;
    let mut sender = begin(&scene, address).await;
    for size in [0, 3 << 20] {
        let body = Full::from(vec![b'x'; size]);
        let request = Request::post(format!("http://{address}/")).body(body).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(text(answer).await, format!("HTTP/2.0 {size}"));
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    for piece in
        ["P", "OST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n", "content-length: 1\r\n\r\nx"]
    {
        stream.write_all(piece.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("HTTP/1.1 1"), "{answer}");
    // One that never says what it is does not hold up the end.
    let mut silent = TcpStream::connect(address).await.unwrap();
    silent.write_all(b"PRI * HT").await.unwrap();
    drop(sender);
    scene.shutdown.ask();
    served.await.unwrap();
    assert_eq!(read_to_end(&mut silent).await, "");
}

#[tokio::test]
async fn a_name_that_is_no_token_is_refused_over_http2_as_over_http1() {
    let scene = Scene::new();
    let (address, _served) = serve(&scene, Clear::Http1Or2, told()).await;
    let mut sender = begin(&scene, address).await;
    let name = http::HeaderName::from_lowercase(b"a\"b").unwrap();
    for (name, expected) in [(name, 400), (http::header::ACCEPT, 200)] {
        let request = Request::get(format!("http://{address}/")).header(&name, "1");
        let answer = sender.send_request(request.body(Full::default()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), expected, "{name}");
    }
}

#[tokio::test]
async fn a_server_of_http1_alone_takes_no_other() {
    let scene = Scene::new();
    let (address, _served) = serve(&scene, Clear::Http1, told()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 400") || answer.is_empty(), "{answer}");
}
