//! Responses and trailers.

use bytes::{BufMut, Bytes, BytesMut};

use super::field::{self, Field, Fields};
use super::{HeadError, MAX_BLOCK};

/// Bytes before the fields.
const PREFIX: usize = 2;

/// A response's head: u16 status, fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    block: Bytes,
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
        if !is_status(status) {
            return Err(HeadError::Status);
        }
        Ok(Self { block: encode(status, fields)? })
    }

    pub(crate) fn block(&self) -> &Bytes {
        &self.block
    }

    /// 100–599.
    #[must_use]
    pub fn status(&self) -> u16 {
        u16::from_be_bytes([self.block[0], self.block[1]])
    }

    /// Whether another head follows: 1xx but 101.
    #[must_use]
    pub fn is_informational(&self) -> bool {
        self.status() < 200 && self.status() != 101
    }

    /// In the order of the message.
    #[must_use]
    pub fn fields(&self) -> Fields<'_> {
        Fields::checked(&self.block[PREFIX..])
    }

    /// A part of this head as bytes of its own, without a copy.
    ///
    /// # Panics
    /// If `part` is not of this head.
    #[must_use]
    pub fn bytes_of(&self, part: &[u8]) -> Bytes {
        self.block.slice_ref(part)
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
        Ok(Self { block: encode(0, fields)? })
    }

    pub(crate) fn block(&self) -> &Bytes {
        &self.block
    }

    /// In the order of the message.
    #[must_use]
    pub fn fields(&self) -> Fields<'_> {
        Fields::checked(&self.block[PREFIX..])
    }

    /// A part of these as bytes of its own, without a copy.
    ///
    /// # Panics
    /// If `part` is not of these.
    #[must_use]
    pub fn bytes_of(&self, part: &[u8]) -> Bytes {
        self.block.slice_ref(part)
    }
}

/// What a HEAD frame's block is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    Response(Response),
    Trailers(Trailers),
}

impl Head {
    /// Checks a block from the peer.
    pub(crate) fn parse(block: Bytes) -> Result<Self, HeadError> {
        if block.len() > MAX_BLOCK {
            return Err(HeadError::TooLarge);
        }
        let status = block.first_chunk::<PREFIX>().ok_or(HeadError::Length)?;
        let status = u16::from_be_bytes(*status);
        if status != 0 && !is_status(status) {
            return Err(HeadError::Status);
        }
        field::check(&block[PREFIX..], None)?;
        Ok(match status {
            0 => Self::Trailers(Trailers { block }),
            _ => Self::Response(Response { block }),
        })
    }
}

fn is_status(status: u16) -> bool {
    (100..=599).contains(&status)
}

fn encode<'a>(
    status: u16,
    fields: impl IntoIterator<Item = Field<'a>>,
) -> Result<Bytes, HeadError> {
    let mut out = BytesMut::with_capacity(256);
    out.put_u16(status);
    for (count, one) in fields.into_iter().enumerate() {
        if count == super::MAX_FIELDS {
            return Err(HeadError::TooManyFields);
        }
        field::put(&mut out, one)?;
    }
    Ok(out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Head, HeadError> {
        Head::parse(Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn what_is_made_is_parsed() {
        let fields = [
            Field::new("set-cookie", b"a=1"),
            Field::new("set-cookie", b" b=2\t"),
            Field { name: "x-secret", value: b"\xe4", sensitive: true },
        ];
        let response = Response::new(200, fields).unwrap();
        let Ok(Head::Response(read)) = parse(response.block()) else { panic!() };
        assert_eq!(read.status(), 200);
        let values: Vec<_> = read.fields().map(|field| (field.name, field.value)).collect();
        let expected: [(&str, &[u8]); 3] =
            [("set-cookie", b"a=1"), ("set-cookie", b"b=2"), ("x-secret", b"\xe4")];
        assert_eq!(values, expected);
        assert!(read.fields().last().unwrap().sensitive);
        let value = read.fields().last().unwrap().value;
        assert_eq!(read.bytes_of(value), &b"\xe4"[..]);

        let trailers = Trailers::new([Field::new("grpc-status", b"0")]).unwrap();
        assert_eq!(parse(trailers.block()), Ok(Head::Trailers(trailers)));
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
