//! What the hub offers to the agent at the other end of a connection: services of the hub's own
//! that the agent's object names and the hub's operator lets it call.
//!
//! Both are asked again for every stream, and every now and then for those that are open.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use strait_auth::groups;
use strait_machinery::object;
use strait_pki::AgentIdentity;
use strait_tunnel::{Code, Directions, OpenHead};
use tokio::sync::watch;

use super::{Honoured, Tunnels};
use crate::agents::AgentSpec;
use crate::link::Stream;
use crate::link::control::Callable;
use crate::serve::{Peer, Serving};
use crate::services::AgentConfig;

/// What is offered on one connection.
pub(super) struct Offered {
    tunnels: Arc<Tunnels>,
    identity: AgentIdentity,
    /// The same as services are told it, JSON.
    json: Vec<u8>,
    address: SocketAddr,
    honoured: Honoured,
    /// What the lists were made of.
    of: Mutex<Made>,
    lists: watch::Sender<Lists>,
}

#[derive(Default)]
struct Made {
    spec: Option<Arc<AgentSpec>>,
    config: Option<Arc<AgentConfig>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lists {
    /// What the agent's object names, by type and name.
    named: Vec<(String, String)>,
    /// What of it there is.
    pub(super) offered: Vec<Callable>,
}

impl Lists {
    fn names(&self, service: &(String, String)) -> bool {
        self.named.contains(service)
    }
}

impl Offered {
    pub(super) fn new(
        tunnels: Arc<Tunnels>,
        identity: AgentIdentity,
        address: SocketAddr,
        honoured: Honoured,
    ) -> Arc<Self> {
        let json = object! {
            "user": identity.user(),
            "groups": vec![groups::AGENTS.into()],
            "ws": identity.cluster().as_str(),
            "via": "cert",
            "cred": identity.instance().as_str(),
        };
        let json = json.to_bytes();
        let (of, lists) = (Mutex::default(), watch::Sender::default());
        Arc::new(Self { tunnels, identity, json, address, honoured, of, lists })
    }

    /// What is offered, from now on.
    pub(super) fn lists(&self) -> watch::Receiver<Lists> {
        self.lists.subscribe()
    }

    /// Looks what the agent's object and the hub's configuration say now.
    pub(super) fn look(&self) {
        let spec = self.tunnels.spec(self.identity.cluster(), self.identity.name());
        let config = self.tunnels.own().map(Serving::config);
        let mut of = self.of.lock();
        if is_same(&of.spec, &spec) && is_same(&of.config, &config) {
            return;
        }
        let lists = lists(spec.as_deref(), config.as_deref(), &self.identity.user());
        *of = Made { spec, config };
        // Under the lock: an older look must not win.
        self.lists.send_if_modified(|now| {
            let changes = *now != lists;
            *now = lists;
            changes
        });
    }

    /// Takes a stream that the agent opened for a service.
    pub(super) fn take(&self, stream: Stream, head: &OpenHead) {
        let tlvs = match head {
            OpenHead::Http(request) => request.parts().tlvs,
            OpenHead::Raw(raw) => raw.tlvs(),
            OpenHead::Control => return,
        };
        if (self.honoured)().is_err() {
            return stream.sender.reset(Directions::Both, Code::Revoked, "");
        }
        let Some(own) = self.tunnels.own() else {
            return stream.sender.reset(Directions::Both, Code::NoService, "");
        };
        self.look();
        let service = (tlvs.service_type.to_owned(), tlvs.service.to_owned());
        let peer = Peer { identity: &self.json, address: self.address };
        if !self.lists.borrow().names(&service) {
            return own.refuse(&peer, &stream, head);
        }
        own.accept_from(&peer, stream, head, |progress| {
            let place = self.tunnels.calls().enter(&self.identity, head, progress);
            let lists = self.lists.subscribe();
            async move {
                tokio::select! {
                    () = taken_away(lists, service) => (Code::Revoked, "not offered any more"),
                    why = place.cut() => (Code::Aborted, why),
                }
            }
        });
    }
}

fn is_same<T>(one: &Option<Arc<T>>, other: &Option<Arc<T>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// Resolves once the agent's object does not name a service any more.
async fn taken_away(mut lists: watch::Receiver<Lists>, service: (String, String)) {
    // The connection is over where nobody looks any more.
    let _ = lists.wait_for(|lists| !lists.names(&service)).await;
}

fn lists(spec: Option<&AgentSpec>, config: Option<&AgentConfig>, user: &str) -> Lists {
    let named = spec.map(|spec| spec.calls.clone()).unwrap_or_default();
    let is_offered = |(kind, name): &&(String, String)| {
        let service = config.and_then(|config| config.services.get(name));
        service.is_some_and(|own| own.kind.as_str() == kind && own.admits(Some(user)))
    };
    let callable =
        |(kind, name): &(String, String)| Callable { r#type: kind.clone(), name: name.clone() };
    let offered = named.iter().filter(is_offered).map(callable).collect();
    Lists { named, offered }
}

#[cfg(test)]
mod tests {
    use strait_api::private::Source;
    use strait_machinery::object::{Body, Header, Object};
    use strait_machinery::yaml;
    use strait_types::Revision;

    use super::*;
    use crate::services::{Disk, read_of_hub};

    const HEAD: &str = "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\n";

    fn config(services: &str) -> AgentConfig {
        let text = format!("{HEAD}services: [{services}]\n");
        read_of_hub(&Source { file: "hub.yaml", text: &text }, &Disk).unwrap().unwrap().config
    }

    fn spec(incoming: &str) -> AgentSpec {
        let text = format!(
            "metadata: {{name: smith, uid: 6f1c2c1e-5b0a-4d6f-8e2b-0f8f3c0d9a11}}\n\
             spec: {{incoming: [{incoming}]}}\n"
        );
        let value = yaml::parse(&text).unwrap().remove(0).value;
        let (body, header) = (Body::encode(&value).unwrap(), Header::of(&value).unwrap());
        AgentSpec::of(&Object::new(Revision(1), body, header))
    }

    #[test]
    fn both_sides_must_name_a_service_of_the_hub() {
        let front50 = |users: &str| {
            format!("{{name: store, type: front50, url: 'http://h', allow: {{users: [{users}]}}}}")
        };
        let named = "{type: front50, name: store}";
        for (services, incoming, expected) in [
            (&*front50("'*'"), named, 1),
            (&front50("'*'"), "", 0),
            ("", named, 0),
            (&front50("'*'"), "{type: http, name: store}", 0),
            (&front50("'*'"), "{type: front50, name: other}", 0),
            (&front50("'system:strait:agent:c1:*'"), named, 1),
            (&front50("'system:strait:agent:c2:*'"), named, 0),
        ] {
            let user = "system:strait:agent:c1:smith";
            let lists = lists(Some(&spec(incoming)), Some(&config(services)), user);
            assert_eq!(lists.offered.len(), expected, "{services} {incoming}");
        }
        assert_eq!(lists(None, None, "a"), Lists::default());
    }

    #[tokio::test]
    async fn what_is_named_no_more_is_taken_away() {
        let of = |incoming: &str| lists(Some(&spec(incoming)), None, "a");
        let sender = watch::Sender::new(of("{type: tcp, name: db}"));
        let service = ("tcp".to_owned(), "db".to_owned());
        let mut taken = std::pin::pin!(taken_away(sender.subscribe(), service));
        sender.send_replace(of("{type: tcp, name: db}, {type: tcp, name: other}"));
        assert!(futures_util::poll!(&mut taken).is_pending());
        sender.send_replace(of("{type: tcp, name: other}"));
        taken.await;
    }
}
