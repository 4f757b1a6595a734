//! What the kernel says of this process, under the names that Prometheus clients agreed on
//! (`process_*`).

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::process::{Resource, getrlimit};

use crate::Clock;

/// Ticks a second in `/proc/self/stat`: fixed by the kernel's interface (`USER_HZ`) on x86-64
/// and arm64, whatever the kernel's own timer runs at.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads `/proc/self` at each scrape. What cannot be read is left out.
#[derive(Debug)]
pub(crate) struct ProcessCollector {
    started: Option<f64>,
}

impl ProcessCollector {
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        let seconds = |time: Duration| time.as_secs_f64();
        let booted = clock.now().as_duration().as_secs_f64() - seconds(clock.monotonic());
        Self { started: read_stat().map(|stat| booted + stat.start_seconds) }
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut put = |name: &str, help: &str, value: Option<f64>| {
            let Some(value) = value else { return Ok(()) };
            if let Some(name) = name.strip_suffix("_total") {
                let metric = ConstCounter::new(value);
                let kind = metric.metric_type();
                metric.encode(encoder.encode_descriptor(name, help, None, kind)?)
            } else {
                let metric = ConstGauge::new(value);
                let kind = metric.metric_type();
                metric.encode(encoder.encode_descriptor(name, help, None, kind)?)
            }
        };
        put("process_resident_memory_bytes", "Resident memory.", read_resident_bytes())?;
        put("process_open_fds", "Open file descriptors.", count_open_files())?;
        put("process_max_fds", "File descriptors that may be open.", read_most_files())?;
        put("process_start_time_seconds", "When the process started, since 1970.", self.started)?;
        put(
            "process_cpu_seconds_total",
            "CPU time, user and system.",
            read_stat().map(|stat| stat.cpu_seconds),
        )
    }
}

struct Stat {
    cpu_seconds: f64,
    /// Since boot.
    start_seconds: f64,
}

fn read_stat() -> Option<Stat> {
    parse_stat(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// `proc_pid_stat(5)`: the second field is a name in parentheses that may hold anything.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // `rest` begins with field 3.
    let seconds = |field: usize| -> Option<f64> {
        Some(fields.get(field - 3)?.parse::<f64>().ok()? / TICKS_PER_SECOND)
    };
    Some(Stat { cpu_seconds: seconds(14)? + seconds(15)?, start_seconds: seconds(22)? })
}

fn read_resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn count_open_files() -> Option<f64> {
    let entries = std::fs::read_dir("/proc/self/fd").ok()?.count();
    // Without the one that reads the directory.
    u32::try_from(entries).ok().map(|count| f64::from(count) - 1.0)
}

/// None where there is no limit.
fn read_most_files() -> Option<f64> {
    let most = getrlimit(Resource::Nofile).current?;
    u32::try_from(most).ok().map(f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stat_whatever_the_name_of_the_program() {
        let rest = "S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 12345 1000 200 0";
        for name in ["strait", "a b", "x) S 1 (y"] {
            let stat = parse_stat(&format!("7 ({name}) {rest}")).unwrap();
            assert!((stat.cpu_seconds - 3.0).abs() < 1e-9, "{name}");
            assert!((stat.start_seconds - 123.45).abs() < 1e-9, "{name}");
        }
        for text in ["", "7 (a", "7 (a) S 1", "7 (a) S x"] {
            assert!(parse_stat(text).is_none(), "{text}");
        }
    }
}
