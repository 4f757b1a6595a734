//! The rules of Kubernetes beside structure
//! (`apiextensions/validation` ValidateCustomResourceDefinitionOpenAPISchema): unsupported
//! keywords, list and map types, where defaults may stand.

use super::props::{Additional, Props};
use super::transition;
use crate::field::{FieldError, MAX_ERRORS};
use crate::json::{Path, Segment, Value};

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// What the nodes above say about a node.
#[derive(Clone, Copy, Default)]
struct Above {
    /// Why no default may be set here.
    defaults_forbidden: Option<&'static str>,
    /// Inside apiVersion, kind or metadata of a resource.
    inside_meta: bool,
    /// How long the path is to the first node above whose members cannot be told apart between
    /// two revisions.
    uncorrelatable: Option<usize>,
    /// Inside a junctor, where the structural rules have already refused every rule.
    inside_junctor: bool,
}

/// Every breach in document order.
pub(super) fn check(props: &Props<'_>, base: &Path) -> Vec<FieldError> {
    let mut checker = Checker { path: base.clone(), errors: Vec::new(), rule_errors: Vec::new() };
    if props.nullable {
        let detail = "nullable cannot be true at the root";
        checker.errors.push(FieldError::forbidden(base.field("nullable"), detail));
    }
    checker.node(props, Above::default(), true);
    checker.errors.append(&mut checker.rule_errors);
    checker.errors
}

struct Checker {
    path: Path,
    errors: Vec<FieldError>,
    /// About what rules say, which matters once the schema itself is good.
    rule_errors: Vec<FieldError>,
}

impl Checker {
    fn at(&self, name: &str) -> Path {
        self.path.field(name)
    }

    fn required(&mut self, at: Path, detail: &str) {
        self.errors.push(FieldError::required(at, detail));
    }

    fn forbidden(&mut self, name: &str, detail: &str) {
        self.errors.push(FieldError::forbidden(self.at(name), detail));
    }

    fn invalid(&mut self, at: Path, value: impl Into<Value>, detail: &str) {
        self.errors.push(FieldError::invalid(at, value, detail));
    }

    fn below(&mut self, segments: &[Segment], props: &Props<'_>, above: Above) {
        segments.iter().for_each(|segment| self.path.push(segment.clone()));
        self.node(props, above, false);
        segments.iter().for_each(|_| self.path.pop());
    }

    fn node(&mut self, props: &Props<'_>, above: Above, is_root: bool) {
        if self.errors.len() + self.rule_errors.len() >= MAX_ERRORS {
            return;
        }
        self.keywords(props, above);
        self.additional(props, above);
        self.properties(props, above, is_root);
        let inside = Above { inside_junctor: true, ..above };
        if let Some(not) = &props.not {
            self.below(&[field("not")], not, inside);
        }
        for (junctor, branches) in
            [("allOf", &props.all_of), ("oneOf", &props.one_of), ("anyOf", &props.any_of)]
        {
            for (at, branch) in branches.iter().enumerate() {
                self.below(&[field(junctor), Segment::Index(at)], branch, inside);
            }
        }
        if let Some(items) = &props.items {
            // Only list-maps tell their elements apart.
            let above = match props.list_type {
                Some("map") => above,
                _ => {
                    let here = self.path.segments().len();
                    Above { uncorrelatable: above.uncorrelatable.or(Some(here)), ..above }
                }
            };
            self.below(&[field("items")], items, above);
        }
        if props.preserve_unknown == Some(false) {
            let at = self.at("x-kubernetes-preserve-unknown-fields");
            self.invalid(at, false, "must be true or undefined");
        }
        self.map_type(props);
        self.list_type(props);
        self.list_map(props);
        self.keyed_items(props);
        if !above.inside_junctor && !props.rules.is_empty() {
            self.rules(props, above);
        }
    }

    fn rules(&mut self, props: &Props<'_>, above: Above) {
        let at = self.at("x-kubernetes-validations");
        transition::check(props, &at, &mut self.errors);
        let within = above.uncorrelatable.map(|length| {
            let mut path = Path::root();
            self.path.segments()[..length].iter().for_each(|segment| path.push(segment.clone()));
            path
        });
        transition::check_rules(props, &at, within.as_ref(), &mut self.rule_errors);
    }

    /// Keywords that are refused wherever they stand.
    fn keywords(&mut self, props: &Props<'_>, above: Above) {
        if !props.kind.is_empty() && !TYPES.contains(&props.kind) {
            let supported = TYPES.map(String::from).to_vec();
            self.errors.push(FieldError::not_supported(self.at("type"), props.kind, supported));
        }
        if let (Some(reason), true) = (above.defaults_forbidden, props.default.is_some()) {
            self.forbidden("default", &format!("must not be set {reason}"));
        }
        for name in &props.unsupported {
            self.forbidden(name, &format!("{name} is not supported"));
        }
        if props.kind == "null" {
            let detail = "type cannot be set to null, use nullable as an alternative";
            self.forbidden("type", detail);
        }
        if props.items_are_listed {
            self.forbidden("items", "items must be a schema object and not an array");
        }
        if above.inside_meta && props.embedded_resource {
            let detail = "must not be used inside of resource meta";
            self.forbidden("x-kubernetes-embedded-resource", detail);
        }
        if props.unique_items {
            let detail =
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.forbidden("uniqueItems", detail);
        }
    }

    fn additional(&mut self, props: &Props<'_>, above: Above) {
        let Some(additional) = &props.additional else {
            return;
        };
        if !props.properties.is_empty() && !matches!(additional, Additional::Allowed(true)) {
            let detail = "additionalProperties and properties are mutual exclusive";
            self.forbidden("additionalProperties", detail);
        }
        if let Some(schema) = additional.schema() {
            let mut above = above;
            if above.inside_meta {
                let reason = "inside additionalProperties applying to object metadata";
                above.defaults_forbidden = Some(reason);
            }
            self.below(&[field("additionalProperties")], schema, above);
        }
    }

    fn properties(&mut self, props: &Props<'_>, above: Above, is_root: bool) {
        for (name, property) in &props.properties {
            let mut above = above;
            let forbidden = match *name {
                "metadata" => Some("in top-level metadata"),
                "kind" => Some("in top-level kind"),
                "apiVersion" => Some("in top-level apiVersion"),
                _ => None,
            };
            if forbidden.is_some() && (is_root || props.embedded_resource) {
                above.inside_meta = true;
                if is_root {
                    above.defaults_forbidden = forbidden;
                }
            }
            let segments = [field("properties"), Segment::Key((*name).into())];
            self.below(&segments, property, above);
        }
    }

    fn map_type(&mut self, props: &Props<'_>) {
        let Some(map_type) = props.map_type else {
            return;
        };
        if props.kind != "object" {
            let detail = "must be object if x-kubernetes-map-type is specified";
            self.wrong_type(props.kind, detail);
        }
        if !matches!(map_type, "atomic" | "granular") {
            let supported = vec!["atomic".into(), "granular".into()];
            let at = self.at("x-kubernetes-map-type");
            self.errors.push(FieldError::not_supported(at, map_type, supported));
        }
    }

    fn wrong_type(&mut self, kind: &str, detail: &str) {
        let at = self.at("type");
        if kind.is_empty() {
            self.required(at, detail);
        } else {
            self.invalid(at, kind, detail);
        }
    }

    fn list_type(&mut self, props: &Props<'_>) {
        const MUST_BE_MAP: &str = "must be map if x-kubernetes-list-map-keys is non-empty";
        let Some(list_type) = props.list_type else {
            if !props.map_keys.is_empty() {
                self.required(self.at("x-kubernetes-list-type"), MUST_BE_MAP);
            }
            return;
        };
        let type_at = self.at("x-kubernetes-list-type");
        if props.kind != "array" {
            self.wrong_type(props.kind, "must be array if x-kubernetes-list-type is specified");
        } else if let (Some(items), "set") = (&props.items, list_type) {
            let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
            let at = self.at("items");
            let shown = items.list_type.map_or(Value::Null, Value::from);
            match (items.kind, items.list_type, items.map_type) {
                ("array", Some("set" | "map"), _) => {
                    self.invalid(at.field("x-kubernetes-list-type"), shown, detail);
                }
                ("object", _, map_type) if map_type != Some("atomic") => {
                    self.invalid(at.field("x-kubernetes-map-type"), shown, detail);
                }
                _ => {}
            }
        }
        if !matches!(list_type, "atomic" | "set" | "map") {
            let supported = ["atomic", "set", "map"].map(String::from).to_vec();
            let error = FieldError::not_supported(type_at.clone(), list_type, supported);
            self.errors.push(error);
        }
        if !props.map_keys.is_empty() && list_type != "map" {
            self.invalid(type_at, list_type, MUST_BE_MAP);
        }
    }

    fn list_map(&mut self, props: &Props<'_>) {
        if props.list_type != Some("map") {
            return;
        }
        if props.map_keys.is_empty() {
            let detail = "must not be empty if x-kubernetes-list-type is map";
            self.required(self.at("x-kubernetes-list-map-keys"), detail);
        }
        let items_at = self.at("items");
        let Some(items) = &props.items else {
            let detail = "must have a schema if x-kubernetes-list-type is map";
            self.required(items_at, detail);
            return;
        };
        if items.kind != "object" {
            let detail = "must be object if parent array's x-kubernetes-list-type is map";
            self.invalid(items_at.field("type"), items.kind, detail);
            return;
        }
        let keys_at = self.at("x-kubernetes-list-map-keys");
        let keys: Value = props.map_keys.iter().copied().collect();
        for (at, key) in props.map_keys.iter().enumerate() {
            match items.property(key) {
                None => {
                    let detail = "entries must all be names of item properties";
                    self.invalid(keys_at.clone(), keys.clone(), detail);
                }
                Some(property) if matches!(property.kind, "array" | "object") => {
                    let at = items_at.field("properties").key(key).field("type");
                    let detail =
                        "must be a scalar type if parent array's x-kubernetes-list-type is map";
                    self.invalid(at, items.kind, detail);
                }
                Some(_) => {}
            }
            if props.map_keys[..at].contains(key) {
                let detail = "must not contain duplicate entries";
                self.invalid(keys_at.clone(), keys.clone(), detail);
            }
        }
    }

    /// Elements of sets and list-maps, and the keys of the latter, are always there.
    fn keyed_items(&mut self, props: &Props<'_>) {
        let (Some(items), Some(list_type @ ("set" | "map"))) = (&props.items, props.list_type)
        else {
            return;
        };
        let at = self.at("items");
        if items.nullable {
            let detail = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
            self.errors.push(FieldError::forbidden(at.field("nullable"), detail));
        }
        if list_type == "set" {
            return;
        }
        for key in &props.map_keys {
            let Some(property) = items.property(key) else {
                continue;
            };
            let at = at.field("properties").key(key);
            if !items.required.contains(key) && property.default.is_none() {
                let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                self.required(at.field("default"), detail);
            }
            if property.nullable {
                let detail =
                    "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
                self.errors.push(FieldError::forbidden(at.field("nullable"), detail));
            }
        }
    }
}

fn field(name: &str) -> Segment {
    Segment::Field(name.into())
}
