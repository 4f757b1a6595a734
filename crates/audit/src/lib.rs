//! A hash-chained log of crossings, on disk before the effect.
