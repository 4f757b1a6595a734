//! What takes unsafe code: system calls without a safe form.
#![expect(unsafe_code, reason = "each block states why it is sound")]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

/// First descriptor after standard input, output and error.
const FIRST_EXTRA_FD: libc::c_uint = 3;

/// Has a command start its program in a process group of its own, without any descriptor but
/// the three standard ones, and killed by the kernel when this process dies.
///
/// Call it on the thread that lives as long as the program may: the kernel watches that thread.
pub(super) fn bind_to_this_process(command: &mut Command) {
    let supervisor = getpid();
    let none = empty_set();
    command.process_group(0);
    // SAFETY: the closure runs between fork and exec, where only async-signal-safe calls are
    // sound. It makes four system calls without allocating, locking or unwinding, and what it
    // captures is plain data.
    unsafe {
        command.pre_exec(move || {
            // The standard library hands this process's mask on.
            set_mask(libc::SIG_SETMASK, &none)?;
            set_parent_process_death_signal(Some(Signal::KILL))?;
            if getppid() != Some(supervisor) {
                // It died before the kernel was asked.
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            close_extra_on_exec()
        });
    }
}

/// Marks every descriptor from [`FIRST_EXTRA_FD`] close-on-exec. Closing would be too early:
/// the standard library reports a failed exec through one of them.
fn close_extra_on_exec() -> io::Result<()> {
    // SAFETY: the call reads three integers and changes only flags of this process's own
    // descriptors; none is closed while something in this process owns it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            FIRST_EXTRA_FD,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn empty_set() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set behind the pointer, which is valid and aligned.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}

/// Changes which signals are blocked on this thread.
fn set_mask(how: libc::c_int, set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: the set is initialised and lives through the call; the old mask is not asked for.
    match unsafe { libc::pthread_sigmask(how, set, std::ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Signals that ask a supervisor to end, as something to poll. While this exists they have no
/// other effect on this process.
#[derive(Debug)]
pub(super) struct Signals(File);

impl Signals {
    /// Blocks SIGTERM, SIGINT and SIGHUP on this thread and listens for them.
    pub(super) fn listen() -> io::Result<Self> {
        let mut set = empty_set();
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
            // SAFETY: the set is initialised and borrowed for the call.
            unsafe { libc::sigaddset(&raw mut set, signal) };
        }
        set_mask(libc::SIG_BLOCK, &set)?;
        // SAFETY: -1 asks for a new descriptor; the set is initialised and lives through the
        // call.
        let fd =
            unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel made this descriptor just now, and nothing else owns it.
        Ok(Self(File::from(unsafe { OwnedFd::from_raw_fd(fd) })))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether this process leads its session; otherwise makes one of its own.
pub(super) fn leave_session() -> io::Result<()> {
    match rustix::process::setsid() {
        Ok(_) => Ok(()),
        // It leads a process group, so it was started in one of its own: then the terminal's
        // signals do not reach it either.
        Err(rustix::io::Errno::PERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The process as the kernel names it.
pub(super) fn pid_of(child: &std::process::Child) -> Pid {
    Pid::from_child(child)
}
