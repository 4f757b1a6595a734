//! Label selectors: what they mean.

use std::fmt;

use super::InvalidSelector;
use crate::field::{FieldError, aggregate};
use crate::json::{Path, Value};
use crate::names::{label_value, qualified_name};

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The label is there and has one of the values.
    In,
    /// The label is absent or has none of the values.
    NotIn,
    /// The label is there and has the value, written `=`.
    Equals,
    /// The same, written `==`.
    DoubleEquals,
    /// The label is absent or has another value.
    NotEquals,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The label is an integer above the value.
    GreaterThan,
    /// The label is an integer below the value.
    LessThan,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    key: Box<str>,
    operator: Operator,
    /// Sorted, distinct.
    values: Box<[Box<str>]>,
}

/// Conditions that must all hold; none: everything matches. Sorted by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Box<[Requirement]>,
}

impl Requirement {
    /// Checks and makes a requirement.
    ///
    /// # Errors
    /// The key or a value is not one that a label can have, or the number of values does not fit
    /// the operator.
    pub fn new(
        key: &str,
        operator: Operator,
        mut values: Vec<Box<str>>,
    ) -> Result<Self, InvalidSelector> {
        values.sort();
        values.dedup();
        let path = Path::of(&["values"]);
        let mut errors: Vec<_> = invalid_key(key, Path::of(&["key"])).into_iter().collect();
        if let Some(detail) = operator.wrong_count(values.len()) {
            let shown: Value = values.iter().map(|value| &**value).collect();
            errors.push(FieldError::invalid(path.clone(), shown, detail));
        }
        if matches!(operator, Operator::GreaterThan | Operator::LessThan) {
            for (at, value) in values.iter().enumerate() {
                if value.parse::<i64>().is_err() {
                    let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
                    errors.push(FieldError::invalid(path.index(at), &**value, detail));
                }
            }
        }
        for (at, value) in values.iter().enumerate() {
            let wrong = label_value(value);
            if !wrong.is_empty() {
                let at = path.index(at).key(key);
                errors.push(FieldError::invalid(at, &**value, wrong.join("; ")));
            }
        }
        if errors.is_empty() {
            let values = values.into();
            Ok(Self { key: key.into(), operator, values })
        } else {
            Err(InvalidSelector(aggregate(&errors)))
        }
    }

    /// The label's key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How the label is compared.
    #[must_use]
    pub const fn operator(&self) -> Operator {
        self.operator
    }

    /// What it is compared with: sorted, distinct.
    #[must_use]
    pub fn values(&self) -> &[Box<str>] {
        &self.values
    }

    /// Whether a label's value, absent as `None`, satisfies this.
    #[must_use]
    pub fn accepts(&self, label: Option<&str>) -> bool {
        let named = |label: &str| self.values.iter().any(|value| **value == *label);
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => label.is_some_and(named),
            Operator::NotIn | Operator::NotEquals => !label.is_some_and(named),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::GreaterThan => self.compare(label, |label, value| label > value),
            Operator::LessThan => self.compare(label, |label, value| label < value),
        }
    }

    fn compare(&self, label: Option<&str>, holds: impl Fn(i64, i64) -> bool) -> bool {
        let label = label.and_then(|label| label.parse().ok());
        let value = self.values.first().and_then(|value| value.parse().ok());
        label.zip(value).is_some_and(|(label, value)| holds(label, value))
    }
}

impl Operator {
    const fn wrong_count(self, values: usize) -> Option<&'static str> {
        match (self, values) {
            (Self::In | Self::NotIn, 0) => {
                Some("for 'in', 'notin' operators, values set can't be empty")
            }
            (Self::Equals | Self::DoubleEquals | Self::NotEquals, 0 | 2..) => {
                Some("exact-match compatibility requires one single value")
            }
            (Self::Exists | Self::DoesNotExist, 1..) => {
                Some("values set must be empty for exists and does not exist")
            }
            (Self::GreaterThan | Self::LessThan, 0 | 2..) => {
                Some("for 'Gt', 'Lt' operators, exactly one value is required")
            }
            _ => None,
        }
    }
}

/// What is wrong with a key, if anything.
pub(super) fn invalid_key(key: &str, path: Path) -> Option<FieldError> {
    let wrong = qualified_name(key);
    (!wrong.is_empty()).then(|| FieldError::invalid(path, key, wrong.join("; ")))
}

impl LabelSelector {
    /// Parses the text form, as it comes in `?labelSelector=`.
    ///
    /// # Errors
    /// The text does not follow the grammar, or a requirement is not valid.
    pub fn parse(text: &str) -> Result<Self, InvalidSelector> {
        super::parse::parse(text).map(Self::new)
    }

    /// The conjunction of requirements.
    #[must_use]
    pub fn new(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements: requirements.into() }
    }

    /// Whether every object matches.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The conditions, sorted by key.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether labels, sorted by key, satisfy every requirement.
    #[must_use]
    pub fn matches(&self, labels: &[(Box<str>, Box<str>)]) -> bool {
        self.requirements.iter().all(|requirement| {
            let at = labels.binary_search_by(|(key, _)| key.cmp(&requirement.key));
            requirement.accepts(at.ok().map(|at| &*labels[at].1))
        })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values.join(",");
        let key = &self.key;
        match self.operator {
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, requirement) in self.requirements.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}
