//! Connections to a hub by whatever way leads there: what is found out by one holds for all.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ClientConfig;
use strait_net::{Io, Resolve};
use strait_runtime::{Clock, Entropy};
use strait_types::Report;

use super::address::{Address, NoProxy};
use super::carriage::{self, Means};
use super::error::DialError;
use super::known::Known;
use super::proxy::{Proxy, ProxyError};
use super::schedule::Cause;
use crate::link::Carriage;
use crate::services::Transport;

/// Largest file of a proxy's URL, bytes.
const PROXY_FILE_MAX: usize = 4 << 10;

/// How a hub is to be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Host and port each; tried in this order.
    pub addresses: Vec<String>,
    /// What connections are carried by.
    pub transport: Transport,
    /// File with the URL of a proxy; read for each connection.
    pub proxy_file: Option<PathBuf>,
}

/// What connections to a hub are made with, and what is known of the way. Clones are the same.
#[derive(Clone)]
pub struct Ways(Arc<Inner>);

struct Inner {
    proxy: Option<Proxy>,
    no_proxy: NoProxy,
    resolver: Arc<dyn Resolve>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    known: Mutex<Known>,
}

impl Ways {
    /// Knows nothing yet. `proxy` is the environment's: that of a way's own file goes before it.
    /// `no_proxy` says for whom it is not used.
    #[must_use]
    pub fn new(
        proxy: Option<Proxy>,
        no_proxy: NoProxy,
        resolver: Arc<dyn Resolve>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let known = Mutex::default();
        Self(Arc::new(Inner { proxy, no_proxy, resolver, clock, entropy, known }))
    }

    /// By what time certificates are judged.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// Connects to a hub at the first address that takes it, which is given back, with the one
    /// protocol that `tls` has.
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn connect<'a>(
        &self,
        way: &'a Way,
        tls: Arc<ClientConfig>,
    ) -> Result<(&'a str, Box<dyn Io>), DialError> {
        let attempt = |address, carriage| {
            let tls = tls.clone();
            async move { Ok((address, self.reach(address, carriage, way, tls).await?)) }
        };
        self.first(way, attempt).await
    }

    /// Makes attempts at the addresses of a way, by what they may be reached, until one succeeds.
    pub(super) async fn first<'a, T, F>(
        &self,
        way: &'a Way,
        attempt: impl Fn(&'a str, Carriage) -> F,
    ) -> Result<T, DialError>
    where
        F: Future<Output = Result<T, DialError>>,
    {
        let mut failed = DialError::NoAddress;
        for address in &way.addresses {
            let order = self.0.known.lock().order(way.transport, self.now());
            let mut here: Option<DialError> = None;
            for carriage in order {
                let error = match attempt(address, *carriage).await {
                    Ok(made) => {
                        self.won(*carriage);
                        return Ok(made);
                    }
                    Err(error) => error,
                };
                self.0.known.lock().failed(*carriage);
                tracing::debug!(address, carriage = carriage.as_str(), err = %Report(&error), "an address of the hub failed");
                let goes_on = error.is_of_the_way();
                here = Some(match here {
                    Some(before) => before.and(error),
                    None => error,
                });
                if !goes_on {
                    break;
                }
            }
            // Who is refused at one address has to be told of it, whatever the others do.
            if let Some(here) = here.filter(|_| failed.cause() != Cause::Refused) {
                failed = here;
            }
        }
        Err(failed)
    }

    /// A connection was made by this.
    pub(super) fn won(&self, carriage: Carriage) {
        self.0.known.lock().won(carriage, self.now());
    }

    /// Connects to one address.
    pub(super) async fn reach(
        &self,
        text: &str,
        carriage: Carriage,
        way: &Way,
        tls: Arc<ClientConfig>,
    ) -> Result<Box<dyn Io>, DialError> {
        let address: Address = text.parse()?;
        let proxy = self.proxy(&address, way.proxy_file.clone()).await?;
        let means = Means {
            proxy: proxy.as_ref(),
            tls,
            resolver: &*self.0.resolver,
            clock: &self.0.clock,
            entropy: &*self.0.entropy,
        };
        carriage::connect(&address, carriage, means).await
    }

    fn now(&self) -> Duration {
        self.0.clock.monotonic()
    }

    /// The proxy to take to an address.
    async fn proxy(
        &self,
        address: &Address,
        file: Option<PathBuf>,
    ) -> Result<Option<Proxy>, DialError> {
        let Some(file) = file else {
            let proxy = self.0.proxy.as_ref().filter(|_| !self.0.no_proxy.covers(address));
            return Ok(proxy.cloned());
        };
        let read = move || {
            let text = strait_runtime::fs::read_capped(&file, PROXY_FILE_MAX);
            let text = text.map_err(|error| Report(&error).to_string())?;
            let url = String::from_utf8_lossy(&text);
            url.parse().map_err(|error| format!("{} {error}", file.display()))
        };
        let read = tokio::task::spawn_blocking(read).await;
        let read = read.unwrap_or_else(|_| Err("reading it panicked".to_owned()));
        Ok(Some(read.map_err(ProxyError::File)?))
    }
}
