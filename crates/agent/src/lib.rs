//! The private side, put together.
