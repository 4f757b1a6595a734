//! One rule of a role, what it allows, and what covers it.

use std::fmt;

use strait_machinery::json::Value;

use crate::{Attributes, NonResource, ResourceRequest};

/// A `PolicyRule`. Lists hold what was written, `*` included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Verbs, or `*`.
    pub verbs: Vec<Box<str>>,
    /// API groups, or `*`; empty strings for the core group.
    pub api_groups: Vec<Box<str>>,
    /// `resource`, `resource/sub`, `*/sub`, `*`.
    pub resources: Vec<Box<str>>,
    /// Names; empty: all.
    pub resource_names: Vec<Box<str>>,
    /// Paths, `/prefix/*`, or `*`.
    pub non_resource_urls: Vec<Box<str>>,
}

impl Rule {
    /// Reads a rule of a Role or ClusterRole.
    #[must_use]
    pub fn of(rule: &Value) -> Self {
        let list = |key: &str| -> Vec<Box<str>> {
            rule.array_at(&[key]).iter().filter_map(Value::as_str).map(Into::into).collect()
        };
        Self {
            verbs: list("verbs"),
            api_groups: list("apiGroups"),
            resources: list("resources"),
            resource_names: list("resourceNames"),
            non_resource_urls: list("nonResourceURLs"),
        }
    }

    /// Whether the rule allows a request.
    #[must_use]
    pub fn allows(&self, attributes: &Attributes<'_>) -> bool {
        match attributes {
            Attributes::Resource(request) => self.allows_resource(request),
            Attributes::NonResource(request) => self.allows_path(request),
        }
    }

    fn allows_resource(&self, request: &ResourceRequest<'_>) -> bool {
        matches(&self.verbs, request.verb)
            && matches(&self.api_groups, request.group)
            && self.resources.iter().any(|rule| resource_matches(rule, request))
            && (self.resource_names.is_empty()
                || self.resource_names.iter().any(|name| **name == *request.name))
    }

    fn allows_path(&self, request: &NonResource<'_>) -> bool {
        matches(&self.verbs, request.verb)
            && self.non_resource_urls.iter().any(|url| url_matches(url, request.path))
    }

    /// The rule as many rules that each name one verb, group, resource, name or path.
    fn atoms(&self) -> Vec<Self> {
        let mut atoms = Vec::new();
        let one = |text: &str| vec![Box::from(text)];
        for verb in &self.verbs {
            for group in &self.api_groups {
                for resource in &self.resources {
                    let atom = Self {
                        verbs: one(verb),
                        api_groups: one(group),
                        resources: one(resource),
                        ..Self::default()
                    };
                    if self.resource_names.is_empty() {
                        atoms.push(atom);
                        continue;
                    }
                    for name in &self.resource_names {
                        atoms.push(Self { resource_names: one(name), ..atom.clone() });
                    }
                }
            }
            for url in &self.non_resource_urls {
                let (verbs, non_resource_urls) = (one(verb), one(url));
                atoms.push(Self { verbs, non_resource_urls, ..Self::default() });
            }
        }
        atoms
    }

    /// Whether this rule allows all that an atom allows.
    fn covers_atom(&self, atom: &Self) -> bool {
        let has = |own: &[Box<str>], wanted: &[Box<str>]| {
            wanted.iter().all(|want| own.contains(want) || own.iter().any(|one| &**one == "*"))
        };
        if !has(&self.verbs, &atom.verbs) {
            return false;
        }
        if let Some(url) = atom.non_resource_urls.first() {
            return self.non_resource_urls.iter().any(|own| url_covers(own, url));
        }
        let names = self.resource_names.is_empty()
            || (!atom.resource_names.is_empty()
                && atom.resource_names.iter().all(|name| self.resource_names.contains(name)));
        has(&self.api_groups, &atom.api_groups)
            && atom.resources.iter().all(|want| self.covers_resource(want))
            && names
    }

    fn covers_resource(&self, wanted: &str) -> bool {
        let any_of_subresource = wanted.split_once('/').map(|(_, sub)| format!("*/{sub}"));
        self.resources.iter().any(|own| {
            **own == *wanted || &**own == "*" || any_of_subresource.as_deref() == Some(&**own)
        })
    }
}

/// The parts of `wanted` that nothing in `held` covers
/// (`component-helpers/auth/rbac/validation/policy_comparator.go`): empty if whoever holds
/// `held` may grant `wanted`.
#[must_use]
pub fn covers(held: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let atoms = wanted.iter().flat_map(Rule::atoms);
    atoms.filter(|atom| !held.iter().any(|rule| rule.covers_atom(atom))).collect()
}

fn matches(list: &[Box<str>], wanted: &str) -> bool {
    list.iter().any(|one| &**one == "*" || **one == *wanted)
}

fn resource_matches(rule: &str, request: &ResourceRequest<'_>) -> bool {
    if rule == "*" {
        return true;
    }
    match rule.split_once('/') {
        None => request.subresource.is_empty() && rule == request.resource,
        Some((resource, subresource)) => {
            (resource == "*" || resource == request.resource)
                && !request.subresource.is_empty()
                && subresource == request.subresource
        }
    }
}

fn url_matches(rule: &str, path: &str) -> bool {
    rule == "*"
        || rule == path
        || rule.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

fn url_covers(own: &str, wanted: &str) -> bool {
    own == wanted
        || own
            .strip_suffix('*')
            .is_some_and(|prefix| wanted.strip_suffix('*').unwrap_or(wanted).starts_with(prefix))
}

impl fmt::Display for Rule {
    /// As escalation messages show rules: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [
            ("NonResourceURLs", &self.non_resource_urls),
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let shown: Vec<_> = lists
            .into_iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| {
                let quoted: Vec<_> = list.iter().map(|one| format!("{one:?}")).collect();
                format!("{name}:[{}]", quoted.join(" "))
            })
            .collect();
        write!(f, "{{{}}}", shown.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strait_machinery::object;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> Rule {
        let own = |list: &[&str]| list.iter().map(|&one| one.into()).collect();
        Rule {
            verbs: own(verbs),
            api_groups: own(groups),
            resources: own(resources),
            resource_names: own(names),
            non_resource_urls: Vec::new(),
        }
    }

    fn request<'a>(
        verb: &'a str,
        group: &'a str,
        resource: &'a str,
        subresource: &'a str,
        name: &'a str,
    ) -> Attributes<'a> {
        Attributes::Resource(ResourceRequest {
            verb,
            group,
            resource,
            subresource,
            name,
            ..ResourceRequest::default()
        })
    }

    #[test]
    fn rules_allow_what_they_name() {
        for (rule, request, allowed) in [
            (rule(&["get"], &[""], &["pods"], &[]), request("get", "", "pods", "", "x"), true),
            (rule(&["get"], &[""], &["pods"], &[]), request("list", "", "pods", "", ""), false),
            (rule(&["get"], &[""], &["pods"], &[]), request("get", "", "pods", "log", "x"), false),
            (
                rule(&["get"], &[""], &["pods/log"], &[]),
                request("get", "", "pods", "log", "x"),
                true,
            ),
            (rule(&["get"], &[""], &["*/log"], &[]), request("get", "", "pods", "log", "x"), true),
            (rule(&["get"], &[""], &["*/log"], &[]), request("get", "", "pods", "", "x"), false),
            (rule(&["*"], &["*"], &["*"], &[]), request("bind", "g", "pods", "log", "x"), true),
            (rule(&["get"], &["apps"], &["*"], &[]), request("get", "", "pods", "", "x"), false),
            (rule(&["get"], &[""], &["pods"], &["a"]), request("get", "", "pods", "", "a"), true),
            (rule(&["get"], &[""], &["pods"], &["a"]), request("get", "", "pods", "", "b"), false),
            (rule(&["list"], &[""], &["pods"], &["a"]), request("list", "", "pods", "", ""), false),
        ] {
            assert_eq!(rule.allows(&request), allowed, "{rule} {request:?}");
        }
    }

    #[test]
    fn paths_match_exactly_or_by_prefix() {
        for (url, path, allowed) in [
            ("/healthz", "/healthz", true),
            ("/api/*", "/api/v1", true),
            ("/api/*", "/apis", false),
            ("*", "/", true),
            ("/version", "/version/", false),
        ] {
            let rule = Rule {
                verbs: vec!["get".into()],
                non_resource_urls: vec![url.into()],
                ..Rule::default()
            };
            let request = Attributes::NonResource(NonResource { verb: "get", path });
            assert_eq!(rule.allows(&request), allowed, "{url} {path}");
        }
    }

    #[test]
    fn what_is_not_held_cannot_be_granted() {
        let held = [
            rule(&["get", "list"], &[""], &["pods", "*/status"], &[]),
            rule(&["*"], &["apps"], &["deployments"], &["a"]),
        ];
        for (wanted, missing) in [
            (rule(&["get"], &[""], &["pods"], &[]), vec![]),
            (rule(&["get"], &[""], &["pods"], &["x"]), vec![]),
            (rule(&["get"], &[""], &["secrets/status"], &[]), vec![]),
            (
                rule(&["get", "watch"], &[""], &["pods"], &[]),
                vec![rule(&["watch"], &[""], &["pods"], &[])],
            ),
            (
                rule(&["get"], &["apps"], &["deployments"], &[]),
                vec![rule(&["get"], &["apps"], &["deployments"], &[])],
            ),
            (rule(&["get"], &["apps"], &["deployments"], &["a"]), vec![]),
            (rule(&["*"], &[""], &["pods"], &[]), vec![rule(&["*"], &[""], &["pods"], &[])]),
        ] {
            assert_eq!(covers(&held, std::slice::from_ref(&wanted)), missing, "{wanted}");
        }
    }

    #[test]
    fn rules_read_and_print() {
        let value = object! {"verbs": vec!["get".into()], "apiGroups": vec!["".into()], "resources": vec!["pods".into(), "x".into()]};
        assert_eq!(
            Rule::of(&value).to_string(),
            r#"{APIGroups:[""], Resources:["pods" "x"], Verbs:["get"]}"#
        );
    }
}
