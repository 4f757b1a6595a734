//! What the tests of the parts share.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use strait_runtime::Metrics;

use super::metrics::IngestMetrics;
use super::sources::Served;
use crate::config::{Answers, Source};
use crate::secrets::Secrets;
use crate::signature::Scheme;

/// A source that believes everybody.
pub(super) fn served(path: &str, answers: Answers) -> Arc<Served> {
    let source = Source {
        name: "source".into(),
        path: path.into(),
        scheme: Scheme::None,
        secrets: Vec::new(),
        dedupe: Duration::from_secs(60),
        addresses: Vec::new(),
        answers,
    };
    let secrets = Secrets::load(Scheme::None, Vec::new(), |_| None, Timestamp::UNIX_EPOCH);
    let metrics = IngestMetrics::new(&Metrics::new()).of(&source.name, answers);
    Arc::new(Served { source, secrets: Arc::new(secrets.unwrap()), metrics })
}
