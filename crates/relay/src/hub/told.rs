//! What tunnels tell, passed on to whoever writes objects.

use std::sync::Arc;
use std::time::Duration;

use strait_pki::AgentIdentity;
use strait_types::ClusterName;

use super::tunnels::{Connected, Heard, Presence};
use super::{Announcements, Connections};
use crate::agents::AgentSpec;
use crate::link::control::Announced;
use crate::services::Rejected;

/// Hears of tunnels for the sake of Agent and Service objects.
pub struct Told {
    /// Who is connected.
    pub connections: Arc<Connections>,
    /// What they offer.
    pub announcements: Arc<Announcements>,
}

impl Presence for Told {
    fn connected(&self, member: &AgentIdentity, connection: &Connected) {
        self.connections.connected(member, connection);
    }

    fn round_trip(&self, member: &AgentIdentity, took: Duration) {
        self.connections.round_trip(member, took);
    }

    fn disconnected(&self, member: &AgentIdentity, left: usize) {
        self.connections.disconnected(member, left);
        if left == 0 {
            let instance = member.instance().as_str();
            self.announcements.withdraw(member.cluster(), member.name(), instance);
        }
    }

    fn offers(&self, member: &AgentIdentity, list: Vec<Announced>) -> Heard {
        let instance = member.instance().as_str();
        self.announcements.replace(member.cluster(), member.name(), instance, list)
    }

    fn rejects(&self, member: &AgentIdentity, rejected: Option<Rejected>) {
        self.connections.rejects(member, rejected);
    }

    fn spec(&self, cluster: &ClusterName, agent: &str) -> Option<Arc<AgentSpec>> {
        self.announcements.spec(cluster, agent)
    }
}
