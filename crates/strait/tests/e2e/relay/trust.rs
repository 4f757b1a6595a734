//! Credentials stay where they belong, and end when they are told to.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use super::origin::Origin;
use super::site::{Site, eventually};
use crate::harness::Process;

/// What a revocation may take until the last byte.
const CUT_MAX: Duration = Duration::from_secs(2);

#[test]
fn row_36_credentials_of_services_never_reach_the_hub() {
    let origin = Origin::start();
    let keys = tempfile::TempDir::new().unwrap();
    let file = |name: &str| {
        let canary = format!("canary-{name}-{}", std::process::id());
        fs::write(keys.path().join(name), &canary).unwrap();
        keys.path().join(name).display().to_string()
    };
    let kinds = [
        (
            "basic",
            format!(
                "{{basic: {{userFile: {}, passwordFile: {}}}}}",
                file("user"),
                file("password")
            ),
        ),
        ("bearer", format!("{{bearer: {{tokenFile: {}}}}}", file("bearer"))),
        ("token", format!("{{token: {{tokenFile: {}}}}}", file("token"))),
        ("header", format!("{{header: {{name: X-Api-Key, valueFile: {}}}}}", file("header"))),
    ];
    let services: String = kinds
        .iter()
        .map(|(name, how)| {
            format!(
                "- {{name: {name}, type: http, url: \"http://{}\", credentials: {how}}}\n",
                origin.address
            )
        })
        .collect();
    let site = Site::start(&format!("services:\n{services}"));
    for (name, _) in &kinds {
        let token = site.token(name);
        // Not the answer with the fields that came: it would bring them back through the hub.
        site.curl(&token, &["--fail"], &site.url(name, "/status/200")).succeeded();
        let seen = origin.last();
        let sent =
            seen.field("authorization").or_else(|| seen.field("x-api-key")).expect("a credential");
        assert!(*name == "basic" || sent.contains("canary-"), "{sent}");
        assert!(!seen.first.contains(&token) && !format!("{seen:?}").contains(&token));
    }
    let metrics = [site.hub.metrics(), site.agents[0].metrics()];
    let shown = site.hub.strait(&["service", "list", "-o", "json"]).succeeded();
    for (name, _) in &kinds {
        let service = format!("service=\"{name}\"");
        assert!(metrics.iter().all(|text| text.contains(&service)), "{service} {metrics:?}");
    }
    assert!(!metrics.concat().contains("canary-") && !shown.contains("canary-"));
    assert_eq!(in_memory(site.hub.process().pid().as_raw_pid(), b"canary-"), 0);
    // The search finds what is there.
    assert!(in_memory(site.agents[0].process.pid().as_raw_pid(), b"canary-") > 0);
    let stopped = site.hub.stop();
    assert!(!stopped.log.contains("canary-"), "{}", stopped.log);
    assert_eq!(in_files(&stopped.data(), b"canary-"), 0);
}

#[test]
fn row_37_what_is_revoked_ends_within_two_seconds() {
    let origin = Origin::start();
    let site = Site::start(&origin.service());
    for version in ["--http1.1", "--http2"] {
        let token = site.token("ci");
        let before = origin.count("GET", "/endless");
        let mut curl = site.curl_command(&token);
        let download = Process::start(
            curl.args([version, "--no-buffer", "--output", "/dev/null"])
                .arg(site.url("ci", "/endless")),
        );
        eventually("the download", || origin.count("GET", "/endless") > before);
        let revoked = site.hub.strait(&["service", "revoke", "smith/ci"]);
        let began = Instant::now();
        assert_eq!(revoked.code, Some(0), "{revoked:?}");
        let ended = download.finish();
        assert!(began.elapsed() < CUT_MAX, "{:?}", began.elapsed());
        assert!(!matches!(ended.code, None | Some(0 | 28)), "{ended:?}");
        let refused = site.curl(&token, &["--include"], &site.url("ci", "/a")).succeeded();
        assert!(refused.contains("CredentialRevoked"), "{refused}");
        // A token of the same second ends with the others.
        eventually("a new token", || site.works("ci", &site.token("ci")));
    }
}

/// How often bytes are in the memory of a process.
pub(super) fn in_memory(pid: i32, wanted: &[u8]) -> usize {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut found = 0;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (range, _) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let number = |text| u64::from_str_radix(text, 16).unwrap();
        let (from, to) = (number(from), number(to));
        let mut bytes = Vec::new();
        // Some of the kernel's own cannot be read.
        if memory.seek(SeekFrom::Start(from)).is_ok() {
            let _ = (&mut memory).take(to - from).read_to_end(&mut bytes);
        }
        found += count(&bytes, wanted);
    }
    found
}

/// How often they are in the files below a directory.
pub(super) fn in_files(directory: &Path, wanted: &[u8]) -> usize {
    let entries = fs::read_dir(directory).unwrap().flatten();
    let of = |path: &Path| {
        if path.is_dir() {
            in_files(path, wanted)
        } else {
            count(&fs::read(path).unwrap_or_default(), wanted)
        }
    };
    entries.map(|entry| of(&entry.path())).sum()
}

fn count(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).filter(|window| *window == wanted).count()
}
