//! Objects of a workspace, listed, watched and shown.

use std::io::Write;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use strait_machinery::json::Value;
use strait_machinery::yaml;
use strait_reconcile::ApiError;
use strait_runtime::{Clock as _, SystemClock};

use crate::client::{Workspace, failure};
use crate::exit::{Exit, Failure};
use crate::near::near;
use crate::output::{self, Columns, table};

/// A kind that can be listed and shown.
pub(crate) struct Kind {
    /// What people call one.
    pub(crate) noun: &'static str,
    /// Where they are, below a workspace.
    pub(crate) collection: &'static str,
    /// The resource and its group, as `-o name` prints it.
    pub(crate) resource: &'static str,
    /// Names of the columns.
    pub(crate) columns: &'static [&'static str],
    /// How many columns are shown where more are not asked for.
    pub(crate) narrow: usize,
    /// The cells of a row.
    pub(crate) row: fn(&Value, Timestamp) -> Vec<String>,
    /// What people type for one.
    pub(crate) typed: fn(&Value) -> String,
    /// What is shown of one besides, a name and a text each.
    pub(crate) details: fn(&Value) -> Vec<(&'static str, String)>,
}

/// Formats of lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Table,
    /// With more columns
    Wide,
    Json,
    Yaml,
    /// Names alone
    Name,
}

/// How to list.
#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// How to print
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    output: Output,

    /// Go on with every change
    #[arg(short, long)]
    watch: bool,
}

impl ListArgs {
    /// Whether people read it rather than programs.
    pub(crate) const fn is_for_people(&self) -> bool {
        self.output.is_for_people()
    }
}

impl ShowArgs {
    /// Whether people read it rather than programs.
    pub(crate) const fn is_for_people(&self) -> bool {
        self.output.is_for_people()
    }
}

impl Output {
    const fn is_for_people(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

/// What to show.
#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// Its name
    pub(crate) name: String,

    /// How to print
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    output: Output,
}

/// Lists objects.
pub(crate) async fn list(
    kind: &'static Kind,
    args: &ListArgs,
    workspace: &Workspace,
) -> Result<Exit, Failure> {
    let list = read(kind, workspace).await?;
    let mut printer = Printer::new(kind, args.output, args.watch);
    printer.print(&list, workspace)?;
    if !args.watch {
        return Ok(Exit::Done);
    }
    let revision = list.str_at(&["metadata", "resourceVersion"]).unwrap_or_default();
    let mut written = Ok(());
    let followed = workspace.follow(kind.collection, revision, |event| {
        if let Some(object) = event.get("object") {
            let text = printer.one(object, SystemClock.now());
            written = std::io::stdout().lock().write_all(&text);
        }
        written.is_ok()
    });
    followed.await.map_err(|error| failure(&format!("{}s", kind.noun), &error))?;
    written?;
    Ok(Exit::Done)
}

/// Reads all objects of a kind.
pub(crate) async fn read(kind: &Kind, workspace: &Workspace) -> Result<Value, Failure> {
    let found = workspace.list(kind.collection).await;
    found.map_err(|error| unserved(kind, workspace, &error))
}

/// Prints a list.
pub(crate) fn print(
    kind: &'static Kind,
    output: Output,
    list: &Value,
    workspace: &Workspace,
) -> Result<(), Failure> {
    Printer::new(kind, output, false).print(list, workspace)
}

/// Shows one object. `name` is the object's own name, `typed` what the user wrote for it.
pub(crate) async fn show(
    kind: &'static Kind,
    name: &str,
    args: &ShowArgs,
    workspace: &Workspace,
) -> Result<Exit, Failure> {
    let found = workspace.get(&format!("{}/{name}", kind.collection)).await;
    let object = match found {
        Ok(object) => object,
        Err(error) => return Err(missing(kind, &args.name, workspace, &error).await),
    };
    let text = match args.output {
        Output::Table | Output::Wide => facts(kind, &object, SystemClock.now()),
        output => Printer::new(kind, output, false).one(&object, SystemClock.now()),
    };
    std::io::stdout().lock().write_all(&text)?;
    Ok(Exit::Done)
}

/// What a failed call about one object makes of the program's end: where there is none of that
/// name, those that may have been meant.
pub(crate) async fn missing(
    kind: &Kind,
    typed: &str,
    workspace: &Workspace,
    error: &ApiError,
) -> Failure {
    if error.code() != Some(404) {
        return failure(&format!("{} {typed:?}", kind.noun), error);
    }
    let list = match workspace.list(kind.collection).await {
        Ok(list) => list,
        Err(error) => return unserved(kind, workspace, &error),
    };
    let (noun, place) = (kind.noun, workspace.name());
    let mut lines = vec![format!("no {noun} {typed:?} in workspace {place}")];
    let names: Vec<String> = list.array_at(&["items"]).iter().map(kind.typed).collect();
    let near = near(typed, names.iter().map(String::as_str));
    if near.is_empty() {
        lines.push(format!("`strait {noun} list` shows all"));
    } else {
        lines.push(format!("there is {}", near.join(", ")));
    }
    Failure { exit: Exit::No, lines }
}

/// What a failed list makes of the program's end.
fn unserved(kind: &Kind, workspace: &Workspace, error: &ApiError) -> Failure {
    if error.code() != Some(404) {
        return failure(&format!("{}s in workspace {}", kind.noun, workspace.name()), error);
    }
    let lines = vec![
        format!("workspace {} is not there, or has no agents", workspace.name()),
        "`strait agent token create NAME` makes one; --workspace names another workspace".into(),
    ];
    Failure { exit: Exit::No, lines }
}

/// The status of a condition, and why if it is given.
pub(crate) fn condition(object: &Value, kind: &str) -> (String, String) {
    let conditions = object.array_at(&["status", "conditions"]);
    let own = conditions.iter().find(|own| own.str_at(&["type"]) == Some(kind));
    let text = |key| own.and_then(|own| own.str_at(&[key])).unwrap_or_default().to_owned();
    let status = text("status");
    (if status.is_empty() { "Unknown".to_owned() } else { status }, text("message"))
}

/// As kubectl has it: `5s`, `12m`, `3h`, `4d`.
pub(crate) fn age(object: &Value, now: Timestamp) -> String {
    let made = object.str_at(&["metadata", "creationTimestamp"]).unwrap_or_default();
    crate::hook::age(made, now)
}

/// A cell, never empty.
pub(crate) fn cell(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// So many of something whose plural is regular.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

struct Printer {
    kind: &'static Kind,
    output: Output,
    /// Whether more objects may come: then each is a document of its own.
    watched: bool,
    columns: Columns,
}

impl Printer {
    fn new(kind: &'static Kind, output: Output, watched: bool) -> Self {
        Self { kind, output, watched, columns: Columns::default() }
    }

    fn print(&mut self, list: &Value, workspace: &Workspace) -> Result<(), Failure> {
        let text = self.all(list, SystemClock.now());
        std::io::stdout().lock().write_all(&text)?;
        if list.array_at(&["items"]).is_empty() && self.output.is_for_people() {
            let (noun, name) = (self.kind.noun, workspace.name());
            output::note(&format!("no {noun}s in workspace {name}"));
        }
        Ok(())
    }

    fn all(&mut self, list: &Value, now: Timestamp) -> Vec<u8> {
        let items = list.array_at(&["items"]);
        let mut out = Vec::new();
        match self.output {
            Output::Json | Output::Yaml if !self.watched => out = self.document(list),
            Output::Table | Output::Wide if !items.is_empty() => {
                let header = self.kind.columns.iter().map(|&name| name.to_owned()).collect();
                let rows = items.iter().map(|item| (self.kind.row)(item, now));
                let rows: Vec<_> = std::iter::once(header).chain(rows).collect();
                self.rows(rows, &mut out);
            }
            _ => items.iter().for_each(|item| out.extend(self.one(item, now))),
        }
        out
    }

    fn one(&mut self, object: &Value, now: Timestamp) -> Vec<u8> {
        let mut out = Vec::new();
        match self.output {
            Output::Table | Output::Wide => self.rows(vec![(self.kind.row)(object, now)], &mut out),
            Output::Name => {
                let name = object.str_at(&["metadata", "name"]).unwrap_or_default();
                out = format!("{}/{name}\n", self.kind.resource).into_bytes();
            }
            Output::Json | Output::Yaml => out = self.document(object),
        }
        out
    }

    fn rows(&mut self, mut rows: Vec<Vec<String>>, out: &mut Vec<u8>) {
        if self.output == Output::Table {
            rows.iter_mut().for_each(|row| row.truncate(self.kind.narrow));
        }
        // Memory takes everything.
        let _ = self.columns.print(&rows, out);
    }

    fn document(&self, value: &Value) -> Vec<u8> {
        if self.output == Output::Yaml {
            let start = if self.watched { "---\n" } else { "" };
            return format!("{start}{}", yaml::to_text(value)).into_bytes();
        }
        let mut out = value.to_pretty_bytes();
        out.push(b'\n');
        out
    }
}

/// Everything about one object that people read, one fact a line.
fn facts(kind: &Kind, object: &Value, now: Timestamp) -> Vec<u8> {
    let columns = kind.columns.iter().map(|&name| name.to_owned());
    let mut rows: Vec<Vec<String>> =
        columns.zip((kind.row)(object, now)).map(|(name, cell)| vec![name, cell]).collect();
    let details = (kind.details)(object).into_iter();
    rows.extend(details.map(|(name, text)| vec![name.to_owned(), text]));
    for one in object.array_at(&["status", "conditions"]) {
        let text = |key| one.str_at(&[key]).unwrap_or_default();
        let since = crate::hook::age(text("lastTransitionTime"), now);
        let why = if text("message").is_empty() { text("reason") } else { text("message") };
        let said = format!("{} for {since}: {why}", text("status"));
        rows.push(vec![text("type").to_uppercase(), said]);
    }
    let mut out = Vec::new();
    // Memory takes everything.
    let _ = table(&rows, &mut out);
    out
}
