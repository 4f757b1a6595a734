//! Documents against those of a kube-apiserver 1.34.

use std::sync::Arc;

use super::*;
use crate::builtin::kinds;
use crate::json::parse;
use crate::schema::Schema;

/// All built-in kinds, and a custom one in three versions.
fn served() -> Vec<Resource> {
    let boxed = |texts: &[&str]| texts.iter().map(|text| (*text).into()).collect::<Vec<Box<str>>>();
    let widget = |version: &str, subresources: Vec<Subresource>| Resource {
        gvk: GroupVersionKind::new("builtin.test", version, "Widget"),
        plural: "widgets".into(),
        singular: "widget".into(),
        list_kind: "WidgetList".into(),
        short_names: boxed(&["wg"]),
        categories: boxed(&["all", "test"]),
        namespaced: true,
        verbs: boxed(&[
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "create",
            "update",
            "watch",
        ]),
        subresources,
        schema: Arc::new(Schema::default()),
        origin: Origin::Custom,
    };
    let subresource = |name: &str, gvk| Subresource {
        name: name.into(),
        gvk,
        verbs: boxed(&["get", "patch", "update"]),
    };
    let subresources = vec![
        subresource("status", GroupVersionKind::new("builtin.test", "v1", "Widget")),
        subresource("scale", GroupVersionKind::new("autoscaling", "v1", "Scale")),
    ];
    let custom =
        [widget("v1beta1", Vec::new()), widget("v2", Vec::new()), widget("v1", subresources)];
    custom.into_iter().chain(kinds().iter().rev().map(Resource::of_builtin)).collect()
}

fn expected(text: &str) -> Value {
    parse(text.as_bytes()).unwrap()
}

#[test]
fn aggregated_documents_are_those_of_upstream() {
    let served = served();
    let served: Vec<_> = served.iter().collect();
    let core = aggregated(&served, true);
    assert_eq!(core.array_at(&["items"]).len(), 1);
    let group = &core.array_at(&["items"])[0];
    assert_eq!(group.get("metadata"), Some(&Value::object()));
    let resources = group.array_at(&["versions"])[0].array_at(&["resources"]);
    let names: Vec<_> =
        resources.iter().map(|resource| resource.str_at(&["resource"]).unwrap()).collect();
    assert_eq!(names, ["configmaps", "events", "namespaces", "secrets", "serviceaccounts"]);
    assert_eq!(
        resources[2],
        expected(
            r#"{"resource": "namespaces", "responseKind": {"group": "", "version": "", "kind": "Namespace"}, "scope": "Cluster", "singularResource": "namespace", "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"], "shortNames": ["ns"], "subresources": [{"subresource": "finalize", "responseKind": {"group": "", "version": "", "kind": "Namespace"}, "verbs": ["update"]}, {"subresource": "status", "responseKind": {"group": "", "version": "", "kind": "Namespace"}, "verbs": ["get", "patch", "update"]}]}"#
        )
    );
    let others = aggregated(&served, false);
    let names: Vec<_> = others
        .array_at(&["items"])
        .iter()
        .map(|group| group.str_at(&["metadata", "name"]).unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "events.k8s.io",
            "authentication.k8s.io",
            "authorization.k8s.io",
            "rbac.authorization.k8s.io",
            "coordination.k8s.io",
            "builtin.test"
        ]
    );
    assert_eq!(
        others.array_at(&["items"])[5],
        expected(
            r#"{"metadata": {"name": "builtin.test"}, "versions": [{"version": "v2", "resources": [{"resource": "widgets", "responseKind": {"group": "builtin.test", "version": "v2", "kind": "Widget"}, "scope": "Namespaced", "singularResource": "widget", "verbs": ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"], "shortNames": ["wg"], "categories": ["all", "test"]}], "freshness": "Current"}, {"version": "v1", "resources": [{"resource": "widgets", "responseKind": {"group": "builtin.test", "version": "v1", "kind": "Widget"}, "scope": "Namespaced", "singularResource": "widget", "verbs": ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"], "shortNames": ["wg"], "categories": ["all", "test"], "subresources": [{"subresource": "status", "responseKind": {"group": "builtin.test", "version": "v1", "kind": "Widget"}, "verbs": ["get", "patch", "update"]}, {"subresource": "scale", "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"}, "verbs": ["get", "patch", "update"]}]}], "freshness": "Current"}, {"version": "v1beta1", "resources": [{"resource": "widgets", "responseKind": {"group": "builtin.test", "version": "v1beta1", "kind": "Widget"}, "scope": "Namespaced", "singularResource": "widget", "verbs": ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"], "shortNames": ["wg"], "categories": ["all", "test"]}], "freshness": "Current"}]}"#
        )
    );
}

#[test]
fn groups_are_listed_with_their_preferred_version() {
    let served = served();
    let served: Vec<_> = served.iter().collect();
    assert_eq!(
        group(&served, "builtin.test"),
        Some(expected(
            r#"{"kind": "APIGroup", "apiVersion": "v1", "name": "builtin.test", "versions": [{"groupVersion": "builtin.test/v2", "version": "v2"}, {"groupVersion": "builtin.test/v1", "version": "v1"}, {"groupVersion": "builtin.test/v1beta1", "version": "v1beta1"}], "preferredVersion": {"groupVersion": "builtin.test/v2", "version": "v2"}}"#
        ))
    );
    assert_eq!(group(&served, "apps"), None);
    let list = group_list(&served);
    assert_eq!(list.array_at(&["groups"]).len(), 6);
    assert_eq!(list.array_at(&["groups"])[0].str_at(&["name"]), Some("events.k8s.io"));
    assert_eq!(
        core_versions("192.0.2.2:6443"),
        expected(
            r#"{"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "192.0.2.2:6443"}]}"#
        )
    );
}

#[test]
fn resources_of_a_version_are_listed_with_their_subresources() {
    let served = served();
    let served: Vec<_> = served.iter().collect();
    let list = |group, version| resource_list(&served, &GroupVersion::new(group, version));
    assert_eq!(
        list("builtin.test", "v1"),
        Some(expected(
            r#"{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "builtin.test/v1", "resources": [{"name": "widgets", "singularName": "widget", "namespaced": true, "kind": "Widget", "verbs": ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"], "shortNames": ["wg"], "categories": ["all", "test"]}, {"name": "widgets/status", "singularName": "", "namespaced": true, "kind": "Widget", "verbs": ["get", "patch", "update"]}, {"name": "widgets/scale", "singularName": "", "namespaced": true, "group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": ["get", "patch", "update"]}]}"#
        ))
    );
    let core = list("", "v1").unwrap();
    assert_eq!(core.get("apiVersion"), None);
    let names: Vec<_> = core
        .array_at(&["resources"])
        .iter()
        .map(|entry| entry.str_at(&["name"]).unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "configmaps",
            "events",
            "namespaces",
            "namespaces/finalize",
            "namespaces/status",
            "secrets",
            "serviceaccounts"
        ]
    );
    assert_eq!(
        list("authorization.k8s.io", "v1").unwrap().array_at(&["resources"])[0],
        expected(
            r#"{"name": "localsubjectaccessreviews", "singularName": "localsubjectaccessreview", "namespaced": true, "kind": "LocalSubjectAccessReview", "verbs": ["create"]}"#
        )
    );
    assert_eq!(list("builtin.test", "v3"), None);
    assert_eq!(list("", "v2"), None);
}

#[test]
fn the_order_of_the_list_does_not_matter() {
    let served = served();
    let there: Vec<_> = served.iter().collect();
    let back: Vec<_> = served.iter().rev().collect();
    assert_eq!(aggregated(&there, false).to_bytes(), aggregated(&back, false).to_bytes());
    assert_eq!(group_list(&there), group_list(&back));
}
