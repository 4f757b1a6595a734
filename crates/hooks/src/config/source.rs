//! Where webhooks come from.

use std::path::Path as FilePath;

use http::HeaderName;
use strait_machinery::field::FieldError;
use strait_machinery::json::Path;

use super::check::Problems;
use super::raw::{self, Part};
use super::{Answers, Source};
use crate::secrets::Place;
use crate::signature::{Algorithm, Encoding, HmacScheme, Scheme};

/// Headers that every request has, or that say something else.
const NO_SIGNATURE: [&str; 6] =
    ["host", "content-length", "content-type", "transfer-encoding", "connection", "user-agent"];

pub(super) fn sources(raw: &[Part<raw::Source>], problems: &mut Problems<'_>) -> Vec<Source> {
    let at = |index: usize| Path::of(&["sources"]).index(index);
    let clear = || {
        let each = raw.iter().enumerate();
        each.filter_map(|(index, source)| Some((at(index), source.clear()?)))
    };
    problems.names(clear().map(|(path, source)| (path.field("name"), &*source.name)));
    problems.unique(clear().map(|(path, source)| (path.field("path"), &*source.path)));
    clear().filter_map(|(path, raw)| source(raw, &path, problems)).collect()
}

fn source(raw: &raw::Source, base: &Path, problems: &mut Problems<'_>) -> Option<Source> {
    if !is_plain(&raw.path) {
        let why = "must be an absolute path of letters, digits, '.', '_', '~' and '-' between single slashes";
        problems.invalid(&base.field("path"), &raw.path, why);
    }
    let scheme = scheme(raw, base, problems);
    if let Some(scheme) = &scheme {
        secrets(raw, scheme, base, problems);
    }
    let dedupe = problems.duration(&base.field("dedupe"), &raw.dedupe);
    let addresses =
        raw.addresses.iter().enumerate().filter_map(|(index, text)| {
            problems.parse(&base.field("addresses").index(index), text)
        });
    let addresses = addresses.collect();
    Some(Source {
        name: raw.name.as_str().into(),
        path: raw.path.as_str().into(),
        scheme: scheme?,
        secrets: raw.secret_files.iter().map(|file| Place::File(file.into())).collect(),
        dedupe: dedupe?,
        addresses,
        answers: Answers::Strait,
    })
}

fn secrets(raw: &raw::Source, scheme: &Scheme, base: &Path, problems: &mut Problems<'_>) {
    let path = base.field("secretFiles");
    if !scheme.needs_secret() {
        if !raw.secret_files.is_empty() {
            problems.add(FieldError::forbidden(path, "the scheme none verifies nothing"));
        }
        return;
    }
    if raw.secret_files.is_empty() {
        problems.add(FieldError::required(path.clone(), "the scheme needs at least one"));
    }
    for (index, file) in raw.secret_files.iter().enumerate() {
        let usable = problems.files.secret(scheme, FilePath::new(file));
        problems.noted(&path.index(index), file, usable);
    }
}

fn scheme(raw: &raw::Source, base: &Path, problems: &mut Problems<'_>) -> Option<Scheme> {
    if raw.hmac.is_some() && raw.scheme != "hmac" {
        problems.add(FieldError::forbidden(base.field("hmac"), "only for the scheme hmac"));
    }
    Some(match &*raw.scheme {
        "github" => Scheme::Github,
        "gitlab-token" => Scheme::GitlabToken,
        "gitlab-signed" => Scheme::GitlabSigned,
        "gitea" => Scheme::Gitea,
        "bitbucket" => Scheme::Bitbucket,
        "bitbucket-dc" => Scheme::BitbucketServer,
        "standard" => Scheme::Standard,
        "none" => Scheme::None,
        "hmac" => Scheme::Hmac(hmac(raw.hmac.as_ref(), &base.field("hmac"), problems)?),
        // The schema told.
        _ => return None,
    })
}

fn hmac(raw: Option<&raw::Hmac>, base: &Path, problems: &mut Problems<'_>) -> Option<HmacScheme> {
    let Some(raw) = raw else {
        problems.add(FieldError::required(base.clone(), "the scheme hmac needs a header"));
        return None;
    };
    let header = problems.parse::<HeaderName>(&base.field("header"), &raw.header)?;
    if NO_SIGNATURE.contains(&header.as_str()) {
        problems.invalid(&base.field("header"), &raw.header, "is a header of its own meaning");
    }
    if !raw.prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
        problems.invalid(&base.field("prefix"), &raw.prefix, "must be visible ASCII");
    }
    let algorithm = match &*raw.algorithm {
        "sha1" => Algorithm::Sha1,
        "sha512" => Algorithm::Sha512,
        _ => Algorithm::Sha256,
    };
    let encoding = if raw.encoding == "base64" { Encoding::Base64 } else { Encoding::Hex };
    Some(HmacScheme { header, algorithm, encoding, prefix: raw.prefix.as_str().into() })
}

/// Whether a path can be compared as it comes.
fn is_plain(path: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || "._~-".contains(c);
    let name = |name: &str| !matches!(name, "" | "." | "..") && name.chars().all(known);
    path == "/" || path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(name))
}
