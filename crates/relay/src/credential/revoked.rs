//! What is honoured no more before its time is over.
//!
//! An entry is kept until the last credential that it is about has expired by itself. At the
//! limit a whole signing key is revoked in place of its tokens' entries: that ends more than was
//! asked, and never less.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use jiff::Timestamp;

/// Most entries.
pub const ENTRIES_MAX: usize = 100_000;

/// What a credential and its use are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subjects {
    /// The credential's identifier: a token's `jti`, a certificate's serial number, a hash.
    pub credential: Arc<str>,
    /// The key that signed it, if one of ours did.
    pub key: Option<Arc<str>>,
    /// Whose it is.
    pub user: Arc<str>,
    /// The logical cluster of the agent that it is used for.
    pub cluster: Arc<str>,
    /// That agent.
    pub agent: Arc<str>,
    /// Its service.
    pub service: Arc<str>,
    /// When the credential was made.
    pub issued: Timestamp,
}

/// By what tells uses apart: asked at every request, and the rest seldom differs.
impl Hash for Subjects {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.credential.hash(state);
        self.service.hash(state);
    }
}

/// Where a revocation holds. Whoever rules over an agent ends what is used there, and nothing of
/// the same person's or of the same name elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Within {
    /// Everywhere: for the hub's operators.
    Hub,
    /// At an agent, of a logical cluster.
    Agent(Arc<str>, Arc<str>),
    /// At a service: cluster, agent, service.
    Service(Arc<str>, Arc<str>, Arc<str>),
}

/// What can be revoked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// All that a key signed.
    Key(Arc<str>),
    /// One credential.
    Credential(Within, Arc<str>),
    /// All of a user's.
    User(Within, Arc<str>),
    /// Every token: what was made for that place. What people have of their own, such as a
    /// certificate, was not.
    All(Within),
}

impl Subject {
    /// Everything that could end a credential's use.
    fn all_of(of: &Subjects) -> impl Iterator<Item = Self> {
        let (cluster, agent) = (of.cluster.clone(), of.agent.clone());
        let places = [
            Within::Hub,
            Within::Agent(cluster.clone(), agent.clone()),
            Within::Service(cluster, agent, of.service.clone()),
        ];
        let is_token = of.key.is_some();
        let of_place = move |place: Within| {
            [
                Some(Self::Credential(place.clone(), of.credential.clone())),
                Some(Self::User(place.clone(), of.user.clone())),
                is_token.then_some(Self::All(place)),
            ]
        };
        let of_place = move |place| of_place(place).into_iter().flatten();
        of.key.clone().map(Self::Key).into_iter().chain(places.into_iter().flat_map(of_place))
    }
}

/// Something to be revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// What.
    pub subject: Subject,
    /// The key that signed it, where it is one credential by one of our keys.
    pub key: Option<Arc<str>>,
    /// When: what is made later is good, unless it is by a revoked key.
    pub at: Timestamp,
    /// By whom.
    pub by: Arc<str>,
    /// When the last credential that it is about expires.
    pub until: Timestamp,
}

impl Revocation {
    /// Whether it ends a use of a credential.
    #[must_use]
    pub fn ends(&self, of: &Subjects) -> bool {
        self.covers(of.issued) && Subject::all_of(of).any(|subject| subject == self.subject)
    }

    /// Whether it is about what was made then. A revoked key may be in other hands, which write
    /// any time into what they sign.
    fn covers(&self, issued: Timestamp) -> bool {
        matches!(self.subject, Subject::Key(_)) || issued <= self.at
    }
}

/// There is no room, and no key whose tokens could make some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{ENTRIES_MAX} revocations are kept, and none of them is over")]
pub struct Full;

/// What adding an entry did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was added.
    Added,
    /// A key was revoked to make room: an operator must know, and another key must sign.
    KeyRevoked(Arc<str>),
}

/// The revocations.
#[derive(Debug)]
pub struct Revoked {
    limit: usize,
    entries: BTreeMap<Subject, Revocation>,
    /// The entries by their end.
    ends: BTreeSet<(Timestamp, Subject)>,
}

impl Default for Revoked {
    fn default() -> Self {
        Self::with_limit(ENTRIES_MAX)
    }
}

impl Revoked {
    fn with_limit(limit: usize) -> Self {
        Self { limit, entries: BTreeMap::new(), ends: BTreeSet::new() }
    }

    /// Adds an entry, or makes a known one later.
    ///
    /// # Errors
    /// There is no room: then nothing was revoked.
    pub fn add(&mut self, revocation: Revocation, now: Timestamp) -> Result<Outcome, Full> {
        self.expire(now);
        let known = self.entries.contains_key(&revocation.subject);
        let mut outcome = Outcome::Added;
        if !known && self.entries.len() >= self.limit {
            let key = self.make_room(&revocation, now).ok_or(Full)?;
            let covered = revocation.key.as_ref() == Some(&key);
            outcome = Outcome::KeyRevoked(key);
            if covered {
                return Ok(outcome);
            }
        }
        self.put(revocation);
        Ok(outcome)
    }

    /// Why a use of a credential is over, if it is.
    #[must_use]
    pub fn find(&self, of: &Subjects) -> Option<&Revocation> {
        if self.entries.is_empty() {
            return None;
        }
        Subject::all_of(of)
            .filter_map(|subject| self.entries.get(&subject))
            .find(|revocation| revocation.covers(of.issued))
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn put(&mut self, mut revocation: Revocation) {
        if let Some(known) = self.entries.remove(&revocation.subject) {
            self.ends.remove(&(known.until, known.subject));
            revocation.at = revocation.at.max(known.at);
            revocation.until = revocation.until.max(known.until);
        }
        self.ends.insert((revocation.until, revocation.subject.clone()));
        self.entries.insert(revocation.subject.clone(), revocation);
    }

    /// Forgets what is over.
    fn expire(&mut self, now: Timestamp) {
        while let Some((until, _)) = self.ends.first()
            && *until <= now
        {
            if let Some((_, subject)) = self.ends.pop_first() {
                self.entries.remove(&subject);
            }
        }
    }

    /// Revokes the key of the oldest entry in place of all entries for its tokens.
    fn make_room(&mut self, new: &Revocation, now: Timestamp) -> Option<Arc<str>> {
        let of_keys = self.entries.values().filter(|entry| entry.key.is_some());
        let key = of_keys.min_by_key(|entry| entry.at)?.key.clone()?;
        let is_its = |entry: &Revocation| entry.key.as_ref() == Some(&key);
        let until = self.entries.values().filter(|entry| is_its(entry)).map(|entry| entry.until);
        let until = until.chain([new.until]).max()?;
        self.entries.retain(|_, entry| !is_its(entry));
        self.ends.retain(|(_, subject)| self.entries.contains_key(subject));
        let subject = Subject::Key(key.clone());
        self.put(Revocation { subject, key: None, at: now, by: new.by.clone(), until });
        Some(key)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::credential) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    pub(crate) fn subjects(credential: &str) -> Subjects {
        Subjects {
            credential: credential.into(),
            key: Some("k1".into()),
            user: "alice".into(),
            cluster: "c1".into(),
            agent: "smith".into(),
            service: "ci".into(),
            issued: at(100),
        }
    }

    pub(in crate::credential) fn revocation(subject: Subject) -> Revocation {
        Revocation { subject, key: None, at: at(200), by: "root".into(), until: at(1_000) }
    }

    fn token(id: &str, key: &str, when: i64) -> Revocation {
        let key = Some(key.into());
        Revocation { key, at: at(when), ..revocation(Subject::Credential(Within::Hub, id.into())) }
    }

    #[test]
    fn what_is_revoked_ends_and_what_is_made_later_does_not() {
        let agent = |cluster: &str, agent: &str| Within::Agent(cluster.into(), agent.into());
        let service = |cluster: &str, service: &str| {
            Within::Service(cluster.into(), "smith".into(), service.into())
        };
        let same = [
            Subject::Key("k1".into()),
            Subject::Credential(Within::Hub, "t1".into()),
            Subject::Credential(service("c1", "ci"), "t1".into()),
            Subject::User(Within::Hub, "alice".into()),
            Subject::User(agent("c1", "smith"), "alice".into()),
            Subject::All(agent("c1", "smith")),
            Subject::All(service("c1", "ci")),
        ];
        let other = [
            Subject::Key("k2".into()),
            Subject::Credential(Within::Hub, "t2".into()),
            Subject::Credential(agent("c2", "smith"), "t1".into()),
            Subject::Credential(service("c1", "argo"), "t1".into()),
            Subject::User(Within::Hub, "t1".into()),
            Subject::User(agent("c2", "smith"), "alice".into()),
            Subject::User(service("c2", "ci"), "alice".into()),
            Subject::All(agent("c2", "smith")),
            Subject::All(agent("c1", "ci")),
            Subject::All(service("c1", "argo")),
            Subject::All(service("c2", "ci")),
        ];
        let cases =
            same.into_iter().map(|s| (s, true)).chain(other.into_iter().map(|s| (s, false)));
        for (subject, ends) in cases {
            let mut revoked = Revoked::default();
            revoked.add(revocation(subject.clone()), at(200)).unwrap();
            assert_eq!(revoked.find(&subjects("t1")).is_some(), ends, "{subject:?}");
            assert_eq!(revocation(subject.clone()).ends(&subjects("t1")), ends, "{subject:?}");
            let later = Subjects { issued: at(201), ..subjects("t1") };
            let is_key = subject == Subject::Key("k1".into());
            assert_eq!(revoked.find(&later).is_some(), is_key, "{subject:?}");
        }
    }

    #[test]
    fn revoking_all_of_a_place_leaves_people_what_is_theirs() {
        let place = Within::Agent("c1".into(), "smith".into());
        let certificate = Subjects { key: None, ..subjects("serial") };
        for (subject, ends) in [
            (Subject::All(place.clone()), false),
            (Subject::User(place.clone(), "alice".into()), true),
            (Subject::Credential(place, "serial".into()), true),
        ] {
            let mut revoked = Revoked::default();
            revoked.add(revocation(subject.clone()), at(200)).unwrap();
            assert_eq!(revoked.find(&certificate).is_some(), ends, "{subject:?}");
            assert_eq!(revocation(subject.clone()).ends(&certificate), ends, "{subject:?}");
        }
    }

    #[test]
    fn entries_end_with_the_credentials_that_they_are_about() {
        let mut revoked = Revoked::default();
        revoked.add(token("t1", "k1", 200), at(200)).unwrap();
        revoked.add(Revocation { until: at(2_000), ..token("t1", "k1", 150) }, at(999)).unwrap();
        assert_eq!(revoked.len(), 1);
        revoked.add(token("t2", "k1", 200), at(1_500)).unwrap();
        let found = revoked.find(&subjects("t1")).unwrap();
        assert_eq!((found.at, found.until), (at(200), at(2_000)));
        revoked.add(token("t3", "k1", 200), at(2_000)).unwrap();
        assert_eq!(revoked.find(&subjects("t1")), None);
    }

    #[test]
    fn at_the_limit_a_key_ends_in_place_of_its_tokens() {
        let mut revoked = Revoked::with_limit(3);
        for one in [token("t1", "k2", 150), token("t2", "k1", 120), token("t3", "k1", 180)] {
            revoked.add(one, at(200)).unwrap();
        }
        // A known one needs no room.
        assert_eq!(revoked.add(token("t3", "k1", 190), at(200)), Ok(Outcome::Added));
        let outcome = revoked.add(token("t4", "k2", 200), at(200)).unwrap();
        assert_eq!(outcome, Outcome::KeyRevoked("k1".into()));
        assert_eq!(revoked.len(), 3);
        for (id, key, ended) in [
            ("t1", "k2", true),
            ("t2", "k1", true),
            ("t4", "k2", true),
            ("t9", "k1", true),
            ("t9", "k2", false),
        ] {
            let of = Subjects { key: Some(key.into()), ..subjects(id) };
            assert_eq!(revoked.find(&of).is_some(), ended, "{id} {key}");
        }
        // The new one was by the key that ended.
        let outcome = revoked.add(token("t5", "k2", 200), at(200)).unwrap();
        assert_eq!((outcome, revoked.len()), (Outcome::KeyRevoked("k2".into()), 2));
    }

    #[test]
    fn without_a_key_to_end_nothing_more_is_revoked() {
        let mut revoked = Revoked::with_limit(1);
        revoked.add(revocation(Subject::User(Within::Hub, "bob".into())), at(200)).unwrap();
        let user = revocation(Subject::User(Within::Hub, "alice".into()));
        assert_eq!(revoked.add(user, at(200)), Err(Full));
        assert_eq!(revoked.find(&subjects("t1")), None);
    }
}
