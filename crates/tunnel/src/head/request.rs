//! Requests, and what the hub says of them beside their fields.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes};
use strait_types::push_socket;

use super::field::{self, Fields, is_token};
use super::{Field, HeadError, MAX_AUTHORITY, MAX_BLOCK, MAX_PATH};
use crate::tlv;
use crate::wire::Reader;

/// Bytes of a method without a number at most.
const MAX_METHOD: usize = 32;

const SERVICE_TYPE: u16 = 1;
const TRACE: u16 = 2;
const SERVICE: u16 = 3;
const DEADLINE: u16 = 4;
const IDENTITY: u16 = 5;
const CLIENT: u16 = 6;
const UPGRADE: u16 = 7;
const BODY: u16 = 8;
const REQUEST_ID: u16 = 10;
const PREFIX: u16 = 12;
const FLAGS: u16 = 14;
const FORWARDED: u16 = 16;

/// The client waits for 100 before it sends its body.
const EXPECTS: u32 = 1;
/// The client came without TLS.
const PLAIN: u32 = 2;

/// A method that may cross: CONNECT and TRACE never do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method<'a>(&'a str);

/// Methods with a number, from 1.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];

impl<'a> Method<'a> {
    /// Checks a method as it stands in a message: case counts.
    ///
    /// # Errors
    /// [`HeadError::Method`]: not a token of at most 32 bytes, or one that never crosses.
    pub fn new(text: &'a str) -> Result<Self, HeadError> {
        let length = (1..=MAX_METHOD).contains(&text.len());
        let barred = ["CONNECT", "TRACE"].iter().any(|bar| text.eq_ignore_ascii_case(bar));
        let valid = length && text.bytes().all(is_token) && !barred;
        if valid { Ok(Self(text)) } else { Err(HeadError::Method) }
    }

    /// The method's text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    fn put(self, out: &mut Vec<u8>) {
        match (1..).zip(METHODS).find(|(_, known)| *known == self.0) {
            Some((number, _)) => out.put_u8(number),
            None => {
                out.put_u8(0);
                out.put_u8(u8::try_from(self.0.len()).expect("at most 32 bytes"));
                out.put_slice(self.0.as_bytes());
            }
        }
    }

    fn read(rest: &mut Reader<'a>) -> Result<Self, HeadError> {
        match rest.u8().ok_or(HeadError::Length)? {
            0 => {
                let length = rest.u8().ok_or(HeadError::Length)?;
                let text = rest.take(usize::from(length)).ok_or(HeadError::Length)?;
                Self::new(str::from_utf8(text).map_err(|_| HeadError::Method)?)
            }
            number => {
                METHODS.get(usize::from(number) - 1).map(|text| Self(text)).ok_or(HeadError::Method)
            }
        }
    }
}

/// What an OPEN says beside the message: no field of a client can forge these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tlvs<'a> {
    /// Type of the service, e.g. `http`.
    pub service_type: &'a str,
    /// Name of the service.
    pub service: &'a str,
    /// Who asks, as JSON; empty if nobody was told.
    pub identity: &'a [u8],
    /// Trace context; empty if there is none.
    pub trace: &'a [u8],
    /// From when it was sent.
    pub deadline_ms: Option<u32>,
    /// Whom the hub saw.
    pub client: Option<SocketAddr>,
    /// The protocol that the client wants to go on with; empty if none.
    pub upgrade: &'a str,
    /// Length of the body, where the client told it.
    pub body_length: Option<u64>,
    /// Id of the request in all logs; empty if it has none.
    pub request_id: &'a str,
    /// The public path below which clients see the service, without a slash at its end; empty
    /// where it has a host of its own.
    pub prefix: &'a str,
    /// Whether the client waits for 100 before it sends its body.
    pub expects: bool,
    /// Whether the client came without TLS.
    pub plain: bool,
    /// `X-Forwarded-For` of a proxy before the hub that is trusted with it; empty if none.
    pub forwarded: &'a str,
}

impl<'a> Tlvs<'a> {
    fn put(&self, out: &mut Vec<u8>) -> Result<(), HeadError> {
        // What is sent must be what the peer accepts.
        self.check()?;
        let deadline = self.deadline_ms.map(u32::to_be_bytes);
        let body = self.body_length.map(u64::to_be_bytes);
        let mut client = String::with_capacity(24);
        if let Some(address) = self.client {
            push_socket(&mut client, address);
        }
        let expects = if self.expects { EXPECTS } else { 0 };
        let flags = expects | if self.plain { PLAIN } else { 0 };
        let flags = (flags != 0).then(|| flags.to_be_bytes());
        let all: [(u16, &[u8]); 12] = [
            (SERVICE_TYPE, self.service_type.as_bytes()),
            (TRACE, self.trace),
            (SERVICE, self.service.as_bytes()),
            (DEADLINE, deadline.as_ref().map_or(&[], |bytes| &bytes[..])),
            (IDENTITY, self.identity),
            (CLIENT, client.as_bytes()),
            (UPGRADE, self.upgrade.as_bytes()),
            (BODY, body.as_ref().map_or(&[], |bytes| &bytes[..])),
            (REQUEST_ID, self.request_id.as_bytes()),
            (PREFIX, self.prefix.as_bytes()),
            (FLAGS, flags.as_ref().map_or(&[], |bytes| &bytes[..])),
            (FORWARDED, self.forwarded.as_bytes()),
        ];
        for (kind, value) in all.into_iter().filter(|(_, value)| !value.is_empty()) {
            tlv::put(out, kind, value).ok_or(HeadError::TooLarge)?;
        }
        Ok(())
    }

    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, HeadError> {
        let found = Self::read(bytes)?;
        found.check()?;
        Ok(found)
    }

    /// No text may have anything in it that is not seen.
    fn check(&self) -> Result<(), HeadError> {
        let Self { service_type, service, upgrade, request_id, prefix, forwarded, .. } = self;
        let mut texts = [service_type, service, upgrade, request_id, prefix, forwarded].into_iter();
        if texts.all(|text| is_visible(text)) { Ok(()) } else { Err(HeadError::Extension) }
    }

    /// What was checked, or is to be.
    fn read(bytes: &'a [u8]) -> Result<Self, HeadError> {
        let mut found = Self::default();
        tlv::read(bytes, |kind, value| {
            match kind {
                SERVICE_TYPE => found.service_type = text(value)?,
                TRACE => found.trace = value,
                SERVICE => found.service = text(value)?,
                DEADLINE => {
                    found.deadline_ms = Some(u32::from_be_bytes(value.try_into().map_err(|_| ())?));
                }
                IDENTITY => found.identity = value,
                CLIENT => found.client = Some(text(value)?.parse().map_err(|_| ())?),
                UPGRADE => found.upgrade = text(value)?,
                BODY => {
                    found.body_length = Some(u64::from_be_bytes(value.try_into().map_err(|_| ())?));
                }
                REQUEST_ID => found.request_id = text(value)?,
                PREFIX => found.prefix = text(value)?,
                FLAGS => {
                    // A bit without a meaning here has none that must be understood.
                    let flags = u32::from_be_bytes(value.try_into().map_err(|_| ())?);
                    (found.expects, found.plain) = (flags & EXPECTS != 0, flags & PLAIN != 0);
                }
                FORWARDED => found.forwarded = text(value)?,
                _ => return Ok(false),
            }
            Ok(true)
        })
        .map_err(|_| HeadError::Extension)?;
        Ok(found)
    }

    /// Type and name of the service, in a list that was checked.
    pub(crate) fn service_of(bytes: &[u8]) -> (&str, &str) {
        let find = |kind| tlv::find(bytes, kind).and_then(|value| text(value).ok());
        (find(SERVICE_TYPE).unwrap_or_default(), find(SERVICE).unwrap_or_default())
    }

    /// The block of a stream without a message.
    pub(crate) fn block(&self) -> Result<Bytes, HeadError> {
        let mut out = Vec::with_capacity(64);
        self.put(&mut out)?;
        if out.len() > MAX_BLOCK { Err(HeadError::TooLarge) } else { Ok(Bytes::from(out)) }
    }
}

fn text(value: &[u8]) -> Result<&str, ()> {
    str::from_utf8(value).map_err(|_| ())
}

fn is_visible(text: &str) -> bool {
    let plain = field::all(text.as_bytes(), |byte| matches!(byte, b' '..=b'~'));
    plain || !text.chars().any(char::is_control)
}

/// The parts of a request's head, but for its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestParts<'a> {
    /// What is asked for.
    pub method: Method<'a>,
    /// Host and optional port; may be empty.
    pub authority: &'a str,
    /// Path and query in origin form, or `*` with OPTIONS.
    pub path: &'a str,
    /// What the hub says.
    pub tlvs: Tlvs<'a>,
}

/// A request's head, as a block that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    block: Bytes,
    /// Where what the hub says begins, and ends.
    tlvs: [u32; 2],
    /// Where the fields begin.
    fields: u32,
    /// It asks for another protocol.
    upgrade: bool,
    body_length: Option<u64>,
}

impl Request {
    /// Makes one of its parts.
    ///
    /// # Errors
    /// What the parts break; see [`HeadError`].
    pub fn new<'a>(
        parts: &RequestParts<'_>,
        fields: impl IntoIterator<Item = Field<'a>>,
    ) -> Result<Self, HeadError> {
        check_target(parts)?;
        let mut out = Vec::with_capacity(512);
        parts.method.put(&mut out);
        for text in [parts.authority, parts.path] {
            out.put_u16(u16::try_from(text.len()).map_err(|_| HeadError::TooLarge)?);
            out.put_slice(text.as_bytes());
        }
        let tlvs = patched(&mut out, |out| parts.tlvs.put(out).map(|()| None))?;
        let tlvs = [offset(tlvs), offset(out.len())];
        let fields_at = patched(&mut out, |out| {
            let mut count = 0;
            for one in fields {
                if usize::from(count) == super::MAX_FIELDS {
                    return Err(HeadError::TooManyFields);
                }
                field::put(out, 0, one)?;
                count += 1;
            }
            Ok(Some(count))
        })?;
        if out.len() > MAX_BLOCK {
            return Err(HeadError::TooLarge);
        }
        let (upgrade, body_length) = (!parts.tlvs.upgrade.is_empty(), parts.tlvs.body_length);
        let (block, fields) = (Bytes::from(out), offset(fields_at));
        Ok(Self { block, tlvs, fields, upgrade, body_length })
    }

    /// Checks a block from the peer.
    pub(crate) fn parse(block: Bytes) -> Result<Self, HeadError> {
        if block.len() > MAX_BLOCK {
            return Err(HeadError::TooLarge);
        }
        let mut rest = Reader(&block);
        let (parts, tlvs) = read_parts(&mut rest)?;
        let end = block.len() - rest.0.len();
        let tlvs = [offset(end - tlvs.len()), offset(end)];
        parts.tlvs.check()?;
        check_target(&parts)?;
        let count = rest.u16().ok_or(HeadError::Length)?;
        field::check(rest.0, Some(count))?;
        let fields = offset(block.len() - rest.0.len());
        let (upgrade, body_length) = (!parts.tlvs.upgrade.is_empty(), parts.tlvs.body_length);
        Ok(Self { block, tlvs, fields, upgrade, body_length })
    }

    /// The bytes that its parts are in.
    #[must_use]
    pub const fn block(&self) -> &Bytes {
        &self.block
    }

    /// Whether it asks for another protocol.
    #[must_use]
    pub const fn is_upgrade(&self) -> bool {
        self.upgrade
    }

    /// Length of the body, where the client told it.
    #[must_use]
    pub const fn body_length(&self) -> Option<u64> {
        self.body_length
    }

    /// Everything but the fields. Reads the block anew: call it once.
    ///
    /// # Panics
    /// Never: the block was checked.
    #[must_use]
    pub fn parts(&self) -> RequestParts<'_> {
        read_parts(&mut Reader(&self.block)).expect("the block was checked").0
    }

    /// Type and name of the service, each empty where nobody said it.
    pub(crate) fn service(&self) -> (&str, &str) {
        let [from, to] = self.tlvs;
        Tlvs::service_of(&self.block[from as usize..to as usize])
    }

    /// In the order of the message.
    #[must_use]
    pub fn fields(&self) -> Fields<'_> {
        Fields::checked(&self.block[self.fields as usize..])
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("a block has at most 64 KiB")
}

/// Writes something behind a u16 that is its length, or the count that it answers; returns where
/// it begins.
fn patched(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<Option<u16>, HeadError>,
) -> Result<usize, HeadError> {
    out.put_u16(0);
    let start = out.len();
    let count = write(out)?;
    let length = u16::try_from(out.len() - start).map_err(|_| HeadError::TooLarge)?;
    out[start - 2..start].copy_from_slice(&count.unwrap_or(length).to_be_bytes());
    Ok(start)
}

/// The parts, and what the hub says as it is.
fn read_parts<'a>(rest: &mut Reader<'a>) -> Result<(RequestParts<'a>, &'a [u8]), HeadError> {
    let method = Method::read(rest)?;
    let mut slice = || {
        let length = rest.u16().ok_or(HeadError::Length)?;
        rest.take(usize::from(length)).ok_or(HeadError::Length)
    };
    let (authority, path, tlvs) = (slice()?, slice()?, slice()?);
    let parts = RequestParts {
        method,
        authority: str::from_utf8(authority).map_err(|_| HeadError::Authority)?,
        path: str::from_utf8(path).map_err(|_| HeadError::Path)?,
        tlvs: Tlvs::read(tlvs)?,
    };
    Ok((parts, tlvs))
}

fn check_target(parts: &RequestParts<'_>) -> Result<(), HeadError> {
    let host = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'[' | b']' | b'%')
    };
    if parts.authority.len() > MAX_AUTHORITY || parts.path.len() > MAX_PATH {
        return Err(HeadError::TooLarge);
    }
    if !parts.authority.bytes().all(host) {
        return Err(HeadError::Authority);
    }
    let origin = parts.path.starts_with('/')
        && field::all(parts.path.as_bytes(), |byte| byte.is_ascii_graphic() && byte != b'#');
    let asterisk = parts.path == "*" && parts.method.as_str() == "OPTIONS";
    if origin || asterisk { Ok(()) } else { Err(HeadError::Path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts<'a>(method: &'a str, authority: &'a str, path: &'a str) -> RequestParts<'a> {
        RequestParts { method: Method(method), authority, path, tlvs: Tlvs::default() }
    }

    #[test]
    fn what_is_made_is_parsed() {
        let tlvs = Tlvs {
            service_type: "http",
            service: "web",
            identity: br#"{"user":"u"}"#,
            trace: b"t",
            deadline_ms: Some(5_000),
            client: Some("[::1]:5".parse().unwrap()),
            upgrade: "websocket",
            body_length: Some(1 << 40),
            request_id: "r-1",
            prefix: "/services/relay/a/web",
            expects: true,
            plain: true,
            forwarded: "192.0.2.1, 192.0.2.2",
        };
        let parts = RequestParts { tlvs, ..parts("PURGE", "h.example:8080", "/a?b=c%20d") };
        let fields = [Field::new("accept", b"*/*"), Field::new("x-own", b"1")];
        let request = Request::new(&parts, fields).unwrap();
        let read = Request::parse(request.block().clone()).unwrap();
        assert_eq!(read, request);
        assert_eq!(read.parts(), parts);
        assert_eq!(read.fields().collect::<Vec<_>>(), fields);
        assert_eq!(Tlvs::parse(&tlvs.block().unwrap()), Ok(tlvs));
    }

    #[test]
    fn numbered_methods_take_one_byte() {
        for (number, method) in (1..).zip(METHODS) {
            let request = Request::new(&parts(method, "", "/"), []).unwrap();
            assert_eq!(request.block()[0], number);
            assert_eq!(request.parts().method.as_str(), method);
        }
    }

    #[test]
    fn targets_are_in_origin_form() {
        let (path, authority) = (Err(HeadError::Path), Err(HeadError::Authority));
        let table = [
            ("GET", "h", "/", Ok(())),
            ("GET", "[::1]:80", "/%00;..//x?y=\"{}\"", Ok(())),
            ("OPTIONS", "h", "*", Ok(())),
            ("GET", "h", "*", path),
            ("GET", "h", "", path),
            ("GET", "h", "http://other/", path),
            ("GET", "h", "other:80", path),
            ("GET", "h", "/a b", path),
            ("GET", "h", "/a\r\nX: y", path),
            ("GET", "h", "/a#b", path),
            ("GET", "h", "/ä", path),
            ("GET", "user@h", "/", authority),
            ("GET", "h/x", "/", authority),
            ("GET", "h\\x", "/", authority),
            ("GET", "h x", "/", authority),
        ];
        for (method, host, target, expected) in table {
            let made = Request::new(&parts(method, host, target), []).map(|_| ());
            assert_eq!(made, expected, "{host} {target}");
        }
    }

    #[test]
    fn connect_and_trace_never_cross() {
        for text in ["CONNECT", "connect", "TRACE", "", "G T", &"X".repeat(33)] {
            assert_eq!(Method::new(text), Err(HeadError::Method), "{text:?}");
        }
        let literal = b"\x00\x07CONNECT\0\0\0\x01/\0\0\0\0";
        assert_eq!(Request::parse(Bytes::from_static(literal)), Err(HeadError::Method));
        assert_eq!(
            Request::parse(Bytes::from_static(b"\x08\0\0\0\x01/\0\0\0\0")),
            Err(HeadError::Method)
        );
    }

    #[test]
    fn a_count_that_is_not_that_of_the_fields_is_refused() {
        let request = Request::new(&parts("GET", "h", "/"), [Field::new("age", b"1")]).unwrap();
        let mut bytes = request.block().to_vec();
        let at = request.fields as usize - 1;
        for (count, expected) in [(0, HeadError::Length), (2, HeadError::Length)] {
            bytes[at] = count;
            assert_eq!(Request::parse(Bytes::from(bytes.clone())), Err(expected));
        }
        bytes[at] = 1;
        for cut in 0..bytes.len() {
            assert!(Request::parse(Bytes::copy_from_slice(&bytes[..cut])).is_err(), "{cut}");
        }
    }

    #[test]
    fn flags_without_a_meaning_here_are_passed_over() {
        for (bits, expects, plain) in [(0, false, false), (1, true, false), (6, false, true)] {
            let block = [0, 14, 0, 4, 0, 0, 0, bits];
            let found = Tlvs::parse(&block).unwrap();
            assert_eq!((found.expects, found.plain), (expects, plain), "{bits}");
        }
        assert!(Tlvs::parse(&[0, 14, 0, 2, 0, 1]).is_err());
    }

    #[test]
    fn extensions_that_must_be_understood_are_not_skipped() {
        let odd = b"\x01\0\0\0\x01/\0\x04\0\x09\0\0\0\0";
        assert_eq!(Request::parse(Bytes::from_static(odd)), Err(HeadError::Extension));
        let even = b"\x01\0\0\0\x01/\0\x04\0\x7e\0\0\0\0";
        assert!(Request::parse(Bytes::from_static(even)).is_ok());
    }
}
