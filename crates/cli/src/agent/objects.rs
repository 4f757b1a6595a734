//! Agents as rows.

use jiff::Timestamp;
use strait_machinery::json::Value;

use crate::objects::{Kind, age, cell, condition, counted};

/// Agents of a workspace.
pub(crate) const AGENTS: Kind = Kind {
    noun: "agent",
    collection: "/apis/relay.strait.dev/v1alpha1/agents",
    resource: "agent.relay.strait.dev",
    columns: &[
        "NAME",
        "CONNECTED",
        "INSTANCES",
        "SERVICES",
        "VERSION",
        "AGE",
        "ADDRESSES",
        "DESCRIPTION",
    ],
    narrow: 6,
    row,
    typed: |agent| agent.str_at(&["metadata", "name"]).unwrap_or_default().to_owned(),
    details,
};

/// Its instances, and what of the hub's it may call.
fn details(agent: &Value) -> Vec<(&'static str, String)> {
    let instance = |one: &Value| {
        let text = |key| cell(one.str_at(&[key]).unwrap_or_default());
        let number = |key| one.at(&[key]).and_then(Value::as_i64).unwrap_or(0);
        let connections = number("connections").unsigned_abs();
        let mut shown =
            format!("{} {}, {} on {}", text("id"), text("state"), text("version"), text("host"));
        if connections > 0 {
            let (from, millis) = (text("address"), number("rttMillis"));
            let connections = counted(connections, "connection");
            shown.push_str(&format!(", {connections} from {from}, {millis} ms"));
        }
        ("INSTANCE", shown)
    };
    let called = |one: &Value| {
        let text = |key| one.str_at(&[key]).unwrap_or_default();
        ("MAY CALL", cell(&format!("{}/{}", text("type"), text("name"))))
    };
    let instances = agent.array_at(&["status", "instances"]).iter().map(instance);
    instances.chain(agent.array_at(&["spec", "incoming"]).iter().map(called)).collect()
}

fn row(agent: &Value, now: Timestamp) -> Vec<String> {
    let instances = agent.array_at(&["status", "instances"]);
    let is_ready = |one: &&Value| one.str_at(&["state"]) == Some("Ready");
    let ready = instances.iter().filter(is_ready).count();
    let services = agent.at(&["status", "observedServices"]).and_then(Value::as_i64).unwrap_or(0);
    let all = |key: &str| {
        let mut all: Vec<&str> =
            instances.iter().filter(is_ready).filter_map(|one| one.str_at(&[key])).collect();
        all.sort_unstable();
        all.dedup();
        cell(&all.join(","))
    };
    vec![
        agent.str_at(&["metadata", "name"]).unwrap_or_default().to_owned(),
        condition(agent, "Connected").0,
        format!("{ready}/{}", instances.len()),
        services.to_string(),
        all("version"),
        age(agent, now),
        all("address"),
        cell(agent.str_at(&["spec", "description"]).unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use strait_machinery::json::parse;

    #[test]
    fn a_row_says_what_is_connected() {
        let agent = r#"{"metadata":{"name":"smith","creationTimestamp":"2026-01-01T00:00:00Z"},
            "spec":{"incoming":[{"type":"front50","name":"store"}]},
            "status":{"observedServices":5,"conditions":[{"type":"Connected","status":"True"}],
            "instances":[
                {"id":"a","state":"Ready","version":"0.3.0","address":"203.0.113.7",
                 "connections":2,"rttMillis":18},
                {"id":"b","state":"Lost","version":"0.2.0","address":"203.0.113.8",
                 "connections":1}]}}"#;
        let agent = parse(agent.as_bytes()).unwrap();
        let details = details(&agent);
        let shown = "a Ready, 0.3.0 on -, 2 connections from 203.0.113.7, 18 ms";
        assert_eq!(details[0], ("INSTANCE", shown.to_owned()));
        assert_eq!(details[1].1, "b Lost, 0.2.0 on -, 1 connection from 203.0.113.8, 0 ms");
        assert_eq!(details[2], ("MAY CALL", "front50/store".to_owned()));
        let row = row(&agent, "2026-01-01T00:05:00Z".parse().unwrap());
        assert_eq!(row, ["smith", "True", "1/2", "5", "0.3.0", "5m", "203.0.113.7", "-"]);
        assert_eq!(row.len(), AGENTS.columns.len());
    }
}
