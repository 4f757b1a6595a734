//! What is put on record of changes of Agents and Services before they are stored. Pure.

use strait_machinery::json::Value;

use crate::record::clip;

/// What of an Agent's spec says whether it is honoured, who joins, what it may offer and call; and
/// what a change of that is called.
const OF_AGENT: [(&str, &str); 7] = [
    ("revokedBefore", "relay.agent.revoke"),
    ("revokedSerials", "relay.agent.revoke"),
    ("suspended", "relay.agent.suspend"),
    ("drain", "relay.agent.drain"),
    ("joinPolicy", "relay.agent.change"),
    ("services", "relay.agent.change"),
    ("incoming", "relay.agent.change"),
];

/// Of a change of an Agent, or of its deletion, which ends what its certificates are worth.
pub(super) fn of_agent(old: &Value, new: Option<&Value>) -> Option<String> {
    let Some(new) = new else { return Some("relay.agent.revoke deleted".to_owned()) };
    let changes = OF_AGENT.iter().filter_map(|(field, event)| {
        let now = changed(old, new, field)?;
        Some(format!("{event} {field} {now}"))
    });
    joined(changes)
}

/// Of a change of a Service by a person, or of its deletion: with it goes what people said of it.
pub(super) fn of_service(old: &Value, new: Option<&Value>) -> Option<String> {
    let Some(new) = new else { return Some("relay.service.change deleted".to_owned()) };
    let exposed = changed(old, new, "exposure").map(|now| format!("relay.service.expose {now}"));
    let limits =
        changed(old, new, "limits").map(|now| format!("relay.service.change limits {now}"));
    joined(exposed.into_iter().chain(limits))
}

/// What a field of the spec is now, if it is another.
fn changed(old: &Value, new: &Value, field: &str) -> Option<String> {
    let (old, new) = (old.at(&["spec", field]), new.at(&["spec", field]));
    (old != new).then(|| new.map_or_else(|| "null".to_owned(), Value::to_string))
}

fn joined(events: impl Iterator<Item = String>) -> Option<String> {
    let mut all = events.collect::<Vec<_>>().join(", ");
    clip(&mut all);
    Some(all).filter(|all| !all.is_empty())
}

#[cfg(test)]
mod tests {
    use strait_machinery::object;

    use super::*;

    #[test]
    fn what_changes_who_is_honoured_or_exposed_is_named() {
        let with = |field: &str, value: Value| {
            let mut object = object! {"spec": object! {"drain": false, "description": "a"}};
            object.set(&["spec", field], value);
            object
        };
        let old = with("description", "b".into());
        for (new, expected) in [
            (Some(old.clone()), None),
            (Some(with("description", "c".into())), None),
            (Some(with("drain", true.into())), Some("relay.agent.drain drain true")),
            (Some(with("suspended", true.into())), Some("relay.agent.suspend suspended true")),
            (
                Some(with("revokedSerials", vec!["0a".into()].into())),
                Some("relay.agent.revoke revokedSerials [\"0a\"]"),
            ),
            (
                Some(with("joinPolicy", "token".into())),
                Some("relay.agent.change joinPolicy \"token\""),
            ),
            (
                Some(with("services", object! {"allow": vec!["*".into()]})),
                Some("relay.agent.change services {\"allow\":[\"*\"]}"),
            ),
            (
                Some(with("incoming", vec![object! {"type": "tcp", "name": "db"}].into())),
                Some("relay.agent.change incoming [{\"name\":\"db\",\"type\":\"tcp\"}]"),
            ),
            (None, Some("relay.agent.revoke deleted")),
        ] {
            assert_eq!(of_agent(&old, new.as_ref()).as_deref(), expected);
        }
        for (new, expected) in [
            (
                Some(with("exposure", object! {"raw": true})),
                Some("relay.service.expose {\"raw\":true}"),
            ),
            (
                Some(with("limits", object! {"maxBody": 1})),
                Some("relay.service.change limits {\"maxBody\":1}"),
            ),
            (Some(old.clone()), None),
            (None, Some("relay.service.change deleted")),
        ] {
            assert_eq!(of_service(&old, new.as_ref()).as_deref(), expected);
        }
        let long = with("revokedSerials", vec!["0".repeat(9_000).as_str().into()].into());
        assert!(of_agent(&old, Some(&long)).unwrap().len() < 5_000);
    }
}
