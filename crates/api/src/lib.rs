//! Strait's and kcp's kinds: schemas, constants, typed views.

pub mod kinds;
pub mod private;
pub mod well_known;
