//! What a refusal leaves of the body of its request, over HTTP/2.

use futures_util::{StreamExt as _, stream};
use http::header::CONTENT_LENGTH;
use http_body::{Body as HttpBody, Frame};
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::oneshot;

use super::clear::serve;
use super::*;
use crate::BoxError;

const PIECE: usize = 10 << 10;

/// Answers with the status that the path says: reads none of the body, or its first piece, or
/// keeps it until the answer is over; or says something in a moment only.
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
            "late" => {
                let said = stream::once(async {
                    for _ in 0..9 {
                        tokio::task::yield_now().await;
                    }
                    Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"no")))
                });
                Body::stream(StreamBody::new(said))
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

/// What comes of a body once the head of the answer is there.
#[derive(Clone, Copy, Debug)]
enum Rest {
    All,
    /// It ends before it has the length that its head announced.
    Less,
    Never,
}

/// An answer is whole whatever becomes of the request's body. What comes of it is taken.
async fn is_answered(address: SocketAddr, path: &str, announced: usize, rest: Rest) {
    let scene = Scene::new();
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let exec = Streams(scene.tasks.clone());
    let (mut sender, connection) = http2::handshake(exec, stream).await.unwrap();
    scene.tasks.spawn_daemon("client", connection);
    let ((go, waits), (end, ended)) = (oneshot::channel(), oneshot::channel());
    let later = async move {
        waits.await.unwrap();
        let pieces = match rest {
            Rest::All => announced / PIECE - 1,
            Rest::Less => 0,
            Rest::Never => std::future::pending().await,
        };
        stream::iter(vec![Bytes::from_static(&[b'x'; PIECE]); pieces])
    };
    let first = stream::once(async { Bytes::from_static(&[b'x'; PIECE]) });
    let last = stream::once(async move {
        let _ = end.send(());
        Bytes::new()
    });
    let pieces = first.chain(stream::once(later).flatten()).chain(last).map(Frame::data);
    let body = UnsyncBoxBody::new(StreamBody::new(pieces.map(Ok::<_, BoxError>)));
    let request = Request::post(format!("http://{address}{path}"));
    let request = request.header(CONTENT_LENGTH, announced).body(body).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status().as_str(), &path[1..4]);
    // Who is answered already may have stopped.
    let _ = go.send(());
    assert_eq!(text(answer).await, "no", "{path} {rest:?}");
    if matches!(rest, Rest::All) && !path.starts_with("/200") {
        ended.await.unwrap();
    }
}

#[tokio::test]
async fn a_refusal_is_whole_whatever_becomes_of_the_body_of_its_request() {
    let scene = Scene::new();
    let (address, _served) = serve(&scene, Clear::Http1Or2, refuses()).await;
    let small = 6 * PIECE;
    for (path, announced, rest) in [
        ("/403/none", small, Rest::All),
        ("/403/none", small, Rest::Less),
        ("/503/some", small, Rest::All),
        ("/503/some", small, Rest::Less),
        ("/413/kept", small, Rest::All),
        ("/413/kept", small, Rest::Less),
        ("/403/late", small, Rest::All),
        ("/403/late", small, Rest::Less),
        // More than a client may send unread.
        ("/403/none", 400 * PIECE, Rest::All),
        ("/403/none", small, Rest::Never),
        ("/403/late", small, Rest::Never),
        // Who is not refused may end before its client as well.
        ("/200/none", small, Rest::Never),
    ] {
        is_answered(address, path, announced, rest).await;
    }
}
