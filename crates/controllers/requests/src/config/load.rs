//! Files to a configuration.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use strait_api::private::{
    Documents, Located, Private, RemoteEndpoint, RequestKindMapping, Source, read,
};
use strait_machinery::field::FieldError;
use strait_machinery::json::Path;
use strait_machinery::yaml::Mistake;
use strait_runtime::fs::{FsError, read_capped};
use strait_types::{Classified, ClusterName, ErrorKind, Report, WorkspacePath};

use super::class::Class;
use super::mapping::Mapping;
use super::problems::Problems;
use super::{Config, EndpointConfig};
use crate::policy::Policy;

/// Generous for what people write.
const FILE_BYTES_MAX: usize = 4 << 20;

/// Everything that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub struct ConfigErrors {
    /// Files that cannot be read.
    pub files: Vec<FsError>,
    /// What is wrong in the others, in the order of the files and places.
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for ConfigErrors {
    /// One line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.files.iter().map(|error| Report(error).to_string());
        let lines: Vec<_> = files.chain(self.mistakes.iter().map(ToString::to_string)).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl Classified for ConfigErrors {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

/// Reads and checks every document of every file. Documents of all files belong together; the
/// rules of several policies follow each other in the order of the files.
///
/// # Errors
/// See [`ConfigErrors`]: everything that is wrong anywhere.
///
/// # Blocking
/// Reads the files, and opens those that they name.
pub fn load(paths: &[PathBuf]) -> Result<Config, ConfigErrors> {
    let mut files = Vec::new();
    let mut texts = Vec::new();
    for path in paths {
        match read_text(path) {
            Ok(text) => texts.push((path.display().to_string(), text)),
            Err(error) => files.push(error),
        }
    }
    let sources: Vec<_> = texts.iter().map(|(file, text)| Source { file, text }).collect();
    let Documents { located, unclear, mut mistakes } = read(&sources);
    let config = understand(&located, &unclear, &mut mistakes);
    if files.is_empty() && mistakes.is_empty() {
        return Ok(config);
    }
    let order = |mistake: &Mistake| {
        let file = texts.iter().position(|(file, _)| *file == mistake.file);
        (file, mistake.position)
    };
    mistakes.sort_by_key(order);
    Err(ConfigErrors { files, mistakes })
}

fn read_text(path: &FilePath) -> Result<String, FsError> {
    let bytes = read_capped(path, FILE_BYTES_MAX)?;
    String::from_utf8(bytes).map_err(|error| {
        let error = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
        FsError::new("read", path)(error)
    })
}

/// The documents of one kind, with where they stand.
struct Known<'a> {
    /// None for one that is wrong, which was told.
    classes: HashMap<&'a str, Option<Arc<Class>>>,
    /// Likewise.
    endpoints: HashMap<&'a str, Option<&'a RemoteEndpoint>>,
    mappings: Vec<(&'a Located, &'a RequestKindMapping)>,
}

fn understand(
    documents: &[Located],
    unclear: &[(String, String)],
    mistakes: &mut Vec<Mistake>,
) -> Config {
    check_names(documents, mistakes);
    let mut policy = Policy::default();
    let of_kind = |kind: &'static str| {
        let names = unclear.iter().filter(move |(own, _)| own == kind);
        names.map(|(_, name)| name.as_str())
    };
    let mut known = Known {
        classes: of_kind("RequestClass").map(|name| (name, None)).collect(),
        endpoints: of_kind("RemoteEndpoint").map(|name| (name, None)).collect(),
        mappings: Vec::new(),
    };
    for located in documents {
        let mut problems = Problems::new(located, mistakes);
        match &located.document {
            Private::RequestClass(class) => {
                let class_name = class.metadata.name.as_str();
                let class = Class::new(class, &mut problems).map(Arc::new);
                known.classes.insert(class_name, class);
            }
            Private::RemoteEndpoint(endpoint) => {
                check_endpoint(endpoint, &mut problems);
                known.endpoints.insert(&endpoint.metadata.name, Some(endpoint));
            }
            Private::RequestKindMapping(mapping) => known.mappings.push((located, mapping)),
            Private::RequestPolicy(spec) => {
                policy.extend(&spec.spec, |error| problems.add(error));
            }
        }
    }
    check_policy_classes(documents, &known.classes, mistakes);
    let endpoints = connect(&known, mistakes);
    Config { endpoints, policy }
}

/// No two documents of a kind have one name.
fn check_names(documents: &[Located], mistakes: &mut Vec<Mistake>) {
    let mut seen = HashMap::new();
    for located in documents {
        let document = &located.document;
        if seen.insert((document.kind(), document.name()), ()).is_some() {
            let path = Path::of(&["metadata", "name"]);
            Problems::new(located, mistakes).add(&FieldError::duplicate(path, document.name()));
        }
    }
}

fn check_endpoint(endpoint: &RemoteEndpoint, problems: &mut Problems<'_>) {
    let at = |field| Path::of(&["spec", field]);
    let workspace = &endpoint.spec.workspace;
    if WorkspacePath::new(workspace).is_err() && ClusterName::new(workspace).is_err() {
        problems.invalid(&at("workspace"), workspace, "is not a path such as root:provider");
    }
    let slice = &endpoint.spec.endpoint_slice;
    if !strait_types::is_dns1123_subdomain(slice) {
        problems.invalid(&at("endpointSlice"), slice, "is not the name of an object");
    }
}

/// A rule for a class that is not there would never match; an allowing one by mistake.
fn check_policy_classes(
    documents: &[Located],
    classes: &HashMap<&str, Option<Arc<Class>>>,
    mistakes: &mut Vec<Mistake>,
) {
    for located in documents {
        let Private::RequestPolicy(policy) = &located.document else {
            continue;
        };
        for (index, rule) in policy.spec.rules.iter().enumerate() {
            let named = rule.matches.classes.iter().flatten().enumerate();
            for (at, class) in named.filter(|(_, class)| !classes.contains_key(class.as_str())) {
                let path = Path::of(&["spec", "rules"]).index(index).field("match");
                let path = path.field("classes").index(at);
                Problems::new(located, mistakes).add(&FieldError::not_found(path, &**class));
            }
        }
    }
}

/// Puts mappings to their endpoints and classes. An endpoint without a mapping is a mistake of
/// nobody: nothing is followed there.
fn connect(known: &Known<'_>, mistakes: &mut Vec<Mistake>) -> BTreeMap<Arc<str>, EndpointConfig> {
    let mut endpoints: BTreeMap<Arc<str>, EndpointConfig> = BTreeMap::new();
    for (located, mapping) in &known.mappings {
        let spec = &mapping.spec;
        let mut problems = Problems::new(located, mistakes);
        let endpoint = known.endpoints.get(spec.endpoint.as_str());
        if endpoint.is_none() {
            let path = Path::of(&["spec", "endpoint"]);
            problems.add(&FieldError::not_found(path, &*spec.endpoint));
        }
        let class = known.classes.get(spec.class_name.as_str());
        if class.is_none() {
            let path = Path::of(&["spec", "className"]);
            problems.add(&FieldError::not_found(path, &*spec.class_name));
        }
        let (Some(Some(endpoint)), Some(Some(class))) = (endpoint, class) else {
            continue;
        };
        let Some(mapping) = Mapping::new(spec, class.clone(), &mut problems) else {
            continue;
        };
        let name = endpoint.metadata.name.as_str();
        let config = endpoints.entry(name.into()).or_insert_with(|| EndpointConfig {
            workspace: endpoint.spec.workspace.as_str().into(),
            slice: endpoint.spec.endpoint_slice.as_str().into(),
            mappings: Vec::new(),
        });
        let same = |other: &Arc<Mapping>| {
            other.resource.group_resource() == mapping.resource.group_resource()
        };
        if config.mappings.iter().any(same) {
            let path = Path::of(&["spec", "resource"]);
            problems.invalid(&path, &spec.resource.resource, "is mapped at this endpoint already");
        }
        config.mappings.push(Arc::new(mapping));
    }
    endpoints
}
