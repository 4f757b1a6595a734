//! One connection of a member, from its handshake to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use strait_net::Io;
use strait_pki::AgentIdentity;
use strait_tunnel::{Class, Code, OpenHead, Peer, Side};
use tokio::sync::mpsc;

use super::offered::Offered;
use super::{Accepted, AgentKey, Connected, Connection, Heard, Honoured, Offer, Tunnels};
use crate::link::control::{self, Announced, Listener, Lists, Message, Refused, Speaker, Taken};
use crate::link::{Link, Share, Stream};
use crate::record::Event;

/// Connections of one installation: as many as it may want, while each is being replaced.
const CONNECTIONS_MAX: usize = 16;

/// How often a member's certificate is looked at again: a revocation cuts within 2 s.
const LOOK: Duration = Duration::from_secs(1);

pub(super) async fn serve(
    tunnels: Arc<Tunnels>,
    accepted: Accepted,
    honoured: Honoured,
    io: Box<dyn Io>,
) {
    let Accepted { identity, peer, .. } = accepted.clone();
    let (controls, mut opened) = mpsc::channel(1);
    let offered = Offered::new(tunnels.clone(), identity.clone(), peer, honoured.clone());
    let taking = offered.clone();
    let acceptor = Box::new(move |stream, head| accept(stream, &head, &controls, &taking));
    let clock = tunnels.context.clock.clone();
    let (link, driver) = Link::new(io, Side::Acceptor, tunnels.config(), clock, acceptor);
    link.account(&tunnels.memory, identity.cluster().as_str());
    // Its end is heard of by the link.
    drop(tunnels.context.tasks.spawn("tunnel", driver));
    let agent = identity.name();
    let said = match link.ready().await {
        Ok(said) => said,
        Err(close) => {
            tunnels.metrics.not_shaken(close.code);
            tracing::info!(agent, %peer, code = %close.code, why = %close.text, "a tunnel's handshake failed");
            return;
        }
    };
    if let Err(why) = honoured() {
        tunnels.metrics.not_shaken(Code::Auth);
        tracing::info!(agent, %peer, why, "a tunnel is refused");
        return link.cut(Code::Auth, &why);
    }
    let refuse = || {
        tunnels.metrics.not_shaken(Code::Refused);
        tracing::warn!(agent, %peer, limit = CONNECTIONS_MAX, "a tunnel too many is refused");
        link.cut(Code::Refused, "this installation has as many connections as it may");
    };
    if tunnels.is_full(&identity) {
        return refuse();
    }
    // Who is not let in causes no line, however often it comes.
    let user = identity.user();
    let event = |what: &str| Event {
        user: &user,
        cluster: identity.cluster().as_str(),
        agent,
        instance: identity.instance().as_str(),
        what: format!("relay.agent.{what} from {}", peer.ip()),
    };
    let Ok(is_told) = tunnels.recorder.connects(event("connect")).await else {
        tracing::error!(agent, "a tunnel cannot be recorded, so it is not served");
        return link.cut(Code::Refused, "the hub cannot record that");
    };
    let leaves = || {
        if is_told {
            tunnels.recorder.notes(event("disconnect"));
        }
    };
    let Some(serial) = tunnels.enter(accepted, &link, &said) else {
        leaves();
        return refuse();
    };
    let drained = async {
        if link.draining().await.is_some() {
            tunnels.metrics.drained("agent");
        }
    };
    let ends = async {
        tunnels.context.shutdown.asked().await;
        tunnels.metrics.drained("hub");
        link.drain(tunnels.drain());
        std::future::pending::<()>().await;
    };
    let work = join(drained, async {
        tokio::select! {
            _ = link.closed() => {}
            () = converse((&tunnels, &offered), &identity, serial, &link, &mut opened) => {
                link.closed().await;
            }
        }
    });
    tokio::select! {
        _ = work => {}
        () = ends => {}
        why = watched((&tunnels, &offered), &identity, &link, &honoured) => {
            tracing::info!(agent, why, "a tunnel is cut");
            link.cut(Code::Revoked, &why);
        }
    }
    let close = link.closed().await;
    tunnels.leave(&identity, serial, peer);
    leaves();
    tracing::info!(agent, %peer, code = %close.code, why = %close.text, "a tunnel ended");
}

/// Takes the control stream, and what the agent asks of services of the hub's own.
fn accept(stream: Stream, head: &OpenHead, controls: &mpsc::Sender<Stream>, offered: &Offered) {
    match head {
        OpenHead::Control => {
            stream.sender.accept();
            // There is one in a connection's life.
            drop(controls.try_send(stream));
        }
        OpenHead::Http(_) | OpenHead::Raw(_) => offered.take(stream, head),
    }
}

/// Tells how far away the member is; resolves when its certificate is not honoured any more.
async fn watched(
    (tunnels, offered): (&Tunnels, &Offered),
    identity: &AgentIdentity,
    link: &Link,
    honoured: &Honoured,
) -> String {
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        link.tell_stalls();
        if let Some(took) = link.round_trip() {
            tunnels.presence.round_trip(identity, took);
        }
        if let Err(why) = honoured() {
            return why;
        }
        offered.look();
    }
}

/// Hears what the agent says, until it says no more, and tells it what is offered to it.
async fn converse(
    (tunnels, offered): (&Arc<Tunnels>, &Offered),
    identity: &AgentIdentity,
    serial: u64,
    link: &Link,
    opened: &mut mpsc::Receiver<Stream>,
) {
    let Ok(own) = link.open(&OpenHead::Control, Class::Interactive, false) else { return };
    let (_, mut sender) = own.split();
    let clock = tunnels.context.clock.clone();
    let mut speaker = Speaker::new(&mut sender, &*clock);
    let Some(theirs) = opened.recv().await else { return };
    let (receiver, _open) = theirs.split();
    let mut listener = Listener::new(receiver, &*clock);
    let mut lists = Lists::default();
    offered.look();
    let mut calls = offered.lists();
    calls.mark_changed();
    let mut told = None;
    loop {
        let heard = tokio::select! {
            heard = listener.next() => heard,
            Ok(()) = calls.changed() => {
                let list = calls.borrow_and_update().offered.clone();
                if told.as_ref() == Some(&list) {
                    continue;
                }
                told = Some(list.clone());
                if speaker.say(&Message::Incoming { list }.to_bytes()).await.is_err() {
                    return;
                }
                continue;
            }
        };
        let services = match heard {
            Ok(Some(Message::Services(services))) => services,
            Ok(Some(Message::Config { rejected })) => {
                tunnels.presence.rejects(identity, rejected);
                continue;
            }
            Ok(Some(_)) => continue,
            Ok(None) => return,
            Err(error) => return link.cut(Code::Protocol, &error.to_string()),
        };
        let number = services.r#gen;
        let refused = match lists.take(services) {
            Taken::More => continue,
            Taken::Whole { list, .. } => tunnels.offers(identity, serial, list),
            Taken::Refused(why) => vec![("*".to_owned(), why.to_owned())],
        };
        for (name, reason) in &refused {
            tracing::warn!(
                agent = identity.name(),
                service = name,
                reason,
                "a service is not taken"
            );
        }
        let refused = refused.into_iter().map(|(name, reason)| Refused { name, reason }).collect();
        let answer = Message::ServicesAck { r#gen: number, refused };
        if speaker.say(&answer.to_bytes()).await.is_err() {
            return;
        }
    }
}

impl Tunnels {
    /// Whether an installation has as many connections as it may.
    fn is_full(&self, identity: &AgentIdentity) -> bool {
        let state = self.state.lock();
        let agent = state.agents.get(&key(identity));
        agent.is_some_and(|agent| agent.of(identity.instance().as_str()) >= CONNECTIONS_MAX)
    }

    /// A member's connection is there; the number that it has. None where it has too many.
    fn enter(&self, accepted: Accepted, link: &Link, said: &Peer) -> Option<u64> {
        let Accepted { identity, peer, .. } = accepted.clone();
        let since = self.context.clock.now();
        let mut state = self.state.lock();
        state.serial += 1;
        let serial = state.serial;
        state.forget(since);
        let instance: Arc<str> = identity.instance().as_str().into();
        let agent = state.agents.entry(key(&identity)).or_default();
        agent.seen = Some((since, peer.ip()));
        if agent.of(&instance) >= CONNECTIONS_MAX {
            return None;
        }
        agent.connections.push(Connection {
            serial,
            has_said: false,
            instance: instance.clone(),
            since,
            accepted,
            link: link.clone(),
            services: crate::map::Map::default(),
        });
        let count = agent.of(&instance);
        let version = control::shown(version(&said.software));
        let host = control::shown(&said.label);
        tracing::info!(agent = identity.name(), %peer, version, host, "a tunnel is there");
        // Told before another connection can come or go: counts that come late would stay.
        self.presence.connected(&identity, &Connected { peer, since, version, host, count });
        drop(state);
        Some(serial)
    }

    fn leave(&self, identity: &AgentIdentity, serial: u64, peer: SocketAddr) {
        let now = self.context.clock.now();
        let instance = identity.instance().to_string();
        let mut state = self.state.lock();
        let Some(agent) = state.agents.get_mut(&key(identity)) else { return };
        agent.connections.retain(|one| one.serial != serial);
        agent.seen = Some((now, peer.ip()));
        let left = agent.of(&instance);
        if left == 0 {
            agent.ejections.retain(|(own, _)| **own != *instance);
        }
        state.forget(now);
        self.presence.disconnected(identity, left);
        drop(state);
    }

    /// A member says what it offers; what of it is not taken, and why.
    fn offers(
        &self,
        identity: &AgentIdentity,
        serial: u64,
        list: Vec<Announced>,
    ) -> Vec<(String, String)> {
        let Heard { refused, taken } = self.presence.offers(identity, list);
        let now = self.context.clock.now();
        let mut state = self.state.lock();
        let Some(agent) = state.agents.get_mut(&key(identity)) else { return refused };
        let Some(at) = agent.connections.iter().position(|one| one.serial == serial) else {
            return refused;
        };
        let connection = &mut agent.connections[at];
        let before = std::mem::take(&mut connection.services);
        let services = taken.into_iter().map(|(said, number)| {
            let name = said.name.clone();
            let series = self.metrics.of((identity.cluster(), identity.name(), &name));
            // Its streams wait on, whatever is announced.
            let share = before.get(&name).map(|old| old.share.clone());
            let share = share.unwrap_or_else(|| Share::heard_by(series.clone()));
            (name, Offer { said, number, series, share })
        });
        connection.has_said = true;
        connection.services = services.collect();
        for name in before.into_keys() {
            if !connection.services.contains_key(&name) {
                agent.withdrawn.insert(name, now);
            }
        }
        for name in connection.services.keys() {
            agent.withdrawn.remove(name);
        }
        // As many as an agent can offer.
        if agent.withdrawn.len() > control::SERVICES_MAX {
            agent.withdrawn.clear();
        }
        drop(state);
        self.changed.send_modify(|count| *count += 1);
        refused
    }
}

fn key(identity: &AgentIdentity) -> AgentKey {
    (identity.cluster().clone(), identity.name().into())
}

/// The version of a program, as agents say it elsewhere too; one that is not ours keeps its name.
fn version(software: &str) -> &str {
    software.strip_prefix("strait/").unwrap_or(software)
}
