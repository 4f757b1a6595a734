//! The documents that describe a catalog, each made when it is first asked for and kept.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use sha2::{Digest, Sha512};
use strait_machinery::json::Value;
use strait_machinery::{discovery, openapi};
use strait_types::GroupVersion;

use crate::catalog::Resource;

/// Media type of OpenAPI v2 in protobuf.
pub(crate) const OPENAPI_V2_PROTOBUF: &str =
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// A document with the tag that clients know it by.
pub(crate) struct Document {
    /// The body.
    pub bytes: Bytes,
    /// Quoted hexadecimal SHA-512 of the body.
    pub etag: String,
    /// The media type.
    pub content_type: &'static str,
}

/// All documents of a catalog.
pub(crate) struct Documents {
    resources: Vec<Arc<Resource>>,
    core: OnceLock<Document>,
    groups: OnceLock<Document>,
    legacy_versions: OnceLock<Document>,
    legacy_groups: OnceLock<Document>,
    legacy_group: BTreeMap<String, OnceLock<Option<Document>>>,
    legacy_resources: BTreeMap<GroupVersion, OnceLock<Option<Document>>>,
    openapi_index: OnceLock<Document>,
    openapi: BTreeMap<GroupVersion, OnceLock<Document>>,
    openapi_v2: OnceLock<Document>,
    openapi_v2_protobuf: OnceLock<Document>,
}

impl Document {
    fn new(value: &Value, content_type: &'static str) -> Self {
        let mut bytes = value.to_bytes();
        bytes.push(b'\n');
        Self::of_bytes(bytes.into(), content_type)
    }

    fn of_bytes(bytes: Bytes, content_type: &'static str) -> Self {
        let hash = Sha512::digest(&bytes);
        let hash: String = hash.iter().map(|byte| format!("{byte:02X}")).collect();
        Self { bytes, etag: format!("\"{hash}\""), content_type }
    }

    fn json(value: &Value) -> Self {
        Self::new(value, "application/json")
    }
}

impl Documents {
    pub(crate) fn new(resources: &[Arc<Resource>]) -> Self {
        let versions: Vec<GroupVersion> =
            resources.iter().map(|resource| resource.gvr.group_version()).collect();
        let groups = versions.iter().filter(|version| !version.group.is_empty());
        Self {
            resources: resources.to_vec(),
            core: OnceLock::new(),
            groups: OnceLock::new(),
            legacy_versions: OnceLock::new(),
            legacy_groups: OnceLock::new(),
            legacy_group: groups
                .map(|version| (version.group.to_string(), OnceLock::new()))
                .collect(),
            legacy_resources: versions
                .iter()
                .map(|version| (version.clone(), OnceLock::new()))
                .collect(),
            openapi_index: OnceLock::new(),
            openapi: versions.into_iter().map(|version| (version, OnceLock::new())).collect(),
            openapi_v2: OnceLock::new(),
            openapi_v2_protobuf: OnceLock::new(),
        }
    }

    fn served(&self) -> Vec<&discovery::Resource> {
        self.resources.iter().map(|resource| &resource.served).collect()
    }

    /// `/api`, aggregated.
    pub(crate) fn aggregated_core(&self) -> &Document {
        self.core.get_or_init(|| {
            Document::new(
                &discovery::aggregated(&self.served(), true),
                discovery::AGGREGATED_MEDIA_TYPE,
            )
        })
    }

    /// `/apis`, aggregated.
    pub(crate) fn aggregated_groups(&self) -> &Document {
        self.groups.get_or_init(|| {
            Document::new(
                &discovery::aggregated(&self.served(), false),
                discovery::AGGREGATED_MEDIA_TYPE,
            )
        })
    }

    /// `/api` for older clients. The address is left to the client, who knows it already.
    pub(crate) fn legacy_versions(&self) -> &Document {
        self.legacy_versions.get_or_init(|| Document::json(&discovery::core_versions("")))
    }

    /// `/apis` for older clients.
    pub(crate) fn legacy_groups(&self) -> &Document {
        self.legacy_groups.get_or_init(|| Document::json(&discovery::group_list(&self.served())))
    }

    /// `/apis/GROUP`.
    pub(crate) fn legacy_group(&self, group: &str) -> Option<&Document> {
        let document = self.legacy_group.get(group)?;
        let make = || discovery::group(&self.served(), group).map(|value| Document::json(&value));
        document.get_or_init(make).as_ref()
    }

    /// `/api/v1` or `/apis/GROUP/VERSION`.
    pub(crate) fn legacy_resources(&self, group: &str, version: &str) -> Option<&Document> {
        let version = GroupVersion::new(group, version);
        let document = self.legacy_resources.get(&version)?;
        let make = || {
            discovery::resource_list(&self.served(), &version).map(|value| Document::json(&value))
        };
        document.get_or_init(make).as_ref()
    }

    /// `/openapi/v3`.
    pub(crate) fn openapi_index(&self) -> &Document {
        self.openapi_index.get_or_init(|| {
            let hashes = self.openapi.keys().filter_map(|version| {
                let document = self.openapi(&version.group, &version.version)?;
                Some((version, document.etag.trim_matches('"')))
            });
            // Clients put the workspace's own prefix in front.
            Document::json(&openapi::index("", hashes))
        })
    }

    /// `/openapi/v3/apis/GROUP/VERSION`.
    pub(crate) fn openapi(&self, group: &str, version: &str) -> Option<&Document> {
        let version = GroupVersion::new(group, version);
        let document = self.openapi.get(&version)?;
        Some(document.get_or_init(|| Document::json(&openapi::document(&version, &self.served()))))
    }
    /// `/openapi/v2`.
    pub(crate) fn openapi_v2(&self) -> &Document {
        self.openapi_v2.get_or_init(|| Document::json(&self.all_definitions()))
    }

    /// `/openapi/v2` in protobuf.
    pub(crate) fn openapi_v2_protobuf(&self) -> &Document {
        self.openapi_v2_protobuf.get_or_init(|| {
            let bytes = openapi::gnostic::encode(&self.all_definitions());
            Document::of_bytes(bytes.into(), OPENAPI_V2_PROTOBUF)
        })
    }

    fn all_definitions(&self) -> Value {
        let served = self.served();
        let documents: Vec<Value> =
            self.openapi.keys().map(|version| openapi::document(version, &served)).collect();
        openapi::v2::combined(&documents)
    }
}
