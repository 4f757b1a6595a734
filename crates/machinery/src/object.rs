//! Stored objects: canonical bytes with a place for the revision, and a small parsed header.
//!
//! The bytes never contain `metadata.resourceVersion`: a write's revision is known only when
//! it commits. They always contain `metadata.uid`, and the text `"resourceVersion":"N",` goes
//! right in front of it, which is also where sorted keys put it.

use std::sync::Arc;

use bytes::Bytes;
use strait_types::{InvalidId, Revision, Uid};

use crate::json::{Map, SyntaxError, Value, escape_into, parse};

/// Bytes are not a stored object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Not JSON.
    #[error("an object is not JSON")]
    Syntax(#[from] SyntaxError),
    /// No object at the top, or none at `metadata`.
    #[error("an object has no metadata")]
    NoMetadata,
    /// `metadata.uid` is missing or not a UUID.
    #[error("an object has no uid")]
    NoUid(#[source] Option<InvalidId>),
    /// `metadata.name` is missing.
    #[error("an object has no name")]
    NoName,
}

/// An object's bytes without its revision. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    bytes: Bytes,
    /// Offset of `"uid"` in `metadata`.
    splice: usize,
}

impl Body {
    /// Writes a tree, leaving out `metadata.resourceVersion`.
    ///
    /// # Errors
    /// [`Malformed::NoMetadata`] or [`Malformed::NoUid`] where there is no place for a revision.
    pub fn encode(object: &Value) -> Result<Self, Malformed> {
        let object = object.as_object().ok_or(Malformed::NoMetadata)?;
        if !matches!(object.get("metadata"), Some(Value::Object(_))) {
            return Err(Malformed::NoMetadata);
        }
        let mut out = Vec::with_capacity(512);
        let mut splice = None;
        out.push(b'{');
        for (at, (key, value)) in object.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            escape_into(key, &mut out);
            out.push(b':');
            match value {
                Value::Object(metadata) if key == "metadata" => {
                    splice = write_metadata(metadata, &mut out);
                }
                value => value.write_into(&mut out),
            }
        }
        out.push(b'}');
        let splice = splice.ok_or(Malformed::NoUid(None))?;
        // Kept for long, many times: without what the buffer had to spare.
        Ok(Self { bytes: out.into_boxed_slice().into(), splice })
    }

    /// Takes bytes that [`Body::encode`] wrote, with the header that they hold.
    ///
    /// # Errors
    /// The bytes are not such an object.
    pub fn decode(bytes: Bytes) -> Result<(Self, Header), Malformed> {
        let value = parse(&bytes)?;
        let header = Header::of(&value)?;
        let mut body = Self::encode(&value)?;
        if body.bytes == bytes {
            body.bytes = bytes;
        }
        Ok((body, header))
    }

    /// The bytes without the revision.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Appends the object as it was written at `revision`.
    pub fn write_at(&self, revision: Revision, out: &mut Vec<u8>) {
        out.reserve(self.bytes.len() + 48);
        out.extend_from_slice(&self.bytes[..self.splice]);
        out.extend_from_slice(b"\"resourceVersion\":\"");
        out.extend_from_slice(revision.to_string().as_bytes());
        out.extend_from_slice(b"\",");
        out.extend_from_slice(&self.bytes[self.splice..]);
    }

    /// The object as it was written at `revision`.
    #[must_use]
    pub fn at(&self, revision: Revision) -> Bytes {
        let mut out = Vec::new();
        self.write_at(revision, &mut out);
        out.into()
    }

    /// The object as a tree, with its revision.
    ///
    /// # Panics
    /// Never: the bytes were written from a tree.
    #[must_use]
    pub fn to_value(&self, revision: Revision) -> Value {
        let mut value = parse(&self.bytes).expect("a body was written from a tree");
        value.set(&["metadata", "resourceVersion"], revision.to_string());
        value
    }
}

/// Writes the members without `resourceVersion`; returns the offset of `"uid"`.
fn write_metadata(metadata: &Map, out: &mut Vec<u8>) -> Option<usize> {
    let mut splice = None;
    let mut separator = b'{';
    for (key, value) in metadata.iter() {
        if key == "resourceVersion" {
            continue;
        }
        out.push(separator);
        separator = b',';
        if key == "uid" {
            splice = Some(out.len());
        }
        escape_into(key, out);
        out.push(b':');
        value.write_into(out);
    }
    if separator == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
    splice
}

/// What the server needs of an object without decoding it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// `metadata.uid`.
    pub uid: Uid,
    /// `metadata.labels`, sorted by key.
    pub labels: Box<[(Box<str>, Box<str>)]>,
    /// `metadata.ownerReferences`.
    pub owners: Box<[Owner]>,
    /// `metadata.finalizers`.
    pub finalizers: Box<[Box<str>]>,
    /// `metadata.generation`, 0 where the kind has none.
    pub generation: i64,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
}

/// One owner reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Group and version of the owner's kind.
    pub api_version: Box<str>,
    /// The owner's kind.
    pub kind: Box<str>,
    /// The owner's name.
    pub name: Box<str>,
    /// The owner's uid as written; nothing but the server promises its form.
    pub uid: Box<str>,
    /// Whether foreground deletion of the owner waits for this object.
    pub block_owner_deletion: bool,
}

impl Header {
    /// Reads the header of a tree.
    ///
    /// # Errors
    /// There is no metadata, name or uid.
    pub fn of(object: &Value) -> Result<Self, Malformed> {
        let metadata = object.get("metadata").and_then(Value::as_object);
        let metadata = metadata.ok_or(Malformed::NoMetadata)?;
        let text = |key: &str| metadata.get(key).and_then(Value::as_str);
        if text("name").is_none_or(str::is_empty) {
            return Err(Malformed::NoName);
        }
        let uid = text("uid").ok_or(Malformed::NoUid(None))?;
        let uid = uid.parse().map_err(|error| Malformed::NoUid(Some(error)))?;
        let list = |key: &str| metadata.get(key).and_then(Value::as_array).unwrap_or_default();
        Ok(Self {
            uid,
            labels: string_map(metadata.get("labels")),
            owners: list("ownerReferences").iter().map(Owner::of).collect(),
            finalizers: list("finalizers")
                .iter()
                .filter_map(Value::as_str)
                .map(Into::into)
                .collect(),
            generation: metadata.get("generation").and_then(Value::as_i64).unwrap_or(0),
            deleting: metadata.get("deletionTimestamp").is_some_and(|time| !time.is_null()),
        })
    }

    /// The value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        let at = self.labels.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        Some(&self.labels[at].1)
    }

    /// Bytes of memory behind this header, roughly.
    #[must_use]
    pub fn weight(&self) -> usize {
        let labels: usize = self.labels.iter().map(|(k, v)| k.len() + v.len() + 32).sum();
        let finalizers: usize = self.finalizers.iter().map(|f| f.len() + 16).sum();
        size_of::<Self>() + labels + finalizers + self.owners.len() * 160
    }
}

impl Owner {
    fn of(reference: &Value) -> Self {
        let text = |key: &str| reference.str_at(&[key]).unwrap_or_default().into();
        Self {
            api_version: text("apiVersion"),
            kind: text("kind"),
            name: text("name"),
            uid: text("uid"),
            block_owner_deletion: reference
                .get("blockOwnerDeletion")
                .and_then(Value::as_bool)
                .unwrap_or(false),
        }
    }
}

fn string_map(value: Option<&Value>) -> Box<[(Box<str>, Box<str>)]> {
    let Some(map) = value.and_then(Value::as_object) else {
        return Box::default();
    };
    let pairs = map.iter().filter_map(|(key, value)| Some((key.into(), value.as_str()?.into())));
    pairs.collect()
}

/// A stored object at one revision. Always shared.
#[derive(Debug)]
pub struct Object {
    /// The write that made it so.
    pub revision: Revision,
    /// Its bytes.
    pub body: Body,
    /// What the server needs of it.
    pub header: Header,
}

impl Object {
    /// Puts a body and its header at a revision.
    #[must_use]
    pub fn new(revision: Revision, body: Body, header: Header) -> Arc<Self> {
        Arc::new(Self { revision, body, header })
    }

    /// The object's JSON with its revision.
    #[must_use]
    pub fn json(&self) -> Bytes {
        self.body.at(self.revision)
    }

    /// The object as a tree, with its revision.
    #[must_use]
    pub fn to_value(&self) -> Value {
        self.body.to_value(self.revision)
    }

    /// Bytes of memory behind this object, roughly.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.body.bytes.len() + self.header.weight() + size_of::<Self>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object;

    const UID: &str = "6f1c2c1e-5b0a-4d6f-8e2b-0f8f3c0d9a11";

    fn sample() -> Value {
        object! {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": object! {
                "name": "a",
                "uid": UID,
                "resourceVersion": "7",
                "labels": object!{"b": "2", "a": "1"},
                "finalizers": vec!["x/y".into()],
                "generation": 3,
            },
            "data": object!{"uid": "not this one"},
        }
    }

    #[test]
    fn the_revision_is_spliced_where_it_sorts() {
        let body = Body::encode(&sample()).unwrap();
        assert!(!String::from_utf8_lossy(body.as_bytes()).contains("resourceVersion"));
        let mut expected = sample();
        expected.set(&["metadata", "resourceVersion"], "42");
        assert_eq!(body.at(Revision(42)), expected.to_bytes());
        assert_eq!(body.to_value(Revision(42)), expected);
    }

    #[test]
    fn a_body_holds_no_more_than_its_bytes() {
        let mut value = sample();
        value.set(&["data", "long"], "x".repeat(1_000));
        let body = Body::encode(&value).unwrap();
        let length = body.bytes.len();
        // Bytes that are alone give their buffer back as it is.
        let buffer = Vec::from(body.bytes);
        assert_eq!((buffer.len(), buffer.capacity()), (length, length));
    }

    #[test]
    fn stored_bytes_decode_to_the_same_body() {
        let body = Body::encode(&sample()).unwrap();
        let (again, header) = Body::decode(body.as_bytes().clone()).unwrap();
        assert_eq!(again, body);
        assert_eq!(header, Header::of(&sample()).unwrap());
    }

    #[test]
    fn headers_hold_what_decisions_need() {
        let mut value = sample();
        value.set(&["metadata", "deletionTimestamp"], "2026-01-01T00:00:00Z");
        value.set(
            &["metadata", "ownerReferences"],
            vec![object! {"uid": "u", "kind": "K", "name": "n", "apiVersion": "v1"}],
        );
        let header = Header::of(&value).unwrap();
        assert_eq!(header.uid.to_string(), UID);
        assert_eq!(header.label("a"), Some("1"));
        assert_eq!(header.label("c"), None);
        assert!(header.deleting);
        assert_eq!(header.generation, 3);
        assert_eq!(&*header.owners[0].uid, "u");
    }

    #[test]
    fn what_cannot_be_stored_is_refused() {
        let mut no_uid = sample();
        no_uid.remove(&["metadata", "uid"]);
        assert_eq!(Body::encode(&no_uid), Err(Malformed::NoUid(None)));
        assert_eq!(Body::encode(&Value::Null), Err(Malformed::NoMetadata));
        assert_eq!(Body::encode(&object! {"metadata": 1}), Err(Malformed::NoMetadata));
        assert!(Body::decode(Bytes::from_static(b"{")).is_err());
    }
}
