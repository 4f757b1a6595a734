//! Merging lists.

use std::collections::{BTreeMap, BTreeSet};

use super::map::{self, Intent, unknown_directive};
use super::order::{Key, arrange, keys};
use super::shape::Field;
use super::text::{GO_LIST, GO_MAP, go_type, printed_list};
use super::{DIRECTIVE, Refused, list_of_lists, no_merge_key, unclassified};
use crate::json::{Map, Value};

/// Merges a list of the patch into that of the object.
pub(super) fn merge(
    list: &mut Vec<Value>,
    given: &[Value],
    field: &Field<'_>,
    intent: Intent,
) -> Result<(), Refused> {
    if field.merges() || intent == Intent::Delete {
        merge_elements(list, given, field, intent)?;
    } else {
        *list = given.to_vec();
    }
    Ok(())
}

/// As [`merge`], for a list that is merged by element. Returns the order that
/// `$setElementOrder` leaves what it does not name in.
pub(super) fn merge_elements(
    list: &mut Vec<Value>,
    given: &[Value],
    field: &Field<'_>,
    intent: Intent,
) -> Result<Vec<Key>, Refused> {
    if list.is_empty() && given.is_empty() {
        return Ok(Vec::new());
    }
    match element_type(list, given)? {
        GO_MAP => merge_objects(list, given, field),
        _ if intent == Intent::Delete => delete_scalars(list, given),
        _ => merge_scalars(list, given, field.merge_key),
    }
}

/// The Go type that all elements of two lists have.
///
/// # Errors
/// There is no element, or there is no such type, or it is that of a list.
pub(super) fn element_type(old: &[Value], given: &[Value]) -> Result<&'static str, Refused> {
    let mut types = old.iter().chain(given).map(go_type);
    let Some(first) = types.next() else {
        return Err(unclassified("no elements in any of the given slices"));
    };
    if first == GO_LIST {
        return Err(list_of_lists());
    }
    if first.is_empty() || types.any(|other| other != first) {
        let (old, given) = (printed_list(old), printed_list(given));
        let message = format!("list element types are not identical: [{old} {given}]");
        return Err(unclassified(message));
    }
    Ok(first)
}

fn delete_scalars(list: &mut Vec<Value>, given: &[Value]) -> Result<Vec<Key>, Refused> {
    let deleted: BTreeSet<Key> = keys(given, "")?.into_iter().collect();
    let live = keys(list, "")?;
    let mut stays = live.iter().map(|key| !deleted.contains(key));
    list.retain(|_| stays.next().unwrap_or(true));
    Ok(live)
}

fn merge_scalars(
    list: &mut Vec<Value>,
    given: &[Value],
    merge_key: &str,
) -> Result<Vec<Key>, Refused> {
    let live = keys(list, merge_key)?;
    let wanted = keys(given, merge_key)?;
    let all = list.drain(..).chain(given.iter().cloned());
    let all = live.iter().chain(&wanted).cloned().zip(all);
    let mut seen = BTreeSet::new();
    let once = all.filter(|(key, _)| seen.insert(key.clone())).collect();
    *list = arrange(once, &wanted, &live);
    Ok(live)
}

/// What the elements of a patch's list say.
#[derive(Default)]
struct Given<'p> {
    elements: Vec<&'p Map>,
    deleted: BTreeSet<Key>,
    /// The elements replace the list.
    replaces: bool,
}

impl<'p> Given<'p> {
    fn read(list: &'p [Value], merge_key: &str) -> Result<Self, Refused> {
        let mut given = Self::default();
        for element in list.iter().filter_map(Value::as_object) {
            let Some(directive) = element.get(DIRECTIVE) else {
                given.elements.push(element);
                continue;
            };
            match directive.as_str() {
                Some("delete") => drop(given.deleted.insert(Key::of_element(element, merge_key)?)),
                Some("replace") => given.replaces = true,
                Some("merge") => {
                    return Err(unclassified("merging lists cannot yet be specified in the patch"));
                }
                _ => return Err(unknown_directive(directive, element)),
            }
        }
        Ok(given)
    }

    fn deletes(&self, element: &Value, merge_key: &str) -> bool {
        !self.deleted.is_empty()
            && Key::of(element, merge_key).is_ok_and(|key| self.deleted.contains(&key))
    }
}

/// A list and the elements of a patch, matched by their keys.
struct Matched<'p> {
    /// The elements that stay, then those that are added.
    elements: Vec<(Key, Value)>,
    /// Which element is to be merged with what, in the order of the patch.
    changes: Vec<(usize, &'p Map)>,
    /// Order of the elements that the patch names.
    wanted: Vec<Key>,
    /// Order of the elements that stay.
    live: Vec<Key>,
    /// How many elements do not stay.
    deleted: usize,
}

fn merge_objects(
    list: &mut Vec<Value>,
    given: &[Value],
    field: &Field<'_>,
) -> Result<Vec<Key>, Refused> {
    let mut matched = Matched::new(list, given, field)?;
    for (at, change) in &matched.changes {
        let element = matched.elements[*at].1.make_object();
        map::merge(element, change, field.shape)?;
        if !element.contains_key(field.merge_key) {
            return Err(no_merge_key(element, field.merge_key));
        }
    }
    Ok(matched.finish(list))
}

impl<'p> Matched<'p> {
    /// Takes the list.
    fn new(list: &mut Vec<Value>, given: &'p [Value], field: &Field<'_>) -> Result<Self, Refused> {
        let merge_key = field.merge_key;
        if merge_key.is_empty() {
            let kind = field.shape.kind();
            let message = format!("cannot merge lists without merge key for {kind}");
            return Err(unclassified(message));
        }
        let given = Given::read(given, merge_key)?;
        let before = list.len();
        list.retain(|element| !given.deletes(element, merge_key));
        let deleted = before - list.len();
        let wanted = given.elements.iter().map(|element| Key::of_element(element, merge_key));
        let wanted = wanted.collect::<Result<Vec<_>, _>>()?;
        if given.replaces {
            return Ok(Self::replaced(std::mem::take(list), &given, wanted, merge_key));
        }
        let live = keys(list, merge_key)?;
        let elements = live.iter().cloned().zip(list.drain(..)).collect();
        let changes = Vec::with_capacity(wanted.len());
        let mut matched = Self { elements, changes, wanted, live, deleted };
        matched.place(&given.elements);
        Ok(matched)
    }

    fn replaced(old: Vec<Value>, given: &Given<'p>, order: Vec<Key>, merge_key: &str) -> Self {
        let elements = given.elements.iter().map(|&element| Value::Object(element.clone()));
        Self {
            elements: order.iter().cloned().zip(elements).collect(),
            changes: Vec::new(),
            wanted: order,
            live: old.iter().filter_map(|element| Key::of(element, merge_key).ok()).collect(),
            deleted: 0,
        }
    }

    /// Finds for each given element the first of its key, or adds it.
    fn place(&mut self, given: &[&'p Map]) {
        let mut places = BTreeMap::new();
        for (at, key) in self.live.iter().enumerate() {
            places.entry(key).or_insert(at);
        }
        for (key, &element) in self.wanted.iter().zip(given) {
            if let Some(&at) = places.get(key) {
                self.changes.push((at, element));
            } else {
                places.insert(key, self.elements.len());
                self.elements.push((key.clone(), Value::Object(element.clone())));
            }
        }
    }

    /// Puts the elements in order, and says what the order was.
    fn finish(self, list: &mut Vec<Value>) -> Vec<Key> {
        let Self { elements, wanted, mut live, deleted, .. } = self;
        let added = elements.iter().skip(live.len()).map(|(key, _)| key.clone());
        // Kubernetes closes gaps in place: what is added stands where a gap was.
        let filling: Vec<Key> = added.take(deleted).collect();
        *list = arrange(elements, &wanted, &live);
        live.extend(filling);
        live
    }
}
