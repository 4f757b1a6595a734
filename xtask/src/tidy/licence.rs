//! SPDX licence expressions (SPDX specification 2.3, annex D), as manifests have them.

use std::iter::Peekable;
use std::vec::IntoIter;

/// Whether an expression can be satisfied with licences that are accepted.
///
/// An empty expression, or one that cannot be read, cannot. `/` stands for `OR`, as it did before
/// cargo had expressions.
pub(crate) fn satisfied(expression: &str, accepted: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut words = words.into_iter().peekable();
    any(&mut words, accepted) == Some(true) && words.next().is_none()
}

type Words<'a> = Peekable<IntoIter<&'a str>>;

/// `all OR all …`; none where it cannot be read.
fn any(words: &mut Words<'_>, accepted: &dyn Fn(&str) -> bool) -> Option<bool> {
    let mut result = all(words, accepted)?;
    while words.next_if_eq(&"OR").is_some() {
        result |= all(words, accepted)?;
    }
    Some(result)
}

/// `one AND one …`
fn all(words: &mut Words<'_>, accepted: &dyn Fn(&str) -> bool) -> Option<bool> {
    let mut result = one(words, accepted)?;
    while words.next_if_eq(&"AND").is_some() {
        result &= one(words, accepted)?;
    }
    Some(result)
}

/// `( any )`, `licence` or `licence WITH exception`.
fn one(words: &mut Words<'_>, accepted: &dyn Fn(&str) -> bool) -> Option<bool> {
    match words.next()? {
        "(" => {
            let result = any(words, accepted)?;
            words.next_if_eq(&")").map(|_| result)
        }
        "OR" | "AND" | "WITH" | ")" => None,
        licence if words.next_if_eq(&"WITH").is_some() => {
            let exception = words.next()?;
            Some(accepted(&format!("{licence} WITH {exception}")))
        }
        // `+` is "or a later version": the one that is named will do.
        licence => Some(accepted(licence.strip_suffix('+').unwrap_or(licence))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_expressions() {
        let accepted = |licence: &str| ["MIT", "ISC", "A WITH e"].contains(&licence);
        for (expression, wanted) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0/MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("MIT AND (GPL-3.0 OR ISC)", true),
            ("GPL-3.0 OR MIT AND ISC", true),
            ("ISC+", true),
            ("A", false),
            ("A WITH e", true),
            ("A WITH f OR A", false),
            ("", false),
            ("MIT OR", false),
            ("(MIT", false),
            ("MIT ISC", false),
        ] {
            assert_eq!(satisfied(expression, &accepted), wanted, "{expression}");
        }
    }
}
