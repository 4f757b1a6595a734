//! What changes while a gateway runs: its configuration, secrets, certificates.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use strait_pki::FileCertificate;
use strait_runtime::{Context, Metrics};
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

/// Time for attempts of backends that go to end, before their end is tried again.
const APPLY_TIME: Duration = Duration::from_secs(60);

/// Looks at files and applies what changed.
pub(super) struct Upkeep {
    config: Config,
    ingest: Ingest,
    deliveries: Deliveries,
    pub(super) operators: Arc<Operators>,
    pub(super) changed: Option<Changed>,
    pub(super) variable: Variable,
    secrets: Loaded,
    /// What is not applied yet.
    pending: Option<Config>,
    /// What was said to be wrong.
    told: Vec<String>,
    /// How many configurations held so far, and whether one cannot be applied.
    generation: Gauge,
    stuck: Gauge,
    pub(super) certificates: Vec<Arc<FileCertificate>>,
}

impl Upkeep {
    /// Of a configuration that does not change, without variables.
    pub(super) fn new(
        config: Config,
        ingest: Ingest,
        deliveries: Deliveries,
        operators: Arc<Operators>,
        metrics: &Metrics,
    ) -> Self {
        let (generation, stuck) = (Gauge::default(), Gauge::default());
        generation.set(1);
        let name = "strait_hooks_config_generation";
        metrics.register(name, "Configurations that held since the start", generation.clone());
        let name = "strait_hooks_config_stuck";
        metrics.register(name, "1 while a changed configuration cannot be applied", stuck.clone());
        Self {
            config,
            ingest,
            deliveries,
            operators,
            changed: None,
            variable: |_| None,
            secrets: BTreeMap::new(),
            pending: None,
            told: Vec::new(),
            generation,
            stuck,
            certificates: Vec::new(),
        }
    }

    /// Receives from the sources of the configuration. Blocks on the file system.
    pub(super) fn receive(&mut self, context: &Context) -> Result<(), StartError> {
        let secrets = self.load(&self.config, context)?;
        self.take(secrets);
        Ok(())
    }

    /// The secrets of a configuration. Blocks on the file system.
    fn load(&self, config: &Config, context: &Context) -> Result<Loaded, StartError> {
        let mut loaded = BTreeMap::new();
        for source in &config.sources {
            let kept = self.secrets.get(&source.name).filter(|(old, _)| old == source);
            let secrets = match kept {
                Some((_, secrets)) => secrets.clone(),
                None => Arc::new(load(source, self.variable, context)?),
            };
            loaded.insert(source.name.clone(), (source.clone(), secrets));
        }
        Ok(loaded)
    }

    /// Receives with these secrets from now on.
    fn take(&mut self, loaded: Loaded) {
        let receiving = loaded.values().map(|(source, secrets)| Receiving {
            source: source.clone(),
            secrets: secrets.clone(),
        });
        self.ingest.serve(receiving.collect(), self.config.store_only);
        self.secrets = loaded;
    }

    /// Looks at files every second, for ever. What reads them does not wait for what applies
    /// them: secrets are read whatever a backend does.
    pub(super) async fn run(mut self, context: Context) {
        let (ingest, certificates) = (self.ingest.clone(), std::mem::take(&mut self.certificates));
        context.tasks.spawn_daemon("hooks-refresh", refresh(ingest, certificates));
        loop {
            tokio::time::sleep(EVERY).await;
            let surroundings = context.clone();
            let looked = tokio::task::spawn_blocking(move || {
                let found = self.look(&surroundings);
                (self, found)
            });
            let Ok((this, found)) = looked.await else {
                tracing::error!(
                    "looking at the configuration panicked; changes need a restart now"
                );
                return;
            };
            self = this;
            if let Some(found) = found {
                self.apply(found).await;
            }
        }
    }

    /// What is to be applied, with its secrets.
    fn look(&mut self, context: &Context) -> Option<Found> {
        match self.changed.as_mut().and_then(|changed| changed()) {
            None => {}
            Some(Ok(config)) => self.pending = Some(config),
            Some(Err(mistakes)) => {
                self.pending = None;
                self.tell(mistakes);
            }
        }
        let (config, waits) = merge(&self.config, self.pending.clone()?);
        match self.load(&config, context) {
            Ok(secrets) => Some(Found { config, secrets, waits }),
            Err(error) => {
                self.tell(vec![Report(&error).to_string()]);
                None
            }
        }
    }

    /// Applies a configuration whole or not at all; what fails is tried again.
    async fn apply(&mut self, found: Found) {
        let Found { config, secrets, waits } = found;
        // Backends first, as a source without them refuses.
        let applying = self.operators.apply(&config, &self.deliveries);
        let applied = tokio::time::timeout(APPLY_TIME, applying).await;
        match applied.unwrap_or_else(|_| Err("backends do not end in time".to_owned())) {
            Ok(()) => {
                self.config = config;
                self.pending = None;
                self.told.clear();
                self.generation.inc();
                self.stuck.set(0);
                self.take(secrets);
                tracing::info!("the configuration changed");
                if !waits.is_empty() {
                    let waits = waits.join(", ");
                    tracing::warn!(waits, "a part of the change needs a restart");
                }
            }
            Err(why) => self.tell(vec![why]),
        }
    }

    /// Says once what is wrong.
    fn tell(&mut self, mistakes: Vec<String>) {
        self.stuck.set(1);
        if self.told == mistakes {
            return;
        }
        for mistake in &mistakes {
            tracing::error!(mistake, "the configuration stays as it was");
        }
        self.told = mistakes;
    }
}

/// A configuration that can be applied.
struct Found {
    config: Config,
    secrets: Loaded,
    /// What of the change needs a restart.
    waits: Vec<&'static str>,
}

/// By source: one that stays as it is keeps its secrets.
type Loaded = BTreeMap<Arc<str>, (Source, Arc<Secrets>)>;

/// Reads secrets and certificates again, every second, for ever.
async fn refresh(ingest: Ingest, certificates: Vec<Arc<FileCertificate>>) {
    let certificates = Arc::new(certificates);
    loop {
        tokio::time::sleep(EVERY).await;
        let (ingest, certificates) = (ingest.clone(), certificates.clone());
        let read = tokio::task::spawn_blocking(move || {
            ingest.refresh_secrets();
            certificates.iter().for_each(|one| refresh_certificate(one));
        });
        // A panic was told; the next second is another try.
        drop(read.await);
    }
}

fn refresh_certificate(certificate: &FileCertificate) {
    match certificate.refresh() {
        Ok(true) => tracing::info!("a listener's certificate changed"),
        Ok(false) => {}
        Err(error) => {
            let err = Report(&error).to_string();
            tracing::warn!(err, "a listener's certificate stays as it was");
        }
    }
}

fn load(source: &Source, variable: Variable, context: &Context) -> Result<Secrets, StartError> {
    let (scheme, places) = (source.scheme.clone(), source.secrets.clone());
    let loaded = Secrets::load(scheme, places, variable, context.clock.now());
    loaded.map_err(|errors| StartError::Secrets { name: source.name.clone(), errors })
}
