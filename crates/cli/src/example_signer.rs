//! The private service of `strait up`'s demonstration: signs digests with keys that never leave
//! it, for whoever brings the right bearer token.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use strait_machinery::json::{Value, parse};
use strait_machinery::object;
use strait_net::{Body, Incoming, Limits, Server, ServerMetrics, handler, read_body};
use strait_runtime::fs;
use tokio::net::TcpListener;

use crate::exit::{Exit, Failure};
use crate::log::LogArgs;
use crate::process;

/// Names of its keys.
const KEYS: [&str; 2] = ["dev", "release"];

const BODY_MAX: usize = 4096;
const BODY_TIME: Duration = Duration::from_secs(5);
const KEY_MAX: usize = 4096;

/// Where it is asked.
const PATH: &str = "/sign";

/// Where the public half of a key is, by its name.
pub(super) const KEYS_PATH: &str = "/keys/";

/// The example's private service
#[derive(Args, Debug)]
pub(crate) struct SignerArgs {
    /// Directory of its keys
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,

    /// SHA-256 of the bearer token, hexadecimal
    #[arg(long, value_name = "HEX")]
    token_sha256: String,

    /// End when this process, the parent, ends
    #[arg(long, value_name = "PID")]
    parent: Option<u32>,
}

/// Serves on a free loopback port until told to end.
pub(crate) fn run(args: &SignerArgs, log: &LogArgs) -> Result<Exit, Failure> {
    let signer = Arc::new(Signer::open(&args.keys, &args.token_sha256)?);
    process::run(log, args.parent, None, |context| async move {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let address = listener.local_addr()?;
        let limits = Limits { connections: 64, ..Limits::default() };
        let strait_runtime::Context { tasks, shutdown, .. } = context.clone();
        let metrics = ServerMetrics::new(&context.metrics);
        let server = Server { limits, ..Server::plain(metrics, tasks, shutdown) };
        process::announce(&format!("http://{address}"))?;
        let answer = handler(move |_, request| {
            let signer = signer.clone();
            async move { signer.answer(request).await }
        });
        server.serve(listener, answer).await;
        Ok(Exit::Done)
    })
}

struct Signer {
    keys: Vec<(&'static str, Ed25519KeyPair)>,
    token_sha256: String,
}

impl Signer {
    fn open(directory: &Path, token_sha256: &str) -> Result<Self, Failure> {
        fs::create_private_dir(directory)?;
        let keys =
            KEYS.map(|name| key(&directory.join(format!("{name}.key"))).map(|key| (name, key)));
        Ok(Self {
            keys: keys.into_iter().collect::<Result<_, _>>()?,
            token_sha256: token_sha256.to_owned(),
        })
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if !self.knows(request.headers()) {
            return refused(StatusCode::UNAUTHORIZED, "the bearer token is missing or wrong");
        }
        let path = request.uri().path();
        if let (&Method::GET, Some(name)) = (request.method(), path.strip_prefix(KEYS_PATH)) {
            return match self.key(name) {
                Ok(key) => respond(StatusCode::OK, &object! {"publicKey": public(key)}),
                Err(why) => refused(StatusCode::NOT_FOUND, why),
            };
        }
        if request.method() != Method::POST || path != PATH {
            return refused(StatusCode::NOT_FOUND, "there are POST /sign and GET /keys/NAME");
        }
        let Ok(body) = read_body(request.into_body(), BODY_MAX, BODY_TIME).await else {
            return refused(StatusCode::BAD_REQUEST, "the body is too large or not whole");
        };
        match self.sign(&parse(&body).unwrap_or_default()) {
            Ok(signed) => respond(StatusCode::OK, &signed),
            Err(why) => refused(StatusCode::BAD_REQUEST, why),
        }
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(token) = given.and_then(|value| value.strip_prefix("Bearer ")) else {
            return false;
        };
        verify_slices_are_equal(
            sha256_hex(token.as_bytes()).as_bytes(),
            self.token_sha256.as_bytes(),
        )
        .is_ok()
    }

    fn sign(&self, request: &Value) -> Result<Value, &'static str> {
        let text = |name: &str| request.str_at(&[name]).unwrap_or_default();
        let key = self.key(text("keyName"))?;
        let digest = text("digest");
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("the digest is not sha256: and 64 hexadecimal digits");
        }
        Ok(object! {
            "signature": STANDARD.encode(key.sign(digest.as_bytes())),
            "publicKey": public(key),
        })
    }

    fn key(&self, name: &str) -> Result<&Ed25519KeyPair, &'static str> {
        let key = self.keys.iter().find(|(own, _)| *own == name);
        key.map(|(_, key)| key).ok_or("there is no key of that name")
    }
}

fn public(key: &Ed25519KeyPair) -> String {
    STANDARD.encode(key.public_key())
}

/// Reads a key, or makes it.
fn key(path: &Path) -> Result<Ed25519KeyPair, Failure> {
    match fs::read_capped(path, KEY_MAX) {
        Ok(seed) => return Ok(Ed25519KeyPair::from_seed_unchecked(&seed)?),
        Err(error) if error.io().kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let key = Ed25519KeyPair::generate()?;
    fs::write_atomic(path, key.seed()?.as_be_bytes()?.as_ref(), 0o600)?;
    Ok(key)
}

/// Lower-case hexadecimal of a SHA-256.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn refused(status: StatusCode, message: &str) -> Response<Body> {
    respond(status, &object! {"message": message})
}

fn respond(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_bytes()));
    *response.status_mut() = status;
    let media_type = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    #[test]
    fn signs_digests_for_whoever_has_the_token() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Signer::open(directory.path(), &sha256_hex(b"secret")).unwrap();
        let signer = open();
        let mut headers = HeaderMap::new();
        assert!(!signer.knows(&headers));
        for (value, known) in [
            ("Bearer secret", true),
            ("Bearer Secret", false),
            ("secret", false),
            ("Bearer ", false),
        ] {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            assert_eq!(signer.knows(&headers), known, "{value}");
        }
        let digest = format!("sha256:{}", "0a".repeat(32));
        let request = object! {"digest": digest.as_str(), "keyName": "dev"};
        let signed = signer.sign(&request).unwrap();
        let bytes = |name: &str| STANDARD.decode(signed.str_at(&[name]).unwrap()).unwrap();
        let key = UnparsedPublicKey::new(&ED25519, bytes("publicKey"));
        key.verify(digest.as_bytes(), &bytes("signature")).unwrap();
        // Its keys stay the same.
        assert_eq!(open().sign(&request).unwrap(), signed);
        for (digest, key) in [("sha256:00", "dev"), (digest.as_str(), "root"), ("", "dev")] {
            assert!(signer.sign(&object! {"digest": digest, "keyName": key}).is_err());
        }
    }
}
