//! What is received and delivered: a file, or flags and environment.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;
use strait_hooks::config::compat::{self, Flags};
use strait_hooks::config::{self, Ack, Config, Disk};
use strait_hooks::{Changed, Setup};

use super::ServeArgs;
use crate::exit::Failure;
use crate::settings::read_file;

/// Largest configuration file, bytes.
const FILE_MAX: usize = 4 << 20;

/// When a sender is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum AckArg {
    Durable,
    Sync,
}

/// The configuration.
///
/// # Errors
/// Everything that is wrong with it, each with its place.
pub(super) fn read(args: &ServeArgs) -> Result<Setup, Failure> {
    let setup = match &args.config {
        Some(path) => Again::new(path.clone()).first(),
        None => {
            let flags = flags(args).map_err(|mistake| Failure::usage(vec![mistake]))?;
            compat::config(&flags, environment).map(|config| Setup::new(config, environment))
        }
    };
    setup.map_err(Failure::usage)
}

/// A configuration file that is read again.
pub(crate) struct Again {
    path: PathBuf,
    /// Where things are kept unless the file says so.
    pub(crate) data_dir: Option<PathBuf>,
    /// Where webhooks come to, whatever the file says.
    pub(crate) listen: Option<SocketAddr>,
    /// What the file may speak of.
    pub(crate) files: Disk,
    /// What was read last: a text or why there was none.
    last: Option<Result<String, String>>,
}

impl Again {
    /// The file at that path.
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path, data_dir: None, listen: None, files: Disk { in_hub: false }, last: None }
    }

    /// Reads it for the first time.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place.
    pub(crate) fn first(mut self) -> Result<Setup, Vec<String>> {
        let config = self.changed().unwrap_or_else(|| Err(Vec::new()))?;
        let again: Changed = Box::new(move || self.changed());
        Ok(Setup::new(config, environment).with_changes(again))
    }

    /// What the file says, if that is not what it said before, or what is wrong.
    fn changed(&mut self) -> Option<Result<Config, Vec<String>>> {
        let name = self.path.display().to_string();
        let text = read_file(&name, FILE_MAX);
        if self.last.as_ref() == Some(&text) {
            return None;
        }
        let read = match &text {
            Err(why) => Err(vec![format!("--config: {why}")]),
            Ok(text) => config::read(&name, text, self.data_dir.as_deref(), &self.files)
                .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect()),
        };
        // What is wrong may be another file, such as a secret that is mounted a moment later.
        self.last = Some(text).filter(|_| read.is_ok());
        Some(read.map(|mut config| {
            if let Some(listen) = self.listen {
                config.listen.address = listen;
            }
            config
        }))
    }
}

/// sprayproxy's settings are variables that no flag of ours names.
#[expect(clippy::disallowed_methods, reason = "names that only a configuration knows")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn flags(args: &ServeArgs) -> Result<Flags, String> {
    let data_dir = args.data_dir.as_deref().map(std::path::absolute).transpose();
    let data_dir = data_dir.map_err(|error| format!("--data-dir: {error}"))?;
    Ok(Flags {
        host: args.host.clone(),
        port: args.port,
        backends: args.backend.clone(),
        enable_dynamic_backends: args.enable_dynamic_backends,
        insecure_skip_tls_verify: args.insecure_skip_tls_verify,
        insecure_skip_webhook_verify: args.insecure_skip_webhook_verify,
        metrics_port: args.metrics_port,
        metrics_cert: args.metrics_cert.clone(),
        metrics_key: args.metrics_key.clone(),
        data_dir,
        ack: args.ack.map(|ack| match ack {
            AckArg::Durable => Ack::Durable,
            AckArg::Sync => Ack::Sync,
        }),
        admin_listen: args.admin_listen.clone(),
        admin_token_file: args.admin_token_file.clone(),
        admin_kubeconfig: args.admin_kubeconfig.clone(),
        dynamic_backend_networks: args.dynamic_backend_network.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "apiVersion: hooks.strait.dev/v1alpha1\nkind: HooksConfig\n";

    #[test]
    fn a_good_file_is_told_once_for_each_change() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hooks.yaml");
        std::fs::write(&path, TEXT).unwrap();
        let mut again = Again::new(path.clone());
        again.data_dir = Some("/here".into());
        let first = again.changed().unwrap().unwrap();
        assert_eq!(first.data_dir, PathBuf::from("/here"));
        assert!(again.changed().is_none());

        std::fs::write(&path, format!("{TEXT}sorces: []\n")).unwrap();
        let mistakes = again.changed().unwrap().unwrap_err();
        assert!(mistakes[0].contains("hooks.yaml:3:1: unknown field \"sorces\""), "{mistakes:?}");
        assert_eq!(again.changed().unwrap().unwrap_err(), mistakes, "it is read until it is right");

        std::fs::remove_file(&path).unwrap();
        assert!(again.changed().unwrap().is_err());

        std::fs::write(&path, format!("{TEXT}dataDir: /there\n")).unwrap();
        assert_eq!(again.changed().unwrap().unwrap().data_dir, PathBuf::from("/there"));
    }
}
