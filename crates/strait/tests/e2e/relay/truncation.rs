//! Answers that break off: no client takes them for whole.

use std::process::Command;

use super::curl::VERSIONS;
use super::origin::Origin;
use super::site::{Site, eventually, program, python};
use crate::harness::Process;

/// How clients end that know that they do not have everything: a part of the answer came, another
/// status than 200, a connection or a stream that broke off (curl's codes; the others' are the
/// first two).
const BROKEN: [i32; 4] = [18, 22, 56, 92];
/// A client in Go.
const GO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/relay/truncation.go");

#[test]
fn row_19_what_broke_off_never_looks_whole_to_curl() {
    what_broke_off_never_looks_whole(|site, token, version, url| {
        let mut curl = site.curl_command(token);
        curl.args([version, "--no-buffer", "--fail", "--max-time", "60", url]);
        curl
    });
}

#[test]
fn row_19_what_broke_off_never_looks_whole_to_python() {
    what_broke_off_never_looks_whole(|site, token, version, url| {
        let mut client = python(include_str!("truncation.py"));
        client.args([version, url, token]).arg(site.authority());
        client
    });
}

#[test]
#[ignore = "Go; cargo xtask soak row_19"]
fn row_19_what_broke_off_never_looks_whole_to_go() {
    let home = tempfile::TempDir::new().unwrap();
    let client = home.path().join("client");
    let mut build = program("go");
    build.env("HOME", home.path()).env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "local");
    build.args(["build", "-o"]).arg(&client).arg(GO);
    Process::start(&mut build).finish().succeeded();
    what_broke_off_never_looks_whole(|site, token, version, url| {
        let mut client = Command::new(&client);
        client.env_clear().args([version, url, token]).arg(site.authority());
        client
    });
}

/// Downloads with a client: the service breaks off in the middle, in chunks and with a length, and
/// the agent is killed.
fn what_broke_off_never_looks_whole(download: impl Fn(&Site, &str, &str, &str) -> Command) {
    let origin = Origin::start();
    let mut site = Site::start(&origin.service());
    let token = site.token("ci");
    for version in VERSIONS {
        let start = |site: &Site, path: &str| {
            Process::start(&mut download(site, &token, version, &site.url("ci", path)))
        };
        let whole = start(&site, "/bytes/100000").finish();
        assert_eq!(whole.code, Some(0), "{version} {whole:?}");
        for path in ["/truncated", "/short"] {
            // Where the service broke off so early that nothing came, the status says so.
            let broken = start(&site, path).finish();
            let code = broken.code.unwrap_or_default();
            assert!(BROKEN.contains(&code), "{version} {path} {broken:?}");
            assert!(["", "part"].contains(&&*broken.stdout), "{version} {path} {broken:?}");
        }
        let waited = origin.count("GET", "/endless") + 1;
        let endless = start(&site, "/endless");
        eventually("the download", || origin.count("GET", "/endless") == waited);
        site.agents[0].kill();
        let broken = endless.finish();
        assert!(BROKEN.contains(&broken.code.unwrap_or_default()), "{version} {broken:?}");
        site.agents[0].start_again();
        eventually("the agent", || site.works("ci", &token));
    }
}
