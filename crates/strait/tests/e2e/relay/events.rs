//! Server-sent events, which come when they happen, however long nothing does.

use std::time::Duration;

use super::origin::Origin;
use super::site::{Site, rest};
use crate::harness::Process;

/// Longer than anything on the way asks for, or waits for, with a minute's period.
const MINUTE: Duration = Duration::from_secs(61);
/// Longer than anything on the way waits for at all.
const HOURS: Duration = Duration::from_hours(2);
/// Time for curl beside the silence.
const MARGIN: Duration = Duration::from_mins(2);

#[test]
fn row_16_events_come_when_they_happen_also_after_a_minute() {
    events_come_after(MINUTE);
}

#[test]
#[ignore = "2 h; cargo xtask soak row_16"]
fn row_16_events_come_when_they_happen_also_after_hours() {
    events_come_after(HOURS);
}

fn events_come_after(silence: Duration) {
    let origin = Origin::start();
    let site = Site::start(&origin.service());
    // A stream outlives no token.
    let token = site.token_for("ci", 2 * silence + MARGIN);
    let most = (silence + MARGIN).as_secs().to_string();
    let open = |version| {
        let mut curl = site.curl_command(&token);
        curl.args([version, "--no-buffer", "--max-time", &most]).arg(site.url("ci", "/events"));
        let mut events = Process::start(&mut curl);
        events.wait_for_output(|line| line == "data: the first");
        events
    };
    let streams = ["--http1.1", "--http2"].map(open);
    rest(silence);
    for _ in &streams {
        origin.go();
    }
    for mut events in streams {
        events.wait_for_output(|line| line == "data: next");
        events.finish().succeeded();
    }
    println!("events over HTTP/1.1 and HTTP/2 after a silence of {silence:?}");
}
