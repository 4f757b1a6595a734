//! How any Strait process runs: clock, entropy, tasks, shutdown, telemetry.
