//! A thousand streams, and how soon those end whose right is taken back.

use std::time::{Duration, Instant};

use super::origin::Origin;
use super::people::Person;
use super::site::{Site, eventually};
use super::wire::Wire;
use crate::harness::{Output, Process};

/// Services, each named by what is revoked of it, and streams of each: a thousand, and of one
/// service no more than the agent's and the hub's limits let it have at once.
const SERVICES: [&str; 5] = ["token", "user", "service", "agent", "certificate"];
const EACH: usize = 200;
/// Of them so many have something to say all the time.
const BUSY: usize = 4;
/// Revocations of each kind.
const RUNS: usize = 20;
/// From the request for a revocation until the last byte, of 99 in 100.
const CUT_MAX: Duration = Duration::from_secs(2);

/// The streams of a service, and the token that they were opened with.
#[derive(Default)]
struct Streams {
    token: String,
    open: Vec<Wire>,
}

struct Scene {
    site: Site,
    all: [Streams; SERVICES.len()],
}

impl Scene {
    fn new(origin: &Origin) -> Self {
        let service =
            |name| format!("- {{name: {name}, type: http, url: \"http://{}\"}}\n", origin.address);
        let services: String = SERVICES.iter().map(service).collect();
        let site = Site::start(&format!("services:\n{services}"));
        let reads = "{apiGroups: [relay.strait.dev], resources: [services/connect], verbs: [get]}, \
            {apiGroups: [relay.strait.dev], resources: [services/credentials], verbs: [create]}";
        let _alice = Person::new(&site, "alice").may(reads);
        let scene = Self { site, all: Default::default() };
        scene.patch(r#"{"maxInstances":64}"#).succeeded();
        scene
    }

    /// Changes the Agent.
    fn patch(&self, spec: &str) -> Output {
        let patch = format!("{{\"spec\":{spec}}}");
        self.site.hub.kubectl(&["patch", "agent", "smith", "--type=merge", "-p", &patch])
    }

    fn token(&self, service: &str) -> String {
        let mut strait = self.site.hub.strait_command();
        if service == "user" {
            strait.env("KUBECONFIG", self.site.home.path().join("alice.kubeconfig"));
        }
        let strait = strait.args(["service", "token", &format!("smith/{service}")]);
        Process::start(strait).finish().succeeded().trim().to_owned()
    }

    /// Opens what is not open.
    fn fill(&mut self) {
        for (at, service) in SERVICES.into_iter().enumerate() {
            if self.all[at].open.is_empty() {
                self.all[at] = self.open(service);
            }
        }
        eventually("all streams", || self.count() == SERVICES.len() * EACH);
    }

    /// With a new token, once that is honoured: one of the second of a revocation ends with it.
    fn open(&self, service: &str) -> Streams {
        let mut token = String::new();
        eventually("a token that is honoured", || {
            token = self.token(service);
            self.site.works(service, &token)
        });
        let (address, authority) = (self.site.address(), self.site.authority());
        let auth = format!("Host: h\r\nAuthorization: Bearer {token}\r\n\r\n");
        let open = (0..EACH).map(|number| {
            let mut wire = Wire::connect(address, &authority);
            let path = if number < BUSY { "endless" } else { "quiet" };
            let target = format!("/services/relay/smith/{service}/{path}");
            wire.write(format!("GET {target} HTTP/1.1\r\n{auth}").as_bytes());
            let head = wire.read_head();
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            wire
        });
        let open = open.collect();
        Streams { token, open }
    }

    /// How many the hub has.
    fn count(&self) -> usize {
        let metrics = self.site.hub.metrics();
        let open = metrics.lines().filter(|line| line.starts_with("strait_relay_streams_open{"));
        open.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
    }

    fn revoke(&self, kind: &str) -> Output {
        let strait = |what: &[&str]| self.site.hub.strait(&[&["service", "revoke"], what].concat());
        match kind {
            "token" => strait(&["smith/token", "--token", &self.all[0].token]),
            "user" => strait(&["--user", "alice"]),
            "service" => strait(&["smith/service"]),
            "agent" => self.patch(r#"{"suspended":true}"#),
            _ => {
                let all = "jsonpath={.status.instances[*].certificate.serial}";
                let get = ["get", "agent", "smith", "-o", all];
                let serials = self.site.hub.kubectl(&get).succeeded();
                let serials: Vec<&str> = serials.split_whitespace().collect();
                self.patch(&format!("{{\"revokedSerials\":{serials:?}}}"))
            }
        }
    }

    /// How long it takes from the request until the last of these streams has ended.
    fn time(&self, kind: &str, mut ended: Vec<Wire>) -> Duration {
        let began = Instant::now();
        let revoked = self.revoke(kind);
        assert_eq!(revoked.code, Some(0), "{revoked:?}");
        for wire in &mut ended {
            let said = wire.read_to_end();
            assert!(!said.ends_with("\r\n0\r\n\r\n"), "it does not look whole");
        }
        began.elapsed()
    }

    /// Lets the agent be there again. At once: one that is refused waits for a minute.
    fn restore(&mut self, kind: &str) {
        match kind {
            "agent" => {
                self.patch(r#"{"suspended":false}"#).succeeded();
                let agent = self.site.agents.last_mut().unwrap();
                agent.kill();
                agent.start_again();
            }
            "certificate" => {
                self.site.agents.last_mut().unwrap().kill();
                self.site.join(None);
            }
            _ => {}
        }
    }
}

#[test]
#[ignore = "5 minutes; cargo xtask soak row_37"]
fn row_37_of_a_thousand_streams_those_that_are_revoked_end_within_two_seconds() {
    let origin = Origin::start();
    let mut scene = Scene::new(&origin);
    let mut took = Vec::new();
    for _ in 0..RUNS {
        for (at, kind) in SERVICES.into_iter().enumerate() {
            scene.fill();
            let all = match kind {
                "agent" | "certificate" => 0..SERVICES.len(),
                _ => at..at + 1,
            };
            let left = (SERVICES.len() - all.len()) * EACH;
            let ended = all.flat_map(|at| std::mem::take(&mut scene.all[at].open)).collect();
            took.push((scene.time(kind, ended), kind));
            eventually("the others go on", || scene.count() == left);
            scene.restore(kind);
        }
    }
    took.sort();
    let (p99, longest) = (took[took.len() * 99 / 100 - 1], took[took.len() - 1]);
    let median = took[took.len() / 2];
    println!("{} revocations: median {median:?}, p99 {p99:?}, longest {longest:?}", took.len());
    assert!(p99.0 < CUT_MAX, "{p99:?}");
}
