//! What a hub is told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use strait_relay::http::proxies::TrustedProxies;
use strait_relay::hub::Ending;

use crate::own::OwnServices;

/// Where objects are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreKind {
    /// In a file.
    #[default]
    Sqlite,
    /// In memory, until the process ends.
    Memory,
}

/// A hub's settings, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data directory.
    pub data_dir: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where this machine reads metrics without a credential, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// Addresses that clients and agents reach the hub by, `host:port`. May be empty where
    /// `listen` names one address.
    pub advertise: Vec<String>,
    /// Where objects are kept.
    pub store: StoreKind,
    /// The longest life of a token for a service.
    pub relay_token_life_max: Duration,
    /// What the hub itself offers to agents, if anything.
    pub relay_services: Option<OwnServices>,
    /// How long what crosses has when the hub ends.
    pub relay_ending: Ending,
    /// Where proxies are whose word about where requests come from is believed.
    pub relay_trusted_proxies: TrustedProxies,
}

impl Config {
    /// Everything that is wrong, one line each, naming the setting and the way out.
    #[must_use]
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.listen.ip().is_unspecified() && self.advertise.is_empty() {
            mistakes.push(format!(
                "--advertise: required where --listen is a wildcard ({}): name the HOST:PORT that agents reach this hub by",
                self.listen
            ));
        }
        if let Some(address) = self.metrics.filter(|address| !address.ip().is_loopback()) {
            mistakes.push(format!(
                "--metrics: {address} is not a loopback address: other machines read /metrics where --listen says, with a credential"
            ));
        }
        for address in &self.advertise {
            if let Err(why) = check_address(address) {
                mistakes.push(format!("--advertise {address}: {why}; expected HOST:PORT"));
            }
        }
        mistakes
    }

    /// The addresses to tell others, at least one.
    #[must_use]
    pub fn advertised(&self, bound: SocketAddr) -> Vec<String> {
        if self.advertise.is_empty() { vec![bound.to_string()] } else { self.advertise.clone() }
    }

    /// The names that the serving certificate is for.
    #[must_use]
    pub fn server_names(&self, bound: SocketAddr) -> Vec<String> {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        if !bound.ip().is_unspecified() {
            names.push(bound.ip().to_string());
        }
        names.extend(self.advertise.iter().filter_map(|address| {
            let (host, _) = address.rsplit_once(':')?;
            Some(host.trim_matches(['[', ']']).to_owned())
        }));
        names.sort();
        names.dedup();
        names
    }
}

fn check_address(address: &str) -> Result<(), &'static str> {
    let (host, port) = address.rsplit_once(':').ok_or("the port is missing")?;
    if port.parse::<u16>().is_ok_and(|port| port > 0) {
        let host = host.trim_matches(['[', ']']);
        // An address first: `0.0.0.0` would pass as a name.
        let valid = host.parse::<std::net::IpAddr>().map_or_else(
            |_| strait_types::is_dns1123_subdomain(&host.to_lowercase()),
            |ip| !ip.is_unspecified(),
        );
        return if valid { Ok(()) } else { Err("the host is no name and no address") };
    }
    Err("the port is no number between 1 and 65535")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(listen: &str, advertise: &[&str]) -> Config {
        Config {
            data_dir: "x".into(),
            listen: listen.parse().unwrap(),
            metrics: None,
            advertise: advertise.iter().map(|&a| a.to_owned()).collect(),
            store: StoreKind::Sqlite,
            relay_token_life_max: Duration::from_secs(3600),
            relay_services: None,
            relay_ending: Ending::default(),
            relay_trusted_proxies: TrustedProxies::default(),
        }
    }

    #[test]
    fn a_wildcard_needs_an_advertised_address() {
        assert!(config("127.0.0.1:6443", &[]).mistakes().is_empty());
        assert_eq!(config("0.0.0.0:6443", &[]).mistakes().len(), 1);
        assert!(
            config("0.0.0.0:6443", &["hub.example:443", "[2001:db8::1]:443"]).mistakes().is_empty()
        );
    }

    #[test]
    fn metrics_without_a_credential_are_for_this_machine() {
        for (address, mistakes) in [("127.0.0.1:0", 0), ("[::1]:9101", 0), ("0.0.0.0:9101", 1)] {
            let metrics = Some(address.parse().unwrap());
            let config = Config { metrics, ..config("127.0.0.1:6443", &[]) };
            assert_eq!(config.mistakes().len(), mistakes, "{address}");
        }
    }

    #[test]
    fn every_mistake_is_named() {
        let mistakes =
            config("0.0.0.0:6443", &["hub", "hub:0", "hub:x", "h_b:1", "0.0.0.0:1"]).mistakes();
        assert_eq!(mistakes.len(), 5, "{mistakes:?}");
    }
}
