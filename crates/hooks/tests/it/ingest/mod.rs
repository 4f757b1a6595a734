//! Requests to answers, over real sockets.

mod answers;
mod framing;
mod keeping;
mod limits;
mod providers;
mod scene;
