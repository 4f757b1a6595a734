//! Documents, what they become, and what is told of mistakes.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::signature::{Algorithm, Encoding, HmacScheme};

/// Files as their names say.
struct Named;

impl Files for Named {
    fn secret(&self, scheme: &Scheme, path: &Path) -> Result<(), String> {
        let base64 = *scheme == Scheme::Standard;
        let fits = if base64 { "/s/base64" } else { "/s/" };
        if path.starts_with(fits) { Ok(()) } else { Err("is empty".to_owned()) }
    }

    fn readable(&self, path: &Path) -> Result<(), String> {
        if path.starts_with("/f") { Ok(()) } else { Err("cannot be read".to_owned()) }
    }
}

const HEAD: &str = "apiVersion: hooks.strait.dev/v1alpha1\nkind: HooksConfig\n";

fn mistakes(text: &str) -> Vec<String> {
    match read("h.yaml", text, None, &Named) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    }
}

/// Every member.
const WHOLE: &str = r#"
apiVersion: hooks.strait.dev/v1alpha1
kind: HooksConfig
listen: 127.0.0.1:8443
tls: {certFile: /f/tls.crt, keyFile: /f/tls.key}
admin:
  listen: 10.0.0.1:8081
  tls: {certFile: /f/admin.crt, keyFile: /f/admin.key}
  tokens: [{name: oncall, file: /f/oncall, may: [view, replay]}]
  kubeconfig: ""
dataDir: /data
ack: sync
limits: {body: 1MiB, bodyDeadline: 20s, headDeadline: 5s, connections: 10, perAddress: 5, memory: 8Mi, disk: 1GiB}
retention: {delivered: 1h, undelivered: 2d}
sources:
- name: github-app
  path: /proxy
  scheme: github
  secretFiles: [/s/current, /s/previous]
  dedupe: 1h
  addresses: [192.30.252.0/22, "2a0a:a440::/29"]
- name: own
  path: /own/hooks
  scheme: hmac
  secretFiles: [/s/own]
  hmac: {header: X-Sig, encoding: base64, prefix: "v=", algorithm: sha512}
backends:
- name: member-1
  url: https://pac.member-1.example/hooks?team=a
  sources: [github-app, own]
  tls: {caFile: /f/ca, certFile: /f/crt, keyFile: /f/key}
  timeout: 3s
  inFlight: 4
  order: /repository/full_name
  retry: {first: 2s, factor: 3, max: 10m, maxAge: 1d, jitter: 0.5}
  filter: {events: [push], actions: [opened], repositories: ["acme/*"], equals: {"/ref": refs/heads/main, "/n": 1}}
  headers: {add: {Authorization: Bearer x}, passAlso: [X-Custom]}
  allowPrivate: true
dynamicBackends: {networks: [10.1.0.0/16]}
storeOnly: true
"#;

#[test]
fn the_whole_document_is_understood() {
    let config = read("h.yaml", WHOLE, None, &Named).unwrap();
    let seconds = Duration::from_secs;
    let expected = Config {
        listen: Listener {
            address: "127.0.0.1:8443".parse().unwrap(),
            tls: identity("/f/tls.crt", "/f/tls.key"),
        },
        admin: Some(whole_admin()),
        metrics: None,
        data_dir: "/data".into(),
        ack: Ack::Sync,
        limits: Limits {
            body: 1 << 20,
            body_deadline: seconds(20),
            head_deadline: seconds(5),
            connections: 10,
            per_address: 5,
            memory: 8 << 20,
            disk: 1 << 30,
        },
        retention: Retention { delivered: seconds(3600), undelivered: seconds(172_800) },
        sources: whole_sources(),
        backends: vec![whole_backend()],
        store_only: true,
        dynamic_backends: Some(DynamicBackends {
            networks: vec!["10.1.0.0/16".parse().unwrap()],
            timeout: None,
            insecure: false,
        }),
    };
    assert_eq!(config, expected);
    assert!(!format!("{config:?}").contains("Bearer"));
}

fn identity(certificates: &str, key: &str) -> Option<Identity> {
    Some(Identity { certificates: certificates.into(), key: key.into() })
}

fn whole_admin() -> Admin {
    let address = "10.0.0.1:8081".parse().unwrap();
    let tls = identity("/f/admin.crt", "/f/admin.key");
    let may = vec![Permission::View, Permission::Replay];
    Admin {
        listen: AdminListener::Tcp(Listener { address, tls }),
        tokens: vec![Token { name: "oncall".into(), file: "/f/oncall".into(), may }],
        cluster: Some(Cluster::Here),
    }
}

fn whole_sources() -> Vec<Source> {
    let seconds = Duration::from_secs;
    vec![
        Source {
            name: "github-app".into(),
            path: "/proxy".into(),
            scheme: Scheme::Github,
            secrets: vec![Place::File("/s/current".into()), Place::File("/s/previous".into())],
            dedupe: seconds(3600),
            addresses: vec!["192.30.252.0/22".parse().unwrap(), "2a0a:a440::/29".parse().unwrap()],
            answers: Answers::Strait,
        },
        Source {
            name: "own".into(),
            path: "/own/hooks".into(),
            scheme: Scheme::Hmac(HmacScheme {
                header: HeaderName::from_static("x-sig"),
                algorithm: Algorithm::Sha512,
                encoding: Encoding::Base64,
                prefix: "v=".into(),
            }),
            secrets: vec![Place::File("/s/own".into())],
            dedupe: seconds(86_400),
            addresses: vec![],
            answers: Answers::Strait,
        },
    ]
}

fn whole_backend() -> Backend {
    let seconds = Duration::from_secs;
    let mut bearer = HeaderValue::from_static("Bearer x");
    bearer.set_sensitive(true);
    Backend {
        name: "member-1".into(),
        address: Address::Url("https://pac.member-1.example/hooks?team=a".parse().unwrap()),
        sources: vec!["github-app".into(), "own".into()],
        tls: BackendTls {
            authorities: Some("/f/ca".into()),
            identity: identity("/f/crt", "/f/key"),
            insecure: false,
        },
        timeout: seconds(3),
        in_flight: 4,
        order: Some("/repository/full_name".parse().unwrap()),
        retry: Retry {
            first: seconds(2),
            factor: 3.0,
            max: seconds(600),
            max_age: seconds(86_400),
            jitter: 0.5,
        },
        filter: Filter {
            events: vec!["push".into()],
            actions: vec!["opened".into()],
            repositories: vec!["acme/*".parse().unwrap()],
            equals: vec![
                ("/n".parse().unwrap(), json!(1)),
                ("/ref".parse().unwrap(), json!("refs/heads/main")),
            ],
        },
        headers: Headers {
            add: vec![(http::header::AUTHORIZATION, bearer)],
            pass_also: vec![HeaderName::from_static("x-custom")],
        },
        allow_private: true,
        networks: Vec::new(),
    }
}

#[test]
fn what_is_not_said_has_its_default() {
    let text = format!(
        "{HEAD}sources: [{{name: a, path: /, scheme: none}}]\n\
         backends: [{{name: b, url: 'https://b', sources: [a]}}]"
    );
    let config = read("h.yaml", &text, None, &Named).unwrap();
    assert_eq!(config.listen.address.to_string(), "127.0.0.1:8080");
    assert_eq!((&config.admin, &config.metrics, config.ack), (&None, &None, Ack::Durable));
    assert_eq!(config.data_dir, PathBuf::from("/var/lib/strait/hooks"));
    assert_eq!((config.limits.body, config.limits.memory), (25 << 20, 128 << 20));
    assert_eq!(config.limits.disk, 20 << 30);
    assert_eq!(config.retention.undelivered, Duration::from_secs(168 * 3600));
    assert!(!config.store_only);
    let backend = &config.backends[0];
    assert_eq!(backend.address.to_string(), "https://b/");
    assert_eq!((backend.timeout, backend.in_flight), (Duration::from_secs(10), 32));
    assert_eq!((&backend.order, &backend.filter), (&None, &Filter::default()));
    assert_eq!((&backend.tls, &backend.headers), (&BackendTls::default(), &Headers::default()));
    assert_eq!((backend.retry.factor, backend.retry.jitter), (5.0, 0.2));
    assert!(!backend.allow_private);
    assert!(read("h.yaml", HEAD, None, &Named).unwrap().sources.is_empty());
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let text = r#"apiVersion: hooks.strait.dev/v1alpha1
kind: HooksConfig
listen: nowhere
lisen: 127.0.0.1:1
ack: replicated
archive: {url: s3://x}
limits: {body: 1GiB, connections: 0, memory: lots}
sources:
- {name: a, path: /x, scheme: github, secretFiles: [/s/a, /none]}
- name: a
  path: /x
  scheme: github
- {name: b, path: x, scheme: smoke, dedupe: 1 day}
- {name: c, path: /c, scheme: standard, secretFiles: [/s/plain], addresses: [10.0.0.1/8]}
backends:
- name: one
  url: https://user:canary@one/
  sources: [a, z]
- {name: two, agent: smith, service: pac, sources: [a]}
- {name: one, sources: [a], filter: {repositories: ["acme/[ab]"], equals: {ref: 1}}}
"#;
    let expected = [
        "h.yaml:3:1: listen: Invalid value: \"nowhere\": must be an address and a port, such as 127.0.0.1:8080",
        "h.yaml:4:1: unknown field \"lisen\"",
        "h.yaml:5:1: ack: Forbidden: replicated is not served by this release",
        "h.yaml:6:1: archive: Forbidden: not served by this release",
        "h.yaml:7:22: limits.connections: Invalid value: 0: limits.connections in body should be greater than or equal to 1",
        "h.yaml:7:38: limits.memory: Invalid value: \"lots\": \"lots\" is not a size such as 4096, 64Ki or 256Mi",
        "h.yaml:9:59: sources[0].secretFiles[1]: Invalid value: \"/none\": is empty",
        "h.yaml:10:3: sources[1].name: Duplicate value: \"a\"",
        "h.yaml:10:3: sources[1].secretFiles: Required value: the scheme needs at least one",
        "h.yaml:11:3: sources[1].path: Duplicate value: \"/x\"",
        "h.yaml:13:13: sources[2].path: Invalid value: \"x\": must be an absolute path of letters, digits, '.', '_', '~' and '-' between single slashes",
        "h.yaml:13:22: sources[2].scheme: Unsupported value: \"smoke\": supported values: \"github\", \"gitlab-token\", \"gitlab-signed\", \"gitea\", \"bitbucket\", \"bitbucket-dc\", \"standard\", \"hmac\", \"none\"",
        "h.yaml:13:37: sources[2].dedupe: Invalid value: \"1 day\": \"1 day\" is not a duration such as 250ms, 10s or 1h30m",
        "h.yaml:14:55: sources[3].secretFiles[0]: Invalid value: \"/s/plain\": is empty",
        "h.yaml:14:78: sources[3].addresses[0]: Invalid value: \"10.0.0.1/8\": \"10.0.0.1/8\" is not a range of addresses such as 10.0.0.0/8",
        "h.yaml:17:3: backends[0].url: Forbidden: must hold no user or password; headers.add can carry credentials",
        "h.yaml:18:16: backends[0].sources[1]: Not found: \"z\"",
        "h.yaml:19:3: backends[1].hub: Required value: webhooks are taken outside of a hub here: the URL of the agent's hub",
        "h.yaml:19:3: backends[1].workspace: Required value: the agent's, such as root:acme",
        "h.yaml:20:3: backends[2].url: Required value: or agent and service",
        "h.yaml:20:4: backends[2].name: Duplicate value: \"one\"",
        "h.yaml:20:53: backends[2].filter.repositories[0]: Invalid value: \"acme/[ab]\": is not a pattern of repositories: letters, digits, '.', '_', '-', '~', '/', '*' and '?'",
        "h.yaml:20:76: backends[2].filter.equals[ref]: Invalid value: \"ref\": is not a JSON pointer such as /repository/full_name",
    ];
    let found = mistakes(text);
    assert_eq!(found, expected);
}

#[test]
fn a_wrong_type_hides_no_other_mistake() {
    let text = r#"apiVersion: hooks.strait.dev/v1alpha1
kind: HooksConfig
listen: 8080
limits: many
sources:
- {name: a, path: y, scheme: none}
- {name: b, path: x, scheme: none}
backends:
- {name: c, url: 1, sources: [a]}
- {name: d, url: "https://d", sources: [a, b, c]}
"#;
    let expected = [
        "h.yaml:3:1: listen:",
        "h.yaml:4:1: limits:",
        "h.yaml:6:13: sources[0].path:",
        "h.yaml:7:13: sources[1].path:",
        "h.yaml:9:13: backends[0].url:",
        "h.yaml:10:47: backends[1].sources[2]: Not found: \"c\"",
    ];
    let found = mistakes(text);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}: {expected}");
    }
}

#[test]
fn rules_of_single_fields() {
    let of = |at: &str, text: &str| {
        let source = "{name: a, path: /a, scheme: none}";
        let backend = "name: b, url: 'https://b', sources: [a]";
        match at {
            "source" => format!("{HEAD}sources: [{{name: a, {text}}}]"),
            "url" => format!(
                "{HEAD}sources: [{source}]\nbackends: [{{name: b, sources: [a], url: '{text}'}}]"
            ),
            "backend" => format!("{HEAD}sources: [{source}]\nbackends: [{{{backend}, {text}}}]"),
            _ => format!("{HEAD}{text}"),
        }
    };
    for (at, text, why) in [
        ("source", "path: /a, scheme: none", ""),
        ("source", "path: /a.b/c_d/~e-1, scheme: none", ""),
        ("source", "path: /a/, scheme: none", "must be an absolute path"),
        ("source", "path: //a, scheme: none", "must be an absolute path"),
        ("source", "path: /a/../b, scheme: none", "must be an absolute path"),
        ("source", "path: '/a?b', scheme: none", "must be an absolute path"),
        ("source", "path: /a%20b, scheme: none", "must be an absolute path"),
        ("source", "path: '', scheme: none", "must be an absolute path"),
        ("source", "path: /a, scheme: none, secretFiles: [/s/a]", "verifies nothing"),
        ("source", "path: /a, scheme: github", "needs at least one"),
        ("source", "path: /a, scheme: github, secretFiles: [/s/1, /s/2, /s/3, /s/4]", ""),
        (
            "source",
            "path: /a, scheme: github, secretFiles: [/s/1, /s/2, /s/3, /s/4, /s/5]",
            "Too many",
        ),
        ("source", "path: /a, scheme: standard, secretFiles: [/s/base64]", ""),
        ("source", "path: /a, scheme: hmac, secretFiles: [/s/a]", "needs a header"),
        (
            "source",
            "path: /a, scheme: hmac, secretFiles: [/s/a], hmac: {header: x y}",
            "invalid HTTP header",
        ),
        (
            "source",
            "path: /a, scheme: hmac, secretFiles: [/s/a], hmac: {header: Host}",
            "of its own meaning",
        ),
        (
            "source",
            "path: /a, scheme: hmac, secretFiles: [/s/a], hmac: {header: x, prefix: 'ü'}",
            "visible ASCII",
        ),
        (
            "source",
            "path: /a, scheme: hmac, secretFiles: [/s/a], hmac: {header: x, algorithm: md5}",
            "Unsupported value",
        ),
        ("source", "path: /a, scheme: none, hmac: {header: x}", "only for the scheme hmac"),
        ("source", "path: /a, scheme: none, dedupe: 0s", "must be positive"),
        ("url", "https://b", ""),
        ("url", "https://[::1]:8443/x?y=z", ""),
        ("url", "http://b", "must be https unless"),
        ("url", "b", "must begin with"),
        ("url", "/b", "must begin with"),
        ("url", "ftp://b", "must begin with"),
        ("url", "https://", "nvalid"),
        ("url", "https://:80", "nvalid"),
        ("url", "https://b:", "port"),
        ("url", "https://b:0", "port"),
        ("url", "https://b:99999", "port"),
        ("url", "https://b/#x", "no fragment"),
        ("url", "https://u@b", "no user or password"),
        ("url", "https://u:p@b:x/", "no user or password"),
        ("url", "https://b/x@y", ""),
        ("url", "ht!tp://%%%", "nvalid"),
        ("backend", "timeout: 0", "timeout"),
        ("backend", "timeout: 5", "timeout"),
        ("backend", "inFlight: 0", "inFlight"),
        ("backend", "order: ref", "is not a JSON pointer"),
        ("backend", "retry: {first: 1m, max: 1s}", "must not be less than first"),
        ("backend", "retry: {max: 10h, maxAge: 1h}", "must not be less than max"),
        ("backend", "retry: {jitter: 1.5}", "jitter"),
        ("backend", "tls: {certFile: /f/a}", "goes with certFile"),
        ("backend", "tls: {keyFile: /f/a}", "goes with keyFile"),
        ("backend", "tls: {caFile: /x}", "cannot be read"),
        ("backend", "tls: {caFile: /f/a, insecure: true}", "has no meaning with caFile"),
        ("backend", "tls: {insecure: true}", ""),
        ("backend", "headers: {add: {Host: x}}", "written by the delivery itself"),
        ("backend", "headers: {add: {x: a, X: b}}", "Duplicate value"),
        ("backend", "headers: {add: {x: \"a\\nb\"}}", "visible ASCII"),
        ("backend", "headers: {passAlso: [Transfer-Encoding]}", "written by the delivery itself"),
        ("backend", "headers: {passAlso: [Cookie]}", "never passed on"),
        ("", "admin: {listen: '127.0.0.1:8080', kubeconfig: ''}", "Duplicate value"),
        ("", "admin: {listen: '127.0.0.1:8081'}", "nobody could prove who they are"),
        ("", "admin: {listen: '127.0.0.1:8081', kubeconfig: ''}", ""),
        ("", "admin: {listen: '127.0.0.1:8081', kubeconfig: /x}", "cannot be read"),
        ("", "admin: {listen: '10.0.0.1:8081', kubeconfig: /f/k}", "in the clear"),
        ("", "admin: {listen: 'unix:/x'}", ""),
        ("", "admin: {listen: 'unix:x'}", "an absolute path"),
        ("", "admin: {listen: 'unix:/x', tls: {certFile: /f/c, keyFile: /f/k}}", "no meaning"),
        (
            "",
            "admin: {listen: 'unix:/x', tokens: [{name: a, file: /x, may: [view]}]}",
            "cannot be read",
        ),
        (
            "",
            "admin: {listen: 'unix:/x', tokens: [{name: a, file: /f/t, may: [all]}]}",
            "Unsupported value",
        ),
        (
            "",
            "admin: {listen: 'unix:/x', tokens: [{name: a, file: /f/t, may: [view]}, {name: a, file: /f/t, may: [view]}]}",
            "Duplicate value",
        ),
        (
            "",
            "admin: {listen: 'unix:/x', tokens: [{name: Ann, file: /f/t, may: [view]}]}",
            "admin.tokens[0].name: Invalid value: \"Ann\": must be of a-z, 0-9, '-' and '.'",
        ),
        (
            "",
            "admin: {listen: 'unix:/x', tokens: [{name: a-, file: /f/t, may: [view]}]}",
            "with a letter or a digit at both ends",
        ),
        (
            "",
            "admin: {listen: 'unix:/x', tokens: [{name: '', file: /f/t, may: [view]}]}",
            "with a letter or a digit at both ends",
        ),
        ("", "admin: {listen: ''}", "must be an address and a port"),
        ("", "admin: {}", "Required value"),
        ("", "dynamicBackends: {networks: [10.0.0.1/8]}", "is not a range of addresses"),
        ("", "tls: {certFile: /x, keyFile: /f/y}", "cannot be read"),
        ("", "dataDir: data", "dataDir: Invalid value: \"data\": must be an absolute path"),
        ("", "limits: {body: 25MB}", "is not a size"),
        ("", "limits: {body: 0}", "limits.body"),
        ("", "limits: {body: 2Mi, memory: 1Mi}", "must not be more than limits.memory"),
        ("", "ack: never", "Unsupported value"),
        ("", "retention: {delivered: 0s}", "must be positive"),
    ] {
        let found = mistakes(&of(at, text));
        if why.is_empty() {
            assert!(found.is_empty(), "{text}: {found:?}");
        } else {
            assert!(found.iter().any(|one| one.contains(why)), "{text}: {found:?}");
            assert_eq!(found.len(), 1, "{text}: {found:?}");
        }
    }
}

#[test]
fn a_file_holds_one_document_of_this_kind() {
    for (text, expected) in [
        ("", "h.yaml:1:1: there is no document"),
        ("---\n", "h.yaml:1:1: there is no document"),
        ("a: [", "h.yaml:"),
        ("[]", "h.yaml:1:1: <nil>: Invalid value: \"array\""),
        ("kind: HooksConfig", "h.yaml:1:1: apiVersion: Required value"),
        (
            "apiVersion: v1\nkind: HooksConfig",
            "h.yaml:1:1: apiVersion: Unsupported value: \"v1\": supported values: \"hooks.strait.dev/v1alpha1\"",
        ),
    ] {
        let found = mistakes(text);
        assert!(found.first().is_some_and(|one| one.starts_with(expected)), "{text}: {found:?}");
    }
    let two = format!("{HEAD}---\n{HEAD}");
    assert_eq!(mistakes(&two), ["h.yaml:4:1: there is more than one document"]);
}

#[test]
fn files_of_the_machine_are_asked() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("full"), "canary").unwrap();
    std::fs::write(path("empty"), "\n").unwrap();
    assert_eq!(Disk::default().secret(&Scheme::Github, &path("full")), Ok(()));
    assert_eq!(Disk::default().secret(&Scheme::Github, &path("empty")), Err("is empty".to_owned()));
    assert!(Disk::default().secret(&Scheme::Github, &path("none")).is_err());
    assert_eq!(Disk::default().readable(&path("full")), Ok(()));
    assert_eq!(Disk::default().readable(directory.path()), Err("is not a file".to_owned()));
    assert!(Disk::default().readable(&path("none")).is_err());
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}", bytes in "[\\[\\]{}:,a-z0-9 \n\"'&*!|>-]{0,120}") {
        for text in [&text, &bytes, &format!("{HEAD}{bytes}")] {
            let read = read("h.yaml", text, None, &Named);
            prop_assert!(read.map_or_else(|mistakes| !mistakes.is_empty(), |_| true));
        }
    }

    #[test]
    fn no_value_panics(
        member in prop::sample::select(vec!["url", "order", "timeout", "name", "sources", "tls", "retry", "filter", "headers"]),
        value in "\\PC{0,40}",
    ) {
        let value = json!(value);
        for value in [value.clone(), json!([value]), json!({"add": {"x": value}, "first": value})] {
            let backend = json!({"name": "b", "sources": ["a"], "url": "https://b", member: value});
            let text = format!("{HEAD}backends: [{backend}]");
            let _ = read("h.yaml", &text, None, &Named);
        }
    }
}
