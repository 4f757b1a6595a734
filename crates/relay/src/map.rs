//! The map that every request looks into.

use std::collections::HashMap;

/// A hash map whose hashing costs a tenth of the standard one's for keys as short as names. Who
/// chooses keys sees no hash and, by the network, no difference of nanoseconds; the seed is this
/// process' own, and every such map is bounded.
pub(crate) type Map<K, V> = HashMap<K, V, foldhash::quality::RandomState>;
