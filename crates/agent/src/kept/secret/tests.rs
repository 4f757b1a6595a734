//! Against an API server that knows one Secret, and what `resourceVersion` means.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, Request, Response};
use strait_machinery::json::parse;
use strait_net::{Body, Incoming, Server, ServerMetrics, handler, read_body};
use strait_pki::{Authority, ClientSubject, ServerNames, ServingCertificate, server_config};
use strait_runtime::{SystemClock, SystemEntropy};
use strait_types::HubId;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::*;
use crate::AgentError;
use crate::kept::insist;

const DAY: Duration = Duration::from_secs(86_400);

/// The Secret, and how often it is not given, or changed by somebody else before it is written.
#[derive(Default)]
struct Stored {
    data: Mutex<Value>,
    revision: AtomicUsize,
    refuse: AtomicUsize,
    meddle: AtomicUsize,
}

/// Counts one of something that is left.
fn one_of(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

impl Stored {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        assert_eq!(parts.uri.path(), "/api/v1/namespaces/edge/secrets/smith-state");
        assert!(parts.headers["authorization"].to_str().unwrap().starts_with("Bearer e30."));
        let answer = |status: u16, value: &Value| {
            Response::builder().status(status).body(Body::from(value.to_bytes())).unwrap()
        };
        if one_of(&self.refuse) {
            return answer(403, &object! {"message": "secrets \"smith-state\" is forbidden"});
        }
        if parts.method == Method::PATCH {
            let patch = parse(&read_body(body, 1 << 20, DAY).await.unwrap()).unwrap();
            if one_of(&self.meddle) {
                self.revision.fetch_add(1, Ordering::Relaxed);
            }
            let read = patch.str_at(&["metadata", "resourceVersion"]).unwrap();
            let mut data = self.data.lock();
            if read != self.revision.load(Ordering::Relaxed).to_string() {
                return answer(409, &object! {"message": "the object has been modified"});
            }
            let mut changed = data.clone();
            for (name, value) in patch.at(&["data"]).and_then(Value::as_object).unwrap().iter() {
                match value {
                    Value::Null => drop(changed.remove(&[name])),
                    value => changed.set(&[name], value.clone()),
                }
            }
            if *data != changed {
                *data = changed;
                self.revision.fetch_add(1, Ordering::Relaxed);
            }
        }
        let revision = self.revision.load(Ordering::Relaxed).to_string();
        let metadata = object! {"resourceVersion": revision};
        answer(200, &object! {"metadata": metadata, "data": self.data.lock().clone()})
    }
}

/// The API server, pods of it, and an authority for memberships.
struct Rig {
    stored: Arc<Stored>,
    server: String,
    authority: Arc<Authority>,
    context: Context,
    home: TempDir,
}

impl Rig {
    async fn start() -> Self {
        let context = Context::of_system();
        let id = HubId::from_random([3; 16]);
        let authority = Authority::create(&id, Arc::new(SystemClock), Arc::new(SystemEntropy));
        let authority = Arc::new(authority.unwrap());
        let names = ServerNames::new(["127.0.0.1"]).unwrap();
        let serving = ServingCertificate::new(authority.clone(), names, DAY).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("https://{}", listener.local_addr().unwrap());
        let stored = Arc::<Stored>::default();
        *stored.data.lock() = object! {"note": "aGVsbG8="};
        let shared = stored.clone();
        let answer = handler(move |_, request| {
            let stored = shared.clone();
            async move { stored.answer(request).await }
        });
        let metrics = ServerMetrics::new(&context.metrics);
        let api = Server {
            tls: Some(server_config(serving, &[], Arc::new(SystemClock)).unwrap()),
            ..Server::plain(metrics, context.tasks.clone(), context.shutdown.clone())
        };
        context.tasks.spawn_daemon("api", api.serve(listener, answer));
        Self { stored, server, authority, context, home: TempDir::new().unwrap() }
    }

    /// A pod by name and uid begins its life.
    async fn pod(&self, name: &str, uid: &str) -> Result<Secret, KeptError> {
        let account = self.home.path().join(uid);
        self.write_account(&account, name, uid);
        let state = State { secret: "smith-state".into(), server: self.server.clone(), account };
        let fresh = InstanceId::from_random(strait_runtime::random_16(&SystemEntropy));
        Secret::open(state, &fresh, &self.context).await
    }

    fn write_account(&self, account: &Path, name: &str, uid: &str) {
        let claims = format!(
            r#"{{"kubernetes.io":{{"namespace":"edge","pod":{{"name":"{name}","uid":"{uid}"}}}}}}"#
        );
        std::fs::create_dir_all(account).unwrap();
        let token = format!("e30.{}.c2ln\n", URL_SAFE_NO_PAD.encode(claims));
        std::fs::write(account.join("token"), token).unwrap();
        std::fs::write(account.join("ca.crt"), self.authority.certificate_pem()).unwrap();
    }

    /// A membership that ends at a time.
    fn membership(&self, not_after: &str) -> Membership {
        let subject = ClientSubject { user: "smith".into(), ..ClientSubject::default() };
        let issued = self.authority.issue_client(&subject, DAY).unwrap();
        let value = object! {
            "hub": HubId::from_random([3; 16]).to_string(),
            "hubs": vec![object! {"addr": "hub.example:443"}],
            "ca": self.authority.certificate_pem(),
            "certificate": issued.certificate_pem(),
            "key": issued.key_pem().unwrap().expose().as_str(),
            "agent": "smith", "cluster": "root", "workspace": "root",
            "renewAt": not_after, "notAfter": not_after,
        };
        Membership::from_value(&value).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let data = self.stored.data.lock();
        data.as_object().unwrap().iter().map(|(name, _)| name.to_owned()).collect()
    }
}

fn certificate(secret: &Secret) -> Option<String> {
    secret.entry().membership.map(|own| own.certificate)
}

#[tokio::test]
async fn a_pod_made_anew_goes_on_where_the_one_before_was_killed() {
    let rig = Rig::start().await;
    let first = rig.pod("smith-0", "u1").await.unwrap();
    let instance = first.entry().instance;
    let key = first.join_key().await.unwrap().spki_sha256();
    drop(first);
    // Its container starts again: the hub knows the key that it may have sent.
    let first = rig.pod("smith-0", "u1").await.unwrap();
    assert_eq!(first.join_key().await.unwrap().spki_sha256(), key);
    let joined = rig.membership("2100-01-01T00:00:00Z");
    first.save(&joined).await.unwrap();

    let second = rig.pod("smith-0", "u2").await.unwrap();
    assert_eq!(second.entry().instance, instance);
    assert_eq!(certificate(&second), Some(joined.certificate));
    assert!(second.entry().key.is_none());
    // Whoever has the name writes; the pod before can not even where it still runs.
    let renewed = rig.membership("2100-01-02T00:00:00Z");
    let lost = first.save(&renewed).await.unwrap_err();
    assert!(matches!(lost, KeptError::Lost(_)) && !lost.may_pass(), "{lost}");
    second.save(&renewed).await.unwrap();
    assert_eq!(rig.names(), ["note", "smith-0"]);
}

#[tokio::test]
async fn pods_have_entries_of_their_own_and_lose_none_of_them() {
    let rig = Rig::start().await;
    let (one, two) = tokio::join!(rig.pod("smith-0", "u1"), rig.pod("smith-1", "u2"));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one.entry().instance, two.entry().instance);
    for _ in 0..8 {
        let (first, second) =
            (rig.membership("2100-01-01T00:00:00Z"), rig.membership("2100-01-01T00:00:00Z"));
        let saved = tokio::join!(one.save(&first), two.save(&second));
        assert!(saved.0.is_ok() && saved.1.is_ok(), "{saved:?}");
        for (name, uid, kept) in [("smith-0", "u1", first), ("smith-1", "u2", second)] {
            let read = rig.pod(name, uid).await.unwrap();
            assert_eq!(certificate(&read), Some(kept.certificate));
        }
    }
    rig.stored.meddle.store(3, Ordering::Relaxed);
    one.save(&rig.membership("2100-01-01T00:00:00Z")).await.unwrap();
    rig.stored.meddle.store(ATTEMPTS, Ordering::Relaxed);
    let error = one.save(&rig.membership("2100-01-01T00:00:00Z")).await.unwrap_err();
    assert!(matches!(error, KeptError::Contended(_)) && error.may_pass(), "{error}");
    assert_eq!(rig.names(), ["note", "smith-0", "smith-1"]);
}

#[tokio::test]
async fn what_cannot_be_written_is_tried_again_and_what_is_no_state_is_not() {
    let rig = Rig::start().await;
    rig.stored.refuse.store(2, Ordering::Relaxed);
    let open = || async { Ok::<_, AgentError>(rig.pod("smith-0", "u1").await?) };
    let opened = insist(&rig.context, open).await.unwrap();
    assert!(opened.is_some() && rig.stored.refuse.load(Ordering::Relaxed) == 0);
    rig.stored.refuse.store(1, Ordering::Relaxed);
    let refused = rig.pod("smith-0", "u1").await.unwrap_err().to_string();
    assert!(refused.contains("403") && refused.contains("is forbidden"), "{refused}");
    rig.stored.data.lock().set(&["smith-2"], "e30=");
    let malformed = rig.pod("smith-2", "u3").await.unwrap_err();
    assert!(!malformed.may_pass() && malformed.to_string().contains("smith-2"), "{malformed}");
}

#[tokio::test]
async fn entries_that_are_over_make_room_for_others() {
    let rig = Rig::start().await;
    let old = rig.pod("smith-0", "u0").await.unwrap();
    old.save(&rig.membership("2020-01-01T00:00:00Z")).await.unwrap();
    let kept = rig.pod("smith-1", "u1").await.unwrap();
    assert_eq!(rig.names(), ["note", "smith-1"]);
    kept.save(&rig.membership("2100-01-01T00:00:00Z")).await.unwrap();
    for number in 2..ENTRIES_MAX {
        rig.pod(&format!("smith-{number}"), &format!("u{number}")).await.unwrap();
    }
    let full = rig.pod("smith-64", "u64").await.unwrap_err();
    assert!(matches!(full, KeptError::Full { .. }), "{full}");
    rig.pod("smith-1", "u65").await.unwrap();
}
