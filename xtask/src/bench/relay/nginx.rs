//! Two nginx in a row: what stands for hub and agent where there is no Strait.
//!
//! TLS 1.3 on both hops, connections kept on each, nothing buffered on disk, no access log. The
//! outer one checks the inner one's certificate, as a hub does an agent's. Counts that would end a
//! kept connection in the middle of a measurement are set out of the way.

use std::fs;
use std::path::{Path as FilePath, PathBuf};

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::RootCertStore;

use super::path::{Kind, Outer, Path, target};
use super::process::{Process, Recipe};
use super::service::Service;
use crate::bench::Ground;
use crate::bench::hub::free_port;
use crate::https;
use crate::metadata::Metadata;
use crate::tools::debian;

/// Name in the inner one's certificate.
const INNER: &str = "inner.example";

/// Starts a chain with so many workers on each side.
///
/// # Errors
/// No nginx, or it does not start.
pub(crate) fn start(ground: &Ground, kind: Kind, workers: u32, service: &Service) -> Result<Path> {
    let program = debian::nginx(&Metadata::read()?.target_directory)?;
    let directory = ground.directory.join(format!("nginx-{workers}"));
    fs::create_dir_all(&directory)?;
    let roots = certificates(&directory)?;
    let [outer, inner] = [free_port()?, free_port()?];
    let inner_hop = format!("proxy_pass http://next;\nserver {};", service.address);
    let outer_hop = format!(
        "proxy_pass https://next;\nserver 127.0.0.1:{inner};\n\
         proxy_ssl_verify on; proxy_ssl_trusted_certificate {ca}; proxy_ssl_name {INNER};\n\
         proxy_ssl_server_name on; proxy_ssl_protocols TLSv1.3;",
        ca = directory.join("ca.pem").display(),
    );
    let hop = |name: &str, port, next: &str| {
        let home = directory.join(name);
        fs::create_dir_all(&home)?;
        let file = home.join("nginx.conf");
        fs::write(&file, config(&home, workers, port, next))?;
        Process::start(Recipe {
            // Its end is that of its workers, whatever becomes of this process.
            program: "setpriv".into(),
            arguments: [
                "--pdeathsig".into(),
                "TERM".into(),
                program.clone().into(),
                "-p".into(),
                home.clone().into(),
                "-c".into(),
                file.into(),
            ]
            .into(),
            log: home.join("log"),
        })
    };
    Ok(Path {
        kind,
        inner: Some(hop("inner", inner, &inner_hop)?),
        outer: Outer::Process(hop("outer", outer, &outer_hop)?),
        target: target(outer, Some(https::tls(roots, None)?), String::new()),
        logs: ["outer", "inner"].map(|name| directory.join(name).join("log")).into(),
    })
}

/// A configuration; `next` has the pass, the server that it goes to, and the TLS to it.
fn config(home: &FilePath, workers: u32, port: u16, next: &str) -> String {
    let home = home.display();
    let (pass, rest) = next.split_once('\n').unwrap_or((next, ""));
    let (server, tls) = rest.split_once('\n').unwrap_or((rest, ""));
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {home}/{kind};\n"))
        .concat();
    format!(
        "daemon off;
worker_processes {workers};
worker_rlimit_nofile 20000;
error_log {home}/log warn;
pid {home}/pid;
events {{ worker_connections 8192; }}
http {{
  access_log off;
{temporary}
  keepalive_requests 100000000;
  keepalive_timeout 75s;
  upstream next {{
    {server}
    keepalive 512;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} ssl backlog=4096;
    ssl_certificate {home}/../server.pem;
    ssl_certificate_key {home}/../server.key;
    ssl_protocols TLSv1.3;
    client_max_body_size 0;
    location / {{
      {pass}
      {tls}
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
      proxy_buffer_size 32k;
      proxy_buffers 8 32k;
      proxy_pass_header X-Accel-Buffering;
      proxy_read_timeout 1h;
    }}
  }}
}}
"
    )
}

/// Writes the certificate of both sides and of who signed it; whom clients trust.
fn certificates(directory: &FilePath) -> Result<RootCertStore> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Another than the certificate's, which OpenSSL would take for signed by itself.
    params.distinguished_name.push(DnType::CommonName, "bench");
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let names = ["127.0.0.1".to_owned(), INNER.to_owned()];
    let certificate = CertificateParams::new(names)?.signed_by(&key, &ca)?;
    let pem = |label: &str, der: &[u8]| pem::encode(&pem::Pem::new(label, der));
    let write = |name: &str, pem: String| {
        let path: PathBuf = directory.join(name);
        fs::write(&path, pem).with_context(|| format!("cannot write {}", path.display()))
    };
    write("ca.pem", pem("CERTIFICATE", ca.der()))?;
    write("server.pem", pem("CERTIFICATE", certificate.der()))?;
    write("server.key", pem("PRIVATE KEY", key.serialized_der()))?;
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone())?;
    Ok(roots)
}
