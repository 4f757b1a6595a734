//! gRPC, with its own client and server.

use super::incoming::Way;
use super::site::{Site, python};
use crate::harness::Process;

/// What the client says of calls that went as they should.
const CALLS: &str =
    "unary large metadata down up both status late-status trailers-only unknown deadline cancel";

#[test]
fn row_13_every_kind_of_call_passes() {
    let mut server = Process::start(python(include_str!("grpc.py")).arg("serve"));
    let port = server.wait_for_output(|line| line.parse::<u16>().is_ok());
    let site = Site::start(&format!(
        "services:\n- {{name: grpc, type: http, url: \"http://127.0.0.1:{port}\", protocol: h2c}}\n"
    ));
    let mut client = python(include_str!("grpc.py"));
    client.arg("call").arg(site.address().to_string()).arg(site.authority());
    client.args(["/services/relay/smith/grpc", &site.token("grpc")]);
    let told = Process::start(&mut client).finish().succeeded();
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(told, format!("{CALLS} refused"));
    for call in ["deadline", "cancel"] {
        server.wait_for_output(|line| line == format!("ended {call}"));
    }
}

#[test]
fn every_kind_of_call_passes_from_beside_an_agent() {
    let mut server = Process::start(python(include_str!("grpc.py")).arg("serve"));
    let port = server.wait_for_output(|line| line.parse::<u16>().is_ok());
    let way = Way::to(format_args!("127.0.0.1:{port}"), "protocol: h2c");
    way.name(r#"{"type":"http","name":"web"}"#);
    let socket = format!("unix:{}", way.site.home.path().join("web.sock").display());
    for target in [way.web.trim_start_matches("http://"), &socket] {
        let mut client = python(include_str!("grpc.py"));
        let told = Process::start(client.args(["beside", target])).finish().succeeded();
        assert_eq!(told.split_whitespace().collect::<Vec<_>>().join(" "), CALLS, "{target}");
        for call in ["deadline", "cancel"] {
            server.wait_for_output(|line| line == format!("ended {call}"));
        }
    }
}
