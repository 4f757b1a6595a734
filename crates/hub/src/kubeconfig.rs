//! Kubeconfig files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_machinery::yaml;

/// One context of a kubeconfig: a workspace and who enters it.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// The context's name, and the cluster's and user's.
    pub name: &'a str,
    /// The workspace's URL.
    pub server: &'a str,
    /// PEM of the client certificate.
    pub certificate: &'a str,
    /// PEM of its key.
    pub key: &'a str,
}

/// A kubeconfig as YAML. The file holds private keys: write it with mode 0600.
#[must_use]
pub fn render(ca: &str, contexts: &[Context<'_>], current: &str) -> String {
    let named = |name: &str, key: &str, value: Value| -> Value {
        let mut entry = object! {"name": name};
        entry.set(&[key], value);
        entry
    };
    let clusters = contexts.iter().map(|context| {
        named(
            context.name,
            "cluster",
            object! {
                "server": context.server,
                "certificate-authority-data": STANDARD.encode(ca),
            },
        )
    });
    let users = contexts.iter().map(|context| {
        named(
            context.name,
            "user",
            object! {
                "client-certificate-data": STANDARD.encode(context.certificate),
                "client-key-data": STANDARD.encode(context.key),
            },
        )
    });
    let all = contexts.iter().map(|context| {
        named(context.name, "context", object! {"cluster": context.name, "user": context.name})
    });
    yaml::to_text(&object! {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": clusters.collect::<Value>(),
        "users": users.collect::<Value>(),
        "contexts": all.collect::<Value>(),
        "current-context": current,
    })
}
