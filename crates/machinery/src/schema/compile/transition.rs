//! `x-kubernetes-validations`. One rule is understood: `self == oldSelf`, the value may be set
//! once and not changed. Accepting another would promise a check that nobody makes.

use super::props::{Additional, Props};
use crate::field::{FieldError, MAX_ERRORS};
use crate::json::{Path, Segment, Value};
use crate::schema::Rule;

const REASONS: [&str; 4] =
    ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// Whether the rules of a node are well formed.
pub(super) fn check(props: &Props<'_>, path: &Path, errors: &mut Vec<FieldError>) {
    for (at, rule) in props.rules.iter().enumerate() {
        if errors.len() >= MAX_ERRORS {
            return;
        }
        let text = |key| rule.str_at(&[key]).unwrap_or_default();
        let at = |key| path.index(at).field(key);
        let (body, message) = (text("rule").trim(), text("message"));
        if body.is_empty() {
            errors.push(FieldError::required(at("rule"), "rule is not specified"));
        } else if !message.is_empty() && message.trim().is_empty() {
            let detail = "must be non-empty if specified";
            errors.push(FieldError::invalid(at("message"), message, detail));
        } else if has_newline(message.trim()) {
            let detail = "must not contain line breaks";
            errors.push(FieldError::invalid(at("message"), message, detail));
        } else if has_newline(body) && message.is_empty() {
            let detail = "message must be specified if rule contains line breaks";
            errors.push(FieldError::required(at("message"), detail));
        }
        if let Some(reason) = rule.str_at(&["reason"]).filter(|it| !REASONS.contains(it)) {
            let supported = REASONS.map(String::from).to_vec();
            errors.push(FieldError::not_supported(at("reason"), reason, supported));
        }
        let field_path = text("fieldPath");
        if !field_path.is_empty() && blamed(props, field_path).is_none() {
            let detail = "must be a valid path";
            errors.push(FieldError::invalid(at("fieldPath"), field_path, detail));
        }
    }
}

/// Whether the rules of a node are ones that this release evaluates. `within` is the node above
/// that keeps old and new values from being matched.
pub(super) fn check_rules(
    props: &Props<'_>,
    path: &Path,
    within: Option<&Path>,
    errors: &mut Vec<FieldError>,
) {
    for (at, rule) in props.rules.iter().enumerate() {
        if errors.len() >= MAX_ERRORS {
            return;
        }
        let at = |key| path.index(at).field(key);
        let body = rule.str_at(&["rule"]).unwrap_or_default();
        if body.trim().is_empty() {
            continue;
        }
        let bare: String = body.chars().filter(|c| !c.is_whitespace()).collect();
        if bare != "self==oldSelf" {
            let detail = "only the rule \"self == oldSelf\" is supported by this release";
            errors.push(FieldError::invalid(at("rule"), body, detail));
        } else if let Some(within) = within {
            let detail = format!(
                "oldSelf cannot be used on the uncorrelatable portion of the schema within {within}"
            );
            errors.push(FieldError::invalid(at("rule"), body, detail));
        }
        for key in ["messageExpression", "optionalOldSelf"] {
            let unset = [Value::Null, Value::Bool(false)];
            if rule.get(key).is_some_and(|value| !unset.contains(value)) {
                errors.push(FieldError::forbidden(at(key), "not supported by this release"));
            }
        }
    }
}

/// The rules of a node that [`check`] and [`check_rules`] found good.
pub(super) fn build(props: &Props<'_>) -> Vec<Rule> {
    let rule = |rule: &Value| {
        let text = |key| Box::from(rule.str_at(&[key]).unwrap_or_default());
        let field_path: Box<str> = text("fieldPath");
        Rule {
            rule: text("rule"),
            message: text("message"),
            reason: text("reason"),
            blame: blamed(props, &field_path).unwrap_or_default(),
            field_path,
        }
    };
    props.rules.iter().map(rule).collect()
}

fn has_newline(text: &str) -> bool {
    text.contains(['\n', '\r'])
}

/// The path that a `fieldPath` means: `.name`, `['name']` or `['key of a map']`, each below the
/// one before.
fn blamed(props: &Props<'_>, field_path: &str) -> Option<Path> {
    let mut path = Path::root();
    let mut node = props;
    let mut rest = field_path;
    while !rest.is_empty() {
        let name: String;
        (name, rest) = step(rest)?;
        if node.properties.is_empty() {
            path.push(Segment::Key(name.into()));
            node = match &node.additional {
                Some(Additional::Schema(schema)) => schema,
                Some(Additional::Allowed(true)) if rest.is_empty() => return Some(path),
                _ => return None,
            };
        } else {
            node = node.property(&name)?;
            path.push(Segment::Field(name.into()));
        }
    }
    Some(path)
}

/// Takes one accessor off a path.
fn step(path: &str) -> Option<(String, &str)> {
    if let Some(rest) = path.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let bad = rest[..end].is_empty() || rest[..end].contains(['\n', '\r']);
        return (!bad).then(|| (rest[..end].to_owned(), &rest[end..]));
    }
    let quoted = path.strip_prefix("['")?;
    let mut name = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Some((name, quoted[at + 1..].strip_prefix(']')?)),
            '\\' => name.push(match chars.next()?.1 {
                'a' => '\u{7}',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                c @ ('\'' | '\\') => c,
                _ => return None,
            }),
            c => name.push(c),
        }
    }
    None
}
