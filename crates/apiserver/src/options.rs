//! Options of writes, out of query parameters and, for deletions, the body.

use bytes::Bytes;
use http::HeaderMap;
use strait_machinery::builtin::{self, unrecognized};
use strait_machinery::field::FieldError;
use strait_machinery::go_text::is_print;
use strait_machinery::json::{Path, Value};
use strait_machinery::status::Status;

use crate::decode;
use crate::negotiate::content_type;
use crate::query::Query;

/// What to do about fields that the server does not know
/// (`apimachinery/pkg/apis/meta/v1: FieldValidation`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them.
    Ignore,
    /// Drop them and warn.
    #[default]
    Warn,
    /// Refuse the write.
    Strict,
}

/// Options of a create, update or patch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Whether everything is done but the storing.
    pub dry_run: bool,
    /// What to do about unknown fields.
    pub field_validation: FieldValidation,
}

/// Options of a deletion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Whether everything is done but the deleting.
    pub dry_run: bool,
    /// The deletion is only meant for the object of this uid.
    pub uid: Option<String>,
    /// The deletion is only meant for the object at this revision.
    pub resource_version: Option<String>,
}

/// Longest field manager, characters (`apimachinery/pkg/apis/meta/v1/validation`).
const MANAGER_MAX: usize = 128;

impl WriteOptions {
    /// Reads the query of a write. `kind` is what errors name: `CreateOptions` and its like.
    ///
    /// # Errors
    /// 422 for values that are not supported.
    pub fn parse(query: &Query, kind: &str) -> Result<Self, Status> {
        let mut errors = Vec::new();
        if kind == "PatchOptions" && query.get("force").is_some() {
            let detail = "may not be specified for non-apply patch";
            errors.push(FieldError::forbidden(Path::of(&["force"]), detail));
        }
        if let Some(manager) = query.get("fieldManager") {
            check_manager(manager, &mut errors);
        }
        let dry_run = dry_run(query.all("dryRun"), &mut errors);
        let field_validation = match query.get("fieldValidation").unwrap_or_default() {
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            "Warn" | "" => FieldValidation::Warn,
            other => {
                let supported = ["", "Ignore", "Strict", "Warn"].map(str::to_owned).to_vec();
                let path = Path::of(&["fieldValidation"]);
                errors.push(FieldError::not_supported(path, other, supported));
                FieldValidation::Warn
            }
        };
        if errors.is_empty() {
            Ok(Self { dry_run, field_validation })
        } else {
            Err(Status::invalid("meta.k8s.io", kind, "", &errors))
        }
    }
}

impl DeleteOptions {
    /// Reads the options out of a request.
    ///
    /// # Errors
    /// As of [`parse`](Self::parse) and [`decode::object`], and 400 for a body of another kind.
    pub fn read(query: &Query, headers: &HeaderMap, body: &Bytes) -> Result<Self, Status> {
        if body.is_empty() {
            return Self::parse(query, None);
        }
        let decoded = decode::object(content_type(headers), body, "DeleteOptions")?;
        let kind = decoded.value.str_at(&["kind"]).unwrap_or_default();
        if !matches!(kind, "" | "DeleteOptions") {
            return Err(unrecognized("DeleteOptions", &format!("it is a {kind}"), body));
        }
        Self::parse(query, Some(decoded.value))
    }

    /// Reads the options of a deletion; a body wins over the query.
    ///
    /// # Errors
    /// 400 for values that are not of their type, 422 for those that are not supported.
    pub fn parse(query: &Query, body: Option<Value>) -> Result<Self, Status> {
        let mut errors = Vec::new();
        let mut options = Self::default();
        let policy = match body {
            Some(body) => {
                let message = builtin::message("meta.DeleteOptions").expect("the table has it");
                let decoded = message.decode(body);
                let body = decoded.map_err(|error| Status::bad_request(error.to_string()))?.object;
                let words = body.array_at(&["dryRun"]).iter().filter_map(Value::as_str);
                options.dry_run = dry_run(words, &mut errors);
                let precondition =
                    |key: &str| body.str_at(&["preconditions", key]).map(str::to_owned);
                options.uid = precondition("uid");
                options.resource_version = precondition("resourceVersion");
                let orphan = body.get("orphanDependents").and_then(Value::as_bool);
                (body.str_at(&["propagationPolicy"]).map(str::to_owned), orphan)
            }
            None => {
                options.dry_run = dry_run(query.all("dryRun"), &mut errors);
                // Everything deleted here ends at once; a number is all that can be asked for.
                query.integer("gracePeriodSeconds")?;
                let orphan = query.get("orphanDependents").map(|_| query.flag("orphanDependents"));
                (query.get("propagationPolicy").map(str::to_owned), orphan)
            }
        };
        check_policy(policy, &mut errors);
        if errors.is_empty() {
            Ok(options)
        } else {
            Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", &errors))
        }
    }
}

/// Nothing here follows owner references yet, so only the policy that needs no following while
/// the deletion waits can be promised.
fn check_policy(policy: (Option<String>, Option<bool>), errors: &mut Vec<FieldError>) {
    let path = Path::of(&["propagationPolicy"]);
    match policy {
        (Some(_), Some(_)) => {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            errors.push(FieldError::invalid(path, policy.0.unwrap_or_default(), detail));
        }
        (Some(policy), None) if policy != "Background" => {
            errors.push(FieldError::not_supported(path, policy, vec!["Background".to_owned()]));
        }
        (None, Some(true)) => {
            let detail = "is not served by this release";
            errors.push(FieldError::forbidden(Path::of(&["orphanDependents"]), detail));
        }
        _ => {}
    }
}

fn dry_run<'a>(words: impl Iterator<Item = &'a str>, errors: &mut Vec<FieldError>) -> bool {
    let words: Vec<&str> = words.collect();
    let all_known = words.iter().all(|word| *word == "All");
    if !all_known {
        let list: Value = words.iter().copied().collect();
        let supported = vec!["All".to_owned()];
        errors.push(FieldError::not_supported(Path::of(&["dryRun"]), list, supported));
    }
    !words.is_empty() && all_known
}

fn check_manager(manager: &str, errors: &mut Vec<FieldError>) {
    let path = || Path::of(&["fieldManager"]);
    if manager.len() > MANAGER_MAX {
        errors.push(FieldError::too_long(path(), MANAGER_MAX));
    }
    for (at, odd) in manager.char_indices().filter(|(_, c)| !is_print(*c)) {
        let detail = format!("invalid character U+{:04X} (at position {at})", u32::from(odd));
        errors.push(FieldError::invalid(path(), manager, detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strait_machinery::object;

    #[test]
    fn write_options_are_checked() {
        let parse = |query: &str| WriteOptions::parse(&Query::parse(query), "CreateOptions");
        assert_eq!(parse(""), Ok(WriteOptions::default()));
        assert!(parse("dryRun=All").unwrap().dry_run);
        assert_eq!(
            parse("fieldValidation=Strict").unwrap().field_validation,
            FieldValidation::Strict
        );
        for query in ["dryRun=x", "fieldValidation=x", &format!("fieldManager={}", "a".repeat(129))]
        {
            assert_eq!(parse(query).unwrap_err().code, 422, "{query}");
        }
        assert_eq!(
            WriteOptions::parse(&Query::parse("force=true"), "PatchOptions").unwrap_err().code,
            422
        );
    }

    #[test]
    fn delete_options_come_from_the_body_first() {
        let query = Query::parse("dryRun=All&propagationPolicy=Background");
        assert!(DeleteOptions::parse(&query, None).unwrap().dry_run);
        let body = object! {"preconditions": object!{"uid": "u"}};
        let options = DeleteOptions::parse(&query, Some(body)).unwrap();
        assert_eq!((options.dry_run, options.uid.as_deref()), (false, Some("u")));
    }

    #[test]
    fn delete_options_of_another_type_delete_nothing() {
        for body in [
            object! {"dryRun": "All"},
            object! {"preconditions": object!{"uid": 1}},
            object! {"propagationPolicy": true},
            Value::Array(Vec::new()),
        ] {
            let refused = DeleteOptions::parse(&Query::default(), Some(body)).unwrap_err();
            assert_eq!(refused.code, 400, "{refused}");
        }
        let query = Query::parse("gracePeriodSeconds=x");
        assert_eq!(DeleteOptions::parse(&query, None).unwrap_err().code, 400);
    }

    #[test]
    fn policies_that_are_not_served_are_refused() {
        for body in [
            object! {"propagationPolicy": "Foreground"},
            object! {"orphanDependents": true},
            object! {"orphanDependents": false, "propagationPolicy": "Background"},
        ] {
            assert_eq!(DeleteOptions::parse(&Query::default(), Some(body)).unwrap_err().code, 422);
        }
        let body = object! {"propagationPolicy": "Background"};
        assert!(DeleteOptions::parse(&Query::default(), Some(body)).is_ok());
    }
}
