//! Merging objects.

use std::collections::BTreeSet;

use super::order::Order;
use super::shape::Shape;
use super::{DELETE_FROM_LIST, DIRECTIVE, RETAIN_KEYS, Refused, SET_ORDER};
use super::{list, malformed, order, text, unclassified};
use crate::json::{Map, Value};

/// What a member of the patch wants of a list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    /// That it no longer have these elements.
    Delete,
    /// That it have these elements.
    Merge,
}

/// What becomes of `null` inside what the object takes over from the patch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Nulls {
    Drop,
    Keep,
}

/// Members of the patch with the names of those that they change, sorted.
type Changes<'p> = Vec<(&'p str, &'p Value)>;

/// Merges a patch into an object.
pub(super) fn merge(object: &mut Map, patch: &Map, shape: Shape<'_>) -> Result<(), Refused> {
    if let Some(directive) = patch.get(DIRECTIVE) {
        *object = as_directed(directive, patch)?;
        return Ok(());
    }
    retain_keys(object, patch)?;
    let orders = order::read(patch)?;
    for order in &orders {
        order::apply(object, order, shape)?;
    }
    join(object, &deletions(patch)?, Intent::Delete, shape)?;
    join(object, &changes(patch, &orders), Intent::Merge, shape)
}

/// Merges changes into an object's members.
fn join(
    object: &mut Map,
    changes: &[(&str, &Value)],
    intent: Intent,
    shape: Shape<'_>,
) -> Result<(), Refused> {
    let mut edits = Vec::new();
    for &(name, change) in changes {
        match (object.get_mut(name), change) {
            (_, Value::Null) => edits.push((name, None)),
            (Some(Value::Array(old)), Value::Array(change)) => {
                list::merge(old, change, &shape.list(name)?, intent)?;
            }
            _ if intent == Intent::Delete => {}
            (Some(Value::Object(old)), Value::Object(change)) => {
                let field = shape.member(name)?;
                if field.replaces() {
                    old.clone_from(change);
                } else {
                    merge(old, change, field.shape)?;
                }
            }
            _ => edits.push((name, taken(change, Nulls::Drop))),
        }
    }
    edit(object, edits);
    Ok(())
}

/// Sets and removes members, sorted by name, in one go.
fn edit(object: &mut Map, edits: Vec<(&str, Option<Value>)>) {
    if edits.is_empty() {
        return;
    }
    let mut edited: Vec<(Box<str>, Value)> = Vec::with_capacity(object.len() + edits.len());
    let mut rest = std::mem::take(object).into_iter().peekable();
    for (name, value) in edits {
        while let Some(before) = rest.next_if(|(other, _)| **other < *name) {
            edited.push(before);
        }
        drop(rest.next_if(|(other, _)| **other == *name));
        edited.extend(value.map(|value| (name.into(), value)));
    }
    edited.extend(rest);
    *object = edited.into_iter().collect();
}

/// The members that remove elements of lists.
fn deletions(patch: &Map) -> Result<Changes<'_>, Refused> {
    let directives = patch.iter().filter(|(name, _)| name.starts_with(DELETE_FROM_LIST));
    directives.map(|(name, value)| Ok((target(name, DELETE_FROM_LIST)?, value))).collect()
}

/// The members that are no directives, but for lists that were merged with their order.
fn changes<'p>(patch: &'p Map, orders: &[Order<'p>]) -> Changes<'p> {
    let ordered: BTreeSet<&str> = orders.iter().map(|order| order.name).collect();
    let is_change = |name: &str| !is_directive(name) && !ordered.contains(name);
    patch.iter().filter(|(name, _)| is_change(name)).collect()
}

fn is_directive(name: &str) -> bool {
    name == RETAIN_KEYS || name.starts_with(DELETE_FROM_LIST) || name.starts_with(SET_ORDER)
}

/// The member that a directive is about.
///
/// # Errors
/// It names none.
pub(super) fn target<'n>(name: &'n str, directive: &'static str) -> Result<&'n str, Refused> {
    let rest = name.strip_prefix(directive).and_then(|rest| rest.strip_prefix('/'));
    rest.ok_or_else(|| malformed(directive))
}

/// A value of a patch as the object takes it over: without what is marked by a directive.
pub(super) fn taken(value: &Value, nulls: Nulls) -> Option<Value> {
    match value {
        Value::Object(map) if is_marked(map, nulls) => None,
        Value::Object(map) => {
            let mut members: Vec<(Box<str>, Value)> = Vec::with_capacity(map.len());
            for (name, value) in map.iter() {
                if value.is_null() && nulls == Nulls::Drop {
                    continue;
                }
                if let Some(value) = taken(value, nulls) {
                    members.push((name.into(), value));
                }
            }
            Some(Value::Object(members.into_iter().collect()))
        }
        Value::Array(elements) => Some(Value::Array(taken_elements(elements, nulls))),
        scalar => Some(scalar.clone()),
    }
}

/// As [`taken`], for a list.
pub(super) fn taken_elements(elements: &[Value], nulls: Nulls) -> Vec<Value> {
    let mut list = Vec::with_capacity(elements.len());
    for element in elements {
        list.extend(taken(element, nulls));
    }
    list
}

fn is_marked(map: &Map, nulls: Nulls) -> bool {
    map.get(DIRECTIVE).is_some_and(|directive| nulls == Nulls::Keep || !directive.is_null())
}

/// What `$patch` makes of an object.
fn as_directed(directive: &Value, patch: &Map) -> Result<Map, Refused> {
    match directive.as_str() {
        Some("replace") => {
            let mut whole = patch.clone();
            whole.remove(DIRECTIVE);
            Ok(whole)
        }
        Some("delete") => Ok(Map::new()),
        _ => Err(unknown_directive(directive, patch)),
    }
}

pub(super) fn unknown_directive(directive: &Value, patch: &Map) -> Refused {
    let (directive, patch) = (text::printed_as_text(directive), text::printed_map(patch));
    unclassified(format!("unknown patch type: {directive} in map: {patch}"))
}

/// Does what `$retainKeys` says. The patch may not set what it says to remove.
fn retain_keys(object: &mut Map, patch: &Map) -> Result<(), Refused> {
    let Some(directive) = patch.get(RETAIN_KEYS) else {
        return Ok(());
    };
    let is_scalar = |key: &Value| !matches!(key, Value::Array(_) | Value::Object(_));
    let keys = match directive {
        Value::Array(keys) if keys.iter().all(is_scalar) => keys,
        _ => return Err(malformed(RETAIN_KEYS)),
    };
    let retained: BTreeSet<&str> = keys.iter().filter_map(Value::as_str).collect();
    let is_set = |name: &str, value: &Value| !is_directive(name) && !value.is_null();
    if patch.iter().any(|(name, value)| is_set(name, value) && !retained.contains(name)) {
        return Err(malformed(RETAIN_KEYS));
    }
    object.retain(|name, _| retained.contains(name));
    Ok(())
}
