//! Ways and peers that fall silent, are slow, or move.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use tempfile::TempDir;

use super::origin::Origin;
use super::records::events;
use super::site::{Site, eventually, rest};
use crate::harness::{FAR, Hub, Line, Link, NEAR, Process};

/// Until a peer that has gone is found out, and the test has seen it.
const FOUND_MAX: Duration = Duration::from_secs(17);
/// From then until the next attempt at most, and some time for it.
const BACK_MAX: Duration = Duration::from_secs(32);
/// How long a narrow line is full.
const FULL: Duration = Duration::from_secs(600);
/// More than passes in that time.
const BULK: u64 = 1 << 40;

const LONG: Line =
    Line { megabits: 50, one_way: Duration::from_millis(20), queue: Duration::from_millis(100) };

fn stop(process: &Process) {
    kill_process(process.pid(), Signal::STOP).unwrap();
}

fn go_on(process: &Process) {
    kill_process(process.pid(), Signal::CONT).unwrap();
}

#[test]
fn row_28_an_agent_that_stands_still_is_found_out() {
    let origin = Origin::start();
    let site = Site::start(&origin.service());
    let token = site.token("ci");
    assert!(site.works("ci", &token));
    stop(&site.agents[0].process);
    let began = Instant::now();
    let lost = site.curl(&token, &["--include", "--data", "x"], &site.url("ci", "/a"));
    assert!(
        lost.stdout.contains("NotAccepted") || lost.stdout.contains("ConnectionLost"),
        "{lost:?}"
    );
    eventually("what is known of the agent", || {
        let told = site.curl(&token, &["--include", "--max-time", "20"], &site.url("ci", "/a"));
        told.stdout.contains("AgentOffline")
    });
    assert!(began.elapsed() < FOUND_MAX, "{:?}", began.elapsed());
    go_on(&site.agents[0].process);
    eventually("the agent that goes on", || site.works("ci", &token));
    assert!(origin.count("POST", "/a") <= 1);
}

#[test]
fn row_28_a_hub_that_stands_still_is_found_out() {
    let origin = Origin::start();
    let site = Site::start(&origin.service());
    let token = site.token("ci");
    let is_ready = || site.agents[0].status().code == Some(0);
    eventually("the agent", is_ready);
    stop(site.hub.process());
    let began = Instant::now();
    eventually("what the agent knows", || !is_ready());
    assert!(began.elapsed() < FOUND_MAX, "{:?}", began.elapsed());
    go_on(site.hub.process());
    eventually("the hub that goes on", || site.works("ci", &token));
}

/// A hub at the near end of a line, an agent and its service at the far end.
fn far(link: &Link) -> (Origin, Site) {
    let origin = Origin::start_on(link.listen());
    let hub = Hub::start_at(TempDir::new().unwrap(), &format!("{NEAR}:0"));
    let mut site = Site::beside(hub, &origin.service());
    let command = link.command(Path::new(env!("CARGO_BIN_EXE_strait")));
    site.begin_to_join_by(command, None).wait_until_ready();
    site.wait_for_services();
    (origin, site)
}

/// How often agents connected.
fn connected(site: &Site) -> usize {
    events(&site.hub.data(), "relay.agent.connect").len()
}

#[test]
#[ignore = "2 minutes and root; cargo xtask soak row_34"]
fn row_34_a_line_may_be_gone_for_a_while_and_the_agent_elsewhere() {
    let link = Link::lay(LONG);
    let (origin, site) = far(&link);
    let token = site.token("ci");
    let waiting = |path| {
        let before = origin.count("POST", path);
        // The service reads no body.
        let asked = ["--include", "--data", ""];
        let process = site.start_curl(&token, &asked, &site.url("ci", path));
        eventually("the request", || origin.count("POST", path) > before);
        process
    };
    // 5 s are nothing: what was asked is answered, over the connection that there was.
    eventually("both connections", || connected(&site) == 2);
    let asked = waiting("/wait/short");
    link.switch();
    let began = Instant::now();
    origin.go();
    rest(Duration::from_secs(5));
    link.switch();
    let answer = asked.finish();
    assert!(answer.stdout.ends_with("done"), "{answer:?}");
    println!("5 s: answered {:?} after the cut began", began.elapsed());
    assert_eq!(connected(&site), 2);

    // A minute is known as a loss.
    let asked = waiting("/wait/long");
    link.switch();
    let began = Instant::now();
    let lost = asked.finish();
    println!("60 s: told {:?} after the cut began", began.elapsed());
    assert!(began.elapsed() < FOUND_MAX, "{:?}", began.elapsed());
    assert!(lost.stdout.contains("ConnectionLost"), "{lost:?}");
    origin.go();
    rest(Duration::from_secs(60).saturating_sub(began.elapsed()));
    link.switch();
    let began = Instant::now();
    eventually("the agent after a minute", || site.works("ci", &token));
    println!("60 s: back {:?} after the cut ended", began.elapsed());
    assert!(began.elapsed() < BACK_MAX, "{:?}", began.elapsed());

    // From another address it is the same agent.
    let other = FAR.replace(".2", ".3");
    link.renumber(&other);
    let began = Instant::now();
    eventually("the agent at another address", || site.works("ci", &token));
    println!("another address: back {:?} after it changed", began.elapsed());
    assert!(began.elapsed() < BACK_MAX, "{:?}", began.elapsed());
    eventually("what is known of it", || {
        site.hub.strait(&["agent", "show", "smith", "-o", "json"]).succeeded().contains(&other)
    });
    for path in ["/wait/short", "/wait/long"] {
        assert_eq!(origin.count("POST", path), 1, "{path}");
    }
}

#[test]
#[ignore = "10 minutes and root; cargo xtask soak row_28"]
fn row_28_a_full_line_is_no_dead_one() {
    // As behind a modem: what waits takes two seconds.
    let narrow = Line { megabits: 1, queue: Duration::from_secs(2), ..LONG };
    let link = Link::lay(narrow);
    let (origin, site) = far(&link);
    let token = site.token("ci");
    eventually("both connections", || connected(&site) == 2);
    let load = |_| {
        let arguments = ["--max-time", "1000", "--output", "/dev/null"];
        site.start_curl(&token, &arguments, &site.url("ci", &format!("/bytes/{BULK}")))
    };
    let bulk: Vec<Process> = (0..4).map(load).collect();
    eventually("the bodies", || origin.count("GET", "/bytes") == bulk.len());
    let began = Instant::now();
    let (mut asked, mut slowest) = (0, Duration::ZERO);
    while began.elapsed() < FULL {
        let at = Instant::now();
        let small = ["--fail", "--max-time", "30"];
        site.curl(&token, &small, &site.url("ci", "/a")).succeeded();
        (asked, slowest) = (asked + 1, slowest.max(at.elapsed()));
        rest(Duration::from_secs(2));
    }
    println!("{asked} small requests beside four bodies for {FULL:?}, the slowest {slowest:?}");
    println!("{} connections were made", connected(&site));
    let lost = events(&site.hub.data(), "relay.agent.disconnect");
    assert!(lost.is_empty(), "{lost:?}");
    for one in bulk {
        // Ended by nothing but this.
        let ended = one.terminate();
        assert!(ended.code.is_none(), "{ended:?}");
    }
}
