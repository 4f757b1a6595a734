//! The kinds of kcp's and our own groups, as files in the form of an APIResourceSchema's spec.

/// One kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindFile {
    /// `plural.group`, which is also the file's name.
    pub name: &'static str,
    /// YAML of an APIResourceSchema's spec.
    pub text: &'static str,
}

macro_rules! kinds {
    ($($name:literal),* $(,)?) => {
        [$(KindFile { name: $name, text: include_str!(concat!("../kinds/", $name, ".yaml")) }),*]
    };
}

/// Kinds that every workspace has.
pub const SYSTEM: [KindFile; 5] = kinds![
    "apibindings.apis.kcp.io",
    "apiexportendpointslices.apis.kcp.io",
    "apiexports.apis.kcp.io",
    "apiresourceschemas.apis.kcp.io",
    "logicalclusters.core.kcp.io",
];

/// Kinds of the export `tenancy.kcp.io`.
pub const TENANCY: [KindFile; 2] =
    kinds!["workspaces.tenancy.kcp.io", "workspacetypes.tenancy.kcp.io"];

/// Kinds of the export `relay.strait.dev`.
pub const RELAY: [KindFile; 3] = kinds![
    "agents.relay.strait.dev",
    "services.relay.strait.dev",
    "certificaterequests.relay.strait.dev",
];

/// Kinds that are served beside those of `relay.strait.dev` and stored nowhere: what is open, and
/// what agents' connections carry.
pub const RELAY_LIVE: [KindFile; 2] =
    kinds!["streams.relay.strait.dev", "agentmetrics.relay.strait.dev"];

/// Kinds of the export `requests.strait.dev`.
pub const REQUESTS: [KindFile; 1] = kinds!["requestclassviews.requests.strait.dev"];

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use strait_machinery::json::{Path, Value};
    use strait_machinery::schema::compile::compile;
    use strait_machinery::schema::{Schema, default, prune, validate};
    use strait_machinery::yaml;

    use super::*;

    fn yaml(text: &str) -> Value {
        yaml::parse(text).unwrap().pop().unwrap().value
    }

    fn schema(file: &KindFile) -> Schema {
        let spec = yaml(file.text);
        let schema = spec.array_at(&["versions"])[0].get("schema").unwrap();
        compile(schema, &Path::root(), &Arc::new(Schema::default())).unwrap()
    }

    /// The object with its defaults, the fields that are not known, and the errors.
    fn admitted(file: &KindFile, text: &str) -> (Value, Vec<String>) {
        let (schema, mut value) = (schema(file), yaml(text));
        let unknown = prune::prune(&mut value, &schema).into_iter();
        let mut wrong: Vec<String> = unknown.map(|path| format!("unknown {path}")).collect();
        default::apply(&mut value, &schema).unwrap();
        let errors = validate::validate(&value, &schema, &Path::root());
        wrong.extend(errors.iter().map(|error| error.path.to_string()));
        (value, wrong)
    }

    #[test]
    fn every_kind_compiles_under_its_name() {
        for file in SYSTEM.iter().chain(&TENANCY).chain(&RELAY).chain(&RELAY_LIVE).chain(&REQUESTS)
        {
            schema(file);
            let spec = yaml(file.text);
            let text = |path: &[&str]| spec.str_at(path).unwrap().to_owned();
            let name = format!("{}.{}", text(&["names", "plural"]), text(&["group"]));
            assert_eq!(name, file.name);
        }
    }

    #[test]
    fn agents_have_defaults_and_bounds() {
        let (agent, wrong) = admitted(&RELAY[0], "{}");
        assert!(wrong.is_empty(), "{wrong:?}");
        for (path, expected) in [
            (&["spec", "services", "allow"][..], r#"["*"]"#),
            (&["spec", "affinity", "mode"], r#""none""#),
            (&["spec", "drain"], "false"),
            (&["spec", "joinPolicy"], r#""token""#),
            (&["spec", "incoming"], "[]"),
        ] {
            assert_eq!(agent.at(path).unwrap().to_string(), expected);
        }
        for (text, field) in [
            ("{spec: {services: {allow: [a/b/c]}}}", "spec.services.allow[0]"),
            ("{spec: {services: {allow: [A]}}}", "spec.services.allow[0]"),
            ("{spec: {joinPolicy: ask}}", "spec.joinPolicy"),
            ("{spec: {affinity: {mode: sticky}}}", "spec.affinity.mode"),
            ("{spec: {affinity: {ttl: 10m}}}", "unknown spec.affinity.ttl"),
            ("{spec: {incoming: [{type: http}]}}", "spec.incoming[0].name"),
            ("{spec: {incoming: [{type: a, name: b}, {type: a, name: b}]}}", "spec.incoming[1]"),
        ] {
            assert_eq!(admitted(&RELAY[0], text).1, [field], "{text}");
        }
    }

    #[test]
    fn services_are_exposed_by_path_and_say_nothing_of_the_private_side() {
        let text = "{spec: {agent: smith, name: ci, type: jenkins}}";
        let (service, wrong) = admitted(&RELAY[1], text);
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(
            service.get("spec").unwrap().at(&["exposure"]).unwrap().to_string(),
            r#"{"path":true,"raw":false}"#
        );
        for (text, field) in [
            ("{spec: {agent: smith, name: ci}}", "spec.type"),
            ("{spec: {agent: Smith, name: ci, type: http}}", "spec.agent"),
            ("{spec: {agent: a, name: b, type: http, url: x}}", "unknown spec.url"),
            (
                "{spec: {agent: a, name: b, type: http, credentials: {}}}",
                "unknown spec.credentials",
            ),
            (
                "{spec: {agent: a, name: b, type: http, limits: {concurrent: -1}}}",
                "spec.limits.concurrent",
            ),
            ("{}", "spec"),
        ] {
            assert_eq!(admitted(&RELAY[1], text).1, [field], "{text}");
        }
    }
}
