//! Records: how an event lies in a segment.
//!
//! A record is a header of [`HEADER_BYTES`], a summary (all but the body), and the body. Numbers
//! are little-endian. The header holds the checksums of all three, so that a summary can be read
//! and trusted without its body. It begins with the segment's mark, a random number that no
//! sender knows: bytes of a body are never taken for a record.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

use crate::event::{Event, Position};

/// Mark (8), position (8), bytes of summary (4) and body (4), CRC-32 of summary (4) and body (4),
/// CRC-32 of all that (4).
pub(super) const HEADER_BYTES: usize = 36;

/// Where the header's own checksum stands.
const CHECKED: usize = HEADER_BYTES - 4;

/// A listener takes far smaller heads.
pub(super) const SUMMARY_BYTES_MAX: usize = 1 << 20;

/// A listener takes far smaller bodies.
pub(super) const BODY_BYTES_MAX: usize = 256 << 20;

/// What a segment's records begin with.
pub(super) type Mark = [u8; 8];

/// An event without its body.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// As in [`Event`].
    pub source: Arc<str>,
    /// As in [`Event`].
    pub delivery: Box<str>,
    /// As in [`Event`].
    pub received: Timestamp,
    /// As in [`Event`].
    pub path: Box<str>,
    /// As in [`Event`].
    pub query: Box<str>,
    /// As in [`Event`].
    pub headers: HeaderMap,
    /// As in [`Event`].
    pub sha256: [u8; 32],
    /// How long the body is.
    pub body_bytes: usize,
}

impl Summary {
    pub(super) fn with_body(self, body: Bytes) -> Event {
        Event {
            source: self.source,
            delivery: self.delivery,
            received: self.received,
            path: self.path,
            query: self.query,
            headers: self.headers,
            body,
            sha256: self.sha256,
        }
    }
}

/// A record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) position: Position,
    pub(super) summary_bytes: u32,
    pub(super) body_bytes: u32,
    pub(super) summary_crc: u32,
    pub(super) body_crc: u32,
}

impl Header {
    /// Of the whole record.
    pub(super) fn record_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.summary_bytes) + u64::from(self.body_bytes)
    }

    fn write(&self, mark: Mark) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&mark);
        bytes[8..16].copy_from_slice(&self.position.0.to_le_bytes());
        let words = [self.summary_bytes, self.body_bytes, self.summary_crc, self.body_crc];
        for (place, word) in bytes[16..].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let sum = crc32fast::hash(&bytes[..CHECKED]);
        bytes[CHECKED..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The header that these bytes are, if they are one of this segment.
    pub(super) fn read(bytes: &[u8; HEADER_BYTES], mark: Mark) -> Option<Self> {
        let (checked, sum) = bytes.split_at(CHECKED);
        if checked[..8] != mark || sum != crc32fast::hash(checked).to_le_bytes() {
            return None;
        }
        let mut fields = Fields(&checked[8..]);
        let header = Self {
            position: Position(u64::from_le_bytes(fields.array()?)),
            summary_bytes: fields.number()?,
            body_bytes: fields.number()?,
            summary_crc: fields.number()?,
            body_crc: fields.number()?,
        };
        let bounded = header.summary_bytes as usize <= SUMMARY_BYTES_MAX
            && header.body_bytes as usize <= BODY_BYTES_MAX;
        bounded.then_some(header)
    }
}

/// An event's summary as it lies in a record; none if it or the body is longer than a record
/// takes.
pub(super) fn encode_summary(event: &Event) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(1024);
    let texts = [&*event.source, &event.delivery, &event.path, &event.query];
    for text in texts {
        put(&mut bytes, text.as_bytes())?;
    }
    bytes.extend(event.received.as_nanosecond().to_le_bytes());
    bytes.extend(event.sha256);
    bytes.extend(u32::try_from(event.headers.len()).ok()?.to_le_bytes());
    for (name, value) in &event.headers {
        put(&mut bytes, name.as_str().as_bytes())?;
        put(&mut bytes, value.as_bytes())?;
    }
    let fits = bytes.len() <= SUMMARY_BYTES_MAX && event.body.len() <= BODY_BYTES_MAX;
    fits.then_some(bytes)
}

fn put(bytes: &mut Vec<u8>, field: &[u8]) -> Option<()> {
    bytes.extend(u32::try_from(field.len()).ok()?.to_le_bytes());
    bytes.extend(field);
    Some(())
}

/// The header of a record of this summary, of at most [`SUMMARY_BYTES_MAX`], and this body, of at
/// most [`BODY_BYTES_MAX`].
pub(super) fn encode_header(
    mark: Mark,
    position: Position,
    summary: &[u8],
    body: &[u8],
) -> [u8; HEADER_BYTES] {
    let length = |part: &[u8]| u32::try_from(part.len()).expect("both are bounded");
    let header = Header {
        position,
        summary_bytes: length(summary),
        body_bytes: length(body),
        summary_crc: crc32fast::hash(summary),
        body_crc: crc32fast::hash(body),
    };
    header.write(mark)
}

/// The summary that these bytes are, if they are the ones that the header speaks of.
pub(super) fn decode_summary(header: &Header, bytes: &[u8]) -> Option<Summary> {
    if crc32fast::hash(bytes) != header.summary_crc {
        return None;
    }
    let mut fields = Fields(bytes);
    let summary = Summary {
        source: fields.text()?.into(),
        delivery: fields.text()?.into(),
        path: fields.text()?.into(),
        query: fields.text()?.into(),
        received: Timestamp::from_nanosecond(i128::from_le_bytes(fields.array()?)).ok()?,
        sha256: fields.array()?,
        headers: fields.headers()?,
        body_bytes: header.body_bytes as usize,
    };
    fields.0.is_empty().then_some(summary)
}

/// For fuzzing: these bytes as a header, and as a summary whose checksum fits. What reads once
/// reads the same again.
#[cfg(feature = "fuzzing")]
pub fn fuzz_record(bytes: &[u8]) {
    if let Some(first) = bytes.first_chunk::<HEADER_BYTES>() {
        let mark = first.first_chunk().copied().unwrap_or_default();
        let _ = Header::read(first, mark);
    }
    let header = |summary: &[u8]| Header {
        position: Position(1),
        summary_bytes: u32::try_from(summary.len()).unwrap_or(u32::MAX),
        body_bytes: 0,
        summary_crc: crc32fast::hash(summary),
        body_crc: crc32fast::hash(&[]),
    };
    let Some(summary) = decode_summary(&header(bytes), bytes) else { return };
    let event = summary.clone().with_body(Bytes::new());
    let again = encode_summary(&event).expect("it fitted before");
    assert_eq!(decode_summary(&header(&again), &again), Some(summary));
}

/// What is still to be read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn field(&mut self) -> Option<&'a [u8]> {
        let count = self.number()?;
        self.take(count as usize)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.field()?).ok()
    }

    fn headers(&mut self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        for _ in 0..self.number()? {
            let name = HeaderName::from_bytes(self.field()?).ok()?;
            let value = HeaderValue::from_bytes(self.field()?).ok()?;
            headers.try_append(name, value).ok()?;
        }
        Some(headers)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::log::testing::event;

    const MARK: Mark = *b"\x01abcdef\x02";

    #[test]
    fn what_is_written_reads_back_and_no_changed_byte_does() {
        let event = event(7, 100);
        let summary = encode_summary(&event).unwrap();
        let bytes = encode_header(MARK, Position(9), &summary, &event.body);
        let header = Header::read(&bytes, MARK).unwrap();
        assert_eq!(header.position, Position(9));
        let total = HEADER_BYTES + summary.len() + event.body.len();
        assert_eq!(header.record_bytes(), total as u64);
        let read = decode_summary(&header, &summary).unwrap();
        assert_eq!(read.body_bytes, 100);
        assert_eq!(read.with_body(event.body.clone()), event);

        for at in 0..bytes.len() {
            let mut bad = bytes;
            bad[at] ^= 1;
            assert_eq!(Header::read(&bad, MARK), None, "{at}");
        }
        for at in 0..summary.len() {
            let mut bad = summary.clone();
            bad[at] ^= 0x80;
            assert_eq!(decode_summary(&header, &bad), None, "{at}");
        }
        assert_eq!(Header::read(&bytes, [0; 8]), None, "another segment's");
    }

    #[test]
    fn what_is_too_long_is_no_record() {
        let mut event = event(1, 0);
        event.query = "q".repeat(SUMMARY_BYTES_MAX).into();
        assert_eq!(encode_summary(&event), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            // With a checksum that fits, as a defect of ours would write it.
            let header = Header {
                position: Position(1),
                summary_bytes: u32::try_from(bytes.len()).unwrap(),
                body_bytes: 0,
                summary_crc: crc32fast::hash(&bytes),
                body_crc: 0,
            };
            let _ = decode_summary(&header, &bytes);
        }
    }
}
