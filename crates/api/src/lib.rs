//! Strait's and kcp's kinds: schemas, constants, typed views.
