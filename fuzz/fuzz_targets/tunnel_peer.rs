//! Whatever a peer sends, from the first byte or after the handshake: no panic, and memory in
//! proportion to what was granted.
#![cfg_attr(feature = "run", no_main)]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use strait_tunnel::{Config, Connection, Event, Out, Read, Role, Side, StreamId};

/// Preface and HELLO of an agent with the default limits.
const GREETING: &[u8] = b"\x89STRAIT\n\0\x01\0\x01\0\0\0\0\x01\0\0\x29\0\0\0\0\0\x01\0\x01\x01\
    \0\x03\0\x14\0\0\x3f\xf8\0\0\x80\0\0\0\0\0\0\x04\0\0\0\0\x08\0\0\x06\0\x08\0\0\0\0\0\0\0\x27";

fuzz_target!(|input: (bool, bool, Vec<Vec<u8>>)| {
    let (greeted, reads, parts) = input;
    let mut now = Duration::from_secs(1);
    let config = Config::new(Role::Hub, Role::Agent, [0; 16]);
    let mut hub = Connection::new(Side::Acceptor, config, now);
    let mut out = Out::new(0);
    if greeted {
        hub.receive(now, GREETING.into());
        assert!(hub.peer().is_some());
    }
    for part in parts {
        now += Duration::from_millis(7);
        hub.receive(now, part.into());
        while let Some(event) = hub.poll_event() {
            match event {
                Event::Incoming(id, _) => hub.accept(id),
                Event::Readable(id) if reads => read(&mut hub, now, id),
                Event::Closed(id, _) => hub.release(id),
                _ => {}
            }
        }
        if reads {
            hub.poll_transmit(now, &mut out);
            out = Out::new(0);
        }
        let usage = hub.usage();
        let held = usage.unconsumed + (usage.heads + usage.queued) as u64;
        let bound = (256 << 10) + usage.streams as u64 * 1_536 + 5 * held;
        assert!(hub.memory() as u64 <= bound, "{usage:?}");
    }
});

fn read(hub: &mut Connection, now: Duration, id: StreamId) {
    loop {
        match hub.read(id) {
            Read::Data(bytes) => hub.consumed(now, id, bytes.len()),
            Read::Head(_) | Read::Trailers(_) => {}
            Read::End | Read::Broken(..) | Read::Pending => return,
        }
    }
}

/// What is only built with the workspace.
#[cfg(not(feature = "run"))]
fn main() {}
