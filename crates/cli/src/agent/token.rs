//! `strait agent token create`.

use std::io::Write as _;
use std::time::Duration;

use clap::{Args, Subcommand};
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_reconcile::ApiError;

use crate::client::{ClientArgs, Workspace, failure};
use crate::exit::{Exit, Failure};
use crate::output::{self, AnswerFormat};

const AGENTS: &str = "/apis/relay.strait.dev/v1alpha1/agents";
const BINDINGS: &str = "/apis/apis.kcp.io/v1alpha2/apibindings";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// The workspace of the hub's own exports.
const EXPORTS_PATH: &str = "root";
/// The export of agents; its kinds are of the group of that name.
const AGENTS_EXPORT: &str = "relay.strait.dev";
/// The export of what agents say of the requests that they take; likewise.
const REQUESTS_EXPORT: &str = "requests.strait.dev";

/// Longest wait for a new binding.
const BIND_LIMIT: Duration = Duration::from_secs(20);

/// Lets agents join
#[derive(Args, Debug)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    Create(CreateArgs),
}

/// Makes an agent, if there is none of that name, and prints a token that lets it join once
///
/// The token alone goes to standard output. It carries the hub's addresses and the hash of its
/// CA's key, so that the agent needs nothing else.
#[derive(Args, Debug)]
struct CreateArgs {
    /// Name of the agent; a DNS label
    name: String,

    /// How long the token is good for; at most 7d [default: 1h]
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,

    /// How many installations may join with it; at most 100 [default: 1]
    #[arg(long, value_name = "N")]
    uses: Option<i64>,

    /// Export of this workspace whose requests the agent may take; may be given again
    #[arg(long = "export", value_name = "NAME")]
    exports: Vec<String>,

    /// How to print; `name` prints the agent's name only
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<AnswerFormat>,
}

/// Runs the command.
pub(crate) async fn run(args: &TokenArgs, client: &ClientArgs) -> Result<Exit, Failure> {
    let TokenCommand::Create(args) = &args.command;
    let workspace = Workspace::open(client).await?;
    let answer = create(&workspace, args).await.map_err(|error| {
        failure(&format!("agent {:?} in workspace {}", args.name, workspace.name()), &error)
    })?;
    let token = answer.str_at(&["token"]).unwrap_or_default();
    let name = format!("agent.relay.strait.dev/{}", args.name);
    let text = output::answer(args.output, &answer, token, &name);
    std::io::stdout().lock().write_all(text.as_bytes())?;
    if args.exports.is_empty() {
        let text = "was given no export: it may offer services and does no requests; grant one with --export NAME";
        output::note(&format!("agent {} {text}", args.name));
    }
    Ok(Exit::Done)
}

async fn create(workspace: &Workspace, args: &CreateArgs) -> Result<Value, ApiError> {
    let exports: Vec<&str> = args.exports.iter().map(String::as_str).collect();
    let mut options = Value::object();
    if let Some(ttl) = &args.ttl {
        options.set(&["ttl"], ttl.as_str());
    }
    if let Some(uses) = args.uses {
        options.set(&["uses"], uses);
    }
    make(workspace, &args.name, &exports, &options).await
}

/// Makes an agent with rights on exports, where these are not there yet, and a token for it;
/// returns the answer, which has it as `token`.
pub(crate) async fn make(
    workspace: &Workspace,
    name: &str,
    exports: &[&str],
    options: &Value,
) -> Result<Value, ApiError> {
    bind(workspace, AGENTS_EXPORT).await?;
    if !exports.is_empty() {
        bind(workspace, REQUESTS_EXPORT).await?;
    }
    let agent = object! {
        "apiVersion": "relay.strait.dev/v1alpha1",
        "kind": "Agent",
        "metadata": object! {"name": name},
    };
    workspace.ensure(AGENTS, &agent).await?;
    for export in exports {
        grant(workspace, name, export).await?;
    }
    workspace.create(&format!("{AGENTS}/{name}/token"), options).await
}

/// Makes the workspace serve kinds of the hub's own, if it does not.
async fn bind(workspace: &Workspace, export: &str) -> Result<(), ApiError> {
    match workspace.get(&format!("/apis/{export}/v1alpha1")).await {
        Ok(_) => return Ok(()),
        Err(error) if error.code() == Some(404) => {}
        Err(error) => return Err(error),
    }
    let reference = object! {"export": object! {"path": EXPORTS_PATH, "name": export}};
    let binding = object! {
        "apiVersion": "apis.kcp.io/v1alpha2",
        "kind": "APIBinding",
        "metadata": object! {"name": export},
        "spec": object! {"reference": reference},
    };
    workspace.ensure(BINDINGS, &binding).await?;
    let bound = |binding: &Value| binding.str_at(&["status", "phase"]) == Some("Bound");
    workspace.wait(BINDINGS, export, BIND_LIMIT, bound).await.map(drop)
}

/// Gives the agent what it needs of one export: to find it, to read its objects in every
/// workspace that bound it, and to write their status and finalizers.
async fn grant(workspace: &Workspace, agent: &str, export: &str) -> Result<(), ApiError> {
    let name = format!("strait:agent:{agent}:{export}");
    let cluster = cluster_of(workspace).await?;
    let rule = |resource: &str, verbs: &[&str]| {
        object! {
            "apiGroups": vec!["apis.kcp.io".into()],
            "resources": vec![resource.into()],
            "resourceNames": vec![export.into()],
            "verbs": verbs.iter().map(|&verb| Value::from(verb)).collect::<Vec<_>>(),
        }
    };
    let role = object! {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": object! {"name": name.as_str()},
        "rules": vec![
            rule("apiexportendpointslices", &["get", "list", "watch"]),
            rule("apiexports/content", &["get", "list", "watch", "update", "patch"]),
        ],
    };
    let binding = object! {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": object! {"name": name.as_str()},
        "roleRef": object! {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": name.as_str(),
        },
        "subjects": vec![object! {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "User",
            "name": format!("system:strait:agent:{cluster}:{agent}"),
        }],
    };
    workspace.ensure(&format!("{RBAC}/clusterroles"), &role).await?;
    workspace.ensure(&format!("{RBAC}/clusterrolebindings"), &binding).await?;
    Ok(())
}

/// The workspace's logical cluster: an agent's user carries it.
async fn cluster_of(workspace: &Workspace) -> Result<String, ApiError> {
    let object = workspace.get("/apis/core.kcp.io/v1alpha1/logicalclusters/cluster").await?;
    let cluster = object.str_at(&["metadata", "annotations", "kcp.io/cluster"]);
    cluster.map(str::to_owned).ok_or(ApiError::Malformed("a logical cluster"))
}
