//! What a schema cannot say.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path as FilePath, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use strait_machinery::field::FieldError;
use strait_machinery::json::Path;
use strait_runtime::units::{parse_bytes, parse_duration};

use super::{Ack, Config, Files, Identity, Limits, Listener, Retention};
use super::{admin, backend, raw, source};

/// What this release does not do yet.
const NOT_SERVED: &str = "not served by this release";

/// Checks a document. With anything in `found`, here or from its schema, what comes back may be
/// used for nothing.
pub(super) fn check(
    raw: &raw::Document,
    files: &dyn Files,
    found: &mut Vec<FieldError>,
) -> Option<Config> {
    let mut problems = Problems { files, found };
    let problems = &mut problems;
    let at = |name: &str| Path::of(&[name]);
    let listen = raw.listen.clear();
    let address = listen.and_then(|text| problems.socket(&at("listen"), text));
    let tls = raw.tls.as_ref().and_then(raw::Part::clear).map(|tls| Identity {
        certificates: problems.file(&Path::of(&["tls", "certFile"]), &tls.cert_file),
        key: problems.file(&Path::of(&["tls", "keyFile"]), &tls.key_file),
    });
    let admin = raw.admin.as_ref().and_then(raw::Part::clear);
    let admin = admin.map(|raw| admin::admin(raw, address, problems));
    let dynamic = raw.dynamic_backends.as_ref().and_then(raw::Part::clear);
    let dynamic = dynamic.map(|raw| admin::dynamic(raw, problems));
    let ack = raw.ack.clear().and_then(|text| ack(text, problems));
    if raw.archive.is_some() {
        problems.add(FieldError::forbidden(at("archive"), NOT_SERVED));
    }
    let limits = raw.limits.clear().and_then(|raw| limits(raw, problems));
    let retention = raw.retention.clear().and_then(|raw| retention(raw, problems));
    let sources = raw.sources.clear().map_or(&[][..], Vec::as_slice);
    let known: BTreeSet<&str> = sources.iter().filter_map(raw::Part::name).collect();
    let backends = raw.backends.clear().map_or(&[][..], Vec::as_slice);
    let sources = source::sources(sources, problems);
    let backends = backend::backends(backends, &known, problems);
    Some(Config {
        listen: Listener { address: address?, tls },
        admin: admin.flatten(),
        metrics: None,
        data_dir: raw.data_dir.clear().map(|text| directory(text, problems))?,
        ack: ack?,
        limits: limits?,
        retention: retention?,
        sources,
        backends,
        store_only: *raw.store_only.clear()?,
        dynamic_backends: dynamic,
    })
}

fn directory(text: &str, problems: &mut Problems<'_>) -> PathBuf {
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        problems.invalid(&Path::of(&["dataDir"]), text, "must be an absolute path");
    }
    path
}

fn ack(text: &str, problems: &mut Problems<'_>) -> Option<Ack> {
    match text {
        "durable" => Some(Ack::Durable),
        "sync" => Some(Ack::Sync),
        "replicated" => {
            let why = format!("{text} is {NOT_SERVED}");
            problems.add(FieldError::forbidden(Path::of(&["ack"]), why));
            None
        }
        // The schema told.
        _ => None,
    }
}

fn limits(raw: &raw::Limits, problems: &mut Problems<'_>) -> Option<Limits> {
    let at = |name: &str| Path::of(&["limits", name]);
    let size = |bytes: Option<u64>| usize::try_from(bytes?).ok();
    let body = size(problems.bytes(&at("body"), &raw.body));
    let body_deadline = problems.duration(&at("bodyDeadline"), &raw.body_deadline);
    let head_deadline = problems.duration(&at("headDeadline"), &raw.head_deadline);
    let memory = size(problems.bytes(&at("memory"), &raw.memory));
    let disk = problems.bytes(&at("disk"), &raw.disk);
    if let (Some(body), Some(memory)) = (body, memory)
        && body > memory
    {
        problems.invalid(&at("body"), &raw.body, "must not be more than limits.memory");
    }
    Some(Limits {
        body: body?,
        body_deadline: body_deadline?,
        head_deadline: head_deadline?,
        connections: raw.connections,
        per_address: raw.per_address,
        memory: memory?,
        disk: disk?,
    })
}

fn retention(raw: &raw::Retention, problems: &mut Problems<'_>) -> Option<Retention> {
    let at = |name: &str| Path::of(&["retention", name]);
    let delivered = problems.duration(&at("delivered"), &raw.delivered);
    let undelivered = problems.duration(&at("undelivered"), &raw.undelivered);
    Some(Retention { delivered: delivered?, undelivered: undelivered? })
}

/// Collects what is wrong.
pub(super) struct Problems<'a> {
    pub(super) files: &'a dyn Files,
    found: &'a mut Vec<FieldError>,
}

impl Problems<'_> {
    pub(super) fn add(&mut self, error: FieldError) {
        self.found.push(error);
    }

    pub(super) fn invalid(&mut self, path: &Path, value: &str, why: impl Display) {
        self.add(FieldError::invalid(path.clone(), value, why.to_string()));
    }

    /// What could be made of a text; why not is noted.
    pub(super) fn noted<T, E: Display>(
        &mut self,
        path: &Path,
        text: &str,
        made: Result<T, E>,
    ) -> Option<T> {
        made.map_err(|error| self.invalid(path, text, error)).ok()
    }

    pub(super) fn parse<T: FromStr<Err: Display>>(&mut self, path: &Path, text: &str) -> Option<T> {
        self.noted(path, text, text.parse())
    }

    pub(super) fn socket(&mut self, path: &Path, text: &str) -> Option<SocketAddr> {
        let wrong = |_| "must be an address and a port, such as 127.0.0.1:8080";
        self.noted(path, text, text.parse().map_err(wrong))
    }

    pub(super) fn duration(&mut self, path: &Path, text: &str) -> Option<Duration> {
        let duration = self.noted(path, text, parse_duration(text))?;
        if duration.is_zero() {
            self.invalid(path, text, "must be positive");
        }
        Some(duration)
    }

    /// A size, with or without `B` behind its unit: `25MiB`, `25Mi`.
    pub(super) fn bytes(&mut self, path: &Path, text: &str) -> Option<u64> {
        let unit = text.strip_suffix('B').filter(|rest| rest.ends_with('i')).unwrap_or(text);
        let bytes = self.noted(path, text, parse_bytes(unit))?;
        if bytes == 0 {
            self.invalid(path, text, "must be positive");
        }
        Some(bytes)
    }

    /// A file that can be read.
    pub(super) fn file(&mut self, path: &Path, file: &str) -> PathBuf {
        let readable = self.files.readable(FilePath::new(file));
        self.noted(path, file, readable);
        file.into()
    }

    /// Notes what is no name, and names that are there twice.
    pub(super) fn names<'t>(&mut self, names: impl Iterator<Item = (Path, &'t str)> + Clone) {
        let known = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        for (path, name) in names.clone() {
            let ends = [name.bytes().next(), name.bytes().next_back()];
            let inside = name.bytes().all(|c| known(c) || matches!(c, b'-' | b'.'));
            if !inside || !ends.iter().all(|end| end.is_some_and(known)) {
                let why = "must be of a-z, 0-9, '-' and '.', with a letter or a digit at both ends";
                self.invalid(&path, name, why);
            }
        }
        self.unique(names);
    }

    /// Notes texts that are there twice.
    pub(super) fn unique<'t>(&mut self, texts: impl Iterator<Item = (Path, &'t str)>) {
        let mut known = BTreeSet::new();
        for (path, text) in texts {
            if !known.insert(text) {
                self.add(FieldError::duplicate(path, text));
            }
        }
    }
}
