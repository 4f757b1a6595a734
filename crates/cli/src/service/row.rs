//! Services as rows.

use jiff::Timestamp;
use strait_machinery::json::Value;

use crate::objects::{Kind, age, cell, condition};

/// Services of a workspace.
pub(super) const SERVICES: Kind = Kind {
    noun: "service",
    collection: "/apis/relay.strait.dev/v1alpha1/services",
    resource: "service.relay.strait.dev",
    columns: &[
        "NAME",
        "TYPE",
        "AVAILABLE",
        "INSTANCES",
        "AGE",
        "DEGRADED",
        "PROTOCOLS",
        "RAW",
        "WHY",
        "DESCRIPTION",
    ],
    narrow: 5,
    row,
    typed,
    details,
};

/// What its agent lets pass.
fn details(service: &Value) -> Vec<(&'static str, String)> {
    let texts = |key: &str| -> String {
        let all = service.array_at(&["status", key]).iter().filter_map(Value::as_str);
        all.collect::<Vec<_>>().join(" ")
    };
    let passes = |text: String| if text.is_empty() { "all".to_owned() } else { text };
    vec![("METHODS", passes(texts("methods"))), ("PATHS", passes(texts("paths")))]
}

/// `AGENT/SERVICE`: what every command takes.
fn typed(service: &Value) -> String {
    let text = |key| service.str_at(&["spec", key]).unwrap_or_default();
    format!("{}/{}", text("agent"), text("name"))
}

fn row(service: &Value, now: Timestamp) -> Vec<String> {
    let (available, why_not) = condition(service, "Available");
    let (degraded, why) = condition(service, "Degraded");
    let texts = |key: &str| {
        let all = service.array_at(&["status", key]).iter().filter_map(Value::as_str);
        cell(&all.collect::<Vec<_>>().join(","))
    };
    let raw = service.at(&["spec", "exposure", "raw"]).and_then(Value::as_bool) == Some(true);
    let annotation = service.str_at(&["status", "annotations", "description"]);
    vec![
        typed(service),
        cell(service.str_at(&["spec", "type"]).unwrap_or_default()),
        available,
        service.array_at(&["status", "instances"]).len().to_string(),
        age(service, now),
        degraded,
        texts("protocols"),
        if raw { "yes" } else { "no" }.to_owned(),
        cell(if why_not.is_empty() { &why } else { &why_not }),
        cell(annotation.unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use strait_machinery::json::parse;

    #[test]
    fn a_row_says_whether_it_can_be_reached_and_why_not() {
        let service = r#"{"metadata":{"name":"ci.smith","creationTimestamp":"2026-01-01T00:00:00Z"},
            "spec":{"agent":"smith","name":"ci","type":"jenkins","exposure":{"raw":true}},
            "status":{"conditions":[
                {"type":"Available","status":"False","message":"no instance can reach it"}],
            "protocols":["http1","upgrade"],"instances":["a"],
            "annotations":{"description":"build server"}}}"#;
        let row = row(&parse(service.as_bytes()).unwrap(), "2026-01-01T00:05:00Z".parse().unwrap());
        assert_eq!(
            row,
            [
                "smith/ci",
                "jenkins",
                "False",
                "1",
                "5m",
                "Unknown",
                "http1,upgrade",
                "yes",
                "no instance can reach it",
                "build server",
            ]
        );
        assert_eq!(row.len(), SERVICES.columns.len());
    }
}
