//! Running other people's commands: the supervisor and its gate.
