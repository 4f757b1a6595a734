//! From what was accepted to what waits for each backend, in the order of the log.
//!
//! Positions come from concurrent callers, a little out of order, and a caller may be gone
//! between its append and its offer. So they are put in order here; one that does not come for
//! a while is passed on as something of which nothing is known.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde_json::Value;

use super::lane::{Decision, Lane};
use crate::config::Source;
use crate::event::{Event, Position};
use crate::order::Key;
use crate::pointer::{Pointer, find};
use crate::sender::{Facts, content_type, json};
use crate::signature::Scheme;

/// Bytes of a body that are looked into in less than 500 µs.
const QUICK_BYTES_MAX: usize = 64 << 10;

/// What the backends are, and how much of the log they were given.
#[derive(Debug)]
pub(super) struct Intake {
    /// Changed only while `order` is locked.
    lanes: ArcSwap<Vec<Arc<Lane>>>,
    schemes: ArcSwap<Schemes>,
    order: Mutex<Order>,
}

/// How senders say what their webhooks are, by source.
pub type Schemes = BTreeMap<Arc<str>, Scheme>;

/// What is to be done with one event.
pub(super) type Decisions = Vec<(Arc<Lane>, Decision)>;

#[derive(Debug)]
struct Order {
    /// The first position that was not passed on.
    next: u64,
    early: BTreeMap<u64, Decisions>,
    /// `next`, and what is known to be in the log, as of the last [`Intake::tick`].
    seen: (u64, u64),
}

impl Intake {
    /// The events behind `head` will be offered.
    pub(super) fn new(sources: &[Source], head: Position) -> Self {
        let schemes = ArcSwap::from_pointee(schemes(sources));
        let next = head.0 + 1;
        Self {
            lanes: ArcSwap::default(),
            schemes,
            order: Mutex::new(Order { next, early: BTreeMap::new(), seen: (0, 0) }),
        }
    }

    pub(super) fn lanes(&self) -> Arc<Vec<Arc<Lane>>> {
        self.lanes.load_full()
    }

    pub(super) fn schemes(&self) -> Arc<Schemes> {
        self.schemes.load_full()
    }

    pub(super) fn has_backend(&self, source: &str) -> bool {
        self.lanes.load().iter().any(|lane| lane.takes(source))
    }

    /// Puts other sources and backends in place; they get what is passed on from now on. The last
    /// position that was passed on before.
    pub(super) fn replace(&self, sources: &[Source], lanes: Vec<Arc<Lane>>) -> Position {
        let order = self.order.lock();
        self.schemes.store(Arc::new(schemes(sources)));
        self.lanes.store(Arc::new(lanes));
        Position(order.next - 1)
    }

    pub(super) fn offer(&self, position: Position, decisions: Decisions) {
        let mut order = self.order.lock();
        match position.0.cmp(&order.next) {
            Ordering::Less => return,
            Ordering::Equal => self.pass(&mut order, &decisions),
            Ordering::Greater => drop(order.early.insert(position.0, decisions)),
        }
        self.pass_on(&mut order);
    }

    /// Once in a while: passes on what was not offered since the last call, or at all.
    pub(super) fn tick(&self, head: Position) {
        let mut order = self.order.lock();
        let stuck = order.seen.0 == order.next;
        let known = order.early.keys().next().map_or(u64::MAX, |first| first - 1);
        let missing_to = known.min(order.seen.1);
        if stuck && missing_to >= order.next {
            let run = (Position(order.next), Position(missing_to));
            self.lanes.load().iter().for_each(|lane| lane.push_runs([run]));
            order.next = missing_to + 1;
            self.pass_on(&mut order);
        }
        order.seen = (order.next, head.0);
    }

    fn pass_on(&self, order: &mut Order) {
        while let Some(decisions) = order.early.remove(&order.next) {
            self.pass(order, &decisions);
        }
    }

    /// Passes on the next.
    fn pass(&self, order: &mut Order, decisions: &Decisions) {
        let position = Position(order.next);
        order.next += 1;
        for lane in self.lanes.load().iter() {
            let decided = decisions.iter().find(|(known, _)| Arc::ptr_eq(known, lane));
            lane.push(position, decided.map_or(Decision::Unknown, |(_, decision)| *decision));
        }
    }

    /// What is to be done with an event at each of the backends. Its body is looked into once,
    /// and only if one of them asks for something in it.
    pub(super) fn decide(&self, event: &Event, lanes: &[Arc<Lane>]) -> Vec<(Arc<Lane>, Decision)> {
        let takes = |lane: &&Arc<Lane>| lane.takes(&event.source) && lane.looks_inside();
        let wanted: Vec<&Pointer> = lanes.iter().filter(takes).flat_map(|l| l.pointers()).collect();
        let facts_wanted = lanes.iter().filter(takes).any(|lane| lane.wants_facts());
        let schemes = self.schemes.load();
        let scheme = schemes.get(&event.source).filter(|_| facts_wanted || !wanted.is_empty());
        let seen = scheme.map(|scheme| Seen::of(event, scheme, &wanted, facts_wanted));
        let decide = |lane: &Arc<Lane>| match &seen {
            _ if !lane.takes(&event.source) => Decision::Unwanted,
            Some(seen) if lane.looks_inside() => seen.decide(lane, &wanted),
            _ => Decision::Wanted(None),
        };
        lanes.iter().map(|lane| (lane.clone(), decide(lane))).collect()
    }

    /// Whether [`decide`](Self::decide) takes no longer than a thread of the runtime may stand
    /// still.
    pub(super) fn is_quick(event: &Event, lanes: &[Arc<Lane>]) -> bool {
        event.body.len() <= QUICK_BYTES_MAX || !lanes.iter().any(|lane| lane.looks_inside())
    }

    /// As [`decide`](Self::decide), for one backend.
    pub(super) fn decide_for(&self, event: &Event, lane: &Arc<Lane>) -> Decision {
        self.decide(event, std::slice::from_ref(lane))[0].1
    }
}

fn schemes(sources: &[Source]) -> Schemes {
    sources.iter().map(|one| (one.name.clone(), one.scheme.clone())).collect()
}

/// What was found in an event.
struct Seen {
    facts: Facts,
    found: Vec<Option<Value>>,
}

impl Seen {
    fn of(event: &Event, scheme: &Scheme, wanted: &[&Pointer], facts_wanted: bool) -> Self {
        let content = content_type(scheme, &event.headers).ok().flatten();
        let json = json(content, &event.body);
        let json = json.as_deref();
        let facts = facts_wanted.then(|| Facts::read(scheme, &event.headers, json));
        let found = json.map(|json| find(json, wanted)).unwrap_or_default();
        Self { facts: facts.unwrap_or_default(), found }
    }

    fn decide(&self, lane: &Lane, wanted: &[&Pointer]) -> Decision {
        let at = |pointer: &Pointer| {
            let index = wanted.iter().position(|known| *known == pointer)?;
            self.found.get(index)?.as_ref()
        };
        let backend = &lane.outlet.backend;
        let equals = backend.filter.equals.iter().map(|(pointer, _)| at(pointer).cloned());
        if !backend.filter.passes(&self.facts, &equals.collect::<Vec<_>>()) {
            return Decision::Unwanted;
        }
        let key = backend.order.as_ref().and_then(at).map(|value| match value {
            Value::String(text) => Key::of(text),
            other => Key::of(&other.to_string()),
        });
        Decision::Wanted(key)
    }
}

impl Lane {
    /// Whether what it gets depends on more than the source.
    fn looks_inside(&self) -> bool {
        self.is_ordered() || self.wants_facts() || !self.outlet.backend.filter.equals.is_empty()
    }

    fn wants_facts(&self) -> bool {
        let filter = &self.outlet.backend.filter;
        !(filter.events.is_empty() && filter.actions.is_empty() && filter.repositories.is_empty())
    }

    fn pointers(&self) -> impl Iterator<Item = &Pointer> {
        let backend = &self.outlet.backend;
        backend.filter.equals.iter().map(|(pointer, _)| pointer).chain(&backend.order)
    }
}
