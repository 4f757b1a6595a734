//! Bytes both ways inside a WebSocket (RFC 6455), for what stands between that knows only HTTP.
//!
//! ```text
//! GET … Upgrade: websocket, Sec-WebSocket-Protocol: strait-raw.v1     a service's bytes
//!                                                   strait-tunnel.v1  an agent's TLS
//! ```
//!
//! Binary messages are the bytes; where one ends means nothing. The text message [`HALF_CLOSE`]
//! ends one direction, and the other goes on. A connection that ends, or is closed, without it
//! broke off. No extensions; nothing is compressed.
//!
//! Limits: 64 KiB per message, sent or taken, however many frames it comes in.

mod handshake;
mod pipe;

pub(crate) use handshake::new_key;
pub use handshake::{Answer, BadAnswer, BadRequest, Key, Subprotocol, judge, offers};
pub use pipe::{Closed, Pipe, Role};

/// Path at which a hub takes tunnels inside WebSockets.
pub const TUNNEL_PATH: &str = "/tunnel";

/// The text message that ends a direction.
pub const HALF_CLOSE: &str = r#"{"half-close":true}"#;
