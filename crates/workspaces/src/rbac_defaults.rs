//! Roles and bindings that hold in every workspace (`system:admin`).
//!
//! They are what tools and people expect to find by name. At every start they are made to be
//! as written here, except where somebody set the annotation
//! `rbac.authorization.kubernetes.io/autoupdate` to `false`, as with kube-apiserver.

use std::sync::Arc;

use futures_util::future::try_join_all;
use strait_machinery::json::Value;
use strait_machinery::status::Status;
use strait_machinery::yaml;
use strait_store::{Key, ObjectName};
use strait_types::ClusterName;

use crate::System;
use crate::seed::{self, Seed};

const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// Makes what is missing and mends what differs, here and in `root`.
///
/// # Errors
/// The store takes no write.
pub(crate) async fn ensure(system: &Arc<System>) -> Result<(), Status> {
    let everywhere = include_str!("../rbac/everywhere.yaml");
    let root = include_str!("../rbac/root.yaml");
    let (admin, home) = (ClusterName::system_admin(), ClusterName::root());
    let documents = |text| yaml::parse(text).expect("the files are read by tests");
    let everywhere = documents(everywhere).into_iter().map(|document| (&admin, document));
    let all = everywhere.chain(documents(root).into_iter().map(|document| (&home, document)));
    let writes = all.map(|(cluster, document)| ensure_one(system, cluster, document.value));
    try_join_all(writes).await.map(drop)
}

async fn ensure_one(
    system: &Arc<System>,
    cluster: &ClusterName,
    mut wanted: Value,
) -> Result<(), Status> {
    let ids = system.tenancy.ids();
    let resource = match wanted.str_at(&["kind"]) {
        Some("ClusterRole") => &ids.cluster_roles,
        _ => &ids.cluster_role_bindings,
    };
    let name = wanted.str_at(&["metadata", "name"]).unwrap_or_default().to_owned();
    wanted.set(&["metadata", "labels", "kubernetes.io/bootstrapping"], "rbac-defaults");
    wanted.set(&["metadata", "annotations", AUTOUPDATE], "true");
    let name = ObjectName::cluster_scoped(&name);
    let key = Key::new(resource.clone(), cluster.clone(), name.clone());
    let Some(found) = system.tenancy.find(&key) else {
        let put = Seed::new(&system.registry, cluster).put(resource, &name, wanted)?;
        seed::create(&system.registry, cluster, vec![put], Vec::new()).await?;
        return Ok(());
    };
    let mut value = found.to_value();
    if value.str_at(&["metadata", "annotations", AUTOUPDATE]) == Some("false") {
        return Ok(());
    }
    let mut changed = false;
    for field in ["rules", "subjects", "roleRef"] {
        if let Some(wanted) = wanted.get(field)
            && value.get(field) != Some(wanted)
        {
            value.make_object().insert(field, wanted.clone());
            changed = true;
        }
    }
    if changed {
        system.registry.replace_stored(&key, &found, &value, Vec::new()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_read() {
        for text in [include_str!("../rbac/everywhere.yaml"), include_str!("../rbac/root.yaml")] {
            let documents = yaml::parse(text).unwrap();
            assert!(
                documents
                    .iter()
                    .all(|document| document.value.str_at(&["metadata", "name"]).is_some())
            );
        }
    }
}
