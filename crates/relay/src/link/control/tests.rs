//! Control messages: what is understood of them, and what hostile bytes may not do.

use proptest::prelude::*;

use super::*;

fn decode(bytes: &[u8]) -> Result<Vec<Message>, Malformed> {
    let mut decoder = Decoder::default();
    let mut messages = Vec::new();
    decoder.feed(bytes);
    while let Some(message) = decoder.message()? {
        messages.push(message);
    }
    Ok(messages)
}

fn read(json: &str) -> Result<Message, Malformed> {
    decode(&frame(json.as_bytes()).unwrap()).map(|mut all| all.pop().unwrap())
}

fn service(name: &str) -> Announced {
    Announced { name: name.into(), ..Announced::default() }
}

#[test]
fn what_is_said_is_understood() {
    let note = |level: &str, text: &str| Message::Note { level: level.into(), text: text.into() };
    let refused = vec![Refused { name: "ci".into(), reason: "no".into() }];
    for (json, expected) in [
        (r#"{"t":"services-ack","gen":7}"#, Message::ServicesAck { r#gen: 7, refused: vec![] }),
        (
            r#"{"t":"services-ack","gen":7,"refused":[{"name":"ci","reason":"no"}]}"#,
            Message::ServicesAck { r#gen: 7, refused },
        ),
        (r#"{"t":"draining","deadline":30000}"#, Message::Draining { deadline: 30_000 }),
        (r#"{"t":"renew","why":"so"}"#, Message::Renew),
        (r#"{"t":"note","level":"warn","text":"x"}"#, note("warn", "x")),
        (r#"{"t":"hubs","list":[]}"#, Message::Hubs { list: vec![] }),
        (
            r#"{"t":"incoming","list":[{"type":"http","name":"a"}]}"#,
            Message::Incoming { list: vec![Callable { r#type: "http".into(), name: "a".into() }] },
        ),
        (r#"{"t":"restart","now":true}"#, Message::Unknown),
    ] {
        assert_eq!(read(json), Ok(expected.clone()), "{json}");
        if expected != Message::Unknown {
            assert_eq!(serde_json::from_slice::<Message>(&expected.to_bytes()).unwrap(), expected);
        }
    }
}

#[test]
fn an_agents_own_announcement_is_understood() {
    let text = "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\nservices:\n\
        - {name: ci, type: http, url: 'http://ci', allow: {methods: [GET], paths: [/job/*]}}\n\
        - {name: db, type: tcp, address: 'db:1', annotations: {a: b}}\n";
    let source = strait_api::private::Source { file: "f", text };
    let read = crate::services::read(&source, &crate::services::Disk, false);
    let config = read.unwrap().unwrap().config;
    let messages = crate::services::announcement(&config, 3, |name| {
        (name == "db").then_some(Unreached::TimedOut)
    });
    let framed: Vec<u8> = messages.iter().flat_map(|one| frame(one).unwrap()).collect();
    let mut messages = decode(&framed).unwrap();
    let Some(Message::Services(services)) = messages.pop() else { panic!("{messages:?}") };
    assert!(messages.is_empty());
    let Taken::Whole { r#gen: 3, list, .. } = Lists::default().take(services) else {
        panic!();
    };
    let [ci, db] = &list[..] else { panic!("{list:?}") };
    assert_eq!(
        (&*ci.name, ci.ready, ci.raw, &ci.methods[..]),
        ("ci", true, false, &["GET".to_owned()][..])
    );
    assert_eq!((&*db.r#type, db.ready, db.raw, &*db.annotations["a"]), ("tcp", false, true, "b"));
    assert_eq!((ci.unreached, db.unreached), (None, Some(Unreached::TimedOut)));
}

#[test]
fn what_keeps_no_form_is_refused() {
    for (bytes, expected) in [
        (&b"\0\0\0\0"[..], Malformed::Length(0)),
        (b"\0\x01\0\x01{}", Malformed::Length(65_537)),
        (b"\xff\xff\xff\xff", Malformed::Length(u32::MAX)),
        (b"\0\0\0\x02{}", Malformed::Content),
        (b"\0\0\0\x02[]", Malformed::Content),
        (b"\0\0\0\x01\xff", Malformed::Content),
        (b"\0\0\0\x09{\"t\": 1}\n", Malformed::Content),
    ] {
        assert_eq!(decode(bytes), Err(expected), "{bytes:?}");
    }
    let deep = format!(r#"{{"t":"x","a":{}"#, "[".repeat(60_000));
    assert_eq!(read(&deep), Err(Malformed::Content));
    assert_eq!(frame(&[b' '; MESSAGE_MAX + 1]), Err(Malformed::Length(65_537)));
    assert_eq!(frame(b""), Err(Malformed::Length(0)));
}

#[test]
fn a_largest_message_passes_and_arrives_in_any_pieces() {
    let text = "x".repeat(MESSAGE_MAX - r#"{"t":"note","level":"","text":""}"#.len());
    let note = Message::Note { level: String::new(), text };
    let framed = frame(&note.to_bytes()).unwrap();
    for piece in [1, 3, 1000, framed.len()] {
        let mut decoder = Decoder::default();
        let mut found = Vec::new();
        for bytes in framed.chunks(piece) {
            decoder.feed(bytes);
            found.extend(decoder.message().unwrap());
        }
        assert!(found.len() == 1 && found[0] == note, "{piece}");
    }
}

#[test]
fn what_is_shown_is_one_short_line() {
    assert_eq!(shown("a\n\u{1b}[31mb\u{85}"), "a[31mb");
    assert_eq!(shown(&"ä".repeat(1000)).chars().count(), NOTE_CHARS_MAX);
}

#[test]
fn lists_come_whole_or_not_at_all() {
    let part = |r#gen, part, of, names: &[&str]| Services {
        r#gen,
        hash: "h".into(),
        part,
        of,
        list: names.iter().map(|name| service(name)).collect(),
    };
    let whole = |r#gen, names: &[&str]| Taken::Whole {
        r#gen,
        hash: "h".into(),
        list: names.iter().map(|name| service(name)).collect(),
    };
    let missing = || Taken::Refused("a part of it is missing");
    let misnumbered = || Taken::Refused("its parts are misnumbered");
    let table = [
        (vec![part(1, 1, 1, &["b", "a"])], vec![whole(1, &["a", "b"])]),
        (
            vec![part(1, 1, 2, &["a"]), part(1, 2, 2, &["b"])],
            vec![Taken::More, whole(1, &["a", "b"])],
        ),
        (vec![part(1, 2, 2, &["b"])], vec![missing()]),
        (vec![part(1, 1, 3, &["a"]), part(1, 3, 3, &["b"])], vec![Taken::More, missing()]),
        (vec![part(1, 1, 2, &["a"]), part(2, 2, 2, &["b"])], vec![Taken::More, missing()]),
        (
            vec![part(1, 1, 2, &["a"]), part(2, 1, 1, &["b"]), part(1, 2, 2, &["c"])],
            vec![Taken::More, whole(2, &["b"]), missing()],
        ),
        (vec![part(1, 0, 1, &[])], vec![misnumbered()]),
        (vec![part(1, 2, 1, &[])], vec![misnumbered()]),
        (vec![part(1, 1, u32::MAX, &[])], vec![misnumbered()]),
        (
            vec![part(1, 1, 1, &["a", "a"])],
            vec![Taken::Refused("two of its services have one name")],
        ),
    ];
    for (parts, expected) in table {
        let mut lists = Lists::default();
        let found: Vec<_> = parts.iter().map(|part| lists.take(part.clone())).collect();
        assert_eq!(found, expected, "{parts:?}");
    }
    let names: Vec<String> = (0..=SERVICES_MAX).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut lists = Lists::default();
    assert_eq!(lists.take(part(1, 1, 2, &names[..600])), Taken::More);
    let refused = Taken::Refused("it has more than 1024 services");
    assert_eq!(lists.take(part(1, 2, 2, &names[600..])), refused);
    assert!(lists.begun.is_none(), "nothing of it is kept");
}

proptest! {
    #[test]
    fn no_bytes_panic_or_are_kept(bytes in prop::collection::vec(any::<u8>(), 0..200), tail in "\\PC{0,100}") {
        let framed = frame(format!("{{\"t\":{tail}").as_bytes()).unwrap();
        let _ = decode(&[&framed[..], &bytes].concat());
        let mut decoder = Decoder::default();
        for byte in bytes {
            decoder.feed(&[byte]);
            if decoder.message().is_err() {
                break;
            }
            prop_assert!(decoder.pending.len() <= LENGTH + MESSAGE_MAX);
        }
    }
}
