//! The wire format: tagged fields (<https://protobuf.dev/programming-guides/encoding>).

/// Bytes are not a sequence of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// They end within a field.
    #[error("unexpected EOF")]
    Truncated,
    /// A number of more than 64 bits.
    #[error("proto: integer overflow")]
    Overflow,
    /// A field of number 0, or of a number of more than 32 bits.
    #[error("proto: illegal tag")]
    Tag,
    /// A wire type that does not exist, or the end of a group that did not begin.
    #[error("proto: illegal wireType {0}")]
    WireType(u8),
    /// Text that is not UTF-8.
    #[error("proto: invalid UTF-8")]
    Utf8,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field<'a> {
    Varint(u64),
    Fixed,
    Bytes(&'a [u8]),
    Group,
}

/// Numbers and fields of a message, in the order in which they stand. Ends at the first error.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) const fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn field(&mut self) -> Result<(u32, Field<'a>), WireError> {
        let (number, wire_type) = self.tag()?;
        let field = match wire_type {
            3 => {
                self.skip_group()?;
                Field::Group
            }
            other => self.scalar(other)?,
        };
        Ok((number, field))
    }

    fn tag(&mut self) -> Result<(u32, u8), WireError> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number > 0);
        let wire_type = u8::try_from(tag & 7).map_err(|_| WireError::Tag)?;
        Ok((number.ok_or(WireError::Tag)?, wire_type))
    }

    fn scalar(&mut self, wire_type: u8) -> Result<Field<'a>, WireError> {
        Ok(match wire_type {
            0 => Field::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                Field::Fixed
            }
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| WireError::Truncated)?;
                Field::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Field::Fixed
            }
            other => return Err(WireError::WireType(other)),
        })
    }

    /// Goes behind the end of the group that has begun, and of all groups inside.
    fn skip_group(&mut self) -> Result<(), WireError> {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.tag()?.1 {
                3 => depth += 1,
                4 => depth -= 1,
                other => {
                    self.scalar(other)?;
                }
            }
        }
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte, rest @ ..] = self.rest else {
                return Err(WireError::Truncated);
            };
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(WireError::Overflow);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Overflow)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Field<'a>), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<(u32, Field<'_>)>, WireError> {
        Fields::of(bytes).collect()
    }

    #[test]
    fn fields_of_every_wire_type_are_read_or_passed_over() {
        let bytes = [
            0x08, 0x96, 0x01, // 1: 150
            0x12, 0x02, b'h', b'i', // 2: "hi"
            0x19, 1, 2, 3, 4, 5, 6, 7, 8, // 3: fixed64
            0x25, 1, 2, 3, 4, // 4: fixed32
            0x2b, 0x33, 0x08, 0x01, 0x34, 0x2c, // 5: a group with a group in it
            0x30, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, // 6: -1
        ];
        let expected = [
            (1, Field::Varint(150)),
            (2, Field::Bytes(b"hi")),
            (3, Field::Fixed),
            (4, Field::Fixed),
            (5, Field::Group),
            (6, Field::Varint(u64::MAX)),
        ];
        assert_eq!(read(&bytes).unwrap(), expected);
    }

    #[test]
    fn what_is_no_field_is_an_error() {
        for (bytes, error) in [
            (&[0x08][..], WireError::Truncated),
            (&[0x08, 0x80], WireError::Truncated),
            (&[0x12, 0x05, b'x'], WireError::Truncated),
            (&[0x19, 0x00], WireError::Truncated),
            (&[0x0b, 0x08], WireError::Truncated),
            (&[0x00, 0x01], WireError::Tag),
            (&[0x0c], WireError::WireType(4)),
            (&[0x0f], WireError::WireType(7)),
            (&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2], WireError::Overflow),
            (&[255, 255, 255, 255, 255, 255, 255, 255, 255, 1], WireError::Tag),
        ] {
            assert_eq!(read(bytes), Err(error), "{bytes:?}");
        }
    }
}
