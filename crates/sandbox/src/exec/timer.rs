//! A timer that also runs while the machine is suspended.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// Readable once its time has come; counts on `CLOCK_BOOTTIME`.
#[derive(Debug)]
pub(super) struct Timer(OwnedFd);

impl Timer {
    /// Starts a timer of that length.
    pub(super) fn start(length: Duration) -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC)?;
        // Zero would disarm it.
        let length = length.max(Duration::from_nanos(1));
        let value = Timespec {
            tv_sec: i64::try_from(length.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: length.subsec_nanos().into(),
        };
        let once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let setting = Itimerspec { it_interval: once, it_value: value };
        timerfd_settime(&fd, TimerfdTimerFlags::empty(), &setting)?;
        Ok(Self(fd))
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
