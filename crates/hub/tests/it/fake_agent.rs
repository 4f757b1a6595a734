//! The agent's end of a tunnel, in the hands of a test.

use std::sync::Arc;

use strait_net::Io;
use strait_relay::TUNNEL_PROTOCOL;
use strait_relay::link::control::{Announced, Callable, Listener, Message, Services, Speaker};
use strait_relay::link::{Link, Part, Stream};
use strait_runtime::{SystemClock, SystemEntropy, random_16};
use strait_tunnel::{Class, Config, End, EndedBy, Limits, OpenHead, Response, Role, Side};
use tokio::sync::{mpsc, watch};

use crate::credentials::SERVICES;
use crate::harness::{Answer, Client, PATIENCE, TestHub};
use crate::joining::{Installation, make_agent, token};
use crate::services::offer;

/// A path of the service `ci`.
pub(crate) const CI: &str = "/services/relay/smith/ci/job";

/// An instance of an agent that is connected.
pub(crate) struct FakeAgent {
    link: Link,
    offers: mpsc::UnboundedSender<Vec<Announced>>,
    acknowledged: mpsc::UnboundedReceiver<()>,
    opened: mpsc::UnboundedReceiver<(Stream, OpenHead)>,
    offered: watch::Receiver<Option<Vec<Callable>>>,
}

impl FakeAgent {
    /// Connects with the certificate of an installation, and offers these.
    pub(crate) async fn connect(installation: &Client, offers: &[Announced]) -> Self {
        Self::over(installation.connect_as(&[TUNNEL_PROTOCOL]).await, offers).await
    }

    /// The same, and takes so many streams at once.
    pub(crate) async fn with_room(
        installation: &Client,
        offers: &[Announced],
        streams: u32,
    ) -> Self {
        let io = installation.connect_as(&[TUNNEL_PROTOCOL]).await;
        Self::begin(io, offers, Limits { streams, ..Limits::default() }).await
    }

    /// The same on a connection that there is.
    pub(crate) async fn over(io: impl Io + 'static, offers: &[Announced]) -> Self {
        Self::begin(io, offers, Limits::default()).await
    }

    async fn begin(io: impl Io + 'static, offers: &[Announced], limits: Limits) -> Self {
        let (streams, opened) = mpsc::unbounded_channel();
        let (acks, acknowledged) = mpsc::unbounded_channel();
        let (lists, offered) = watch::channel(None);
        let lists = Arc::new(lists);
        let acceptor = Box::new(move |stream: Stream, head| match head {
            OpenHead::Control => {
                tokio::spawn(listen(stream, acks.clone(), lists.clone()));
            }
            head => drop(streams.send((stream, head))),
        });
        let mut config = Config::new(Role::Agent, Role::Hub, random_16(&SystemEntropy));
        config.limits = limits;
        let clock = Arc::new(SystemClock);
        let (link, driver) = Link::new(io, Side::Dialler, config, clock, acceptor);
        tokio::spawn(driver);
        link.ready().await.expect("the hub takes the tunnel");
        let (sender, lists) = mpsc::unbounded_channel();
        tokio::spawn(announce(link.clone(), lists));
        let mut agent = Self { link, offers: sender, acknowledged, opened, offered };
        agent.offer(offers).await;
        agent
    }

    /// Offers these from now on.
    pub(crate) async fn offer(&mut self, offers: &[Announced]) {
        self.offers.send(offers.to_vec()).unwrap();
        let heard = tokio::time::timeout(PATIENCE, self.acknowledged.recv()).await;
        heard.expect("the hub hears of it").expect("the tunnel is there");
    }

    /// The next stream that the hub opens, in time.
    pub(crate) async fn next(&mut self) -> Stream {
        let opened = tokio::time::timeout(PATIENCE, self.opened()).await;
        opened.expect("a stream is opened").expect("the tunnel is there").0
    }

    /// The next stream that the hub opens; none once the tunnel is over.
    pub(crate) async fn opened(&mut self) -> Option<(Stream, OpenHead)> {
        self.opened.recv().await
    }

    /// Its connection.
    pub(crate) fn link(&self) -> Link {
        self.link.clone()
    }

    /// The next stream, answered with a head and nothing more yet.
    pub(crate) async fn answer(&mut self, status: u16) -> Stream {
        let stream = self.next().await;
        stream.sender.accept();
        stream.sender.send_head(&Response::new(status, []).unwrap(), false).unwrap();
        stream
    }

    /// Opens a stream to the hub, of which nothing follows if it is a request.
    pub(crate) fn call(&self, head: &OpenHead) -> Stream {
        let whole = matches!(head, OpenHead::Http(_));
        self.link.open(head, Class::Normal, whole).unwrap()
    }

    /// Waits until the hub says that it offers this to the agent.
    pub(crate) async fn offered(&mut self, is: impl Fn(&[Callable]) -> bool) {
        let told = self.offered.wait_for(|list| list.as_deref().is_some_and(&is));
        let told = tokio::time::timeout(PATIENCE, told).await.map(|told| drop(told.unwrap()));
        told.expect("the hub says so");
    }

    /// Streams that the hub opened and nobody looked at.
    pub(crate) fn waiting(&self) -> usize {
        self.opened.len()
    }

    /// Ends the tunnel, and waits for that.
    pub(crate) async fn leave(self) {
        self.link.cut(strait_tunnel::Code::None, "over");
        self.link.closed().await;
    }
}

async fn listen(
    stream: Stream,
    acks: mpsc::UnboundedSender<()>,
    lists: Arc<watch::Sender<Option<Vec<Callable>>>>,
) {
    stream.sender.accept();
    let (receiver, _sender) = stream.split();
    let mut listener = Listener::new(receiver, &SystemClock);
    while let Ok(Some(message)) = listener.next().await {
        match message {
            Message::ServicesAck { .. } if acks.send(()).is_err() => return,
            Message::Incoming { list } => drop(lists.send_replace(Some(list))),
            _ => {}
        }
    }
}

async fn announce(link: Link, mut lists: mpsc::UnboundedReceiver<Vec<Announced>>) {
    let stream = link.open(&OpenHead::Control, Class::Interactive, false).unwrap();
    let (_receiver, mut sender) = stream.split();
    let mut speaker = Speaker::new(&mut sender, &SystemClock);
    let mut number = 0;
    while let Some(list) = lists.recv().await {
        number += 1;
        let services = Services { r#gen: number, hash: number.to_string(), part: 1, of: 1, list };
        if speaker.say(&Message::Services(services).to_bytes()).await.is_err() {
            return;
        }
    }
}

/// How a stream ends, seen from the agent.
pub(crate) async fn end_of(stream: &mut Stream) -> Part {
    let end = async {
        loop {
            match stream.receiver.next().await {
                Part::End => {
                    // The request's end: what comes then is the end of the stream.
                    let code = stream.sender.stopped().await;
                    let text = "".into();
                    let (by, truncated, unexecuted) = (EndedBy::Peer, true, false);
                    let end = End { code, by, truncated, unexecuted, text };
                    return Part::Broken(end);
                }
                broken @ Part::Broken(_) => return broken,
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, end).await.expect("the stream ends")
}

/// The workspace root:acme with alice, who may do everything there, and the agent smith.
pub(crate) struct Acme {
    pub(crate) hub: TestHub,
    pub(crate) alice: Client,
}

impl Acme {
    pub(crate) async fn new() -> Self {
        Self::on(TestHub::start().await).await
    }

    pub(crate) async fn on(hub: TestHub) -> Self {
        let workspace = hub.workspace("root:acme").await;
        workspace.bind("relay", "root", "relay.strait.dev").await;
        workspace.make_administrator("alice").await;
        make_agent(&workspace, "smith", "{}").await;
        let alice = hub.client("alice", &[]).within("root:acme");
        Self { hub, alice }
    }

    /// One more installation of smith.
    pub(crate) async fn install(&self) -> Client {
        let token = token(&self.alice, "smith", "{}").await;
        Installation::new().join(&self.hub, &token).await
    }

    /// An instance of smith that offers `ci`; returns when that can be asked for.
    pub(crate) async fn smith(&self) -> FakeAgent {
        let agent = FakeAgent::connect(&self.install().await, &[offer("ci", "h1")]).await;
        self.alice.wait(SERVICES, "ci.smith", |_| true).await;
        agent
    }
}

/// Asks for a path of `ci`, and answers.
pub(crate) async fn ask(client: &Client, agent: &mut FakeAgent) -> Answer {
    let serve = async {
        let stream = agent.answer(200).await;
        stream.sender.finish().unwrap();
        stream
    };
    tokio::join!(client.get(CI), serve).0
}
