//! `allOf`, `anyOf`, `oneOf`, `not`.

use super::walk::{Outcome, Walker};
use crate::field::FieldError;
use crate::go_text::quoted;
use crate::json::Value;
use crate::schema::Junctors;

/// Checks a value against the junctors of a node. What branches say is not let pass because it
/// did not change: another branch might have been meant.
pub(super) fn check(walker: &mut Walker<'_>, value: &Value, junctors: &Junctors) -> Outcome {
    let mut outcome = Outcome::default();
    let check = |walker: &mut Walker<'_>, schema| walker.check(value, schema, None);
    if !junctors.any_of.is_empty() {
        let mut best = Best::default();
        for schema in &junctors.any_of {
            best.take(check(walker, schema));
            if best.valid > 0 {
                break;
            }
        }
        if best.valid == 0 {
            refuse(walker, "must validate at least one schema (anyOf)", &mut outcome);
        }
        best.tell(&mut outcome);
    }
    if !junctors.one_of.is_empty() {
        let mut best = Best::default();
        for schema in &junctors.one_of {
            best.take(check(walker, schema));
        }
        match best.valid {
            1 => best.tell(&mut outcome),
            0 => {
                let text = "must validate one and only one schema (oneOf). Found none valid";
                refuse(walker, text, &mut outcome);
                best.tell(&mut outcome);
            }
            several => {
                let text = format!(
                    "must validate one and only one schema (oneOf). Found {several} valid alternatives"
                );
                refuse(walker, &text, &mut outcome);
            }
        }
    }
    if !junctors.all_of.is_empty() {
        let mut valid = 0;
        for schema in &junctors.all_of {
            let found = check(walker, schema);
            valid += usize::from(found.is_valid());
            outcome.merge(found);
        }
        if valid == 0 {
            refuse(walker, "must validate all the schemas (allOf). None validated", &mut outcome);
        } else if valid < junctors.all_of.len() {
            refuse(walker, "must validate all the schemas (allOf)", &mut outcome);
        }
    }
    if let Some(not) = &junctors.not
        && check(walker, not).is_valid()
    {
        refuse(walker, "must not validate the schema (not)", &mut outcome);
    }
    outcome
}

fn refuse(walker: &Walker<'_>, text: &str, outcome: &mut Outcome) {
    let text = format!("{} {text}", quoted(&walker.named()));
    outcome.add(FieldError::invalid(walker.at_base(), "", text));
}

/// The first branch that fits, or else the one that came nearest.
#[derive(Default)]
struct Best {
    valid: usize,
    outcome: Option<Outcome>,
}

impl Best {
    fn take(&mut self, found: Outcome) {
        let better = match &self.outcome {
            None => true,
            Some(best) if found.is_valid() => !best.is_valid(),
            Some(best) => self.valid == 0 && found.matches > best.matches,
        };
        self.valid += usize::from(found.is_valid());
        if better {
            self.outcome = Some(found);
        }
    }

    fn tell(self, outcome: &mut Outcome) {
        if let Some(found) = self.outcome {
            outcome.merge(found);
        }
    }
}
