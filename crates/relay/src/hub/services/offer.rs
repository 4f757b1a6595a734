//! What the hub takes of an announcement.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use strait_types::is_dns1123_label;

use crate::agents::AgentSpec;
use crate::link::control::{Announced, Refused, SERVICES_MAX};

/// Most bytes of a service's annotations.
const ANNOTATIONS_MAX: usize = 8 << 10;
/// Most annotations of a service.
const ANNOTATION_COUNT_MAX: usize = 64;
/// Longest value of an annotation, characters.
const ANNOTATION_MAX: usize = 4_096;
/// Most protocols, methods and paths, and the longest of each, characters.
const PROTOCOLS: (usize, usize) = (8, 16);
const METHODS: (usize, usize) = (32, 32);
const PATHS: (usize, usize) = (256, 1_024);
/// Longest type.
const TYPE_MAX: usize = 63;
/// Longest hash of settings.
const HASH_MAX: usize = 64;

/// Why a service cannot be taken, whoever offers it.
fn mistake(offer: &Announced) -> Option<String> {
    let texts = |what: &str, all: &[String], (count, length): (usize, usize)| {
        let fits = all.len() <= count && all.iter().all(|one| one.chars().count() <= length);
        (!fits).then(|| format!("{what}: at most {count} of {length} characters"))
    };
    if !is_dns1123_label(&offer.name) {
        return Some("its name is no DNS label of at most 63 characters".into());
    }
    let is_type = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if !(1..=TYPE_MAX).contains(&offer.r#type.len()) || !offer.r#type.bytes().all(is_type) {
        return Some(format!("its type is no word of at most {TYPE_MAX} characters"));
    }
    if offer.hash.len() > HASH_MAX {
        return Some(format!("its hash is longer than {HASH_MAX} characters"));
    }
    let length: usize = offer.annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    let longest = offer.annotations.values().map(|value| value.chars().count()).max();
    if length > ANNOTATIONS_MAX
        || offer.annotations.len() > ANNOTATION_COUNT_MAX
        || longest.is_some_and(|longest| longest > ANNOTATION_MAX)
    {
        return Some(format!(
            "its annotations are more than {ANNOTATIONS_MAX} bytes, {ANNOTATION_COUNT_MAX} of \
             {ANNOTATION_MAX} characters"
        ));
    }
    texts("protocols", &offer.protocols, PROTOCOLS)
        .or_else(|| texts("methods", &offer.methods, METHODS))
        .or_else(|| texts("paths", &offer.paths, PATHS))
}

/// What the hub takes of an announcement, by name, and what it does not.
#[must_use]
pub(super) fn taken(
    spec: &AgentSpec,
    offers: Vec<Announced>,
) -> (BTreeMap<String, Arc<Announced>>, Vec<Refused>) {
    let (mut taken, mut refused) = (BTreeMap::new(), Vec::new());
    let mut names = BTreeSet::new();
    for offer in offers {
        let reason = if !names.insert(offer.name.clone()) {
            Some("it is announced twice".to_owned())
        } else if let Some(mistake) = mistake(&offer) {
            Some(mistake)
        } else if taken.len() >= SERVICES_MAX {
            Some(format!("an agent has at most {SERVICES_MAX} services"))
        } else if !spec.may_offer(&offer.r#type, &offer.name) {
            let (kind, name) = (&offer.r#type, &offer.name);
            Some(format!("the Agent's spec.services.allow has nothing for {kind}/{name}"))
        } else {
            None
        };
        match reason {
            Some(reason) => {
                let name = offer.name.chars().take(63).collect();
                refused.push(Refused { name, reason });
            }
            None => {
                taken.insert(offer.name.clone(), Arc::new(offer));
            }
        }
    }
    (taken, refused)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::hub::services) fn offer(
        name: &str,
        change: impl FnOnce(&mut Announced),
    ) -> Announced {
        let text = format!(
            r#"{{"name":"{name}","type":"jenkins","protocols":["http1"],"methods":["GET"],
                "paths":["/ci/*"],"annotations":{{"description":"build"}},"raw":false,
                "mount":false,"ready":true,"hash":"h1","unknown":1}}"#
        );
        let mut offer = serde_json::from_str(&text).unwrap();
        change(&mut offer);
        offer
    }

    pub(in crate::hub::services) fn spec(allow: &[&str]) -> AgentSpec {
        AgentSpec {
            uid: strait_types::Uid::from_random([1; 16]),
            suspended: false,
            draining: false,
            join_policy: crate::JoinPolicy::Token,
            max_instances: 8,
            certificate_ttl: std::time::Duration::ZERO,
            revoked_before: None,
            revoked_serials: Vec::new(),
            offers: allow.iter().map(|&one| one.to_owned()).collect(),
            calls: Vec::new(),
            affinity: crate::agents::Affinity::None,
            instances: Vec::new(),
            deleting: false,
        }
    }

    #[test]
    fn what_cannot_be_taken_is_refused_for_a_reason() {
        let refused = |change: &dyn Fn(&mut Announced)| {
            let (taken, refused) = taken(&spec(&["jenkins/*"]), vec![offer("ci", change)]);
            assert_eq!(taken.len() + refused.len(), 1);
            refused.into_iter().next().map(|refused| refused.reason).unwrap_or_default()
        };
        assert_eq!(refused(&|_| ()), "");
        let long = "x".repeat(64);
        for (change, reason) in [
            (
                &(|offer: &mut Announced| offer.name = long.clone()) as &dyn Fn(&mut Announced),
                "its name",
            ),
            (&|offer| offer.name = "ci.smith".into(), "its name"),
            (&|offer| offer.name = "../ci".into(), "its name"),
            (&|offer| offer.r#type = String::new(), "its type"),
            (&|offer| offer.r#type = "Jenkins/x".into(), "its type"),
            (&|offer| offer.r#type = "http".into(), "the Agent's spec.services.allow"),
            (&|offer| offer.hash = "h".repeat(65), "its hash"),
            (&|offer| offer.protocols = vec![String::new(); 9], "protocols"),
            (&|offer| offer.methods = vec!["M".repeat(33)], "methods"),
            (&|offer| offer.paths = vec!["/".repeat(1025)], "paths"),
            (
                &|offer| {
                    let wide = (0..3).map(|at| (at.to_string(), "x".repeat(4000)));
                    offer.annotations = wide.collect();
                },
                "its annotations",
            ),
        ] {
            let told = refused(change);
            assert!(told.starts_with(reason), "{told:?} {reason:?}");
        }
    }

    #[test]
    fn an_agent_has_so_many_services_and_each_once() {
        let many = (0..SERVICES_MAX + 2).map(|at| offer(&format!("s{at}"), |_| ()));
        let many: Vec<Announced> = many.chain([offer("s0", |_| ())]).collect();
        let (taken, refused) = taken(&spec(&["*"]), many);
        assert_eq!((taken.len(), refused.len()), (SERVICES_MAX, 3));
        assert!(refused[2].reason.contains("twice"));
    }
}
