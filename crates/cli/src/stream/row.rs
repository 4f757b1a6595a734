//! Streams as rows.

use jiff::Timestamp;
use strait_machinery::json::Value;

use strait_relay::services::HUB;

use crate::objects::{Kind, age, cell};

/// Streams of a workspace: to services of its agents, and from them to the hub's.
pub(super) const STREAMS: Kind = Kind {
    noun: "stream",
    collection: "/apis/relay.strait.dev/v1alpha1/streams",
    resource: "stream.relay.strait.dev",
    columns: &[
        "ID",
        "USER",
        "DIRECTION",
        "SERVICE",
        "METHOD",
        "CODE",
        "AGE",
        "IDLE",
        "CUT",
        "IN",
        "OUT",
        "KIND",
        "BUFFERED",
        "PATH",
        "INSTANCE",
        "CREDENTIAL",
        "REQUEST",
    ],
    narrow: 11,
    row,
    typed: |stream| text(stream, &["metadata", "name"]).to_owned(),
    details: |_| Vec::new(),
};

fn text<'a>(stream: &'a Value, path: &[&str]) -> &'a str {
    stream.str_at(path).unwrap_or_default()
}

fn row(stream: &Value, now: Timestamp) -> Vec<String> {
    let spec = |key| text(stream, &["spec", key]);
    let number = |key| stream.at(&["status", key]).and_then(Value::as_i64).unwrap_or(0);
    let upgrade = stream.at(&["spec", "upgrade"]).and_then(Value::as_bool) == Some(true);
    let code = number("code");
    // The hub's own services are the reserved agent's.
    let (direction, agent) = match spec("direction") {
        "FromAgent" => ("from agent", HUB),
        _ => ("to agent", spec("agent")),
    };
    vec![
        text(stream, &["metadata", "name"]).to_owned(),
        cell(spec("user")),
        direction.to_owned(),
        format!("{agent}/{}", spec("service")),
        format!("{}{}", spec("method"), if upgrade { " upgrade" } else { "" }),
        if code == 0 { "-".to_owned() } else { code.to_string() },
        age(stream, now),
        format!("{}s", number("idleSeconds")),
        stream
            .at(&["status", "cutSeconds"])
            .and_then(Value::as_i64)
            .map_or_else(|| "-".to_owned(), |ago| format!("{ago}s")),
        number("bytesIn").to_string(),
        number("bytesOut").to_string(),
        cell(spec("kind")),
        number("bufferedBytes").to_string(),
        cell(spec("path")),
        cell(text(stream, &["status", "instance"])),
        cell(spec("credential")),
        cell(spec("requestID")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use strait_machinery::json::parse;

    #[test]
    fn what_an_agent_opened_is_to_a_service_of_the_hub() {
        let stream = r#"{"metadata":{"name":"8"},"spec":{"user":"system:strait:agent:c1:smith",
            "direction":"FromAgent","agent":"smith","service":"store","method":"CONNECT",
            "upgrade":true},"status":{"code":0}}"#;
        let row = row(&parse(stream.as_bytes()).unwrap(), "2026-01-01T00:05:00Z".parse().unwrap());
        let user = "system:strait:agent:c1:smith";
        assert_eq!(row[1..6], [user, "from agent", "hub/store", "CONNECT upgrade", "-"]);
    }

    #[test]
    fn a_row_says_who_has_what_open() {
        let stream = r#"{"metadata":{"name":"7","creationTimestamp":"2026-01-01T00:00:00Z"},
            "spec":{"user":"alice","direction":"ToAgent","agent":"smith","service":"ci","method":"GET","path":"/log",
            "upgrade":true,"kind":"upgrade","credential":"k.t1","requestID":"r1"},
            "status":{"code":101,"idleSeconds":3,"cutSeconds":9,"bytesIn":5,"bytesOut":900,"bufferedBytes":64,"instance":"i1"}}"#;
        let row = row(&parse(stream.as_bytes()).unwrap(), "2026-01-01T00:05:00Z".parse().unwrap());
        assert_eq!(
            row,
            [
                "7",
                "alice",
                "to agent",
                "smith/ci",
                "GET upgrade",
                "101",
                "5m",
                "3s",
                "9s",
                "5",
                "900",
                "upgrade",
                "64",
                "/log",
                "i1",
                "k.t1",
                "r1"
            ]
        );
        assert_eq!(row.len(), STREAMS.columns.len());
    }
}
