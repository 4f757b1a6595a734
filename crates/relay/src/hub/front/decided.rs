//! What was allowed lately, so that the next request of the same kind costs one look-up.
//!
//! A decision is a function of who asks, of what they ask for, and of what is stored: roles,
//! workspaces, bindings, Services and Agents. So it holds as long as nothing at all was written,
//! and is made anew behind the next write, whatever that was. Refusals are not kept, and neither
//! is what time and revocations say: that is asked at every request.

use std::sync::Arc;

use strait_auth::User;
use strait_types::Revision;

use crate::access::Verb;
use crate::credential::Subjects;
use crate::recent::Recent;

/// Decisions kept, of each of two generations.
const GENERATION_MAX: usize = 4_096;

/// A question that RBAC and the objects answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    /// The credential, and what it is used for.
    pub(super) subjects: Arc<Subjects>,
    pub(super) verb: Verb,
    /// Whether bytes both ways are asked for.
    pub(super) raw: bool,
}

/// What was allowed, by question, and what came of it.
#[derive(Debug)]
pub(super) struct Decided<T>(Recent<Question, Allowed<T>>);

#[derive(Clone, Debug)]
struct Allowed<T> {
    /// What was stored.
    at: Revision,
    user: Arc<User>,
    found: T,
}

impl<T: Clone> Decided<T> {
    pub(super) fn new() -> Self {
        Self(Recent::new(GENERATION_MAX))
    }

    /// What came of it, if this user was allowed it as of `now`, or else as `decide` says.
    ///
    /// `now` is the store's revision from before the decision: what is written meanwhile may be
    /// in the answer, and makes it one that is not found again.
    ///
    /// # Errors
    /// What `decide` says; that is not kept.
    pub(super) fn of<E>(
        &self,
        question: Question,
        user: &Arc<User>,
        now: Revision,
        decide: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(allowed) = self.0.find(&question)
            && allowed.at == now
            // The same by its credential; nothing hangs on a credential's name alone.
            && allowed.user == *user
        {
            return Ok(allowed.found);
        }
        let found = decide()?;
        self.0.keep(question, Allowed { at: now, user: user.clone(), found: found.clone() });
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::subjects;

    fn question(credential: &str, verb: Verb, raw: bool) -> Question {
        Question { subjects: Arc::new(subjects(credential)), verb, raw }
    }

    fn revision(number: u64) -> Revision {
        Revision(number)
    }

    #[test]
    fn an_answer_holds_for_its_question_its_user_and_what_was_stored() {
        let decided = Decided::new();
        let user = |name: &str| Arc::new(User::authenticated(name, &["devs"]));
        for (n, (what, decides, credential, verb, raw, name, now)) in [
            ("first", true, "t1", Verb::Get, false, "alice", 5),
            ("again", false, "t1", Verb::Get, false, "alice", 5),
            ("another verb", true, "t1", Verb::Create, false, "alice", 5),
            ("bytes", true, "t1", Verb::Get, true, "alice", 5),
            ("another credential", true, "t2", Verb::Get, false, "alice", 5),
            ("another user by the same", true, "t1", Verb::Get, false, "bob", 5),
            ("something was written", true, "t1", Verb::Get, false, "bob", 6),
            ("as of before that", true, "t1", Verb::Get, false, "bob", 5),
        ]
        .into_iter()
        .enumerate()
        {
            let mut asked = false;
            let found =
                decided.of(question(credential, verb, raw), &user(name), revision(now), || {
                    asked = true;
                    Ok::<_, ()>(n)
                });
            assert_eq!((asked, found.is_ok()), (decides, true), "{what}");
        }
    }

    #[test]
    fn a_refusal_is_not_kept() {
        let decided = Decided::new();
        let user = Arc::new(User::authenticated("alice", &[]));
        let of = |answer: Result<usize, &'static str>| {
            decided.of(question("t", Verb::Get, false), &user, revision(1), || answer)
        };
        assert_eq!(of(Err("no")), Err("no"));
        assert_eq!(of(Ok(7)), Ok(7));
        assert_eq!(of(Err("not asked")), Ok(7));
    }
}
