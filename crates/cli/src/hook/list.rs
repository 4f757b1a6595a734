//! `strait hook list` and `strait hook dead`.

use std::io::Write as _;

use clap::Args;
use jiff::Timestamp;
use strait_machinery::json::Value;
use strait_machinery::{object, yaml};
use strait_runtime::{Clock as _, SystemClock};

use super::Output;
use super::select::{Query, SelectArgs};
use super::server::Server;
use crate::exit::{Exit, Failure};
use crate::output::{self, table};

/// Most events that are asked for at a time.
const PAGE: usize = 500;

/// Lists events and what became of them, newest first
#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    select: SelectArgs,

    /// How many at most
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: usize,

    /// How to print
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    output: Output,
}

/// Prints a list, of dead letters only if `dead`.
pub(crate) async fn run(args: &ListArgs, server: &Server, dead: bool) -> Result<Exit, Failure> {
    let select = if dead { args.select.dead() } else { args.select.clone() };
    let query = select.query();
    let mut items = Vec::new();
    let mut next = None;
    while items.len() < args.limit {
        let list = server
            .get(&format!("/events?{}", page(&query, args.limit - items.len(), next.as_deref())))
            .await?;
        items.extend_from_slice(list.array_at(&["items"]));
        next = list.str_at(&["metadata", "continue"]).map(str::to_owned);
        if next.is_none() {
            break;
        }
    }
    let text = render(&items, args.output, SystemClock.now());
    std::io::stdout().lock().write_all(&text)?;
    let is_for_people = matches!(args.output, Output::Table | Output::Wide);
    if items.is_empty() && is_for_people {
        output::note("no events");
    } else if next.is_some() {
        output::note(&format!(
            "there may be more; the first {} are shown, see --limit",
            items.len()
        ));
    }
    Ok(Exit::Done)
}

fn page(query: &str, left: usize, next: Option<&str>) -> String {
    let mut page = Query(query.to_owned());
    page.add("limit", &left.min(PAGE).to_string());
    next.iter().for_each(|next| page.add("continue", next));
    page.0
}

fn render(items: &[Value], output: Output, now: Timestamp) -> Vec<u8> {
    let list = || {
        object! {
            "apiVersion": "hooks.strait.dev/v1alpha1",
            "kind": "EventList",
            "metadata": Value::object(),
            "items": items.to_vec(),
        }
    };
    let mut out = Vec::new();
    match output {
        Output::Json => {
            out = list().to_pretty_bytes();
            out.push(b'\n');
        }
        Output::Yaml => out = yaml::to_text(&list()).into_bytes(),
        Output::Name => {
            for item in items {
                out.extend(format!("{}\n", id(item)).into_bytes());
            }
        }
        Output::Table | Output::Wide if items.is_empty() => {}
        Output::Table | Output::Wide => {
            let is_wide = output == Output::Wide;
            let mut rows = vec![header(is_wide)];
            rows.extend(items.iter().map(|item| row(item, is_wide, now)));
            // Memory takes everything.
            let _ = table(&rows, &mut out);
        }
    }
    out
}

pub(super) fn id(event: &Value) -> u64 {
    event
        .get("id")
        .and_then(Value::as_i64)
        .and_then(|id| u64::try_from(id).ok())
        .unwrap_or_default()
}

fn header(is_wide: bool) -> Vec<String> {
    let all = ["ID", "AGE", "SOURCE", "EVENT", "REPOSITORY", "BACKENDS"];
    let wide =
        ["ID", "AGE", "SOURCE", "EVENT", "ACTION", "REPOSITORY", "BYTES", "DELIVERY", "BACKENDS"];
    let names: &[&str] = if is_wide { &wide } else { &all };
    names.iter().map(|&name| name.to_owned()).collect()
}

/// A row of a table.
pub(super) fn row(event: &Value, is_wide: bool, now: Timestamp) -> Vec<String> {
    let text = |name: &str| match event.str_at(&[name]).unwrap_or_default() {
        "" => "-".to_owned(),
        text => text.to_owned(),
    };
    let mut cells =
        vec![id(event).to_string(), age(&text("received"), now), text("source"), text("event")];
    if is_wide {
        cells.push(text("action"));
    }
    cells.push(text("repository"));
    if is_wide {
        let bytes = event.get("bytes").and_then(Value::as_i64).unwrap_or_default();
        cells.extend([bytes.to_string(), text("delivery")]);
    }
    let at: Vec<String> =
        event.array_at(&["backends"]).iter().map(|at| backend(at, is_wide)).collect();
    let purged = event.get("purged").and_then(Value::as_bool) == Some(true);
    cells.push(match (purged, at.is_empty()) {
        (true, true) => "purged".to_owned(),
        (false, true) => "-".to_owned(),
        (_, false) => at.join(" "),
    });
    cells
}

/// What became of it at a backend: `pac=waiting(3)`.
pub(super) fn backend(at: &Value, is_wide: bool) -> String {
    let text = |name: &str| at.str_at(&[name]).unwrap_or_default();
    let mut shown = format!("{}={}", text("name"), text("state"));
    let attempts = at.get("attempts").and_then(Value::as_i64);
    match (attempts.filter(|attempts| *attempts > 0), text("why")) {
        (Some(attempts), why) if is_wide && !why.is_empty() => {
            shown.push_str(&format!("({attempts}: {why})"));
        }
        (Some(attempts), _) => shown.push_str(&format!("({attempts})")),
        (None, _) => {}
    }
    shown
}

/// As kubectl has it: `5s`, `12m`, `3h`, `4d`.
pub(crate) fn age(received: &str, now: Timestamp) -> String {
    let Ok(received) = received.parse::<Timestamp>() else {
        return "-".to_owned();
    };
    match now.duration_since(received).as_secs().max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use strait_machinery::json::parse;

    use super::*;

    const EVENT: &str = r#"{"id":12,"source":"forge","delivery":"72d3","received":"2026-01-02T03:00:00.000Z",
        "event":"push","bytes":5120,"backends":[
            {"name":"a","state":"delivered"},
            {"name":"b","state":"waiting","attempts":3,"why":"status 500"},
            {"name":"c","state":"dead","attempts":1,"why":"rejected with status 404"},
            {"name":"d","state":"filtered"}]}"#;

    #[test]
    fn events_are_printed_as_asked() {
        let items = [parse(EVENT.as_bytes()).unwrap()];
        let now = "2026-01-02T03:05:00Z".parse().unwrap();
        let print = |output| String::from_utf8(render(&items, output, now)).unwrap();
        assert_eq!(
            print(Output::Table),
            "ID   AGE   SOURCE   EVENT   REPOSITORY   BACKENDS\n\
             12   5m    forge    push    -            a=delivered b=waiting(3) c=dead(1) d=filtered\n"
        );
        let wide = print(Output::Wide);
        assert!(
            wide.contains("5120    72d3") && wide.contains("c=dead(1: rejected with status 404)")
        );
        assert_eq!(print(Output::Name), "12\n");
        assert!(print(Output::Json).contains("\"kind\": \"EventList\""));
        assert!(print(Output::Yaml).contains("kind: EventList"));
        assert_eq!(render(&[], Output::Table, now), b"");
    }

    #[test]
    fn ages_are_short() {
        let now = "2026-01-10T00:00:00Z".parse().unwrap();
        for (received, expected) in [
            ("2026-01-09T23:59:30Z", "30s"),
            ("2026-01-09T23:50:00Z", "10m"),
            ("2026-01-09T03:00:00Z", "21h"),
            ("2026-01-01T00:00:00Z", "9d"),
            ("2026-01-11T00:00:00Z", "0s"),
            ("x", "-"),
        ] {
            assert_eq!(age(received, now), expected, "{received}");
        }
    }

    #[test]
    fn pages_go_on() {
        assert_eq!(page("", 7, None), "limit=7");
        assert_eq!(page("state=dead", 700, Some("33")), "state=dead&limit=500&continue=33");
    }
}
