//! `strait hooks`.

mod settings;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use strait_hooks::{Gateway, Host};
use strait_net::ServerMetrics;

use crate::exit::{Exit, Failure};
use crate::log::LogArgs;
use crate::process;

pub(crate) use settings::Again;

/// The name under which the program takes sprayproxy's arguments.
const SPRAYPROXY: &str = "sprayproxy";

/// Webhooks: one comes in, every backend gets it
#[derive(Args, Debug)]
pub(crate) struct HooksArgs {
    #[command(subcommand)]
    command: HooksCommand,
}

#[derive(Debug, Subcommand)]
enum HooksCommand {
    Serve(ServeArgs),
}

/// Receives webhooks and delivers them, without a hub
///
/// With --config everything is said in a file. Without it, sprayproxy's flags and environment
/// say it: the secret is in GH_APP_WEBHOOK_SECRET, and webhooks come to / and /proxy.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// YAML file of sources and backends (HooksConfig); applied again as it changes
    #[arg(long, env = "STRAIT_CONFIG", value_name = "FILE", conflicts_with_all = ["host", "port", "backend", "enable_dynamic_backends", "insecure_skip_tls_verify", "insecure_skip_webhook_verify", "metrics_port", "metrics_cert", "metrics_key", "data_dir", "ack", "admin_listen", "admin_token_file", "admin_kubeconfig", "dynamic_backend_network"])]
    config: Option<PathBuf>,

    /// Address to listen on: an IP address or `localhost` [default: all]
    #[arg(long, value_name = "HOST", help_heading = FLAGS)]
    host: Option<String>,

    /// Port to listen on [default: 8080]
    #[arg(long, value_name = "PORT", help_heading = FLAGS)]
    port: Option<u16>,

    /// URL of a backend; may be given again
    #[arg(long, value_name = "URL", help_heading = FLAGS)]
    backend: Vec<String>,

    /// Let backends be added and removed at /backends
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = FLAGS)]
    enable_dynamic_backends: Option<bool>,

    /// Take any certificate of a backend
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = FLAGS)]
    insecure_skip_tls_verify: Option<bool>,

    /// Take webhooks of anybody
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = FLAGS)]
    insecure_skip_webhook_verify: Option<bool>,

    /// Port of /metrics [default: 9090]
    #[arg(long, value_name = "PORT", help_heading = FLAGS)]
    metrics_port: Option<u16>,

    /// Certificate of that port
    #[arg(long, value_name = "FILE", help_heading = FLAGS)]
    metrics_cert: Option<String>,

    /// Its key
    #[arg(long, value_name = "FILE", help_heading = FLAGS)]
    metrics_key: Option<String>,

    /// Directory of the log; made if it is not there [default: /var/lib/strait/hooks]
    #[arg(long, env = "STRAIT_DATA_DIR", value_name = "DIR", help_heading = FLAGS)]
    data_dir: Option<PathBuf>,

    /// When a sender is answered: `durable`, once its webhook is on disk, or `sync`, once every
    /// backend has answered [default: durable]
    #[arg(long, value_name = "WHEN", help_heading = FLAGS)]
    ack: Option<settings::AckArg>,

    /// Address or unix:PATH for `strait hook …` [default: none]
    #[arg(long, value_name = "WHERE", help_heading = FLAGS)]
    admin_listen: Option<String>,

    /// File with a token for it that is good for everything
    #[arg(long, value_name = "FILE", help_heading = FLAGS)]
    admin_token_file: Option<String>,

    /// Kubeconfig of a cluster that reviews other tokens; empty for the cluster that this runs in
    #[arg(long, value_name = "FILE", help_heading = FLAGS)]
    admin_kubeconfig: Option<String>,

    /// Network, beside public ones, that added backends may be in; may be given again
    #[arg(long, value_name = "CIDR", value_delimiter = ',', help_heading = FLAGS)]
    dynamic_backend_network: Vec<String>,

    /// End when this process, the parent, ends
    #[arg(long, hide = true, value_name = "PID")]
    parent: Option<u32>,
}

const FLAGS: &str = "Without --config";

/// Runs a subcommand.
pub(crate) fn run(args: &HooksArgs, log: &LogArgs) -> Result<Exit, Failure> {
    match &args.command {
        HooksCommand::Serve(args) => serve(args, log),
    }
}

/// Receives and delivers until told to end.
fn serve(args: &ServeArgs, log: &LogArgs) -> Result<Exit, Failure> {
    let setup = settings::read(args)?;
    process::run(log, args.parent, Some("strait-hooks"), |context| async move {
        let shutdown = context.shutdown.clone();
        context.metrics.register_process(&*context.clock);
        let metrics = ServerMetrics::new(&context.metrics);
        let host = Host { metrics, audit: None, operators: None, carrier: None };
        let gateway = Gateway::start(setup, host, context).await?;
        process::announce(&url(&gateway))?;
        shutdown.asked().await;
        gateway.stop().await;
        Ok(Exit::Done)
    })
}

fn url(gateway: &Gateway) -> String {
    let scheme = if gateway.is_secure() { "https" } else { "http" };
    format!("{scheme}://{}", gateway.address())
}

/// The arguments as ours, if the program was called by sprayproxy's name: its one command that
/// runs anything is `server`.
pub(crate) fn arguments(given: Vec<OsString>) -> Vec<OsString> {
    let named = given.first().map(Path::new).and_then(Path::file_name);
    if named.is_none_or(|name| name != SPRAYPROXY) {
        return given;
    }
    let mut given = given.into_iter();
    let mut ours: Vec<OsString> = given.next().into_iter().collect();
    ours.push("hooks".into());
    ours.extend(given.map(|word| if word == "server" { "serve".into() } else { word }));
    ours
}

#[cfg(test)]
mod tests {

    use super::*;

    fn parse(words: &[&str]) -> ServeArgs {
        let words = arguments(words.iter().map(OsString::from).collect());
        match crate::args::Cli::of(words).unwrap().command {
            crate::args::Command::Hooks(HooksArgs { command: HooksCommand::Serve(args) }) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sprayproxys_command_line_is_taken_under_its_name() {
        let args = parse(&[
            "/usr/bin/sprayproxy",
            "server",
            "--host=127.0.0.1",
            "--port",
            "8081",
            "--backend",
            "http://a",
            "--backend=http://b,http://c",
            "--enable-dynamic-backends",
            "--insecure-skip-tls-verify=false",
        ]);
        assert_eq!(args.host.as_deref(), Some("127.0.0.1"));
        assert_eq!(args.port, Some(8081));
        assert_eq!(args.backend, ["http://a", "http://b,http://c"]);
        assert_eq!(args.enable_dynamic_backends, Some(true));
        assert_eq!(args.insecure_skip_tls_verify, Some(false));
        assert_eq!(args.insecure_skip_webhook_verify, None);
    }

    #[test]
    fn other_names_change_nothing() {
        let words: Vec<OsString> = ["strait", "server"].map(Into::into).to_vec();
        assert_eq!(arguments(words.clone()), words);
        assert!(arguments(Vec::new()).is_empty());
    }

    #[test]
    fn a_file_leaves_no_room_for_flags() {
        let words = ["strait", "hooks", "serve", "--config", "f", "--port", "1"];
        let error = crate::args::Cli::of(words.map(OsString::from).into()).unwrap_err();
        assert!(error.to_string().contains("--port"), "{error}");
    }
}
