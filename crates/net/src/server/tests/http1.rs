//! Exchanges of HTTP/1.1, byte by byte.

use futures_util::{StreamExt as _, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::oneshot;

use super::*;
use crate::BoxError;
use crate::accept::Context;
use crate::http1::serve::{LINGER_TIME, serve};
use crate::proxied::Whose;

/// Bytes that are on their way to a client.
const PIPE: usize = 64 << 10;

/// A connection to a server, whose task ends with it.
fn connect(scene: &Scene, limits: Limits, handler: Handler) -> (DuplexStream, Served) {
    let server = Server { limits, ..scene.plain() };
    let (client, io) = duplex(PIPE);
    let connection =
        Arc::new(Connection::new(Whose::client(([127, 0, 0, 1], 1).into()), Vec::new()));
    let context = Arc::new(Context::new(server, handler));
    (client, scene.tasks.spawn("served", serve(context, io, connection)))
}

type Served = strait_runtime::Task<std::io::Result<()>>;

/// What is said to these bytes, behind which the client says nothing and reads on, without dates.
async fn say(handler: Handler, sent: &str) -> String {
    let scene = Scene::new();
    let limits = Limits { head_time: Duration::from_millis(50), ..Limits::default() };
    let (mut client, served) = connect(&scene, limits, handler);
    client.write_all(sent.replace('|', "\r\n").as_bytes()).await.unwrap();
    let mut said = Vec::new();
    client.read_to_end(&mut said).await.unwrap();
    drop(client);
    let _ = served.await.unwrap();
    let said = String::from_utf8(said).unwrap();
    let lines = said.split("\r\n").filter(|line| !line.starts_with("date: "));
    lines.collect::<Vec<_>>().join("|")
}

/// Says what it read, or why it read no more; or nothing of it, where the path says so.
fn echo() -> Handler {
    handler(|_, mut request| async move {
        let path = request.uri().path().to_owned();
        let mut said = Vec::new();
        while path != "/unread"
            && let Some(frame) = request.body_mut().frame().await
        {
            match frame {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => said.extend_from_slice(&data),
                    Err(frame) => said.extend_from_slice(format!("{frame:?}").as_bytes()),
                },
                Err(error) => said.extend_from_slice(format!("[{error}]").as_bytes()),
            }
        }
        Response::new(Body::from(said))
    })
}

#[tokio::test]
async fn requests_are_answered_one_behind_the_other() {
    let ok = |text: &str| format!("HTTP/1.1 200 OK|content-length: {}||{text}", text.len());
    let last = |text: &str| {
        format!("HTTP/1.1 200 OK|content-length: {}|connection: close||{text}", text.len())
    };
    let get = "GET / HTTP/1.1|Host: a||";
    let trailers = |line: &str| {
        format!("POST / HTTP/1.1|Host: h|Transfer-Encoding: chunked||2|hi|0|{line}||{get}")
    };
    let bad = |text: &str| {
        let kind = "content-type: text/plain; charset=utf-8";
        let length = text.len() + 1;
        format!(
            "HTTP/1.1 400 Bad Request|{kind}|content-length: {length}|connection: close||{text}\n"
        )
    };
    for (sent, expected) in [
        (get.to_owned(), ok("")),
        (get.repeat(3), ok("").repeat(3)),
        ("POST / HTTP/1.1|Host: h|Content-Length: 2||hi||".to_owned() + get, ok("hi") + &ok("")),
        (
            "POST / HTTP/1.1|Host: h|Transfer-Encoding: chunked||2|hi|1|!|0|||".to_owned() + get,
            ok("hi!") + &ok(""),
        ),
        ("GET / HTTP/1.1|Host: h|Connection: close||".to_owned() + get, last("")),
        ("GET / HTTP/1.0||".to_owned() + get, last("").replace("1.1", "1.0")),
        (
            "GET / HTTP/1.0|Connection: keep-alive||".to_owned() + get,
            "HTTP/1.0 200 OK|content-length: 0|connection: keep-alive||".to_owned() + &ok(""),
        ),
        // What little nobody reads is no matter.
        ("POST /unread HTTP/1.1|Host: h|Content-Length: 2||hi".to_owned() + get, ok("").repeat(2)),
        ("POST /unread HTTP/1.1|Host: h|Content-Length: 999999||hi".to_owned() + get, last("")),
        (
            "POST /unread HTTP/1.1|Host: h|Transfer-Encoding: chunked||2|hi|0||".to_owned() + get,
            last(""),
        ),
        // What does not read the same everywhere ends it.
        (
            "GET / HTTP/1.1|Host: h|A: b\n|".to_owned() + get,
            bad("the framing is ambiguous: line ends"),
        ),
        (
            get.to_owned() + "GET / HTTP/1.2||" + get,
            ok("") + &bad("the framing is ambiguous: the version"),
        ),
        (
            "POST / HTTP/1.1|Host: h|Transfer-Encoding: chunked||2|hi|x|".to_owned() + get,
            last("hi[the framing is ambiguous: the size of a chunk]"),
        ),
        (
            trailers("Content-Length: 5"),
            last("hi[the framing is ambiguous: the length of a body behind it]"),
        ),
        (trailers("X: a\rb"), last("hi[the framing is ambiguous: a control character in a field]")),
        (trailers("X: a| folded"), last("hi[the framing is ambiguous: a folded field]")),
        (trailers("X Y: z"), last("hi[the framing is ambiguous: a field's name]")),
        (
            "GET / HTTP/1.1|Host: a|Host: a||".to_owned() + get,
            bad("the framing is ambiguous: more than one Host"),
        ),
    ] {
        assert_eq!(say(echo(), &sent).await, expected, "{sent}");
    }
}

#[tokio::test]
async fn who_waits_for_100_is_told_once_its_body_is_wanted() {
    let scene = Scene::new();
    for (path, said) in [("/", true), ("/unread", false)] {
        let (mut client, served) = connect(&scene, Limits::default(), echo());
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        );
        client.write_all(head.as_bytes()).await.unwrap();
        if said {
            read_until(&mut client, "HTTP/1.1 100 Continue\r\n\r\n", 1).await;
            client.write_all(b"hi").await.unwrap();
            read_until(&mut client, "\r\n\r\nhi", 1).await;
        } else {
            // Nobody knows whether it comes: nothing can follow.
            read_until(&mut client, "connection: close\r\n", 1).await;
            read_to_end(&mut client).await;
        }
        drop(client);
        let _ = served.await.unwrap();
    }
}

/// Answers at once, and leaves the body to a task of its own.
fn streams_on(tasks: TaskSet, came: mpsc::Sender<Result<Bytes, String>>) -> Handler {
    handler(move |_, mut request| {
        let (tasks, came) = (tasks.clone(), came.clone());
        async move {
            tasks.spawn("reader", async move {
                while let Some(frame) = request.body_mut().frame().await {
                    let data = frame.map(|frame| frame.into_data().unwrap_or_default());
                    let _ = came.send(data.map_err(|error| error.to_string())).await;
                }
            });
            Response::new(Body::from("early"))
        }
    })
}

#[tokio::test]
async fn a_body_is_read_on_behind_its_answer() {
    for whole in [true, false] {
        let scene = Scene::new();
        let (came, mut comes) = mpsc::channel(8);
        let handler = streams_on(scene.tasks.clone(), came);
        let (mut client, served) = connect(&scene, Limits::default(), handler);
        let head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50006\r\n\r\none";
        client.write_all(head).await.unwrap();
        read_until(&mut client, "\r\n\r\nearly", 1).await;
        assert_eq!(comes.recv().await.unwrap().unwrap(), "one");
        let rest = vec![b'x'; 50_000];
        client.write_all(&rest).await.unwrap();
        let mut left = rest.len();
        while left > 0 {
            left -= comes.recv().await.unwrap().unwrap().len();
        }
        if whole {
            client.write_all(b"endGET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
            assert_eq!(comes.recv().await.unwrap().unwrap(), "end");
            read_until(&mut client, "\r\n\r\nearly", 1).await;
        } else {
            client.shutdown().await.unwrap();
            let cut = comes.recv().await.unwrap().unwrap_err();
            assert_eq!(cut, "the connection ended within the body");
        }
        drop(client);
        let _ = served.await.unwrap();
    }
}

#[tokio::test]
async fn whoever_gives_up_a_body_while_waiting_for_it_lets_its_connection_go() {
    let scene = Scene::new();
    let tasks = scene.tasks.clone();
    let (gave_up, mut gives_up) = mpsc::channel::<()>(1);
    let handler = handler(move |_, mut request| {
        let (tasks, gave_up) = (tasks.clone(), gave_up.clone());
        async move {
            tasks.spawn("reader", async move {
                let wait = Duration::from_millis(50);
                let read = tokio::time::timeout(wait, request.body_mut().frame()).await;
                assert!(read.is_err());
                drop(request);
                let _ = gave_up.send(()).await;
            });
            Response::new(Body::from("early"))
        }
    });
    let (mut client, served) = connect(&scene, Limits::default(), handler);
    client.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n").await.unwrap();
    read_until(&mut client, "\r\n\r\nearly", 1).await;
    gives_up.recv().await.unwrap();
    client.write_all(b"hiPOST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n").await.unwrap();
    read_until(&mut client, "\r\n\r\nearly", 1).await;
    gives_up.recv().await.unwrap();
    drop(client);
    let _ = served.await.unwrap();
}

#[tokio::test]
async fn a_client_that_was_too_slow_gets_no_more_time() {
    let scene = Scene::new();
    let cuts = handler(|connection, _| async move {
        connection.cut();
        Response::new(Body::from("too slow"))
    });
    let (mut client, served) = connect(&scene, Limits::default(), cuts);
    client.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhi").await.unwrap();
    let said = tokio::time::timeout(LINGER_TIME / 2, read_to_end(&mut client)).await.unwrap();
    assert!(said.contains("connection: close\r\n") && said.ends_with("too slow"), "{said}");
    served.await.unwrap().unwrap();
}

/// Says these pieces, of which a missing one breaks the answer off.
fn says(length: Option<u64>, pieces: &'static [Option<&'static str>]) -> Handler {
    handler(move |_, _| async move {
        let frames = stream::iter(pieces).map(|piece| match piece {
            Some(text) => Ok(Frame::data(Bytes::from_static(text.as_bytes()))),
            None => Err(BoxError::from("broke off")),
        });
        let fields = || {
            let name = http::HeaderName::from_static("x-sum");
            http::HeaderMap::from_iter([(name, HeaderValue::from_static("1"))])
        };
        let last = stream::iter([Ok(Frame::trailers(fields()))]);
        let mut answer = Response::new(Body::stream(StreamBody::new(frames.chain(last))));
        if let Some(length) = length {
            answer.headers_mut().insert(http::header::CONTENT_LENGTH, length.into());
        }
        answer
    })
}

#[tokio::test]
async fn an_answer_is_whole_or_does_not_look_so() {
    let chunked = "HTTP/1.1 200 OK|transfer-encoding: chunked||";
    let sized = "HTTP/1.1 200 OK|content-length: 4||";
    for (length, pieces, te, expected) in [
        (None, &[Some("hi"), Some(""), Some("!")][..], "", format!("{chunked}2|hi|1|!|0||")),
        (None, &[Some("hi")], "TE: trailers|", format!("{chunked}2|hi|0|x-sum: 1||")),
        (None, &[Some("hi"), None], "", format!("{chunked}2|hi|")),
        (Some(4), &[Some("hi"), Some("ho")], "", format!("{sized}hiho")),
        (Some(4), &[Some("hi")], "", format!("{sized}hi")),
        (Some(4), &[Some("hi"), None], "", format!("{sized}hi")),
        (Some(4), &[Some("hi"), Some("hoho")], "", format!("{sized}hi")),
    ] {
        let said = say(says(length, pieces), &format!("GET / HTTP/1.1|Host: h|{te}|")).await;
        assert_eq!(said, expected);
    }
    let old = say(says(None, &[Some("hi")]), "GET / HTTP/1.0||").await;
    assert_eq!(old, "HTTP/1.0 200 OK|connection: close||hi");
    let head = say(says(Some(4), &[Some("hiho")]), "HEAD / HTTP/1.1|Host: h||").await;
    assert_eq!(head, sized);
}

/// Says the same piece for ever, and counts how often.
fn endless(made: Arc<AtomicUsize>, piece: &'static [u8]) -> Handler {
    handler(move |_, _| {
        let made = made.clone();
        async move {
            let pieces = stream::repeat_with(move || {
                made.fetch_add(1, Ordering::Relaxed);
                Ok::<_, BoxError>(Frame::data(Bytes::from_static(piece)))
            });
            Response::new(Body::stream(StreamBody::new(pieces)))
        }
    })
}

#[tokio::test]
async fn an_answer_goes_no_faster_than_its_reader() {
    let scene = Scene::new();
    let made = Arc::new(AtomicUsize::new(0));
    let endless = endless(made.clone(), &[b'x'; 1 << 10]);
    let limits = Limits {
        buffer: 4 << 10,
        answer_time: Some(Duration::from_millis(50)),
        ..Limits::default()
    };
    let (mut client, served) = connect(&scene, limits, endless);
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    // Who takes nothing for too long is dropped.
    let _ = served.await.unwrap();
    let made = made.load(Ordering::Relaxed);
    assert!((64..80).contains(&made), "{made}");
    assert!(!read_to_end(&mut client).await.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn who_reads_nothing_holds_less_where_many_do() {
    const PIECE: usize = PIPE / 2;
    let scene = Scene::new();
    let made = Arc::new(AtomicUsize::new(0));
    let endless = endless(made.clone(), &[b'x'; PIECE]);
    let waits = || scene.metric("strait_net_answers_waiting_bytes").parse::<usize>().unwrap();
    // As many pieces as are written at once, or one after the other where others hold everything,
    // until those wait that the pipe does not take.
    for (buffers, pieces) in [(128 << 20, 5..=6), (0, 2..=3)] {
        made.store(0, Ordering::Relaxed);
        let limits = Limits { buffer: 256 << 10, buffers, ..Limits::default() };
        let (mut client, served) = connect(&scene, limits, endless.clone());
        client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        let held = async {
            while waits() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LINGER_TIME, held).await.unwrap();
        let made = made.load(Ordering::Relaxed);
        assert!(pieces.contains(&made), "{made} of {pieces:?}");
        drop(client);
        let _ = served.await.unwrap();
        assert_eq!(waits(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_waits_whole_does_not_wait_for_ever() {
    for breaks in [false, true] {
        let scene = Scene::new();
        let large = handler(move |_, _| async move {
            let whole = Ok(Frame::data(Bytes::from(vec![b'x'; 1 << 20])));
            let end = breaks.then(|| Err(BoxError::from("broke off")));
            Response::new(Body::stream(StreamBody::new(
                stream::iter([whole]).chain(stream::iter(end)),
            )))
        });
        let limits = Limits { buffer: 2 << 20, buffers: 1 << 30, ..Limits::default() };
        let (mut client, served) = connect(&scene, limits, large);
        client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        served.await.unwrap().unwrap();
        drop(client);
    }
}

#[tokio::test]
async fn a_request_ends_with_its_client() {
    let scene = Scene::new();
    let (dropped, mut drops) = mpsc::channel::<()>(1);
    let held = dropped.clone();
    let hangs = handler(move |_, _| {
        let held = held.clone();
        async move {
            std::future::pending::<()>().await;
            drop(held);
            Response::new(Body::empty())
        }
    });
    drop(dropped);
    let (mut client, served) = connect(&scene, Limits::default(), hangs);
    // What came behind it does not hide that.
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n\r\nG").await.unwrap();
    drop(client);
    served.await.unwrap().unwrap();
    assert_eq!(drops.recv().await, None);
}

#[tokio::test]
async fn a_request_under_way_is_the_last_when_the_server_is_to_end() {
    let scene = Scene::new();
    let (go, waits) = oneshot::channel::<()>();
    let waits = Arc::new(parking_lot::Mutex::new(Some(waits)));
    let slow = handler(move |_, _| {
        let waits = waits.lock().take();
        async move {
            waits.unwrap().await.unwrap();
            Response::new(Body::from("done"))
        }
    });
    let (mut client, served) = connect(&scene, Limits::default(), slow);
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    scene.shutdown.ask();
    go.send(()).unwrap();
    let said = read_to_end(&mut client).await;
    assert!(said.contains("connection: close\r\n") && said.ends_with("\r\n\r\ndone"), "{said}");
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn nothing_becomes_what_nobody_asked_for() {
    for status in [StatusCode::CONTINUE, StatusCode::SWITCHING_PROTOCOLS] {
        let wrong = handler(move |_, _| async move {
            let mut answer = Response::new(Body::empty());
            *answer.status_mut() = status;
            answer
        });
        for asked in [
            "GET / HTTP/1.1|Host: h||",
            "GET / HTTP/1.1|Host: h|Upgrade: x||",
            "GET / HTTP/1.0|Upgrade: x|Connection: upgrade||",
            "GET / HTTP/1.1|Host: h|Upgrade: x|Connection: upgrade|Content-Length: 9||hi",
        ] {
            let said = say(wrong.clone(), asked).await;
            assert!(said.starts_with("HTTP/1.") && said[8..].starts_with(" 500 "), "{said}");
        }
    }
}
