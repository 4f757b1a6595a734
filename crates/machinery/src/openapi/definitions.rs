//! The definitions of a document: the kinds served, their lists, and all that they refer to.

use strait_types::GroupVersion;

use super::schema::{self, Names};
use super::{definition_name, list_name, reference};
use crate::builtin;
use crate::discovery::{Origin, Resource};
use crate::json::{Map, Value};
use crate::object;

const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
pub(super) const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
pub(super) const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
pub(super) const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

pub(super) struct Definitions<'a> {
    version: &'a GroupVersion,
    schemas: Map,
    /// Referred to, not there yet.
    wanted: Names,
}

impl<'a> Definitions<'a> {
    pub(super) const fn new(version: &'a GroupVersion) -> Self {
        Self { version, schemas: Map::new(), wanted: Vec::new() }
    }

    /// Adds the resource's kind, its list, and what its operations speak of.
    pub(super) fn add_resource(&mut self, resource: &Resource) {
        let mut kind = schema::body(&resource.schema, &mut self.wanted);
        if resource.origin == Origin::Custom {
            let kind = kind.make_object();
            kind.insert("type", "object");
            schema::add_type_members(kind, &mut self.wanted);
        }
        kind.set(&[GVK], vec![self.gvk(&resource.gvk.kind)]);
        self.schemas.insert(definition_name(resource), kind);
        if resource.allows("list") {
            let list = self.list(resource);
            self.schemas.insert(list_name(resource), list);
        }
        if resource.allows("delete") || resource.allows("deletecollection") {
            self.wanted.extend([STATUS, DELETE_OPTIONS].map(str::to_owned));
        }
        if resource.allows("patch") {
            let patch = object! {"type": "object", "description": "A patch of any type."};
            self.schemas.insert(PATCH, patch);
        }
    }

    fn list(&mut self, resource: &Resource) -> Value {
        let mut list = Map::new();
        schema::add_type_members(&mut list, &mut self.wanted);
        self.wanted.push(LIST_META.to_owned());
        let mut list = Value::Object(list);
        list.set(&["type"], "object");
        list.set(&["description"], format!("A list of objects of kind {}.", resource.gvk.kind));
        list.set(&["required"], vec!["items".into()]);
        list.set(
            &["properties", "metadata"],
            object! {"description": "Where the list stands.", "allOf": vec![reference(LIST_META)]},
        );
        list.set(
            &["properties", "items"],
            object! {
                "type": "array",
                "description": "The objects.",
                "items": reference(&definition_name(resource)),
            },
        );
        list.set(&[GVK], vec![self.gvk(&resource.list_kind)]);
        list
    }

    fn gvk(&self, kind: &str) -> Value {
        object! {"group": &*self.version.group, "version": &*self.version.version, "kind": kind}
    }

    /// All definitions, those included that were only referred to.
    pub(super) fn into_schemas(mut self) -> Map {
        while let Some(name) = self.wanted.pop() {
            if self.schemas.contains_key(&name) {
                continue;
            }
            let Some(schema) = builtin::definition(&name) else {
                continue;
            };
            let mut body = schema::body(&schema, &mut self.wanted);
            match name.as_str() {
                DELETE_OPTIONS => body.set(&[GVK], vec![self.gvk("DeleteOptions")]),
                STATUS => {
                    let gvk = object! {"group": "", "version": "v1", "kind": "Status"};
                    body.set(&[GVK], vec![gvk]);
                }
                _ => {}
            }
            self.schemas.insert(name, body);
        }
        self.schemas
    }
}

/// The extension that ties definitions and operations to kinds.
pub(super) const GVK: &str = "x-kubernetes-group-version-kind";
