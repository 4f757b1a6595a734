//! The agent's data directory.
//!
//! ```text
//! VERSION          format, role and id of what lies here
//! lock             held while an agent runs
//! join.key         key of a join that has not been answered yet, 0600
//! membership.json  hub, certificate and key, 0600
//! journal.db       what was started and what came of it (and its write-ahead log)
//! audit/           audit lines
//! health           address of the health port
//! ```

use std::path::Path;

use strait_runtime::{DataDir, DataDirError, Entropy, Layout, random_16};
use strait_types::InstanceId;

/// The directory that an agent keeps everything in; its id is the installation's.
pub(crate) type Directory = DataDir<InstanceId>;

const LAYOUT: Layout =
    Layout { role: "agent", format: 1, entries: &["membership.json", "journal.db", "audit"] };

pub(crate) fn open(path: &Path, entropy: &dyn Entropy) -> Result<Directory, DataDirError> {
    Directory::open(path, &LAYOUT, || InstanceId::from_random(random_16(entropy)))
}
