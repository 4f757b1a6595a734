//! `strait hub`.

mod settings;

use clap::Args;
use strait_hub::Hub;
use strait_runtime::raise_descriptor_limit;

use crate::exit::{Exit, Failure};
use crate::log::LogArgs;
use crate::process;

/// Runs the public side: API server, workspaces, agents' front door
#[derive(Args, Debug)]
pub(crate) struct HubArgs {
    /// Directory of the hub's store, keys and audit log; made if it is not there
    #[arg(long, env = "STRAIT_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<String>,

    /// Address to listen on [default: 127.0.0.1:6443]
    #[arg(long, env = "STRAIT_LISTEN", value_name = "ADDR:PORT")]
    pub(crate) listen: Option<String>,

    /// Address of this machine to serve /metrics at without a credential
    #[arg(long, env = "STRAIT_METRICS", value_name = "ADDR:PORT")]
    pub(crate) metrics: Option<String>,

    /// Address that clients and agents reach this hub by; required where it listens on a wildcard
    #[arg(long, env = "STRAIT_ADVERTISE", value_name = "HOST:PORT", value_delimiter = ',')]
    pub(crate) advertise: Vec<String>,

    /// Where objects are kept: `sqlite` or `memory` [default: sqlite]
    #[arg(long, env = "STRAIT_STORE", value_name = "ENGINE")]
    pub(crate) store: Option<String>,

    /// YAML file of sources and backends (HooksConfig): webhooks are received and delivered
    #[arg(long, env = "STRAIT_HOOKS_CONFIG", value_name = "FILE")]
    pub(crate) hooks_config: Option<String>,

    /// Address to receive webhooks at, if not the file's
    #[arg(long, env = "STRAIT_HOOKS_LISTEN", value_name = "ADDR:PORT")]
    pub(crate) hooks_listen: Option<String>,

    /// Longest life of a token for a service; at most 720h [default: 720h]
    #[arg(long, env = "STRAIT_RELAY_MAX_TOKEN_TTL", value_name = "DURATION")]
    pub(crate) relay_max_token_ttl: Option<String>,

    /// YAML file of services (AgentConfig) that this hub offers to agents; applied again as it
    /// changes
    #[arg(long, env = "STRAIT_RELAY_SERVICES", value_name = "FILE")]
    pub(crate) relay_services: Option<String>,

    /// Addresses of proxies before this hub whose X-Forwarded-For and PROXY protocol are believed
    #[arg(long, env = "STRAIT_RELAY_TRUSTED_PROXIES", value_name = "CIDR", value_delimiter = ',')]
    pub(crate) relay_trusted_proxies: Vec<String>,

    /// Time for requests to be answered once the hub is to end [default: 10s]
    #[arg(long, env = "STRAIT_RELAY_DRAIN", value_name = "DURATION")]
    pub(crate) relay_drain: Option<String>,

    /// Time for answers that have begun and upgraded streams; at most 24h [default: 15s]
    #[arg(long, env = "STRAIT_RELAY_DRAIN_HARD", value_name = "DURATION")]
    pub(crate) relay_drain_hard: Option<String>,

    /// YAML file with the same settings (dataDir, listen, metrics, advertise, store,
    /// hooksConfig, hooksListen, relayDrain, relayDrainHard, relayMaxTokenTTL, relayServices,
    /// relayTrustedProxies)
    #[arg(long, env = "STRAIT_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<String>,

    /// End when this process, the parent, ends
    #[arg(long, hide = true, value_name = "PID")]
    pub(crate) parent: Option<u32>,
}

/// Runs a hub until it is told to end.
pub(crate) fn run(args: &HubArgs, log: &LogArgs) -> Result<Exit, Failure> {
    let (config, hooks) = settings::read(args)?;
    raise_descriptor_limit()?;
    process::run(log, args.parent, Some("strait-hub"), |context| async move {
        let shutdown = context.shutdown.clone();
        let mut hub = Hub::start(&config, context).await?;
        if let Some(hooks) = hooks {
            hub.take_hooks(hooks).await?;
        }
        process::announce(hub.url())?;
        shutdown.asked().await;
        hub.stop().await;
        Ok(Exit::Done)
    })
}
