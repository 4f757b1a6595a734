//! Who asks, watches and leaves: 200 requests a second of every kind, 500 streams of events, of
//! which a few end each second and are opened again, and 50 that leave in the middle, each by
//! half over HTTP/1.1 and HTTP/2.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use parking_lot::RwLock;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::bench::relay::client::{Client, Target};
use crate::bench::relay::http2::{self, Http2};

/// Clients that ask, each so often.
const ASKING: usize = 20;
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Clients that watch, and for how long at least; each is some seconds longer than the one before.
const WATCHING: usize = 500;
const WATCH_MIN: Duration = Duration::from_secs(60);
const WATCH_STEP: Duration = Duration::from_millis(500);
/// Clients that leave, each so often.
const LEAVING: usize = 10;
const LEAVE_EVERY: Duration = Duration::from_millis(200);
/// Time for an answer; and until one that failed tries again.
const PATIENCE: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_millis(500);
/// What is uploaded, and what is downloaded and broken off, bytes.
const UPLOAD: u64 = 32 << 10;
const DOWNLOAD: &str = "/bulk/65536";
const ENDLESS: &str = "/bulk/100000000";

/// The load. Dropping it breaks all off.
pub(super) struct Load {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

struct Shared {
    target: RwLock<Arc<Target>>,
    answered: AtomicU64,
    failed: AtomicU64,
    left: AtomicU64,
    reopened: AtomicU64,
}

impl Shared {
    fn target(&self) -> Arc<Target> {
        self.target.read().clone()
    }
}

impl Load {
    /// Starts.
    pub(super) fn start(target: &Target) -> Self {
        let counts = [0; 4].map(AtomicU64::new);
        let [answered, failed, left, reopened] = counts;
        let target = RwLock::new(Arc::new(target.clone()));
        let shared = Arc::new(Shared { target, answered, failed, left, reopened });
        let mut tasks = JoinSet::new();
        for number in 0..ASKING {
            tasks.spawn(ask_on(shared.clone(), number));
        }
        for number in 0..WATCHING {
            tasks.spawn(watch_on(shared.clone(), number));
        }
        for number in 0..LEAVING {
            tasks.spawn(leave_on(shared.clone(), number));
        }
        Self { shared, tasks }
    }

    /// Ends all of it, connections too.
    pub(super) async fn end(mut self) {
        self.tasks.shutdown().await;
    }

    /// Shows other credentials from now on.
    pub(super) fn renew(&self, tokens: Vec<String>) {
        let target = Target { tokens, ..(*self.shared.target()).clone() };
        *self.shared.target.write() = Arc::new(target);
    }

    /// What came of it since this was asked last.
    pub(super) fn told(&self) -> String {
        let Shared { answered, failed, left, reopened, .. } = &*self.shared;
        let [answered, failed, left, reopened] =
            [answered, failed, left, reopened].map(|count| count.swap(0, Ordering::Relaxed));
        format!("{answered} answered, {failed} failed, {left} left, {reopened} watches opened")
    }
}

/// A connection of one of the two versions.
enum Connection {
    One(Client),
    Two(Http2),
}

impl Connection {
    async fn open(target: &Target, number: usize) -> Result<Self> {
        Ok(if number.is_multiple_of(2) {
            Self::One(Client::open(target).await?)
        } else {
            Self::Two(Http2::open(target).await?)
        })
    }

    /// One request of a kind, and its whole answer.
    async fn exchange(&mut self, target: &Target, number: usize, round: usize) -> Result<()> {
        let (method, path) = match round % 4 {
            0 | 1 => ("GET", "/small"),
            2 => ("GET", DOWNLOAD),
            _ => ("PUT", "/bulk"),
        };
        match self {
            Self::One(client) => {
                let request = target.request(number, method, path, UPLOAD);
                match method {
                    "PUT" => client.upload(&request, UPLOAD).await,
                    _ => client.download(&request).await,
                }
            }
            Self::Two(client) => {
                let length = if method == "PUT" { UPLOAD } else { 0 };
                let body = Bytes::from(vec![b'.'; usize::try_from(length)?]);
                http2::read(client.ask(target, number, method, path, body).await?).await
            }
        }
    }

    /// Follows events until somebody ends them.
    async fn watch(&mut self, target: &Target, number: usize) -> Result<()> {
        match self {
            Self::One(client) => {
                client.open_quiet(&target.request(number, "GET", "/quiet", 0)).await?;
                client.ended().await
            }
            Self::Two(client) => {
                let body = client.ask(target, number, "GET", "/quiet", Bytes::new()).await?;
                http2::read(body).await
            }
        }
    }

    /// Begins something, and leaves in the middle: with the connection, or with its stream alone.
    async fn leave(&mut self, target: &Target, number: usize, round: usize) -> Result<()> {
        let path = if round.is_multiple_of(3) { "/quiet" } else { ENDLESS };
        match self {
            Self::One(client) => match round % 3 {
                0 => client.open_quiet(&target.request(number, "GET", path, 0)).await,
                1 => client.begin(&target.request(number, "GET", path, 0)).await.map(drop),
                _ => client.send(&target.request(number, "PUT", "/bulk", UPLOAD)).await,
            },
            Self::Two(client) => {
                client.ask(target, number, "GET", path, Bytes::new()).await.map(drop)
            }
        }
    }
}

async fn ask_on(shared: Arc<Shared>, number: usize) {
    let mut connection = None;
    let mut due = interval(ASK_EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in number.. {
        due.tick().await;
        let target = shared.target();
        let asked = async {
            let mut open = match connection.take() {
                Some(open) => open,
                None => Connection::open(&target, number).await?,
            };
            open.exchange(&target, number, round).await?;
            anyhow::Ok(open)
        };
        if let Ok(Ok(open)) = timeout(PATIENCE, asked).await {
            connection = Some(open);
            shared.answered.fetch_add(1, Ordering::Relaxed);
        } else {
            shared.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn watch_on(shared: Arc<Shared>, number: usize) {
    let time = WATCH_MIN + WATCH_STEP * u32::try_from(number).unwrap_or(0);
    sleep(Duration::from_millis(10) * u32::try_from(number).unwrap_or(0)).await;
    loop {
        let target = shared.target();
        let watched = async {
            let mut open = Connection::open(&target, number).await?;
            shared.reopened.fetch_add(1, Ordering::Relaxed);
            open.watch(&target, number).await
        };
        if timeout(time, watched).await.is_ok() {
            // It ended before its time: so does what an agent's death takes along.
            sleep(AGAIN).await;
        }
    }
}

async fn leave_on(shared: Arc<Shared>, number: usize) {
    let mut connection = None;
    let mut due = interval(LEAVE_EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in number.. {
        due.tick().await;
        let target = shared.target();
        let left = async {
            let mut open = match connection.take() {
                Some(open @ Connection::Two(_)) => open,
                _ => Connection::open(&target, number).await?,
            };
            open.leave(&target, number, round).await?;
            anyhow::Ok(open)
        };
        if let Ok(Ok(open)) = timeout(PATIENCE, left).await {
            connection = Some(open);
            shared.left.fetch_add(1, Ordering::Relaxed);
        } else {
            shared.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}
