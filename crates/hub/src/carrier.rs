//! Webhooks to backends behind agents of this hub: carried by their tunnels, in the hub's name.
//!
//! Who configures the hub says where webhooks go, so no right is asked for in the agent's
//! workspace; the agent's own rules hold, and see [`USER`].

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, header};
use strait_hooks::config::Service;
use strait_hooks::deliver::{Carrier, CarryError};
use strait_machinery::object;
use strait_net::{ANSWER_BYTES_MAX, Answer};
use strait_relay::hub::{Call, CallFailed, CallTarget, Tunnels};
use strait_runtime::RequestIds;
use strait_types::ClusterName;
use strait_workspaces::System;
use tokio::sync::watch;

/// Who agents are told that asks.
pub const USER: &str = "system:strait:hooks";

/// The agents of this hub.
pub(crate) struct Tunnelled {
    pub(crate) tunnels: Arc<Tunnels>,
    pub(crate) system: Arc<System>,
    pub(crate) ids: Arc<RequestIds>,
}

impl Tunnelled {
    /// The service, if its workspace is there.
    fn target(&self, to: &Service) -> Option<CallTarget> {
        let cluster = self.system.tenancy.resolve(&to.workspace)?;
        Some(CallTarget { cluster, agent: (&*to.agent).into(), service: to.service.to_string() })
    }
}

impl Carrier for Tunnelled {
    fn send(
        &self,
        to: &Service,
        request: Request<Bytes>,
    ) -> BoxFuture<'static, Result<Answer, CarryError>> {
        let Some(target) = self.target(to) else {
            return std::future::ready(Err(CarryError::Nobody)).boxed();
        };
        let (mut parts, body) = request.into_parts();
        // The tunnel says the length in its own way.
        parts.headers.remove(header::CONTENT_LENGTH);
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let call = Call {
            method: parts.method,
            path,
            fields: parts.headers,
            body,
            identity: identity(&target.cluster),
            id: self.ids.next().to_string(),
        };
        let tunnels = self.tunnels.clone();
        async move {
            let called = tunnels.call(&target, &call, ANSWER_BYTES_MAX).await;
            let called = called.map_err(|failed| match failed {
                CallFailed::Nobody => CarryError::Nobody,
                CallFailed::Malformed(why) => CarryError::Malformed(why.into()),
                broken @ CallFailed::Broken(_) => CarryError::Broken(broken.into()),
            })?;
            Ok(Answer { status: called.status, headers: called.fields })
        }
        .boxed()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.tunnels.changes()
    }

    fn offered(&self, to: &Service) -> Option<u64> {
        self.tunnels.offered(&self.target(to)?)
    }
}

/// What agents are told of who asks, JSON.
fn identity(cluster: &ClusterName) -> Bytes {
    object! {"user": USER, "ws": cluster.as_str(), "via": "hub"}.to_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_and_agents_mean_the_same_heartbeat() {
        assert_eq!(strait_hooks::deliver::HEARTBEAT_PATH, strait_relay::serve::HEARTBEAT_PATH);
    }

    #[test]
    fn agents_are_told_who_asks() {
        let expected = r#"{"user":"system:strait:hooks","via":"hub","ws":"root"}"#;
        assert_eq!(identity(&ClusterName::root()), expected);
    }
}
