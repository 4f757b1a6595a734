//! What changes while a gateway runs: its configuration, secrets, certificates.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strait_pki::FileCertificate;
use strait_runtime::Context;
use strait_types::Report;

use super::change::merge;
use super::operators::Operators;
use super::{Changed, StartError, Variable};
use crate::config::{Config, Source};
use crate::deliver::Deliveries;
use crate::ingest::{Ingest, Receiving};
use crate::secrets::Secrets;

/// How often files are looked at. A Kubernetes volume changes by a symlink, of which a watch on
/// the file says nothing.
const EVERY: Duration = Duration::from_secs(1);

/// Looks at files and applies what changed.
pub(super) struct Upkeep {
    config: Config,
    ingest: Ingest,
    deliveries: Deliveries,
    pub(super) operators: Arc<Operators>,
    pub(super) changed: Option<Changed>,
    pub(super) variable: Variable,
    /// By source: one that stays as it is keeps its secrets.
    secrets: BTreeMap<Arc<str>, (Source, Arc<Secrets>)>,
    pub(super) certificates: Vec<Arc<FileCertificate>>,
}

impl Upkeep {
    /// Of a configuration that does not change, without variables.
    pub(super) fn new(
        config: Config,
        ingest: Ingest,
        deliveries: Deliveries,
        operators: Arc<Operators>,
    ) -> Self {
        Self {
            config,
            ingest,
            deliveries,
            operators,
            changed: None,
            variable: |_| None,
            secrets: BTreeMap::new(),
            certificates: Vec::new(),
        }
    }

    /// Receives from the sources of the configuration. Blocks on the file system.
    pub(super) fn receive(&mut self, context: &Context) -> Result<(), StartError> {
        let mut fresh = BTreeMap::new();
        for source in &self.config.sources {
            let kept = self.secrets.get(&source.name).filter(|(old, _)| old == source);
            let secrets = match kept {
                Some((_, secrets)) => secrets.clone(),
                None => Arc::new(load(source, self.variable, context)?),
            };
            fresh.insert(source.name.clone(), (source.clone(), secrets));
        }
        let receiving = fresh.values().map(|(source, secrets)| Receiving {
            source: source.clone(),
            secrets: secrets.clone(),
        });
        self.ingest.serve(receiving.collect(), self.config.store_only);
        self.secrets = fresh;
        Ok(())
    }

    /// Looks every second, for ever.
    pub(super) async fn run(mut self, context: Context) {
        loop {
            tokio::time::sleep(EVERY).await;
            let looked = tokio::task::spawn_blocking(move || {
                let changed = self.look();
                (self, changed)
            });
            let Ok((this, changed)) = looked.await else {
                tracing::error!("looking at files panicked; changes need a restart now");
                return;
            };
            self = this;
            if let Some(new) = changed {
                self = self.apply(new, &context).await;
            }
        }
    }

    /// Reads what may have changed.
    fn look(&mut self) -> Option<Config> {
        self.ingest.refresh_secrets();
        for certificate in &self.certificates {
            match certificate.refresh() {
                Ok(true) => tracing::info!("a listener's certificate changed"),
                Ok(false) => {}
                Err(error) => {
                    let err = Report(&error).to_string();
                    tracing::warn!(err, "a listener's certificate stays as it was");
                }
            }
        }
        match self.changed.as_mut()?()? {
            Ok(config) => Some(config),
            Err(mistakes) => {
                for mistake in mistakes {
                    tracing::error!(mistake, "the configuration stays as it was");
                }
                None
            }
        }
    }

    /// Applies a configuration whole or not at all.
    async fn apply(mut self, new: Config, context: &Context) -> Self {
        let (merged, waits) = merge(&self.config, new);
        if !waits.is_empty() {
            let waits = waits.join(", ");
            tracing::warn!(waits, "the configuration changed where that needs a restart");
        }
        // First, as a source without backends refuses.
        if let Err(err) = self.operators.apply(&merged, &self.deliveries).await {
            tracing::error!(err, "the configuration stays as it was");
            return self;
        }
        let old = std::mem::replace(&mut self.config, merged);
        let context = context.clone();
        let received = tokio::task::spawn_blocking(move || {
            let received = self.receive(&context);
            (self, received)
        });
        let (mut this, received) = received.await.expect("it does not panic");
        match received {
            Ok(()) => tracing::info!("the configuration changed"),
            Err(error) => {
                let err = Report(&error).to_string();
                tracing::error!(err, "the configuration stays as it was");
                this.config = old;
                if let Err(err) = this.operators.apply(&this.config, &this.deliveries).await {
                    tracing::error!(err, "cannot go back to the backends of before");
                }
            }
        }
        this
    }
}

fn load(source: &Source, variable: Variable, context: &Context) -> Result<Secrets, StartError> {
    let (scheme, places) = (source.scheme.clone(), source.secrets.clone());
    let loaded = Secrets::load(scheme, places, variable, context.clock.now());
    loaded.map_err(|errors| StartError::Secrets { name: source.name.clone(), errors })
}
