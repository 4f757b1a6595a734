//! `/livez`, `/readyz`, `/healthz` (`apiserver/pkg/server/healthz`).

use strait_net::Checks;

use crate::query::Query;
use crate::respond::{self, ApiResponse};

/// What the endpoints tell.
#[derive(Clone)]
pub struct Health {
    /// What `/livez` is about: where one fails, the process cannot help itself.
    pub live: Checks,
    /// What the others are about.
    pub ready: Checks,
}

impl Health {
    /// Answers a request; the first segment is the endpoint, the second one check.
    #[must_use]
    pub fn answer(&self, segments: &[&str], query: &Query) -> ApiResponse {
        let endpoint = segments.first().copied().unwrap_or("healthz");
        let checks = if endpoint == "livez" { &self.live } else { &self.ready };
        let (status, text) = match segments.get(1) {
            Some(one) => checks.report_one(one),
            None => {
                let excluded: Vec<&str> = query.all("exclude").collect();
                checks.report(endpoint, &excluded, query.get("verbose").is_some())
            }
        };
        respond::text(status, text)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::body::ResponseBody;

    #[test]
    fn an_endpoint_tells_of_its_own_checks() {
        let full = Checks::new().with("store", Arc::new(|| Err("disk full".into())));
        let health = Health { live: Checks::new(), ready: full };
        let ask = |path: &str, query: &str| {
            let segments: Vec<_> = path.split('/').collect();
            let response = health.answer(&segments, &Query::parse(query));
            let code = response.status().as_u16();
            match response.into_body() {
                ResponseBody::Full(bytes) => (code, String::from_utf8(bytes.to_vec()).unwrap()),
                _ => panic!("health is short"),
            }
        };
        assert_eq!(ask("livez", ""), (200, "ok".into()));
        assert_eq!(ask("readyz", "").0, 500);
        let excluded = "[+]ping ok\n[+]store excluded: ok\nreadyz check passed\n";
        assert_eq!(ask("readyz", "verbose&exclude=store"), (200, excluded.into()));
        assert_eq!(ask("readyz/ping", ""), (200, "ok".into()));
        assert_eq!(ask("readyz/store", "").0, 500);
        assert_eq!(ask("livez/store", "").0, 404);
    }
}
