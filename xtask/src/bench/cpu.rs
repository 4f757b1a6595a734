//! Processor time and memory of processes, from `/proc` (proc(5)).

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Ticks of a second in `/proc`: `USER_HZ`, which is 100 on every platform that is built for.
const TICKS_PER_SECOND: u64 = 100;

/// Processor time that a process has used, in user and kernel mode.
pub(crate) fn time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = ticks(&stat).context("/proc/PID/stat is not as expected")?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// Time that a process's threads ran; finer than [`time`], without the threads that have ended.
/// Zero where the kernel does not tell.
pub(crate) fn running(pid: u32) -> Duration {
    threads(pid, 0)
}

/// Time that a process's threads were ready to run and had no processor, because others did:
/// what a busy machine adds. Zero where the kernel does not tell.
pub(crate) fn waiting(pid: u32) -> Duration {
    threads(pid, 1)
}

/// The sum of a field of all threads' `schedstat`.
fn threads(pid: u32, field: usize) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let times = threads.filter_map(|thread| {
        let stat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split(' ').nth(field)?.trim().parse::<u64>().ok()
    });
    Duration::from_nanos(times.sum())
}

/// Memory of a process that is in RAM (`VmRSS`), in KiB.
pub(crate) fn resident_kib(pid: u32) -> Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    status_kib(&status, "VmRSS:").context("/proc/PID/status has no VmRSS")
}

/// Memory of a process that is its own (`RssAnon`), in KiB: without the pages of files, its
/// executable's first, which the kernel keeps as a cache and takes back as it likes.
pub(crate) fn own_kib(pid: u32) -> Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    status_kib(&status, "RssAnon:").context("/proc/PID/status has no RssAnon")
}

/// The most memory of a process that ever was in RAM (`VmHWM`), in KiB.
pub(crate) fn peak_kib(pid: u32) -> Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    status_kib(&status, "VmHWM:").context("/proc/PID/status has no VmHWM")
}

/// Fields 14 and 15 (utime, stime); the second, the name, may hold anything but ends with `)`.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let kernel: u64 = fields.next()?.parse().ok()?;
    Some(user + kernel)
}

fn status_kib(status: &str, key: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 100 0 0";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("42"), None);
        assert_eq!(status_kib("Name:\tx\nVmRSS:\t   12345 kB\n", "VmRSS:"), Some(12345));
        assert_eq!(status_kib("Name:\tx\n", "VmRSS:"), None);
    }
}
