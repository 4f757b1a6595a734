//! Agents and their hub: joining, renewing, presence.
