//! Taking a request: decided about as it stands, then marked as this agent's.

use std::sync::Arc;

use strait_machinery::json::Value;
use strait_reconcile::Object;
use strait_types::{Classified, ErrorKind};

use crate::context::{Context, Subject};
use crate::decide::{Verdict, decide};
use crate::observed::{Asked, Claim, Observed, observe};
use crate::plan::{Past, Presence, Seen, Step, plan};
use crate::policy::Workspace;

/// Reads of an object that somebody else changes all the time, before it is put off.
const TRIES: usize = 5;

/// A request that is this agent's.
pub(crate) struct Claimed {
    pub(crate) object: Box<Object>,
    pub(crate) observed: Observed,
    pub(crate) user: Option<String>,
    pub(crate) params: Value,
    /// The rule that allowed it.
    pub(crate) rule: Arc<str>,
}

/// Why a request was not taken.
#[derive(Debug)]
pub(crate) enum NotClaimed {
    /// It is gone.
    Gone,
    /// It is to be looked at anew, as it is now.
    Changed(Box<Object>),
    /// The hub did not do its part; later perhaps.
    Hub,
}

/// Decides about the object as it stands and puts this agent's finalizer on it, on the condition
/// that it still stands so. `given` saves the first read.
pub(crate) async fn claim(
    context: &Context,
    subject: &Subject,
    mut given: Option<Box<Object>>,
    past: Past<'_>,
) -> Result<Claimed, NotClaimed> {
    for _ in 0..TRIES {
        let object = match given.take() {
            Some(object) => object,
            None => read(context, subject).await?,
        };
        let (observed, asked) = observe(&subject.mapping, &context.claim, &object);
        let seen = Seen {
            object: Presence::Here(&observed),
            past,
            alive: false,
            ending: false,
            told: true,
            now: subject.time.now(),
            local: context.clock.now(),
        };
        if plan(&seen) != Step::Decide {
            return Err(NotClaimed::Changed(object));
        }
        let rule = match decided(context, subject, &asked).await? {
            Verdict::Run(rule) => rule,
            Verdict::Reject { .. } | Verdict::NeedsPath => return Err(NotClaimed::Changed(object)),
        };
        if observed.claim == Claim::Ours {
            let Asked { user, params } = asked;
            return Ok(Claimed { object, observed, user, params, rule });
        }
        match subject.writer.add_finalizer(&object, &context.claim).await {
            Ok(claimed) => given = Some(Box::new(claimed)),
            Err(error) => match error.kind() {
                ErrorKind::NotFound => return Err(NotClaimed::Gone),
                ErrorKind::Conflict => {}
                _ => return Err(hub_failed(context, subject, &error)),
            },
        }
    }
    Err(NotClaimed::Hub)
}

async fn read(context: &Context, subject: &Subject) -> Result<Box<Object>, NotClaimed> {
    match subject.writer.get(&subject.key).await {
        Ok(Some(object)) => Ok(Box::new(object)),
        Ok(None) => Err(NotClaimed::Gone),
        Err(error) => Err(hub_failed(context, subject, &error)),
    }
}

/// Decides, asking for the workspace's path where that decides.
async fn decided(
    context: &Context,
    subject: &Subject,
    asked: &Asked,
) -> Result<Verdict, NotClaimed> {
    let policy = &context.config.policy;
    let by = |workspace| decide(policy, &subject.mapping, &subject.key, asked, workspace);
    match by(Workspace::NotAsked) {
        Verdict::NeedsPath => {}
        verdict => return Ok(verdict),
    }
    match subject.paths.path(&subject.key.cluster).await {
        Ok(Some(path)) => Ok(by(Workspace::Confirmed(&path))),
        Ok(None) => Ok(by(Workspace::Unconfirmed)),
        Err(error) => Err(hub_failed(context, subject, &error)),
    }
}

fn hub_failed(
    context: &Context,
    subject: &Subject,
    error: &(dyn std::error::Error + 'static),
) -> NotClaimed {
    context.metrics.hub_failures.inc();
    let err = strait_types::Report(error).to_string();
    tracing::warn!(request = %subject.key, err, "cannot take a request yet");
    NotClaimed::Hub
}
