//! Namespaces that are being deleted: first their content goes, then they do.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use strait_apiserver::behaviour::Companions;
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_machinery::status::Status;
use strait_store::{Key, Scope};

use super::purge;
use crate::System;
use crate::controller::{Follow, Outcome, Reconcile};

pub(super) struct Namespaces {
    system: Arc<System>,
}

impl Namespaces {
    pub(super) const fn new(system: Arc<System>) -> Self {
        Self { system }
    }

    async fn run(&self, key: &Key) -> Result<Outcome, Status> {
        let system = &self.system;
        let Some(object) = system.tenancy.find(key).filter(|object| object.header.deleting) else {
            return Ok(Outcome::Done);
        };
        let scope = Scope::Namespace(key.cluster.clone(), key.name.name().into());
        let remains = purge::all(system, system.tenancy.store().resources(), &scope).await?;
        if let Some((resource, revision)) = remains.wait {
            let words = remains.left.iter().map(|(resource, count)| {
                format!("{}.{} has {count} resource instances", resource.resource, resource.group)
            });
            let words: Vec<String> = words.collect();
            let message = format!(
                "Some content in the namespace has finalizers remaining: {}",
                words.join(", ")
            );
            let mut value = object.to_value();
            remain(&mut value, &message, &system.registry.timestamp());
            system.replace(key, &object, &value).await?;
            return Ok(Outcome::Await(resource, scope, revision));
        }
        // Nothing can be created here any more, so what is empty now stays empty.
        let mut value = object.to_value();
        value.set(&["spec", "finalizers"], Vec::<Value>::new());
        value.make_object().object_mut("spec").remove("finalizers");
        system.finish(key, &object, &value, Companions::default()).await
    }
}

/// Says in the namespace what holds it.
fn remain(namespace: &mut Value, message: &str, now: &str) {
    let condition = object! {
        "type": "NamespaceFinalizersRemaining",
        "status": "True",
        "reason": "SomeFinalizersRemain",
        "message": message,
        "lastTransitionTime": now,
    };
    let known = namespace.array_at(&["status", "conditions"]).iter().any(|own| {
        own.str_at(&["type"]) == condition.str_at(&["type"])
            && own.str_at(&["message"]) == Some(message)
    });
    if !known {
        namespace.set(&["status", "conditions"], vec![condition]);
    }
}

impl Reconcile for Namespaces {
    fn name(&self) -> &'static str {
        "namespaces"
    }

    fn follows(&self) -> Vec<Follow> {
        vec![Follow::own(self.system.tenancy.ids().namespaces.clone())]
    }

    fn reconcile<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Outcome, Status>> {
        Box::pin(self.run(key))
    }
}
