//! Bodies against upstream's own round-trip data (`testdata/kubernetes`).

use proptest::prelude::*;

use super::*;
use crate::builtin::{kinds, message};

macro_rules! golden {
    ($($name:literal),* $(,)?) => {
        [$((
            $name,
            include_bytes!(concat!("../../testdata/kubernetes/", $name, ".json")).as_slice(),
            include_bytes!(concat!("../../testdata/kubernetes/", $name, ".pb")).as_slice(),
        )),*]
    };
}

const OBJECTS: [(&str, &[u8], &[u8]); 17] = golden![
    "authentication.k8s.io.v1.SelfSubjectReview",
    "authentication.k8s.io.v1.TokenReview",
    "authorization.k8s.io.v1.LocalSubjectAccessReview",
    "authorization.k8s.io.v1.SelfSubjectAccessReview",
    "authorization.k8s.io.v1.SelfSubjectRulesReview",
    "authorization.k8s.io.v1.SubjectAccessReview",
    "coordination.k8s.io.v1.Lease",
    "core.v1.ConfigMap",
    "core.v1.Event",
    "core.v1.Namespace",
    "core.v1.Secret",
    "core.v1.ServiceAccount",
    "events.k8s.io.v1.Event",
    "rbac.authorization.k8s.io.v1.ClusterRole",
    "rbac.authorization.k8s.io.v1.ClusterRoleBinding",
    "rbac.authorization.k8s.io.v1.Role",
    "rbac.authorization.k8s.io.v1.RoleBinding",
];

#[test]
fn every_kind_reads_the_same_from_protobuf_and_from_json() {
    assert_eq!(OBJECTS.len(), kinds().len());
    for kind in kinds() {
        let group = if kind.group.is_empty() { "core" } else { kind.group };
        let name = format!("{group}.{}.{}", kind.version, kind.kind);
        let (_, json, pb) = OBJECTS.iter().find(|(golden, ..)| *golden == name).unwrap();
        let envelope = Envelope::open(pb).unwrap();
        assert_eq!(envelope.api_version, kind.group_version().to_string());
        assert_eq!(envelope.kind, kind.kind);
        let from_pb = kind.decode(envelope.object(kind.message()).unwrap()).unwrap();
        let from_json = kind.decode(parse(json).unwrap()).unwrap();
        assert_eq!(from_pb.object, from_json.object, "{name}");
        assert_eq!(from_json.unknown, Vec::<String>::new(), "{name}");
        assert_eq!(
            from_json.object,
            parse(json).unwrap(),
            "{name} has members that the table lacks"
        );
    }
}

#[test]
fn options_and_statuses_are_read() {
    for (id, (name, json, pb)) in ["meta.DeleteOptions", "meta.Status"]
        .into_iter()
        .zip(golden!["core.v1.DeleteOptions", "core.v1.Status"])
    {
        let message = message(id).unwrap();
        let from_pb = Envelope::open(pb).unwrap().object(message).unwrap();
        let from_pb = message.decode(from_pb).unwrap().object;
        assert_eq!(from_pb, message.decode(parse(json).unwrap()).unwrap().object, "{name}");
    }
}

/// Captured from kubectl 1.34: `create namespace`, `create role`, `auth can-i`, `auth can-i
/// --list`, `auth whoami`.
#[test]
fn bodies_of_kubectl_are_read() {
    for (body, expected) in [
        (
            &b"k8s\0\n\x0f\n\x02v1\x12\tNamespace\x12 \n\x18\n\x08captured\x12\0\x1a\0\"\0*\x002\x008\0B\0\x12\0\x1a\x02\n\0\x1a\0\"\0"[..],
            r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"captured"},"spec":{},"status":{}}"#,
        ),
        (
            b"k8s\0\n$\n\x1crbac.authorization.k8s.io/v1\x12\x04Role\x12\"\n\x11\n\x01r\x12\0\x1a\0\"\0*\x002\x008\0B\0\x12\r\n\x03get\x12\0\x1a\x04pods\x1a\0\"\0",
            r#"{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"r"},"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]}"#,
        ),
        (
            b"k8s\0\n2\n\x17authorization.k8s.io/v1\x12\x17SelfSubjectAccessReview\x12<\n\x10\n\0\x12\0\x1a\0\"\0*\x002\x008\0B\0\x12\x1e\n\x1c\n\x07default\x12\x03get\x1a\0\"\0*\x04pods2\0:\0\x1a\x08\x08\0\x12\0\x1a\0 \0\x1a\0\"\0",
            r#"{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","metadata":{},"spec":{"resourceAttributes":{"namespace":"default","resource":"pods","verb":"get"}},"status":{"allowed":false}}"#,
        ),
        (
            b"k8s\0\n1\n\x17authorization.k8s.io/v1\x12\x16SelfSubjectRulesReview\x12#\n\x10\n\0\x12\0\x1a\0\"\0*\x002\x008\0B\0\x12\t\n\x07default\x1a\x04\x18\0\"\0\x1a\0\"\0",
            r#"{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectRulesReview","metadata":{},"spec":{"namespace":"default"},"status":{"incomplete":false,"nonResourceRules":null,"resourceRules":null}}"#,
        ),
        (
            b"k8s\0\n-\n\x18authentication.k8s.io/v1\x12\x11SelfSubjectReview\x12\x1a\n\x10\n\0\x12\0\x1a\0\"\0*\x002\x008\0B\0\x12\x06\n\x04\n\0\x12\0\x1a\0\"\0",
            r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview","metadata":{},"status":{"userInfo":{}}}"#,
        ),
    ] {
        let envelope = Envelope::open(body).unwrap();
        let kind = kinds().iter().find(|kind| kind.kind == envelope.kind).unwrap();
        let object = envelope.object(kind.message()).unwrap();
        assert_eq!(kind.decode(object).unwrap().object.to_string(), expected);
    }
}

#[test]
fn what_is_no_body_is_refused() {
    let event = message("core.Event").unwrap();
    let object = |raw: &[u8]| {
        let mut body = MAGIC.to_vec();
        body.extend([0x12, u8::try_from(raw.len()).unwrap()]);
        body.extend(raw);
        Envelope::open(&body).and_then(|envelope| envelope.object(event))
    };
    assert_eq!(Envelope::open(b"{}"), Err(ProtobufError::NoMagic));
    assert_eq!(Envelope::open(b"k8s\0\x08\x01"), Err(ProtobufError::WireType("runtime.Unknown")));
    assert_eq!(object(b"\x18\x01"), Err(ProtobufError::WireType("reason")));
    assert_eq!(object(b"\x42\x01x"), Err(ProtobufError::WireType("count")));
    let far = b"\x32\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00";
    assert_eq!(object(far), Err(ProtobufError::Time("firstTimestamp")));
    assert_eq!(object(b"\x32\x00").unwrap().to_string(), r#"{"firstTimestamp":null}"#);
}

#[test]
fn elements_are_bounded() {
    let mut raw = Vec::new();
    for _ in 0..=MAX_ELEMENTS {
        raw.extend([0x12, 0x00]);
    }
    let role = message("rbac.Role").unwrap();
    assert_eq!(decode_in(builtin::table(), role, &raw), Err(ProtobufError::TooMany));
    raw.truncate(2 * MAX_ELEMENTS);
    assert!(decode_in(builtin::table(), role, &raw).is_ok());
}

#[test]
fn types_of_kinds_to_come_are_read() {
    let table = builtin::read_table(
        "package p q.v1\nmessage p.A |\n  port 1 IntOrString |\n  raw 2 RawExtension |\n  ports 3 []IntOrString |\n",
    );
    let message = table.message("p.A").unwrap();
    let raw = b"\x0a\x06\x08\x00\x10\x50\x1a\x00\x12\x09\x0a\x07{\"a\":1}\x1a\x08\x08\x01\x10\x00\x1a\x02hi";
    let map = decode_in(&table, message, raw).unwrap();
    assert_eq!(Value::from(map).to_string(), r#"{"port":80,"ports":["hi"],"raw":{"a":1}}"#);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let mut body = MAGIC.to_vec();
        body.extend(&bytes);
        let _ = Envelope::open(&body);
        for kind in kinds() {
            let envelope = Envelope { api_version: "", kind: "", raw: &bytes };
            let _ = envelope.object(kind.message());
        }
    }

    #[test]
    fn no_damaged_body_panics(at in 0..OBJECTS.len(), place: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut body = OBJECTS[at].2.to_vec();
        let place = place.index(body.len());
        body[place] = byte;
        body.truncate(cut.index(body.len()) + 1);
        for kind in kinds() {
            if let Ok(envelope) = Envelope::open(&body)
                && let Ok(object) = envelope.object(kind.message())
            {
                let _ = kind.decode(object);
            }
        }
    }
}
