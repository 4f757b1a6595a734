//! The map that every request looks into.

use std::collections::HashMap;

/// A hash map whose hashing costs a fraction of the standard one's. Its hash is none of
/// cryptography's, so it is for maps with a bound of their own, of which nobody outside sees a hash:
/// whoever chooses keys, an agent that announces services for one, does not learn which collide.
pub(crate) type Map<K, V> = HashMap<K, V, foldhash::quality::RandomState>;
