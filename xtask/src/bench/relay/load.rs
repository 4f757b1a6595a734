//! Load: clients that each send one request after the other, or all keep a pace.
//!
//! One thread makes it. Every wait is bounded by [`PATIENCE`].

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::client::{Client, Target};
use super::pace::Pace;
use crate::bench::report::percentile;
use crate::stopwatch::Stopwatch;

/// What is measured with small requests.
const SMALL: &str = "/small";
/// Time for an answer, and for what was begun to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// What clients met with.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What the answers took, sorted.
    latencies: Vec<Duration>,
    /// From the start to the last answer.
    elapsed: Duration,
    /// Requests without an answer.
    pub(crate) errors: usize,
}

impl Outcome {
    /// Answers.
    pub(crate) fn count(&self) -> f64 {
        self.latencies.len() as f64
    }

    /// Answers a second.
    pub(crate) fn per_second(&self) -> f64 {
        self.count() / self.elapsed.as_secs_f64()
    }

    /// Milliseconds below which this share of answers took.
    pub(crate) fn milliseconds(&self, share: f64) -> f64 {
        crate::bench::report::milliseconds(percentile(&self.latencies, share))
    }
}

/// Clients with open connections.
pub(crate) struct Clients {
    target: Arc<Target>,
    idle: Vec<(usize, Client)>,
}

impl Clients {
    /// Opens so many connections.
    ///
    /// # Errors
    /// One cannot be opened.
    pub(crate) async fn open(target: &Target, count: usize) -> Result<Self> {
        let target = Arc::new(target.clone());
        let mut idle = Vec::with_capacity(count);
        for number in 0..count {
            idle.push((number, Client::open(&target).await?));
        }
        Ok(Self { target, idle })
    }

    /// Each client sends one request after the other for a time.
    ///
    /// # Errors
    /// One is not answered as it should be.
    pub(crate) async fn closed(&mut self, time: Duration) -> Result<Outcome> {
        let mut tasks = JoinSet::new();
        let stopwatch = Stopwatch::start();
        for (number, mut client) in self.idle.drain(..) {
            let request = self.target.request(number, "GET", SMALL, 0);
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                let mut begun = stopwatch.elapsed();
                while begun < time {
                    client.exchange(&request).await?;
                    let ended = stopwatch.elapsed();
                    latencies.push(ended - begun);
                    begun = ended;
                }
                anyhow::Ok((number, client, latencies))
            });
        }
        let mut outcome = Outcome::default();
        let gather = async {
            while let Some(ended) = tasks.join_next().await {
                let (number, client, latencies) = ended??;
                self.idle.push((number, client));
                outcome.latencies.extend(latencies);
            }
            outcome.elapsed = stopwatch.elapsed();
            anyhow::Ok(())
        };
        tokio::time::timeout(time + PATIENCE, gather).await.context("a request hangs")??;
        outcome.latencies.sort_unstable();
        Ok(outcome)
    }

    /// All clients together keep a pace for a time, whatever became of the requests before.
    /// Latency counts from when a request was meant to be sent.
    ///
    /// # Errors
    /// The pace cannot be kept here.
    pub(crate) async fn paced(&mut self, per_second: u32, time: Duration) -> Result<Outcome> {
        let interval = Duration::from_secs(1) / per_second;
        let total = time.div_duration_f64(interval).round();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
        let total = total as usize;
        let mut pace = Pace::start(interval)?;
        let stopwatch = pace.stopwatch();
        let mut tasks = JoinSet::new();
        let mut queues = Vec::new();
        for (number, client) in self.idle.drain(..) {
            let (queue, due) = mpsc::channel(total);
            queues.push(queue);
            tasks.spawn(keep_up(self.target.clone(), number, client, due, stopwatch));
        }
        let mut sent = 0;
        while sent < total {
            for due in pace.tick().await?.into_iter().take(total - sent) {
                queues[sent % queues.len()].try_send(due)?;
                sent += 1;
            }
        }
        drop(queues);
        let mut outcome = Outcome::default();
        while let Some(ended) = tasks.join_next().await {
            let (number, client, latencies, errors) = ended?;
            self.idle.extend(client.map(|client| (number, client)));
            outcome.latencies.extend(latencies);
            outcome.errors += errors;
        }
        outcome.elapsed = stopwatch.elapsed();
        outcome.latencies.sort_unstable();
        Ok(outcome)
    }
}

/// Sends a request for each time that is due; a client that broke is replaced.
async fn keep_up(
    target: Arc<Target>,
    number: usize,
    client: Client,
    mut due: mpsc::Receiver<Duration>,
    stopwatch: Stopwatch,
) -> (usize, Option<Client>, Vec<Duration>, usize) {
    let request = target.request(number, "GET", SMALL, 0);
    let (mut latencies, mut errors) = (Vec::new(), 0);
    let mut client = Some(client);
    while let Some(due) = due.recv().await {
        let exchange = async {
            let mut open = match client.take() {
                Some(client) => client,
                None => Client::open(&target).await?,
            };
            open.exchange(&request).await?;
            anyhow::Ok(open)
        };
        if let Ok(Ok(open)) = tokio::time::timeout(PATIENCE, exchange).await {
            latencies.push(stopwatch.elapsed() - due);
            client = Some(open);
        } else {
            errors += 1;
        }
    }
    (number, client, latencies, errors)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;
    use crate::bench::relay::path::target;
    use crate::bench::relay::service::Service;

    #[tokio::test]
    async fn every_request_of_a_pace_is_answered_and_clients_are_used_again() {
        let service = Service::start().unwrap();
        let target = target(service.address.port(), None, String::new());
        let mut clients = Clients::open(&target, 4).await.unwrap();
        let closed = clients.closed(Duration::from_millis(20)).await.unwrap();
        assert!(closed.count() >= 4.0, "{closed:?}");
        for _ in 0..2 {
            let paced = clients.paced(500, Duration::from_millis(100)).await.unwrap();
            assert_eq!((paced.count(), paced.errors), (50.0, 0));
        }
    }

    #[tokio::test]
    async fn a_request_without_an_answer_is_counted_and_its_client_replaced() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = target(listener.local_addr().unwrap().port(), None, String::new());
        let mut clients = Clients::open(&target, 1).await.unwrap();
        let refusing = async {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(b"HTTP/1.1 503 Away\r\n\r\n").await.unwrap();
            }
        };
        let paced = tokio::select! {
            paced = clients.paced(1000, Duration::from_millis(5)) => paced.unwrap(),
            () = refusing => unreachable!("it goes on"),
        };
        assert_eq!((paced.count(), paced.errors), (0.0, 5));
    }
}
