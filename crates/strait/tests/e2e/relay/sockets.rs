//! What a hub and an agent listen at: what they were told to, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::incoming::Way;
use super::origin::Origin;
use crate::harness::Process;

/// States of TCP and UDP sockets (`include/net/tcp_states.h`): one that listens, and one of UDP
/// that takes what comes.
const LISTENS: &str = "0A";
const TAKES: &str = "07";
/// A Unix socket that listens (`__SO_ACCEPTCON`).
const ACCEPTS: u32 = 1 << 16;

#[test]
fn row_45_nothing_listens_but_what_was_told_to() {
    let origin = Origin::start();
    let way = Way::start(&origin);
    way.name(r#"{"type":"http","name":"web"},{"type":"tcp","name":"bytes"}"#);
    let site = &way.site;
    let told = |all: &[String]| -> BTreeSet<String> { all.iter().cloned().collect() };
    let hub = [format!("tcp {}", site.address())];
    assert_eq!(listening(site.hub.process()), told(&hub));

    let agent = &site.agents[0];
    let local = |url: &str| format!("tcp {}", url.trim_start_matches("http://"));
    let agents_own = [
        format!("tcp {}", agent.health()),
        local(&way.web),
        local(&way.bytes),
        format!("unix {}", site.home.path().join("web.sock").display()),
    ];
    assert_eq!(listening(&agent.process), told(&agents_own));
    assert!(agent.health().ip().is_loopback());
}

#[test]
fn row_45_metrics_are_for_who_may_read_them() {
    let origin = Origin::start();
    let site = super::site::Site::start(&origin.service());
    let token = site.token("ci");
    let none = "no-token";
    for path in ["/metrics", "/debug/pprof/", "/debug/pprof/heap", "/clusters/root/metrics"] {
        for token in [&*token, none] {
            let url = format!("https://{}{path}", site.address());
            let answer = site.curl(token, &["--include"], &url).succeeded();
            let status = answer.split(' ').nth(1).unwrap();
            assert!(["401", "403", "404"].contains(&status), "{path} {answer}");
            assert!(!answer.contains("# TYPE"), "{path} {answer}");
        }
    }
    // They are there.
    assert!(site.hub.metrics().contains("# TYPE"));
}

/// Where a process takes connections and packets.
fn listening(process: &Process) -> BTreeSet<String> {
    let of_process = format!("/proc/{}", process.pid().as_raw_pid());
    let inodes: BTreeSet<String> = fs::read_dir(format!("{of_process}/fd"))
        .unwrap()
        .filter_map(|entry| {
            let link = fs::read_link(entry.unwrap().path()).ok()?;
            let name = link.to_str()?.strip_prefix("socket:[")?;
            Some(name.trim_end_matches(']').to_owned())
        })
        .collect();
    assert!(!inodes.is_empty(), "its connections are seen");
    let mut all = BTreeSet::new();
    let mut look = |table: &str, at: usize, name: &dyn Fn(&[&str]) -> Option<String>| {
        let text = fs::read_to_string(format!("{of_process}/net/{table}")).unwrap();
        for line in text.lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            if inodes.contains(columns[at]) {
                all.extend(name(&columns));
            }
        }
    };
    for (table, state) in [("tcp", LISTENS), ("tcp6", LISTENS), ("udp", TAKES), ("udp6", TAKES)] {
        look(table, 9, &|columns| {
            (columns[3] == state).then(|| format!("{} {}", &table[..3], address(columns[1])))
        });
    }
    look("unix", 6, &|columns| {
        let flags = u32::from_str_radix(columns[3], 16).unwrap();
        let path = columns.get(7).copied().unwrap_or_default();
        (flags & ACCEPTS != 0).then(|| format!("unix {path}"))
    });
    all
}

/// An address as the kernel shows it: words of its own byte order.
fn address(text: &str) -> std::net::SocketAddr {
    let (host, port) = text.split_once(':').unwrap();
    let words: Vec<u8> = (0..host.len())
        .step_by(8)
        .flat_map(|at| u32::from_str_radix(&host[at..at + 8], 16).unwrap().to_ne_bytes())
        .collect();
    let ip = match <[u8; 4]>::try_from(&*words) {
        Ok(four) => IpAddr::from(Ipv4Addr::from(four)),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(&*words).unwrap()).into(),
    };
    (ip, u16::from_str_radix(port, 16).unwrap()).into()
}
