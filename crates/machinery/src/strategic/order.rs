//! Which element of a list is which, and in what order they stand.

use std::collections::BTreeMap;

use super::list::{self, element_type};
use super::map::{Intent, Nulls, taken_elements, target};
use super::shape::Shape;
use super::text::{GO_LIST, GO_MAP, printed, printed_list};
use super::{DIRECTIVE, Refused, SET_ORDER, malformed, no_merge_key, unclassified, wrong_type};
use crate::json::{Map, Value};
use crate::status::Status;

/// What tells an element of a list apart: the scalar itself, or that at the merge key. Equal
/// where Go's values are: `1` and `1.0` differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Null,
    Bool(bool),
    Integer(i64),
    /// The bits of a double.
    Float(u64),
    Text(Box<str>),
}

impl Key {
    /// The key of an element; with an empty merge key the element is the key.
    ///
    /// # Errors
    /// It has none, or none that can be compared.
    pub(super) fn of(element: &Value, merge_key: &str) -> Result<Self, Refused> {
        match element {
            _ if merge_key.is_empty() => Self::scalar(element).ok_or_else(|| malformed(SET_ORDER)),
            Value::Object(map) => Self::of_element(map, merge_key),
            other => Err(wrong_type(GO_MAP, other)),
        }
    }

    /// The key of an element that is an object.
    ///
    /// # Errors
    /// As [`Key::of`].
    pub(super) fn of_element(element: &Map, merge_key: &str) -> Result<Self, Refused> {
        let value = element.get(merge_key).ok_or_else(|| no_merge_key(element, merge_key))?;
        Self::scalar(value).ok_or_else(|| {
            let value = printed(value);
            let message = format!("merge key {merge_key} is not a scalar: {value}");
            Box::new(Status::bad_request(message))
        })
    }

    fn scalar(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => match number.as_i64() {
                Some(integer) => Self::Integer(integer),
                // Adding zero makes one of the two zeros.
                None => Self::Float((number.as_f64() + 0.0).to_bits()),
            },
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(_) | Value::Object(_) => return None,
        })
    }
}

/// The keys of all elements.
pub(super) fn keys(elements: &[Value], merge_key: &str) -> Result<Vec<Key>, Refused> {
    elements.iter().map(|element| Key::of(element, merge_key)).collect()
}

/// Where each key stands first.
fn places(keys: &[Key]) -> BTreeMap<&Key, usize> {
    let mut places = BTreeMap::new();
    for (at, key) in keys.iter().enumerate() {
        places.entry(key).or_insert(at);
    }
    places
}

/// Puts elements in order: the wanted ones as wanted, the others as they stood in the live list
/// and each of them, as far as that allows, in front of the wanted ones that it stood in front
/// of there.
pub(super) fn arrange(elements: Vec<(Key, Value)>, wanted: &[Key], live: &[Key]) -> Vec<Value> {
    let (wanted, live) = (places(wanted), places(live));
    let mut arranged = Vec::with_capacity(elements.len());
    let (mut named, mut others): (Vec<_>, Vec<_>) =
        elements.into_iter().partition(|(key, _)| wanted.contains_key(key));
    named.sort_by_key(|(key, _)| wanted.get(key));
    others.sort_by_key(|(key, _)| live.get(key).copied().unwrap_or(usize::MAX));
    let mut others = others.into_iter().peekable();
    for (key, value) in named {
        let stood_before = |(other, _): &(Key, Value)| match (live.get(other), live.get(&key)) {
            (Some(other), Some(this)) => other < this,
            _ => false,
        };
        while let Some((_, other)) = others.next_if(stood_before) {
            arranged.push(other);
        }
        arranged.push(value);
    }
    arranged.extend(others.map(|(_, value)| value));
    arranged
}

/// A `$setElementOrder` of a patch.
pub(super) struct Order<'p> {
    /// The list.
    pub(super) name: &'p str,
    wanted: &'p [Value],
    /// What the patch has for the list.
    given: Option<&'p [Value]>,
}

/// Every `$setElementOrder` of a patch.
pub(super) fn read(patch: &Map) -> Result<Vec<Order<'_>>, Refused> {
    let directives = patch.iter().filter(|(name, _)| name.starts_with(SET_ORDER));
    let order = |(directive, wanted)| {
        let wanted = list_in(wanted)?;
        let name = target(directive, SET_ORDER)?;
        let given = patch.get(name).map(list_in).transpose()?;
        Ok(Order { name, wanted, given })
    };
    directives.map(order).collect()
}

fn list_in(value: &Value) -> Result<&[Value], Refused> {
    value.as_array().ok_or_else(|| wrong_type(GO_LIST, value))
}

/// Merges a list and puts it in order.
pub(super) fn apply(object: &mut Map, order: &Order<'_>, shape: Shape<'_>) -> Result<(), Refused> {
    let name = order.name;
    let old = object.get(name).map(list_in).transpose()?;
    let field = shape.list(name)?;
    check(old, order, field.merge_key)?;
    let live = match (object.get_mut(name), order.given) {
        (Some(Value::Array(list)), Some(given)) if field.merges() => {
            list::merge_elements(list, given, &field, Intent::Merge)?
        }
        (Some(Value::Array(list)), given) => {
            let live = keys(list, field.merge_key)?;
            if let Some(given) = given {
                *list = given.to_vec();
            }
            live
        }
        (_, Some(given)) => {
            object.insert(name, taken_elements(given, Nulls::Keep));
            Vec::new()
        }
        (_, None) => return Ok(()),
    };
    if let Some(Value::Array(list)) = object.get_mut(name) {
        let all = keys(list, field.merge_key)?;
        let elements = all.into_iter().zip(list.drain(..)).collect();
        *list = arrange(elements, &keys(order.wanted, field.merge_key)?, &live);
    }
    Ok(())
}

/// The elements of the list and those of the patch are of one type, and what the patch has fits
/// the wanted order.
fn check(old: Option<&[Value]>, order: &Order<'_>, merge_key: &str) -> Result<(), Refused> {
    let given = order.given.unwrap_or_default();
    check_order(given, order.wanted, merge_key)?;
    if old.is_some() || order.given.is_some() {
        element_type(old.unwrap_or_default(), given)?;
    }
    Ok(())
}

/// Every element of the patch's list that is no directive stands in the wanted order, and in
/// that order.
fn check_order(given: &[Value], wanted: &[Value], merge_key: &str) -> Result<(), Refused> {
    if wanted.is_empty() {
        return Ok(());
    }
    let mismatch = || {
        let (given, wanted) = (printed_list(given), printed_list(wanted));
        unclassified(format!(
            "The order in patch list:\n{given}\n doesn't match {SET_ORDER} list:\n{wanted}\n"
        ))
    };
    let mut rest = wanted.iter();
    for element in given {
        let directive = match element {
            Value::Object(map) => map.get(DIRECTIVE),
            other if !merge_key.is_empty() => return Err(wrong_type(GO_MAP, other)),
            _ => None,
        };
        if directive.and_then(Value::as_str) == Some("delete") {
            continue;
        }
        if rest.len() == 0 {
            return Err(mismatch());
        }
        if directive.is_some() {
            continue;
        }
        let key = Key::of(element, merge_key)?;
        loop {
            let next = rest.next().ok_or_else(mismatch)?;
            if Key::of(next, merge_key)? == key {
                break;
            }
        }
    }
    Ok(())
}
