//! A steady pace, kept more exactly than the runtime's timers, which count milliseconds.

use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::Result;
use rustix::fs::Timespec;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use crate::stopwatch::Stopwatch;

/// A timer of the kernel (timerfd_create(2)).
#[derive(Debug)]
pub(crate) struct Pace {
    timer: AsyncFd<OwnedFd>,
    interval: Duration,
    ticks: u32,
    started: Stopwatch,
}

impl Pace {
    /// Starts; the first tick comes after an interval.
    ///
    /// # Errors
    /// The kernel gives no timer.
    pub(crate) fn start(interval: Duration) -> Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let spec = Timespec::try_from(interval)?;
        #[expect(deprecated, reason = "its successor is unsafe; an owned timer stays open")]
        let timer = AsyncFd::new(timer)?;
        let started = Stopwatch::start();
        let spec = Itimerspec { it_interval: spec, it_value: spec };
        timerfd_settime(timer.get_ref(), TimerfdTimerFlags::empty(), &spec)?;
        Ok(Self { timer, interval, ticks: 0, started })
    }

    /// What the ticks' times are counted by.
    pub(crate) fn stopwatch(&self) -> Stopwatch {
        self.started
    }

    /// Waits for ticks; when each that has come was meant to.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) async fn tick(&mut self) -> Result<Vec<Duration>> {
        let mut count = [0; 8];
        loop {
            let mut ready = self.timer.readable().await?;
            let read =
                |timer: &AsyncFd<OwnedFd>| Ok(rustix::io::read(timer.get_ref(), &mut count)?);
            if let Ok(read) = ready.try_io(read) {
                read?;
                break;
            }
        }
        let before = self.ticks;
        self.ticks += u32::try_from(u64::from_ne_bytes(count))?;
        Ok((before + 1..=self.ticks).map(|tick| self.interval * tick).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ticks_come_when_they_were_meant_to_and_none_is_lost() {
        let mut pace = Pace::start(Duration::from_micros(500)).unwrap();
        let mut times = Vec::new();
        while times.len() < 20 {
            times.extend(pace.tick().await.unwrap());
            assert!(pace.stopwatch().elapsed() >= *times.last().unwrap());
        }
        let wanted: Vec<_> = (1..=20).map(|tick| Duration::from_micros(500) * tick).collect();
        assert_eq!(times[..20], wanted);
    }
}
