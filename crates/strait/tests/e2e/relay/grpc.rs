//! gRPC, with its own client and server.

use super::site::{Site, python};
use crate::harness::Process;

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
    let wanted = "unary large metadata down up both status late-status trailers-only unknown \
                  deadline cancel refused";
    assert_eq!(told.split_whitespace().collect::<Vec<_>>().join(" "), wanted);
    for call in ["deadline", "cancel"] {
        server.wait_for_output(|line| line == format!("ended {call}"));
    }
}
