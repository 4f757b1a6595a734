//! Named checks of what a process needs (`apiserver/pkg/server/healthz`).

use std::sync::Arc;

use http::StatusCode;

/// Says whether something works. The reason goes to the log, not to the client.
pub type Check = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Checks in the order in which they are shown, as Kubernetes shows them.
#[derive(Clone)]
pub struct Checks {
    checks: Vec<(&'static str, Check)>,
}

impl Default for Checks {
    fn default() -> Self {
        Self::new()
    }
}

impl Checks {
    /// Only `ping`, which works while the process does.
    #[must_use]
    pub fn new() -> Self {
        Self { checks: vec![("ping", Arc::new(|| Ok(())))] }
    }

    /// The same with one more.
    #[must_use]
    pub fn with(mut self, name: &'static str, check: Check) -> Self {
        self.checks.push((name, check));
        self
    }

    /// What fails now and why, one line each; for who runs this process.
    #[must_use]
    pub fn failures(&self) -> String {
        let failed = self.checks.iter().filter_map(|(name, check)| {
            let reason = check().err()?;
            Some(format!("{name}: {reason}\n"))
        });
        failed.collect()
    }

    /// The answer of `endpoint` (`readyz`) about all checks but the excluded ones; the list of
    /// them only when it is asked for, or one of them fails.
    #[must_use]
    pub fn report(&self, endpoint: &str, excluded: &[&str], verbose: bool) -> (StatusCode, String) {
        let mut report = String::new();
        let mut failed = false;
        for (name, check) in &self.checks {
            if excluded.contains(name) {
                report.push_str(&format!("[+]{name} excluded: ok\n"));
                continue;
            }
            match check() {
                Ok(()) => report.push_str(&format!("[+]{name} ok\n")),
                Err(reason) => {
                    failed = true;
                    tracing::debug!(check = name, reason, "health check failed");
                    report.push_str(&format!("[-]{name} failed: reason withheld\n"));
                }
            }
        }
        if failed {
            report.push_str(&format!("{endpoint} check failed\n"));
            return (StatusCode::INTERNAL_SERVER_ERROR, report);
        }
        if verbose {
            report.push_str(&format!("{endpoint} check passed\n"));
            return (StatusCode::OK, report);
        }
        (StatusCode::OK, "ok".to_owned())
    }

    /// The answer about one check.
    #[must_use]
    pub fn report_one(&self, name: &str) -> (StatusCode, String) {
        match self.checks.iter().find(|(own, _)| *own == name) {
            Some((_, check)) if check().is_ok() => (StatusCode::OK, "ok".to_owned()),
            Some((name, _)) => {
                (StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {name} failed"))
            }
            None => (StatusCode::NOT_FOUND, "404 page not found".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_shown_as_by_kubernetes() {
        assert_eq!(Checks::new().report("livez", &[], false), (StatusCode::OK, "ok".into()));
        let checks = Checks::new().with("store", Arc::new(|| Err("disk full".into())));
        let (status, text) = checks.report("readyz", &[], false);
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(text, "[+]ping ok\n[-]store failed: reason withheld\nreadyz check failed\n");
        assert_eq!(checks.failures(), "store: disk full\n");
        let (status, text) = checks.report("readyz", &["store"], true);
        assert_eq!(status, StatusCode::OK);
        assert_eq!(text, "[+]ping ok\n[+]store excluded: ok\nreadyz check passed\n");
        assert_eq!(checks.report_one("ping").0, StatusCode::OK);
        assert_eq!(checks.report_one("store").0, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(checks.report_one("other").0, StatusCode::NOT_FOUND);
    }
}
