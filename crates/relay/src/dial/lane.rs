//! One connection that is wanted: made, watched, replaced.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use prometheus_client::metrics::gauge::Gauge;
use strait_net::Io;
use strait_runtime::{Shutdown, random_share};
use strait_tunnel::{Close, Code, Peer, Side};
use strait_types::Report;

use super::error::{DialError, cause};
use super::schedule::{Cause, Schedule};
use super::talk::Talk;
use super::{Inner, Route, Way};
use crate::link::{Carriage, Link};
use crate::services::Transport;

/// Time for a new connection's announcement to be acknowledged, before the old one is let go
/// anyway: a hub may be too old to acknowledge.
const ANNOUNCE_WITHIN: Duration = Duration::from_secs(5);

/// How often the wall clock is looked at: a machine that slept must not wait out the rest.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Keeps one connection.
pub(super) struct Lane {
    inner: Arc<Inner>,
    stop: Shutdown,
    schedule: Schedule,
    /// Its connection.
    link: Arc<ArcSwapOption<Link>>,
    /// What was logged last of what is wrong.
    told: Option<String>,
}

/// A connection that is ready.
struct Live {
    link: Link,
    talk: Talk,
    /// When it was ready.
    since: Duration,
    /// When its certificate ends.
    not_after: Timestamp,
    replace_at: Timestamp,
    address: String,
    carriage: Carriage,
    way: Way,
    spread: Duration,
}

/// Why a connection is not watched any longer.
enum Outcome {
    /// Another has to be made, after a wait.
    Ended(Cause),
    /// Another has to be made, and this one goes on until then.
    Replace,
    /// None is wanted.
    Stop,
}

impl Lane {
    pub(super) fn new(inner: Arc<Inner>, stop: Shutdown) -> Self {
        let (schedule, link) = (Schedule::default(), Arc::default());
        Self { inner, stop, schedule, link, told: None }
    }

    /// Where its connection is found.
    pub(super) fn link(&self) -> Arc<ArcSwapOption<Link>> {
        self.link.clone()
    }

    /// Until it is told to stop.
    pub(super) async fn run(mut self) {
        // One that is to be let go when another is there.
        let mut old: Option<Live> = None;
        loop {
            let stop = self.stop.clone();
            let opened = tokio::select! {
                () = stop.asked() => break,
                opened = self.open() => opened,
            };
            let (cause, lived) = match opened {
                Err(error) => (self.failed(&error), Duration::ZERO),
                Ok(live) => {
                    self.told = None;
                    if old.is_some() {
                        tokio::select! {
                            () = live.talk.acknowledged(ANNOUNCE_WITHIN) => {}
                            _ = live.link.closed() => {}
                        }
                    }
                    // What the hub ends at once takes nobody's place.
                    if live.link.is_open() {
                        self.link.store(Some(Arc::new(live.link.clone())));
                        if let Some(old) = old.take() {
                            old.talk.leave();
                        }
                    }
                    match self.watch(&live).await {
                        Outcome::Ended(cause) => (cause, self.now().saturating_sub(live.since)),
                        Outcome::Replace => {
                            old = Some(live);
                            continue;
                        }
                        Outcome::Stop => {
                            live.talk.leave();
                            break;
                        }
                    }
                }
            };
            let share = random_share(&*self.inner.context.entropy);
            let wait = self.schedule.wait(cause, lived, share);
            tokio::select! {
                () = self.stop.asked() => break,
                () = tokio::time::sleep(wait) => {}
            }
        }
        if let Some(old) = old {
            old.talk.leave();
        }
    }

    fn now(&self) -> Duration {
        self.inner.context.clock.monotonic()
    }

    /// Makes a connection by the first address that takes one.
    async fn open(&self) -> Result<Live, DialError> {
        let setup = &self.inner.setup;
        let Some(route) = setup.route.borrow().clone() else { return Err(DialError::NoAddress) };
        let attempt = |address, carriage| self.open_at(address, carriage, &route);
        setup.ways.first(&route.way, attempt).await
    }

    async fn connect(
        &self,
        address: &str,
        carriage: Carriage,
        way: &Way,
    ) -> Result<Box<dyn Io>, DialError> {
        let setup = &self.inner.setup;
        setup.ways.reach(address, carriage, way, setup.member.tls()?).await
    }

    async fn open_at(
        &self,
        text: &str,
        carriage: Carriage,
        route: &Route,
    ) -> Result<Live, DialError> {
        let Inner { setup, context, .. } = &*self.inner;
        let (not_after, replace_at) = (setup.member.not_after(), setup.member.replace_at());
        let transport = self.connect(text, carriage, &route.way).await?;
        let (talk, acceptor) = Talk::new(&self.inner);
        let clock = context.clock.clone();
        let config = setup.config.clone();
        let (link, driver) = Link::new(transport, Side::Dialler, config, clock, acceptor);
        link.account(&setup.memory, "");
        self.inner.with_status(|status| status.open += 1);
        let inner = self.inner.clone();
        context.tasks.spawn("tunnel", async move {
            driver.await;
            inner.with_status(|status| status.open -= 1);
        });
        let unready = Unready(Some(link));
        let peer = unready.ready().await;
        let peer = peer.map_err(|close| DialError::Ended { address: text.to_owned(), close })?;
        let link = unready.done();
        talk.start(&link);
        self.count(&link, self.inner.metrics.ready(text, carriage));
        let software = &*peer.software;
        tracing::info!(
            hub = text,
            carriage = carriage.as_str(),
            software,
            "a connection to the hub is ready"
        );
        let since = self.now();
        let spread = peer.drain_spread.unwrap_or_default();
        let (address, way) = (text.to_owned(), route.way.clone());
        Ok(Live { link, talk, since, not_after, replace_at, address, carriage, way, spread })
    }

    /// Counts a connection for as long as it takes streams.
    fn count(&self, link: &Link, ready: Gauge) {
        let (inner, link) = (self.inner.clone(), link.clone());
        ready.inc();
        inner.with_status(|status| {
            status.failure = None;
            status.ready += 1;
        });
        let number = inner.links.lock().add(link.clone());
        self.inner.context.tasks.spawn("tunnel-count", async move {
            drop(link.draining().await);
            inner.links.lock().remove(number);
            ready.dec();
            inner.with_status(|status| status.ready = status.ready.saturating_sub(1));
        });
    }

    /// Says once why there is no connection.
    fn failed(&mut self, error: &DialError) -> Cause {
        let (cause, text) = (error.cause(), Report(error).to_string());
        self.inner.metrics.failed(error);
        if self.told.as_ref() != Some(&text) {
            match cause {
                Cause::Refused => tracing::error!(err = text, "the hub cannot be used"),
                _ => tracing::warn!(err = text, "no connection to the hub"),
            }
        }
        self.inner.with_status(|status| status.failure = Some(text.clone()));
        self.told = Some(text);
        cause
    }

    /// Waits until a connection has to be made again.
    async fn watch(&self, live: &Live) -> Outcome {
        let mut route = self.inner.setup.route.clone();
        let other =
            |route: &Option<Route>| route.as_ref().is_some_and(|route| route.way != live.way);
        let rerouted = async {
            if route.wait_for(other).await.is_err() {
                std::future::pending().await
            }
        };
        let outcome = tokio::select! {
            () = self.stop.asked() => Outcome::Stop,
            draining = live.link.draining() => Outcome::Ended(match draining {
                Some(draining) if draining.code == Code::Revoked => Cause::Refused,
                Some(_) => {
                    self.inner.metrics.drained("hub");
                    Cause::Drained(live.spread)
                }
                None => self.lost(live).await,
            }),
            () = rerouted => Outcome::Replace,
            () = self.outdated(live) => Outcome::Replace,
            () = self.direct_again(live) => Outcome::Replace,
        };
        if let Outcome::Ended(cause) = &outcome {
            self.inner.metrics.ended(*cause);
        }
        outcome
    }

    async fn lost(&self, live: &Live) -> Cause {
        let close = live.link.closed().await;
        let (code, text) = (close.code, crate::link::control::shown(&close.text));
        let cause = cause(&close);
        if cause == Cause::Refused {
            let failure = format!("the hub ended the connection: {text} ({code})");
            tracing::error!(err = failure, "the hub cannot be used");
            self.inner.with_status(|status| status.failure = Some(failure));
        } else {
            tracing::warn!(%code, text, "a connection to the hub ended");
        }
        cause
    }

    /// Waits until a hub that was reached inside a WebSocket can be reached without.
    async fn direct_again(&self, live: &Live) {
        let indirect = live.carriage == Carriage::WebSocket;
        if !indirect || live.way.transport != Transport::Auto {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(self.inner.setup.probe_every).await;
            if self.connect(&live.address, Carriage::Direct, &live.way).await.is_ok() {
                self.inner.setup.ways.won(Carriage::Direct);
                return;
            }
        }
    }

    /// Waits until the certificate of a connection is to be replaced and the next one is there.
    async fn outdated(&self, live: &Live) {
        let (member, clock) = (&self.inner.setup.member, &self.inner.context.clock);
        loop {
            let left = Duration::try_from(live.replace_at.duration_since(clock.now()));
            let left = left.unwrap_or_default();
            if left.is_zero() && member.not_after() > live.not_after {
                return;
            }
            let wait = if left.is_zero() { LOOK_EVERY } else { left.min(LOOK_EVERY) };
            tokio::time::sleep(wait).await;
        }
    }
}

/// A connection that is cut if nobody waits for it any longer.
struct Unready(Option<Link>);

impl Unready {
    async fn ready(&self) -> Result<Arc<Peer>, Arc<Close>> {
        let link = self.0.as_ref().expect("it is taken at the end only");
        link.ready().await
    }

    fn done(mut self) -> Link {
        self.0.take().expect("it is taken here only")
    }
}

impl Drop for Unready {
    fn drop(&mut self) {
        if let Some(link) = &self.0 {
            link.cut(Code::None, "the agent gave up waiting");
        }
    }
}
