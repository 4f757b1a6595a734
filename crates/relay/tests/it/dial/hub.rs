//! A hub's end of tunnels, as far as an agent's end needs one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use strait_pki::{Authority, ServerNames, ServingCertificate, server_config};
use strait_relay::TUNNEL_PROTOCOL;
use strait_relay::link::control::{Listener, Message, Speaker};
use strait_relay::link::{Acceptor, Link, Sender};
use strait_runtime::{Clock, SystemClock, SystemEntropy};
use strait_tunnel::{Class, Config, OpenHead, Role, Side};
use strait_types::HubId;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::PATIENCE;

pub(super) const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

pub(super) fn authority() -> Arc<Authority> {
    let hub = HubId::from_random([7; 16]);
    Arc::new(Authority::create(&hub, clock(), Arc::new(SystemEntropy)).unwrap())
}

/// A server on loopback that takes tunnels.
pub(super) struct Hub {
    pub(super) authority: Arc<Authority>,
    pub(super) address: SocketAddr,
    came: mpsc::Receiver<Came>,
}

/// A connection that an agent made.
pub(super) struct Came {
    pub(super) link: Link,
    /// What the agent says on its control stream.
    heard: mpsc::Receiver<Message>,
}

/// How a hub behaves.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    pub(super) protocol: &'static [u8],
    pub(super) spread: Duration,
    pub(super) keep_alive: Duration,
}

impl Default for Manner {
    fn default() -> Self {
        let keep_alive = Duration::from_secs(5);
        Self { protocol: TUNNEL_PROTOCOL, spread: Duration::ZERO, keep_alive }
    }
}

impl Hub {
    pub(super) async fn start(manner: Manner) -> Self {
        let authority = authority();
        let names = ServerNames::new(["127.0.0.1", "hub.example"]).unwrap();
        let serving = ServingCertificate::new(authority.clone(), names, DAY).unwrap();
        let mut tls =
            Arc::unwrap_or_clone(server_config(serving, &[TUNNEL_PROTOCOL], clock()).unwrap());
        tls.alpn_protocols = vec![manner.protocol.to_vec()];
        let tls = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, came) = mpsc::channel(16);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(stream) = tls.accept(stream).await else { continue };
                assert!(stream.get_ref().1.peer_certificates().is_some());
                let mut config = Config::new(Role::Hub, Role::Agent, [2; 16]);
                config.drain_spread = Some(manner.spread);
                config.limits.keep_alive = manner.keep_alive;
                let (said, heard) = mpsc::channel(64);
                let acceptor = ear(said);
                let (link, driver) = Link::new(stream, Side::Acceptor, config, clock(), acceptor);
                tokio::spawn(driver);
                let sender = sender.clone();
                tokio::spawn(async move {
                    link.ready().await.unwrap();
                    let _ = sender.send(Came { link, heard }).await;
                });
            }
        });
        Self { authority, address, came }
    }

    /// The next connection.
    pub(super) async fn next(&mut self) -> Came {
        let came = tokio::time::timeout(PATIENCE, self.came.recv());
        came.await.expect("an agent connects").unwrap()
    }
}

fn ear(said: mpsc::Sender<Message>) -> Acceptor {
    Box::new(move |stream, head| {
        assert!(matches!(head, OpenHead::Control));
        let said = said.clone();
        tokio::spawn(async move {
            let (receiver, sender) = stream.split();
            sender.accept();
            let clock = clock();
            let mut listener = Listener::new(receiver, &*clock);
            while let Some(message) = listener.next().await.unwrap() {
                let _ = said.send(message).await;
            }
        });
    })
}

impl Came {
    /// What the agent says next.
    pub(super) async fn hear(&mut self) -> Message {
        let heard = tokio::time::timeout(PATIENCE, self.heard.recv());
        heard.await.expect("the agent says something").expect("the stream goes on")
    }

    /// The number of the next list of services.
    pub(super) async fn services(&mut self) -> i64 {
        match self.hear().await {
            Message::Services(services) => services.r#gen,
            other => panic!("{other:?}"),
        }
    }

    /// Says something on the hub's control stream, which is given back.
    pub(super) async fn say(&self, messages: &[Message]) -> Sender {
        let stream = self.link.open(&OpenHead::Control, Class::Interactive, false).unwrap();
        let (_, mut sender) = stream.split();
        let clock = clock();
        let mut speaker = Speaker::new(&mut sender, &*clock);
        for message in messages {
            speaker.say(&message.to_bytes()).await.unwrap();
        }
        sender
    }

    /// Acknowledges a list.
    pub(super) async fn acknowledge(&self, r#gen: i64) -> Sender {
        self.say(&[Message::ServicesAck { r#gen, refused: Vec::new() }]).await
    }
}
