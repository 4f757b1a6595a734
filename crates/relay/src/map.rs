//! The map that every request looks into.

use std::collections::HashMap;

/// A hash map whose hashing costs a fraction of the standard one's. Its hash is none of
/// cryptography's, so it is for maps with a bound of their own, whose keys are credentials,
/// names of agents and services that exist, or digests: nobody sees a hash, and colliding names
/// would have to be made as objects one by one.
pub(crate) type Map<K, V> = HashMap<K, V, foldhash::quality::RandomState>;
