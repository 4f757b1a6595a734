//! The ways from a client to the service that are compared.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ClientConfig;

use super::client::{Client, Target};
use super::process::{self, Process};
use super::service::Service;
use super::{nginx, strait};
use crate::bench::Ground;
use crate::bench::hub::{Hub, last_lines};
use crate::stopwatch::Stopwatch;

/// Time for a path to come up.
const UP_MAX: Duration = Duration::from_secs(15);
/// Time for an attempt, more than two round trips of the longest line, and from its failure to the next.
const ATTEMPT_MAX: Duration = Duration::from_millis(300);
const AGAIN: Duration = Duration::from_millis(2);

/// A way to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No process between, no TLS: what client and service can do.
    Direct,
    /// Two nginx with TLS on both hops, each with one worker.
    Nginx,
    /// The same with two workers each.
    Nginx2,
    /// `strait hub` and `strait agent`.
    Strait,
}

impl Kind {
    /// All.
    pub(crate) const ALL: [Self; 4] = [Self::Direct, Self::Nginx, Self::Nginx2, Self::Strait];
    /// What a chain is compared with.
    pub(crate) const RIVALS: [Self; 2] = [Self::Nginx, Self::Nginx2];

    /// In tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Nginx2 => "nginx, 2 workers",
            Self::Strait => "strait",
        }
    }
}

/// The side that clients reach.
#[derive(Debug)]
pub(crate) enum Outer {
    /// The service itself.
    Nothing,
    /// One that is ended by ending its process.
    Process(Process),
    /// A hub.
    Hub(Hub),
}

/// A way that is up. Dropping it ends its processes.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) kind: Kind,
    pub(crate) target: Target,
    pub(crate) outer: Outer,
    /// The side that reaches the service.
    pub(crate) inner: Option<Process>,
    /// Where they say what is wrong.
    pub(crate) logs: Vec<PathBuf>,
}

impl Path {
    /// Brings a path up, until it has answered.
    ///
    /// # Errors
    /// It does not come up in time.
    pub(crate) async fn start(ground: &Ground, kind: Kind, service: &Service) -> Result<Self> {
        let path = match kind {
            Kind::Direct => direct(service),
            Kind::Nginx => nginx::start(ground, kind, 1, service)?,
            Kind::Nginx2 => nginx::start(ground, kind, 2, service)?,
            Kind::Strait => strait::start(ground, service).await?,
        };
        let log = || path.logs.iter().map(|log| last_lines(log)).collect::<Vec<_>>().join("\n");
        let down = || format!("{} does not come up; its log: {}", kind.name(), log());
        path.first_success(UP_MAX).await.with_context(down)?;
        Ok(path)
    }

    /// How long it takes until a request is answered. One is tried after the other.
    ///
    /// # Errors
    /// None is in time; the last one's error.
    pub(crate) async fn first_success(&self, limit: Duration) -> Result<Duration> {
        let request = self.target.request(0, "GET", "/small", 0);
        let stopwatch = Stopwatch::start();
        loop {
            let attempt = async { Client::open(&self.target).await?.exchange(&request).await };
            let error = match tokio::time::timeout(ATTEMPT_MAX, attempt).await {
                Ok(Ok(())) => return Ok(stopwatch.elapsed()),
                Ok(Err(error)) => error,
                Err(late) => late.into(),
            };
            if stopwatch.elapsed() > limit {
                return Err(error);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// The processes of both sides.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let mut pids = match &self.outer {
            Outer::Nothing => Vec::new(),
            Outer::Process(process) => process.pids(),
            Outer::Hub(hub) => process::family(hub.pid()),
        };
        pids.extend(self.inner.iter().flat_map(Process::pids));
        pids
    }
}

fn direct(service: &Service) -> Path {
    Path {
        kind: Kind::Direct,
        target: target(service.address.port(), None, String::new()),
        outer: Outer::Nothing,
        inner: None,
        logs: Vec::new(),
    }
}

/// Lets this process, and those that it starts, have as many connections as may be.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn raise_descriptor_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

/// Where a path on this machine begins.
pub(crate) fn target(port: u16, tls: Option<Arc<ClientConfig>>, prefix: String) -> Target {
    Target { address: ([127, 0, 0, 1], port).into(), tls, prefix, tokens: Vec::new() }
}

/// The service, and the paths to it that are compared.
#[derive(Debug)]
pub(crate) struct Site {
    /// Those that came up.
    pub(crate) paths: Vec<Path>,
    /// Why Strait's is not among them.
    pub(crate) absent: Option<String>,
    /// Ended last.
    _service: Service,
}

impl Site {
    /// Brings paths up. Where Strait's does not come up, its figures are missing and their goals
    /// missed, and the others are measured all the same.
    ///
    /// # Errors
    /// Another path does not come up.
    pub(crate) async fn start(ground: &Ground, kinds: &[Kind]) -> Result<Self> {
        raise_descriptor_limit()?;
        let service = Service::start()?;
        let (mut paths, mut absent) = (Vec::new(), None);
        for kind in kinds {
            match Path::start(ground, *kind, &service).await {
                Ok(path) => paths.push(path),
                Err(error) if *kind == Kind::Strait => absent = Some(format!("{error:#}")),
                Err(error) => return Err(error),
            }
        }
        Ok(Self { paths, absent, _service: service })
    }
}
