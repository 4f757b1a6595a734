//! curl in front: what a message can be.

use std::time::{Duration, Instant};

use super::origin::Origin;
use super::site::{Site, eventually};
use crate::harness::Process;

/// More than any buffer on the way may hold.
const LARGE: u64 = 512 << 20;
/// More than would fit beside all else.
const VERY_LARGE: u64 = 5 << 30;
/// What a process may grow by while so much passes, bytes.
const GROWTH_MAX: u64 = 64 << 20;

/// Time for one such body.
const PATIENCE: Duration = Duration::from_mins(20);

pub(super) const VERSIONS: [&str; 2] = ["--http1.1", "--http2"];

#[test]
fn row_11_answers_of_every_shape_pass_as_they_are() {
    let origin = Origin::start();
    let site = Site::start(&origin.service());
    let token = site.token("ci");
    for version in VERSIONS {
        let run = |arguments: &[&str], path: &str| {
            let arguments = [&[version], arguments].concat();
            site.curl(&token, &arguments, &site.url("ci", path)).succeeded()
        };
        let head = run(&["--head"], "/bytes/12345");
        assert!(head.to_lowercase().contains("content-length: 12345\r\n"), "{version} {head}");
        for status in ["200", "204", "304", "404", "500"] {
            let answer = run(&["--include"], &format!("/status/{status}"));
            assert!(answer.split(' ').nth(1) == Some(status), "{version} {answer}");
            assert_eq!(answer.contains("etag: \"e\""), status == "304", "{version} {answer}");
        }
        let range = run(&["--include", "--range", "10-19"], "/bytes/1000");
        assert!(range.contains("206") && range.contains("content-range: bytes 10-19/1000"));
        assert!(range.ends_with("\r\n\r\nxxxxxxxxxx"), "{version} {range}");
        let trailers = run(&["--include", "--header", "te: trailers"], "/trailers");
        assert!(trailers.contains("body") && trailers.ends_with("x-sum: 42\r\n"), "{trailers:?}");
        let redirect = run(&["--include"], "/redirect").to_lowercase();
        for part in [
            "302",
            "location: /services/relay/smith/ci/there?x=1\r\n",
            "path=/services/relay/smith/ci/\r\n",
        ] {
            assert!(
                redirect.replace(&format!("https://{}", site.address()), "").contains(part),
                "{part} {redirect}"
            );
        }
    }
}

#[test]
fn row_11_bodies_wait_for_leave_where_the_client_asks() {
    let origin = Origin::start();
    let site = Site::start(&origin.service());
    let token = site.token("ci");
    std::fs::write(site.home.path().join("body"), vec![b'b'; 3 << 20]).unwrap();
    for version in VERSIONS {
        for length in ["content-length: 3145728", "transfer-encoding: chunked"] {
            let chunked = length.starts_with('t');
            if chunked && version == "--http2" {
                continue;
            }
            // The hub cannot say 100 over HTTP/2: there a client waits for as long as it likes.
            let wait = if version == "--http2" { "1" } else { "100" };
            let arguments = [
                version,
                "--header",
                length,
                "--header",
                "expect: 100-continue",
                "--expect100-timeout",
                wait,
                "--data-binary",
                "@body",
            ];
            let told = site.curl(&token, &arguments, &site.url("ci", "/upload")).succeeded();
            assert!(told.starts_with("POST /upload HTTP/1.1 3145728"), "{version} {told}");
            if version == "--http2" {
                continue;
            }
            let refused =
                [&["--include", "--write-out", " %{size_upload}"], &arguments[..]].concat();
            let refused = site.curl(&token, &refused, &site.url("ci", "/refuse")).succeeded();
            assert!(
                refused.contains("413") && refused.contains("too large"),
                "{version} {refused}"
            );
            assert!(refused.ends_with(" 0"), "nothing of the body was asked for: {refused}");
        }
        // Without asking: the answer comes before the body is over.
        let arguments = [version, "--header", "expect:", "--include", "--data-binary", "@body"];
        let refused = site.curl(&token, &arguments, &site.url("ci", "/refuse"));
        assert!(refused.stdout.contains(" 413 "), "{version} {refused:?}");
    }
}

#[test]
fn row_11_a_refusal_is_seen_that_comes_before_a_small_body() {
    let origin = Origin::start();
    let site = Site::start(&format!(
        "services:\n- {{name: ci, type: http, url: \"http://{0}\"}}\n\
         - {{name: reads, type: http, url: \"http://{0}\", allow: {{methods: [GET]}}}}\n",
        origin.address
    ));
    let (token, reads) = (site.token("ci"), site.token("reads"));
    std::fs::write(site.home.path().join("body"), vec![b'b'; 60 << 10]).unwrap();
    let api = format!("https://{}/api/v1/namespaces", site.address());
    // Slow enough that the answer is there before the body.
    let slowly = ["--limit-rate", "600k", "--data-binary", "@body", "--include"];
    for version in VERSIONS {
        for (token, url, expected) in [
            (&*token, site.url("ci", "/refuse"), "too large"),
            (&*reads, site.url("reads", "/a"), "x-strait-error: AgentRule"),
            ("nonsense", site.url("ci", "/a"), "x-strait-error: CredentialInvalid"),
            ("nonsense", api.clone(), "\"code\":401"),
        ] {
            let told = site.curl(token, &[&[version], &slowly[..]].concat(), &url).succeeded();
            assert!(told.contains(expected), "{version} {url} {told}");
        }
    }
}

#[test]
fn a_client_that_leaves_ends_what_it_asked_for() {
    let origin = Origin::start();
    let site = Site::start(&origin.service());
    let token = site.token("ci");
    for version in VERSIONS {
        for path in ["/endless", "/wait", "/events"] {
            let before = origin.count("GET", path);
            let mut curl = site.curl_command(&token);
            let download =
                Process::start(curl.args([version, "--no-buffer"]).arg(site.url("ci", path)));
            eventually(path, || origin.count("GET", path) > before);
            drop(download);
            if path == "/endless" {
                eventually("its connection's end", || {
                    origin.known.open.load(std::sync::atomic::Ordering::Relaxed) == 0
                });
            } else {
                // It notices when it goes on.
                origin.go();
            }
        }
    }
}

#[test]
fn row_11_large_bodies_pass_at_bounded_memory() {
    bodies_pass(LARGE);
}

#[test]
#[ignore = "3 minutes; cargo xtask soak row_11"]
fn row_11_very_large_bodies_pass_at_bounded_memory() {
    bodies_pass(VERY_LARGE);
}

fn bodies_pass(length: u64) {
    let origin = Origin::start();
    let site = Site::start(&origin.service());
    let token = site.token("ci");
    let both = [("hub", site.hub.process()), ("agent", &site.agents[0].process)];
    let file = site.home.path().join("large");
    std::fs::File::create(&file).unwrap().set_len(length).unwrap();
    site.curl(&token, &[], &site.url("ci", "/bytes/1000000")).succeeded();
    let peaks = || both.map(|(_, process)| process.memory("VmHWM"));
    let before = peaks();
    let most = PATIENCE.as_secs().to_string();
    let run = |arguments: &[&str], path: &str| {
        let arguments = [&["--max-time", &most][..], arguments].concat();
        let began = Instant::now();
        let curl = site.start_curl(&token, &arguments, &site.url("ci", path));
        let told = curl.patiently(PATIENCE).finish().succeeded();
        println!("{} {path} {} MiB in {:?}", arguments[2], length >> 20, began.elapsed());
        told
    };
    for version in VERSIONS {
        let arguments = [version, "--output", "/dev/null", "--write-out", "%{size_download}"];
        assert_eq!(run(&arguments, &format!("/bytes/{length}")), length.to_string(), "{version}");
        let told = run(&[version, "--upload-file", file.to_str().unwrap()], "/upload");
        assert!(told.starts_with(&format!("PUT /upload HTTP/1.1 {length}")), "{version} {told}");
    }
    for (((who, _), before), after) in both.into_iter().zip(before).zip(peaks()) {
        println!("the {who} grew by {} KiB, from {} KiB", (after - before) >> 10, before >> 10);
        assert!(after - before < GROWTH_MAX, "the {who} grew from {before} to {after} bytes");
    }
}
