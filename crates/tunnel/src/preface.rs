//! The first 16 bytes of each side: what is spoken, and in which version.
//!
//! `89 "STRAIT" 0A`, u16 lowest version, u16 highest, u32 zero. The acceptor answers with its
//! choice in both, or with zeros and its own range in the last four bytes.

use bytes::Buf;

/// Bytes of a preface.
pub(crate) const LENGTH: usize = 16;
const MAGIC: [u8; 8] = *b"\x89STRAIT\n";

/// Versions that an endpoint speaks, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// At least 1.
    pub lowest: u16,
    /// At least `lowest`.
    pub highest: u16,
}

impl Versions {
    /// What this crate speaks.
    pub const SPOKEN: Self = Self { lowest: 1, highest: 1 };

    /// The highest that both speak.
    #[must_use]
    pub fn common(self, other: Self) -> Option<u16> {
        let highest = self.highest.min(other.highest);
        (highest >= self.lowest.max(other.lowest) && highest > 0).then_some(highest)
    }
}

/// What a preface says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preface {
    /// An offer, or the acceptor's choice where both are equal.
    Versions(Versions),
    /// The acceptor speaks none of what was offered, but these.
    Refusal(Versions),
}

impl Preface {
    pub(crate) fn encode(self) -> [u8; LENGTH] {
        let (front, back) = match self {
            Self::Versions(versions) => (versions, Versions { lowest: 0, highest: 0 }),
            Self::Refusal(versions) => (Versions { lowest: 0, highest: 0 }, versions),
        };
        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(&MAGIC);
        for (at, value) in
            (8..).step_by(2).zip([front.lowest, front.highest, back.lowest, back.highest])
        {
            bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
        }
        bytes
    }

    /// `None`: not a preface.
    fn decode(bytes: [u8; LENGTH]) -> Option<Self> {
        let mut rest = &bytes[8..];
        let mut pair = || Versions { lowest: rest.get_u16(), highest: rest.get_u16() };
        let (front, back) = (pair(), pair());
        let none = Versions { lowest: 0, highest: 0 };
        let range = |versions: Versions| versions.lowest > 0 && versions.lowest <= versions.highest;
        if bytes[..8] != MAGIC {
            None
        } else if range(front) && back == none {
            Some(Self::Versions(front))
        } else if front == none && range(back) {
            Some(Self::Refusal(back))
        } else {
            None
        }
    }
}

/// Collects a preface that comes in pieces.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Collector {
    bytes: [u8; LENGTH],
    have: usize,
}

/// What is known so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    More,
    Done(Preface),
    /// The peer speaks something else.
    Foreign,
}

impl Collector {
    /// Takes what it needs off the front; tells a foreigner by its first wrong byte.
    pub(crate) fn feed(&mut self, input: &mut impl Buf) -> Progress {
        let take = input.remaining().min(LENGTH - self.have);
        input.copy_to_slice(&mut self.bytes[self.have..self.have + take]);
        self.have += take;
        let known = self.have.min(MAGIC.len());
        if self.bytes[..known] != MAGIC[..known] {
            Progress::Foreign
        } else if self.have < LENGTH {
            Progress::More
        } else {
            Preface::decode(self.bytes).map_or(Progress::Foreign, Progress::Done)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn range(lowest: u16, highest: u16) -> Versions {
        Versions { lowest, highest }
    }

    #[test]
    fn the_highest_common_version_is_chosen() {
        let table = [
            ((1, 1), (1, 1), Some(1)),
            ((1, 3), (2, 5), Some(3)),
            ((2, 5), (1, 3), Some(3)),
            ((1, 1), (2, 3), None),
            ((4, 5), (2, 3), None),
        ];
        for ((a, b), (c, d), expected) in table {
            assert_eq!(range(a, b).common(range(c, d)), expected);
        }
    }

    #[test]
    fn a_preface_may_come_in_pieces() {
        for preface in [Preface::Versions(range(1, 3)), Preface::Refusal(range(2, 9))] {
            for cut in 0..LENGTH {
                let bytes = preface.encode();
                let mut collector = Collector::default();
                assert_eq!(collector.feed(&mut &bytes[..cut]), Progress::More);
                assert_eq!(collector.feed(&mut &bytes[cut..]), Progress::Done(preface));
            }
        }
    }

    #[test]
    fn foreigners_are_known_by_their_first_wrong_byte() {
        let table: [&[u8]; 4] = [
            b"G",
            b"\x89STRAIT\r",
            b"\x89STRAIT\n\0\x02\0\x01\0\0\0\0",
            b"\x89STRAIT\n\0\0\0\0\0\0\0\0",
        ];
        for bytes in table {
            assert_eq!(Collector::default().feed(&mut &bytes[..]), Progress::Foreign);
        }
    }

    #[test]
    fn what_follows_a_preface_is_left() {
        let mut bytes = Preface::Versions(range(1, 1)).encode().to_vec();
        bytes.extend_from_slice(b"rest");
        let mut input = &bytes[..];
        let done = Progress::Done(Preface::Versions(range(1, 1)));
        assert_eq!(Collector::default().feed(&mut input), done);
        assert_eq!(input, b"rest");
    }
}
