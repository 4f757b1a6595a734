//! sprayproxy's flags and environment.
//!
//! They become a document, and that a [`Config`], so that defaults and rules are those of every
//! other. A flag hides its variable; a variable that is empty is not set. Where sprayproxy took
//! a text that it could not read for the default, or for one backend that does not exist, this
//! refuses it by name.
//!
//! | flag | variable | here |
//! |---|---|---|
//! | `--host`, `--port` | `SPRAYPROXY_SERVER_HOST`, `…_PORT` | where webhooks come to; all addresses, 8080 |
//! | `--backend` | `SPRAYPROXY_SERVER_BACKEND` | addresses between commas or blanks |
//! | `--enable-dynamic-backends` | `SPRAYPROXY_SERVER_ENABLE_DYNAMIC_BACKENDS` | backends come and go |
//! | `--insecure-skip-tls-verify` | `SPRAYPROXY_SERVER_INSECURE_SKIP_TLS_VERIFY` | any certificate will do |
//! | `--insecure-skip-webhook-verify` | `SPRAYPROXY_SERVER_INSECURE_SKIP_WEBHOOK_VERIFY` | nothing is verified |
//! | `--metrics-port`, `-cert`, `-key` | `SPRAYPROXY_SERVER_METRICS_PORT`, … | where metrics are; 9090 |
//! | | `GH_APP_WEBHOOK_SECRET` | the secret |
//! | | `SPRAYPROXY_FORWARDING_REQUEST_TIMEOUT` | time of an attempt; 15 s |
//! | | `SPRAYPROXY_MAX_REQUEST_SIZE` | bytes of a body; 25 MiB |

#[cfg(test)]
mod tests;
mod texts;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest;
use http::Uri;
use serde_json::{Value, json};
use strait_machinery::json::Segment;
use strait_net::Network;
use strait_runtime::units::format_duration;

use super::read::understand;
use super::{API_VERSION, Ack, Answers, Config, DynamicBackends, Files, Identity, KIND, Listener};
use crate::secrets::Place;
use crate::signature::Scheme;

/// The variable that holds the secret.
pub const SECRET: &str = "GH_APP_WEBHOOK_SECRET";

const BACKEND: &str = "SPRAYPROXY_SERVER_BACKEND";
const TIMEOUT: &str = "SPRAYPROXY_FORWARDING_REQUEST_TIMEOUT";
const SIZE: &str = "SPRAYPROXY_MAX_REQUEST_SIZE";

/// What was given on the command line; what was not is looked up in the environment.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--host`: an IP address or `localhost`; empty for all addresses.
    pub host: Option<String>,
    /// `--port`.
    pub port: Option<u16>,
    /// Each `--backend`.
    pub backends: Vec<String>,
    /// `--enable-dynamic-backends`.
    pub enable_dynamic_backends: Option<bool>,
    /// `--insecure-skip-tls-verify`.
    pub insecure_skip_tls_verify: Option<bool>,
    /// `--insecure-skip-webhook-verify`.
    pub insecure_skip_webhook_verify: Option<bool>,
    /// `--metrics-port`.
    pub metrics_port: Option<u16>,
    /// `--metrics-cert`.
    pub metrics_cert: Option<String>,
    /// `--metrics-key`.
    pub metrics_key: Option<String>,
    /// `--data-dir`: ours.
    pub data_dir: Option<PathBuf>,
    /// `--ack`: ours.
    pub ack: Option<Ack>,
    /// `--admin-listen`: ours; where operators come to, as `admin.listen` of a document.
    pub admin_listen: Option<String>,
    /// `--admin-token-file`: ours; a token that is good for everything.
    pub admin_token_file: Option<String>,
    /// `--admin-kubeconfig`: ours; as `admin.kubeconfig` of a document.
    pub admin_kubeconfig: Option<String>,
    /// Each `--dynamic-backend-network`: ours; where added backends may be beside public
    /// addresses.
    pub dynamic_backend_networks: Vec<String>,
}

/// Makes the configuration that flags and environment mean. All addresses are `[::]`, which on
/// most machines is IPv4 as well.
///
/// # Errors
/// Everything that is wrong, each with the name of its flag or variable.
pub fn config(
    flags: &Flags,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Config, Vec<String>> {
    let set = |name: &str| variable(name).filter(|text| !text.is_empty());
    let mut errors = Vec::new();
    let given = Given { set: &set, errors: &mut errors };
    let made = given.config(flags);
    if errors.is_empty() { made.ok_or_else(Vec::new) } else { Err(errors) }
}

/// A backend's name: its host and port as far as a name can hold them, and what tells its URL
/// from all others. The same URL has the same name in every process.
#[must_use]
pub fn backend_name(url: &str) -> String {
    let url = normal(url);
    let authority = url.split_once("://").map_or(&*url, |(_, rest)| rest);
    let authority = authority.split(['/', '?']).next().unwrap_or_default();
    let plain = authority.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    let plain: String = plain.take(48).collect::<String>().to_ascii_lowercase();
    let hash = digest::digest(&digest::SHA256, url.as_bytes());
    let hash: String = hash.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{hash}", plain.trim_matches('-')).trim_start_matches('-').to_owned()
}

/// One text for what is one address: `http://b` and `http://b/`.
fn normal(text: &str) -> String {
    text.parse::<Uri>().map_or_else(|_| text.to_owned(), |url| url.to_string())
}

struct Given<'a> {
    set: &'a dyn Fn(&str) -> Option<String>,
    errors: &'a mut Vec<String>,
}

impl Given<'_> {
    fn config(mut self, flags: &Flags) -> Option<Config> {
        let listen = self.listen(flags);
        let metrics = self.metrics(flags, listen);
        let verify = !self.flag(
            flags.insecure_skip_webhook_verify,
            "SPRAYPROXY_SERVER_INSECURE_SKIP_WEBHOOK_VERIFY",
        );
        if verify && (self.set)(SECRET).is_none() {
            self.errors
                .push(format!("no webhook secret: {SECRET} is not set; or give --config FILE"));
        }
        let dynamic =
            self.flag(flags.enable_dynamic_backends, "SPRAYPROXY_SERVER_ENABLE_DYNAMIC_BACKENDS");
        let (origin, backends) = self.backends(flags);
        let added = DynamicBackends {
            networks: self.networks(flags),
            timeout: Some(self.read(TIMEOUT, texts::duration).unwrap_or(Duration::from_secs(15))),
            insecure: self
                .flag(flags.insecure_skip_tls_verify, "SPRAYPROXY_SERVER_INSECURE_SKIP_TLS_VERIFY"),
        };
        let document = self.document(flags, listen?, &backends, &added);
        let bytes = document.to_string();
        let document = strait_machinery::json::parse(bytes.as_bytes()).ok()?;
        let (config, mistakes) = understand(document, &Unasked);
        self.errors.extend(mistakes.into_iter().map(|(path, text)| match path.segments() {
            [Segment::Field(list), ..] if **list == *"backends" => {
                let (_, why) = text.split_once(": ").unwrap_or(("", &text));
                format!("{origin}: {why}")
            }
            _ => text,
        }));
        let mut config = config?;
        config.metrics = metrics;
        // Those that are added are as those that were named, but at public addresses.
        config.dynamic_backends = dynamic.then_some(added);
        for source in &mut config.sources {
            source.answers = Answers::Sprayproxy;
            if verify {
                source.scheme = Scheme::Github;
                source.secrets = vec![Place::Variable(SECRET.to_owned())];
            }
        }
        Some(config)
    }

    /// The document, without what only a variable can hold.
    fn document(
        &mut self,
        flags: &Flags,
        listen: SocketAddr,
        backends: &[String],
        like: &DynamicBackends,
    ) -> Value {
        let backend = |url: &String| {
            json!({
                "name": backend_name(url),
                "url": url,
                "sources": ["proxy", "root"],
                "timeout": like.timeout.map(format_duration),
                "tls": {"insecure": like.insecure},
                "allowPrivate": true,
            })
        };
        let source = |name, path| json!({"name": name, "path": path, "scheme": "none"});
        let mut document = json!({
            "apiVersion": API_VERSION,
            "kind": KIND,
            "listen": listen.to_string(),
            "sources": [source("proxy", "/proxy"), source("root", "/")],
            "backends": backends.iter().map(backend).collect::<Vec<_>>(),
        });
        match flags.data_dir.as_deref().map(|path| path.to_str().filter(|_| path.is_absolute())) {
            None => {}
            Some(Some(directory)) => document["dataDir"] = directory.into(),
            Some(None) => {
                self.errors.push("--data-dir: must be an absolute path, in UTF-8".to_owned());
            }
        }
        if let Some(listen) = &flags.admin_listen {
            let all = ["view", "payload", "replay", "backends"];
            let token = |file: &String| json!({"name": "admin", "file": file, "may": all});
            let tokens: Vec<_> = flags.admin_token_file.iter().map(token).collect();
            document["admin"] = json!({"listen": listen, "tokens": tokens});
            if let Some(kubeconfig) = &flags.admin_kubeconfig {
                document["admin"]["kubeconfig"] = kubeconfig.as_str().into();
            }
        } else if flags.admin_token_file.is_some() || flags.admin_kubeconfig.is_some() {
            let why = "--admin-token-file and --admin-kubeconfig need --admin-listen";
            self.errors.push(why.to_owned());
        }
        if flags.ack == Some(Ack::Sync) {
            document["ack"] = "sync".into();
        }
        if let Some(size) = self.read(SIZE, texts::size) {
            document["limits"] = json!({"body": size.to_string()});
            if size > texts::MEMORY {
                document["limits"]["memory"] = size.to_string().into();
            }
        }
        document
    }

    fn listen(&mut self, flags: &Flags) -> Option<SocketAddr> {
        let host = flags.host.clone().or_else(|| (self.set)("SPRAYPROXY_SERVER_HOST"));
        let port = flags.port.or_else(|| self.read("SPRAYPROXY_SERVER_PORT", texts::port));
        let address = match host.as_deref().unwrap_or_default() {
            "" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            "localhost" => IpAddr::from([127, 0, 0, 1]),
            text => {
                let Ok(address) = text.parse() else {
                    self.errors.push(format!("--host: {text:?} is not an IP address"));
                    return None;
                };
                address
            }
        };
        Some(SocketAddr::new(address, port.unwrap_or(8080)))
    }

    fn metrics(&mut self, flags: &Flags, listen: Option<SocketAddr>) -> Option<Listener> {
        let port = flags.metrics_port;
        let port = port.or_else(|| self.read("SPRAYPROXY_SERVER_METRICS_PORT", texts::port));
        let port = port.unwrap_or(9090);
        let text = |flag: &Option<String>, name| {
            flag.clone().filter(|text| !text.is_empty()).or_else(|| (self.set)(name))
        };
        let certificate = text(&flags.metrics_cert, "SPRAYPROXY_SERVER_METRICS_CERT");
        let key = text(&flags.metrics_key, "SPRAYPROXY_SERVER_METRICS_KEY");
        let tls = match (certificate, key) {
            (None, None) => None,
            (Some(certificates), Some(key)) => {
                Some(Identity { certificates: certificates.into(), key: key.into() })
            }
            _ => {
                self.errors.push("--metrics-cert and --metrics-key go together".to_owned());
                None
            }
        };
        if port == 0 {
            self.errors.push("--metrics-port: must be from 1 to 65535".to_owned());
        }
        let address = SocketAddr::new(listen?.ip(), port);
        if Some(address) == listen {
            self.errors.push(format!("--metrics-port: {port} is the port of --port"));
        }
        Some(Listener { address, tls })
    }

    fn networks(&mut self, flags: &Flags) -> Vec<Network> {
        let mut networks = Vec::new();
        for text in &flags.dynamic_backend_networks {
            match text.parse() {
                Ok(network) => networks.push(network),
                Err(error) => {
                    self.errors.push(format!("--dynamic-backend-network: {text:?} {error}"));
                }
            }
        }
        networks
    }

    /// Where backends were named, and each once.
    fn backends(&self, flags: &Flags) -> (&'static str, Vec<String>) {
        let (origin, texts) = if flags.backends.is_empty() {
            (BACKEND, (self.set)(BACKEND).into_iter().collect())
        } else {
            ("--backend", flags.backends.clone())
        };
        let mut known = BTreeSet::new();
        let each = texts.iter().flat_map(|text| text.split([',', ' ', '\t', '\r', '\n']));
        let each = each.filter(|text| !text.is_empty() && known.insert(normal(text)));
        (origin, each.map(str::to_owned).collect())
    }

    fn flag(&mut self, flag: Option<bool>, name: &str) -> bool {
        flag.or_else(|| self.read(name, texts::boolean)).unwrap_or(false)
    }

    fn read<T>(&mut self, name: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = (self.set)(name)?;
        read(&text).map_err(|why| self.errors.push(format!("{name}: {text:?} {why}"))).ok()
    }
}

/// The document names no files.
pub(super) struct Unasked;

impl Files for Unasked {
    fn secret(&self, _: &Scheme, _: &Path) -> Result<(), String> {
        Ok(())
    }

    fn readable(&self, _: &Path) -> Result<(), String> {
        Ok(())
    }
}
