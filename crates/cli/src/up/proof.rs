//! One request across the boundary and back, measured.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use strait_audit::{Filter, Stage, list};
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_runtime::random_16;

use super::{Up, agent, failed};
use crate::client::Workspace;
use crate::example_signer::sha256_hex;
use crate::exit::Failure;

const REQUESTS: &str =
    "/apis/signing.example.strait.dev/v1alpha1/namespaces/default/signingrequests";

/// The key that signs.
pub(super) const KEY: &str = "dev";

/// Longest wait for the answer.
const LIMIT: Duration = Duration::from_secs(20);

/// How long each stage of a crossing took.
#[derive(Debug)]
pub(super) struct Crossing {
    /// Name of the stage and when it was reached, from the creation's sending on.
    stages: Vec<(&'static str, Duration)>,
    /// The key whose signature it brought.
    pub(super) key: String,
}

impl Crossing {
    /// From the creation's sending to the answer's arrival, in milliseconds.
    pub(super) fn total_ms(&self) -> u128 {
        self.stages.last().map_or(0, |(_, at)| at.as_millis())
    }
}

impl fmt::Display for Crossing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "crossed:")?;
        let mut before = Duration::ZERO;
        for (name, at) in &self.stages {
            write!(f, " {name} +{:.1} ms,", at.saturating_sub(before).as_secs_f64() * 1e3)?;
            before = before.max(*at);
        }
        write!(f, " {:.1} ms in all; signature verified", before.as_secs_f64() * 1e3)
    }
}

/// Asks for a signature as a tenant does, waits for it, checks it, and deletes the request.
pub(super) async fn cross(up: &Up, tenant: &Workspace) -> Result<Crossing, Failure> {
    let digest = format!("sha256:{}", sha256_hex(&random_16(&*up.context.entropy)));
    let request = object! {
        "apiVersion": "signing.example.strait.dev/v1alpha1",
        "kind": "SigningRequest",
        "metadata": object! {"generateName": "up-"},
        "spec": object! {"digest": digest.as_str(), "keyName": KEY},
    };
    let sent = up.context.clock.now();
    let made =
        tenant.create(REQUESTS, &request).await.map_err(|error| failed("the request", &error))?;
    let name = made.str_at(&["metadata", "name"]).unwrap_or_default();
    let uid = made.str_at(&["metadata", "uid"]).unwrap_or_default();
    let path = format!("{REQUESTS}/{name}");
    let answered = tenant.wait(REQUESTS, name, LIMIT, is_over).await;
    let seen = up.context.clock.now();
    let answered = answered.map_err(|error| failed("the answer", &error))?;
    // Deleted whatever it says: it is nobody's.
    tenant.delete(&path).await.map_err(|error| failed("the request cannot be deleted", &error))?;
    verify(&answered, &digest)?;
    let key = answered.str_at(&["status", "publicKey"]).unwrap_or_default().to_owned();
    let mut stages = audited(&up.directory, uid, sent);
    stages.push(("answered", since(sent, seen)));
    Ok(Crossing { stages, key })
}

fn is_over(request: &Value) -> bool {
    request.str_at(&["status", "completionTime"]).is_some()
}

fn verify(request: &Value, digest: &str) -> Result<(), Failure> {
    let text = |field: &str| request.str_at(&["status", field]).unwrap_or_default();
    let bytes = |field: &str| STANDARD.decode(text(field)).unwrap_or_default();
    let key = UnparsedPublicKey::new(&ED25519, bytes("publicKey"));
    if text("phase") == "Succeeded" && key.verify(digest.as_bytes(), &bytes("signature")).is_ok() {
        return Ok(());
    }
    let message =
        request.str_at(&["status", "failure", "message"]).unwrap_or("the signature is wrong");
    Err(Failure::failed(&format!("the request ended as {:?}: {message}", text("phase"))))
}

/// When each stage was written down, on either side.
fn audited(directory: &Path, uid: &str, sent: Timestamp) -> Vec<(&'static str, Duration)> {
    let hub = directory.join("audit");
    let agent = directory.join("agents").join(agent::NAME).join("audit");
    let wanted = [
        (&hub, Stage::Asked, "asked"),
        (&agent, Stage::Decided, "decided"),
        (&agent, Stage::Started, "started"),
        (&agent, Stage::Ended, "ended"),
    ];
    let found = wanted.into_iter().filter_map(|(log, stage, name)| {
        let filter = Filter {
            crossing: Some(uid.to_owned()),
            stage: Some(stage),
            from: Some(sent),
            ..Filter::default()
        };
        let entry = list(log, filter).ok()?.find_map(Result::ok)?;
        Some((name, since(sent, entry.time)))
    });
    found.collect()
}

fn since(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
