//! `strait hook show`.

use std::io::Write as _;

use clap::Args;
use http::Method;
use http_body_util::BodyExt as _;
use strait_machinery::json::Value;
use strait_machinery::yaml;

use super::Output;
use super::list::id;
use super::select::Query;
use super::server::Server;
use crate::exit::{Exit, Failure};
use crate::output::table;

/// Shows an event, what became of it at each backend, and why
#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// The event: its number, or the sender's id of the delivery
    id: String,

    /// Write its body instead, byte for byte, to standard output; needs a permission of its own
    #[arg(long, conflicts_with = "output")]
    payload: bool,

    /// How to print
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    output: Output,
}

/// Prints an event or its body.
pub(crate) async fn run(args: &ShowArgs, server: &Server) -> Result<Exit, Failure> {
    let id = number(&args.id, server).await?;
    let mut out = std::io::stdout().lock();
    if args.payload {
        let mut body = server.ask(Method::GET, &format!("/payloads/{id}")).await?;
        while let Some(frame) = body.frame().await {
            let broken = |_| Failure::failed("the body broke off; what was written is not whole");
            if let Ok(data) = frame.map_err(broken)?.into_data() {
                out.write_all(&data)?;
            }
        }
        out.flush()?;
        return Ok(Exit::Done);
    }
    let event = server.get(&format!("/events/{id}")).await?;
    out.write_all(&render(&event, args.output))?;
    Ok(Exit::Done)
}

/// The number of an event; that of the newest delivery of the id, if it is no number.
async fn number(text: &str, server: &Server) -> Result<u64, Failure> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let mut next = None;
    loop {
        let mut query = Query::default();
        query.add("delivery", text);
        query.add("limit", "1");
        next.iter().for_each(|next: &String| query.add("continue", next));
        let list = server.get(&format!("/events?{}", query.0)).await?;
        if let Some(event) = list.array_at(&["items"]).first() {
            return Ok(id(event));
        }
        next = list.str_at(&["metadata", "continue"]).map(str::to_owned);
        if next.is_none() {
            let lines = vec![format!("no event has the delivery id {text:?}")];
            return Err(Failure { exit: Exit::No, lines });
        }
    }
}

fn render(event: &Value, output: Output) -> Vec<u8> {
    let mut out = match output {
        Output::Json => event.to_pretty_bytes(),
        Output::Yaml => return yaml::to_text(event).into_bytes(),
        Output::Name => id(event).to_string().into_bytes(),
        Output::Table | Output::Wide => return describe(event),
    };
    out.push(b'\n');
    out
}

/// Members in their order, then a row for each backend.
fn describe(event: &Value) -> Vec<u8> {
    let text = |of: &Value, name: &str| match of.get(name) {
        None => "-".to_owned(),
        Some(Value::String(text)) => text.to_string(),
        Some(other) => String::from_utf8_lossy(&other.to_bytes()).into_owned(),
    };
    let names = [
        "id",
        "source",
        "received",
        "delivery",
        "event",
        "action",
        "repository",
        "contentType",
        "bytes",
        "sha256",
        "purged",
    ];
    let known = names.into_iter().filter(|name| event.get(name).is_some());
    let rows: Vec<Vec<String>> =
        known.map(|name| vec![format!("{name}:"), text(event, name)]).collect();
    let mut out = Vec::new();
    // Memory takes everything.
    let _ = table(&rows, &mut out);
    let backends = event.array_at(&["backends"]);
    if !backends.is_empty() {
        out.push(b'\n');
        let columns = ["name", "state", "attempts", "since", "until", "why"];
        let titles = ["BACKEND", "STATE", "ATTEMPTS", "SINCE", "NOT BEFORE", "WHY"];
        let mut rows = vec![titles.map(str::to_owned).to_vec()];
        rows.extend(backends.iter().map(|at| columns.map(|name| text(at, name)).to_vec()));
        let _ = table(&rows, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use strait_machinery::json::parse;

    use super::*;

    #[test]
    fn an_event_is_described() {
        let event = parse(
            br#"{"id":12,"source":"forge","delivery":"\u001b[2J","bytes":7,"backends":[
                {"name":"b","state":"dead","attempts":1,"since":"2026-01-02T03:00:00.000Z","why":"no answer in time"}]}"#,
        );
        let event = event.unwrap();
        let text = String::from_utf8(render(&event, Output::Table)).unwrap();
        assert_eq!(
            text,
            "id:         12\n\
             source:     forge\n\
             delivery:   \\u{1b}[2J\n\
             bytes:      7\n\
             \n\
             BACKEND   STATE   ATTEMPTS   SINCE                      NOT BEFORE   WHY\n\
             b         dead    1          2026-01-02T03:00:00.000Z   -            no answer in time\n"
        );
        assert_eq!(render(&event, Output::Name), b"12\n");
    }
}
