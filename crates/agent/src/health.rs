//! The health port: on loopback, for this machine's probes and scrapers.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use http::Response;
use strait_audit::AuditLog;
use strait_net::{Body, Checks, Probe, metrics_probe};
use strait_relay::dial::Status;
use strait_runtime::{Metrics, Shutdown};
use tokio::sync::watch;

use crate::presence::Presence;
use crate::reload::Mistakes;

/// What the agent needs to take work. `audit` and `tunnel` are there once the agent has joined.
pub(crate) fn checks(
    presence: &Presence,
    audit: &Arc<OnceLock<AuditLog>>,
    tunnel: &Arc<OnceLock<watch::Receiver<Status>>>,
    mistakes: &Mistakes,
    shutdown: &Shutdown,
) -> Checks {
    let (presence, audit, shutdown) = (presence.clone(), audit.clone(), shutdown.clone());
    let (tunnel, mistakes) = (tunnel.clone(), mistakes.clone());
    Checks::new()
        .with(
            "hub",
            Arc::new(move || {
                if presence.is_connected() {
                    Ok(())
                } else {
                    Err("the hub took no report lately".into())
                }
            }),
        )
        .with(
            "audit",
            Arc::new(move || match audit.get() {
                Some(audit) if audit.healthy() => Ok(()),
                Some(_) => Err("the audit log takes no lines".into()),
                None => Err("the agent has not joined yet".into()),
            }),
        )
        .with(
            "tunnel",
            Arc::new(move || tunnel.get().map_or(Ok(()), |status| status.borrow().check())),
        )
        // It works on, and could not start again with these files.
        .with("configuration", Arc::new(move || mistakes.check()))
        .with(
            "shutdown",
            Arc::new(
                move || {
                    if shutdown.is_asked() { Err("shutting down".into()) } else { Ok(()) }
                },
            ),
        )
}

/// The port's paths.
pub(crate) fn probes(ready: Checks, metrics: Metrics) -> BTreeMap<&'static str, Probe> {
    let text = |(status, text): (http::StatusCode, String)| {
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        response
    };
    let live = move || text(Checks::new().report("livez", &[], false));
    // Only this machine reads it: reasons are not withheld.
    let ready = move || {
        let (status, report) = ready.report("readyz", &[], false);
        let reasons = if status.is_success() { String::new() } else { ready.failures() };
        text((status, report + &reasons))
    };
    let metrics = metrics_probe(metrics);
    let probes: [(_, Probe); 3] =
        [("/livez", Box::new(live)), ("/readyz", Box::new(ready)), ("/metrics", metrics)];
    probes.into_iter().collect()
}
