//! The path of a workspace, as the hub confirms it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use strait_api::well_known::PATH;
use strait_runtime::Clock;
use strait_types::{Classified, ClusterName, ErrorKind, WorkspacePath};

use crate::{Api, ApiError};

/// Logical clusters whose paths are kept; beyond that, all are asked for again.
const PATHS_MAX: usize = 10_000;

/// A workspace can be moved; a rule on paths holds with that delay.
const FRESH: Duration = Duration::from_secs(300);

const BINDINGS_BYTES_MAX: usize = 1 << 20;

/// Tells the path of a logical cluster. Never taken from an object of a tenant: a tenant may
/// write any annotation on what is its own.
pub trait PathSource: Send + Sync + 'static {
    /// The path; none if the hub does not confirm one to us.
    fn path<'a>(
        &'a self,
        cluster: &'a ClusterName,
    ) -> BoxFuture<'a, Result<Option<WorkspacePath>, ApiError>>;
}

/// Asks the hub, at the endpoint's URL, for the workspace's APIBindings of the export. The hub
/// writes the workspace's path on each, whatever a tenant writes there. Answers are kept for
/// five minutes.
pub struct HubPaths {
    api: Api,
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<ClusterName, (Duration, Option<WorkspacePath>)>>,
}

impl HubPaths {
    /// Asks that server.
    #[must_use]
    pub fn new(api: Api, clock: Arc<dyn Clock>) -> Self {
        Self { api, clock, known: Mutex::default() }
    }

    async fn ask(&self, cluster: &ClusterName) -> Result<Option<WorkspacePath>, ApiError> {
        let path = format!("/clusters/{cluster}/apis/apis.kcp.io/v1alpha2/apibindings");
        let bindings = match self.api.get(&path, BINDINGS_BYTES_MAX).await {
            Ok(bindings) => bindings,
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::Denied => return Ok(None),
                _ => return Err(error),
            },
        };
        let first = bindings.array_at(&["items"]).first();
        let path = first.and_then(|binding| binding.str_at(&["metadata", "annotations", PATH]));
        Ok(path.and_then(|path| WorkspacePath::new(path).ok()))
    }
}

impl PathSource for HubPaths {
    fn path<'a>(
        &'a self,
        cluster: &'a ClusterName,
    ) -> BoxFuture<'a, Result<Option<WorkspacePath>, ApiError>> {
        async move {
            let now = self.clock.monotonic();
            if let Some((asked, path)) = self.known.lock().get(cluster)
                && now.saturating_sub(*asked) < FRESH
            {
                return Ok(path.clone());
            }
            let path = self.ask(cluster).await?;
            let mut known = self.known.lock();
            if known.len() >= PATHS_MAX {
                known.clear();
            }
            known.insert(cluster.clone(), (now, path.clone()));
            Ok(path)
        }
        .boxed()
    }
}
