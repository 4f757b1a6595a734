//! A long line to a network of its own, for what is private: real TCP over a link with a rate, a
//! delay and a queue, which can be cut. It takes root, `ip` and Python.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Carries the packets; the benchmarks' own.
const SCRIPT: &str = include_str!("../../../../../xtask/src/bench/relay/link.py");

/// Addresses of the two ends.
pub(crate) const NEAR: &str = "10.112.0.1";
pub(crate) const FAR: &str = "10.112.0.2";

/// A line as it should be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) megabits: u32,
    pub(crate) one_way: Duration,
    /// What waits for the line, as time that it takes.
    pub(crate) queue: Duration,
}

/// A line. Dropping it takes it down. There is one at a time.
#[derive(Debug)]
pub(crate) struct Link {
    script: Child,
    /// The namespace of the far end, and the devices.
    inside: String,
    near: String,
    far: String,
}

impl Link {
    /// Lays a line.
    ///
    /// # Panics
    /// It cannot be laid here: a test that cannot run has not passed.
    pub(crate) fn lay(line: Line) -> Self {
        let id = std::process::id();
        let [near, far] = ["n", "f"].map(|end| format!("strait{end}{}", id % 100_000));
        let mut script = Command::new("/usr/bin/python3");
        script.args(["-c", SCRIPT, &near, &far, &line.megabits.to_string()]);
        let one_way = line.one_way.as_secs_f64() * 1e3;
        script.args([&one_way.to_string(), "0", &line.queue.as_secs_f64().to_string()]);
        let mut script = script.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let output = script.stdout.take().unwrap();
        let link = Self { script, inside: format!("strait-{id}"), near, far };
        let mut said = String::new();
        BufReader::new(output).read_line(&mut said).unwrap();
        assert_eq!(said.trim(), "ready", "a link takes root and /dev/net/tun");
        let Self { inside, near, far, .. } = &link;
        ip(&["netns", "add", inside]);
        ip(&["link", "set", far, "netns", inside]);
        ip(&["address", "add", NEAR, "peer", FAR, "dev", near]);
        ip(&["link", "set", near, "up"]);
        ip(&["-n", inside, "address", "add", FAR, "peer", NEAR, "dev", far]);
        ip(&["-n", inside, "link", "set", far, "up"]);
        ip(&["-n", inside, "link", "set", "lo", "up"]);
        link
    }

    /// Cuts the line, or joins it again: packets are lost, and nobody is told.
    pub(crate) fn switch(&self) {
        kill_process(Pid::from_child(&self.script), Signal::USR1).unwrap();
    }

    /// Gives the far end another address in place of its own.
    pub(crate) fn renumber(&self, address: &str) {
        let Self { inside, near, far, .. } = self;
        ip(&["route", "add", address, "dev", near]);
        ip(&["-n", inside, "address", "delete", FAR, "peer", NEAR, "dev", far]);
        ip(&["-n", inside, "address", "add", address, "peer", NEAR, "dev", far]);
    }

    /// A command at the far end.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("/usr/sbin/ip");
        command.env_clear().args(["netns", "exec", &self.inside]).arg(program);
        command
    }

    /// Listens at the far end for whoever is there.
    pub(crate) fn listen(&self) -> TcpListener {
        let space = File::open(format!("/run/netns/{}", self.inside)).unwrap();
        // A thread that is elsewhere must not be used for anything else.
        let listening = std::thread::spawn(move || {
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            TcpListener::bind("127.0.0.1:0").unwrap()
        });
        listening.join().unwrap()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
        let _ = Command::new("/usr/sbin/ip").args(["netns", "delete", &self.inside]).status();
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("/usr/sbin/ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "ip {arguments:?}: {output:?}");
}
