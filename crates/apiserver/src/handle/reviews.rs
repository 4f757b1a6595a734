//! Kinds that are asked and answered, not stored: who may, and who am I.

use strait_auth::rbac::Rule;
use strait_auth::{Attributes, NonResource, ResourceRequest, User};
use strait_machinery::json::{Map, Value};
use strait_machinery::object;
use strait_machinery::status::Status;

use crate::options::WriteOptions;
use crate::registry::{Call, Incoming, Registry, Shown, Written};

impl Registry {
    /// Answers a review.
    ///
    /// # Errors
    /// The review is malformed.
    pub(crate) fn review(
        &self,
        call: &Call<'_>,
        incoming: Incoming,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let (mut review, warnings) = call.shape_review(incoming, options.field_validation)?;
        let spec = review.get("spec").cloned().unwrap_or_else(Value::object);
        let status = match call.resource.kind() {
            "SelfSubjectAccessReview" => decide(call, call.user, &spec),
            "SubjectAccessReview" => decide(call, &subject(&spec), &spec),
            "LocalSubjectAccessReview" => {
                let namespace = spec.str_at(&["resourceAttributes", "namespace"]);
                if namespace != call.namespace {
                    return Err(Status::bad_request(format!(
                        "spec.resourceAttributes.namespace must match namespace: {}",
                        call.namespace.unwrap_or_default()
                    )));
                }
                decide(call, &subject(&spec), &spec)
            }
            "SelfSubjectRulesReview" => {
                let namespace = spec.str_at(&["namespace"]).unwrap_or_default();
                if namespace.is_empty() {
                    return Err(Status::bad_request("no namespace on request"));
                }
                rules(&call.view.rules(call.user, namespace))
            }
            "SelfSubjectReview" => object! {"userInfo": user_info(call.user)},
            "TokenReview" if spec.str_at(&["token"]).unwrap_or_default().is_empty() => {
                return Err(Status::bad_request(
                    "token is required for TokenReview in authentication",
                ));
            }
            // Bearer tokens are not issued by this release, so none authenticates anybody.
            "TokenReview" => object! {"user": Value::object(), "error": "invalid bearer token"},
            _ => return Err(Status::method_not_allowed()),
        };
        review.set(&["status"], status);
        if call.resource.kind() == "SelfSubjectReview" {
            review.set(&["metadata", "creationTimestamp"], self.timestamp());
        }
        Ok(Written { object: Shown::Dry(review), created: true, warnings })
    }
}

/// Whom a review asks about. Groups and extras count inside this request's workspace only.
fn subject(spec: &Value) -> User {
    let groups = spec.array_at(&["groups"]).iter().filter_map(Value::as_str);
    User {
        name: spec.str_at(&["user"]).unwrap_or_default().into(),
        uid: spec.str_at(&["uid"]).unwrap_or_default().into(),
        groups: groups.map(Into::into).collect(),
        ..User::default()
    }
}

fn decide(call: &Call<'_>, user: &User, spec: &Value) -> Value {
    let text = |path: [&str; 2]| spec.str_at(&path).unwrap_or_default();
    let of_resource = |key: &'static str| text(["resourceAttributes", key]);
    let attributes = if spec.get("nonResourceAttributes").is_some_and(|value| !value.is_null()) {
        Attributes::NonResource(NonResource {
            verb: text(["nonResourceAttributes", "verb"]),
            path: text(["nonResourceAttributes", "path"]),
        })
    } else {
        Attributes::Resource(ResourceRequest {
            verb: of_resource("verb"),
            group: of_resource("group"),
            version: of_resource("version"),
            resource: of_resource("resource"),
            subresource: of_resource("subresource"),
            namespace: of_resource("namespace"),
            name: of_resource("name"),
        })
    };
    let decision = call.view.authorize(user, &attributes);
    let mut status = object! {"allowed": decision.is_allowed()};
    if matches!(decision, strait_auth::Decision::Deny(_)) {
        status.set(&["denied"], true);
    }
    if !decision.reason().is_empty() {
        status.set(&["reason"], decision.reason());
    }
    status
}

fn rules(rules: &[Rule]) -> Value {
    let list = |items: &[Box<str>]| items.iter().map(|item| &**item).collect::<Value>();
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    for rule in rules {
        let mut entry = Map::new();
        entry.insert("verbs", list(&rule.verbs));
        if rule.non_resource_urls.is_empty() {
            entry.insert("apiGroups", list(&rule.api_groups));
            entry.insert("resources", list(&rule.resources));
            if !rule.resource_names.is_empty() {
                entry.insert("resourceNames", list(&rule.resource_names));
            }
            resources.push(Value::from(entry));
        } else {
            entry.insert("nonResourceURLs", list(&rule.non_resource_urls));
            paths.push(Value::from(entry));
        }
    }
    object! {"incomplete": false, "resourceRules": resources, "nonResourceRules": paths}
}

fn user_info(user: &User) -> Value {
    let mut info = object! {
        "username": &*user.name,
        "groups": user.groups.iter().map(|group| &**group).collect::<Value>(),
    };
    if !user.uid.is_empty() {
        info.set(&["uid"], &*user.uid);
    }
    if !user.extra.is_empty() {
        let extra: Map = user
            .extra
            .iter()
            .map(|(key, values)| (key.as_str(), values.iter().collect::<Value>()))
            .collect();
        info.set(&["extra"], extra);
    }
    info
}
