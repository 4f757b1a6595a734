//! How the program logs, as it can be typed.

use clap::{Args, ValueEnum};

/// How the program logs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logging")]
pub(crate) struct LogArgs {
    /// What to log: a level, or levels by module (`info,strait_store=debug`) [default: info; with `up`, warn]
    #[arg(long, env = "STRAIT_LOG", global = true, value_name = "FILTER")]
    pub(crate) log: Option<String>,

    /// How to log: text on a terminal and JSON elsewhere, unless said otherwise
    #[arg(
        long,
        env = "STRAIT_LOG_FORMAT",
        default_value = "auto",
        global = true,
        value_name = "FORMAT"
    )]
    pub(crate) log_format: LogFormatArg,
}

impl LogArgs {
    /// What to log.
    pub(crate) fn filter(&self) -> &str {
        self.log.as_deref().unwrap_or("info")
    }

    /// The same, with another default.
    pub(crate) fn or_default(&self, filter: &str) -> Self {
        let log = Some(self.log.clone().unwrap_or_else(|| filter.to_owned()));
        Self { log, ..self.clone() }
    }

    /// The arguments that make a child log alike.
    pub(crate) fn to_args(&self) -> [String; 4] {
        let format = self.log_format.to_possible_value().map(|value| value.get_name().to_owned());
        [
            "--log".to_owned(),
            self.filter().to_owned(),
            "--log-format".to_owned(),
            format.unwrap_or_default(),
        ]
    }
}

/// A format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormatArg {
    Auto,
    Text,
    Json,
}
