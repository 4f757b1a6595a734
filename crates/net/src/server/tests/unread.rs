//! What a refusal leaves of the body of its request, over HTTP/2.

use futures_util::{StreamExt as _, stream};
use http_body::{Body as HttpBody, Frame};
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::oneshot;

use super::clear::serve;
use super::*;
use crate::BoxError;

const PIECE: usize = 10 << 10;

/// Answers with the status that the path says: reads none of the body, or its first piece, or
/// keeps it until the answer is over.
fn refuses() -> Handler {
    handler(|_, mut request| async move {
        let mut parts = request.uri().path()[1..].split('/').map(str::to_owned);
        let status: StatusCode = parts.next().unwrap().parse().unwrap();
        let body = match &*parts.next().unwrap() {
            "none" => Body::from("no"),
            "some" => {
                drop(request.body_mut().frame().await.unwrap());
                Body::from("no")
            }
            _ => {
                let held = request.into_body();
                let said = stream::iter(["n", "o"]).map(move |text| {
                    let _ = HttpBody::is_end_stream(&held);
                    Ok::<_, BoxError>(Frame::data(Bytes::from_static(text.as_bytes())))
                });
                Body::stream(StreamBody::new(said))
            }
        };
        let mut answer = Response::new(body);
        *answer.status_mut() = status;
        answer
    })
}

/// What became of a body of which so many pieces come once the head of the answer is there: whether
/// all of it was taken when the answer was over. None never come.
async fn is_taken(address: SocketAddr, path: &str, pieces: Option<usize>) -> bool {
    let scene = Scene::new();
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let exec = Streams(scene.tasks.clone());
    let (mut sender, connection) = http2::handshake(exec, stream).await.unwrap();
    scene.tasks.spawn_daemon("client", connection);
    let (go, waits) = oneshot::channel();
    let taken = Arc::new(AtomicUsize::new(0));
    let counts = taken.clone();
    let later = async move {
        waits.await.unwrap();
        match pieces {
            Some(count) => stream::iter(vec![Bytes::from_static(&[b'x'; PIECE]); count]),
            None => std::future::pending().await,
        }
    };
    let first = stream::once(async { Bytes::from_static(b"first") });
    let all = first.chain(stream::once(later).flatten()).map(Frame::data);
    let end = stream::once(async move {
        counts.store(1, Ordering::Relaxed);
        Frame::data(Bytes::new())
    });
    let pieces = all.chain(end).map(Ok::<_, BoxError>);
    let body = UnsyncBoxBody::new(StreamBody::new(pieces));
    let request = Request::post(format!("http://{address}{path}")).body(body).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status().as_str(), &path[1..4]);
    // Who is answered already may have stopped.
    let _ = go.send(());
    assert_eq!(text(answer).await, "no");
    taken.load(Ordering::Relaxed) == 1
}

#[tokio::test]
async fn a_refusal_ends_behind_a_small_body_and_waits_for_no_other() {
    let scene = Scene::new();
    let (address, _served) = serve(&scene, Clear::Http1Or2, refuses()).await;
    for (path, pieces, expected) in [
        ("/403/none", Some(1), true),
        ("/403/none", Some(6), true),
        ("/503/some", Some(6), true),
        ("/413/kept", Some(6), true),
        // More than is waited for: what comes of it is not read.
        ("/403/none", Some(400), false),
        ("/403/none", None, false),
        // Who is not refused may end before its client, and it does at once.
        ("/200/none", None, false),
    ] {
        assert_eq!(is_taken(address, path, pieces).await, expected, "{path} {pieces:?}");
    }
}
