//! A client's head: what of it crosses, and what is decided by.

use strait_net::fields::Fields;
use strait_net::traced::traceparent;
use strait_net::{Incoming, OnUpgrade, RequestParts};
use strait_runtime::Entropy;
use strait_tunnel::{OpenHead, RawHead, Tlvs};

use super::who::Caller;
use crate::access::Verb;
use crate::ask::{Came, Message, refused};
use crate::credential::is_ours;
use crate::http::BadHead;
use crate::http::credentials::{BadCredentials, Presented, is_basic, present, restore};
use crate::http::proxies::Origin;
use crate::http::upgrade::Protocol;
use crate::http::way::Way;
use crate::link::control::Announced;
use crate::message::{Failure, ServiceName};
use crate::websocket::{Answer, Subprotocol, judge, offers};

/// What a path names.
pub(super) struct Named {
    pub(super) name: ServiceName,
    workspace: Option<String>,
    /// Bytes of the path up to the service's own.
    prefix: usize,
}

impl Named {
    /// None where agent and service can be no names.
    pub(super) fn of(path: &str) -> Option<Self> {
        let way = Way::of(path).ok().flatten()?;
        let name = ServiceName { agent: way.agent.to_owned(), service: way.service.to_owned() };
        let workspace = way.workspace.map(|path| path.to_string());
        Some(Self { name, workspace, prefix: way.prefix.len() })
    }
}

/// A head that is well formed, taken apart.
pub(super) struct Head {
    /// What of it crosses.
    pub(super) message: Message,
    pub(super) origin: Origin,
    /// The workspace as the path names it.
    pub(super) workspace: Option<String>,
    /// The public path of the service.
    pub(super) prefix: String,
    bare: bool,
    /// What answers a request for the bytes of a raw service.
    pub(super) raw: Option<Answer>,
    pub(super) presented: Presented,
    /// The credential is one that browsers add by themselves.
    pub(super) is_basic: bool,
    /// A page of another site made it, and it could change something.
    pub(super) is_foreign: bool,
}

impl Head {
    /// Takes a request apart, whose path names that. `proved`: the connection has a certificate.
    pub(super) fn take(
        request: RequestParts,
        named: &Named,
        origin: Origin,
        proved: bool,
        entropy: &dyn Entropy,
    ) -> Result<(Self, Incoming, Option<OnUpgrade>), Failure> {
        let mut came = Came::take(request)?;
        let whole = came.target()?;
        let prefix = whole.path().get(..named.prefix).ok_or(Failure::NotFound)?.to_owned();
        let bare = whole.path().len() == prefix.len();
        let inner = whole.below(prefix.len())?;
        let target = match inner.query() {
            Some(query) => format!("{}?{query}", inner.path()),
            None => inner.path().to_owned(),
        };
        let is_basic = is_basic(&came.fields);
        let presented = present(&mut came.fields, proved, is_ours).map_err(|bad| match bad {
            BadCredentials::Two => Failure::CredentialsDiffer,
            BadCredentials::Malformed => Failure::CredentialInvalid,
        })?;
        let (message, body, on_upgrade) = came.into_message(target, entropy)?;
        let raw = raw(message.upgrade.as_ref(), &message.fields, &message.target)?;
        let is_foreign = message.is_foreign();
        let workspace = named.workspace.clone();
        let head =
            Self { message, origin, workspace, prefix, bare, raw, presented, is_basic, is_foreign };
        Ok((head, body, on_upgrade))
    }

    /// The RBAC verb that it needs.
    pub(super) fn verb(&self) -> Verb {
        Verb::of(&self.message.method, self.message.upgrade.is_some())
    }

    /// Whether it asked for the service's public path itself, without a slash behind it.
    pub(super) const fn is_bare(&self) -> bool {
        self.bare
    }

    /// The head as it crosses.
    pub(super) fn open(
        &self,
        service: &Announced,
        caller: &Caller,
        id: &str,
    ) -> Result<OpenHead, Failure> {
        let identity = caller.identity(self.origin.client);
        let tlvs = Tlvs {
            service_type: &service.r#type,
            service: &service.name,
            identity: identity.as_bytes(),
            client: Some(self.origin.peer),
            forwarded: self.origin.before.as_deref().unwrap_or_default(),
            request_id: id,
            ..Tlvs::default()
        };
        if self.raw.is_some() {
            let tlvs = Tlvs { trace: traceparent(&self.message.fields), ..tlvs };
            return RawHead::new(&tlvs).map(OpenHead::Raw).map_err(refused);
        }
        let mut own = Fields::new();
        restore(&mut own, &self.presented, service.client_authorization);
        self.message.open(Tlvs { prefix: &self.prefix, ..tlvs }, own)
    }
}

/// The answer to a request for a raw service's bytes, if it is one.
fn raw(
    upgrade: Option<&Protocol>,
    fields: &Fields,
    target: &str,
) -> Result<Option<Answer>, BadHead> {
    if !upgrade.is_some_and(Protocol::is_websocket) || !offers(fields, Subprotocol::Raw) {
        return Ok(None);
    }
    if target != "/" {
        return Err(BadHead::RawTarget);
    }
    judge(fields, Subprotocol::Raw).map(Some).map_err(BadHead::WebSocket)
}
