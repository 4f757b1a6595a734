//! WebSockets, with a client and a server that keep to RFC 6455 by themselves.

use super::site::{Site, python};
use crate::harness::Process;

#[test]
fn row_14_messages_and_closes_pass_both_ways() {
    let mut server = Process::start(python(include_str!("websocket.py")).arg("serve"));
    let port = server.wait_for_output(|line| line.parse::<u16>().is_ok());
    let site = Site::start(&format!(
        "services:\n- {{name: chat, type: http, url: \"http://127.0.0.1:{port}\", upgrade: true}}\n"
    ));
    let url = site.url("chat", "/").replace("https://", "wss://");
    let mut client = python(include_str!("websocket.py"));
    client.arg("talk").arg(url).arg(site.authority()).arg(site.token("chat"));
    let told = Process::start(&mut client).finish().succeeded();
    let wanted = "text binary large fragments ping many closed-by-service closes refused";
    assert_eq!(told.split_whitespace().collect::<Vec<_>>().join(" "), wanted);
    for closed in ["closed 1000 ", "closed 4001 bye", "closed 1006 "] {
        server.wait_for_output(|line| line == closed.trim_end());
    }
}
