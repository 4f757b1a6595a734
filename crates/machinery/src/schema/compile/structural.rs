//! Whether a schema is structural (KEP-1693; `apiextensions-apiserver/pkg/apiserver/schema`
//! validation.go, complete.go): every value has one known shape, and logical junctors only
//! restrict what is declared outside of them.

use super::props::{Additional, Props};
use crate::field::{FieldError, MAX_ERRORS};
use crate::json::{Path, Segment};

/// Where a node stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Every breach, sorted by text.
pub(super) fn check(props: &Props<'_>, base: &Path) -> Vec<FieldError> {
    let mut checker = Checker { path: base.clone(), errors: Vec::new() };
    checker.invariants(props, Level::Root);
    let mut completeness = Completeness {
        outside_at: base.clone(),
        inside_at: base.clone(),
        errors: &mut checker.errors,
    };
    completeness.junctors(props, Some(props));
    checker.errors.sort_by_cached_key(ToString::to_string);
    checker.errors
}

struct Checker {
    path: Path,
    errors: Vec<FieldError>,
}

impl Checker {
    fn at(&self, name: &str) -> Path {
        self.path.field(name)
    }

    fn required(&mut self, name: &str, detail: &str) {
        self.errors.push(FieldError::required(self.at(name), detail));
    }

    fn forbidden(&mut self, name: &str, detail: &str) {
        self.errors.push(FieldError::forbidden(self.at(name), detail));
    }

    fn under(&mut self, segments: &[Segment], check: impl FnOnce(&mut Self)) {
        segments.iter().for_each(|segment| self.path.push(segment.clone()));
        check(self);
        segments.iter().for_each(|_| self.path.pop());
    }

    /// The rules for a node outside of junctors.
    fn invariants(&mut self, props: &Props<'_>, level: Level) {
        if self.errors.len() >= MAX_ERRORS {
            return;
        }
        if props.kind == "array" && props.items.is_none() {
            self.required("items", "must be specified");
        }
        if let Some(items) = &props.items {
            self.under(&[field("items")], |this| this.invariants(items, Level::Item));
        }
        for (name, property) in &props.properties {
            let segments = [field("properties"), Segment::Key((*name).into())];
            self.under(&segments, |this| this.invariants(property, Level::Field));
        }
        if let Some(additional) = &props.additional {
            if level == Level::Root {
                self.forbidden("additionalProperties", "must not be used at the root");
            }
            if let Some(schema) = additional.schema() {
                let segments = [field("additionalProperties")];
                self.under(&segments, |this| this.invariants(schema, Level::Field));
            }
        }
        self.extensions(props);
        let skip = is_int_or_string(&props.any_of);
        let skip_first = props.all_of.first().is_some_and(|first| is_int_or_string(&first.any_of));
        self.junctors(props, skip, skip_first);
        self.kind(props, level);
        self.meta(props, level);
    }

    fn extensions(&mut self, props: &Props<'_>) {
        if !props.int_or_string {
            return;
        }
        for (name, set) in [
            ("x-kubernetes-preserve-unknown-fields", props.preserves_unknown()),
            ("x-kubernetes-embedded-resource", props.embedded_resource),
        ] {
            if set {
                let detail = "must be false if x-kubernetes-int-or-string is true";
                self.errors.push(FieldError::invalid(self.at(name), true, detail));
            }
        }
    }

    fn kind(&mut self, props: &Props<'_>, level: Level) {
        let kind = props.kind;
        if props.embedded_resource && kind != "object" {
            let detail = "must be object if x-kubernetes-embedded-resource is true";
            if kind.is_empty() {
                self.required("type", detail);
            } else {
                self.errors.push(FieldError::invalid(self.at("type"), kind, detail));
            }
        } else if kind.is_empty() && !props.int_or_string && !props.preserves_unknown() {
            self.required(
                "type",
                match level {
                    Level::Root => "must not be empty at the root",
                    Level::Item => "must not be empty for specified array items",
                    Level::Field => "must not be empty for specified object fields",
                },
            );
        }
        if props.embedded_resource && props.additional.is_some() {
            let detail = "must not be used if x-kubernetes-embedded-resource is set";
            self.forbidden("additionalProperties", detail);
        }
        if level == Level::Root && !kind.is_empty() && kind != "object" {
            let detail = "must be object at the root";
            self.errors.push(FieldError::invalid(self.at("type"), kind, detail));
        }
        if kind.is_empty() && props.items.is_some() && !props.properties.is_empty() {
            // Ours: a node without a type has one shape all the same.
            self.forbidden("items", "must not stand beside properties where type is empty");
        }
    }

    /// What may be said of apiVersion, kind and metadata.
    fn meta(&mut self, props: &Props<'_>, level: Level) {
        let is_resource = level == Level::Root || props.embedded_resource;
        if is_resource {
            for name in ["kind", "apiVersion"] {
                if let Some(property) = props.property(name).filter(|p| p.kind != "string") {
                    let at = self.at("properties").key(name).field("type");
                    self.errors.push(FieldError::invalid(at, property.kind, "must be string"));
                }
            }
        }
        if let Some(metadata) = props.property("metadata") {
            let at = self.at("properties").key("metadata");
            if is_resource && metadata.kind != "object" {
                let of_type = at.field("type");
                self.errors.push(FieldError::invalid(of_type, metadata.kind, "must be object"));
            }
            if level == Level::Root && !restricts_names_only(metadata) {
                let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
                self.errors.push(FieldError::forbidden(at, detail));
            }
        }
        if props.embedded_resource && !props.preserves_unknown() && props.properties.is_empty() {
            let detail = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
            self.required("properties", detail);
        }
    }

    /// The rules for the junctors of a node; the form that says int-or-string may name types.
    fn junctors(&mut self, props: &Props<'_>, skip_any_of: bool, skip_first_all_of: bool) {
        if !skip_any_of {
            self.branches("anyOf", &props.any_of, false);
        }
        self.branches("allOf", &props.all_of, skip_first_all_of);
        self.branches("oneOf", &props.one_of, false);
        if let Some(not) = &props.not {
            self.under(&[field("not")], |this| this.nested(not, false));
        }
        if let Some((source, error)) = &props.invalid_pattern {
            let detail = format!("must be a valid regular expression, but isn't: {error}");
            self.errors.push(FieldError::invalid(self.at("pattern"), *source, detail));
        }
    }

    fn branches(&mut self, junctor: &str, branches: &[Props<'_>], skip_first: bool) {
        for (at, branch) in branches.iter().enumerate() {
            let segments = [field(junctor), Segment::Index(at)];
            self.under(&segments, |this| this.nested(branch, skip_first && at == 0));
        }
    }

    /// The rules for a node inside a junctor: it may check values and nothing else.
    fn nested(&mut self, props: &Props<'_>, skip_any_of: bool) {
        if self.errors.len() >= MAX_ERRORS {
            return;
        }
        self.junctors(props, skip_any_of, false);
        if let Some(items) = &props.items {
            self.under(&[field("items")], |this| this.nested(items, false));
        }
        for (name, property) in &props.properties {
            let segments = [field("properties"), Segment::Key((*name).into())];
            self.under(&segments, |this| this.nested(property, false));
        }
        let additional = match &props.additional {
            Some(Additional::Allowed(allowed)) => *allowed,
            Some(Additional::Schema(_)) => true,
            None => false,
        };
        for (name, set, must) in [
            ("type", !props.kind.is_empty(), "be empty"),
            ("additionalProperties", additional, "be undefined"),
            ("default", props.default.is_some(), "be undefined"),
            ("title", !props.title.is_empty(), "be empty"),
            ("description", !props.description.is_empty(), "be empty"),
            ("nullable", props.nullable, "be false"),
            ("x-kubernetes-preserve-unknown-fields", props.preserves_unknown(), "be false"),
            ("x-kubernetes-embedded-resource", props.embedded_resource, "be false"),
            ("x-kubernetes-int-or-string", props.int_or_string, "be false"),
            ("x-kubernetes-list-map-keys", !props.map_keys.is_empty(), "be empty"),
            ("x-kubernetes-list-type", props.list_type.is_some(), "be undefined"),
            ("x-kubernetes-map-type", props.map_type.is_some(), "be undefined"),
            ("x-kubernetes-validations", !props.rules.is_empty(), "be empty"),
        ] {
            if set {
                self.forbidden(name, &format!("must {must} to be structural"));
            }
        }
        if props.property("metadata").is_some() {
            let at = self.at("properties").key("metadata");
            let detail = "must not be specified in a nested context";
            self.errors.push(FieldError::forbidden(at, detail));
        }
    }
}

/// Whether everything that junctors speak of is declared outside of them.
struct Completeness<'a> {
    outside_at: Path,
    inside_at: Path,
    errors: &'a mut Vec<FieldError>,
}

impl Completeness<'_> {
    /// Looks at the junctors of a node of which `outside` says what there is.
    fn junctors(&mut self, inside: &Props<'_>, outside: Option<&Props<'_>>) {
        if let Some(not) = &inside.not {
            self.branch(&[field("not")], not, outside);
        }
        for (junctor, branches) in
            [("allOf", &inside.all_of), ("anyOf", &inside.any_of), ("oneOf", &inside.one_of)]
        {
            for (at, branch) in branches.iter().enumerate() {
                self.branch(&[field(junctor), Segment::Index(at)], branch, outside);
            }
        }
    }

    fn branch(&mut self, segments: &[Segment], inside: &Props<'_>, outside: Option<&Props<'_>>) {
        segments.iter().for_each(|segment| self.inside_at.push(segment.clone()));
        self.nested(inside, outside);
        segments.iter().for_each(|_| self.inside_at.pop());
    }

    fn nested(&mut self, inside: &Props<'_>, outside: Option<&Props<'_>>) {
        if self.errors.len() >= MAX_ERRORS {
            return;
        }
        let Some(outside) = outside else {
            let detail = format!("because it is defined in {}", self.inside_at);
            self.errors.push(FieldError::required(self.outside_at.clone(), detail));
            return;
        };
        self.junctors(inside, Some(outside));
        if let Some(items) = &inside.items {
            self.below(&[field("items")], items, outside.items.as_deref());
        }
        for (name, property) in &inside.properties {
            let segments = [field("properties"), Segment::Key((*name).into())];
            self.below(&segments, property, outside.property(name));
        }
    }

    fn below(&mut self, segments: &[Segment], inside: &Props<'_>, outside: Option<&Props<'_>>) {
        segments.iter().for_each(|segment| self.outside_at.push(segment.clone()));
        self.branch(segments, inside, outside);
        segments.iter().for_each(|_| self.outside_at.pop());
    }
}

fn field(name: &str) -> Segment {
    Segment::Field(name.into())
}

/// `anyOf: [{type: integer}, {type: string}]` and nothing else.
fn is_int_or_string(branches: &[Props<'_>]) -> bool {
    let [integer, string] = branches else {
        return false;
    };
    is_only(integer, "integer") && is_only(string, "string")
}

/// Whether the root's metadata says no more than its type and something of names.
fn restricts_names_only(metadata: &Props<'_>) -> bool {
    let names = |(name, _): &(&str, Props<'_>)| matches!(*name, "name" | "generateName");
    metadata.properties.iter().all(names)
        && is_bare(metadata)
        && metadata.items.is_none()
        && metadata.additional.is_none()
}

/// Whether a node says its type and nothing else.
fn is_only(props: &Props<'_>, kind: &str) -> bool {
    props.kind == kind
        && is_bare(props)
        && props.default.is_none()
        && props.properties.is_empty()
        && props.items.is_none()
        && props.additional.is_none()
}

/// Whether a node says nothing apart from its type, its default and what is inside it.
fn is_bare(props: &Props<'_>) -> bool {
    let Props { format, title, description, nullable, unique_items, .. } = props;
    let texts = format.is_empty() && title.is_empty() && description.is_empty();
    let junctors = [&props.all_of, &props.any_of, &props.one_of];
    texts
        && !nullable
        && !unique_items
        && props.enumeration.is_empty()
        && props.bounds.is_empty()
        && props.invalid_pattern.is_none()
        && props.required.is_empty()
        && junctors.iter().all(|branches| branches.is_empty())
        && props.not.is_none()
        && !props.preserves_unknown()
        && !props.embedded_resource
        && !props.int_or_string
        && props.list_type.is_none()
        && props.map_keys.is_empty()
        && props.map_type.is_none()
        && props.rules.is_empty()
}
