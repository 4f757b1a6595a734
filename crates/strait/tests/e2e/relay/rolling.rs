//! Agents and hubs that come and go under load.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use super::origin::Origin;
use super::site::{Site, eventually};
use super::wire::Wire;

/// Clients at once, and the time from one request of a client's to its next: 500 a second together.
const CLIENTS: usize = 20;
const PACE: Duration = Duration::from_millis(40);
/// What of that is enough where nothing else runs: 500 but for the beginning.
const RATE_MIN: f64 = 450.0;
/// One way to an agent that is far away: 40 ms there and back.
const FAR: Duration = Duration::from_millis(20);
/// Pieces that are on such a way at once.
const IN_FLIGHT_MAX: usize = 1024;
/// Sessions that are spread over two agents: all at one by chance once in 32,768 runs.
const SESSIONS: usize = 16;

/// What clients saw.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    next: AtomicUsize,
    good: AtomicUsize,
    failed: parking_lot::Mutex<Vec<String>>,
}

/// GETs and POSTs in turn, each with a number of its own, until dropped.
pub(super) struct Load {
    began: Instant,
    seen: Arc<Seen>,
    clients: Vec<thread::JoinHandle<()>>,
}

impl Load {
    pub(super) fn start(site: &Site, token: &str) -> Self {
        let seen = Arc::<Seen>::default();
        let (address, authority) = (site.address(), site.authority());
        let client = |_| {
            let (seen, authority) = (seen.clone(), authority.clone());
            let auth = format!("Host: h\r\nAuthorization: Bearer {token}\r\n");
            thread::spawn(move || {
                let (mut wire, mut due) = (None, Instant::now());
                while !seen.stop.load(Ordering::Relaxed) {
                    let wire = wire.get_or_insert_with(|| Wire::connect(address, &authority));
                    let number = seen.next.fetch_add(1, Ordering::Relaxed);
                    let head = if number % 2 == 0 { "GET" } else { "POST" };
                    let body = if number % 2 == 0 { "" } else { "Content-Length: 3\r\n\r\nabc" };
                    let end = if body.is_empty() { "\r\n" } else { "" };
                    wire.write(format!("{head} /services/relay/smith/ci/load/{number} HTTP/1.1\r\n{auth}{body}{end}").as_bytes());
                    let (head, _) = wire.read_answer();
                    if head.starts_with("HTTP/1.1 200") {
                        seen.good.fetch_add(1, Ordering::Relaxed);
                    } else {
                        seen.failed.lock().push(format!("{number} {head}"));
                    }
                    // What was late is not left out.
                    due += PACE;
                    thread::park_timeout(due.saturating_duration_since(Instant::now()));
                }
            })
        };
        let (began, clients) = (Instant::now(), (0..CLIENTS).map(client).collect());
        Self { began, seen, clients }
    }

    /// Waits for so many good answers more.
    pub(super) fn go_on(&self, count: usize) {
        let until = self.seen.good.load(Ordering::Relaxed) + count;
        eventually("good answers", || self.seen.good.load(Ordering::Relaxed) >= until);
    }

    /// How many a second were asked until now.
    fn rate(&self) -> f64 {
        self.seen.next.load(Ordering::Relaxed) as f64 / self.began.elapsed().as_secs_f64()
    }

    /// How many were asked, and what failed.
    pub(super) fn finish(self) -> (usize, Vec<String>) {
        self.seen.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        (self.seen.next.load(Ordering::Relaxed), self.seen.failed.lock().clone())
    }
}

/// The numbers of the POSTs that the service executed more than once.
fn twice(origin: &Origin) -> Vec<String> {
    let seen = origin.known.seen.lock();
    let mut posts: Vec<_> = seen
        .iter()
        .filter(|one| one.method() == "POST")
        .map(|one| one.target().to_owned())
        .collect();
    posts.sort();
    posts.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone()).collect()
}

/// Rolls two agents; how many requests a second were asked meanwhile.
fn roll_two() -> f64 {
    let origin = Origin::start();
    let mut site = Site::start(&origin.service());
    site.join(None);
    let token = site.token("ci");
    let load = Load::start(&site, &token);
    load.go_on(200);
    for agent in &mut site.agents {
        agent.roll();
        load.go_on(500);
    }
    let rate = load.rate();
    let (asked, failed) = load.finish();
    assert!(failed.is_empty(), "{} of {asked}: {:?}", failed.len(), &failed[..failed.len().min(3)]);
    assert_eq!(origin.count("POST", "/load/"), asked / 2, "every POST once");
    assert!(twice(&origin).is_empty());
    rate
}

#[test]
fn row_30_rolling_two_agents_of_one_name_fails_no_request() {
    roll_two();
}

#[test]
#[ignore = "a quiet machine; cargo xtask soak row_30"]
fn row_30_five_hundred_requests_a_second_are_asked_meanwhile() {
    let rate = roll_two();
    println!("{rate:.0} requests a second, of which none failed");
    assert!(rate > RATE_MIN, "{rate}: this machine is too slow for what is to be shown");
}

#[test]
fn an_agent_that_dies_executes_nothing_twice_and_is_soon_back() {
    let origin = Origin::start();
    let mut site = Site::start(&origin.service());
    let token = site.token("ci");
    let load = Load::start(&site, &token);
    for _ in 0..3 {
        load.go_on(100);
        site.agents[0].kill();
        site.agents[0].start_again();
        load.go_on(1);
    }
    let (asked, failed) = load.finish();
    assert!(failed.len() < asked);
    assert_eq!(twice(&origin), Vec::<String>::new());
    for one in &failed {
        let told = ["AgentOffline", "ConnectionLost", "NotAccepted", "ServiceWithdrawn"];
        assert!(told.iter().any(|reason| one.contains(reason)), "{one}");
    }
}

#[test]
fn row_32_a_hub_that_ends_lets_end_what_runs() {
    let origin = Origin::start();
    let mut site = Site::start(&origin.service());
    let (token, address) = (site.token("ci"), site.address());
    let asked = [
        (&["--fail"][..], "/wait/read"),
        (&["--fail", "--data", ""], "/wait/write"),
        (&["--fail", "--no-buffer"], "/events"),
    ];
    let begin = |(arguments, path)| site.start_curl(&token, arguments, &site.url("ci", path));
    let running = asked.map(begin);
    eventually("requests", || origin.known.seen.lock().len() >= running.len());
    let hub = std::mem::replace(&mut site.hub, crate::harness::Hub::start());
    let began = Instant::now();
    let stopping = thread::spawn(move || hub.stop());
    eventually("an end", || TcpStream::connect(address).is_err());
    assert!(!stopping.is_finished());
    running.iter().for_each(|_| origin.go());
    for (process, expected) in running.into_iter().zip(["done", "done", "data: next"]) {
        let output = process.finish();
        assert_eq!(output.code, Some(0), "{output:?}");
        assert!(output.stdout.contains(expected), "{output:?}");
    }
    let stopped = stopping.join().unwrap();
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    site.hub = stopped.start_at(&address.to_string());
    eventually("the agent", || site.works("ci", &token));
}

#[test]
fn row_32_agents_come_back_to_a_hub_that_was_restarted() {
    let origin = Origin::start();
    let mut site = Site::start(&origin.service());
    let (token, address) = (site.token("ci"), site.address());
    for _ in 0..2 {
        let hub = std::mem::replace(&mut site.hub, crate::harness::Hub::start());
        site.hub = hub.stop().start_at(&address.to_string());
        let began = Instant::now();
        eventually("the agent", || site.works("ci", &token));
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    }
}

/// Passes connections on to the hub, until it falls silent or breaks them.
struct Between {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// What bytes take from one side to the other.
    delay: Duration,
    silent: AtomicBool,
    streams: parking_lot::Mutex<Vec<TcpStream>>,
}

impl Between {
    fn start(hub: SocketAddr, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { delay, ..State::default() });
        let shared = state.clone();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(hub) else { continue };
                shared.streams.lock().extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                for (from, to) in
                    [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)]
                {
                    let state = shared.clone();
                    thread::spawn(move || pass(from, to, &state));
                }
            }
        });
        Self { address, state }
    }

    /// Passes nothing more on connections that are there, and lets nobody know.
    fn silence(&self) {
        self.state.silent.store(true, Ordering::SeqCst);
        self.state.streams.lock().clear();
    }

    /// New connections are good again.
    fn heal(&self) {
        self.state.silent.store(false, Ordering::SeqCst);
    }

    fn end(&self, how: Shutdown) {
        for stream in self.state.streams.lock().drain(..) {
            let _ = stream.shutdown(how);
        }
    }
}

fn pass(mut from: TcpStream, to: TcpStream, state: &State) {
    use std::io::Read as _;
    let (send, late) = std::sync::mpsc::sync_channel(IN_FLIGHT_MAX);
    let delay = state.delay;
    thread::spawn(move || deliver(&late, to, delay));
    let mut piece = vec![0; 1 << 16];
    let mut dead = false;
    while let Ok(count @ 1..) = from.read(&mut piece) {
        dead |= state.silent.load(Ordering::SeqCst);
        if !dead && send.send((Instant::now(), Some(piece[..count].to_vec()))).is_err() {
            return;
        }
    }
    if !dead {
        let _ = send.send((Instant::now(), None));
    }
}

/// Writes what comes, so much later than it came; its end, if that comes, too.
fn deliver(late: &Receiver<(Instant, Option<Vec<u8>>)>, mut to: TcpStream, delay: Duration) {
    use std::io::Write as _;
    while let Ok((came, bytes)) = late.recv() {
        while came.elapsed() < delay {
            thread::park_timeout(delay.saturating_sub(came.elapsed()));
        }
        let done = match bytes {
            Some(bytes) => to.write_all(&bytes),
            None => to.shutdown(Shutdown::Write),
        };
        if done.is_err() {
            return;
        }
    }
}

#[test]
fn row_30_rolling_far_agents_fails_no_request() {
    let origin = Origin::start();
    let mut site = Site::without_agents(&origin.service());
    let between = Between::start(site.address(), FAR);
    for _ in 0..2 {
        site.join(Some(format!("https://{}", between.address)));
    }
    site.wait_for_services();
    let token = site.token("ci");
    let load = Load::start(&site, &token);
    load.go_on(100);
    for agent in &mut site.agents {
        agent.roll();
        load.go_on(200);
    }
    let (asked, failed) = load.finish();
    assert!(failed.is_empty(), "{} of {asked}: {:?}", failed.len(), &failed[..failed.len().min(3)]);
    assert!(twice(&origin).is_empty());
}

#[test]
fn row_28_a_network_that_goes_dead_is_found_out() {
    let origin = Origin::start();
    let mut site = Site::without_agents(&origin.service());
    let between = Between::start(site.address(), Duration::ZERO);
    site.join(Some(format!("https://{}", between.address)));
    site.wait_for_services();
    let token = site.token("ci");
    let works = |site: &Site| site.works("ci", &token);
    assert!(works(&site));
    for how in [Shutdown::Write, Shutdown::Both] {
        between.end(how);
        eventually("the agent after an end", || works(&site));
    }
    // Idle: found by asking. With a request on it: that one ends as well.
    for asked in [false, true] {
        between.silence();
        let began = Instant::now();
        if asked {
            let lost = site.curl(&token, &["--include", "--data", "x"], &site.url("ci", "/a"));
            assert!(
                lost.stdout.contains("ConnectionLost") || lost.stdout.contains("AgentOffline"),
                "{lost:?}"
            );
            assert!(began.elapsed() < Duration::from_secs(17), "{:?}", began.elapsed());
        }
        let agent = || site.hub.strait(&["agent", "list"]).succeeded();
        let before = agent();
        if !asked {
            eventually("the loss", || agent() != before);
            assert!(
                began.elapsed() < Duration::from_secs(18),
                "{:?} {before} {}",
                began.elapsed(),
                agent()
            );
        }
        between.heal();
        eventually("the agent after a silence", || works(&site));
    }
}

#[test]
fn a_session_stays_with_one_agent() {
    let origin = Origin::start();
    let mut site = Site::start(&origin.service());
    site.join(None);
    let affinity = r#"{"spec":{"affinity":{"mode":"header","header":"X-Session"}}}"#;
    let patch = ["patch", "agents.relay.strait.dev/smith", "--type=merge", "-p", affinity];
    site.hub.kubectl(&patch).succeeded();
    eventually("both agents", || {
        let told = site.hub.strait(&["agent", "show", "smith", "-o", "json"]).succeeded();
        told.matches("\"state\": \"Ready\"").count() == 2
    });
    let token = site.token("ci");
    let sessions: Vec<String> = (0..SESSIONS).map(|number| format!("session-{number}")).collect();
    let mut open = Vec::new();
    for session in sessions.iter().cycle().take(4 * SESSIONS) {
        let field = format!("X-Session: {session}");
        let url = site.url("ci", &format!("/endless/{session}"));
        let arguments = ["--no-buffer", "--output", "/dev/null", "--header", &field];
        open.push(site.start_curl(&token, &arguments, &url));
    }
    let listed = || -> Vec<(String, String)> {
        let text = site.hub.strait(&["stream", "list", "-o", "json"]).succeeded();
        let all: serde_json::Value = serde_json::from_str(&text).unwrap();
        let text = |stream: &serde_json::Value, at| stream.pointer(at).unwrap().to_string();
        let streams = all["items"].as_array().unwrap().iter();
        streams.map(|one| (text(one, "/spec/path"), text(one, "/status/instance"))).collect()
    };
    eventually("the streams", || listed().len() == open.len());
    let mut streams = listed();
    streams.sort();
    let spread: std::collections::BTreeSet<_> = streams.iter().map(|one| &one.1).collect();
    assert_eq!(spread.len(), 2, "{streams:?}");
    streams.dedup();
    assert_eq!(streams.len(), SESSIONS, "{streams:?}");
}
