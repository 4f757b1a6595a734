//! Events and outcomes as they come.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use strait_hooks::Position;
use strait_hooks::state::{self, Became, Change};
use tokio::net::TcpStream;

use super::scene::{Api, Scene, at};

struct Reader {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Reader {
    async fn open(api: Api, path: &str) -> Self {
        let stream = TcpStream::connect(api.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(path)
            .header("host", "x")
            .header("authorization", "Bearer viewer-token")
            .body(Empty::<Bytes>::new());
        let response = sender.send_request(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), buffer: Vec::new() }
    }

    async fn line(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.buffer.extend_from_slice(&frame.into_data().unwrap());
        }
    }
}

#[tokio::test]
async fn a_reader_whose_right_was_taken_back_is_told_so_and_reads_no_more() {
    let scene = Scene::new().await;
    let api = scene.serve().await;
    let mut reader = Reader::open(api, "/tail").await;
    scene.clock.advance(Duration::from_secs(30));
    scene.append(1, |_| at(0)).await;
    assert_eq!(reader.line().await.unwrap()["event"]["id"], 11);
    std::fs::write(scene.directory.path().join("viewer"), "another-token\n").unwrap();
    scene.clock.advance(Duration::from_secs(30));
    scene.append(1, |_| at(0)).await;
    // One that was read before the clock went on may come first.
    let end = json!({"type": "end", "why": "the right to follow was taken back"});
    let mut line = reader.line().await.unwrap();
    if line["type"] == "event" {
        line = reader.line().await.unwrap();
    }
    assert_eq!(line, end);
    assert_eq!(reader.line().await, None);
}

#[tokio::test]
async fn new_events_and_outcomes_are_told_until_the_end() {
    let scene = Scene::new().await;
    let api = scene.serve().await;
    let mut reader = Reader::open(api, "/tail").await;
    let mut pushes = Reader::open(api, "/tail?event=push").await;
    // What waited before is followed.
    let one = state::Backend::of("one");
    let deliver = |position| {
        let (position, became) = (Position(position), Became::Delivered);
        scene.kept.state.record(&[Change::Became { backend: one, position, became }]).unwrap();
    };
    deliver(8);
    let delivered = json!({"name": "one", "state": "delivered"});
    let outcome = json!({"type": "outcome", "id": 8, "backend": delivered});
    assert_eq!(reader.line().await.unwrap(), outcome);
    // The eleventh and twelfth.
    scene.append(2, |_| at(0)).await;
    for (id, kind) in [(11, "push"), (12, "pull_request")] {
        let line = reader.line().await.unwrap();
        assert_eq!((&line["type"], &line["event"]["id"]), (&json!("event"), &json!(id)));
        assert_eq!(line["event"]["event"], kind);
    }
    assert_eq!(pushes.line().await.unwrap()["event"]["id"], 11);
    deliver(11);
    let outcome = json!({"type": "outcome", "id": 11, "backend": delivered});
    assert_eq!(reader.line().await.unwrap(), outcome);
    assert_eq!(pushes.line().await.unwrap(), outcome);
    // Dead letters at one backend, and nothing else.
    let mut dead = Reader::open(api, "/tail?state=dead&backend=two").await;
    let two = state::Backend::of("two");
    let reason = strait_hooks::schedule::Reason::Rejected(404);
    let became = Became::Dead { attempts: 1, reason, at: at(0) };
    scene.append(1, |_| at(0)).await;
    for backend in [one, two] {
        let position = Position(13);
        scene.kept.state.record(&[Change::Became { backend, position, became }]).unwrap();
    }
    let line = dead.line().await.unwrap();
    assert_eq!((&line["id"], &line["backend"]["name"]), (&json!(13), &json!("two")));
    assert_eq!(line["backend"]["why"], "rejected with status 404");
    scene.shutdown.ask();
    let end = json!({"type": "end", "why": "the server is ending"});
    assert_eq!(dead.line().await.unwrap(), end);
    assert_eq!(dead.line().await, None);
}
