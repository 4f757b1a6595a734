//! Saying at the hub which classes of requests the agent runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strait_machinery::json::Value;
use strait_machinery::object;
use strait_reconcile::{Api, ApiError};
use strait_runtime::Context;
use strait_types::{GroupResource, Report};

use crate::member::Member;

/// How often a view says that its class is there. The hub stores what is new in it: an agent that it took
/// for lost says so of its classes only by this.
const EVERY: Duration = Duration::from_secs(30);

/// Largest answer, bytes.
const ANSWER_MAX: usize = 1 << 20;

/// Keeps a RequestClassView for each class, once the hub has taken the agent's `first` report and
/// until the shutdown; then they say that the classes are not available.
pub(crate) async fn publish(
    first: impl Future<Output = ()>,
    api: Api,
    member: Member,
    classes: BTreeMap<Arc<str>, Vec<GroupResource>>,
    context: Context,
) {
    tokio::select! {
        () = context.shutdown.asked() => return,
        () = first => {}
    }
    let mut failing = false;
    loop {
        let mut failed = None;
        for (class, kinds) in &classes {
            let view = view(&member, class, kinds, true);
            failed = write(&api, &member, &view).await.err().or(failed);
        }
        if let Some(error) = &failed
            && !failing
        {
            tracing::warn!(err = %Report(error), "the hub does not take what this agent says of its classes");
        }
        failing = failed.is_some();
        tokio::select! {
            () = context.shutdown.asked() => break,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    for (class, kinds) in &classes {
        // Best effort: a view that is not updated shows its age.
        drop(write(&api, &member, &view(&member, class, kinds, false)).await);
    }
}

fn view(member: &Member, class: &str, kinds: &[GroupResource], available: bool) -> Value {
    let agent = &member.now().agent;
    let kinds =
        kinds.iter().map(|kind| object! {"group": &*kind.group, "resource": &*kind.resource});
    object! {
        "apiVersion": "requests.strait.dev/v1alpha1",
        "kind": "RequestClassView",
        "metadata": object! {"name": format!("{agent}.{class}")},
        "agent": agent.as_str(),
        "className": class,
        "kinds": kinds.collect::<Value>(),
        "availability": object! {
            "available": available,
        },
    }
}

async fn write(api: &Api, member: &Member, view: &Value) -> Result<(), ApiError> {
    let name = view.str_at(&["metadata", "name"]).unwrap_or_default();
    let views = format!(
        "/clusters/{}/apis/requests.strait.dev/v1alpha1/requestclassviews",
        member.now().cluster
    );
    let media_type = "application/merge-patch+json";
    match api.patch(&format!("{views}/{name}"), media_type, view, ANSWER_MAX).await {
        Err(error) if error.code() == Some(404) => {
            api.create(&views, view, ANSWER_MAX).await.map(drop)
        }
        written => written.map(drop),
    }
}
