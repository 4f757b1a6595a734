//! The hub's data directory.
//!
//! ```text
//! VERSION           format, role and id of what lies here
//! lock              held while a hub runs
//! store.db          the store (and its write-ahead log)
//! pki/              the CA, 0700
//! audit/            audit lines
//! hooks/            webhooks, if they are received
//! admin.kubeconfig  for the machine's own administrator, 0600
//! ca.crt            the CA's certificate, to give away
//! ```

use std::path::Path;

use strait_runtime::{DataDir, DataDirError, Entropy, Layout, random_16};
use strait_types::HubId;

/// The directory that a hub keeps everything in; its id is the hub's.
pub(crate) type Directory = DataDir<HubId>;

const LAYOUT: Layout =
    Layout { role: "hub", format: 1, entries: &["store.db", "pki", "audit", "hooks"] };

pub(crate) fn open(path: &Path, entropy: &dyn Entropy) -> Result<Directory, DataDirError> {
    Directory::open(path, &LAYOUT, || HubId::from_random(random_16(entropy)))
}
