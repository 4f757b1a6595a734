//! Which streams live by which credential: what a revocation cuts.
//!
//! Opening and closing cost one look-up each. A revocation looks at every use of a credential
//! for a service, of which there are far fewer than streams.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::revoked::{Revocation, Subjects};
use crate::map::Map;

/// A stream of this hub's.
pub type StreamId = u64;

/// The streams by what they live by.
#[derive(Debug, Default)]
pub struct Live {
    uses: Map<Arc<Subjects>, BTreeSet<StreamId>>,
}

impl Live {
    /// Notes a stream. Uses with the same subjects are one.
    pub fn open(&mut self, by: &Arc<Subjects>, stream: StreamId) {
        match self.uses.get_mut(by) {
            Some(streams) => {
                streams.insert(stream);
            }
            None => {
                self.uses.insert(by.clone(), BTreeSet::from([stream]));
            }
        }
    }

    /// Forgets a stream that ended.
    pub fn close(&mut self, by: &Arc<Subjects>, stream: StreamId) {
        if let Some(streams) = self.uses.get_mut(by) {
            streams.remove(&stream);
            if streams.is_empty() {
                self.uses.remove(by);
            }
        }
    }

    /// The streams that a revocation cuts, in their order. They stay noted until they are closed.
    #[must_use]
    pub fn cut_by(&self, revocation: &Revocation) -> Vec<StreamId> {
        let ended = self.uses.iter().filter(|(by, _)| revocation.ends(by));
        let mut streams: Vec<StreamId> = ended.flat_map(|(_, streams)| streams).copied().collect();
        streams.sort_unstable();
        streams
    }
}

#[cfg(test)]
mod tests {
    use super::super::revoked::tests::{at, revocation, subjects};
    use super::super::revoked::{Subject, Within};
    use super::*;

    #[test]
    fn a_revocation_cuts_what_lives_by_it() {
        let mut live = Live::default();
        let ci = Arc::new(subjects("t1"));
        let argo = Arc::new(Subjects { service: "argo".into(), ..subjects("t1") });
        let bob = Arc::new(Subjects { user: "bob".into(), ..subjects("t2") });
        let later = Arc::new(Subjects { issued: at(500), ..subjects("t3") });
        for (by, stream) in [(&ci, 5), (&ci, 3), (&argo, 4), (&bob, 6), (&later, 7)] {
            live.open(by, stream);
        }
        for (subject, expected) in [
            (Subject::Credential(Within::Hub, "t1".into()), &[3, 4, 5][..]),
            (Subject::User(Within::Hub, "alice".into()), &[3, 4, 5]),
            (Subject::User(Within::Hub, "bob".into()), &[6]),
            // A revoked key ends what claims to be later, too.
            (Subject::Key("k1".into()), &[3, 4, 5, 6, 7]),
            (Subject::All(Within::Agent("c1".into(), "smith".into())), &[3, 4, 5, 6]),
            (Subject::All(Within::Service("c1".into(), "smith".into(), "argo".into())), &[4]),
            (Subject::Credential(Within::Hub, "t9".into()), &[]),
        ] {
            assert_eq!(live.cut_by(&revocation(subject.clone())), expected, "{subject:?}");
        }
        // Another handle of the same.
        live.close(&Arc::new(subjects("t1")), 5);
        live.close(&ci, 3);
        live.close(&ci, 3);
        assert_eq!(live.cut_by(&revocation(Subject::Credential(Within::Hub, "t1".into()))), [4]);
        assert_eq!(live.uses.len(), 3);
    }
}
