//! WebSockets, with a client and a server that keep to RFC 6455 by themselves.

use std::time::{Duration, Instant};

use super::site::{Site, python};
use crate::harness::Process;

/// Messages one after the other, and how many there are in minutes.
const MANY: u32 = 20_000;
const MILLION: u32 = 1_000_000;
/// The codes with which the client closes (`CODES` of the script).
const CODES: [u16; 6] = [1000, 1001, 1008, 1011, 3000, 4321];
/// Time for all messages.
const PATIENCE: Duration = Duration::from_mins(20);

#[test]
fn row_14_messages_and_closes_pass_both_ways() {
    messages_and_closes_pass(MANY);
}

#[test]
#[ignore = "5 minutes; cargo xtask soak row_14"]
fn row_14_a_million_messages_pass_both_ways() {
    messages_and_closes_pass(MILLION);
}

fn messages_and_closes_pass(many: u32) {
    let mut server = Process::start(python(include_str!("websocket.py")).arg("serve"));
    let port = server.wait_for_output(|line| line.parse::<u16>().is_ok());
    let site = Site::start(&format!(
        "services:\n- {{name: chat, type: http, url: \"http://127.0.0.1:{port}\", upgrade: true}}\n"
    ));
    let url = site.url("chat", "/").replace("https://", "wss://");
    let mut client = python(include_str!("websocket.py"));
    client.arg("talk").arg(url).arg(site.authority()).arg(site.token("chat"));
    let began = Instant::now();
    let client = Process::start(client.arg(many.to_string())).patiently(PATIENCE);
    let told = client.finish().succeeded();
    println!("{many} messages each way, and all else, in {:?}", began.elapsed());
    let wanted = "text binary large fragments ping many closed-by-service closes refused";
    assert_eq!(told.split_whitespace().collect::<Vec<_>>().join(" "), wanted);
    // The first was over in order, the last broke off.
    let closes = CODES.map(|code| format!("closed {code} bye"));
    for closed in
        ["closed 1000"].into_iter().chain(closes.iter().map(|told| &**told)).chain(["closed 1006"])
    {
        server.wait_for_output(|line| line == closed);
    }
}
