//! What an agent is told.

use std::net::SocketAddr;
use std::path::PathBuf;

use strait_relay::agent::FrontDoor;
use strait_relay::token::JoinToken;

use crate::files::{Files, Told};
use crate::kept::State;
use crate::relay::Environment;

/// An agent's settings, checked.
#[derive(Debug)]
pub struct Config {
    /// The data directory.
    pub data_dir: PathBuf,
    /// What to join with, or what is wrong with that; not looked at once joined.
    pub token: Option<Result<JoinToken, String>>,
    /// What its identity is kept in, if not in the data directory.
    pub state: Option<State>,
    /// Whether the data directory goes with this installation, as that of a pod does.
    pub ephemeral: bool,
    /// Where the hub is, if not where the token or the membership says.
    pub front_door: FrontDoor,
    /// Loopback address of the health port; port 0 takes a free one.
    pub health: SocketAddr,
    /// What says what to do, and for whom.
    pub files: Files,
    /// What those say now.
    pub told: Told,
    /// What the environment says of the way to the hub.
    pub environment: Environment,
}
