//! What operators see and repair.

mod backends;
mod events;
mod rights;
mod scene;
mod tail;
