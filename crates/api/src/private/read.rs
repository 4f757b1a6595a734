//! Files to documents, with every mistake and its place.

use serde::de::DeserializeOwned;
use strait_machinery::field::FieldError;
use strait_machinery::json::{Path, Value};
use strait_machinery::schema::{Schema, default, prune, validate};
use strait_machinery::yaml::{self, Document, Mistake, Places, Position};
use strait_types::is_dns1123_subdomain;

use super::API_VERSION;
use super::kinds::Private;
use super::schema::{KINDS, Kind, kind_of};

/// The kind that is not for requests.
const AGENT_CONFIG: &str = "AgentConfig";

/// A file's text.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The file, as mistakes name it.
    pub file: &'a str,
    /// What it says.
    pub text: &'a str,
}

/// A document and where it was written.
#[derive(Clone, Debug)]
pub struct Located {
    /// What it says, with defaults filled in.
    pub document: Private,
    file: String,
    places: Places,
}

impl Located {
    /// A mistake that only shows beside other documents or the machine.
    #[must_use]
    pub fn mistake(&self, error: &FieldError) -> Mistake {
        Mistake {
            file: self.file.clone(),
            position: self.places.nearest(&error.path),
            message: error.to_string(),
        }
    }
}

/// What files say.
#[derive(Debug, Default)]
pub struct Documents {
    /// The documents that can be understood, in their order; one with a mistake is among them if
    /// the mistake leaves it understandable.
    pub located: Vec<Located>,
    /// Kind and name of the others, as far as they have them: what others may refer to.
    pub unclear: Vec<(String, String)>,
    /// Every mistake, in the order of the places. With any, the documents may be used for
    /// nothing but to look for more.
    pub mistakes: Vec<Mistake>,
}

/// Whether a document is [`read_agent_config`](super::read_agent_config)'s.
pub(super) fn is_agent_config(document: &Value) -> bool {
    document.str_at(&["kind"]) == Some(AGENT_CONFIG)
}

/// Reads every document of every file but those of kind AgentConfig. Empty documents are passed
/// over.
#[must_use]
pub fn read(sources: &[Source<'_>]) -> Documents {
    let Documents { mut located, mut unclear, mut mistakes } = Documents::default();
    for source in sources {
        let mut found = Vec::new();
        match yaml::parse(source.text) {
            Err(error) => found.push((error.position(), error.what().to_owned())),
            Ok(documents) => {
                let theirs = |one: &Document| one.value.is_null() || is_agent_config(&one.value);
                for document in documents.into_iter().filter(|one| !theirs(one)) {
                    let Document { value, places } = document;
                    let text = |path: &[&str]| value.str_at(path).unwrap_or_default().to_owned();
                    let called = (text(&["kind"]), text(&["metadata", "name"]));
                    match understand(value, &places, &mut found) {
                        Some(document) => {
                            let file = source.file.to_owned();
                            located.push(Located { document, file, places });
                        }
                        None => unclear.push(called),
                    }
                }
            }
        }
        found.sort_by_key(|(position, _)| *position);
        mistakes.extend(found.into_iter().map(|(position, message)| Mistake {
            file: source.file.to_owned(),
            position,
            message,
        }));
    }
    Documents { located, unclear, mistakes }
}

fn understand(
    mut value: Value,
    places: &Places,
    found: &mut Vec<(Position, String)>,
) -> Option<Private> {
    let Some(kind) = kind_of(&value) else {
        found.push(unknown_kind(&value, places));
        return None;
    };
    if value.str_at(&["apiVersion"]).is_some_and(|version| version != API_VERSION) {
        let path = Path::of(&["apiVersion"]);
        let supported = vec![API_VERSION.to_owned()];
        let version = value.get("apiVersion").cloned().unwrap_or_default();
        let error = FieldError::not_supported(path, version, supported);
        found.push((places.nearest(&error.path), error.to_string()));
    }
    let (told, defaulted) = conform(&mut value, &kind.schema);
    found.extend(told.into_iter().map(|(path, message)| (places.nearest(&path), message)));
    if let Some(error) = bad_name(&value) {
        found.push((places.nearest(&error.path), error.to_string()));
    }
    if !defaulted {
        return None;
    }
    typed(kind, &value)
}

/// Drops what a schema does not know, fills its defaults in, and finds what it forbids. False
/// where defaults could not be filled in, for there was too much text, which is then told.
pub(super) fn conform(value: &mut Value, schema: &Schema) -> (Vec<(Path, String)>, bool) {
    let unknown = prune::prune(value, schema).into_iter();
    let mut found: Vec<(Path, String)> = unknown
        .map(|path| {
            let message = format!("unknown field \"{path}\"");
            (path, message)
        })
        .collect();
    let defaulted = default::apply(value, schema).is_ok();
    let errors = validate::validate(value, schema, &Path::root());
    found.extend(errors.into_iter().map(|error| (error.path.clone(), error.to_string())));
    (found, defaulted)
}

fn unknown_kind(value: &Value, places: &Places) -> (Position, String) {
    let path = Path::of(&["kind"]);
    let error = match value.get("kind") {
        None => FieldError::required(path, ""),
        Some(kind) => {
            let known = KINDS.iter().map(|kind| kind.kind.clone());
            let known = known.chain([AGENT_CONFIG.to_owned()]).collect();
            FieldError::not_supported(path, kind.clone(), known)
        }
    };
    (places.nearest(&error.path), error.to_string())
}

fn bad_name(value: &Value) -> Option<FieldError> {
    let name = value.str_at(&["metadata", "name"])?;
    (!name.is_empty() && !is_dns1123_subdomain(name)).then(|| {
        let why = "must be a DNS subdomain: lower-case letters, digits, '-' and '.'";
        FieldError::invalid(Path::of(&["metadata", "name"]), name, why)
    })
}

/// The document as a struct; none if it is too wrong for that, which was then told.
fn typed(kind: &Kind, value: &Value) -> Option<Private> {
    fn read<T: DeserializeOwned>(value: &Value) -> Option<T> {
        serde_json::from_slice(&value.to_bytes()).ok()
    }
    match &*kind.kind {
        "RemoteEndpoint" => read(value).map(Private::RemoteEndpoint),
        "RequestKindMapping" => read(value).map(Private::RequestKindMapping),
        "RequestClass" => read(value).map(Private::RequestClass),
        "RequestPolicy" => read(value).map(Private::RequestPolicy),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
