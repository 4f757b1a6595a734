//! Type, length, value: what HELLO and OPEN are extended with.
//!
//! `u16 type, u16 length, value`. An odd type must be understood, an even one may be ignored; a
//! type appears once.

use bytes::BufMut;

use crate::wire::Reader;

/// A list of TLVs breaks the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TlvError {
    #[error("a TLV is cut short")]
    Short,
    #[error("TLV {0} appears twice")]
    Twice(u16),
    #[error("TLV {0} is mandatory and unknown")]
    Mandatory(u16),
    #[error("TLV {0} has a value that it cannot have")]
    Value(u16),
}

/// At most this many in one list: more than there will ever be, and a bound on the check for
/// repetitions.
const COUNT: usize = 64;

/// Calls `each` for every TLV; it answers whether it knows the type, or that the value is wrong.
pub(crate) fn read<'a>(
    bytes: &'a [u8],
    mut each: impl FnMut(u16, &'a [u8]) -> Result<bool, ()>,
) -> Result<(), TlvError> {
    let mut seen = [0_u16; COUNT];
    let mut count = 0;
    let mut rest = Reader(bytes);
    while !rest.0.is_empty() {
        let (kind, value) = next(&mut rest).ok_or(TlvError::Short)?;
        if count == COUNT || seen[..count].contains(&kind) {
            return Err(TlvError::Twice(kind));
        }
        seen[count] = kind;
        count += 1;
        let known = each(kind, value).map_err(|()| TlvError::Value(kind))?;
        if !known && kind % 2 == 1 {
            return Err(TlvError::Mandatory(kind));
        }
    }
    Ok(())
}

/// The value of a type in a list that was read before; none where it is not there.
pub(crate) fn find(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = Reader(bytes);
    let mut all = std::iter::from_fn(|| next(&mut rest));
    all.find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// Takes one off the front; none where that is not whole.
fn next<'a>(rest: &mut Reader<'a>) -> Option<(u16, &'a [u8])> {
    let (kind, length) = (rest.u16()?, rest.u16()?);
    Some((kind, rest.take(usize::from(length))?))
}

/// Appends one; `None` if the value is longer than 65,535 bytes.
pub(crate) fn put(out: &mut Vec<u8>, kind: u16, value: &[u8]) -> Option<()> {
    let length = u16::try_from(value.len()).ok()?;
    out.put_u16(kind);
    out.put_u16(length);
    out.put_slice(value);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_types_must_be_known_and_none_may_repeat() {
        let check = |bytes: &[u8]| {
            read(bytes, |kind, value| match kind {
                1 | 2 if value.len() == 1 => Ok(true),
                1 | 2 => Err(()),
                _ => Ok(false),
            })
        };
        let table: [(&[u8], Result<(), TlvError>); 8] = [
            (&[], Ok(())),
            (&[0, 1, 0, 1, 9, 0, 2, 0, 1, 9], Ok(())),
            (&[0, 4, 0, 0], Ok(())),
            (&[0, 5, 0, 0], Err(TlvError::Mandatory(5))),
            (&[0, 1, 0, 1, 9, 0, 1, 0, 1, 9], Err(TlvError::Twice(1))),
            (&[0, 4, 0, 0, 0, 4, 0, 0], Err(TlvError::Twice(4))),
            (&[0, 1, 0, 2, 9], Err(TlvError::Short)),
            (&[0, 1, 0, 0], Err(TlvError::Value(1))),
        ];
        for (bytes, expected) in table {
            assert_eq!(check(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_put_is_read() {
        let mut out = Vec::new();
        put(&mut out, 7, b"abc").unwrap();
        assert_eq!(&out[..], [0, 7, 0, 3, b'a', b'b', b'c']);
        assert_eq!(put(&mut out, 8, &vec![0; 65_536]), None);
    }
}
