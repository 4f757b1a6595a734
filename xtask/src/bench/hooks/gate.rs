//! `strait hooks serve` as a process, on a directory of its own.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::sinks::Sink;
use super::webhook::SECRET;
use crate::bench::Ground;
use crate::bench::hub::last_lines;
use crate::command::end;
use crate::https::{self, Halves};
use crate::stopwatch::Stopwatch;

/// A running gateway. Dropping it ends it and removes its directory.
#[derive(Debug)]
pub(crate) struct Gate {
    binary: PathBuf,
    directory: PathBuf,
    child: Child,
    pub(crate) address: SocketAddr,
    /// From the start of the process to its `ready` line.
    pub(crate) started_in: Duration,
}

impl Gate {
    /// Starts one that delivers to `sinks`; `limits` are members of the document's `limits`.
    ///
    /// # Errors
    /// It does not become ready; its log is then in the message.
    pub(crate) fn start(ground: &Ground, sinks: &[&Sink], limits: &str) -> Result<Self> {
        let directory = ground.directory.join("hooks");
        fs::create_dir(&directory)?;
        fs::write(directory.join("secret"), SECRET)?;
        let backend = |(number, sink): (usize, &&Sink)| {
            format!(
                "- {{name: backend-{number}, url: \"http://{}\", sources: [github], allowPrivate: true}}\n",
                sink.address
            )
        };
        let backends: String = sinks.iter().enumerate().map(backend).collect();
        let text = format!(
            "apiVersion: hooks.strait.dev/v1alpha1\nkind: HooksConfig\nlisten: 127.0.0.1:0\n\
             dataDir: {data}\nlimits: {{{limits}}}\nstoreOnly: true\nsources:\n\
             - {{name: github, path: /github, scheme: github, secretFiles: [{secret}]}}\n\
             backends:\n{backends}",
            data = directory.join("data").display(),
            secret = directory.join("secret").display(),
            backends = if backends.is_empty() { "  []\n" } else { &backends },
        );
        fs::write(directory.join("hooks.yaml"), text)?;
        let (child, address, started_in) = spawn(&ground.binary, &directory)?;
        Ok(Self { binary: ground.binary.clone(), directory, child, address, started_in })
    }

    /// Kills it and starts it again on the same directory.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        let (child, address, started_in) = spawn(&self.binary, &self.directory)?;
        (self.child, self.address, self.started_in) = (child, address, started_in);
        Ok(())
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    pub(crate) fn to(&self) -> (&'static str, u16) {
        ("127.0.0.1", self.address.port())
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// It does not take it.
    pub(crate) async fn connect(&self) -> Result<Halves> {
        let (host, port) = self.to();
        https::connect(host, port, None).await
    }
}

fn spawn(binary: &PathBuf, directory: &std::path::Path) -> Result<(Child, SocketAddr, Duration)> {
    let log = directory.join("log");
    let stopwatch = Stopwatch::start();
    let mut child = Command::new(binary)
        .args(["hooks", "serve", "--parent", &std::process::id().to_string(), "--config"])
        .arg(directory.join("hooks.yaml"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(&log)?)
        .spawn()
        .context("cannot start strait hooks serve")?;
    let mut line = String::new();
    let out = child.stdout.take().context("it has no output")?;
    BufReader::new(out).read_line(&mut line)?;
    let started_in = stopwatch.elapsed();
    let address = line.trim_end().strip_prefix("ready http://").and_then(|text| text.parse().ok());
    match address {
        Some(address) => Ok((child, address, started_in)),
        None => {
            let _ = child.kill();
            let _ = child.wait();
            anyhow::bail!("strait hooks serve did not start; its log: {}", last_lines(&log))
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        end(&mut self.child);
        let _ = fs::remove_dir_all(&self.directory);
    }
}
