//! What a sender says of its webhook: delivery, event, action, repository.
//!
//! Facts come from the headers of the source's own scheme and from the body, and steer filters,
//! keys and what is shown; the body itself is passed on as it came. They are read after the
//! signature was verified. What is missing, written twice, too long or not text is simply
//! absent, and so is everything of a body that is not JSON: such a webhook is still delivered.
//!
//! | scheme | delivery | event | action | repository |
//! |---|---|---|---|---|
//! | `github` | `X-GitHub-Delivery` | `X-GitHub-Event` | `/action` | `/repository/full_name` |
//! | `gitea` | `X-Forgejo-Delivery`, `X-Gitea-Delivery` | `X-Forgejo-Event`, `X-Gitea-Event` | `/action` | `/repository/full_name` |
//! | `gitlab-token` | `Idempotency-Key`, `X-Gitlab-Event-UUID` | `X-Gitlab-Event` | `/object_attributes/action` | `/project/path_with_namespace` |
//! | `gitlab-signed` | `webhook-id` | `X-Gitlab-Event` | the same | the same |
//! | `bitbucket` | `X-Request-UUID` | `X-Event-Key` | | `/repository/full_name` |
//! | `bitbucket-dc` | `X-Request-Id` | `X-Event-Key` | | key and slug, joined by `/` |
//! | `standard` | `webhook-id` | `/type` | | |
//!
//! GitLab's `X-Gitlab-Event-UUID` is the same for all webhooks that one event sets off, and names
//! the delivery only for versions that send nothing better.

mod content;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use http::HeaderMap;
use serde_json::Value;

pub use content::{ContentType, Unsupported, content_type, json};

use crate::pointer::{Pointer, find};
use crate::signature::Scheme;

/// Longest fact, in bytes; a longer one is absent.
pub const MAX_FACT: usize = 512;

/// What a webhook says of itself, as far as it says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The sender's name for the delivery, the same when it is sent again.
    pub delivery: Option<Box<str>>,
    /// What happened, in the sender's word: `push`, `Push Hook`, `repo:push`.
    pub event: Option<Box<str>>,
    /// What exactly, where events have kinds: `opened`.
    pub action: Option<Box<str>>,
    /// The repository with its owner: `acme/site`.
    pub repository: Option<Box<str>>,
}

/// Where a scheme has its facts; of several places the first that has one counts.
struct Places {
    delivery: &'static [&'static str],
    event: &'static [&'static str],
    /// A place in the body, where no header says it.
    event_member: &'static str,
    action: &'static str,
    /// Parts of a name, joined by `/`.
    repository: &'static [&'static [&'static str]],
}

const NOWHERE: Places =
    Places { delivery: &[], event: &[], event_member: "", action: "", repository: &[] };
const GITHUB: Places = Places {
    delivery: &["x-github-delivery"],
    event: &["x-github-event"],
    action: "/action",
    repository: &[&["/repository/full_name"]],
    ..NOWHERE
};
const GITEA: Places = Places {
    delivery: &["x-forgejo-delivery", "x-gitea-delivery"],
    event: &["x-forgejo-event", "x-gitea-event"],
    ..GITHUB
};
const GITLAB: Places = Places {
    delivery: &["idempotency-key", "x-gitlab-event-uuid"],
    event: &["x-gitlab-event"],
    action: "/object_attributes/action",
    repository: &[&["/project/path_with_namespace"]],
    ..NOWHERE
};
const BITBUCKET: Places = Places {
    delivery: &["x-request-uuid"],
    event: &["x-event-key"],
    repository: &[&["/repository/full_name"]],
    ..NOWHERE
};
const BITBUCKET_SERVER: Places = Places {
    delivery: &["x-request-id"],
    event: &["x-event-key"],
    repository: &[
        &["/repository/project/key", "/repository/slug"],
        &["/pullRequest/toRef/repository/project/key", "/pullRequest/toRef/repository/slug"],
    ],
    ..NOWHERE
};
const STANDARD: Places = Places { delivery: &["webhook-id"], event_member: "/type", ..NOWHERE };

const fn places(scheme: &Scheme) -> Places {
    match scheme {
        Scheme::Github => GITHUB,
        Scheme::Gitea => GITEA,
        Scheme::GitlabToken => GITLAB,
        Scheme::GitlabSigned => Places { delivery: &["webhook-id"], ..GITLAB },
        Scheme::Bitbucket => BITBUCKET,
        Scheme::BitbucketServer => BITBUCKET_SERVER,
        Scheme::Standard => STANDARD,
        Scheme::Hmac(_) | Scheme::None => NOWHERE,
    }
}

impl Facts {
    /// The facts of a webhook. `json` is [`json`] of its body.
    #[must_use]
    pub fn read(scheme: &Scheme, headers: &HeaderMap, json: Option<&[u8]>) -> Self {
        let places = places(scheme);
        let from_headers = |names: &[&str]| names.iter().find_map(|name| header(headers, name));
        let members = Members::read(&places, json);
        Self {
            delivery: from_headers(places.delivery),
            event: from_headers(places.event).or_else(|| members.text(places.event_member)),
            action: members.text(places.action),
            repository: places.repository.iter().find_map(|parts| {
                let parts: Option<Vec<_>> = parts.iter().map(|part| members.text(part)).collect();
                fact(&parts?.join("/"))
            }),
        }
    }

    /// The delivery, from the head alone: known before a body is read.
    #[must_use]
    pub fn delivery(scheme: &Scheme, headers: &HeaderMap) -> Option<Box<str>> {
        places(scheme).delivery.iter().find_map(|name| header(headers, name))
    }
}

/// What the body has at the places.
struct Members {
    names: Vec<&'static str>,
    values: Vec<Option<Value>>,
}

impl Members {
    fn read(places: &Places, json: Option<&[u8]>) -> Self {
        let names = [places.event_member, places.action];
        let parts = places.repository.iter().flat_map(|parts| parts.iter().copied());
        let names: Vec<_> =
            names.into_iter().chain(parts).filter(|name| !name.is_empty()).collect();
        let pointers: Vec<_> = names.iter().filter_map(|name| KNOWN.get(name)).collect();
        let values = json.map(|json| find(json, &pointers)).unwrap_or_default();
        Self { names, values }
    }

    fn text(&self, name: &str) -> Option<Box<str>> {
        let at = self.names.iter().position(|known| *known == name)?;
        fact(self.values.get(at)?.as_ref()?.as_str()?)
    }
}

/// The pointers of all schemes, read once.
static KNOWN: LazyLock<BTreeMap<&'static str, Pointer>> = LazyLock::new(|| {
    let all = [GITHUB, GITLAB, BITBUCKET, BITBUCKET_SERVER, STANDARD];
    let texts = all.iter().flat_map(|places| {
        let parts = places.repository.iter().flat_map(|parts| parts.iter().copied());
        [places.event_member, places.action].into_iter().chain(parts)
    });
    texts.map(|text| (text, text.parse().expect("the tables above hold pointers"))).collect()
});

/// A header that is there once and is visible ASCII.
fn header(headers: &HeaderMap, name: &str) -> Option<Box<str>> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    fact(value.to_str().ok()?)
}

fn fact(text: &str) -> Option<Box<str>> {
    let fits = !text.is_empty() && text.len() <= MAX_FACT && !text.contains(char::is_control);
    fits.then(|| text.into())
}
