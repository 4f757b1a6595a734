//! Everything that `strait up` starts, to measure.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::Ground;
use super::hub::{HOST, last_lines};
use super::kubeconfig;
use crate::command::end;
use crate::https::{self, Halves};

/// A running hub and agent with the example. Dropping it ends its processes.
#[derive(Debug)]
pub(crate) struct Up {
    child: Child,
    data: PathBuf,
    port: u16,
}

impl Up {
    /// Starts everything on an empty directory and waits until a request has crossed.
    ///
    /// # Errors
    /// None crosses; the end of its log is then in the message.
    pub(crate) fn start(ground: &Ground) -> Result<Self> {
        let directory = ground.directory.join("up");
        fs::create_dir(&directory)?;
        let (data, log) = (directory.join("data"), directory.join("log"));
        let mut command = Command::new(&ground.binary);
        command.args(["up", "--listen", &format!("{HOST}:0"), "--data-dir"]).arg(&data);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        let mut child = command.spawn().context("cannot start the hub and the agent")?;
        let output = child.stdout.take().context("it has no output")?;
        let mut up = Self { child, data, port: 0 };
        // It gives up by itself where it does not get there.
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let Some(port) = port(&line) else {
            bail!("nothing crossed; its log: {}", last_lines(&log));
        };
        up.port = port;
        Ok(up)
    }

    /// Opens a connection as the example's tenant.
    ///
    /// # Errors
    /// The hub does not take it.
    pub(crate) async fn connect(&self) -> Result<Halves> {
        let tls = kubeconfig::tls(&self.data.join("kubeconfig"))?;
        https::connect(HOST, self.port, Some(tls)).await
    }

    /// Where the agent writes its audit log.
    pub(crate) fn agent_audit(&self) -> PathBuf {
        self.data.join(Path::new("agents/local/audit"))
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // Its children end with it; the directory goes when all is measured.
        end(&mut self.child);
    }
}

/// The port in `ready https://HOST:PORT …`.
fn port(line: &str) -> Option<u16> {
    let url = line.strip_prefix("ready https://")?.split_whitespace().next()?;
    url.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_where_the_hub_is() {
        assert_eq!(
            port("ready https://127.0.0.1:6443 agent=connected crossing=30ms\n"),
            Some(6443)
        );
        assert_eq!(port("ready\n"), None);
        assert_eq!(port(""), None);
    }
}
