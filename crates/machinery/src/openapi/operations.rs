//! Paths and the operations on them.

use strait_types::{GroupVersion, GroupVersionKind};

use super::definitions::{DELETE_OPTIONS, GVK, PATCH, STATUS};
use super::{definition_name, list_name, parameters, path_of, reference};
use crate::builtin;
use crate::discovery::{Origin, Resource, Subresource};
use crate::json::{Map, Value};
use crate::object;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// Path items of a resource, by path.
pub(super) fn paths(resource: &Resource) -> Vec<(String, Value)> {
    let base = format!("/{}", path_of(&resource.gvk.group_version()));
    let writer = Writer { resource };
    let plural = &resource.plural;
    let scope = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("{base}{scope}/{plural}");
    let single = format!("{collection}/{{name}}");
    let mut paths = vec![(collection, writer.collection()), (single.clone(), writer.single())];
    if resource.namespaced && resource.allows("list") {
        paths.push((format!("{base}/{plural}"), writer.all_namespaces()));
    }
    for subresource in &resource.subresources {
        let path = format!("{single}/{}", subresource.name);
        paths.push((path, writer.subresource(subresource)));
    }
    paths.retain(|(_, item)| {
        item.as_object().is_some_and(|item| item.keys().any(|key| key != "parameters"))
    });
    paths
}

/// One operation on its way.
struct Operation<'a> {
    /// e.g. `create`.
    word: &'a str,
    /// As in `x-kubernetes-action`.
    action: &'a str,
    description: String,
    /// Behind the kind in the operation's id.
    suffix: &'a str,
    kind: &'a GroupVersionKind,
    query: Option<Value>,
    body: Option<Value>,
    /// What comes back.
    schema: Value,
    created: bool,
}

struct Writer<'a> {
    resource: &'a Resource,
}

impl<'a> Writer<'a> {
    fn collection(&self) -> Value {
        let mut item = self.item(false, self.resource.namespaced);
        let kind = &self.resource.gvk.kind;
        if self.resource.allows("list") {
            let list = Operation {
                query: Some(parameters::query(parameters::LIST)),
                schema: reference(&list_name(self.resource)),
                ..self.operation("list", "list", format!("list or watch objects of kind {kind}"))
            };
            item.insert("get", self.write(list));
        }
        if self.resource.allows("create") {
            let create = Operation {
                query: Some(parameters::query(parameters::WRITE)),
                body: Some(self.object_body()),
                created: true,
                ..self.operation("create", "post", format!("create an object of kind {kind}"))
            };
            item.insert("post", self.write(create));
        }
        if self.resource.allows("deletecollection") {
            let delete = Operation {
                query: Some(parameters::query(parameters::DELETE_COLLECTION)),
                body: Some(self.options_body()),
                schema: reference(STATUS),
                ..self.operation(
                    "delete",
                    "deletecollection",
                    format!("delete all objects of kind {kind}"),
                )
            };
            item.insert("delete", self.write(delete));
        }
        item.into()
    }

    fn all_namespaces(&self) -> Value {
        let mut item = self.item(false, false);
        let kind = &self.resource.gvk.kind;
        let list = Operation {
            suffix: "ForAllNamespaces",
            query: Some(parameters::query(parameters::LIST)),
            schema: reference(&list_name(self.resource)),
            ..self.operation(
                "list",
                "list",
                format!("list or watch objects of kind {kind} in all namespaces"),
            )
        };
        item.insert("get", self.write(list));
        item.into()
    }

    fn single(&self) -> Value {
        let mut item = self.item(true, self.resource.namespaced);
        let kind = &self.resource.gvk.kind;
        self.add_read_and_write(&mut item, &self.resource.verbs, "", &self.resource.gvk);
        if self.resource.allows("delete") {
            let delete = Operation {
                query: Some(parameters::query(parameters::DELETE)),
                body: Some(self.options_body()),
                schema: reference(STATUS),
                ..self.operation("delete", "delete", format!("delete an object of kind {kind}"))
            };
            item.insert("delete", self.write(delete));
        }
        item.into()
    }

    fn subresource(&self, subresource: &Subresource) -> Value {
        let mut item = self.item(true, self.resource.namespaced);
        let suffix = capitalized(&subresource.name);
        self.add_read_and_write(&mut item, &subresource.verbs, &suffix, &subresource.gvk);
        if subresource.verbs.iter().any(|verb| **verb == *"create") {
            let create = Operation {
                suffix: &suffix,
                kind: &subresource.gvk,
                query: Some(parameters::query(parameters::WRITE)),
                body: Some(self.content(self.schema_of(&subresource.gvk), true)),
                schema: self.schema_of(&subresource.gvk),
                created: true,
                ..self.operation(
                    "create",
                    "post",
                    format!("create {} of an object", subresource.name),
                )
            };
            item.insert("post", self.write(create));
        }
        item.into()
    }

    /// Adds reading, replacing and patching of an object or of what belongs to it.
    fn add_read_and_write(
        &self,
        item: &mut Map,
        verbs: &[Box<str>],
        suffix: &str,
        kind: &GroupVersionKind,
    ) {
        let part = if suffix.is_empty() {
            format!("an object of kind {}", self.resource.gvk.kind)
        } else {
            format!("{} of an object of kind {}", suffix.to_lowercase(), self.resource.gvk.kind)
        };
        let schema = self.schema_of(kind);
        for (verb, method, word) in
            [("get", "get", "read"), ("update", "put", "replace"), ("patch", "patch", "patch")]
        {
            if !verbs.iter().any(|served| **served == *verb) {
                continue;
            }
            let (query, body) = match verb {
                "get" => (None, None),
                "update" => (Some(parameters::WRITE), Some(self.content(schema.clone(), true))),
                _ => (Some(parameters::WRITE), Some(self.patch_body())),
            };
            let operation = Operation {
                suffix,
                kind,
                query: query.map(parameters::query),
                body,
                schema: schema.clone(),
                created: verb == "update",
                ..self.operation(word, method, format!("{word} {part}"))
            };
            item.insert(method, self.write(operation));
        }
    }

    fn item(&self, named: bool, namespaced: bool) -> Map {
        let mut item = Map::new();
        let parameters = parameters::of_path(&self.resource.gvk.kind, named, namespaced);
        item.insert("parameters", parameters);
        item
    }

    fn operation<'b>(
        &'b self,
        word: &'b str,
        action: &'b str,
        description: String,
    ) -> Operation<'b> {
        Operation {
            word,
            action,
            description,
            suffix: "",
            kind: &self.resource.gvk,
            query: None,
            body: None,
            schema: self.schema_of(&self.resource.gvk),
            created: false,
        }
    }

    /// A reference to a kind's definition, as far as there is one.
    fn schema_of(&self, kind: &GroupVersionKind) -> Value {
        if *kind == self.resource.gvk {
            return reference(&definition_name(self.resource));
        }
        match builtin::kind(&kind.group, &kind.version, &kind.kind) {
            Some(kind) => reference(&kind.message().definition()),
            None => object! {"type": "object"},
        }
    }

    fn object_body(&self) -> Value {
        self.content(self.schema_of(&self.resource.gvk), true)
    }

    fn options_body(&self) -> Value {
        self.content(reference(DELETE_OPTIONS), false)
    }

    fn patch_body(&self) -> Value {
        let types = self.resource.patch_types().iter();
        let content = types.map(|media_type| (*media_type, object! {"schema": reference(PATCH)}));
        object! {"content": content.collect::<Map>(), "required": true}
    }

    /// A body of an object's media types.
    fn content(&self, schema: Value, required: bool) -> Value {
        let mut types = vec!["application/json", "application/yaml"];
        if self.resource.origin == Origin::Builtin {
            types.push(PROTOBUF);
        }
        let content = types.into_iter().map(|kind| (kind, object! {"schema": schema.clone()}));
        let mut body = object! {"content": content.collect::<Map>()};
        if required {
            body.set(&["required"], true);
        }
        body
    }

    fn write(&self, operation: Operation<'_>) -> Value {
        let version = self.resource.gvk.group_version();
        let answer = |description: &str| {
            let content = ["application/json", "application/yaml"]
                .map(|kind| (kind, object! {"schema": operation.schema.clone()}));
            object! {"description": description, "content": content.into_iter().collect::<Map>()}
        };
        let mut responses = Map::new();
        responses.insert("200", answer("OK"));
        if operation.created {
            responses.insert("201", answer("Created"));
        }
        responses.insert("401", object! {"description": "Unauthorized"});
        let kind = operation.kind;
        let mut out = object! {
            "tags": vec![tag(&version).into()],
            "description": operation.description.clone(),
            "operationId": self.id(&operation, &version),
            "responses": responses,
            "x-kubernetes-action": operation.action,
        };
        out.set(
            &[GVK],
            object! {"group": &*kind.group, "version": &*kind.version, "kind": &*kind.kind},
        );
        if let Some(query) = operation.query {
            out.set(&["parameters"], query);
        }
        if let Some(body) = operation.body {
            out.set(&["requestBody"], body);
        }
        out
    }

    /// e.g. `createCoreV1NamespacedConfigMap`, unique in all documents.
    fn id(&self, operation: &Operation<'_>, version: &GroupVersion) -> String {
        let collection = if operation.action == "deletecollection" { "Collection" } else { "" };
        let everywhere = operation.suffix == "ForAllNamespaces";
        let scope = if self.resource.namespaced && !everywhere { "Namespaced" } else { "" };
        format!(
            "{}{}{}{collection}{scope}{}{}",
            operation.word,
            group_word(&version.group),
            capitalized(&version.version),
            self.resource.gvk.kind,
            operation.suffix
        )
    }
}

/// e.g. `rbacAuthorization_v1`.
fn tag(version: &GroupVersion) -> String {
    let group = group_word(&version.group);
    let first = group.chars().next().map(|first| first.to_ascii_lowercase());
    let rest = group.chars().skip(1);
    let group: String = first.into_iter().chain(rest).collect();
    format!("{group}_{}", version.version)
}

/// A group as one word: `Core`, `RbacAuthorization`.
fn group_word(group: &str) -> String {
    if group.is_empty() {
        return "Core".into();
    }
    let group = group.strip_suffix(".k8s.io").unwrap_or(group);
    group.split(|c: char| !c.is_ascii_alphanumeric()).map(capitalized).collect()
}

fn capitalized(word: &str) -> String {
    let mut chars = word.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}
