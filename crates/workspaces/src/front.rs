//! From a URL to the view behind it.
//!
//! A workspace that is absent, that the user may not enter, or whose name is malformed gives
//! one and the same answer, from one and the same path through the code; only `system:masters`
//! learn which it was.

use std::sync::Arc;

use strait_apiserver::{Reach, View};
use strait_auth::User;
use strait_machinery::status::Status;
use strait_types::{ClusterName, GroupResource, WorkspacePath};

use crate::System;
use crate::tenancy::Phase;
use crate::views::{ExportView, NoExportView, WildcardView, WorkspaceView};

/// A view, and the path within it.
pub struct Routed {
    /// What the request sees.
    pub view: Arc<dyn View>,
    /// The path without the workspace, still encoded; begins with `/`.
    pub path: String,
}

impl System {
    /// Finds the view for a path, still encoded, of a user.
    ///
    /// # Errors
    /// 403 where the user may not enter or there is nothing to enter, 404 for paths of no
    /// workspace.
    pub fn route(self: &Arc<Self>, user: &User, path: &str) -> Result<Routed, Status> {
        let mut segments = path.trim_start_matches('/').splitn(2, '/');
        let (first, rest) =
            (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
        match first {
            "clusters" => self.route_workspace(user, rest),
            "services" => self.route_service(user, rest),
            _ => Err(no_workspace(user)),
        }
    }

    fn route_workspace(self: &Arc<Self>, user: &User, rest: &str) -> Result<Routed, Status> {
        let (name, path) = split(rest);
        let name = &*decoded(name);
        if name == "*" {
            if !user.is_master() {
                return Err(not_permitted());
            }
            return Ok(Routed { view: Arc::new(WildcardView::new(self)), path });
        }
        let parsed = WorkspacePath::new(name);
        let found = parsed.as_ref().ok().and_then(|path| self.tenancy.resolve(path));
        let known = found.filter(|cluster| {
            self.tenancy.cluster(cluster).is_some() || (cluster.is_system() && user.is_master())
        });
        let Some(cluster) = known else {
            // The same question as for a workspace that is there.
            let nowhere = WorkspaceView::new(self.clone(), ClusterName::system_admin());
            std::hint::black_box(nowhere.admits(user));
            return Err(absent(user, parsed.is_err(), name));
        };
        let view = WorkspaceView::new(self.clone(), cluster.clone());
        if !view.admits(user) {
            return Err(not_permitted());
        }
        if let Some(found) = self.tenancy.cluster(&cluster) {
            check_phase(found.phase, user)?;
        }
        if path.starts_with("/clusters/") {
            return Err(Status::unknown_path());
        }
        Ok(Routed { view: Arc::new(view), path })
    }

    /// `/services/apiexport/<logical cluster>/<export>/clusters/<target>/…`
    fn route_service(self: &Arc<Self>, user: &User, rest: &str) -> Result<Routed, Status> {
        let segments: Vec<&str> = rest.splitn(5, '/').collect();
        let ["apiexport", provider, export, "clusters", rest] = segments[..] else {
            return Err(no_workspace(user));
        };
        let (target, path) = split(rest);
        // Go's clients escape the asterisk.
        let reach = match &*decoded(target) {
            "*" => Some(Reach::All),
            name => ClusterName::new(name).ok().map(Reach::Cluster),
        };
        let view =
            ClusterName::new(&decoded(provider)).ok().zip(reach).and_then(|(provider, reach)| {
                let export = decoded(export);
                strait_types::is_path_segment(&export)
                    .then(|| ExportView::new(self.clone(), provider, &export, reach))
                    .flatten()
            });
        // What is absent and what is forbidden look alike: an unknown export is refused as one
        // that the user has no right to.
        match view {
            Some(view) => Ok(Routed { view: Arc::new(view), path }),
            None if user.is_master() => Err(Status::unknown_path()),
            None => Ok(Routed { view: Arc::new(NoExportView::new(self)), path }),
        }
    }
}

/// The first segment, and the rest as a path.
fn split(rest: &str) -> (&str, String) {
    match rest.split_once('/') {
        Some((first, rest)) => (first, format!("/{rest}")),
        None => (rest, "/".to_owned()),
    }
}

fn decoded(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// The one answer to whoever may not know more.
#[must_use]
pub fn not_permitted() -> Status {
    let mut status = Status::forbidden(&GroupResource::new("", ""), "", "");
    status.message = "workspace access not permitted".into();
    status.details = None;
    status
}

fn absent(user: &User, malformed: bool, name: &str) -> Status {
    if !user.is_master() {
        return not_permitted();
    }
    if malformed {
        let text = format!("invalid cluster: {name:?} does not match the regex");
        return Status::bad_request(text);
    }
    Status::not_found(&GroupResource::new("tenancy.kcp.io", "workspaces"), name)
}

fn no_workspace(user: &User) -> Status {
    if user.is_master() { Status::unknown_path() } else { not_permitted() }
}

fn check_phase(phase: Phase, user: &User) -> Result<(), Status> {
    if phase.is_enterable() || user.is_master() {
        return Ok(());
    }
    if phase == Phase::Unavailable {
        return Err(Status::unavailable("the workspace is unavailable").retry_after(1));
    }
    let mut status = not_permitted();
    status.message = format!("not permitted due to phase \"{phase:?}\"");
    Err(status)
}
