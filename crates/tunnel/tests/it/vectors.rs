//! The bytes of whole exchanges, as checked in for other implementations: two endpoints must
//! still make exactly these.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::{Buf, Bytes};
use strait_tunnel::{
    Class, Code, Config, Connection, Directions, Drain, Event, Field, Method, OpenHead, Out,
    RawHead, Read, Request, RequestParts, Response, Role, Side, Tlvs, Trailers,
};

const EXPECTED: &str = include_str!("../vectors/exchanges.txt");
const NOW: Duration = Duration::from_secs(1);

struct Pair {
    hub: Connection,
    agent: Connection,
    text: String,
}

impl Pair {
    fn new() -> Self {
        let config = |role, peer, byte| Config {
            software: "strait/1".into(),
            ..Config::new(role, peer, [byte; 16])
        };
        let hub = Connection::new(Side::Acceptor, config(Role::Hub, Role::Agent, 0xbb), NOW);
        let agent = Connection::new(Side::Dialler, config(Role::Agent, Role::Hub, 0xaa), NOW);
        Self { hub, agent, text: String::new() }
    }

    /// Carries what both have to say, and writes it down under a title.
    fn carry(&mut self, title: &str) {
        writeln!(self.text, "\n# {title}").unwrap();
        loop {
            let from_agent = Self::pass("D", &mut self.agent, &mut self.hub, &mut self.text);
            let from_hub = Self::pass("A", &mut self.hub, &mut self.agent, &mut self.text);
            if !from_agent && !from_hub {
                return;
            }
        }
    }

    fn pass(name: &str, from: &mut Connection, to: &mut Connection, text: &mut String) -> bool {
        let mut out = Out::new(0);
        if from.poll_transmit(NOW, &mut out) == 0 {
            return false;
        }
        let bytes = out.copy_to_bytes(out.remaining());
        let mut rest = bytes.clone();
        if rest.starts_with(b"\x89STRAIT\n") {
            writeln!(text, "{name} {}", hex(&rest.split_to(16))).unwrap();
        }
        while rest.has_remaining() {
            let length = 8 + usize::from(u16::from_be_bytes([rest[2], rest[3]]));
            let frame = rest.split_to(length);
            let line = format!("{name} {} {}", hex(&frame[..8]), hex(&frame[8..]));
            writeln!(text, "{}", line.trim_end()).unwrap();
        }
        to.receive(NOW, bytes);
        true
    }

    fn drop_events(&mut self) {
        while self.hub.poll_event().is_some() || self.agent.poll_event().is_some() {}
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn get() -> OpenHead {
    let tlvs = Tlvs {
        service_type: "http",
        service: "web",
        identity: br#"{"user":"alice"}"#,
        trace: b"",
        deadline_ms: Some(30_000),
        client: Some("192.0.2.7:49152".parse().unwrap()),
        upgrade: "",
        body_length: None,
        request_id: "r1",
        ..Tlvs::default()
    };
    let parts = RequestParts {
        method: Method::new("GET").unwrap(),
        authority: "web.test",
        path: "/a?b",
        tlvs,
    };
    let secret = Field::secret("authorization", b"Bearer t");
    OpenHead::Http(Request::new(&parts, [secret, Field::new("x-own", b"1")]).unwrap())
}

fn upgrade() -> OpenHead {
    let tlvs = Tlvs { upgrade: "websocket", ..Tlvs::default() };
    let parts =
        RequestParts { method: Method::new("GET").unwrap(), authority: "", path: "/ws", tlvs };
    OpenHead::Http(Request::new(&parts, []).unwrap())
}

fn response(status: u16) -> Response {
    Response::new(status, [Field::new("content-type", b"text/plain")]).unwrap()
}

fn play() -> String {
    let mut pair = Pair::new();
    pair.carry("preface, HELLO, the first PINGs of each side");
    pair.drop_events();

    let id = pair.hub.open(NOW, &get(), Class::Normal, true).unwrap();
    pair.carry("a request without a body, from the acceptor: OPEN with END");
    pair.drop_events();
    pair.agent.accept(id);
    let fields = [Field::new("content-type", b"text/plain")];
    let head = Response::timed(200, fields, Duration::from_micros(1_500)).unwrap();
    pair.agent.send_head(id, &head, false).unwrap();
    pair.agent.write(id, &mut Bytes::from_static(b"hello"));
    pair.agent
        .send_trailers(id, &Trailers::new([Field::new("grpc-status", b"0")]).unwrap())
        .unwrap();
    pair.carry(
        "its answer: ACCEPT, HEAD that says how long the service took, DATA, trailers with END",
    );
    while !matches!(pair.hub.read(id), Read::End) {}
    pair.drop_events();
    pair.agent.release(id);

    let raw = OpenHead::Raw(RawHead::new(&Tlvs { service: "db", ..Tlvs::default() }).unwrap());
    let id = pair.hub.open(NOW, &raw, Class::Interactive, false).unwrap();
    pair.hub.write(id, &mut Bytes::from_static(b"early"));
    pair.carry("raw bytes, sent before they are accepted");
    pair.drop_events();
    pair.agent.reset(id, Directions::Both, Code::ConnectFailed, "refused");
    pair.carry("no target: RESET of both directions");
    pair.drop_events();
    pair.agent.release(id);

    let id = pair.hub.open(NOW, &upgrade(), Class::Interactive, false).unwrap();
    pair.carry("a request for an upgrade");
    pair.drop_events();
    pair.agent.accept(id);
    pair.agent.send_head(id, &response(101), false).unwrap();
    pair.agent.write(id, &mut Bytes::from(vec![b'.'; 16]));
    pair.carry("the upgrade");
    pair.hub.finish(id).unwrap();
    pair.agent.finish(id).unwrap();
    pair.carry("END, which stands alone where nothing is left to send");
    while !matches!(pair.hub.read(id), Read::End) {}
    pair.drop_events();
    pair.agent.release(id);

    let id = pair.agent.open(NOW, &OpenHead::Control, Class::Interactive, false).unwrap();
    pair.carry("the dialler's control stream");
    while let Some(event) = pair.hub.poll_event() {
        if let Event::Incoming(id, _) = event {
            pair.hub.accept(id);
        }
    }
    pair.hub.reset(id, Directions::Receive, Code::None, "");
    pair.carry("it is accepted; then the acceptor wants no more of it, and it ends");
    pair.drop_events();

    let asked =
        Drain { code: Code::Draining, grace: 30 * NOW, hard: 600 * NOW, text: "bye".into() };
    pair.agent.drain(NOW, asked);
    pair.carry("the dialler drains: GOAWAY, and CUT as nothing is left");
    pair.text
}

/// Everything that one side sends in the written exchanges.
pub(crate) fn bytes_from(side: char) -> Vec<u8> {
    let lines = EXPECTED.lines().filter_map(|line| line.strip_prefix(side));
    let digits: Vec<u8> = lines.flat_map(str::bytes).filter(|byte| *byte != b' ').collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[test]
fn endpoints_make_the_bytes_that_are_written_down() {
    let played = play();
    let lines = EXPECTED.lines().filter(|line| !line.starts_with("##"));
    let expected: String = lines.map(|line| format!("{line}\n")).collect();
    assert_eq!(played, expected, "what is made now:\n{played}");
}
