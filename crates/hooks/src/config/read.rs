//! A file's text to a [`Config`], or every mistake in it.

use std::path::Path as FilePath;
use std::sync::{Arc, LazyLock};

use strait_machinery::field::FieldError;
use strait_machinery::json::{Path, Value};
use strait_machinery::schema::compile::compile;
use strait_machinery::schema::{Schema, default, prune, validate};
use strait_machinery::yaml::{self, Document, Mistake, Position};

use super::check::check;
use super::{Config, Files};

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let why = "kinds/hooksconfig.yaml is compiled in, and a test reads it";
    let text = include_str!("../../kinds/hooksconfig.yaml");
    let schema = yaml::parse(text).expect(why).pop().expect(why).value;
    compile(&schema, &Path::root(), &Arc::new(Schema::default())).expect(why)
});

/// Reads a file with one document. `file` is how mistakes name it. Without a `dataDir` of its own
/// it gets `data_dir`, if that is given.
///
/// # Errors
/// Every mistake, in the order of their places.
pub fn read(
    file: &str,
    text: &str,
    data_dir: Option<&FilePath>,
    files: &dyn Files,
) -> Result<Config, Vec<Mistake>> {
    let start = Position { line: 1, column: 1 };
    let mut found = Vec::new();
    let config = match yaml::parse(text) {
        Err(error) => {
            found.push((error.position(), error.what().to_owned()));
            None
        }
        Ok(documents) => {
            let mut documents = documents.into_iter().filter(|one| !one.value.is_null());
            let config = match documents.next() {
                None => {
                    found.push((start, "there is no document".to_owned()));
                    None
                }
                Some(Document { mut value, places }) => {
                    if let Some(path) = data_dir.and_then(FilePath::to_str)
                        && value.as_object().is_some_and(|map| map.get("dataDir").is_none())
                    {
                        value.set(&["dataDir"], path);
                    }
                    let (config, mistakes) = understand(value, files);
                    let place = |(path, text)| (places.nearest(&path), text);
                    found.extend(mistakes.into_iter().map(place));
                    config
                }
            };
            let more = documents.next().map(|another| another.places.position());
            found.extend(more.map(|at| (at, "there is more than one document".to_owned())));
            config
        }
    };
    match config {
        Some(config) if found.is_empty() => Ok(config),
        _ => {
            found.sort();
            let mistake = |(position, message)| Mistake { file: file.into(), position, message };
            Err(found.into_iter().map(mistake).collect())
        }
    }
}

/// A document to what it says, with what is wrong with it and where.
pub(super) fn understand(
    mut value: Value,
    files: &dyn Files,
) -> (Option<Config>, Vec<(Path, String)>) {
    let unknown = prune::prune(&mut value, &SCHEMA).into_iter();
    let mut found: Vec<_> = unknown
        .map(|path| {
            let text = format!("unknown field \"{path}\"");
            (path, text)
        })
        .collect();
    // Its only failure is too much text, which is then wrong anyway.
    let defaulted = default::apply(&mut value, &SCHEMA).is_ok();
    let mut errors = validate::validate(&value, &SCHEMA, &Path::root());
    // What is too wrong for the structs was told by the schema.
    let raw = serde_json::from_slice(&value.to_bytes()).ok().filter(|_| defaulted);
    let config = raw.and_then(|raw| {
        let mut more = Vec::new();
        let config = check(&raw, files, &mut more);
        // What the schema said is not said again.
        let new = |error: &FieldError| !errors.iter().any(|known| known.path == error.path);
        more.retain(new);
        errors.extend(more);
        config
    });
    found.extend(errors.into_iter().map(|error| (error.path.clone(), error.to_string())));
    (config, found)
}
