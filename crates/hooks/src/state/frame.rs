//! One change as bytes: all alike in length, so that a damaged one is stepped over.

use jiff::Timestamp;

use super::{Backend, Became, Change};
use crate::event::Position;
use crate::schedule::{Outcome, Reason};

/// Bytes of a frame, in order: CRC-32 of the rest (4), kind (1), outcome or reason (1), status
/// (2), attempts (4), backend (8), position (8), and a time in milliseconds since 1970 or
/// another position (8). Little-endian.
pub(super) const FRAME_BYTES: usize = 36;

pub(super) type FrameBytes = [u8; FRAME_BYTES];

/// The form of the file, which its first frame tells.
const VERSION: u64 = 1;

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Frame {
    /// The file is one of ours, in this form or in another.
    Header { ours: bool },
    /// Something changed.
    Change(Change),
    /// All of these are as said, which is `Delivered`, `Unwanted` or `Purged`.
    Run { backend: Backend, first: Position, last: Position, became: Became },
    /// Those of a word of [`Marks`](super::marks::Marks) that are set are unwanted, as settled ones.
    Unwanted { backend: Backend, word: u64, bits: u32 },
    /// All of these are settled, and were never the backend's.
    Absent { backend: Backend, first: Position, last: Position },
}

impl Frame {
    pub(super) const HEADER: Self = Self::Header { ours: true };

    pub(super) fn encode(self) -> FrameBytes {
        Fields::of(self).write()
    }

    /// None if it is damaged.
    pub(super) fn decode(bytes: &FrameBytes) -> Option<Self> {
        Fields::read(bytes)?.frame()
    }
}

#[derive(Default)]
struct Fields {
    kind: u8,
    detail: u8,
    status: u16,
    attempts: u32,
    backend: u64,
    position: u64,
    extra: u64,
}

const HEADER: u8 = 1;
const ADDED: u8 = 2;
const REMOVED: u8 = 3;
const FORGOTTEN: u8 = 4;
const WAITING: u8 = 5;
const DELIVERED: u8 = 6;
const DEAD: u8 = 7;
const PURGED: u8 = 8;

/// Details of a delivered run: it is unwanted; it is empty, and the attempts are bits of the word
/// whose number is the position; it was never the backend's. A version that knows none of them
/// reads a delivered run, an empty one, and a delivered one.
const UNWANTED: u8 = 1;
const UNWANTED_BITS: u8 = 2;
const ABSENT: u8 = 3;

/// Details of a dead letter: a reason that stands alone, or this and an outcome.
const REJECTED: u8 = 16;
const REDIRECTED: u8 = 17;
const UNUSABLE: u8 = 18;
const TOO_OLD: u8 = 32;

impl Fields {
    fn of(frame: Frame) -> Self {
        match frame {
            Frame::Header { ours } => {
                let position = if ours { VERSION } else { 0 };
                Self { kind: HEADER, position, ..Self::default() }
            }
            Frame::Change(Change::Added { backend, from }) => {
                Self { kind: ADDED, backend: backend.0, position: from.0, ..Self::default() }
            }
            Frame::Change(Change::Removed { backend }) => {
                Self { kind: REMOVED, backend: backend.0, ..Self::default() }
            }
            Frame::Change(Change::Forgotten { before }) => {
                Self { kind: FORGOTTEN, position: before.0, ..Self::default() }
            }
            Frame::Change(Change::Became { backend, position, became }) => {
                Self::of_became(backend, position, position, became)
            }
            Frame::Change(Change::Unwanted { backend, first, last }) => {
                Self::of_became(backend, first, last, Became::Unwanted)
            }
            Frame::Unwanted { backend, word, bits } => Self {
                kind: DELIVERED,
                detail: UNWANTED_BITS,
                attempts: bits,
                backend: backend.0,
                position: word,
                ..Self::default()
            },
            Frame::Absent { backend, first, last } => {
                Self { detail: ABSENT, ..Self::of_became(backend, first, last, Became::Delivered) }
            }
            Frame::Run { backend, first, last, became } => {
                Self::of_became(backend, first, last, became)
            }
        }
    }

    fn of_became(backend: Backend, first: Position, last: Position, became: Became) -> Self {
        let mut fields =
            Self { backend: backend.0, position: first.0, extra: last.0, ..Self::default() };
        match became {
            Became::Waiting { attempts, last, until } => {
                fields.kind = WAITING;
                fields.attempts = attempts;
                (fields.detail, fields.status) = last.map_or((0, 0), outcome_code);
                fields.extra = until.as_millisecond().cast_unsigned();
            }
            Became::Delivered => fields.kind = DELIVERED,
            Became::Unwanted => (fields.kind, fields.detail) = (DELIVERED, UNWANTED),
            Became::Purged => fields.kind = PURGED,
            Became::Dead { attempts, reason, at } => {
                fields.kind = DEAD;
                fields.attempts = attempts;
                (fields.detail, fields.status) = match reason {
                    Reason::Rejected(status) => (REJECTED, status),
                    Reason::Redirected(status) => (REDIRECTED, status),
                    Reason::Unusable => (UNUSABLE, 0),
                    Reason::TooOld(outcome) => {
                        let (code, status) = outcome_code(outcome);
                        (TOO_OLD + code, status)
                    }
                };
                fields.extra = at.as_millisecond().cast_unsigned();
            }
        }
        fields
    }

    fn frame(&self) -> Option<Frame> {
        let backend = Backend(self.backend);
        let position = Position(self.position);
        let time = || Timestamp::from_millisecond(self.extra.cast_signed()).ok();
        let became = match self.kind {
            HEADER => return Some(Frame::Header { ours: self.position == VERSION }),
            ADDED => return Some(Frame::Change(Change::Added { backend, from: position })),
            REMOVED => return Some(Frame::Change(Change::Removed { backend })),
            FORGOTTEN => return Some(Frame::Change(Change::Forgotten { before: position })),
            WAITING => {
                let last = match self.detail {
                    0 => None,
                    code => Some(outcome(code, self.status)?),
                };
                Became::Waiting { attempts: self.attempts, last, until: time()? }
            }
            DEAD => {
                let reason = match self.detail {
                    REJECTED => Reason::Rejected(self.status),
                    REDIRECTED => Reason::Redirected(self.status),
                    UNUSABLE => Reason::Unusable,
                    code => Reason::TooOld(outcome(code.checked_sub(TOO_OLD)?, self.status)?),
                };
                Became::Dead { attempts: self.attempts, reason, at: time()? }
            }
            DELIVERED if self.detail == UNWANTED_BITS => {
                return Some(Frame::Unwanted { backend, word: self.position, bits: self.attempts });
            }
            DELIVERED if self.detail == ABSENT => {
                let (first, last) = (position, Position(self.extra));
                return Some(Frame::Absent { backend, first, last });
            }
            DELIVERED | PURGED => {
                let became = match (self.kind, self.detail) {
                    (PURGED, _) => Became::Purged,
                    (_, UNWANTED) => Became::Unwanted,
                    _ => Became::Delivered,
                };
                let last = Position(self.extra);
                return Some(if last == position {
                    Frame::Change(Change::Became { backend, position, became })
                } else {
                    Frame::Run { backend, first: position, last, became }
                });
            }
            _ => return None,
        };
        Some(Frame::Change(Change::Became { backend, position, became }))
    }

    fn write(&self) -> FrameBytes {
        let mut bytes = [0; FRAME_BYTES];
        bytes[4] = self.kind;
        bytes[5] = self.detail;
        bytes[6..8].copy_from_slice(&self.status.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.attempts.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.backend.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.position.to_le_bytes());
        bytes[28..].copy_from_slice(&self.extra.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[4..]);
        bytes[..4].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn read(bytes: &FrameBytes) -> Option<Self> {
        let checksum = u32::from_le_bytes(part(bytes, 0));
        (checksum == crc32fast::hash(&bytes[4..])).then(|| Self {
            kind: bytes[4],
            detail: bytes[5],
            status: u16::from_le_bytes(part(bytes, 6)),
            attempts: u32::from_le_bytes(part(bytes, 8)),
            backend: u64::from_le_bytes(part(bytes, 12)),
            position: u64::from_le_bytes(part(bytes, 20)),
            extra: u64::from_le_bytes(part(bytes, 28)),
        })
    }
}

fn part<const N: usize>(bytes: &FrameBytes, at: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes[at + index])
}

const fn outcome_code(outcome: Outcome) -> (u8, u16) {
    match outcome {
        Outcome::Status(status) => (1, status),
        Outcome::TimedOut => (2, 0),
        Outcome::Refused => (3, 0),
        Outcome::Broken => (4, 0),
        Outcome::Forbidden => (5, 0),
        Outcome::NoToken => (6, 0),
        Outcome::TokenRefused => (7, 0),
    }
}

const fn outcome(code: u8, status: u16) -> Option<Outcome> {
    Some(match code {
        1 => Outcome::Status(status),
        2 => Outcome::TimedOut,
        3 => Outcome::Refused,
        4 => Outcome::Broken,
        5 => Outcome::Forbidden,
        6 => Outcome::NoToken,
        7 => Outcome::TokenRefused,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::state::testing::changes;

    #[test]
    fn every_change_comes_back_and_no_flipped_bit_passes() {
        let runs = [Became::Delivered, Became::Unwanted, Became::Purged].map(|became| Frame::Run {
            backend: Backend::of("a"),
            first: Position(1),
            last: Position(u64::MAX),
            became,
        });
        let backend = Backend::of("a");
        let words =
            [(0, 1), (7, u32::MAX)].map(|(word, bits)| Frame::Unwanted { backend, word, bits });
        let absent = [(1, 1), (1, u64::MAX)].map(|(first, last)| {
            let (first, last) = (Position(first), Position(last));
            Frame::Absent { backend, first, last }
        });
        let frames = changes().into_iter().map(Frame::Change).chain(runs).chain(words);
        for frame in frames.chain(absent).chain([Frame::HEADER, Frame::Header { ours: false }]) {
            let bytes = frame.encode();
            assert_eq!(Frame::decode(&bytes), Some(frame));
            for bit in 0..FRAME_BYTES * 8 {
                let mut flipped = bytes;
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Frame::decode(&flipped), None, "{frame:?} {bit}");
            }
        }
        assert_eq!(Frame::decode(&[0; FRAME_BYTES]), None);
    }

    /// An older version looks neither at the detail of a delivered run nor at its attempts.
    #[test]
    fn an_older_version_takes_what_is_unwanted_or_absent_for_delivered() {
        let (backend, first, last) = (Backend::of("a"), Position(33), Position(70));
        let run = |last, became| Frame::Run { backend, first, last, became };
        for (frame, expected) in [
            (run(last, Became::Unwanted), run(last, Became::Delivered)),
            // Of nothing: what is unwanted is in a run that is settled.
            (Frame::Unwanted { backend, word: 33, bits: 7 }, run(Position(0), Became::Delivered)),
            (Frame::Absent { backend, first, last }, run(last, Became::Delivered)),
        ] {
            let seen = Fields { detail: 0, attempts: 0, ..Fields::of(frame) };
            assert_eq!(seen.frame(), Some(expected), "{frame:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(mut bytes: [u8; 32], right: bool) {
            let mut frame = [0; FRAME_BYTES];
            bytes[0] %= 10;
            bytes[1] %= 40;
            frame[4..].copy_from_slice(&bytes);
            let checksum = crc32fast::hash(&bytes);
            frame[..4].copy_from_slice(&if right { checksum } else { 0 }.to_le_bytes());
            let _ = Frame::decode(&frame);
        }
    }
}
