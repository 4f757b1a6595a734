//! Copies of bound schemas, so that serving does not depend on the provider.
//!
//! A copy is named by its schema's uid and lives in a logical cluster of the hub's own. It goes
//! when no binding needs it any more. That takes two steps, so that it cannot go while somebody
//! begins to need it: first it is marked, and only if it is needed by nobody after that, and is
//! still as it was when it was marked, it goes. Whoever is about to bind takes the mark off, and
//! compares the copy's revision when binding.

use std::sync::Arc;

use strait_machinery::json::Value;
use strait_machinery::object;
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_store::engine::{Compare, Expect};
use strait_store::{Key, Scope, Txn};
use strait_types::ClusterName;

use crate::System;
use crate::ids::bound_schemas;
use crate::seed::{self, Seed};

/// On a copy that seems to be needed by nobody.
const UNUSED: [&str; 3] = ["metadata", "annotations", "internal.strait.dev/unused"];

/// Keeps a copy of a schema that is about to be bound. `from` is where it is, and its name.
/// Returns what must hold when the binding is stored.
///
/// # Errors
/// The store takes no write, or the copy is being changed by others.
pub(crate) async fn keep(
    system: &Arc<System>,
    from: (&ClusterName, &str),
    schema: &Object,
) -> Result<Compare, Status> {
    let home = bound_schemas();
    let key = system.tenancy.ids().schema(&home, &schema.header.uid.to_string());
    let changed = || seed::changed("the copy of a schema");
    let revision = match system.tenancy.find(&key) {
        Some(copy) => {
            let mut value = copy.to_value();
            match value.remove(&UNUSED) {
                None => copy.revision,
                Some(_) => {
                    let kept = system.registry.replace_stored(&key, &copy, &value, Vec::new());
                    kept.await?.ok_or_else(changed)?.revision
                }
            }
        }
        None => {
            let mut value = schema.to_value();
            value.set(
                &["metadata"],
                object! {"annotations": object!{
                    "apis.kcp.io/schema-cluster": from.0.as_str(),
                    "apis.kcp.io/schema-name": from.1,
                }},
            );
            let put = Seed::new(&system.registry, &home).put(&key.resource, &key.name, value)?;
            let made = seed::create(&system.registry, &home, vec![put], Vec::new()).await?;
            made.ok_or_else(changed)?.revision
        }
    };
    Ok(Compare { key, expect: Expect::Revision(revision) })
}

/// Removes the copies that no binding needs, at the start.
///
/// # Errors
/// The store takes no write.
pub(crate) async fn sweep(system: &Arc<System>) -> Result<(), Status> {
    let copies = system.tenancy.store().snapshot(&system.tenancy.ids().schemas);
    for (name, _) in copies.part(&bound_schemas()).iter() {
        drop_unused(system, name.name()).await?;
    }
    Ok(())
}

/// Removes the copy of a schema if no binding needs it.
///
/// # Errors
/// The store takes no write.
pub(crate) async fn drop_unused(system: &Arc<System>, uid: &str) -> Result<(), Status> {
    let key = system.tenancy.ids().schema(&bound_schemas(), uid);
    let Some(copy) = system.tenancy.find(&key).filter(|_| !is_needed(system, uid)) else {
        return Ok(());
    };
    let mut value = copy.to_value();
    // Another text each time: what is marked anew is another revision.
    value.set(&UNUSED, Value::from(copy.revision.to_string()));
    let marked = system.registry.replace_stored(&key, &copy, &value, Vec::new()).await?;
    if let Some(marked) = marked.filter(|_| !is_needed(system, uid)) {
        remove(system, key, &marked).await?;
    }
    Ok(())
}

async fn remove(system: &Arc<System>, key: Key, marked: &Object) -> Result<(), Status> {
    let compare = Compare { key: key.clone(), expect: Expect::Revision(marked.revision) };
    let home = key.cluster.clone();
    let txn = Txn { compares: vec![compare], puts: Vec::new(), deletes: vec![key] };
    match system.registry.store().commit(&home, txn).await {
        Ok(_) | Err(strait_store::CommitError::Refused(_)) => Ok(()),
        Err(error) => Err(seed::unwritten(&error)),
    }
}

/// Whether any binding needs a schema. Most are needed by one of the first that are looked at.
fn is_needed(system: &System, uid: &str) -> bool {
    let ids = system.tenancy.ids();
    let bindings = system.tenancy.store().snapshot(&ids.bindings);
    bindings.iter(&Scope::All).any(|(cluster, name, object)| {
        let binding = system.catalogs.parsed(&ids.binding(cluster, name.name()), object);
        binding.resources.iter().any(|bound| bound.schema_uid == uid)
    })
}
