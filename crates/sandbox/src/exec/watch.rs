//! From the program's start to its end: limits, outputs, signals, and the agent's wishes.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::capture::Capture;
use super::exit::{Ending, Stop};
use super::kernel::{Signals, pid_of};
use super::spec::Spec;
use super::timer::Timer;

/// Agents that may be connected at once; there is one, or two while one takes over.
const PEERS_MAX: usize = 8;

/// `cancel`, a space, milliseconds, a newline.
const COMMAND_BYTES_MAX: usize = 40;

/// Watches a started program until it has ended and everything that it wrote is captured.
///
/// # Errors
/// The kernel refuses what watching takes. The program is killed, by the kernel when this
/// process ends at the latest.
pub(super) fn watch(
    mut child: Child,
    spec: &Spec,
    signals: &Signals,
    listener: &UnixListener,
    stdout: &mut Capture,
    stderr: &mut Capture,
) -> io::Result<Ending> {
    let mut watched = Watched {
        group: pid_of(&child),
        ended: pidfd_open(pid_of(&child), PidfdFlags::empty())?,
        limit: Timer::start(spec.time_limit)?,
        stopping: None,
        peers: Vec::new(),
    };
    loop {
        let seen = watched.poll(signals, listener, stdout, stderr)?;
        if seen.ended {
            break;
        }
        if seen.stdout {
            stdout.copy();
        }
        if seen.stderr {
            stderr.copy();
        }
        if seen.listener {
            watched.accept(listener);
        }
        let asked = watched.read_peers();
        if seen.grace_over {
            watched.kill();
        }
        let reasons = [
            (stdout.exceeded, Stop::OutputTooLarge, Duration::ZERO),
            (stdout.failed, Stop::OutputNotStored, Duration::ZERO),
            (seen.limit, Stop::TimeLimit, spec.grace),
            (seen.signal, Stop::Terminated, spec.grace),
            (asked.is_some(), Stop::Cancelled, asked.unwrap_or(spec.grace)),
        ];
        for (_, why, grace) in reasons.into_iter().filter(|(holds, ..)| *holds) {
            watched.stop(why, grace)?;
        }
    }
    // The program is dead but not reaped, so its group's number is nobody else's yet.
    watched.kill();
    stdout.finish();
    stderr.finish();
    let status = child.wait()?;
    Ok(watched.ending(status, stdout))
}

/// A program that runs.
struct Watched {
    group: Pid,
    ended: OwnedFd,
    limit: Timer,
    stopping: Option<Stopping>,
    peers: Vec<Peer>,
}

/// A program that was asked to end.
struct Stopping {
    why: Stop,
    /// Until it is killed; none once it was.
    grace: Option<Timer>,
}

/// What happened since the last look.
struct Seen {
    ended: bool,
    limit: bool,
    signal: bool,
    listener: bool,
    stdout: bool,
    stderr: bool,
    grace_over: bool,
}

impl Watched {
    fn poll(
        &self,
        signals: &Signals,
        listener: &UnixListener,
        stdout: &Capture,
        stderr: &Capture,
    ) -> io::Result<Seen> {
        let ask = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut fds = vec![ask(self.ended.as_fd())];
        let mut position = |fd: Option<_>| {
            fds.extend(fd.map(ask));
            fd.map(|_| fds.len() - 1)
        };
        let stopping = self.stopping.as_ref();
        // What has come is readable for ever: once the program is being stopped, neither the
        // limit nor a signal changes anything any more.
        let limit = position(stopping.is_none().then(|| self.limit.as_fd()));
        let signal = position(stopping.is_none().then(|| signals.as_fd()));
        let grace = stopping.and_then(|stopping| stopping.grace.as_ref());
        let grace_over = position(grace.map(AsFd::as_fd));
        let stdout = position(stdout.fd());
        let stderr = position(stderr.fd());
        let listener = position(Some(listener.as_fd()));
        for peer in &self.peers {
            position(Some(peer.stream.as_fd()));
        }
        while let Err(error) = poll(&mut fds, None) {
            if error != rustix::io::Errno::INTR {
                return Err(error.into());
            }
        }
        let happened = |at: Option<usize>| at.is_some_and(|at| !fds[at].revents().is_empty());
        Ok(Seen {
            ended: happened(Some(0)),
            limit: happened(limit),
            signal: happened(signal),
            listener: happened(listener),
            stdout: happened(stdout),
            stderr: happened(stderr),
            grace_over: happened(grace_over),
        })
    }

    /// Asks the group to end. The first reason counts; a later cancellation may still change
    /// the grace.
    fn stop(&mut self, why: Stop, grace: Duration) -> io::Result<()> {
        match &mut self.stopping {
            None => {
                self.signal(Signal::TERM);
                self.stopping = Some(Stopping { why, grace: Some(Timer::start(grace)?) });
            }
            Some(Stopping { grace: Some(timer), .. }) if why == Stop::Cancelled => {
                *timer = Timer::start(grace)?;
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn kill(&mut self) {
        self.signal(Signal::KILL);
        if let Some(stopping) = &mut self.stopping {
            stopping.grace = None;
        }
    }

    fn signal(&self, signal: Signal) {
        // It fails where the group is gone: what was wanted.
        let _ = kill_process_group(self.group, signal);
    }

    fn accept(&mut self, listener: &UnixListener) {
        while let Ok((stream, _)) = listener.accept() {
            if self.peers.len() < PEERS_MAX && stream.set_nonblocking(true).is_ok() {
                self.peers.push(Peer { stream, text: Vec::new() });
            }
        }
    }

    /// What a peer asks for: the grace of a cancellation.
    fn read_peers(&mut self) -> Option<Duration> {
        let mut asked = None;
        self.peers.retain_mut(|peer| {
            let open = peer.read();
            while let Some(grace) = peer.cancels() {
                // The newest wish counts.
                asked = Some(grace);
            }
            open
        });
        asked
    }

    fn ending(&self, status: std::process::ExitStatus, stdout: &Capture) -> Ending {
        let by_itself = status.code().map(|code| Ending::Exited { code });
        let stopped = self.stopping.as_ref().map(|stopping| stopping.why);
        // Too much output may show only after the program's end.
        let late = (stdout.exceeded.then_some(Stop::OutputTooLarge))
            .or_else(|| stdout.failed.then_some(Stop::OutputNotStored));
        match (stopped.or(late), by_itself) {
            // It ended well before the signal took effect, or although it did: its own word
            // counts, unless its output is not whole.
            (Some(Stop::TimeLimit | Stop::Cancelled | Stop::Terminated), Some(ended))
                if ended == (Ending::Exited { code: 0 }) =>
            {
                ended
            }
            (Some(why), _) => Ending::Stopped { why },
            (None, Some(ended)) => ended,
            (None, None) => Ending::Killed { signal: status.signal().unwrap_or_default() },
        }
    }
}

/// A connection of an agent.
struct Peer {
    stream: UnixStream,
    text: Vec<u8>,
}

impl Peer {
    /// Reads what is there; false if no more can come.
    fn read(&mut self) -> bool {
        let mut chunk = [0; COMMAND_BYTES_MAX];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(count) => {
                self.text.extend_from_slice(&chunk[..count]);
                self.text.len() <= COMMAND_BYTES_MAX
            }
            Err(error) => {
                matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
            }
        }
    }

    /// Takes a whole command out of what was read.
    fn cancels(&mut self) -> Option<Duration> {
        let end = self.text.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.text.drain(..=end).collect();
        let millis = std::str::from_utf8(&line).ok()?.trim_end().strip_prefix("cancel ")?;
        millis.parse().ok().map(Duration::from_millis)
    }
}
