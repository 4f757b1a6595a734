//! The agent's life, from nothing to drained.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Uri;
use strait_audit::{AuditLog, StoreMirror};
use strait_net::{Checks, ServerMetrics, serve_health};
use strait_reconcile::{Api, Clients, HubTime};
use strait_relay::agent::{Facts, Membership};
use strait_requests::{Controller, Dependencies};
use strait_runtime::{Context, fs};
use strait_sandbox::exec::Launcher;
use strait_store::engine::SqliteEngine;
use strait_store::{Options, Store};
use tokio::net::TcpListener;

use crate::classes;
use crate::clients::HubClients;
use crate::config::Config;
use crate::directory::{self, Directory};
use crate::error::AgentError;
use crate::health;
use crate::kept::Kept;
use crate::member::Member;
use crate::presence::Presence;
use crate::relay::Relay;
use crate::reload::{Changes, Mistakes};

/// Memory for what changed lately in the journal: nobody watches it.
const JOURNAL_HISTORY_BYTES: usize = 1 << 20;

/// Time for the agent's tasks to end after its requests have.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Joins the hub if need be, and does its requests until the shutdown is asked for. `connected`
/// is called once, when the hub has taken the first report.
///
/// # Errors
/// See [`AgentError`]; nothing is left running.
pub async fn run(
    config: Config,
    launcher: Launcher,
    context: Context,
    connected: impl FnOnce(&Membership),
) -> Result<(), AgentError> {
    let directory = directory::open(&config.data_dir, &*context.entropy)?;
    let presence = Presence::new(context.clock.clone());
    let (audit_slot, tunnel_slot) = (Arc::new(OnceLock::new()), Arc::new(OnceLock::new()));
    let mistakes = Mistakes::default();
    let checks = health::checks(&presence, &audit_slot, &tunnel_slot, &mistakes, &context.shutdown);
    let listeners = ServerMetrics::new(&context.metrics);
    serve_probes(&config, &directory, checks, &listeners, &context).await?;
    let Some(kept) = Kept::open(&directory, config.state, &context).await? else { return Ok(()) };
    let facts = Facts {
        instance: kept.instance(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        ephemeral: config.ephemeral,
    };
    let hub = config.told.relay.as_ref().map(|relay| relay.hub.clone()).unwrap_or_default();
    let by = (config.environment.ways(&context), hub);
    let token = config.token.as_ref();
    let joined = Member::join(kept, token, config.front_door, by, &facts, &context);
    let Some(member) = joined.await? else {
        return Ok(());
    };
    let membership = member.now();
    let store = open_journal(&directory, &context)?;
    let audit = AuditLog::open(
        strait_audit::Options::new(directory.join("audit"), directory.id().to_string()),
        Box::new(StoreMirror(store.clone())),
        context.clock.clone(),
        &context.metrics,
    )?;
    let _ = audit_slot.set(audit.clone());
    let clients: Arc<dyn Clients> =
        Arc::new(HubClients::new(member.clone(), context.tasks.clone()));
    let hub = hub_uri(&member)?;
    let api = Api::new(hub.clone(), clients.clone(), HubTime::new(context.clock.clone()));
    let tasks = &context.tasks;
    tasks.spawn("membership", member.clone().stay());
    let (relay, tunnel) = Relay::start(&member, &facts.host, (&audit, &listeners), &context);
    let _ = tunnel_slot.set(tunnel.status());
    let reload = Changes::reload(config.files, &config.told, relay.clone(), &mistakes, &context);
    relay.apply(config.told.relay).map_err(|errors| AgentError::Config(errors.join("\n")))?;
    let tunnel = tasks.spawn("tunnel", tunnel.run());
    tasks.spawn_daemon("reload", reload.run());
    let classes = config.told.requests.classes();
    let dependencies = Dependencies {
        clock: context.clock.clone(),
        entropy: context.entropy.clone(),
        tasks: tasks.clone(),
        metrics: context.metrics.clone(),
        audit: audit.clone(),
        journal: store.clone(),
        clients,
        hub,
        hub_id: membership.hub.clone(),
        // The journal's, which says what was begun.
        instance: directory.id().clone(),
        exec_dir: directory.join("exec"),
        launcher,
    };
    let controller = Controller::new(config.told.requests, dependencies, context.shutdown.clone())?;
    let (first, reported) = (presence.first(), presence.first());
    let reports = tasks
        .spawn("presence", presence.keep_up(api.clone(), member.clone(), facts, context.clone()));
    tasks.spawn("class-views", classes::publish(reported, api, member, classes, context.clone()));
    let requests = tasks.spawn("requests", controller.run());
    tokio::select! {
        () = context.shutdown.asked() => {}
        () = first => {
            tracing::info!(agent = membership.agent, hub = %membership.hub, "connected");
            connected(&membership);
        }
    }
    context.shutdown.asked().await;
    relay.close();
    // A panic in either was logged; what is left is to close the books.
    drop(requests.await);
    drop(tunnel.await);
    drop(reports.await);
    drop(tasks.shutdown(DRAIN_TIME).await);
    audit.close().await;
    // Closing waits for the writer, which may sync.
    drop(tokio::task::spawn_blocking(move || store.close()).await);
    Ok(())
}

/// The health port, and where it is: a file in the data directory says so.
async fn serve_probes(
    config: &Config,
    directory: &Directory,
    checks: Checks,
    metrics: &ServerMetrics,
    context: &Context,
) -> Result<(), AgentError> {
    let listen = |source| AgentError::Listen { address: config.health, source };
    let listener = TcpListener::bind(config.health).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    fs::write_atomic(&directory.join("health"), format!("{address}\n").as_bytes(), 0o644)?;
    context.metrics.register_process(&*context.clock);
    let probes = health::probes(checks, context.metrics.clone());
    let served = serve_health(
        listener,
        probes,
        metrics.clone(),
        context.tasks.clone(),
        context.shutdown.clone(),
    );
    context.tasks.spawn("health", async move {
        if let Err(error) = served.await {
            tracing::error!(err = %strait_types::Report(&error), "the health port is not served");
        }
    });
    Ok(())
}

fn open_journal(directory: &Directory, context: &Context) -> Result<Store, AgentError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| AgentError::Journal(error);
    let engine =
        SqliteEngine::open(&directory.join("journal.db")).map_err(|error| failed(error.into()))?;
    let options = Options { history_bytes: JOURNAL_HISTORY_BYTES, ..Options::default() };
    Store::open(Arc::new(engine), options, context.clock.clone(), &context.metrics)
        .map_err(|error| failed(error.into()))
}

/// The hub's first address as a server.
fn hub_uri(member: &Member) -> Result<Uri, AgentError> {
    let now = member.now();
    let address = member.told_address().or_else(|| now.addresses.first().map(String::as_str));
    let address = address.unwrap_or_default();
    format!("https://{address}/")
        .parse()
        .map_err(|_| AgentError::Config(format!("{address:?} is no address of a hub")))
}
