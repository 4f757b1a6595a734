//! The hub's settings.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use strait_hooks::Setup;
use strait_hub::{Config, OwnServices, StoreKind};
use strait_machinery::json::{Path as Field, Value};
use strait_machinery::yaml;
use strait_net::Network;
use strait_relay::credential::LIFE_MAX;
use strait_relay::http::proxies::TrustedProxies;
use strait_relay::hub::Ending;
use strait_runtime::units::{format_duration, parse_duration};

use super::HubArgs;
use crate::exit::Failure;
use crate::hooks::Again;
use crate::settings::{Setting, read_file};

/// Largest configuration file, bytes.
const FILE_MAX: usize = 1 << 20;

const LISTEN_DEFAULT: &str = "127.0.0.1:6443";
/// One to write, for who wrote one that is none.
const METRICS_EXAMPLE: &str = "127.0.0.1:9101";
const HOOKS_LISTEN: &str = "127.0.0.1:8080";
/// The longest that a hub takes to end.
const DRAIN_MAX: Duration = Duration::from_secs(24 * 3600);

const DATA_DIR_DEFAULT: &str = "strait-data";

/// The hub's settings, and those of webhooks if it takes them.
///
/// # Errors
/// Everything that is wrong, each with its place.
pub(crate) fn read(args: &HubArgs) -> Result<(Config, Option<Setup>), Failure> {
    let mut mistakes = Vec::new();
    let file = args.config.as_deref().map(|path| File::read(path, &mut mistakes));
    let file = file.flatten().unwrap_or_default();
    let setting = |flag: &Option<String>, name: &str, key: &str, default: &str| -> Setting {
        let of_file = file.text(key).filter(|_| flag.is_none());
        of_file.unwrap_or_else(|| Setting::of(flag.as_ref(), name, default))
    };
    let data_dir = setting(&args.data_dir, "data-dir", "dataDir", DATA_DIR_DEFAULT);
    let listen = setting(&args.listen, "listen", "listen", LISTEN_DEFAULT);
    let store = setting(&args.store, "store", "store", "sqlite");
    if data_dir.text.is_empty() {
        mistakes.push(format!("{}: is empty; expected a directory", data_dir.from));
    }
    let listen = listen.parse("ADDR:PORT", LISTEN_DEFAULT, &mut mistakes);
    let store = match &*store.text {
        "sqlite" => Ok(StoreKind::Sqlite),
        "memory" => Ok(StoreKind::Memory),
        other => Err(format!("{}: {other:?} is none of sqlite, memory", store.from)),
    };
    let list = |flag: &[String], name: &str, key: &str| match flag {
        [] => (file.list(key), file.place(key)),
        given => (given.to_vec(), format!("--{name}")),
    };
    let (advertise, _) = list(&args.advertise, "advertise", "advertise");
    let proxies = list(&args.relay_trusted_proxies, "relay-trusted-proxies", "relayTrustedProxies");
    let proxies = trusted_proxies(&proxies, &mut mistakes);
    mistakes.extend(store.as_ref().err().cloned());
    let data_dir = PathBuf::from(data_dir.text);
    let ttl = setting(&args.relay_max_token_ttl, "relay-max-token-ttl", "relayMaxTokenTTL", "720h");
    let token_life = token_life(&ttl).map_err(|mistake| mistakes.push(mistake));
    let drain = [
        setting(&args.relay_drain, "relay-drain", "relayDrain", "10s"),
        setting(&args.relay_drain_hard, "relay-drain-hard", "relayDrainHard", "15s"),
    ];
    let ending = ending(&drain).map_err(|mistake| mistakes.push(mistake));
    let given = |flag: &Option<String>, name: &str, key: &str| {
        let flag =
            flag.as_ref().map(|text| Setting { text: text.clone(), from: format!("--{name}") });
        flag.or_else(|| file.text(key))
    };
    let metrics = given(&args.metrics, "metrics", "metrics");
    let metrics =
        metrics.and_then(|setting| setting.parse("ADDR:PORT", METRICS_EXAMPLE, &mut mistakes));
    let services = given(&args.relay_services, "relay-services", "relayServices");
    let services = services.and_then(|setting| {
        let read = OwnServices::read(Path::new(&setting.text));
        read.map_err(|more| mistakes.extend(more)).ok()
    });
    let hooks = hooks(
        given(&args.hooks_config, "hooks-config", "hooksConfig"),
        given(&args.hooks_listen, "hooks-listen", "hooksListen"),
        &data_dir,
        &mut mistakes,
    );
    // With what is wrong left at its default the rest can be looked at.
    let config = Config {
        data_dir,
        listen: listen.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into()),
        metrics,
        advertise,
        store: store.unwrap_or(StoreKind::Sqlite),
        relay_token_life_max: token_life.unwrap_or(LIFE_MAX),
        relay_services: services,
        relay_ending: ending.unwrap_or_default(),
        relay_trusted_proxies: proxies,
    };
    mistakes.extend(config.mistakes());
    if mistakes.is_empty() { Ok((config, hooks)) } else { Err(Failure::usage(mistakes)) }
}

/// The longest life of a token for a service.
fn token_life(setting: &Setting) -> Result<Duration, String> {
    let allowed = Duration::from_secs(60)..=LIFE_MAX;
    let life = parse_duration(&setting.text).ok().filter(|life| allowed.contains(life));
    life.ok_or_else(|| {
        let longest = format_duration(LIFE_MAX);
        format!("{}: {:?} is not between 1m and {longest}", setting.from, setting.text)
    })
}

/// How long what crosses has when the hub ends.
fn ending([grace, hard]: &[Setting; 2]) -> Result<Ending, String> {
    let read = |setting: &Setting, allowed: RangeInclusive<Duration>| {
        let (from, to) = (format_duration(*allowed.start()), format_duration(*allowed.end()));
        let time = parse_duration(&setting.text).ok().filter(|time| allowed.contains(time));
        let Setting { from: place, text } = setting;
        time.ok_or_else(|| format!("{place}: {text:?} is not between {from} and {to}"))
    };
    let grace = read(grace, Duration::ZERO..=DRAIN_MAX)?;
    Ok(Ending { grace, hard: read(hard, grace..=DRAIN_MAX)? })
}

/// Where proxies are whose word about where requests come from is believed. Not everywhere: then
/// everybody could choose where they come from.
fn trusted_proxies(
    (list, from): &(Vec<String>, String),
    mistakes: &mut Vec<String>,
) -> TrustedProxies {
    let mut network = |text: &String| {
        let network = text.parse::<Network>().map_err(|error| error.to_string());
        let some = network.and_then(|network| match network.is_everything() {
            true => Err(format!("{text:?} would believe everybody")),
            false => Ok(network),
        });
        some.map_err(|why| mistakes.push(format!("{from}: {why}"))).ok()
    };
    TrustedProxies::new(list.iter().filter_map(&mut network).collect())
}

/// Webhooks, kept in the hub's directory unless the file names another.
fn hooks(
    config: Option<Setting>,
    listen: Option<Setting>,
    data_dir: &Path,
    mistakes: &mut Vec<String>,
) -> Option<Setup> {
    let address = listen.as_ref().map(|listen| listen.parse("ADDR:PORT", HOOKS_LISTEN, mistakes));
    let Some(config) = config else {
        if let Some(listen) = listen {
            mistakes.push(format!(
                "{}: --hooks-config is missing, which says who sends webhooks and who gets them",
                listen.from
            ));
        }
        return None;
    };
    let mut again = Again::new(PathBuf::from(config.text));
    again.data_dir = std::path::absolute(data_dir.join("hooks")).ok();
    again.listen = address.flatten();
    again.files.in_hub = true;
    again.first().map_err(|more| mistakes.extend(more)).ok()
}

/// A configuration file.
#[derive(Default)]
struct File {
    path: String,
    document: Option<yaml::Document>,
}

impl File {
    const KEYS: [&'static str; 12] = [
        "advertise",
        "dataDir",
        "hooksConfig",
        "hooksListen",
        "listen",
        "metrics",
        "relayDrain",
        "relayDrainHard",
        "relayMaxTokenTTL",
        "relayServices",
        "relayTrustedProxies",
        "store",
    ];

    /// Those that may be lists.
    const LISTS: [&'static str; 2] = ["advertise", "relayTrustedProxies"];

    fn read(path: &str, mistakes: &mut Vec<String>) -> Option<Self> {
        let text =
            read_file(path, FILE_MAX).map_err(|why| mistakes.push(format!("--config: {why}")));
        let text = text.ok()?;
        let documents =
            yaml::parse(&text).map_err(|error| mistakes.push(format!("{path}:{error}")));
        let file = Self { path: path.to_owned(), document: documents.ok()?.into_iter().next() };
        file.check(mistakes);
        Some(file)
    }

    fn check(&self, mistakes: &mut Vec<String>) {
        let Some(document) = &self.document else {
            return;
        };
        let Some(map) = document.value.as_object() else {
            if !document.value.is_null() {
                mistakes.push(format!("{}: must be a mapping", self.path));
            }
            return;
        };
        for (key, value) in map.iter() {
            let place = self.place(key);
            if !Self::KEYS.contains(&key) {
                mistakes
                    .push(format!("{place}: unknown setting; known are {}", Self::KEYS.join(", ")));
                continue;
            }
            let fits = match value {
                Value::String(_) => true,
                Value::Array(list) => {
                    Self::LISTS.contains(&key) && list.iter().all(|one| one.as_str().is_some())
                }
                _ => false,
            };
            if !fits {
                mistakes.push(format!("{place}: has the wrong type ({})", value.type_name()));
            }
        }
    }

    /// `file:line: key`.
    fn place(&self, key: &str) -> String {
        let line = self
            .document
            .as_ref()
            .map_or(1, |document| document.places.nearest(&Field::of(&[key])).line);
        format!("{}:{line}: {key}", self.path)
    }

    fn text(&self, key: &str) -> Option<Setting> {
        let text = self.document.as_ref()?.value.str_at(&[key])?.to_owned();
        Some(Setting { text, from: self.place(key) })
    }

    fn list(&self, key: &str) -> Vec<String> {
        let value = self.document.as_ref().and_then(|document| document.value.get(key));
        match value {
            Some(Value::String(text)) => vec![text.to_string()],
            Some(Value::Array(list)) => {
                list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(flags: &[&str]) -> HubArgs {
        use clap::Parser as _;
        let all = ["strait", "hub"].iter().chain(flags);
        match <crate::args::Cli>::try_parse_from(all).unwrap().command {
            crate::args::Command::Hub(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_flag_weighs_more_than_the_file_and_the_file_more_than_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hub.yaml");
        std::fs::write(&file, "listen: 127.0.0.1:7000\nstore: memory\n").unwrap();
        let file = file.to_str().unwrap();
        let (config, _) = read(&args(&["--config", file, "--listen", "127.0.0.1:8000"])).unwrap();
        assert_eq!(config.listen.port(), 8000);
        assert_eq!(config.store, StoreKind::Memory);
        assert_eq!(config.data_dir, PathBuf::from(DATA_DIR_DEFAULT));
    }

    #[test]
    fn proxies_are_trusted_that_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hub.yaml");
        std::fs::write(&file, "relayTrustedProxies: [192.0.2.0/24]\n").unwrap();
        let file = file.to_str().unwrap();
        let of = |networks: &[&str]| {
            TrustedProxies::new(networks.iter().map(|one| one.parse().unwrap()).collect())
        };
        let flag = "--relay-trusted-proxies=10.0.0.0/8,2001:db8::5";
        for (flags, expected) in [
            (&[][..], of(&[])),
            (&["--config", file], of(&["192.0.2.0/24"])),
            (&["--config", file, flag], of(&["10.0.0.0/8", "2001:db8::5/128"])),
        ] {
            let (config, _) = read(&args(flags)).unwrap();
            assert_eq!(config.relay_trusted_proxies, expected, "{flags:?}");
        }
    }

    #[test]
    fn how_long_a_hub_takes_to_end() {
        for (flags, expected) in [
            (&[][..], Ok([10, 15])),
            (&["--relay-drain=0s", "--relay-drain-hard=0s"], Ok([0, 0])),
            (&["--relay-drain=30s", "--relay-drain-hard=10m"], Ok([30, 600])),
            (&["--relay-drain-hard=30s"], Ok([10, 30])),
            (&["--relay-drain-hard=5s"], Err("--relay-drain-hard: \"5s\" is not between 10s and")),
            (&["--relay-drain=20m"], Err("\"15s\" is not between 20m and")),
            (&["--relay-drain=soon"], Err("--relay-drain: \"soon\" is not between 0s and")),
        ] {
            let read = read(&args(flags)).map(|(config, _)| config.relay_ending);
            match (read, expected) {
                (Ok(ending), Ok(seconds)) => {
                    let [grace, hard] = seconds.map(Duration::from_secs);
                    assert_eq!(ending, Ending { grace, hard }, "{flags:?}");
                }
                (Err(failure), Err(text)) => {
                    assert!(failure.lines[0].contains(text), "{failure:?}")
                }
                (read, _) => panic!("{flags:?}: {read:?}"),
            }
        }
    }

    #[test]
    fn every_mistake_is_told_at_once_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hub.yaml");
        std::fs::write(&file, "# settings\nlisten: nowhere\nstor: memory\nadvertise: {a: b}\n")
            .unwrap();
        let flags = ["--config", file.to_str().unwrap(), "--store", "paper"];
        let proxies = "--relay-trusted-proxies=10.0.0.0/8,0.0.0.0/0,10.0.0.1/8,::/0,front";
        let more = ["--relay-max-token-ttl", "31d", proxies, "--metrics", "0.0.0.0:9101"];
        let flags = [&flags[..], &more].concat();
        let failure = read(&args(&flags)).unwrap_err();
        let text = failure.lines.join("\n");
        for expected in [
            "hub.yaml:2: listen: \"nowhere\"",
            "hub.yaml:3: stor: unknown setting",
            "hub.yaml:4: advertise: has the wrong type",
            "--store: \"paper\"",
            "--metrics: 0.0.0.0:9101 is not a loopback address",
            "--relay-max-token-ttl: \"31d\"",
            "--relay-trusted-proxies: \"0.0.0.0/0\" would believe everybody",
            "--relay-trusted-proxies: \"10.0.0.1/8\" is not a range",
            "--relay-trusted-proxies: \"::/0\" would believe everybody",
            "--relay-trusted-proxies: \"front\" is not a range",
        ] {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
    }
}
