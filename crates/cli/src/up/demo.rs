//! The example: a provider, a tenant, and a private service that only the agent reaches.

use std::path::PathBuf;
use std::time::Duration;

use strait_machinery::json::Value;
use strait_machinery::{object, yaml};
use strait_reconcile::ApiError;
use strait_runtime::{fs, random_16};

use super::child::Child;
use super::{Children, Up, agent, failed, path};
use crate::client::Workspace;
use crate::example_signer;
use crate::exit::Failure;

/// The provider's workspace.
pub(super) const PROVIDER: &str = "root:provider";
/// Whose it is.
pub(super) const PROVIDER_USER: &str = "provider";
/// The tenant's workspace.
pub(super) const TENANT: &str = "root:demo";
/// Whose it is.
pub(super) const TENANT_USER: &str = "demo";
/// What the agent offers of the private service.
pub(super) const SERVICE: &str = "signer";
/// The provider's export.
pub(super) const EXPORT: &str = "signing";

const PROVIDER_OBJECTS: &str = include_str!("../../../../examples/signing/provider.yaml");
const TENANT_OBJECTS: &str = include_str!("../../../../examples/signing/tenant.yaml");
const AGENT_CONFIG: &str = include_str!("../../../../examples/signing/agent.yaml");

/// What stands in the example's configuration where ours differs.
const CONFIG_URL: &str = "http://127.0.0.1:8125";
const CONFIG_TOKEN: &str = "/etc/strait/signer-token";

/// Longest wait for what the hub completes by itself.
const LIMIT: Duration = Duration::from_secs(20);

/// A token is 43 characters.
const TOKEN_MAX: usize = 256;

/// Makes the example's workspaces and what is in them, on the first start only: what was changed
/// or deleted since then stays so.
pub(super) async fn ensure(
    up: &Up,
    workspace: &impl AsyncFn(&str) -> Result<Workspace, Failure>,
) -> Result<(), Failure> {
    let done = up.directory.join("example").join("made");
    if done.exists() {
        return Ok(());
    }
    let root = workspace("root").await?;
    let (provider, tenant) = (workspace(PROVIDER).await?, workspace(TENANT).await?);
    let made = async {
        for path in [PROVIDER, TENANT] {
            make_workspace(&root, path).await?;
        }
        make(&provider, &administrator(PROVIDER_USER)).await?;
        make(&tenant, &administrator(TENANT_USER)).await?;
        for object in documents(PROVIDER_OBJECTS) {
            make(&provider, &object).await?;
        }
        for object in documents(TENANT_OBJECTS) {
            make(&tenant, &object).await?;
        }
        let bound = |binding: &Value| binding.str_at(&["status", "phase"]) == Some("Bound");
        tenant.wait("/apis/apis.kcp.io/v1alpha2/apibindings", EXPORT, LIMIT, bound).await
    };
    made.await.map_err(|error| failed("the example cannot be made", &error))?;
    fs::create_private_dir(&up.directory.join("example"))?;
    fs::write_atomic(&done, b"", 0o600)?;
    Ok(())
}

async fn make_workspace(root: &Workspace, path: &str) -> Result<(), ApiError> {
    let name = path.rsplit(':').next().unwrap_or(path);
    let workspaces = "/apis/tenancy.kcp.io/v1alpha1/workspaces";
    let workspace = object! {
        "apiVersion": "tenancy.kcp.io/v1alpha1",
        "kind": "Workspace",
        "metadata": object! {"name": name},
    };
    root.ensure(workspaces, &workspace).await?;
    let ready = |workspace: &Value| workspace.str_at(&["status", "phase"]) == Some("Ready");
    root.wait(workspaces, name, LIMIT, ready).await.map(drop)
}

/// Every right in a workspace, for its user.
fn administrator(user: &str) -> Value {
    object! {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": object! {"name": format!("{user}-administers")},
        "roleRef": object! {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "cluster-admin",
        },
        "subjects": vec![object! {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "User",
            "name": user,
        }],
    }
}

async fn make(workspace: &Workspace, object: &Value) -> Result<(), ApiError> {
    let version = object.str_at(&["apiVersion"]).unwrap_or_default();
    let kind = object.str_at(&["kind"]).unwrap_or_default();
    // Every kind of the example has a regular plural.
    let plural = format!("{}s", kind.to_lowercase());
    workspace.ensure(&format!("/apis/{version}/{plural}"), object).await.map(drop)
}

fn documents(text: &str) -> Vec<Value> {
    let documents = yaml::parse(text).expect("the example's files are YAML");
    documents.into_iter().map(|document| document.value).collect()
}

/// The private service as it runs now.
pub(super) struct Signer {
    /// The agent's configuration, which names its address and the file with its token.
    pub(super) agent_config: PathBuf,
}

/// Starts the private service and writes the agent's configuration for it. The token stands in a
/// file of the agent's; the service knows its hash.
pub(super) async fn start_signer(up: &Up, children: &mut Children) -> Result<Signer, Failure> {
    let keys = up.directory.join("example").join("keys");
    let directory = up.directory.join("agents").join(agent::NAME);
    fs::create_private_dir(&directory)?;
    let token_file = directory.join("signer-token");
    let token = match fs::read_capped(&token_file, TOKEN_MAX) {
        Ok(token) => token,
        Err(error) if error.io().kind() == std::io::ErrorKind::NotFound => {
            let random =
                [random_16(&*up.context.entropy), random_16(&*up.context.entropy)].concat();
            let token = example_signer::sha256_hex(&random).into_bytes();
            fs::write_atomic(&token_file, &token, 0o600)?;
            token
        }
        Err(error) => return Err(error.into()),
    };
    let hash = example_signer::sha256_hex(&token);
    let args = ["__example-signer", "--keys", path(&keys)?, "--token-sha256", &hash];
    let signer = children.signer.insert(Child::start("example signer", &args, &up.log)?);
    let url = signer.ready().await?;
    let agent_config = directory.join("agent.yaml");
    fs::write_atomic(&agent_config, configuration(&url, path(&token_file)?).as_bytes(), 0o600)?;
    Ok(Signer { agent_config })
}

/// The example's configuration, with our address and file.
fn configuration(url: &str, token_file: &str) -> String {
    let token_file = strait_machinery::json::quoted(token_file);
    let config = AGENT_CONFIG.replace(CONFIG_URL, url).replace(CONFIG_TOKEN, &token_file);
    format!("# Written by `strait up` at every start, from examples/signing/agent.yaml.\n{config}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_our_service() {
        let text = configuration("http://127.0.0.1:5", "/a b/token");
        let classes = documents(&text);
        let class =
            classes.iter().find(|one| one.str_at(&["kind"]) == Some("RequestClass")).unwrap();
        let http = |field: &str| class.str_at(&["spec", "executor", "http", field]);
        assert_eq!(http("url"), Some("http://127.0.0.1:5/sign"));
        assert_eq!(http("bearerFile"), Some("/a b/token"));
        let offered =
            classes.iter().find(|one| one.str_at(&["kind"]) == Some("AgentConfig")).unwrap();
        let [service] = offered.array_at(&["services"]) else { panic!("{offered:?}") };
        assert_eq!(service.str_at(&["name"]), Some(SERVICE));
        assert_eq!(service.str_at(&["url"]), Some("http://127.0.0.1:5"));
        let token = ["credentials", "bearer", "tokenFile"];
        assert_eq!(service.str_at(&token), Some("/a b/token"));
    }
}
