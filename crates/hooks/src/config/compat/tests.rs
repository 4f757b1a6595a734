//! Flags and variables beside each other, and what refuses.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::AdminListener;

fn made(flags: &Flags, variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    config(flags, |name| variables.get(name).map(|text| (*text).to_owned()))
}

const SET: (&str, &str) = (SECRET, "It's a Secret to Everybody");

#[test]
fn a_secret_and_backends_are_a_complete_start() {
    let flags = Flags {
        backends: vec!["http://127.0.0.1:9001/hooks?k=v".into(), "https://b.example".into()],
        ..Flags::default()
    };
    let config = made(&flags, &[SET]).unwrap();
    assert_eq!(config.listen, Listener { address: "[::]:8080".parse().unwrap(), tls: None });
    let metrics = Listener { address: "[::]:9090".parse().unwrap(), tls: None };
    assert_eq!(config.metrics, Some(metrics));
    assert_eq!((&config.admin, config.ack, &config.dynamic_backends), (&None, Ack::Durable, &None));
    assert_eq!(config.data_dir, PathBuf::from("/var/lib/strait/hooks"));
    assert_eq!(config.limits.body, 26_214_400);
    let paths: Vec<_> = config.sources.iter().map(|source| &*source.path).collect();
    assert_eq!(paths, ["/proxy", "/"]);
    for source in &config.sources {
        assert_eq!((&source.scheme, source.answers), (&Scheme::Github, Answers::Sprayproxy));
        assert_eq!(source.secrets, [Place::Variable(SECRET.into())]);
    }
    let urls: Vec<_> =
        config.backends.iter().map(|backend| backend.address.url().unwrap().to_string()).collect();
    assert_eq!(urls, ["http://127.0.0.1:9001/hooks?k=v", "https://b.example/"]);
    for backend in &config.backends {
        assert_eq!(backend.sources, ["proxy".into(), "root".into()]);
        assert_eq!(backend.timeout, Duration::from_secs(15));
        assert!(backend.allow_private && !backend.tls.insecure);
    }
    assert!(!format!("{config:?}").contains("Everybody"));
}

#[test]
fn flags_hide_variables_and_both_say_the_same() {
    let variables = [
        SET,
        ("SPRAYPROXY_SERVER_HOST", "127.0.0.1"),
        ("SPRAYPROXY_SERVER_PORT", "18080"),
        ("SPRAYPROXY_SERVER_BACKEND", "http://a http://b/,http://b\n http://c"),
        ("SPRAYPROXY_SERVER_ENABLE_DYNAMIC_BACKENDS", "true"),
        ("SPRAYPROXY_SERVER_INSECURE_SKIP_TLS_VERIFY", "1"),
        ("SPRAYPROXY_SERVER_METRICS_PORT", "19090"),
        ("SPRAYPROXY_SERVER_METRICS_CERT", "/c"),
        ("SPRAYPROXY_SERVER_METRICS_KEY", "/k"),
        ("SPRAYPROXY_FORWARDING_REQUEST_TIMEOUT", "1m0.5s"),
        ("SPRAYPROXY_MAX_REQUEST_SIZE", "1000"),
    ];
    let config = made(&Flags::default(), &variables).unwrap();
    assert_eq!(config.listen.address.to_string(), "127.0.0.1:18080");
    let metrics = config.metrics.as_ref().unwrap();
    assert_eq!(metrics.address.to_string(), "127.0.0.1:19090");
    assert_eq!(metrics.tls, Some(Identity { certificates: "/c".into(), key: "/k".into() }));
    let dynamic = config.dynamic_backends.as_ref().unwrap();
    assert_eq!((dynamic.timeout, dynamic.insecure), (Some(Duration::from_millis(60_500)), true));
    assert_eq!(config.limits.body, 1000);
    let urls: Vec<_> =
        config.backends.iter().map(|backend| backend.address.url().unwrap().to_string()).collect();
    assert_eq!(urls, ["http://a/", "http://b/", "http://c/"]);
    assert!(config.backends.iter().all(|backend| backend.tls.insecure));
    assert_eq!(config.backends[0].timeout, Duration::from_millis(60_500));

    let flags = Flags {
        host: Some("localhost".into()),
        port: Some(0),
        backends: vec!["http://d,http://e".into(), "http://d/".into()],
        enable_dynamic_backends: Some(false),
        insecure_skip_tls_verify: Some(false),
        insecure_skip_webhook_verify: Some(true),
        metrics_port: Some(1),
        metrics_cert: Some("/c2".into()),
        metrics_key: Some("/k2".into()),
        data_dir: Some("/data".into()),
        ack: Some(Ack::Sync),
        admin_listen: Some("unix:/run/hooks.sock".into()),
        admin_token_file: None,
        admin_kubeconfig: None,
        dynamic_backend_networks: Vec::new(),
    };
    let config = made(&flags, &variables).unwrap();
    let socket = AdminListener::Unix("/run/hooks.sock".into());
    assert_eq!(config.admin.as_ref().map(|admin| &admin.listen), Some(&socket));
    assert_eq!(config.listen.address.to_string(), "127.0.0.1:0");
    let metrics = config.metrics.as_ref().unwrap();
    assert_eq!(metrics.address.to_string(), "127.0.0.1:1");
    assert_eq!(metrics.tls, Some(Identity { certificates: "/c2".into(), key: "/k2".into() }));
    assert_eq!(config.dynamic_backends, None);
    assert_eq!((config.ack, &config.data_dir), (Ack::Sync, &PathBuf::from("/data")));
    assert!(config.sources.iter().all(|source| source.scheme == Scheme::None));
    assert!(config.sources.iter().all(|source| source.secrets.is_empty()));
    let urls: Vec<_> =
        config.backends.iter().map(|backend| backend.address.url().unwrap().to_string()).collect();
    assert_eq!(urls, ["http://d/", "http://e/"]);

    let large = [SET, ("SPRAYPROXY_MAX_REQUEST_SIZE", "1073741824")];
    let config = made(&Flags::default(), &large).unwrap();
    assert_eq!((config.limits.body, config.limits.memory), (1 << 30, 1 << 30));
    assert!(config.backends.is_empty());
}

#[test]
fn what_cannot_be_read_refuses_by_name() {
    let backend = |url: &str| Flags { backends: vec![url.into()], ..Flags::default() };
    let default = Flags::default;
    for (flags, variables, expected) in [
        (
            default(),
            vec![],
            "no webhook secret: GH_APP_WEBHOOK_SECRET is not set; or give --config FILE",
        ),
        (
            default(),
            vec![(SECRET, "")],
            "no webhook secret: GH_APP_WEBHOOK_SECRET is not set; or give --config FILE",
        ),
        (
            default(),
            vec![SET, (TIMEOUT, "5")],
            "SPRAYPROXY_FORWARDING_REQUEST_TIMEOUT: \"5\" is not",
        ),
        (
            default(),
            vec![SET, (TIMEOUT, "0")],
            "SPRAYPROXY_FORWARDING_REQUEST_TIMEOUT: \"0\" is not",
        ),
        (
            default(),
            vec![SET, (TIMEOUT, "-5s")],
            "SPRAYPROXY_FORWARDING_REQUEST_TIMEOUT: \"-5s\" is",
        ),
        (default(), vec![SET, (SIZE, "10MB")], "SPRAYPROXY_MAX_REQUEST_SIZE: \"10MB\" is not"),
        (default(), vec![SET, (SIZE, "0")], "SPRAYPROXY_MAX_REQUEST_SIZE: \"0\" is not"),
        (default(), vec![SET, (SIZE, "-1")], "SPRAYPROXY_MAX_REQUEST_SIZE: \"-1\" is not"),
        (
            default(),
            vec![SET, (BACKEND, "http://a b")],
            "SPRAYPROXY_SERVER_BACKEND: Invalid value: \"b\"",
        ),
        (backend("ht!tp://%%%"), vec![SET], "--backend: Invalid value: \"ht!tp://%%%\""),
        (
            backend("pac.example"),
            vec![SET],
            "--backend: Invalid value: \"pac.example\": must begin",
        ),
        (backend("https://u:canary@b"), vec![SET], "--backend: Forbidden: must hold no user"),
        (
            default(),
            vec![SET, ("SPRAYPROXY_SERVER_PORT", "x")],
            "SPRAYPROXY_SERVER_PORT: \"x\" is not a port",
        ),
        (
            default(),
            vec![SET, ("SPRAYPROXY_SERVER_INSECURE_SKIP_TLS_VERIFY", "yes")],
            "SPRAYPROXY_SERVER_INSECURE_SKIP_TLS_VERIFY: \"yes\" is not true or false",
        ),
        (Flags { host: Some("a.example".into()), ..default() }, vec![SET], "--host: \"a.example\""),
        (Flags { metrics_port: Some(0), ..default() }, vec![SET], "--metrics-port: must be from 1"),
        (Flags { metrics_port: Some(8080), ..default() }, vec![SET], "--metrics-port: 8080 is the"),
        (Flags { metrics_cert: Some("/c".into()), ..default() }, vec![SET], "--metrics-cert and"),
        (Flags { data_dir: Some("data".into()), ..default() }, vec![SET], "--data-dir: must"),
        (
            Flags { admin_token_file: Some("/t".into()), ..default() },
            vec![SET],
            "--admin-token-file and",
        ),
        (
            Flags { dynamic_backend_networks: vec!["10/8".into()], ..default() },
            vec![SET],
            "--dynamic-backend-network: \"10/8\"",
        ),
    ] {
        let errors = made(&flags, &variables).unwrap_err();
        assert!(errors[0].starts_with(expected), "{errors:?}");
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(!errors[0].contains("canary"), "{errors:?}");
    }
    let several = [(TIMEOUT, "5"), (SIZE, "x"), (BACKEND, "b c")];
    assert_eq!(made(&default(), &several).unwrap_err().len(), 5);
}

#[test]
fn durations_are_those_of_go() {
    for (text, millis) in [
        ("15s", Some(15_000)),
        ("1m30s", Some(90_000)),
        ("1.5s", Some(1_500)),
        (".5s", Some(500)),
        ("1.s", Some(1_000)),
        ("+2s", Some(2_000)),
        ("1s1m", Some(61_000)),
        ("1ns", Some(1)),
        ("1500us", Some(2)),
        ("2\u{b5}s", Some(1)),
        ("2h", Some(7_200_000)),
        ("0s", None),
        ("0", None),
        ("5", None),
        ("-1s", None),
        ("s", None),
        (".s", None),
        ("1..s", None),
        ("1d", None),
        ("1 s", None),
        ("", None),
        ("99999999999999999999999999999999999999999s", None),
    ] {
        let expected = millis.map(Duration::from_millis);
        assert_eq!(texts::duration(text).ok(), expected, "{text}");
    }
}

#[test]
fn a_backend_keeps_its_name() {
    for (url, start) in [
        ("https://pac.member-1.example/hooks?team=a", "pac-member-1-example-"),
        ("http://127.0.0.1:9001", "127-0-0-1-9001-"),
        ("http://[::1]:80/", "1--80-"),
        ("HTTP://B", "b-"),
    ] {
        let name = backend_name(url);
        assert!(name.starts_with(start), "{name}");
        assert_eq!(name.len(), start.len() + 8, "{name}");
    }
    assert_eq!(backend_name("http://b"), backend_name("http://b/"));
    assert_ne!(backend_name("http://b/x"), backend_name("http://b/"));
    assert_ne!(backend_name("http://b"), backend_name("https://b"));
    assert!(backend_name(&format!("http://{}", "b".repeat(200))).len() <= 63);
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,60}", duration in "[0-9.nusmh\u{b5}]{0,40}") {
        let flags = Flags { host: Some(text.clone()), backends: vec![text.clone()], ..Flags::default() };
        let _ = config(&flags, |_| Some(text.clone()));
        let _ = config(&Flags::default(), |name| (name == TIMEOUT).then(|| duration.clone()));
        let _ = backend_name(&text);
    }
}
