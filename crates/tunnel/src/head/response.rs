//! Responses and trailers.

use std::time::Duration;

use bytes::{BufMut, Bytes};

use super::field::{self, Fields};
use super::{Field, HeadError, MAX_BLOCK};
use crate::tlv;
use crate::wire::Reader;

/// Bytes before the fields.
const PREFIX: usize = 2;
/// TLV: how long the service took for this head, u32 microseconds.
const TOOK: u16 = 2;
/// TLV: what the rule says by which the peer refused, UTF-8.
const RULE: u16 = 4;
/// Most bytes of that.
const RULE_MAX: usize = 1024;

/// What extensions say.
#[derive(Default)]
struct Extensions<'a> {
    took: Option<Duration>,
    rule: Option<&'a str>,
}

/// A response's head: u16 status, fields. Before it stand its extensions, if it has any: u16
/// length of TLVs, TLVs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    block: Bytes,
    /// Where the status is: bytes of the extensions.
    at: usize,
}

impl Response {
    /// Makes one of its parts.
    ///
    /// # Errors
    /// What the parts break; see [`HeadError`].
    pub fn new<'a>(
        status: u16,
        fields: impl IntoIterator<Item = Field<'a>>,
    ) -> Result<Self, HeadError> {
        Self::encoded(Vec::with_capacity(256), status, fields)
    }

    /// The same, which says how long the service took for it: to a peer that can read that, and as
    /// far as there is room.
    ///
    /// # Errors
    /// As of [`new`](Self::new).
    pub fn timed<'a>(
        status: u16,
        fields: impl IntoIterator<Item = Field<'a>>,
        took: Duration,
    ) -> Result<Self, HeadError> {
        let mut out = Vec::with_capacity(256);
        out.put_u16(8);
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        tlv::put(&mut out, TOOK, &micros.to_be_bytes()).ok_or(HeadError::Extension)?;
        Self::encoded(out, status, fields)
    }

    /// The same of a refusal, which says what the rule says that is behind it: to a peer that can
    /// read that, and as far as there is room.
    ///
    /// # Errors
    /// As of [`new`](Self::new).
    pub fn refused<'a>(
        status: u16,
        fields: impl IntoIterator<Item = Field<'a>>,
        rule: &str,
    ) -> Result<Self, HeadError> {
        let rule = &rule[..rule.floor_char_boundary(RULE_MAX)];
        let mut out = Vec::with_capacity(256);
        let length = u16::try_from(rule.len() + 4).map_err(|_| HeadError::Extension)?;
        out.put_u16(length);
        tlv::put(&mut out, RULE, rule.as_bytes()).ok_or(HeadError::Extension)?;
        Self::encoded(out, status, fields)
    }

    fn encoded<'a>(
        mut out: Vec<u8>,
        status: u16,
        fields: impl IntoIterator<Item = Field<'a>>,
    ) -> Result<Self, HeadError> {
        if !is_status(status) {
            return Err(HeadError::Status);
        }
        let at = out.len();
        encode(&mut out, status, fields)?;
        let block = Bytes::from(out);
        Ok(match block.len() > MAX_BLOCK {
            true => Self { block: block.slice(at..), at: 0 },
            false => Self { block, at },
        })
    }

    /// The bytes that its parts are in.
    #[must_use]
    pub const fn block(&self) -> &Bytes {
        &self.block
    }

    /// Its block, and whether that begins with extensions; `extended`: the peer can read those.
    pub(crate) fn block_for(&self, extended: bool) -> (Bytes, bool) {
        match self.at {
            0 => (self.block.clone(), false),
            at if !extended => (self.block.slice(at..), false),
            _ => (self.block.clone(), true),
        }
    }

    /// How long the service took for it, if the peer says so. It may say anything.
    ///
    /// # Panics
    /// Never: the block was checked.
    #[must_use]
    pub fn took(&self) -> Option<Duration> {
        self.extensions().took
    }

    /// What the rule says by which the peer refused, if it says so. It may say anything, and at
    /// most 1024 bytes.
    ///
    /// # Panics
    /// Never: the block was checked.
    #[must_use]
    pub fn rule(&self) -> Option<&str> {
        self.extensions().rule
    }

    fn extensions(&self) -> Extensions<'_> {
        let mut found = Extensions::default();
        if let Some(extensions) = self.block[..self.at].get(2..) {
            let read = tlv::read(extensions, |kind, value| extension(kind, value, &mut found));
            read.expect("they were checked");
        }
        found
    }

    /// 100–599.
    #[must_use]
    pub fn status(&self) -> u16 {
        u16::from_be_bytes([self.block[self.at], self.block[self.at + 1]])
    }

    /// Whether another head follows: 1xx but 101.
    #[must_use]
    pub fn is_informational(&self) -> bool {
        self.status() < 200 && self.status() != 101
    }

    /// In the order of the message.
    #[must_use]
    pub fn fields(&self) -> Fields<'_> {
        Fields::checked(&self.block[self.at + PREFIX..])
    }
}

/// What comes after a body: u16 zero, fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trailers {
    block: Bytes,
}

impl Trailers {
    /// Makes them of fields.
    ///
    /// # Errors
    /// What the fields break; see [`HeadError`].
    pub fn new<'a>(fields: impl IntoIterator<Item = Field<'a>>) -> Result<Self, HeadError> {
        let mut out = Vec::with_capacity(256);
        encode(&mut out, 0, fields)?;
        Ok(Self { block: Bytes::from(out) })
    }

    /// The bytes that its parts are in.
    #[must_use]
    pub const fn block(&self) -> &Bytes {
        &self.block
    }

    /// In the order of the message.
    #[must_use]
    pub fn fields(&self) -> Fields<'_> {
        Fields::checked(&self.block[PREFIX..])
    }
}

/// What a HEAD frame's block is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    Response(Response),
    Trailers(Trailers),
}

impl Head {
    /// Checks a block from the peer; `extended`: it begins with extensions.
    pub(crate) fn parse(block: Bytes, extended: bool) -> Result<Self, HeadError> {
        if block.len() > MAX_BLOCK {
            return Err(HeadError::TooLarge);
        }
        let at = if extended { check_extensions(&block)? } else { 0 };
        let status = block[at..].first_chunk::<PREFIX>().ok_or(HeadError::Length)?;
        let status = u16::from_be_bytes(*status);
        if status != 0 && !is_status(status) {
            return Err(HeadError::Status);
        }
        field::check(&block[at + PREFIX..], None)?;
        Ok(match status {
            // Of their own: extensions that nobody counts must not be kept alive.
            0 if at > 0 => Self::Trailers(Trailers { block: Bytes::copy_from_slice(&block[at..]) }),
            0 => Self::Trailers(Trailers { block }),
            _ => Self::Response(Response { block, at }),
        })
    }
}

/// Bytes of the extensions that a block begins with.
fn check_extensions(block: &[u8]) -> Result<usize, HeadError> {
    let mut rest = Reader(block);
    let length = rest.u16().ok_or(HeadError::Length)?;
    let extensions = rest.take(usize::from(length)).ok_or(HeadError::Length)?;
    let mut found = Extensions::default();
    tlv::read(extensions, |kind, value| extension(kind, value, &mut found))
        .map_err(|_| HeadError::Extension)?;
    Ok(2 + extensions.len())
}

fn extension<'a>(kind: u16, value: &'a [u8], found: &mut Extensions<'a>) -> Result<bool, ()> {
    match kind {
        TOOK => {
            let micros = u32::from_be_bytes(value.try_into().map_err(|_| ())?);
            found.took = Some(Duration::from_micros(micros.into()));
        }
        RULE if value.len() > RULE_MAX => return Err(()),
        RULE => found.rule = Some(std::str::from_utf8(value).map_err(|_| ())?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn is_status(status: u16) -> bool {
    (100..=599).contains(&status)
}

fn encode<'a>(
    out: &mut Vec<u8>,
    status: u16,
    fields: impl IntoIterator<Item = Field<'a>>,
) -> Result<(), HeadError> {
    let before = out.len();
    out.put_u16(status);
    for (count, one) in fields.into_iter().enumerate() {
        if count == super::MAX_FIELDS {
            return Err(HeadError::TooManyFields);
        }
        field::put(out, before, one)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Head, HeadError> {
        Head::parse(Bytes::copy_from_slice(bytes), false)
    }

    #[test]
    fn what_is_made_is_parsed() {
        let fields = [
            Field::new("set-cookie", b"a=1"),
            Field::new("set-cookie", b" b=2\t"),
            Field::secret("x-secret", b"\xe4"),
        ];
        let response = Response::new(200, fields).unwrap();
        let Ok(Head::Response(read)) = parse(response.block()) else { panic!() };
        assert_eq!(read.took(), None);
        assert_eq!(read.status(), 200);
        let values: Vec<_> = read.fields().map(|field| (field.name, field.value)).collect();
        let expected: [(&[u8], &[u8]); 3] =
            [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"x-secret", b"\xe4")];
        assert_eq!(values, expected);
        assert!(read.fields().last().unwrap().sensitive);

        let trailers = Trailers::new([Field::new("grpc-status", b"0")]).unwrap();
        assert_eq!(parse(trailers.block()), Ok(Head::Trailers(trailers)));
    }

    #[test]
    fn a_head_says_how_long_the_service_took_where_the_peer_reads_that() {
        let fields = || [Field::new("age", b"1")];
        let plain = Response::new(200, fields()).unwrap();
        for (took, expected) in [
            (Duration::from_micros(1_234), Duration::from_micros(1_234)),
            (Duration::MAX, Duration::from_micros(u32::MAX.into())),
        ] {
            let timed = Response::timed(200, fields(), took).unwrap();
            assert_eq!((timed.status(), timed.fields().count()), (200, 1));
            let (block, extended) = timed.block_for(true);
            assert!(extended);
            let Ok(Head::Response(read)) = Head::parse(block, true) else { panic!() };
            assert_eq!((read.took(), &read), (Some(expected), &timed));
            assert_eq!(timed.block_for(false), (plain.block().clone(), false));
            assert_eq!(plain.block_for(true), (plain.block().clone(), false));
        }
        // Where there is no room for it, it is left out.
        let value = vec![b'v'; 32_760];
        let long = || [Field::new("age", &value), Field::new("age", &value)];
        assert_eq!(MAX_BLOCK - Response::new(200, long()).unwrap().block().len(), 6);
        assert_eq!(
            Response::timed(200, long(), Duration::ZERO).unwrap(),
            Response::new(200, long()).unwrap()
        );
    }

    /// The time of a head, or why it is none.
    type Read = Result<Option<Duration>, HeadError>;

    /// An even extension is skipped where it is not known; an odd one breaks the head, as does one
    /// that cannot be.
    #[test]
    fn what_a_rule_says_goes_to_who_can_read_it() {
        let long = "ä".repeat(RULE_MAX);
        for (rule, expected) in [("/job/*", "/job/*"), (&long, &long[..RULE_MAX])] {
            let head = Response::refused(403, [], rule).unwrap();
            assert_eq!((head.rule(), head.took()), (Some(expected), None));
            let (block, extended) = head.block_for(true);
            let Head::Response(read) = Head::parse(block, extended).unwrap() else { panic!() };
            assert_eq!(read.rule(), Some(expected));
            let (block, extended) = head.block_for(false);
            let Head::Response(read) = Head::parse(block, extended).unwrap() else { panic!() };
            assert_eq!((read.status(), read.rule()), (403, None));
        }
    }

    #[test]
    fn extensions_of_a_head_are_checked() {
        let timed = |micros| Ok(Some(Duration::from_micros(micros)));
        let table: [(&[u8], Read); 9] = [
            (&[0, 0, 0, 200], Ok(None)),
            (&[0, 8, 0, 2, 0, 4, 0, 0, 0, 7, 0, 200], timed(7)),
            (&[0, 4, 0, 4, 0, 0, 0, 200], Ok(None)),
            (&[0, 4, 0, 3, 0, 0, 0, 200], Err(HeadError::Extension)),
            (&[0, 7, 0, 2, 0, 3, 0, 0, 7, 0, 200], Err(HeadError::Extension)),
            (&[0, 8, 0, 4, 0, 0, 0, 4, 0, 0, 0, 200], Err(HeadError::Extension)),
            (&[0, 9, 0, 200], Err(HeadError::Length)),
            (&[0], Err(HeadError::Length)),
            (&[0, 0], Err(HeadError::Length)),
        ];
        for (bytes, expected) in table {
            let read = Head::parse(Bytes::copy_from_slice(bytes), true).map(|head| match head {
                Head::Response(head) => head.took(),
                Head::Trailers(_) => panic!("{bytes:?}"),
            });
            assert_eq!(read, expected, "{bytes:?}");
        }
    }

    /// What is counted of a head is all that it keeps in memory.
    #[test]
    fn a_head_keeps_no_more_bytes_than_its_block_has() {
        let extensions = [&[0, 68, 0, 4, 0, 64][..], &[0; 64]].concat();
        for (status, extended) in [(200u16, false), (200, true), (0, false), (0, true)] {
            let extensions = if extended { &extensions[..] } else { &[] };
            let whole = Bytes::from([extensions, &status.to_be_bytes()].concat());
            let head = Head::parse(whole.clone(), extended).unwrap();
            let counted = match &head {
                Head::Response(response) => response.block().len(),
                Head::Trailers(trailers) => trailers.block().len(),
            };
            let kept = if whole.is_unique() { counted } else { whole.len() };
            assert_eq!(counted, kept, "{status} {extended}");
        }
    }

    #[test]
    fn informational_heads_are_those_that_another_follows() {
        for (status, expected) in [(100, true), (101, false), (103, true), (200, false)] {
            assert_eq!(Response::new(status, []).unwrap().is_informational(), expected);
        }
    }

    /// M12, M13: heads that no honest peer sends.
    #[test]
    fn broken_heads_are_refused() {
        let table: [(&[u8], HeadError); 14] = [
            (&[], HeadError::Length),
            (&[0], HeadError::Length),
            (&[0, 99], HeadError::Status),
            (&[3, 232], HeadError::Status),
            (&[2, 88], HeadError::Status),
            (&[0, 200, 200, 0, 0, 0], HeadError::Name),
            (&[0, 200, 0, 0, 0, 0, 0], HeadError::Name),
            (&[0, 200, 0, 1, b'X', 0, 0, 0], HeadError::Name),
            (&[0, 200, 0, 1, b':', 0, 0, 0], HeadError::Name),
            (&[0, 200, 1, 0, 0, 1, b'\r'], HeadError::Value),
            (&[0, 200, 1, 0, 0, 1, b'\n'], HeadError::Value),
            (&[0, 200, 1, 0, 0, 1, 0], HeadError::Value),
            (&[0, 200, 1, 0, 0, 2, b' ', b'a'], HeadError::Value),
            (&[0, 200, 1, 0, 0, 2, b'a'], HeadError::Length),
        ];
        for (bytes, expected) in table {
            assert_eq!(parse(bytes), Err(expected), "{bytes:?}");
        }
    }

    #[test]
    fn there_are_limits_on_fields_names_and_blocks() {
        let many = |count| Response::new(200, vec![Field::new("age", b"1"); count]);
        assert!(many(256).is_ok());
        assert_eq!(many(257), Err(HeadError::TooManyFields));
        let mut bytes = vec![0, 200];
        bytes.extend([14, 0, 0, 0].repeat(257));
        assert_eq!(parse(&bytes), Err(HeadError::TooManyFields));

        let name = "x".repeat(129);
        assert!(Response::new(200, [Field::new(&name[..128], b"")]).is_ok());
        assert_eq!(Response::new(200, [Field::new(&name, b"")]), Err(HeadError::Name));

        let value = vec![b'v'; 33_000];
        let two = [Field::new("age", &value), Field::new("age", &value)];
        assert_eq!(Response::new(200, two), Err(HeadError::TooLarge));
        assert_eq!(parse(&vec![0; MAX_BLOCK + 1]), Err(HeadError::TooLarge));
        for status in [0, 99, 600, 1000] {
            assert_eq!(Response::new(status, []), Err(HeadError::Status));
        }
    }
}
