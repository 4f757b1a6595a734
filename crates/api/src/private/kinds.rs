//! The documents as structs. Texts that need more than a schema to understand (durations,
//! addresses, patterns) are kept as they were written.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A document of any of the kinds.
#[derive(Clone, Debug, PartialEq)]
pub enum Private {
    /// Where requests come from.
    RemoteEndpoint(RemoteEndpoint),
    /// What is a request.
    RequestKindMapping(RequestKindMapping),
    /// What a request does.
    RequestClass(Box<RequestClass>),
    /// Whose requests run.
    RequestPolicy(RequestPolicy),
}

impl Private {
    /// The document's kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::RemoteEndpoint(_) => "RemoteEndpoint",
            Self::RequestKindMapping(_) => "RequestKindMapping",
            Self::RequestClass(_) => "RequestClass",
            Self::RequestPolicy(_) => "RequestPolicy",
        }
    }

    /// The document's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::RemoteEndpoint(endpoint) => &endpoint.metadata.name,
            Self::RequestKindMapping(mapping) => &mapping.metadata.name,
            Self::RequestClass(class) => &class.metadata.name,
            Self::RequestPolicy(policy) => &policy.metadata.name,
        }
    }
}

/// What every document is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Unique among the documents of its kind; a DNS subdomain.
    pub name: String,
}

macro_rules! documents {
    ($($(#[$doc:meta])* $name:ident($spec:ident);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            /// [`API_VERSION`](super::API_VERSION).
            pub api_version: String,
            /// The kind.
            pub kind: String,
            /// The name.
            pub metadata: Metadata,
            /// The content.
            pub spec: $spec,
        }
    )*};
}

documents! {
    /// Where requests come from: an export of the hub that the agent joined.
    RemoteEndpoint(EndpointSpec);
    /// Makes the objects of one exported kind requests of one class.
    RequestKindMapping(MappingSpec);
    /// What a request of the class does here.
    RequestClass(ClassSpec);
    /// Whose requests run.
    RequestPolicy(PolicySpec);
}

/// See [`RemoteEndpoint`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointSpec {
    /// Workspace that holds the export, by path or logical cluster.
    pub workspace: String,
    /// Name of the APIExportEndpointSlice there.
    pub endpoint_slice: String,
}

/// See [`RequestKindMapping`]. Paths are JSON pointers into the object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MappingSpec {
    /// Name of the [`RemoteEndpoint`].
    pub endpoint: String,
    /// The kind, as the export serves it.
    pub resource: MappedResource,
    /// Name of the [`RequestClass`].
    pub class_name: String,
    /// What is given to the class.
    pub params_path: String,
    /// A boolean that asks for cancellation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_path: Option<String>,
    /// A duration from the object's creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_path: Option<String>,
    /// Object under the status that holds phase and conditions.
    pub status_path: String,
    /// Results that have a place of their own.
    #[serde(default)]
    pub results: Vec<ResultPath>,
}

/// A kind by its resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MappedResource {
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Name in the plural.
    pub resource: String,
}

/// The place of one result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResultPath {
    /// Name of one of the class's results.
    pub name: String,
    /// JSON pointer below `/status`.
    pub path: String,
}

/// See [`RequestClass`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClassSpec {
    /// OpenAPI v3 schema of what a request may bring; anything, where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param_schema: Option<Value>,
    /// What happens to an unknown outcome.
    pub execution: Execution,
    /// The most attempts, with [`Execution::AtLeastOnce`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Waits between attempts.
    pub backoff: Backoff,
    /// Longest wait for a turn.
    pub queue_timeout: String,
    /// Longest running time of an attempt.
    pub execution_timeout: String,
    /// Time to end well once asked to.
    pub cancel_grace: String,
    /// Requests that run at once.
    pub concurrency: u32,
    /// Requests that wait for a turn.
    pub max_pending: u32,
    /// What is taken out of what the executor brings back.
    #[serde(default)]
    pub results: Vec<ResultMapping>,
    /// How it is done.
    pub executor: Executor,
}

/// What is promised about repetition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Execution {
    /// An outcome that is unknown is left to a person.
    AtMostOnce,
    /// An outcome that is unknown, or a failure that may pass, is tried again.
    AtLeastOnce,
}

/// Waits that double.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backoff {
    /// The first.
    pub initial: String,
    /// The longest.
    pub max: String,
}

/// One result of a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResultMapping {
    /// Its name.
    pub name: String,
    /// JSON pointer into what the executor brings back.
    pub from: String,
    /// Largest size as JSON.
    pub max_bytes: String,
    /// Whether the request has failed without it.
    pub required: bool,
}

/// How a class does its work: exactly one is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Executor {
    /// One HTTP call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpExecutor>,
    /// One program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessExecutor>,
}

/// One HTTP call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpExecutor {
    /// The method.
    pub method: String,
    /// Address without query.
    pub url: String,
    /// Added headers.
    #[serde(default)]
    pub headers: Vec<TextSource>,
    /// The query.
    #[serde(default)]
    pub query: Vec<TextSource>,
    /// Members of the JSON body.
    #[serde(default)]
    pub body: Vec<BodyMember>,
    /// File with a bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_file: Option<String>,
    /// PEM file of trusted authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Special addresses that may be reached.
    #[serde(default)]
    pub allowed_networks: Vec<String>,
    /// Status codes of success.
    pub success_statuses: Vec<u16>,
    /// Longest wait until the request can be sent.
    pub connect_timeout: String,
    /// Largest body of an answer.
    pub max_response_bytes: String,
}

/// A named text, given or taken from the parameters: exactly one of the two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TextSource {
    /// Its name.
    pub name: String,
    /// The text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// JSON pointer to a scalar parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
}

/// A part of a body, given or taken from the parameters: exactly one of the two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BodyMember {
    /// JSON pointer into the body.
    pub to: String,
    /// Any value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// JSON pointer to a parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
}

/// One program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProcessExecutor {
    /// Absolute path.
    pub program: String,
    /// Arguments, the same for every request.
    #[serde(default)]
    pub args: Vec<String>,
    /// The whole environment.
    #[serde(default)]
    pub env: Vec<EnvVar>,
    /// The least that stands between the program and the machine.
    pub isolation: String,
    /// The program is stopped when it writes more.
    pub max_stdout_bytes: String,
    /// The beginning that is kept.
    pub max_stderr_bytes: String,
}

/// A variable of the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Its text.
    pub value: String,
}

/// See [`RequestPolicy`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicySpec {
    /// In the order in which they are tried.
    pub rules: Vec<Rule>,
}

/// One rule of a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Told to the audit log when the rule decides.
    pub name: String,
    /// What it decides.
    pub effect: Effect,
    /// What must hold of the request.
    #[serde(rename = "match")]
    pub matches: Match,
}

/// What a rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// The request runs.
    Allow,
    /// The request is rejected.
    Deny,
}

/// What must hold of a request; a list that is absent always holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Match {
    /// Patterns of paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspaces: Option<Vec<String>>,
    /// Names of logical clusters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logical_clusters: Option<Vec<String>>,
    /// Names of namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
    /// Names of users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<String>>,
    /// Names of classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// Conditions on the parameters: all must hold.
    #[serde(default)]
    pub params: Vec<ParamCondition>,
}

/// A condition on one parameter: exactly one of the three.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParamCondition {
    /// JSON pointer into the params.
    pub path: String,
    /// The value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<Value>,
    /// One of these values.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Vec<Value>>,
    /// A regular expression that matches the whole of a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}
