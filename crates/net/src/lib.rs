//! Listeners, HTTP plumbing and guarded outbound calls.
