//! What two processes hold at a moment, and how that changes.

use std::fs;

use anyhow::Result;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;

use crate::bench::cpu;
use crate::bench::hub::{HOST, Hub};
use crate::https;

/// What stands above lines.
pub(super) const HEAD: &str = "          own MiB: hub, agent   history    open files    streams";
/// The hub's metric of streams that are open.
const STREAMS: &str = "strait_relay_streams_open{";
/// Its metric of what it keeps of revisions, which has a bound of its own.
const HISTORY: &str = "strait_store_history_bytes";

/// What is held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Memory of the hub, and of the agent, that is their own.
    pub(super) own_mib: [f64; 2],
    pub(super) descriptors: [usize; 2],
    pub(super) streams: u64,
    /// Of the hub's memory, what it keeps of revisions.
    pub(super) history_mib: f64,
}

/// Looks.
///
/// # Errors
/// One of the two has ended, or the hub does not answer.
pub(super) async fn look(hub: &Hub, agent: u32) -> Result<Look> {
    let (own_mib, descriptors) = ([0.0; 2], [0; 2]);
    let mut look = Look { own_mib, descriptors, streams: 0, history_mib: 0.0 };
    for (at, pid) in [hub.pid(), agent].into_iter().enumerate() {
        look.own_mib[at] = f64::from(cpu::own_kib(pid)?) / 1024.0;
        look.descriptors[at] = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    }
    let (mut sender, driver) = hub.connect(hub.admin()?).await?;
    let request = Request::get("/metrics").header(header::HOST, HOST);
    let request = request.body(Full::<Bytes>::default())?;
    let told = https::drive(driver, https::answer(&mut sender, request)).await?;
    let told = String::from_utf8_lossy(told.body());
    look.streams = sum(&told, STREAMS);
    look.history_mib = sum(&told, HISTORY) as f64 / f64::from(1 << 20);
    Ok(look)
}

/// Of all series that begin so.
fn sum(metrics: &str, name: &str) -> u64 {
    let of = |line: &str| line.strip_prefix(name)?.rsplit(' ').next()?.parse::<u64>().ok();
    metrics.lines().filter_map(of).sum()
}

impl Look {
    /// The least memory of both looks, and the later one's other figures.
    pub(super) fn least(self, later: Self) -> Self {
        let [hub, agent] = later.own_mib;
        let own_mib = [self.own_mib[0].min(hub), self.own_mib[1].min(agent)];
        Self { own_mib, ..later }
    }

    /// As a line.
    pub(super) fn line(&self, when: &str) -> String {
        let ([hub, agent], [files, others]) = (self.own_mib, self.descriptors);
        let Self { streams, history_mib, .. } = self;
        format!(
            "{when:>8}  {hub:>10.2} {agent:>9.2} {history_mib:>9.2} {files:>9} {others:>5} {streams:>9}"
        )
    }
}

/// A line through points (least squares).
#[derive(Clone, Debug, Default)]
pub(super) struct Trend(Vec<(f64, f64)>);

impl Trend {
    /// Adds a point: minutes, and MiB.
    pub(super) fn add(&mut self, minutes: f64, mib: f64) {
        self.0.push((minutes, mib));
    }

    /// MiB an hour, and the standard error of that.
    pub(super) fn per_hour(&self) -> (f64, f64) {
        let count = self.0.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| self.0.iter().map(of).sum::<f64>() / count;
        let (x, y) = (mean(|point| point.0), mean(|point| point.1));
        let spread: f64 = self.0.iter().map(|point| (point.0 - x).powi(2)).sum();
        let together: f64 = self.0.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
        let slope = together / spread;
        let off = |point: &(f64, f64)| (point.1 - y - slope * (point.0 - x)).powi(2);
        let rest: f64 = self.0.iter().map(off).sum();
        let error = (rest / (count - 2.0).max(1.0) / spread).sqrt();
        (slope * 60.0, error * 60.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_slope_of_a_line_and_how_sure_it_is() {
        let mut trend = Trend::default();
        for minute in 0..10 {
            trend.add(f64::from(minute), 40.0 + 0.5 * f64::from(minute));
        }
        let (slope, error) = trend.per_hour();
        assert!((slope - 30.0).abs() < 1e-9 && error < 1e-6, "{slope} {error}");
        trend.add(10.0, 55.0);
        assert!(trend.per_hour().1 > 10.0);
    }

    #[test]
    fn counts_streams_of_all_services() {
        let metrics = "# TYPE strait_relay_streams_open gauge\n\
            strait_relay_streams_open{service=\"a\"} 3\nstrait_relay_streams_open{service=\"b\"} 4\n\
            strait_relay_streams_total{service=\"b\"} 9\n";
        assert_eq!(sum(metrics, STREAMS), 7);
        assert_eq!(sum("strait_store_history_bytes 162297", HISTORY), 162_297);
    }
}
