//! Where operators come to, and what they may add.

use std::net::SocketAddr;

use strait_machinery::field::FieldError;
use strait_machinery::json::Path;

use super::check::Problems;
use super::{Admin, AdminListener, Cluster, DynamicBackends, Identity, Listener, Token, raw};

/// What stands before the path of a socket.
const UNIX: &str = "unix:";

/// Checks the operators' listener; `webhooks` is the address of the other.
pub(super) fn admin(
    raw: &raw::Admin,
    webhooks: Option<SocketAddr>,
    problems: &mut Problems<'_>,
) -> Option<Admin> {
    let at = |name: &str| Path::of(&["admin", name]);
    let tls = raw.tls.as_ref().map(|tls| Identity {
        certificates: problems.file(&at("tls").field("certFile"), &tls.cert_file),
        key: problems.file(&at("tls").field("keyFile"), &tls.key_file),
    });
    let listen = match raw.listen.strip_prefix(UNIX) {
        Some(path) => socket(path, tls.is_some(), problems),
        None => address(&raw.listen, tls, webhooks, problems),
    };
    let tokens = tokens(&raw.tokens, problems);
    let cluster = raw.kubeconfig.as_ref().map(|path| match path.as_str() {
        "" => Cluster::Here,
        path => Cluster::Kubeconfig(problems.file(&at("kubeconfig"), path)),
    });
    let is_socket = matches!(listen, None | Some(AdminListener::Unix(_)));
    if !is_socket && raw.tokens.is_empty() && cluster.is_none() {
        let why = "nobody could prove who they are: give tokens, a kubeconfig \
                   (\"\" for the cluster that this runs in), or listen on unix:PATH";
        problems.add(FieldError::required(Path::of(&["admin", "tokens"]), why));
    }
    Some(Admin { listen: listen?, tokens, cluster })
}

fn socket(path: &str, has_tls: bool, problems: &mut Problems<'_>) -> Option<AdminListener> {
    let at = Path::of(&["admin", "listen"]);
    // What the kernel takes, with its final zero (unix(7)).
    if !path.starts_with('/') || path.len() > 107 || path.contains('\0') {
        problems.invalid(&at, path, "must be an absolute path of at most 107 bytes behind unix:");
        return None;
    }
    if has_tls {
        let why = "has no meaning on a socket of this machine";
        problems.add(FieldError::forbidden(Path::of(&["admin", "tls"]), why));
    }
    Some(AdminListener::Unix(path.into()))
}

fn address(
    text: &str,
    tls: Option<Identity>,
    webhooks: Option<SocketAddr>,
    problems: &mut Problems<'_>,
) -> Option<AdminListener> {
    let at = Path::of(&["admin", "listen"]);
    let address = problems.socket(&at, text)?;
    if webhooks == Some(address) && address.port() != 0 {
        problems.add(FieldError::duplicate(at, text));
    } else if tls.is_none() && !address.ip().is_loopback() {
        let why = "tokens would cross the network in the clear: give admin.tls, or a loopback \
                   address, or unix:PATH";
        problems.invalid(&at, text, why);
    }
    Some(AdminListener::Tcp(Listener { address, tls }))
}

fn tokens(raw: &[raw::Token], problems: &mut Problems<'_>) -> Vec<Token> {
    let at = |index: usize| Path::of(&["admin", "tokens"]).index(index);
    let names = raw.iter().enumerate();
    problems.names(names.map(|(index, token)| (at(index).field("name"), &*token.name)));
    let each = raw.iter().enumerate().map(|(index, token)| Token {
        name: token.name.as_str().into(),
        file: problems.file(&at(index).field("file"), &token.file),
        may: token.may.clone(),
    });
    each.collect()
}

/// Checks how backends may be that are added later.
pub(super) fn dynamic(raw: &raw::DynamicBackends, problems: &mut Problems<'_>) -> DynamicBackends {
    let at = Path::of(&["dynamicBackends", "networks"]);
    let each = raw.networks.iter().enumerate();
    let networks = each.filter_map(|(index, text)| problems.parse(&at.index(index), text));
    DynamicBackends { networks: networks.collect(), timeout: None, insecure: false }
}
