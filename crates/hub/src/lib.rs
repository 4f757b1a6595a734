//! The public side, put together.
