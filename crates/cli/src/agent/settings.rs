//! The agent's settings.

use std::path::PathBuf;

use strait_agent::{Config, Environment, Files, FrontDoor, NoProxy, State};
use strait_pki::TrustBundle;
use strait_relay::token::JoinToken;
use strait_types::{Report, is_dns1123_subdomain};

use super::RunArgs;
use crate::exit::Failure;
use crate::settings::{Setting, read_file};

pub(super) const DATA_DIR_DEFAULT: &str = "strait-agent";
const HEALTH_DEFAULT: &str = "127.0.0.1:9102";

/// Where a pod has its service account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Largest token or CA file, bytes.
const FILE_MAX: usize = 256 << 10;

/// The agent's settings.
///
/// # Errors
/// Everything that is wrong, each with its place.
pub(crate) fn read(args: &RunArgs) -> Result<Config, Failure> {
    let mut mistakes = Vec::new();
    let data_dir = Setting::of(args.data_dir.as_ref(), "data-dir", DATA_DIR_DEFAULT);
    if data_dir.text.is_empty() {
        mistakes.push(format!("{}: is empty; expected a directory", data_dir.from));
    }
    let health = Setting::of(args.health.as_ref(), "health", HEALTH_DEFAULT);
    let health = health.parse("ADDR:PORT", HEALTH_DEFAULT, &mut mistakes);
    if health.is_some_and(|address: std::net::SocketAddr| !address.ip().is_loopback()) {
        mistakes.push(
            "--health: must be a loopback address: the agent listens to its own machine only"
                .into(),
        );
    }
    let token = args.token_file.as_deref().map(token);
    let address = args.hub.as_deref().and_then(|url| address(url, &mut mistakes));
    let ca = args.ca.as_deref().and_then(|path| authority(path, &mut mistakes));
    let paths = args.config.iter().map(PathBuf::from).collect();
    let files = Files { paths, allow_insecure: args.allow_insecure };
    let told = files
        .read()
        .map_err(|errors| mistakes.extend(errors.to_string().lines().map(str::to_owned)));
    let environment = proxy(variable, &mut mistakes);
    let secret = args.state_secret.as_deref();
    let state = secret.and_then(|secret| state(secret, variable, &mut mistakes));
    match (health, told) {
        (Some(health), Ok(told)) if mistakes.is_empty() => Ok(Config {
            data_dir: PathBuf::from(data_dir.text),
            token,
            state,
            ephemeral: args.ephemeral,
            front_door: FrontDoor { address, ca },
            health,
            files,
            told,
            environment,
        }),
        _ => Err(Failure::usage(mistakes)),
    }
}

/// Who has joined may have thrown it away: a mistake is one once a token is needed.
fn token(path: &str) -> Result<JoinToken, String> {
    let text = read_file(path, FILE_MAX).map_err(|why| format!("--token-file: {why}"))?;
    text.parse().map_err(|_| {
        format!("--token-file: {path} holds no join token (sj1.…); make one with `strait agent token create NAME`")
    })
}

/// The proxy that other programs of this machine use, too: no flag of ours names it.
fn proxy(variable: impl Fn(&str) -> Option<String>, mistakes: &mut Vec<String>) -> Environment {
    let either = |names: [&'static str; 2]| {
        let found = names.into_iter().find_map(|name| Some((name, variable(name)?)));
        found.filter(|(_, text)| !text.is_empty())
    };
    let proxy = either(["HTTPS_PROXY", "https_proxy"]).and_then(|(name, url)| {
        let read = url.parse();
        read.map_err(|error| mistakes.push(format!("{name}: {error}"))).ok()
    });
    let no_proxy = either(["NO_PROXY", "no_proxy"]);
    let no_proxy = no_proxy.map_or_else(NoProxy::default, |(_, list)| NoProxy::new(&list));
    Environment { proxy, no_proxy }
}

/// Where a pod finds its API server and its service account.
fn state(
    secret: &str,
    variable: impl Fn(&str) -> Option<String>,
    mistakes: &mut Vec<String>,
) -> Option<State> {
    if !is_dns1123_subdomain(secret) {
        mistakes.push(format!("--state-secret: {secret:?} is no name of a Secret"));
        return None;
    }
    let told = |name: &str| variable(name).filter(|text| !text.is_empty());
    let at = told("KUBERNETES_SERVICE_HOST").zip(told("KUBERNETES_SERVICE_PORT"));
    let Some((host, port)) = at else {
        let why = "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set";
        mistakes.push(format!("--state-secret: this is no pod of a cluster: {why}"));
        return None;
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let (secret, server) = (secret.to_owned(), format!("https://{host}:{port}"));
    Some(State { secret, server, account: ACCOUNT.into() })
}

#[expect(clippy::disallowed_methods, reason = "names in two spellings, which clap has not")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// `host:port` out of a URL.
fn address(url: &str, mistakes: &mut Vec<String>) -> Option<String> {
    let parsed = url.parse::<http::Uri>().ok().filter(|url| {
        url.scheme_str() == Some("https") && matches!(url.path(), "" | "/") && url.query().is_none()
    });
    let authority = parsed
        .as_ref()
        .and_then(|url| url.authority())
        .filter(|authority| !authority.as_str().contains('@'));
    let Some(authority) = authority else {
        mistakes.push(format!("--hub: {url:?} is not https://HOST:PORT"));
        return None;
    };
    Some(format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(443)))
}

fn authority(path: &str, mistakes: &mut Vec<String>) -> Option<TrustBundle> {
    let text =
        read_file(path, FILE_MAX).map_err(|why| mistakes.push(format!("--ca: {why}"))).ok()?;
    TrustBundle::from_pem(text.as_bytes())
        .map_err(|error| mistakes.push(format!("--ca: {path}: {}", Report(&error))))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn read_args(flags: &[&str]) -> Result<Config, Failure> {
        let all = ["strait", "agent"].iter().chain(flags);
        match <crate::args::Cli>::try_parse_from(all).unwrap().command {
            crate::args::Command::Agent(args) => read(&args.run),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let ca = file("ca.crt", "hello");
        let config = file(
            "agent.yaml",
            "apiVersion: requests.strait.dev/v1alpha1\nkind: RequestClasss\nmetadata: {name: x}\n",
        );
        let flags =
            ["--health", "0.0.0.0:1", "--ca", &ca, "--hub", "http://h", "--config", &config];
        let lines = read_args(&flags).unwrap_err().lines.join("\n");
        for expected in ["--health: must be", "--ca: ", "--hub: \"http://h\"", "agent.yaml:2"] {
            assert!(lines.contains(expected), "{expected} in\n{lines}");
        }
    }

    #[test]
    fn a_token_may_be_gone_or_wrong_until_it_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let flags = ["--token-file", path.to_str().unwrap()];
        let mistake = || read_args(&flags).unwrap().token.unwrap().unwrap_err();
        assert!(mistake().starts_with("--token-file: "), "{}", mistake());
        std::fs::write(&path, "hello").unwrap();
        assert!(mistake().contains("holds no join token"), "{}", mistake());
        assert!(read_args(&[]).unwrap().token.is_none());
    }

    #[test]
    fn a_pod_knows_its_api_server() {
        for (secret, host, server, mistake) in [
            ("state", "10.0.0.1", "https://10.0.0.1:443", ""),
            ("state", "fd00::1", "https://[fd00::1]:443", ""),
            ("state", "", "", "--state-secret: this is no pod"),
            ("a/b", "10.0.0.1", "", "--state-secret: \"a/b\" is no name"),
        ] {
            let mut mistakes = Vec::new();
            let find = |name: &str| match name {
                "KUBERNETES_SERVICE_HOST" => Some(host.to_owned()),
                "KUBERNETES_SERVICE_PORT" => Some("443".to_owned()),
                _ => None,
            };
            let state = state(secret, find, &mut mistakes);
            assert_eq!(state.map_or_else(String::new, |state| state.server), server);
            assert!(mistakes.join("\n").starts_with(mistake), "{mistakes:?}");
            assert_eq!(mistakes.is_empty(), mistake.is_empty());
        }
    }

    #[test]
    fn the_environments_proxy_is_used() {
        for (variables, expected, mistake) in [
            (&[][..], "None", ""),
            (&[("HTTPS_PROXY", "")], "None", ""),
            (&[("HTTPS_PROXY", "http://p:1"), ("https_proxy", "q")], "\"p\"", ""),
            (&[("https_proxy", "jo:secret@q:2")], "\"q\"", ""),
            (&[("HTTPS_PROXY", "socks5://jo:secret@p")], "None", "HTTPS_PROXY: is not"),
            (&[("NO_PROXY", "a"), ("no_proxy", "b")], "NoProxy([\"a\"])", ""),
        ] {
            let mut mistakes = Vec::new();
            let find = |name: &str| {
                let found = variables.iter().find(|(own, _)| *own == name);
                found.map(|(_, text)| (*text).to_owned())
            };
            let text = format!("{:?}", proxy(find, &mut mistakes));
            assert!(text.contains(expected) && !text.contains("secret"), "{text}");
            let mistakes = mistakes.join("\n");
            assert!(mistakes.starts_with(mistake) && !mistakes.contains("secret"), "{mistakes}");
            assert_eq!(mistakes.is_empty(), mistake.is_empty());
        }
    }

    #[test]
    fn a_hub_is_an_https_address_and_nothing_more() {
        for (url, expected) in [
            ("https://hub.example:6443", Some("hub.example:6443")),
            ("https://hub.example/", Some("hub.example:443")),
            ("https://[::1]:6443", Some("[::1]:6443")),
            ("https://hub.example/clusters/root", None),
            ("https://user@hub.example", None),
            ("hub.example:6443", None),
        ] {
            assert_eq!(address(url, &mut Vec::new()).as_deref(), expected, "{url}");
        }
    }
}
