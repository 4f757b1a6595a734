//! Heads that two programs could read differently, sent as they are: refused, or read inside as
//! here.

use std::net::TcpListener;

use super::origin::Origin;
use super::site::Site;
use super::wire::Wire;

/// What stands for the path to the service and the token, in a head that is sent.
const PLACES: [&str; 2] = ["{path}", "{auth}"];

/// A request that comes behind each; where it is executed alone, somebody was cut in two.
const HIDDEN: &str = "GET /services/relay/smith/ci/hidden HTTP/1.1\r\n";

/// Heads that are refused: what is behind the first line `POST … HTTP/1.1`.
const REFUSED: &[&str] = &[
    "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "Content-Length: 4\r\nContent-Length: 3\r\n\r\nabc",
    "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "Content-Length: 3, 3\r\n\r\nabc",
    "Content-Length: 3,4\r\n\r\nabc",
    "Content-Length: +3\r\n\r\nabc",
    "Content-Length: -3\r\n\r\nabc",
    "Content-Length: 0x3\r\n\r\nabc",
    "Content-Length: 3a\r\n\r\nabc",
    "Content-Length: 3 3\r\n\r\nabc",
    "Content-Length: \r\n\r\nabc",
    "Content-Length: 3.0\r\n\r\nabc",
    "Content-Length: \"3\"\r\n\r\nabc",
    "Content-Length: 99999999999999999999\r\n\r\nabc",
    "Content-Length: 18446744073709551617\r\n\r\nabc",
    "Content-Length : 3\r\n\r\nabc",
    "Content-Length\t: 3\r\n\r\nabc",
    " Content-Length: 3\r\n\r\nabc",
    "X: y\r\n Content-Length: 3\r\n\r\nabc",
    "X: y\r\n\tTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Content-Length:\r\n 3\r\n\r\nabc",
    "Content-Length: 3\n\r\nabc",
    "Content-Length: 3\r\n\nabc",
    "X: y\rContent-Length: 3\r\n\r\nabc",
    "X: y\nContent-Length: 3\r\n\r\nabc",
    "X: a\0b\r\n\r\n",
    "X\0: a\r\n\r\n",
    "no colon\r\n\r\n",
    ": no name\r\n\r\n",
    "X Y: z\r\n\r\n",
    "X(Y): z\r\n\r\n",
    "Transfer-Encoding: Chunked, identity\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: identity\r\n\r\nabc",
    "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding:\x0cchunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding\n: chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: \r\n\r\nabc",
];

/// Bodies in chunks that are refused: the message breaks, whatever was answered.
const BROKEN: &[&str] = &[
    "3\nabc\r\n0\r\n\r\n",
    "3\r\nabcd\r\n0\r\n\r\n",
    "3\r\nab\r\n0\r\n\r\n",
    "3\r\nabc\n0\r\n\r\n",
    "3;x=y\r\nabc\r\n0\r\n\r\n",
    "3;x=\"\r\n\"\r\nabc\r\n0\r\n\r\n",
    "3 \r\nabc\r\n0\r\n\r\n",
    " 3\r\nabc\r\n0\r\n\r\n",
    "0x3\r\nabc\r\n0\r\n\r\n",
    "+3\r\nabc\r\n0\r\n\r\n",
    "-3\r\nabc\r\n0\r\n\r\n",
    "\r\n",
    "10000000000000003\r\nabc\r\n0\r\n\r\n",
    "g\r\nabc\r\n0\r\n\r\n",
    "3\r\nabc\r\n0\n\r\n",
    "3\r\nabc\r\n0\r\n folded\r\n\r\n",
    "3\r\nabc\r\n0\r\nX: y\n\r\n",
];

/// First lines that are refused.
const LINES: &[&str] = &[
    "GET {path} HTTP/1.1 \r\n",
    "GET  {path} HTTP/1.1\r\n",
    "GET\t{path} HTTP/1.1\r\n",
    "GET {path} HTTP/1.1\n",
    "GET {path} HTTP/1.10\r\n",
    "GET {path} HTTP/2.0\r\n",
    "GET {path} http/1.1\r\n",
    "GET {path}\r\n",
    "GET {path} x HTTP/1.1\r\n",
    "GET https://h{path} HTTP/1.1\r\n",
    "GET h{path} HTTP/1.1\r\n",
    "GET {path}/../../ci/x HTTP/1.1\r\n",
    "GET {path}/%2e%2e/x HTTP/1.1\r\n",
    "GET {path}\\..\\x HTTP/1.1\r\n",
    "GET {path}#x HTTP/1.1\r\n",
    "GE T {path} HTTP/1.1\r\n",
    "GET: {path} HTTP/1.1\r\n",
    "CONNECT {path} HTTP/1.1\r\n",
    "TRACE {path} HTTP/1.1\r\n",
];

#[test]
fn row_42_heads_that_could_be_read_in_two_ways_are_refused() {
    let origin = Origin::start();
    let site = Site::start(&origin.service());
    let auth = format!("Host: h\r\nAuthorization: Bearer {}\r\n", site.token("ci"));
    let address = site.address();
    let begin = |text: &str| {
        let path = "/services/relay/smith/ci/seen";
        let text = text.replace(PLACES[0], path).replace(PLACES[1], &auth);
        let mut wire = Wire::connect(address, &site.authority());
        // Its half stays open: a client that ends it counts as gone, and would be refused nothing.
        wire.write(format!("{text}{HIDDEN}{auth}\r\n").as_bytes());
        wire
    };
    let send = |text: &str| begin(text).read_to_end();
    let heads = REFUSED.iter().map(|rest| format!("POST {{path}} HTTP/1.1\r\n{{auth}}{rest}"));
    // Of these some are well formed, and what comes behind is another request: there is to be none.
    let lines = LINES.iter().map(|line| format!("{line}{{auth}}Connection: close\r\n\r\n"));
    let old =
        "POST {path} HTTP/1.0\r\n{auth}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned();
    for text in heads.chain(lines).chain([old]) {
        let said = send(&text);
        let refused = ["HTTP/1.1 400 ", "HTTP/1.1 405 ", "HTTP/1.1 501 ", "HTTP/1.0 400 "];
        assert!(
            said.is_empty() || refused.iter().any(|one| said.starts_with(one)),
            "{text:?} {said}"
        );
        let answers = ["HTTP/1.0 ", "HTTP/1.1 "].map(|line| said.matches(line).count());
        assert_eq!(answers.iter().sum::<usize>(), usize::from(!said.is_empty()), "{text:?} {said}");
    }
    assert_eq!(origin.known.seen.lock().len(), 0, "{:?}", origin.known.seen.lock());
    for rest in BROKEN {
        let said = send(&format!(
            "POST {{path}} HTTP/1.1\r\n{{auth}}Transfer-Encoding: chunked\r\n\r\n{rest}"
        ));
        assert!(!said.starts_with("HTTP/1.1 200"), "{rest:?} {said}");
    }
    assert_eq!(origin.count("GET", "/hidden"), 0);
    // The same is read where it can be read in one way.
    let mut wire = begin("POST {path} HTTP/1.1\r\n{auth}Content-Length: 3\r\n\r\nabc");
    let (_, said) = wire.read_answer();
    assert!(said.contains("POST /seen HTTP/1.1 3 "), "{said}");
}

/// First lines by which somebody tries to have a service's credential sent elsewhere, `{there}`.
const ELSEWHERE: &[&str] = &[
    "CONNECT @{there}/x",
    "CONNECT {there}",
    "GET a.{there}://h/p",
    "GET http://{there}/x",
    "GET http://{there}{path}/x",
    "GET @{there}{path}/x",
    "GET //{there}{path}/x",
    "GET {path}@{there}/x",
    "GET {path}:1@{there}/x",
    "GET {path}.{there}/x",
    "GET {path}/@{there}/x",
    "GET {path}/:1@{there}/x",
    "GET {path}//{there}/x",
    "GET {path}/http://{there}/x",
    "GET {path}/?@{there}/x",
    "GET {path}?@{there}/x",
    "OPTIONS *",
];

#[test]
fn row_21_w4_a_credential_goes_to_its_service_and_nowhere_else() {
    let origin = Origin::start();
    let there = TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = there.local_addr().unwrap().to_string();
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "canary").unwrap();
    let credential =
        format!("credentials: {{header: {{name: X-Key, valueFile: {}}}}}", key.path().display());
    // With a port and a path, and without.
    let urls = [
        ("port", format!("http://{}", origin.address)),
        ("both", format!("http://{}/below", origin.address)),
        ("none", "http://127.0.0.1".to_owned()),
        ("path", "http://127.0.0.1/below".to_owned()),
    ];
    let service = |(name, url): &(&str, String)| {
        format!("- {{name: {name}, type: http, url: \"{url}\", {credential}}}\n")
    };
    let services: String = urls.iter().map(service).collect();
    let site = Site::start(&format!("services:\n{services}"));
    for (name, _) in &urls {
        let token = site.token(name);
        let path = format!("/services/relay/smith/{name}");
        for line in ELSEWHERE {
            let line = line.replace("{there}", &elsewhere).replace(PLACES[0], &path);
            for host in ["h", &elsewhere] {
                let mut wire = Wire::connect(site.address(), &site.authority());
                let more = format!(
                    "X-Forwarded-Host: {elsewhere}\r\nX-Original-URL: http://{elsewhere}/\r\n"
                );
                let auth = format!("Host: {host}\r\nAuthorization: Bearer {token}\r\n");
                let last = "Connection: close\r\n\r\n";
                wire.write(format!("{line} HTTP/1.1\r\n{auth}{more}{last}").as_bytes());
                let said = wire.read_to_end();
                assert!(said.starts_with("HTTP/1.1 "), "{line}: {said}");
                assert!(
                    said.contains("x-key: canary") == said.starts_with("HTTP/1.1 200"),
                    "{said}"
                );
            }
        }
    }
    there.set_nonblocking(true).unwrap();
    assert!(there.accept().is_err(), "nobody was there");
    // The service has it.
    assert!(origin.last().field("x-key") == Some("canary"));
}

#[test]
fn row_40_nobody_says_who_they_are_by_a_field() {
    let origin = Origin::start();
    let site = Site::start(&origin.service());
    let auth = format!("Host: h\r\nAuthorization: Bearer {}\r\n", site.token("ci"));
    let fields = [
        "Impersonate-User",
        "impersonate_user",
        "IMPERSONATE-UID",
        "Impersonate.Group",
        "X-Remote-User",
        "x_remote_group",
        "X-Remote-Extra-a",
        "X-Forwarded-User",
        "X-Forwarded-Client-Cert",
        "Forwarded",
        "X-Real-IP",
        "x_real_ip",
        "X-Client-Cert",
        "X-Client-Cert-Dn",
        "X-Strait-User",
        "x-opsmx-agent-name",
    ];
    let many: String =
        fields.iter().map(|name| format!("{name}: canary\r\n{name}: canary\r\n")).collect();
    for connection in ["", "Connection: X-Forwarded-For, X-Request-Id\r\n"] {
        let mut wire = Wire::connect(site.address(), &site.authority());
        let line = "POST /services/relay/smith/ci/who HTTP/1.1\r\n";
        let trailers = "Transfer-Encoding: chunked\r\nTrailer: x-remote-user\r\n\r\n0\r\nX-Remote-User: canary\r\nImpersonate_User: canary\r\n\r\n";
        wire.write(format!("{line}{auth}{connection}{many}{trailers}").as_bytes());
        let (head, told) = wire.read_answer();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let seen = origin.last();
        assert!(!format!("{seen:?} {head}").contains("canary"), "{seen:?}");
        assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"), "{seen:?}");
        assert!(seen.field("x-request-id").is_some() && seen.field("host").is_some());
        assert!(!told.contains("canary"), "{told}");
    }
}
