//! What instances say of themselves while they are there.

use std::time::Duration;

use strait_auth::User;
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_machinery::status::Status;
use strait_types::ClusterName;

use super::Joining;
use super::connections::show_connected;
use super::join::clipped;
use crate::agents::{LOST_AFTER, instance_of, set_condition, set_instance};
use crate::seen::{Sign, may_stay};

/// A report after longer silence is written whatever it says: it meets a mark of the instance's
/// loss that is under way, in the store, and prevails.
const QUIET: Duration = Duration::from_secs(LOST_AFTER.as_secs() / 2);

impl Joining {
    /// Takes an agent's report: `{instance, version, host, state}`. Nothing is written where it
    /// says what the last one said, but for the time every now and then.
    ///
    /// # Errors
    /// The report is of another installation, or the store takes no write.
    pub async fn report(
        &self,
        cluster: &ClusterName,
        name: &str,
        user: &User,
        report: &Value,
    ) -> Result<Value, Status> {
        let proved = user.extra.get(crate::INSTANCE_EXTRA).and_then(|values| values.first());
        let instance = report.str_at(&["instance"]).unwrap_or_default();
        let own = strait_workspaces::agents::identity(user);
        if own.is_none_or(|(home, own)| home != *cluster || own != name) {
            return Err(Status::bad_request("an agent reports for itself only"));
        }
        if proved.is_none_or(|proved| proved != instance) {
            return Err(Status::bad_request("instance: must be that of the certificate"));
        }
        let mut state = match report.str_at(&["state"]).unwrap_or("Ready") {
            state @ ("Ready" | "Draining") => state,
            other => {
                return Err(Status::bad_request(format!(
                    "state: {other:?} is none of Ready, Draining"
                )));
            }
        };
        // Its connections ended before it could say so: it has no more.
        let is_last = state == "Draining" && self.agents.went((cluster, name), instance);
        if is_last {
            state = "Ended";
        }
        let text = |key: &str| clipped(report.str_at(&[key]).unwrap_or_default());
        let changes = [
            ("host", text("host").into()),
            ("version", text("version").into()),
            ("state", state.into()),
        ];
        // Before the object is looked at: see QUIET.
        let sign = if is_last { Sign::Went } else { Sign::Reported };
        let silence = self.agents.heard((cluster, name), instance, sign);
        let was_quiet = silence.is_none_or(|silence| silence > QUIET);
        let registry = &self.agents.system.registry;
        let now = registry.timestamp();
        let refused = self.change_status(cluster, name, |_, agent| {
            let known = instance_of(agent, instance);
            // It may have lost its place since its certificate was checked.
            let Some(stored) = known.map(|own| own.str_at(&["lastSeen"]).map(str::to_owned)) else {
                return Some(Status::bad_request("instance: has not joined the agent"));
            };
            let before = agent.clone();
            set_instance(agent, instance, &changes);
            if is_last {
                let instances = before.array_at(&["status", "instances"]);
                show_connected(agent, instances, &now);
            } else {
                let reported = ("True", "Reported", "an instance reported lately");
                set_condition(agent, "Connected", reported, &now);
            }
            let stays = may_stay(stored.as_deref(), registry.clock().now());
            if was_quiet || *agent != before || !stays {
                set_instance(agent, instance, &[("lastSeen", now.as_str().into())]);
            }
            None
        });
        if let Some(status) = refused.await? {
            return Err(status);
        }
        Ok(object! {
            "apiVersion": "relay.strait.dev/v1alpha1",
            "kind": "AgentHeartbeat",
            "time": now,
            "path": self.agents.system.tenancy.path(cluster).map(|path| path.to_string()).unwrap_or_default(),
        })
    }
}
