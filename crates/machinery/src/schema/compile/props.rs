//! The members of an OpenAPI v3 schema that Kubernetes knows, read from JSON
//! (`apiextensions/v1` JSONSchemaProps). Members that it does not know are ignored, as there.

use super::{MAX_DEPTH, MAX_MAP_KEYS, MAX_NAME_BYTES, MAX_NODES, MAX_PATTERN_WEIGHT};
use crate::field::{FieldError, MAX_ERRORS};
use crate::json::{Map, Path, Segment, Value};
use crate::schema::Bounds;
use crate::schema::pattern::{InvalidPattern, Pattern};

/// What a pattern costs beside its weight.
const PATTERN_BASE: u64 = 100;

/// Members that no structural schema has, in the order in which Kubernetes complains.
const UNSUPPORTED: [&str; 7] = [
    "id",
    "additionalItems",
    "patternProperties",
    "definitions",
    "dependencies",
    "$ref",
    "$schema",
];

/// One node as written.
#[derive(Default)]
pub(super) struct Props<'a> {
    pub kind: &'a str,
    pub format: &'a str,
    pub title: &'a str,
    pub description: &'a str,
    pub nullable: bool,
    pub unique_items: bool,
    pub default: Option<&'a Value>,
    pub enumeration: &'a [Value],
    pub bounds: Bounds,
    pub invalid_pattern: Option<(&'a str, InvalidPattern)>,
    pub required: Vec<&'a str>,
    pub items: Option<Box<Self>>,
    /// `items` is an array of schemas.
    pub items_are_listed: bool,
    /// Sorted by name.
    pub properties: Vec<(&'a str, Self)>,
    pub additional: Option<Additional<'a>>,
    pub all_of: Vec<Self>,
    pub any_of: Vec<Self>,
    pub one_of: Vec<Self>,
    pub not: Option<Box<Self>>,
    pub preserve_unknown: Option<bool>,
    pub embedded_resource: bool,
    pub int_or_string: bool,
    pub list_type: Option<&'a str>,
    pub map_keys: Vec<&'a str>,
    pub map_type: Option<&'a str>,
    pub rules: &'a [Value],
    /// Which of [`UNSUPPORTED`] are there.
    pub unsupported: Vec<&'static str>,
    pub annotations: Map,
}

/// `additionalProperties`.
pub(super) enum Additional<'a> {
    Allowed(bool),
    Schema(Box<Props<'a>>),
}

impl<'a> Additional<'a> {
    pub(super) fn schema(&self) -> Option<&Props<'a>> {
        match self {
            Self::Schema(schema) => Some(schema),
            Self::Allowed(_) => None,
        }
    }
}

impl<'a> Props<'a> {
    /// The property of that name.
    pub(super) fn property(&self, name: &str) -> Option<&Self> {
        let at = self.properties.binary_search_by(|(key, _)| (*key).cmp(name)).ok()?;
        Some(&self.properties[at].1)
    }

    pub(super) fn preserves_unknown(&self) -> bool {
        self.preserve_unknown == Some(true)
    }
}

/// Reads a schema. Errors are about forms; whether the schema is structural comes later.
pub(super) fn read<'a>(text: &'a Value, base: &Path) -> Result<Props<'a>, Vec<FieldError>> {
    let mut reader =
        Reader { path: base.clone(), errors: Vec::new(), nodes: 0, depth: 0, pattern_weight: 0 };
    let props = reader.node(text);
    if reader.errors.is_empty() { Ok(props) } else { Err(reader.errors) }
}

struct Reader {
    path: Path,
    errors: Vec<FieldError>,
    nodes: usize,
    depth: usize,
    pattern_weight: u64,
}

impl Reader {
    fn node<'a>(&mut self, text: &'a Value) -> Props<'a> {
        self.count(1);
        if self.depth == MAX_DEPTH {
            let detail = format!("must not be nested deeper than {MAX_DEPTH} levels");
            self.errors.push(FieldError::forbidden(self.path.clone(), detail));
        }
        if self.nodes > MAX_NODES || self.depth >= MAX_DEPTH || self.errors.len() >= MAX_ERRORS {
            return Props::default();
        }
        let Value::Object(map) = text else {
            self.refuse(text, "must be an object");
            return Props::default();
        };
        self.depth += 1;
        let mut props = Props {
            unsupported: UNSUPPORTED.into_iter().filter(|key| is_set(map, key)).collect(),
            ..Props::default()
        };
        for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
            self.path.push(Segment::Field(key.into()));
            self.member(key, value, &mut props);
            self.path.pop();
        }
        props.bounds.minimum = with_exclusive(props.bounds.minimum, map, "exclusiveMinimum");
        props.bounds.maximum = with_exclusive(props.bounds.maximum, map, "exclusiveMaximum");
        self.depth -= 1;
        props
    }

    /// Counts nodes, and complains once when there are too many.
    fn count(&mut self, nodes: usize) {
        let before = self.nodes;
        self.nodes = self.nodes.saturating_add(nodes);
        if before <= MAX_NODES && self.nodes > MAX_NODES {
            self.errors.push(FieldError::too_many(self.path.clone(), self.nodes, MAX_NODES));
        }
    }

    fn member<'a>(&mut self, key: &str, value: &'a Value, props: &mut Props<'a>) {
        match key {
            "type" => props.kind = self.text(value),
            "format" => props.format = self.text(value),
            "title" => {
                props.title = self.text(value);
                props.annotations.insert(key, value.clone());
            }
            "description" => props.description = self.text(value),
            "externalDocs" | "example" => {
                props.annotations.insert(key, value.clone());
            }
            "nullable" => props.nullable = self.flag(value),
            "uniqueItems" => props.unique_items = self.flag(value),
            "exclusiveMinimum" | "exclusiveMaximum" => {
                self.flag(value);
            }
            "default" => props.default = Some(value),
            "enum" => props.enumeration = self.list(value),
            "required" => props.required = self.texts(value),
            "pattern" => self.pattern(value, props),
            "items" => match value {
                Value::Array(_) => props.items_are_listed = true,
                _ => props.items = Some(Box::new(self.node(value))),
            },
            "properties" => props.properties = self.properties(value),
            "additionalProperties" => {
                props.additional = Some(match value {
                    Value::Bool(allowed) => Additional::Allowed(*allowed),
                    _ => Additional::Schema(Box::new(self.node(value))),
                });
            }
            "allOf" => props.all_of = self.nodes(value),
            "anyOf" => props.any_of = self.nodes(value),
            "oneOf" => props.one_of = self.nodes(value),
            "not" => props.not = Some(Box::new(self.node(value))),
            "x-kubernetes-preserve-unknown-fields" => {
                props.preserve_unknown = Some(self.flag(value));
            }
            "x-kubernetes-embedded-resource" => props.embedded_resource = self.flag(value),
            "x-kubernetes-int-or-string" => props.int_or_string = self.flag(value),
            "x-kubernetes-list-type" => props.list_type = Some(self.text(value)),
            "x-kubernetes-list-map-keys" => {
                props.map_keys = self.texts(value);
                if props.map_keys.len() > MAX_MAP_KEYS {
                    let (path, count) = (self.path.clone(), props.map_keys.len());
                    self.errors.push(FieldError::too_many(path, count, MAX_MAP_KEYS));
                }
            }
            "x-kubernetes-map-type" => props.map_type = Some(self.text(value)),
            "x-kubernetes-validations" => props.rules = self.list(value),
            _ => self.bound(key, value, &mut props.bounds),
        }
    }

    fn bound(&mut self, key: &str, value: &Value, bounds: &mut Bounds) {
        match key {
            "minimum" => bounds.minimum = self.number(value).map(|number| (number, false)),
            "maximum" => bounds.maximum = self.number(value).map(|number| (number, false)),
            "multipleOf" => bounds.multiple_of = self.number(value),
            "minLength" => bounds.min_length = self.least(value),
            "maxLength" => bounds.max_length = self.most(value),
            "minItems" => bounds.min_items = self.least(value),
            "maxItems" => bounds.max_items = self.most(value),
            "minProperties" => bounds.min_properties = self.least(value),
            "maxProperties" => bounds.max_properties = self.most(value),
            _ => {}
        }
    }

    fn pattern<'a>(&mut self, value: &'a Value, props: &mut Props<'a>) {
        let source = self.text(value);
        if source.is_empty() || self.pattern_weight > MAX_PATTERN_WEIGHT {
            return;
        }
        match Pattern::new(source) {
            Ok(pattern) => {
                self.pattern_weight += PATTERN_BASE + pattern.steps(1);
                if self.pattern_weight <= MAX_PATTERN_WEIGHT {
                    props.bounds.pattern = Some(pattern);
                } else {
                    let detail = "the patterns of the schema are too large in all";
                    self.errors.push(FieldError::forbidden(self.path.clone(), detail));
                }
            }
            Err(error) => props.invalid_pattern = Some((source, error)),
        }
    }

    fn properties<'a>(&mut self, value: &'a Value) -> Vec<(&'a str, Props<'a>)> {
        let Value::Object(map) = value else {
            self.refuse(value, "must be an object");
            return Vec::new();
        };
        let mut properties = Vec::with_capacity(map.len());
        for (name, schema) in map.iter() {
            if name.len() > MAX_NAME_BYTES {
                self.errors.push(FieldError::too_long(self.path.clone(), MAX_NAME_BYTES));
                break;
            }
            self.path.push(Segment::Key(name.into()));
            properties.push((name, self.node(schema)));
            self.path.pop();
        }
        properties
    }

    fn nodes<'a>(&mut self, value: &'a Value) -> Vec<Props<'a>> {
        let mut nodes = Vec::new();
        for (at, schema) in self.list(value).iter().enumerate() {
            if self.nodes > MAX_NODES {
                break;
            }
            self.path.push(Segment::Index(at));
            nodes.push(self.node(schema));
            self.path.pop();
        }
        nodes
    }

    fn refuse(&mut self, value: &Value, detail: &str) {
        if self.errors.len() >= MAX_ERRORS {
            return;
        }
        // A whole subtree would say nothing more than its type does.
        let shown = match value {
            Value::Array(_) | Value::Object(_) => value.type_name().into(),
            scalar => scalar.clone(),
        };
        self.errors.push(FieldError::invalid(self.path.clone(), shown, detail));
    }

    fn text<'a>(&mut self, value: &'a Value) -> &'a str {
        value.as_str().unwrap_or_else(|| {
            self.refuse(value, "must be a string");
            ""
        })
    }

    fn texts<'a>(&mut self, value: &'a Value) -> Vec<&'a str> {
        let list = self.list(value);
        list.iter().map(|one| self.text(one)).collect()
    }

    fn flag(&mut self, value: &Value) -> bool {
        value.as_bool().unwrap_or_else(|| {
            self.refuse(value, "must be a boolean");
            false
        })
    }

    /// The elements of a list, which count as nodes.
    fn list<'a>(&mut self, value: &'a Value) -> &'a [Value] {
        let Some(list) = value.as_array() else {
            self.refuse(value, "must be an array");
            return &[];
        };
        self.count(list.len());
        list
    }

    fn number(&mut self, value: &Value) -> Option<f64> {
        if let Value::Number(number) = value {
            return Some(number.as_f64());
        }
        self.refuse(value, "must be a number");
        None
    }

    /// A lower bound; one below zero bounds nothing.
    fn least(&mut self, value: &Value) -> Option<u64> {
        self.integer(value).map(|number| u64::try_from(number).unwrap_or(0))
    }

    fn most(&mut self, value: &Value) -> Option<u64> {
        let number = self.integer(value)?;
        let most = u64::try_from(number);
        if most.is_err() {
            self.refuse(value, "must be greater than or equal to 0");
        }
        most.ok()
    }

    fn integer(&mut self, value: &Value) -> Option<i64> {
        let number = value.as_i64();
        if number.is_none() {
            self.refuse(value, "must be an integer");
        }
        number
    }
}

fn with_exclusive(bound: Option<(f64, bool)>, map: &Map, key: &str) -> Option<(f64, bool)> {
    let exclusive = map.get(key).and_then(Value::as_bool) == Some(true);
    bound.map(|(number, _)| (number, exclusive))
}

/// Whether a member is there and says something.
fn is_set(map: &Map, key: &str) -> bool {
    match map.get(key) {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => key == "$ref" || !text.is_empty(),
        // Dependencies are refused even when there are none.
        Some(Value::Object(members)) => {
            matches!(key, "dependencies" | "additionalItems") || !members.is_empty()
        }
        Some(_) => true,
    }
}
