//! Services behind agents as people use them: their own programs in front of the hub, real
//! processes between, a service behind the agent that says what it got.

mod aborts;
mod bytes;
mod curl;
mod events;
mod fleet;
mod git;
mod grpc;
mod heads;
mod incoming;
mod kubectl;
mod lines;
mod manifest;
mod mistakes;
mod origin;
mod people;
mod postgres;
mod records;
mod revoked;
mod rolling;
mod site;
mod sockets;
mod truncation;
mod trust;
mod upgrades;
mod ways;
mod websocket;
mod wire;
