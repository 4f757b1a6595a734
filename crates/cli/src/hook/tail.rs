//! `strait hook tail`.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use http::Method;
use jiff::Timestamp;
use strait_machinery::json::Value;
use strait_runtime::{Clock as _, SystemClock};

use super::list::{backend, row};
use super::select::SelectArgs;
use super::server::{Lines, Server};
use crate::exit::{Exit, Failure};

/// Columns as wide as most cells; a wider cell moves the rest.
const WIDTHS: [usize; 5] = [8, 6, 16, 20, 32];

/// Follows events as they come, and what becomes of them
#[derive(Args, Debug)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    select: SelectArgs,

    /// How to print
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    output: TailOutput,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TailOutput {
    Table,
    /// With actions, delivery ids, sizes and reasons
    Wide,
    /// A line for each event or outcome
    Json,
}

/// Prints until the server ends it.
pub(crate) async fn run(args: &TailArgs, server: &Server) -> Result<Exit, Failure> {
    let path = format!("/tail?{}", args.select.query());
    let mut lines = Lines::new(server.ask(Method::GET, &path).await?);
    let mut out = io::stdout().lock();
    while let Some(line) = lines.next().await {
        if line.str_at(&["type"]) == Some("end") {
            let why = line.str_at(&["why"]).unwrap_or_default();
            return Err(Failure::failed(&format!("the server ended it: {why}")));
        }
        let text = render(&line, args.output, SystemClock.now());
        match writeln!(out, "{text}").and_then(|()| out.flush()) {
            // Whoever read the output had enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Exit::Done),
            written => written?,
        }
    }
    Err(Failure::failed("the connection broke off"))
}

fn render(line: &Value, output: TailOutput, now: Timestamp) -> String {
    let is_wide = output == TailOutput::Wide;
    let cells = match (output, line.get("event"), line.get("backend")) {
        (TailOutput::Json, _, _) | (_, None, None) => {
            return String::from_utf8_lossy(&line.to_bytes()).into_owned();
        }
        (_, Some(event), _) => row(event, is_wide, now),
        (_, None, Some(at)) => {
            let id = super::list::id(line).to_string();
            vec![id, backend(at, true)]
        }
    };
    let printable = cells.iter().map(|cell| crate::output::printable(cell));
    let widths = WIDTHS.iter().copied().chain(std::iter::repeat(0));
    let padded = printable.zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
    padded.collect::<Vec<_>>().join(" ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use strait_machinery::json::parse;

    use super::*;

    #[test]
    fn lines_are_one_each() {
        let now = "2026-01-02T03:00:01Z".parse().unwrap();
        for (line, expected) in [
            (
                r#"{"type":"event","event":{"id":12,"received":"2026-01-02T03:00:00Z","source":"forge\n","event":"push"}}"#,
                "12       1s     forge\\n          push                 -                                -",
            ),
            (
                r#"{"type":"outcome","id":12,"backend":{"name":"b","state":"dead","attempts":2,"why":"too old"}}"#,
                "12       b=dead(2: too old)",
            ),
        ] {
            let line = parse(line.as_bytes()).unwrap();
            assert_eq!(render(&line, TailOutput::Table, now), expected);
            let json = render(&line, TailOutput::Json, now);
            assert!(json.starts_with('{') && !json.contains('\n'));
        }
    }
}
