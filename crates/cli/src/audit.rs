//! `strait audit`: what crossed, and whether the record of it is whole.
//!
//! Reads the files of a data directory, beside the running process or without one.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use strait_audit::{Entry, Filter, Head, Stage, list, verify};

use crate::exit::{Exit, Failure};
use crate::objects::counted;
use crate::output;

/// Rows that are lined up together.
const ROWS: usize = 500;

/// How often a watched log is looked at.
const EVERY: Duration = Duration::from_millis(250);

/// Lists what crossed, or checks that the record of it is whole
#[derive(Args, Debug)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    List(ListArgs),
    Verify(VerifyArgs),
}

/// Lists what crossed, oldest first
#[derive(Args, Debug)]
struct ListArgs {
    /// Data directory of the hub or agent
    #[arg(long, env = "STRAIT_DATA_DIR", value_name = "DIR", default_value = "strait-data")]
    data_dir: PathBuf,

    /// How to print
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    output: ListOutput,

    /// Go on with new lines as they come
    #[arg(short, long)]
    watch: bool,

    /// Only the request with this uid
    #[arg(long, value_name = "UID")]
    crossing: Option<String>,

    /// Only this stage: asked, decided, started, ended
    #[arg(long)]
    stage: Option<Stage>,

    /// Only what this user did
    #[arg(long)]
    user: Option<String>,

    /// Only requests of this logical cluster
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
}

/// Formats of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ListOutput {
    Table,
    /// With the crossing's uid and the hash
    Wide,
    /// The lines as they are on disk
    Json,
}

/// Checks the chain of hashes; exit code 1 if a line was changed, removed or added
#[derive(Args, Debug)]
struct VerifyArgs {
    /// Data directory of the hub or agent
    #[arg(long, env = "STRAIT_DATA_DIR", value_name = "DIR", default_value = "strait-data")]
    data_dir: PathBuf,
}

/// Lists or verifies.
pub(crate) fn run(args: &AuditArgs) -> Result<Exit, Failure> {
    let result = match &args.command {
        AuditCommand::List(args) => print_list(args),
        AuditCommand::Verify(args) => check(args),
    };
    match result {
        // Whoever read the output had enough.
        Err(Failed::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(Failed::Output(error)) => Err(error.into()),
        Err(Failed::Log(failure)) => Err(failure),
        Ok(exit) => Ok(exit),
    }
}

enum Failed {
    Output(io::Error),
    Log(Failure),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

fn print_list(args: &ListArgs) -> Result<Exit, Failed> {
    let directory = args.data_dir.join("audit");
    let mut out = io::stdout().lock();
    let mut filter = Filter {
        crossing: args.crossing.clone(),
        stage: args.stage,
        user: args.user.clone(),
        cluster: args.cluster.clone(),
        ..Filter::default()
    };
    let mut exit = Exit::Done;
    let mut rows = Rows { output: args.output, rows: Vec::new() };
    rows.header();
    loop {
        let entries =
            list(&directory, filter.clone()).map_err(|error| Failed::Log(error.into()))?;
        for entry in entries {
            match entry {
                Ok(entry) => {
                    filter.after = Some(entry.seq);
                    rows.add(&entry, &mut out)?;
                }
                Err(error) => {
                    exit = Exit::No;
                    Failure::from(error).explain();
                }
            }
        }
        rows.flush(&mut out)?;
        if !args.watch {
            return Ok(exit);
        }
        std::thread::sleep(EVERY);
    }
}

/// Rows of a table, printed some at a time so that a long log needs little memory.
struct Rows {
    output: ListOutput,
    rows: Vec<Vec<String>>,
}

impl Rows {
    fn header(&mut self) {
        let all = ["SEQ", "TIME", "STAGE", "USER", "OBJECT", "RULE", "OUTCOME", "CROSSING", "HASH"];
        match self.output {
            ListOutput::Table => self.push(all[..7].iter().map(|&name| name.to_owned())),
            ListOutput::Wide => self.push(all.iter().map(|&name| name.to_owned())),
            ListOutput::Json => {}
        }
    }

    fn push(&mut self, cells: impl Iterator<Item = String>) {
        self.rows
            .push(cells.map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }).collect());
    }

    fn add(&mut self, entry: &Entry, out: &mut impl Write) -> io::Result<()> {
        let record = &entry.record;
        let object = &record.object;
        let mut cells = vec![
            entry.seq.to_string(),
            entry.time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
            record.stage.to_string(),
            record.actor.user.clone(),
            if object.name.is_empty() {
                String::new()
            } else {
                format!(
                    "{}:{}/{}/{}",
                    object.cluster, object.namespace, object.resource, object.name
                )
            },
            record.rule.clone(),
            record.outcome.clone(),
        ];
        match self.output {
            ListOutput::Json => return writeln!(out, "{}", entry.text.trim_end()),
            ListOutput::Wide => cells.extend([record.crossing.clone(), entry.hash.to_string()]),
            ListOutput::Table => {}
        }
        self.push(cells.into_iter());
        if self.rows.len() >= ROWS { self.flush(out) } else { Ok(()) }
    }

    fn flush(&mut self, out: &mut impl Write) -> io::Result<()> {
        output::table(&self.rows, out)?;
        self.rows.clear();
        out.flush()
    }
}

fn check(args: &VerifyArgs) -> Result<Exit, Failed> {
    let log = |failure: Failure| Failed::Log(failure);
    // Read first: a running log is never behind what it mirrored.
    let mirrored = mirrored(&args.data_dir).map_err(log)?;
    let report =
        verify(&args.data_dir.join("audit"), mirrored).map_err(|error| log(error.into()))?;
    let mut out = io::stdout().lock();
    for fault in &report.faults {
        writeln!(out, "{fault}")?;
    }
    if let Some(head) = report.missing_head {
        writeln!(
            out,
            "line {} was written and is not there any more: the log was cut or replaced",
            head.seq
        )?;
    }
    let faults = report.fault_count + u64::from(report.missing_head.is_some());
    let untold = report.fault_count.saturating_sub(report.faults.len() as u64);
    if untold > 0 {
        writeln!(out, "and {untold} more")?;
    }
    let head = report.head.map_or_else(|| "none".to_owned(), |head| head.to_string());
    let verdict = if report.is_intact() { "intact".to_owned() } else { counted(faults, "fault") };
    let (lines, files) = (counted(report.lines, "line"), counted(report.segments, "file"));
    writeln!(out, "{verdict}: {lines} in {files}, head {head}")?;
    Ok(if report.is_intact() { Exit::Done } else { Exit::No })
}

/// The position that was kept outside the audit directory, in the process's own database.
fn mirrored(data_dir: &Path) -> Result<Option<Head>, Failure> {
    let stores = ["store.db", "journal.db"].map(|name| data_dir.join(name));
    match stores.iter().find(|store| store.exists()) {
        Some(store) => Ok(strait_audit::mirrored(store)?),
        None => Ok(strait_audit::mirrored_in_file(&data_dir.join("audit-head"))?),
    }
}
