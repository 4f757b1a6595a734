//! The one crypto library, and our clock inside it.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use strait_runtime::Clock;

/// Makes aws-lc-rs the process's crypto library for TLS, for other crates that ask for the
/// default. Call it first thing in `main`; again does nothing.
pub fn install_provider() {
    // Only the first call wins; the tree holds no other provider to lose against.
    drop(aws_lc_rs::default_provider().install_default());
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The injected clock as the TLS library asks for it.
#[derive(Debug)]
pub(crate) struct TlsClock(pub(crate) Arc<dyn Clock>);

impl TimeProvider for TlsClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(self.0.now()))
    }
}

/// Before 1970 counts as 1970: every certificate of ours is then not valid yet.
pub(crate) fn unix_time(time: jiff::Timestamp) -> UnixTime {
    let seconds = u64::try_from(time.as_second()).unwrap_or(0);
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installing_twice_is_fine() {
        install_provider();
        install_provider();
        assert!(CryptoProvider::get_default().is_some());
    }
}
