//! An agent made of a tunnel and nothing else, whose services do what their names say.

use bytes::Bytes;
use strait_relay::link::control::Announced;
use strait_relay::link::{Link, Part, Stream};
use strait_tunnel::{Code, Directions, OpenHead, Response};
use tokio::sync::{mpsc, watch};

use crate::fake_agent::FakeAgent;
use crate::harness::{Client, TestHub};
use crate::joining::{Installation, token};

/// What its services do: all are raw but `web`.
pub(super) const SERVICES: [&str; 11] = [
    "echo", "count", "source", "refuse", "late", "users", "break", "greet", "idle", "quiet", "web",
];

pub(super) struct Agent {
    pub(super) link: Link,
    /// Bytes that its services took or gave.
    pub(super) counted: watch::Receiver<u64>,
    /// How streams of `count` and `source` ended.
    pub(super) ends: mpsc::Receiver<Code>,
}

/// What a stream may need.
#[derive(Clone)]
struct Shared {
    counted: watch::Sender<u64>,
    ended: mpsc::Sender<Code>,
}

impl Agent {
    /// Joins as smith, connects, and offers.
    pub(super) async fn start(hub: &TestHub, workspace: &Client) -> Self {
        let join = token(workspace, "smith", "{}").await;
        let client = Installation::new().join(hub, &join).await;
        let mut agent = FakeAgent::connect(&client, &SERVICES.map(offer)).await;
        let (link, (ended, ends)) = (agent.link(), mpsc::channel(64));
        let shared = Shared { counted: watch::Sender::default(), ended };
        let counted = shared.counted.subscribe();
        tokio::spawn(async move {
            while let Some((stream, head)) = agent.opened().await {
                let name = match &head {
                    OpenHead::Raw(head) => head.tlvs().service.to_owned(),
                    // Becomes another protocol, which is that of `echo`.
                    _ => {
                        stream.sender.accept();
                        stream.sender.send_head(&Response::new(101, []).unwrap(), false).unwrap();
                        "echo".to_owned()
                    }
                };
                tokio::spawn(serve(stream, name, shared.clone()));
            }
        });
        Self { link, counted, ends }
    }
}

fn offer(name: &str) -> Announced {
    Announced {
        name: name.to_owned(),
        r#type: if name == "web" { "http" } else { "tcp" }.into(),
        hash: "h".into(),
        ready: true,
        raw: name != "web",
        protocols: vec!["http1".into(), "upgrade".into()],
        ..Announced::default()
    }
}

async fn serve(stream: Stream, name: String, shared: Shared) {
    let (mut receiver, mut sender) = stream.split();
    match &*name {
        "refuse" => {
            return sender.reset(Directions::Both, Code::ConnectFailed, "connection refused");
        }
        "late" => return sender.reset(Directions::Both, Code::ConnectTimeout, ""),
        "users" => return sender.reset(Directions::Both, Code::Forbidden, "allow.users"),
        _ => sender.accept(),
    }
    match &*name {
        // What comes goes back, until it ends.
        "echo" => loop {
            match receiver.next().await {
                Part::Data(bytes) => {
                    if sender.write(bytes).await.is_err() {
                        return;
                    }
                }
                Part::End => return sender.finish().unwrap(),
                _ => return,
            }
        },
        // What comes is counted, and the count told when it ends.
        "count" => loop {
            match receiver.next().await {
                Part::Data(bytes) => {
                    shared.counted.send_modify(|all| *all += bytes.len() as u64);
                }
                Part::End => {
                    let count = shared.counted.borrow().to_string();
                    sender.write(count.into()).await.unwrap();
                    return sender.finish().unwrap();
                }
                Part::Broken(end) => return shared.ended.send(end.code).await.unwrap(),
                _ => {}
            }
        },
        // Bytes without end.
        "source" => {
            let bytes = Bytes::from(vec![b'x'; 16 << 10]);
            while sender.write(bytes.clone()).await.is_ok() {
                shared.counted.send_modify(|all| *all += bytes.len() as u64);
            }
            shared.ended.send(sender.stopped().await).await.unwrap();
        }
        // Something, and then no more.
        "break" => {
            sender.write(Bytes::from_static(b"so far")).await.unwrap();
            while receiver.next().await != Part::End {}
            sender.reset(Directions::Both, Code::UpstreamReset, "");
        }
        // Nothing passed for too long.
        "idle" => {
            while receiver.next().await != Part::End {}
            sender.reset(Directions::Both, Code::Timeout, "1h");
        }
        // Says nothing, and goes with its client.
        "quiet" => shared.ended.send(sender.stopped().await).await.unwrap(),
        // Says all that it has to say, then listens.
        "greet" => {
            sender.write(Bytes::from_static(b"hello")).await.unwrap();
            sender.finish().unwrap();
            while let Part::Data(bytes) = receiver.next().await {
                shared.counted.send_modify(|all| *all += bytes.len() as u64);
            }
            shared.ended.send(Code::None).await.unwrap();
        }
        other => panic!("{other}"),
    }
}
