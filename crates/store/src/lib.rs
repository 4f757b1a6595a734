//! The ordered log, its engines, and the in-memory index above them.
