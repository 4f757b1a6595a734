//! `strait hook replay` and `strait hook purge`.

use std::io::Write as _;

use clap::Args;
use http::Method;
use strait_machinery::json::Value;

use super::progress::Bar;
use super::select::{Query, SelectArgs};
use super::server::{Lines, Server};
use crate::exit::{Exit, Failure};

/// Delivers events again to their backends, or for the first time to a backend that is named
///
/// What a backend got already it gets twice; --state dead selects what it did not get. What
/// waits is passed over, and so are events that were purged.
#[derive(Args, Debug)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    select: SelectArgs,

    #[command(flatten)]
    how: How,
}

/// Takes events out for good; their bodies are shown no more
///
/// With --backend or --state they are only taken out there, and their bodies stay. The bytes
/// leave the disk when the log's retention removes them.
#[derive(Args, Debug)]
pub(crate) struct PurgeArgs {
    #[command(flatten)]
    select: SelectArgs,

    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
struct How {
    /// Every event, where nothing else selects
    #[arg(long)]
    all: bool,

    /// Only count
    #[arg(long)]
    dry_run: bool,
}

/// Replays; exit code 1 if nothing was selected.
pub(crate) async fn replay(args: &ReplayArgs, server: &Server) -> Result<Exit, Failure> {
    change("replay", "replayed", &args.select, &args.how, server).await
}

/// Purges; exit code 1 if nothing was selected.
pub(crate) async fn purge(args: &PurgeArgs, server: &Server) -> Result<Exit, Failure> {
    change("purge", "purged", &args.select, &args.how, server).await
}

async fn change(
    verb: &str,
    done: &str,
    select: &SelectArgs,
    how: &How,
    server: &Server,
) -> Result<Exit, Failure> {
    let path = path(verb, select, how)?;
    let mut lines = Lines::new(server.ask(Method::POST, &path).await?);
    let mut bar = Bar::new();
    while let Some(line) = lines.next().await {
        if let Some(why) = line.str_at(&["error"]) {
            drop(bar);
            let why = format!("{verb} stopped: {why}; run it again for the rest");
            return Err(Failure::failed(&why));
        }
        let counts = Counts::of(&line);
        if line.get("done").and_then(Value::as_bool) == Some(true) {
            drop(bar);
            let done = if how.dry_run { format!("would be {done}") } else { done.to_owned() };
            writeln!(std::io::stdout().lock(), "{}", counts.told(&done))?;
            return Ok(if counts.events == 0 { Exit::No } else { Exit::Done });
        }
        bar.show(counts.looked, counts.total, &counts.told(done));
    }
    drop(bar);
    let why =
        format!("the connection broke off before the {verb} ended; run it again for the rest");
    Err(Failure::failed(&why))
}

fn path(verb: &str, select: &SelectArgs, how: &How) -> Result<String, Failure> {
    if select.is_empty() && !how.all {
        let why = format!(
            "nothing selects what to {verb}; give for example --id, --since or --state, or --all"
        );
        return Err(Failure::usage(vec![why]));
    }
    if !select.is_empty() && how.all {
        let why = "--all goes with no other selector: leave it out, or them".to_owned();
        return Err(Failure::usage(vec![why]));
    }
    let mut query = Query(select.query());
    if how.all {
        query.add("all", "true");
    }
    if how.dry_run {
        query.add("dryRun", "true");
    }
    Ok(format!("/{verb}?{}", query.0))
}

struct Counts {
    looked: u64,
    total: u64,
    events: u64,
    deliveries: u64,
}

impl Counts {
    fn of(line: &Value) -> Self {
        let count = |name| {
            let count = line.get(name).and_then(Value::as_i64).unwrap_or_default();
            u64::try_from(count).unwrap_or_default()
        };
        Self {
            looked: count("looked"),
            total: count("total"),
            events: count("events"),
            deliveries: count("deliveries"),
        }
    }

    fn told(&self, done: &str) -> String {
        let several = |count: u64, one: &str, more: &str| {
            format!("{count} {}", if count == 1 { one } else { more })
        };
        let events = several(self.events, "event", "events");
        let deliveries = several(self.deliveries, "delivery", "deliveries");
        format!("{events} {done}, {deliveries}")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        replay: ReplayArgs,
    }

    #[test]
    fn everything_is_changed_only_when_it_is_said() {
        for (line, expected) in [
            ("", Err("nothing selects what to replay")),
            ("--dry-run", Err("nothing selects")),
            ("--all", Ok("/replay?all=true")),
            ("--all --id 7", Err("--all goes with no other")),
            ("--id 7 --dry-run", Ok("/replay?id=7&dryRun=true")),
            ("--since 1h --backend b", Ok("/replay?backend=b&since=1h")),
        ] {
            let words = ["x"].into_iter().chain(line.split_whitespace());
            let ReplayArgs { select, how } = Line::try_parse_from(words).ok().unwrap().replay;
            match (path("replay", &select, &how), expected) {
                (Ok(path), Ok(expected)) => assert_eq!(path, expected, "{line}"),
                (Err(failure), Err(why)) => {
                    assert!(failure.lines[0].contains(why), "{line}: {:?}", failure.lines);
                }
                (found, _) => panic!("{line}: {found:?}"),
            }
        }
    }

    #[test]
    fn counts_are_told() {
        let counts = |events, deliveries| Counts { looked: 0, total: 0, events, deliveries };
        assert_eq!(counts(1, 3).told("replayed"), "1 event replayed, 3 deliveries");
        assert_eq!(counts(2, 1).told("would be purged"), "2 events would be purged, 1 delivery");
    }
}
