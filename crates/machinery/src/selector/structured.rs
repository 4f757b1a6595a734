//! Label selectors as they stand in objects: `matchLabels` and `matchExpressions`
//! (`meta/v1/validation`, `meta/v1/helpers.go`).

use super::{InvalidSelector, LabelSelector, Operator, Requirement};
use crate::field::{FieldError, MAX_ERRORS};
use crate::go_text::quoted;
use crate::json::{Map, Path, Segment, Value};
use crate::names::{label_value, qualified_name};
use crate::object_meta;

/// Makes a selector of an object that [`validate_structured`] found good.
///
/// # Errors
/// The object is not a valid selector.
pub fn from_structured(selector: &Map) -> Result<LabelSelector, InvalidSelector> {
    let mut requirements = Vec::new();
    for (key, value) in match_labels(selector) {
        let value = value.as_str().unwrap_or_default();
        requirements.push(Requirement::new(key, Operator::Equals, vec![value.into()])?);
    }
    for expression in expressions(selector) {
        let (key, written, values) = parts(expression);
        let Some(operator) = operator(written) else {
            let text = format!("{} is not a valid label selector operator", quoted(written));
            return Err(InvalidSelector(text));
        };
        let values = values.iter().map(|value| (*value).into()).collect();
        requirements.push(Requirement::new(key, operator, values)?);
    }
    Ok(LabelSelector::new(requirements))
}

/// What is wrong with a selector object at `path`. Types are the schema's matter.
#[must_use]
pub fn validate_structured(selector: &Map, path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(Value::Object(labels)) = selector.get("matchLabels") {
        errors.extend(object_meta::labels(labels, &path.field("matchLabels")));
    }
    let mut path = path.field("matchExpressions");
    for (at, expression) in expressions(selector).enumerate() {
        if errors.len() >= MAX_ERRORS {
            break;
        }
        path.push(Segment::Index(at));
        validate_expression(expression, &path, &mut errors);
        path.pop();
    }
    errors
}

fn validate_expression(expression: &Value, path: &Path, errors: &mut Vec<FieldError>) {
    let (key, written, values) = parts(expression);
    match (operator(written), values.is_empty()) {
        (Some(Operator::In | Operator::NotIn), true) => {
            let detail = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(FieldError::required(path.field("values"), detail));
        }
        (Some(Operator::Exists | Operator::DoesNotExist), false) => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(path.field("values"), detail));
        }
        (Some(_), _) => {}
        (None, _) => {
            let detail = "not a valid selector operator";
            errors.push(FieldError::invalid(path.field("operator"), written, detail));
        }
    }
    for text in qualified_name(key) {
        errors.push(FieldError::invalid(path.field("key"), key, text));
    }
    for (at, value) in values.into_iter().enumerate() {
        if errors.len() >= MAX_ERRORS {
            break;
        }
        for text in label_value(value) {
            errors.push(FieldError::invalid(path.field("values").index(at), value, text));
        }
    }
}

fn match_labels(selector: &Map) -> impl Iterator<Item = (&str, &Value)> {
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    labels.into_iter().flat_map(Map::iter)
}

fn expressions(selector: &Map) -> impl Iterator<Item = &Value> {
    let list = selector.get("matchExpressions").and_then(Value::as_array);
    list.unwrap_or_default().iter()
}

fn parts(expression: &Value) -> (&str, &str, Vec<&str>) {
    let text = |key| expression.str_at(&[key]).unwrap_or_default();
    let values = expression.array_at(&["values"]).iter().filter_map(Value::as_str);
    (text("key"), text("operator"), values.collect())
}

fn operator(written: &str) -> Option<Operator> {
    match written {
        "In" => Some(Operator::In),
        "NotIn" => Some(Operator::NotIn),
        "Exists" => Some(Operator::Exists),
        "DoesNotExist" => Some(Operator::DoesNotExist),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    fn map(json: &str) -> Map {
        parse(json.as_bytes()).unwrap().as_object().unwrap().clone()
    }

    #[test]
    fn both_forms_are_one_selector() {
        for (json, printed) in [
            ("{}", ""),
            (
                r#"{"matchLabels":{"z":"1","a":"2"},"matchExpressions":[{"key":"m","operator":"NotIn","values":["x","a"]},{"key":"q","operator":"DoesNotExist"}]}"#,
                "a=2,m notin (a,x),!q,z=1",
            ),
        ] {
            let selector = map(json);
            assert_eq!(validate_structured(&selector, &Path::root()), []);
            assert_eq!(from_structured(&selector).unwrap().to_string(), printed);
        }
    }

    #[test]
    fn mistakes_name_their_place() {
        let selector = map(
            r#"{"matchExpressions":[{"key":"a","operator":"Foo"},{"key":"b","operator":"In"},{"key":"b","operator":"Exists","values":["x"]},{"key":"","operator":"NotIn","values":["-"]}]}"#,
        );
        let errors = validate_structured(&selector, &Path::of(&["spec", "selector"]));
        let told: Vec<_> = errors.iter().map(ToString::to_string).collect();
        let e = "spec.selector.matchExpressions";
        assert_eq!(
            told[..4],
            [
                format!("{e}[0].operator: Invalid value: \"Foo\": not a valid selector operator"),
                format!(
                    "{e}[1].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"
                ),
                format!(
                    "{e}[2].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                ),
                format!("{e}[3].key: Invalid value: \"\": name part must be non-empty"),
            ]
        );
        assert!(
            told[5].starts_with(&format!("{e}[3].values[0]: Invalid value: \"-\": a valid label"))
        );
        assert_eq!(
            from_structured(&selector).unwrap_err().to_string(),
            "\"Foo\" is not a valid label selector operator"
        );
    }
}
