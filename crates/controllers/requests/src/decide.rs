//! Whether a request runs: the policy first, then what it brings.

use std::sync::Arc;

use strait_machinery::json::{Path, Value};
use strait_machinery::schema::{prune, validate};
use strait_reconcile::ObjectKey;

use crate::config::{Class, Mapping};
use crate::execution::{Failure, FailureClass};
use crate::observed::Asked;
use crate::policy::{Decision, Facts, Policy, Workspace};

/// Largest parameters, as JSON.
pub(crate) const PARAMS_BYTES_MAX: usize = 256 << 10;

/// Mistakes that are named to the tenant.
const NAMED_MAX: usize = 10;

/// What is decided.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It runs, by this rule.
    Run(Arc<str>),
    /// It does not. The rule is for the audit log, the failure for the tenant.
    Reject { rule: Arc<str>, failure: Failure },
    /// The workspace's path decides.
    NeedsPath,
}

/// Decides about one request.
pub(crate) fn decide(
    policy: &Policy,
    mapping: &Mapping,
    key: &ObjectKey,
    asked: &Asked,
    workspace: Workspace<'_>,
) -> Verdict {
    let facts = Facts {
        cluster: &key.cluster,
        namespace: key.namespace.as_deref(),
        user: asked.user.as_deref(),
        class: &mapping.class.name,
        params: &asked.params,
    };
    match policy.decide(&facts, workspace) {
        Decision::NeedsPath => Verdict::NeedsPath,
        Decision::Deny(rule) => Verdict::Reject {
            rule: rule.unwrap_or_else(|| "".into()),
            // No word of the policy.
            failure: Failure::new(FailureClass::Policy, "Rejected", "the request is not allowed"),
        },
        Decision::Allow(rule) => match check(&mapping.class, &asked.params) {
            Ok(()) => Verdict::Run(rule),
            Err(message) => {
                let failure = Failure::new(FailureClass::User, "InvalidParams", message);
                Verdict::Reject { rule, failure }
            }
        },
    }
}

/// Checks parameters against the class's schema, which is no secret to who may use the class.
fn check(class: &Class, params: &Value) -> Result<(), String> {
    if params.to_bytes().len() > PARAMS_BYTES_MAX {
        return Err(format!("the parameters are larger than {PARAMS_BYTES_MAX} bytes"));
    }
    let Some(schema) = &class.params else {
        return Ok(());
    };
    let unknown = prune::prune(&mut params.clone(), schema);
    let unknown = unknown.iter().map(|field| format!("unknown field \"{field}\""));
    let invalid = validate::validate(params, schema, &Path::root());
    let mistakes: Vec<_> = unknown.chain(invalid.iter().map(ToString::to_string)).collect();
    if mistakes.is_empty() {
        return Ok(());
    }
    let named = mistakes.len().min(NAMED_MAX);
    Err(mistakes[..named].join("; "))
}

#[cfg(test)]
mod tests {
    use strait_machinery::json::parse;

    use super::*;
    use crate::testing::class;

    #[test]
    fn parameters_are_checked_whole() {
        let schema = parse(
            br#"{"type":"object","required":["digest"],"properties":{
                "digest":{"type":"string","pattern":"^sha256:"},
                "keyName":{"type":"string","enum":["dev","release"]}}}"#,
        )
        .unwrap();
        let mut class = class();
        class.params = Some(crate::config::compile_params(&schema).unwrap());
        let check = |text: &str| check(&class, &parse(text.as_bytes()).unwrap());
        assert_eq!(check(r#"{"digest":"sha256:0","keyName":"dev"}"#), Ok(()));
        let error = check(r#"{"keyName":"prod","digets":"x"}"#).unwrap_err();
        assert!(error.starts_with("unknown field \"digets\"; "), "{error}");
        assert!(error.contains("digest: Required value"), "{error}");
        assert!(error.contains("keyName: Unsupported value: \"prod\""), "{error}");
        let long = format!(r#"{{"digest":"sha256:{}"}}"#, "0".repeat(PARAMS_BYTES_MAX));
        assert!(check(&long).unwrap_err().starts_with("the parameters are larger"));
    }
}
