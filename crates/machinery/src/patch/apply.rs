//! JSON Patch: what it does. Texts and leniencies are those of the library that Kubernetes uses
//! (evanphx/json-patch v4): negative indices count from the end, `replace` of a member that is
//! not there adds it, and a value that is not given is `null`.

#[cfg(test)]
mod tests;

use super::decode::{JsonPatch, Operation};
use super::{MAX_COPIED_BYTES, MAX_SHIFTED, inapplicable};
use crate::go_text::quoted;
use crate::json::{MAX_DEPTH, Value};
use crate::status::Status;

const MISSING: &str = "missing value";

impl JsonPatch {
    /// Applies every operation.
    ///
    /// # Errors
    /// 422 at the first that fails; its cause says why.
    pub fn apply(&self, mut document: Value) -> Result<Value, Status> {
        let mut state = State::default();
        for operation in &self.operations {
            state.run(&mut document, operation).map_err(inapplicable)?;
        }
        Ok(document)
    }
}

/// What the operations used up.
#[derive(Default)]
struct State {
    copied: usize,
    shifted: usize,
}

/// Where a pointer leads: the container, and the last token.
struct Place<'a> {
    container: &'a mut Value,
    key: String,
}

impl State {
    fn run(&mut self, document: &mut Value, operation: &Operation) -> Result<(), String> {
        match &*operation.kind {
            "add" => self.add(document, operation),
            "remove" => self.remove(document, operation),
            "replace" => self.replace(document, operation),
            "move" => self.relocate(document, operation),
            "test" => test(document, operation),
            "copy" => self.copy(document, operation),
            kind => Err(format!("Unexpected kind: {kind}")),
        }
    }

    fn add(&mut self, document: &mut Value, operation: &Operation) -> Result<(), String> {
        let path = operation.path.as_deref();
        let path = path.ok_or_else(|| format!("add operation failed to decode path: {MISSING}"))?;
        self.deepen(path, &operation.value)?;
        let place = find(document, path).ok_or_else(|| {
            format!("add operation does not apply: doc is missing path: \"{path}\": {MISSING}")
        })?;
        self.insert(place, operation.value.clone())
            .map_err(|why| format!("error in add for path: '{path}': {why}"))
    }

    fn remove(&mut self, document: &mut Value, operation: &Operation) -> Result<(), String> {
        let path = operation.path.as_deref();
        let path =
            path.ok_or_else(|| format!("remove operation failed to decode path: {MISSING}"))?;
        let place = find(document, path).ok_or_else(|| {
            format!("remove operation does not apply: doc is missing path: \"{path}\": {MISSING}")
        })?;
        let removed = self.take(place);
        removed.map(drop).map_err(|why| format!("error in remove for path: '{path}': {why}"))
    }

    fn replace(&mut self, document: &mut Value, operation: &Operation) -> Result<(), String> {
        let path = required("replace", "path", operation.path.as_deref())?;
        if path.is_empty() {
            if !matches!(operation.value, Value::Object(_) | Value::Array(_)) {
                return Err("replace operation value must be object or array".into());
            }
            *document = operation.value.clone();
            return Ok(());
        }
        self.deepen(path, &operation.value)?;
        let place = find(document, path).ok_or_else(|| {
            format!("replace operation does not apply: doc is missing path: {path}: {MISSING}")
        })?;
        match place.container {
            Value::Array(elements) => {
                let at = index(&place.key, elements.len()).map_err(|_| {
                    format!(
                        "replace operation does not apply: doc is missing key: {path}: {MISSING}"
                    )
                })?;
                elements[at] = operation.value.clone();
                Ok(())
            }
            _ => self.insert(place, operation.value.clone()),
        }
    }

    fn relocate(&mut self, document: &mut Value, operation: &Operation) -> Result<(), String> {
        let from = required("move", "from", operation.from.as_deref())?;
        let place = find(document, from).ok_or_else(|| {
            format!("move operation does not apply: doc is missing from path: {from}: {MISSING}")
        })?;
        let key = place.key.clone();
        let value =
            self.take(place).map_err(|why| format!("error in move for path: '{key}': {why}"))?;
        let path = required("move", "path", operation.path.as_deref())?;
        self.deepen(path, &value)?;
        let place = find(document, path).ok_or_else(|| {
            format!(
                "move operation does not apply: doc is missing destination path: {path}: {MISSING}"
            )
        })?;
        self.insert(place, value).map_err(|why| format!("error in move for path: '{path}': {why}"))
    }

    fn copy(&mut self, document: &mut Value, operation: &Operation) -> Result<(), String> {
        let from = required("copy", "from", operation.from.as_deref())?;
        let place = find(document, from).ok_or_else(|| {
            format!("copy operation does not apply: doc is missing from path: {from}: {MISSING}")
        })?;
        let value =
            look(&place).map_err(|why| format!("error in copy for from: '{from}': {why}"))?;
        let value = value.cloned().unwrap_or_default();
        let path = operation.path.as_deref();
        let path =
            path.ok_or_else(|| format!("copy operation failed to decode path: {MISSING}"))?;
        self.copied = self.copied.saturating_add(value.to_bytes().len());
        if self.copied > MAX_COPIED_BYTES {
            let copied = self.copied;
            return Err(format!(
                "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED_BYTES}"
            ));
        }
        self.deepen(path, &value)?;
        let place = find(document, path).ok_or_else(|| {
            format!(
                "copy operation does not apply: doc is missing destination path: {path}: {MISSING}"
            )
        })?;
        self.insert(place, value)
            .map_err(|why| format!("error while adding value during copy: {why}"))
    }

    /// Puts a value in a place: an element before the one that stands there.
    fn insert(&mut self, place: Place<'_>, value: Value) -> Result<(), String> {
        match place.container {
            Value::Object(map) => {
                self.shift(map.len())?;
                map.insert(place.key, value);
            }
            Value::Array(elements) if place.key == "-" => elements.push(value),
            Value::Array(elements) => {
                let at = index(&place.key, elements.len() + 1).map_err(|why| match why {
                    BadIndex::OutOfRange(index) => out_of_range(index),
                    BadIndex::NotANumber(why) => {
                        format!("value was not a proper array index: '{}': {why}", place.key)
                    }
                })?;
                self.shift(elements.len())?;
                elements.insert(at, value);
            }
            _ => return Err(MISSING.into()),
        }
        Ok(())
    }

    /// Takes what is in a place out of it.
    fn take(&mut self, place: Place<'_>) -> Result<Value, String> {
        match place.container {
            Value::Object(map) => {
                self.shift(map.len())?;
                map.remove(&place.key).ok_or_else(|| {
                    format!("Unable to remove nonexistent key: {}: {MISSING}", place.key)
                })
            }
            Value::Array(elements) => {
                let at = index(&place.key, elements.len()).map_err(BadIndex::text)?;
                self.shift(elements.len())?;
                Ok(elements.remove(at))
            }
            _ => Err(MISSING.into()),
        }
    }

    fn shift(&mut self, elements: usize) -> Result<(), String> {
        self.shifted = self.shifted.saturating_add(elements);
        if self.shifted > MAX_SHIFTED {
            return Err("the operations shift too many elements".into());
        }
        Ok(())
    }

    /// Makes sure that a value fits at the end of a pointer.
    fn deepen(&mut self, path: &str, value: &Value) -> Result<(), String> {
        let (depth, nodes) = measure(value);
        self.shift(nodes)?;
        if path.matches('/').count() + depth > MAX_DEPTH {
            return Err(format!("the document would be nested deeper than {MAX_DEPTH} levels"));
        }
        Ok(())
    }
}

fn test(document: &mut Value, operation: &Operation) -> Result<(), String> {
    let path = required("test", "path", operation.path.as_deref())?;
    let failed = || format!("testing value {path} failed: test failed");
    if path.is_empty() {
        return if *document == operation.value { Ok(()) } else { Err(failed()) };
    }
    let place = find(document, path).ok_or_else(|| {
        format!("test operation does not apply: is missing path: {path}: {MISSING}")
    })?;
    let found = look(&place).map_err(|why| format!("error in test for path: '{path}': {why}"))?;
    // A member that is not there is null.
    if *found.unwrap_or(&Value::Null) == operation.value { Ok(()) } else { Err(failed()) }
}

/// The container that a pointer leads into (RFC 6901); none for the whole document.
fn find<'a>(document: &'a mut Value, path: &str) -> Option<Place<'a>> {
    let tokens = path.strip_prefix('/')?;
    let (parents, last) = match tokens.rsplit_once('/') {
        Some((parents, last)) => (Some(parents), last),
        None => (None, tokens),
    };
    let mut container = document;
    for token in parents.into_iter().flat_map(|parents| parents.split('/')) {
        let token = unescape(token);
        container = match container {
            Value::Object(map) => map.get_mut(&token)?,
            Value::Array(elements) => {
                let at = index(&token, elements.len()).ok()?;
                &mut elements[at]
            }
            _ => return None,
        };
    }
    let is_container = matches!(container, Value::Object(_) | Value::Array(_));
    is_container.then(|| Place { container, key: unescape(last) })
}

/// What is in a place; a member may be absent.
fn look<'a>(place: &'a Place<'_>) -> Result<Option<&'a Value>, String> {
    match &*place.container {
        Value::Object(map) => Ok(map.get(&place.key)),
        Value::Array(elements) => {
            let at = index(&place.key, elements.len()).map_err(BadIndex::text)?;
            Ok(Some(&elements[at]))
        }
        _ => Err(MISSING.into()),
    }
}

fn required<'a>(kind: &str, name: &str, text: Option<&'a str>) -> Result<&'a str, String> {
    let field = if name == "path" {
        "operation missing path field"
    } else {
        "operation, missing from field"
    };
    text.ok_or_else(|| format!("{kind} operation failed to decode {name}: {field}: {MISSING}"))
}

enum BadIndex {
    OutOfRange(i64),
    NotANumber(String),
}

impl BadIndex {
    fn text(self) -> String {
        match self {
            Self::OutOfRange(index) => out_of_range(index),
            Self::NotANumber(why) => why,
        }
    }
}

fn out_of_range(index: i64) -> String {
    format!("Unable to access invalid index: {index}: invalid index referenced")
}

/// The position that a token means among `len`; a negative one counts from the end.
fn index(token: &str, len: usize) -> Result<usize, BadIndex> {
    let number: i64 = token.parse().map_err(|_| {
        BadIndex::NotANumber(format!("strconv.Atoi: parsing {}: invalid syntax", quoted(token)))
    })?;
    let at = usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX);
    let at = if number < 0 { len.checked_sub(at) } else { Some(at) };
    at.filter(|&at| at < len).ok_or(BadIndex::OutOfRange(number))
}

fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// How many containers are inside each other, and how many values there are.
fn measure(value: &Value) -> (usize, usize) {
    let mut inside = (0, 1);
    let mut add = |value: &Value| {
        let (depth, nodes) = measure(value);
        inside = (inside.0.max(depth), inside.1 + nodes);
    };
    match value {
        Value::Array(elements) => elements.iter().for_each(&mut add),
        Value::Object(map) => map.iter().for_each(|(_, value)| add(value)),
        _ => return inside,
    }
    (inside.0 + 1, inside.1)
}
