//! Logs: structured, to standard error, text for people and JSON for machines.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::str::FromStr;

use tracing::Subscriber;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{Layer, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;

use crate::tasks::{current_task, panic_message};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One line of text an event.
    Text,
    /// One JSON object an event.
    Json,
}

/// A word is not a log format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a log format (auto, text, json)")]
pub struct InvalidLogFormat(String);

impl FromStr for LogFormat {
    type Err = InvalidLogFormat;

    fn from_str(text: &str) -> Result<Self, InvalidLogFormat> {
        match text {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(InvalidLogFormat(text.to_owned())),
        }
    }
}

/// Logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be understood.
    #[error("{filter:?} is not a log filter (such as `info` or `info,strait_net=debug`)")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The process logs already.
    #[error("logging was started before")]
    AlreadyStarted(#[source] tracing::subscriber::SetGlobalDefaultError),
}

/// Modules that log what their callers log again; a filter may name them to hear them.
const QUIET: &str = "kube_client=off";

/// Starts logging to standard error, panics included. Once per process, first thing in `main`.
///
/// `filter` is a level or `target=level` pairs joined by commas. Text is coloured on a terminal
/// unless `NO_COLOR` is set.
///
/// # Errors
/// See [`TelemetryError`].
pub fn init(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let filter = format!("{QUIET},{filter}")
        .parse::<Targets>()
        .map_err(|source| TelemetryError::Filter { filter: filter.to_owned(), source })?;
    let terminal = std::io::stderr().is_terminal();
    let subscriber = subscriber(format, filter, terminal, std::io::stderr);
    tracing::subscriber::set_global_default(subscriber).map_err(TelemetryError::AlreadyStarted)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn subscriber<W>(
    format: LogFormat,
    filter: Targets,
    terminal: bool,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let registry = Registry::default().with(filter);
    let layer = Layer::default().with_writer(writer);
    if format == LogFormat::Json || (format == LogFormat::Auto && !terminal) {
        // An event has the span that it is in, once.
        let layer = layer.json().flatten_event(true).with_span_list(false);
        return Box::new(registry.with(layer));
    }
    // The layer itself honours NO_COLOR; it is not told to colour.
    let layer = if terminal { layer } else { layer.with_ansi(false) };
    Box::new(registry.with(layer))
}

/// Every panic is one log line, whichever thread it is on; whoever catches it need not log.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string);
    tracing::error!(
        task = current_task(),
        thread = std::thread::current().name(),
        location,
        "panic: {}",
        panic_message(panic.payload()),
    );
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::Arc;

    use parking_lot::Mutex;
    use strait_machinery::json::parse;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, terminal: bool, log: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let filter = filter.parse().unwrap();
        let subscriber = subscriber(format, filter, terminal, move || writer.clone());
        tracing::subscriber::with_default(subscriber, log);
        String::from_utf8(std::mem::take(&mut captured.0.lock())).unwrap()
    }

    #[test]
    fn json_is_one_object_a_line() {
        for format in [LogFormat::Json, LogFormat::Auto] {
            let line = logged(format, "info", false, || {
                tracing::info!(tenant = "root:demo", count = 3, "bound");
            });
            let event = parse(line.trim_end().as_bytes()).unwrap();
            assert_eq!(event.str_at(&["level"]), Some("INFO"));
            assert_eq!(event.str_at(&["message"]), Some("bound"));
            assert_eq!(event.str_at(&["tenant"]), Some("root:demo"));
            assert_eq!(event.at(&["count"]).and_then(|v| v.as_i64()), Some(3));
            assert_eq!(line.lines().count(), 1);
        }
    }

    #[test]
    fn json_says_once_what_it_is_about_and_nothing_of_what_is_not_there() {
        let line = logged(LogFormat::Json, "info", false, || {
            let span = tracing::info_span!("dial", id = "r1", trace = None::<&str>);
            span.in_scope(|| tracing::warn!("late"));
        });
        assert_eq!(line.matches("r1").count(), 1, "{line}");
        assert!(!line.contains("trace"), "{line}");
    }

    #[test]
    fn text_off_a_terminal_has_no_colour() {
        let line = logged(LogFormat::Text, "info", false, || tracing::warn!(a = 1, "hot"));
        assert!(line.contains("WARN") && line.contains("hot"), "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }

    #[test]
    fn the_filter_decides_what_is_logged() {
        let log = || {
            tracing::debug!(target: "strait_net::server", "one");
            tracing::debug!(target: "strait_store", "two");
        };
        let text = logged(LogFormat::Text, "info,strait_net=debug", false, log);
        assert!(text.contains("one") && !text.contains("two"), "{text}");
    }

    #[test]
    fn a_wrong_filter_or_format_is_named() {
        let error = init(LogFormat::Text, "strait=loud").unwrap_err();
        assert!(error.to_string().starts_with("\"strait=loud\" is not a log filter"));
        let error = "xml".parse::<LogFormat>().unwrap_err();
        assert_eq!(error.to_string(), "\"xml\" is not a log format (auto, text, json)");
    }
}
