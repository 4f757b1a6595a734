//! Whose requests run.
//!
//! The first rule that matches decides; where none does, the request is rejected. What is not
//! known (a path that the hub does not confirm, a requester that it did not record) fulfils no
//! condition of an allowing rule and every condition of a denying one.

use std::sync::Arc;

use strait_api::private::{Effect, Match, ParamCondition, PolicySpec};
use strait_machinery::field::FieldError;
use strait_machinery::json::{Path, Value, parse};
use strait_machinery::schema::Pattern;
use strait_types::{ClusterName, WorkspacePath};

use crate::pointer::Pointer;

/// Rules in the order in which they are tried.
#[derive(Debug, Default)]
pub(crate) struct Policy(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    name: Arc<str>,
    effect: Effect,
    workspaces: Option<Vec<PathPattern>>,
    clusters: Option<Vec<String>>,
    namespaces: Option<Vec<String>>,
    users: Option<Vec<String>>,
    classes: Option<Vec<String>>,
    params: Vec<Condition>,
}

#[derive(Debug)]
struct Condition {
    path: Pointer,
    test: Test,
}

#[derive(Debug)]
enum Test {
    OneOf(Vec<Value>),
    Pattern(Pattern),
}

/// What is known of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) cluster: &'a ClusterName,
    pub(crate) namespace: Option<&'a str>,
    /// Who created it, as the hub recorded it.
    pub(crate) user: Option<&'a str>,
    pub(crate) class: &'a str,
    pub(crate) params: &'a Value,
}

/// The workspace's path, as the hub confirms it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Workspace<'a> {
    /// Nobody asked yet.
    NotAsked,
    /// The hub does not confirm one.
    Unconfirmed,
    /// This one.
    Confirmed(&'a WorkspacePath),
}

/// What a policy says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It runs, by this rule.
    Allow(Arc<str>),
    /// It is rejected, by this rule or because none matched.
    Deny(Option<Arc<str>>),
    /// The workspace's path decides.
    NeedsPath,
}

impl Policy {
    /// Whether every request is rejected.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the rules of a document. Says what is wrong with them.
    pub(crate) fn extend(&mut self, spec: &PolicySpec, mut wrong: impl FnMut(&FieldError)) {
        for (index, rule) in spec.rules.iter().enumerate() {
            let base = Path::of(&["spec", "rules"]).index(index).field("match");
            let Match { workspaces, logical_clusters, namespaces, users, classes, params } =
                &rule.matches;
            let clusters = logical_clusters.iter().flatten().enumerate();
            for (at, name) in clusters.filter(|(_, name)| ClusterName::new(name).is_err()) {
                let path = base.field("logicalClusters").index(at);
                wrong(&FieldError::invalid(path, &**name, "is not a logical cluster's name"));
            }
            let workspaces = workspaces.as_ref().map(|texts| {
                let patterns = texts.iter().enumerate().filter_map(|(at, text)| {
                    PathPattern::new(text).or_else(|| {
                        let path = base.field("workspaces").index(at);
                        wrong(&FieldError::invalid(path, &**text, PathPattern::FORM));
                        None
                    })
                });
                patterns.collect()
            });
            let params = params.iter().enumerate().filter_map(|(at, condition)| {
                let path = base.field("params").index(at);
                Condition::new(condition, &path).map_err(|error| wrong(&error)).ok()
            });
            self.0.push(Rule {
                name: rule.name.as_str().into(),
                effect: rule.effect,
                workspaces,
                clusters: logical_clusters.clone(),
                namespaces: namespaces.clone(),
                users: users.clone(),
                classes: classes.clone(),
                params: params.collect(),
            });
        }
    }

    /// Decides.
    pub(crate) fn decide(&self, facts: &Facts<'_>, workspace: Workspace<'_>) -> Decision {
        for rule in &self.0 {
            match rule.matches(facts, workspace) {
                None => return Decision::NeedsPath,
                Some(false) => {}
                Some(true) => {
                    return match rule.effect {
                        Effect::Allow => Decision::Allow(rule.name.clone()),
                        Effect::Deny => Decision::Deny(Some(rule.name.clone())),
                    };
                }
            }
        }
        Decision::Deny(None)
    }
}

impl Rule {
    /// Whether every condition holds; none if that hangs on a path that nobody asked for.
    fn matches(&self, facts: &Facts<'_>, workspace: Workspace<'_>) -> Option<bool> {
        let unknown = self.effect == Effect::Deny;
        let one_of = |list: &Option<Vec<String>>, value: Option<&str>| match (list, value) {
            (None, _) => true,
            (Some(_), None) => unknown,
            (Some(list), Some(value)) => list.iter().any(|one| one == value),
        };
        let others = one_of(&self.clusters, Some(facts.cluster.as_str()))
            // A cluster-scoped object is in no namespace, which is known.
            && one_of(&self.namespaces, Some(facts.namespace.unwrap_or_default()))
            && one_of(&self.users, facts.user)
            && one_of(&self.classes, Some(facts.class))
            && self.params.iter().all(|condition| condition.holds(facts.params));
        let Some(patterns) = self.workspaces.as_ref().filter(|_| others) else {
            return Some(others);
        };
        match workspace {
            Workspace::NotAsked => None,
            Workspace::Unconfirmed => Some(unknown),
            Workspace::Confirmed(path) => {
                Some(patterns.iter().any(|pattern| pattern.matches(path.as_str())))
            }
        }
    }
}

impl Condition {
    fn new(condition: &ParamCondition, at: &Path) -> Result<Self, FieldError> {
        let ParamCondition { path, equals, one_of, pattern } = condition;
        let pointer = path.parse::<Pointer>();
        let pointer = pointer
            .map_err(|error| FieldError::invalid(at.field("path"), &**path, error.to_string()))?;
        let value = |value: &serde_json::Value| {
            let text = serde_json::to_vec(value).unwrap_or_default();
            parse(&text).unwrap_or_default()
        };
        let test = match (equals, one_of, pattern) {
            (Some(equals), None, None) => Test::OneOf(vec![value(equals)]),
            (None, Some(values), None) => Test::OneOf(values.iter().map(value).collect()),
            (None, None, Some(pattern)) => {
                let whole = Pattern::new(&format!("^(?:{pattern})$"));
                Test::Pattern(whole.map_err(|error| {
                    FieldError::invalid(at.field("pattern"), &**pattern, error.to_string())
                })?)
            }
            _ => {
                return Err(FieldError::required(at.clone(), "one of equals, in, pattern"));
            }
        };
        Ok(Self { path: pointer, test })
    }

    fn holds(&self, params: &Value) -> bool {
        self.path.find(params).is_some_and(|value| match &self.test {
            Test::OneOf(values) => values.contains(value),
            Test::Pattern(pattern) => value.as_str().is_some_and(|text| pattern.is_match(text)),
        })
    }
}

/// A pattern of workspace paths. `*` stands for any text within one name, `**` as the last name
/// for one or more names.
#[derive(Debug)]
struct PathPattern {
    names: Vec<String>,
    deep: bool,
}

impl PathPattern {
    const FORM: &str = "is not a pattern of paths such as root:acme:* or root:acme:**";

    fn new(text: &str) -> Option<Self> {
        let mut names: Vec<String> = text.split(':').map(str::to_owned).collect();
        let deep = names.pop_if(|last| last == "**").is_some();
        let valid = |name: &String| {
            let allowed =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-*".contains(c);
            !name.is_empty() && name.chars().all(allowed) && !name.contains("**")
        };
        (!names.is_empty() && names.iter().all(valid)).then_some(Self { names, deep })
    }

    fn matches(&self, path: &str) -> bool {
        let mut names = path.split(':');
        let fits =
            self.names.iter().all(|pattern| names.next().is_some_and(|name| glob(pattern, name)));
        fits && names.next().is_some() == self.deep
    }
}

/// Whether a text fits a pattern in which `*` stands for any text.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        // The first place leaves the most for the rest.
        let Some(at) = text.find(part) else {
            return false;
        };
        text = &text[at + part.len()..];
    }
    text.ends_with(end)
}

#[cfg(test)]
mod tests;
