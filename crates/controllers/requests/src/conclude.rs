//! Ends that need no work: rejections, requests that waited too long, outcomes that a crash
//! left.

use strait_audit::Stage;
use strait_types::Report;

use crate::context::{Context, Subject, ending, line};
use crate::execution::{Outcome, Record, SpecHash, State, Times};
use crate::journal::{Entry, JournalError};

/// What is to be journaled of a request of which no attempt runs.
pub(crate) struct Conclusion {
    /// The record that it follows.
    pub(crate) before: Option<Entry>,
    pub(crate) state: State,
    pub(crate) spec_hash: SpecHash,
    pub(crate) generation: i64,
    pub(crate) user: Option<String>,
    /// When it was accepted, if it was.
    pub(crate) accepted: Option<jiff::Timestamp>,
    /// The rule that decided.
    pub(crate) rule: String,
}

/// Journals and audits it, however long the disk refuses. None if the process ends before, or
/// the record is somebody else's by now.
pub(crate) async fn conclude(
    context: &Context,
    subject: &Subject,
    conclusion: Conclusion,
) -> Option<Entry> {
    let Conclusion { before, state, spec_hash, generation, user, accepted, rule } = conclusion;
    let now = context.clock.now();
    let mut record = match &before {
        Some(before) => Record { state, ..before.record.clone() },
        None => Record {
            request: subject.request(user.as_deref()),
            attempt: 1,
            class: (&*subject.mapping.class.name).into(),
            executor: "".into(),
            spec_hash,
            generation,
            times: Times { accepted, ..Times::default() },
            cancel: None,
            state,
        },
    };
    record.times.finished = Some(now);
    context.metrics.ended(&record.state);
    let rejected = matches!(record.state, State::Finished { outcome: Outcome::Rejected { .. } });
    let stage = if rejected { Stage::Decided } else { Stage::Ended };
    let mut line = Some(line(&record.request, stage, &rule, &ending(&record)));
    let mut journaled = None;
    for wait in context.backoff() {
        if let Some(line_left) = line.clone() {
            match context.audit.append(vec![line_left]).await {
                Ok(_) => line = None,
                Err(error) => log(subject, "the audit log took no end", &error),
            }
        }
        if journaled.is_none() {
            let written = match &before {
                Some(before) => context.journal.update(before, record.clone()).await,
                None => context.journal.create(record.clone()).await,
            };
            match written {
                Ok(entry) => journaled = Some(entry),
                Err(JournalError::Changed) => return None,
                Err(error) => log(subject, "the journal took no end", &error),
            }
        }
        if line.is_none() && journaled.is_some() {
            return journaled;
        }
        tokio::select! {
            () = context.shutdown.forced() => break,
            () = tokio::time::sleep(wait) => {}
        }
    }
    None
}

fn log(subject: &Subject, what: &'static str, error: &(dyn std::error::Error + 'static)) {
    tracing::error!(request = %subject.key, err = Report(error).to_string(), "{what}");
}
