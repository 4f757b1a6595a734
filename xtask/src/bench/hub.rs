//! A hub to measure: the release binary as a process, on a directory of its own.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::{Ground, kubeconfig, load};
use crate::command::end;
use crate::https::{self, Halves};
use crate::stopwatch::Stopwatch;

/// Where hubs listen.
pub(crate) const HOST: &str = "127.0.0.1";
/// Time to become ready.
const READY_MAX: Duration = Duration::from_secs(30);
/// How often files that a hub writes early are looked for: well below what is measured.
const LOOK_EVERY: Duration = Duration::from_micros(200);

/// A running hub. Dropping it ends it and removes its directory.
#[derive(Debug)]
pub(crate) struct Hub {
    child: Child,
    directory: PathBuf,
    host: &'static str,
    port: u16,
    /// From the start of the process to the first 200 of `/readyz`.
    pub(crate) started_in: Duration,
}

impl Hub {
    /// Starts a hub on an empty directory and waits until it is ready.
    ///
    /// # Errors
    /// It ends, or is not ready in time; its log is then in the message.
    pub(crate) fn start(ground: &Ground) -> Result<Self> {
        load::runtime()?.block_on(Self::launch(ground, &[]))
    }

    /// The same on a runtime that is there already, with more arguments.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub(crate) async fn launch(ground: &Ground, arguments: &[&str]) -> Result<Self> {
        Self::launch_at(ground, HOST, arguments).await
    }

    /// The same at another address of this machine.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub(crate) async fn launch_at(
        ground: &Ground,
        host: &'static str,
        arguments: &[&str],
    ) -> Result<Self> {
        let directory = ground.directory.join("hub");
        fs::create_dir(&directory)?;
        let port = TcpListener::bind((host, 0))?.local_addr()?.port();
        let mut command = Command::new(&ground.binary);
        command
            .args(["hub", "--parent", &std::process::id().to_string()])
            .args(["--listen", &format!("{host}:{port}"), "--data-dir"])
            .arg(directory.join("data"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(directory.join("log"))?);
        let stopwatch = Stopwatch::start();
        let child = command.spawn().context("cannot start the hub")?;
        let mut hub = Self { child, directory, host, port, started_in: Duration::ZERO };
        let ready = hub.ready(stopwatch).await;
        hub.started_in = ready.with_context(|| format!("its log: {}", last_lines(&hub.log())))?;
        Ok(hub)
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A TLS configuration with the administrator's certificate.
    ///
    /// # Errors
    /// `admin.kubeconfig` is not what it should be.
    pub(crate) fn admin(&self) -> Result<Arc<ClientConfig>> {
        kubeconfig::tls(&self.data("admin.kubeconfig"))
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// The hub does not take it.
    pub(crate) async fn connect(&self, tls: Arc<ClientConfig>) -> Result<Halves> {
        https::connect(self.host, self.port, Some(tls)).await
    }

    /// The address of that.
    pub(crate) fn host(&self) -> &'static str {
        self.host
    }

    /// Where it says what is wrong.
    pub(crate) fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// A file of its data directory.
    pub(crate) fn data(&self, file: &str) -> PathBuf {
        self.directory.join("data").join(file)
    }

    /// Its CA.
    ///
    /// # Errors
    /// `ca.crt` is not what it should be.
    pub(crate) fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(self.data("ca.crt"))? {
            roots.add(certificate?)?;
        }
        Ok(roots)
    }

    /// The hub binds its port and writes its CA before it is ready, so a connection waits in the
    /// port's queue until then: one attempt finds the moment, nothing polls.
    async fn ready(&mut self, stopwatch: Stopwatch) -> Result<Duration> {
        while !self.data("ca.crt").exists() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the hub ended: {status}");
            }
            if stopwatch.elapsed() > READY_MAX {
                bail!("the hub wrote no ca.crt in {} s", READY_MAX.as_secs());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let tls = https::tls(self.roots()?, None)?;
        let asked = tokio::time::timeout(READY_MAX, async {
            let (mut sender, driver) = self.connect(tls).await?;
            let asking = async move {
                loop {
                    let request = Request::get("/readyz").header(http::header::HOST, HOST);
                    let request = request.body(Full::<Bytes>::default())?;
                    if https::answer(&mut sender, request).await?.status() == StatusCode::OK {
                        return Ok(stopwatch.elapsed());
                    }
                }
            };
            https::drive(driver, asking).await
        });
        asked.await.context("the hub did not become ready")?
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        end(&mut self.child);
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A port that nobody listens on now.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((HOST, 0))?.local_addr()?.port())
}

/// The end of a log.
pub(crate) fn last_lines(path: &Path) -> String {
    let log = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
