//! `strait agent manifest`: an agent in Kubernetes.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;
use strait_agent::Files;
use strait_machinery::json::Value;
use strait_machinery::{object, yaml};
use strait_types::is_dns1123_label;

use super::{make, name};
use crate::client::{ClientArgs, Workspace, failure};
use crate::exit::{Exit, Failure};
use crate::output;
use crate::settings::read_file;

/// Everything but what differs from one agent to the next.
const TEMPLATE: &str = include_str!("manifest.yaml");

/// What comes before that where state is kept in a Secret.
const STATE: &str = include_str!("state.yaml");

/// A configuration that offers nothing yet.
const NOTHING: &str = "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\nservices: []\n";

/// A ConfigMap takes 1 MiB with everything in it.
const CONFIG_MAX: usize = 900 << 10;

/// Longest name of an agent: with `strait-agent-` and `-credentials` it is still a label.
const NAME_MAX: usize = 38;

/// Prints what runs an agent in Kubernetes, for `kubectl apply -f -`
///
/// It makes the agent, if there is none of that name, and a token that all replicas join with. The
/// token ends: a pod that is made later cannot join with it, so print and apply a new one in time.
#[derive(Args, Debug)]
pub(super) struct ManifestArgs {
    /// Name of the agent; a DNS label
    name: String,

    /// File of its services (AgentConfig); credentials that it names are files of the Secret
    /// `strait-agent-NAME-credentials`, in /etc/strait/credentials
    #[arg(short = 'f', long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Namespace to run in
    #[arg(short, long, value_name = "NAME", default_value = "strait")]
    namespace: String,

    /// Image with this program in its path
    #[arg(long, value_name = "IMAGE", default_value = concat!("strait:", env!("CARGO_PKG_VERSION")))]
    image: String,

    /// How many pods
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    replicas: u8,

    /// How long the token is good for; at most 7d
    #[arg(long, value_name = "DURATION", default_value = "7d")]
    ttl: String,

    /// How many installations may join with it, pods that come later included; at most 100
    #[arg(long, value_name = "N", default_value_t = 100)]
    uses: i64,

    /// Secret of the namespace with a token (key `token`), in the place of a new one
    #[arg(long, value_name = "NAME", conflicts_with_all = ["ttl", "uses"])]
    existing_secret: Option<String>,

    /// Keep the pods' keys and certificates in a Secret, so that pods that are made anew need no token: a
    /// StatefulSet, and a role that reads and writes that Secret alone
    #[arg(long)]
    state_secret: bool,

    /// Print values of the chart charts/strait-agent instead
    #[arg(long)]
    helm: bool,

    #[command(flatten)]
    client: ClientArgs,
}

/// What is told of one agent, checked.
struct Wanted {
    name: String,
    namespace: String,
    image: String,
    replicas: u8,
    config: String,
    state_secret: bool,
    token: Token,
}

enum Token {
    /// A new one.
    New(String),
    /// The Secret that holds one.
    In(String),
}

/// Runs the command.
pub(super) async fn run(args: &ManifestArgs) -> Result<Exit, Failure> {
    let mut wanted = args.read()?;
    if args.existing_secret.is_none() {
        let workspace = Workspace::open(&args.client).await?;
        let options = object! {"ttl": args.ttl.as_str(), "uses": args.uses};
        let made = make(&workspace, &wanted.name, &[], &options).await.map_err(|error| {
            failure(&format!("agent {:?} in workspace {}", args.name, workspace.name()), &error)
        })?;
        let expires = made.str_at(&["expires"]).unwrap_or_default();
        let expires = expires.split_once('.').map_or(expires, |(seconds, _)| seconds);
        output::note(&format!("the token in it ends {expires}; pods made later need another"));
        wanted.token = Token::New(made.str_at(&["token"]).unwrap_or_default().to_owned());
    }
    let text = if args.helm { yaml::to_text(&wanted.values()) } else { wanted.manifest()? };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(Exit::Done)
}

impl ManifestArgs {
    fn read(&self) -> Result<Wanted, Failure> {
        let mut mistakes = Vec::new();
        let name = name(&self.name)?;
        if name.len() > NAME_MAX {
            mistakes.push(format!("{name:?} is too long: at most {NAME_MAX} characters"));
        }
        let secret = self.existing_secret.as_deref();
        for (flag, text) in [("namespace", Some(&*self.namespace)), ("existing-secret", secret)] {
            if text.is_some_and(|text| !is_dns1123_label(text)) {
                mistakes.push(format!("--{flag}: {:?} is no DNS label", text.unwrap_or_default()));
            }
        }
        if !is_image(&self.image) {
            mistakes.push(format!("--image: {:?} is no image", self.image));
        }
        let config = self.config_text(&mut mistakes);
        if !mistakes.is_empty() {
            return Err(Failure::usage(mistakes));
        }
        Ok(Wanted {
            name,
            namespace: self.namespace.clone(),
            image: self.image.clone(),
            replicas: self.replicas,
            config,
            state_secret: self.state_secret,
            token: Token::In(secret.unwrap_or_default().to_owned()),
        })
    }

    fn config_text(&self, mistakes: &mut Vec<String>) -> String {
        let Some(path) = &self.config else { return NOTHING.to_owned() };
        let files = Files { paths: vec![path.clone()], allow_insecure: false };
        if let Err(errors) = files.read_for_elsewhere() {
            mistakes.extend(errors.to_string().lines().map(str::to_owned));
        }
        read_file(&path.display().to_string(), CONFIG_MAX).unwrap_or_else(|why| {
            mistakes.push(format!("--config: {why}"));
            String::new()
        })
    }
}

impl Wanted {
    /// Objects of Kubernetes, in the order in which they are to be made.
    fn manifest(&self) -> Result<String, Failure> {
        let own = format!("strait-agent-{}", self.name);
        let secret = match &self.token {
            Token::New(_) => &own,
            Token::In(secret) => secret,
        };
        let state = if self.state_secret { STATE } else { "" };
        let text = format!("{state}{TEMPLATE}")
            .replace("strait-agent-NAME", &own)
            .replace("NAMESPACE", &self.namespace)
            .replace("TOKEN-SECRET", secret);
        let documents = yaml::parse(&text).map_err(|error| Failure {
            exit: Exit::Failed,
            lines: vec![strait_types::Report(&error).to_string()],
        })?;
        let mut out = String::new();
        let mut objects: Vec<Value> = documents.into_iter().map(|one| one.value).collect();
        // What holds the others comes first.
        objects.sort_by_key(|object| object.str_at(&["kind"]) != Some("Namespace"));
        for mut object in objects {
            let is_state = object.str_at(&["metadata", "name"]) == Some(&format!("{own}-state"));
            match (object.str_at(&["kind"]).unwrap_or_default(), &self.token) {
                ("Secret", _) if is_state => {}
                ("Secret", Token::In(_)) => continue,
                ("Secret", Token::New(token)) => {
                    object.set(&["stringData", "token"], token.as_str());
                }
                ("ConfigMap", _) => object.set(&["data", "agent.yaml"], self.config.as_str()),
                ("Deployment", _) => {
                    self.complete(&mut object);
                    if self.state_secret {
                        keep_state(&mut object, &own);
                    }
                }
                _ => {}
            }
            let labels = ["metadata", "labels"];
            if object.str_at(&["kind"]) != Some("Namespace") {
                for (key, value) in [("name", "strait-agent"), ("instance", &own)] {
                    let key = format!("app.kubernetes.io/{key}");
                    object.set(&[labels[0], labels[1], &key], value);
                }
            }
            // Text takes everything.
            let _ = write!(out, "---\n{}", yaml::to_text(&object));
        }
        Ok(out)
    }

    fn complete(&self, deployment: &mut Value) {
        deployment.set(&["spec", "replicas"], i64::from(self.replicas));
        let pod = ["spec", "template", "spec", "containers"];
        let mut containers = deployment.array_at(&pod).to_vec();
        for container in &mut containers {
            container.set(&["image"], self.image.as_str());
        }
        deployment.set(&pod, containers);
    }

    /// The same as values of the chart.
    fn values(&self) -> Value {
        let (repository, tag) = split(&self.image);
        let mut values = object! {
            "fullnameOverride": format!("strait-agent-{}", self.name),
            "replicaCount": i64::from(self.replicas),
            "image": object! {"repository": repository, "tag": tag},
            "config": self.config.as_str(),
        };
        if self.state_secret {
            values.set(&["stateSecret", "enabled"], true);
        }
        match &self.token {
            Token::New(token) => values.set(&["token"], token.as_str()),
            Token::In(secret) => values.set(&["existingSecret"], secret.as_str()),
        }
        values
    }
}

/// Makes a StatefulSet of a Deployment, whose pods keep their names and find their state by them.
fn keep_state(workload: &mut Value, own: &str) {
    workload.set(&["kind"], "StatefulSet");
    let pod = ["spec", "template", "spec"];
    workload.set(&[pod[0], pod[1], pod[2], "automountServiceAccountToken"], true);
    workload.remove(&["spec", "strategy"]);
    // Nothing listens, so there is no Service of this name.
    workload.set(&["spec", "serviceName"], own);
    workload.set(&["spec", "podManagementPolicy"], "Parallel");
    let at = [pod[0], pod[1], pod[2], "containers"];
    let mut containers = workload.array_at(&at).to_vec();
    for container in &mut containers {
        let arguments = container.array_at(&["args"]).iter();
        let arguments = arguments.filter(|own| own.as_str() != Some("--ephemeral")).cloned();
        let state = Value::from(format!("--state-secret={own}-state"));
        container.set(&["args"], arguments.chain([state]).collect::<Vec<Value>>());
    }
    workload.set(&at, containers);
}

/// Whether it can be the name of an image; what pulls it knows whether there is one.
fn is_image(text: &str) -> bool {
    let starts = text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    starts && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte))
}

/// Repository, and tag or `@digest`.
fn split(image: &str) -> (&str, &str) {
    if let Some(at) = image.find('@') {
        return image.split_at(at);
    }
    let host = image.rfind('/').map_or(0, |slash| slash + 1);
    match image[host..].rfind(':') {
        Some(colon) => (&image[..host + colon], &image[host + colon + 1..]),
        None => (image, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(token: Token) -> Wanted {
        Wanted {
            name: "smith".into(),
            namespace: "edge".into(),
            image: "strait:1".into(),
            replicas: 3,
            config: "a: NAMESPACE\n".into(),
            state_secret: false,
            token,
        }
    }

    #[test]
    fn an_image_is_a_repository_and_a_tag() {
        for (image, expected) in [
            ("strait:0.1.0", ("strait", "0.1.0")),
            ("strait", ("strait", "latest")),
            ("r.example:5000/a/strait", ("r.example:5000/a/strait", "latest")),
            ("r.example:5000/a/strait:1", ("r.example:5000/a/strait", "1")),
            ("r.example/strait@sha256:ab", ("r.example/strait", "@sha256:ab")),
        ] {
            assert!(is_image(image), "{image}");
            assert_eq!(split(image), expected);
        }
        for text in ["", "a b", "-x", "a\nb", "{a: b}", "a'"] {
            assert!(!is_image(text), "{text}");
        }
    }

    /// A change of what is printed is shown to a real API server before it is kept, as the files say.
    #[test]
    fn what_is_printed_is_what_kubernetes_took() {
        for (state_secret, expected) in [
            (false, include_str!("../../testdata/agent-deployment.yaml")),
            (true, include_str!("../../testdata/agent-statefulset.yaml")),
        ] {
            let config = NOTHING.to_owned();
            let wanted = Wanted { state_secret, config, ..wanted(Token::New("sj1.x".into())) };
            let (_, objects) = expected.split_once("---\n").unwrap();
            assert_eq!(wanted.manifest().unwrap(), format!("---\n{objects}"));
        }
    }

    #[test]
    fn what_is_printed_is_whole_and_keeps_what_was_given() {
        let kinds = |text: &str| -> Vec<String> {
            let documents = yaml::parse(text).unwrap().into_iter();
            documents.filter_map(|one| Some(one.value.str_at(&["kind"])?.to_owned())).collect()
        };
        let text = wanted(Token::New("sj1.x".into())).manifest().unwrap();
        let all = "Namespace ServiceAccount Secret ConfigMap Deployment PodDisruptionBudget";
        assert_eq!(kinds(&text).join(" "), all);
        // What was given is not taken for a place to fill in.
        assert!(text.contains("a: NAMESPACE") && text.contains("token: sj1.x"), "{text}");
        assert!(!text.contains("-NAME") && !text.contains("TOKEN-SECRET"), "{text}");
        let text = wanted(Token::In("mine".into())).manifest().unwrap();
        assert!(!kinds(&text).contains(&"Secret".to_owned()) && text.contains("secretName: mine"));
        let kept = Wanted { state_secret: true, ..wanted(Token::In("mine".into())) };
        let text = kept.manifest().unwrap();
        let all = "Namespace Secret Role RoleBinding ServiceAccount ConfigMap StatefulSet PodDisruptionBudget";
        assert_eq!(kinds(&text).join(" "), all);
        for (line, is_there) in [
            ("--state-secret=strait-agent-smith-state", true),
            ("automountServiceAccountToken: true", true),
            ("--ephemeral", false),
            ("maxSurge", false),
        ] {
            assert_eq!(text.contains(line), is_there, "{line} in {text}");
        }
        assert_eq!(kept.values().at(&["stateSecret", "enabled"]), Some(&true.into()));
        let values = wanted(Token::In("mine".into())).values();
        assert_eq!(values.str_at(&["existingSecret"]), Some("mine"));
        assert_eq!(values.str_at(&["image", "tag"]), Some("1"));
    }
}
