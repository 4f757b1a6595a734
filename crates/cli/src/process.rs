//! What every role of the program sets up first.

use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::time::Duration;

use strait_runtime::telemetry::{self, LogFormat};
use strait_runtime::{BusyPoll, Context, build_runtime, die_with_parent};

use crate::exit::{Exit, Failure};
use crate::log::{LogArgs, LogFormatArg};
use crate::traces;

/// Worker threads: one for each processor but one, at most this many. The store's writer, the log and
/// the kernel have that one; with a worker there as well, threads hand small pieces to each other
/// and cost more than they win (docs/measurements.md).
const WORKERS_MAX: usize = 8;

/// Time for what is left when a role ends.
const LAST_TASKS: Duration = Duration::from_millis(500);

/// Time to send the spans that are left when a role ended.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Runs a role to its end: logs, parent, runtime, signals, and traces under this name, if it has
/// one.
pub(crate) fn run<F, R>(
    log: &LogArgs,
    parent: Option<u32>,
    traced: Option<&str>,
    role: F,
) -> Result<Exit, Failure>
where
    F: FnOnce(Context) -> R,
    R: Future<Output = Result<Exit, Failure>>,
{
    let format = match log.log_format {
        LogFormatArg::Auto => LogFormat::Auto,
        LogFormatArg::Text => LogFormat::Text,
        LogFormatArg::Json => LogFormat::Json,
    };
    telemetry::init(format, log.filter())
        .map_err(|error| Failure::usage(vec![format!("--log: {error}")]))?;
    let traces = traced.map(traces::of_environment).transpose()?.flatten();
    if let Some(parent) = parent {
        die_with_parent(parent)?;
    }
    strait_pki::install_provider();
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let workers =
        NonZeroUsize::new((processors - 1).clamp(1, WORKERS_MAX)).unwrap_or(NonZeroUsize::MIN);
    let mut context = Context::of_system();
    let busy_poll = (workers == NonZeroUsize::MIN && BusyPoll::is_affordable(processors))
        .then(|| BusyPoll::new(context.clock.clone(), &context.metrics));
    let runtime = build_runtime(workers, busy_poll.as_ref())?;
    runtime.block_on(async {
        let tasks = context.tasks.clone();
        if let Some(busy_poll) = busy_poll {
            tasks.spawn_daemon("busy-poll", busy_poll.run());
        }
        context.shutdown.follow_signals(&tasks)?;
        let exporter = traces.map(|traces| traces.start(&mut context)).transpose()?;
        let result = role(context).await;
        let _ = tasks.shutdown(LAST_TASKS).await;
        if let Some(exporter) = exporter {
            exporter.flush(LAST_SPANS).await;
        }
        result
    })
}

/// Runs a client command to its end.
pub(crate) fn call<F>(command: F) -> Result<Exit, Failure>
where
    F: Future<Output = Result<Exit, Failure>>,
{
    strait_pki::install_provider();
    build_runtime(NonZeroUsize::MIN, None)?.block_on(command)
}

/// Tells whoever started this process, on standard output, that it does its work.
///
/// # Errors
/// Standard output is closed.
pub(crate) fn announce(what: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "ready {what}")?;
    out.flush()
}
