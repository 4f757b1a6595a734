//! A long line to a network of its own, for what is private: real TCP over a link with a rate, a
//! delay and losses.
//!
//! `tc netem` would do, where the kernel has it. Here a script carries packets between two
//! devices (`tun`), one of which is in a namespace. That takes root, `ip` and Python.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Addresses of the two ends.
pub(crate) const NEAR: &str = "10.111.0.1";
pub(crate) const FAR: &str = "10.111.0.2";
/// Bytes of a packet: few enough packets for a script.
const MTU: &str = "9000";

/// A line as it should be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) megabits: u32,
    /// There and back.
    pub(crate) round_trip: Duration,
    /// The share of packets that are lost.
    pub(crate) loss: f64,
}

/// A line. Dropping it takes it down.
#[derive(Debug)]
pub(crate) struct Link {
    script: Child,
    /// The namespace of the far end.
    pub(crate) inside: String,
}

impl Link {
    /// Lays a line.
    ///
    /// # Errors
    /// What of this machine it cannot be laid for.
    pub(crate) fn lay(line: Line) -> Result<Self> {
        if !geteuid().is_root() {
            bail!("it takes root to make a network");
        }
        let id = std::process::id();
        let [near, far] = ["n", "f"].map(|end| format!("strait{end}{}", id % 100_000));
        let mut script = Command::new("/usr/bin/python3");
        script.args(["-c", include_str!("link.py"), &near, &far, &line.megabits.to_string()]);
        let one_way = line.round_trip.as_secs_f64() * 500.0;
        script.args([one_way.to_string(), line.loss.to_string()]);
        let script = script.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut script = script.context("a link takes Python")?;
        let mut said = String::new();
        let output = script.stdout.take().context("it is piped")?;
        let inside = format!("strait-{id}");
        let link = Self { script, inside: inside.clone() };
        BufReader::new(output).read_line(&mut said)?;
        if said.trim() != "ready" {
            bail!("a link takes /dev/net/tun");
        }
        ip(&["netns", "add", &inside])?;
        ip(&["link", "set", &far, "netns", &inside])?;
        ip(&["address", "add", NEAR, "peer", FAR, "dev", &near])?;
        ip(&["link", "set", &near, "mtu", MTU, "up"])?;
        ip(&["-n", &inside, "address", "add", FAR, "peer", NEAR, "dev", &far])?;
        ip(&["-n", &inside, "link", "set", &far, "mtu", MTU, "up"])?;
        ip(&["-n", &inside, "link", "set", "lo", "up"])?;
        Ok(link)
    }

    /// Cuts the line, or joins it again: packets are lost, and nobody is told.
    ///
    /// # Errors
    /// There is none any more.
    pub(crate) fn switch(&self) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.script), Signal::USR1)?)
    }

    /// Listens at the far end, on a port of its own.
    ///
    /// # Errors
    /// The namespace is gone.
    pub(crate) fn listen(&self) -> Result<TcpListener> {
        let space = File::open(format!("/run/netns/{}", self.inside))?;
        // A thread that is elsewhere must not be used for anything else.
        let listening = std::thread::spawn(move || {
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))?;
            TcpListener::bind("0.0.0.0:0")
        });
        Ok(listening.join().map_err(|_| anyhow::anyhow!("the thread ended"))??)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
        let _ = ip(&["netns", "delete", &self.inside]);
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output().context("a link takes ip")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("ip {}: {}", arguments.join(" "), said.trim());
    }
    Ok(())
}
