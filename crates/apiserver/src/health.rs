//! `/livez`, `/readyz`, `/healthz` (`apiserver/pkg/server/healthz`).

use std::sync::Arc;

use http::StatusCode;

use crate::query::Query;
use crate::respond::{self, ApiResponse};

/// Says whether something works. The reason goes to the log, not to the client.
pub type Check = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Named checks in the order in which they are shown.
#[derive(Clone, Default)]
pub struct Health {
    checks: Vec<(&'static str, bool, Check)>,
}

impl Health {
    /// Only `ping`, which works while the process does.
    #[must_use]
    pub fn new() -> Self {
        let mut health = Self::default();
        health.add("ping", true, Arc::new(|| Ok(())));
        health
    }

    /// Adds a check. `live`: a failure means that the process cannot help itself.
    pub fn add(&mut self, name: &'static str, live: bool, check: Check) {
        self.checks.push((name, live, check));
    }

    /// Whether everything works.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.checks.iter().all(|(_, _, check)| check().is_ok())
    }

    /// Answers a request; the first segment is the endpoint, the second one check.
    #[must_use]
    pub fn answer(&self, segments: &[&str], query: &Query) -> ApiResponse {
        let endpoint = segments.first().copied().unwrap_or("healthz");
        let wanted: Vec<_> =
            self.checks.iter().filter(|(_, live, _)| *live || endpoint != "livez").collect();
        if let Some(one) = segments.get(1) {
            let check = wanted.iter().find(|(name, ..)| name == one);
            return match check {
                Some((_, _, check)) if check().is_ok() => respond::text(StatusCode::OK, "ok"),
                Some((name, ..)) => respond::text(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    format!("internal server error: {name} failed"),
                ),
                None => respond::text(StatusCode::NOT_FOUND, "404 page not found"),
            };
        }
        let mut report = String::new();
        let mut failed = false;
        for (name, _, check) in wanted {
            if query.all("exclude").any(|excluded| excluded == *name) {
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
            return respond::text(StatusCode::INTERNAL_SERVER_ERROR, report);
        }
        if query.get("verbose").is_some() {
            report.push_str(&format!("{endpoint} check passed\n"));
            return respond::text(StatusCode::OK, report);
        }
        respond::text(StatusCode::OK, "ok")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::ResponseBody;

    fn text(response: ApiResponse) -> (u16, String) {
        let code = response.status().as_u16();
        match response.into_body() {
            ResponseBody::Full(bytes) => (code, String::from_utf8(bytes.to_vec()).unwrap()),
            _ => panic!("health is short"),
        }
    }

    #[test]
    fn checks_are_shown_as_by_kubernetes() {
        let mut health = Health::new();
        health.add("store", false, Arc::new(|| Err("disk full".into())));
        let ask = |path: &str, query: &str| {
            let segments: Vec<_> = path.split('/').collect();
            text(health.answer(&segments, &Query::parse(query)))
        };
        assert_eq!(ask("livez", ""), (200, "ok".into()));
        let failed = "[+]ping ok\n[-]store failed: reason withheld\nreadyz check failed\n";
        assert_eq!(ask("readyz", ""), (500, failed.into()));
        let excluded = "[+]ping ok\n[+]store excluded: ok\nreadyz check passed\n";
        assert_eq!(ask("readyz", "verbose&exclude=store"), (200, excluded.into()));
        assert_eq!(ask("readyz/ping", ""), (200, "ok".into()));
        assert_eq!(ask("readyz/store", "").0, 500);
        assert_eq!(ask("readyz/none", "").0, 404);
        assert!(!health.is_ready());
    }
}
