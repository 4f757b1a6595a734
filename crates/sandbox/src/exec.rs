//! One program under one supervisor.
//!
//! ```text
//! agent ──spawn──► supervisor: reads spec.json, listens on sock, says it is ready
//!       ──gate───► opens: starts the program; end of file: ends without starting it
//!                  program ends, or a limit ends it: writes exit, durably, and ends
//! ```
//!
//! The supervisor is this binary again (`strait __exec`), in a session of its own: it outlives
//! the agent, and the next agent [adopts](Handle::adopt) it. Under `strait up` it ends with the
//! agent instead. Whoever ends, the program does not stay behind: the kernel kills it when its
//! supervisor dies.
//!
//! # Directory
//! An execution has a directory of its own (mode 0700), also the supervisor's working directory:
//!
//! | name | content |
//! |---|---|
//! | `spec.json` | what to run and its limits ([`Spec`]) |
//! | `in` | the program's standard input |
//! | `out/` | the program's working directory, empty at first |
//! | `stdout`, `stderr` | what the program wrote |
//! | `exit` | how it ended ([`Exit`]); there only when it is over, durable before it shows |
//! | `sock` | the supervisor's socket while it lives |
//!
//! # Limits
//! Time counts on `CLOCK_BOOTTIME`, suspension included. A program that writes more to standard
//! output than it may is stopped, since half a result is none; of standard error the beginning
//! is kept and the rest is read and dropped. Stopping is SIGTERM to the process group, a grace,
//! then SIGKILL; the group is killed in any case once the program has ended. A process that
//! leaves the group on purpose is not followed: that takes a stronger isolation than `none`.

mod capture;
mod exit;
mod handle;
mod kernel;
mod launch;
mod spec;
mod supervisor;
mod timer;
mod watch;

pub use exit::{Ending, Exit, Stop};
pub use handle::{Adopted, Handle, HandleError, stdout_of};
pub use launch::{Gate, Launcher, SpawnError};
pub use spec::{InvalidSpec, Spec};
pub use supervisor::{Options, SuperviseError, supervise};

/// The supervisor's word to the agent: everything is in place, open the gate.
const READY: &[u8] = b"ready\n";

/// The agent's word to the supervisor: start the program.
const OPEN: u8 = b'G';
