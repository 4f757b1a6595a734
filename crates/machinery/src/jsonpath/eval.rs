//! Steps over values.

use std::cmp::Ordering;

use super::{Comparison, Filter, Operand, Slice, Step};
use crate::json::Value;

/// Where the steps lead; none if one of them makes no sense.
pub(super) fn walk<'a>(steps: &[Step], mut values: Vec<&'a Value>) -> Option<Vec<&'a Value>> {
    for step in steps {
        let mut next = Vec::new();
        for value in values.into_iter().filter(|value| !value.is_null()) {
            take(step, value, &mut next)?;
        }
        values = next;
    }
    Some(values)
}

fn take<'a>(step: &Step, value: &'a Value, next: &mut Vec<&'a Value>) -> Option<()> {
    match (step, value) {
        (Step::Field(name), value) => next.extend(value.get(name)),
        (Step::Wildcard, Value::Array(elements)) => next.extend(elements),
        (Step::Wildcard, Value::Object(map)) => next.extend(map.iter().map(|(_, value)| value)),
        (Step::Wildcard, _) => {}
        (Step::Slice(slice), Value::Array(elements)) => next.extend(slice.of(elements)?),
        (Step::Filter(filter), Value::Array(elements)) => {
            for element in elements {
                if filter.accepts(element)? {
                    next.push(element);
                }
            }
        }
        (Step::Slice(_) | Step::Filter(_), _) => return None,
    }
    Some(())
}

impl Slice {
    fn of<'a>(&self, elements: &'a [Value]) -> Option<impl Iterator<Item = &'a Value>> {
        let length = i64::try_from(elements.len()).ok()?;
        let from_end = |at: i64| {
            if at < 0 { at.saturating_add(length) } else { at }
        };
        let start = from_end(self.start.unwrap_or(0));
        let end =
            if self.single { start.saturating_add(1) } else { self.end.map_or(length, from_end) };
        let step = usize::try_from(self.step.unwrap_or(1)).ok().filter(|step| *step > 0)?;
        let range = match (usize::try_from(start), usize::try_from(end)) {
            _ if start == end => 0..0,
            (Ok(start), Ok(end)) if start < elements.len() => start..end,
            _ => return None,
        };
        Some(elements.get(range)?.iter().step_by(step))
    }
}

impl Filter {
    fn accepts(&self, element: &Value) -> Option<bool> {
        let left = walk(&self.left, vec![element]);
        let Some((comparison, right)) = &self.test else {
            return Some(left.is_some_and(|found| !found.is_empty()));
        };
        let right = match right {
            Operand::Literal(value) => vec![value],
            Operand::Path(steps) => walk(steps, vec![element])?,
        };
        match (left?.as_slice(), right.as_slice()) {
            ([left], [right]) => comparison.holds(left, right),
            ([], _) | (_, []) => Some(false),
            _ => None,
        }
    }
}

impl Comparison {
    /// None for values that do not compare.
    fn holds(self, left: &Value, right: &Value) -> Option<bool> {
        let ordering = match (left, right) {
            (Value::String(left), Value::String(right)) => left.cmp(right),
            (Value::Number(left), Value::Number(right)) => left.compare(right),
            (Value::Bool(left), Value::Bool(right)) => match self {
                Self::Equal => return Some(left == right),
                Self::NotEqual => return Some(left != right),
                _ => return None,
            },
            _ => return None,
        };
        Some(match self {
            Self::Equal => ordering == Ordering::Equal,
            Self::NotEqual => ordering != Ordering::Equal,
            Self::Less => ordering == Ordering::Less,
            Self::LessOrEqual => ordering != Ordering::Greater,
            Self::Greater => ordering == Ordering::Greater,
            Self::GreaterOrEqual => ordering != Ordering::Less,
        })
    }
}
