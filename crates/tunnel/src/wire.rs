//! Frames as bytes: the header of 8, and the payloads of fixed form.
//!
//! `type u8, flags u8, length u16, stream u32`, big-endian, then `length` bytes.

use crate::code::Code;

/// Bytes of a frame's header.
pub(crate) const HEADER: usize = 8;
/// What a frame carries at most unless HELLO says otherwise; with its header one TLS record.
pub(crate) const FRAME: u32 = 16_376;
/// The longest explanation in RESET, GOAWAY and CUT.
pub(crate) const TEXT: usize = 256;
/// The longest head block, whatever it is cut into.
pub(crate) const BLOCK: usize = 64 << 10;
/// The longest HELLO.
pub(crate) const HELLO: usize = 4 << 10;
/// Bytes of an OPEN before its head block.
pub(crate) const OPEN_PREFIX: usize = 8;

/// This direction is finished.
pub(crate) const END: u8 = 1;
/// The block goes on in the next frame.
pub(crate) const MORE: u8 = 2;
/// The block of a HEAD begins with extensions; counts in its first frame.
pub(crate) const EXTENDED: u8 = 4;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameType {
    Hello,
    Open,
    Accept,
    Head,
    Data,
    Credit,
    Reset,
    Ping,
    Pong,
    GoAway,
    Cut,
    /// 128 or more and unknown: its payload is skipped.
    Ignored,
}

impl FrameType {
    const fn from_wire(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::Hello,
            2 => Self::Open,
            3 => Self::Accept,
            4 => Self::Head,
            5 => Self::Data,
            6 => Self::Credit,
            7 => Self::Reset,
            8 => Self::Ping,
            9 => Self::Pong,
            10 => Self::GoAway,
            11 => Self::Cut,
            128.. => Self::Ignored,
            _ => return None,
        })
    }

    const fn to_wire(self) -> u8 {
        match self {
            Self::Hello => 1,
            Self::Open => 2,
            Self::Accept => 3,
            Self::Head => 4,
            Self::Data => 5,
            Self::Credit => 6,
            Self::Reset => 7,
            Self::Ping => 8,
            Self::Pong => 9,
            Self::GoAway => 10,
            Self::Cut => 11,
            Self::Ignored => 128,
        }
    }

    /// Lengths that a payload may have, the frame limit aside.
    const fn lengths(self) -> (usize, usize) {
        match self {
            Self::Hello => (0, HELLO),
            Self::Open => (0, usize::MAX),
            Self::Accept => (4, 4),
            Self::Head | Self::Data | Self::Ignored => (0, usize::MAX),
            Self::Credit | Self::Ping | Self::Pong => (8, 8),
            Self::Reset => (4, 4 + TEXT),
            Self::GoAway => (12, 12 + TEXT),
            Self::Cut => (2, 2 + TEXT),
        }
    }

    /// Whether the frame is the connection's (true), a stream's (false), or either's (`None`).
    const fn on_connection(self) -> Option<bool> {
        match self {
            Self::Hello | Self::Ping | Self::Pong | Self::GoAway | Self::Cut => Some(true),
            Self::Open | Self::Accept | Self::Head | Self::Data | Self::Reset => Some(false),
            Self::Credit | Self::Ignored => None,
        }
    }
}

/// A peer broke the protocol: the connection ends with this code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) code: Code,
    pub(crate) text: &'static str,
}

impl Violation {
    pub(crate) const fn new(code: Code, text: &'static str) -> Self {
        Self { code, text }
    }
}

/// A frame's first 8 bytes, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: FrameType,
    pub(crate) flags: u8,
    pub(crate) length: u16,
    pub(crate) stream: u32,
}

impl Header {
    /// Checks everything that can be known before a byte of the payload is kept.
    pub(crate) fn parse(bytes: [u8; HEADER], frame_max: u32) -> Result<Self, Violation> {
        let [kind, flags, l0, l1, s0, s1, s2, s3] = bytes;
        let length = u16::from_be_bytes([l0, l1]);
        let stream = u32::from_be_bytes([s0, s1, s2, s3]);
        let protocol = |text| Violation::new(Code::Protocol, text);
        let kind = FrameType::from_wire(kind).ok_or_else(|| protocol("unknown frame type"))?;
        let (least, most) = kind.lengths();
        let size = usize::from(length);
        if u32::from(length) > frame_max || size < least || size > most {
            return Err(Violation::new(Code::FrameSize, "frame length"));
        }
        if kind.on_connection().is_some_and(|connection| connection != (stream == 0)) {
            return Err(protocol("frame on the wrong stream"));
        }
        if stream > MAX_STREAM {
            return Err(protocol("stream id too large"));
        }
        Ok(Self { kind, flags, length, stream })
    }

    pub(crate) const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// The largest stream id; who reaches it needs a new connection.
pub(crate) const MAX_STREAM: u32 = (1 << 31) - 1;

/// The bytes of a header.
pub(crate) fn header(kind: FrameType, flags: u8, length: usize, stream: u32) -> [u8; HEADER] {
    let length = u16::try_from(length).expect("no frame is longer than 65,528");
    let (l, s) = (length.to_be_bytes(), stream.to_be_bytes());
    [kind.to_wire(), flags, l[0], l[1], s[0], s[1], s[2], s[3]]
}

/// Reads big-endian numbers and the rest off the front of a payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(front)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }
}

/// An explanation from the peer, fit for a log: control characters removed.
pub(crate) fn text(bytes: &[u8]) -> Box<str> {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT)]);
    text.chars().filter(|c| !c.is_control()).collect()
}

/// The longest prefix of a text that fits into a frame.
pub(crate) fn fitting(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_checked_before_anything_is_kept() {
        let parse = |bytes| Header::parse(bytes, FRAME).map(|header| header.kind);
        let (size, protocol) = (Err(Code::FrameSize), Err(Code::Protocol));
        let table: [([u8; 8], Result<FrameType, Code>); 13] = [
            ([5, 0, 0x3f, 0xf8, 0, 0, 0, 2], Ok(FrameType::Data)),
            ([5, 0, 0x3f, 0xf9, 0, 0, 0, 2], size),
            ([5, 0, 0, 1, 0, 0, 0, 0], protocol),
            ([5, 0, 0, 1, 0x80, 0, 0, 0], protocol),
            ([0, 0, 0, 1, 0, 0, 0, 0], protocol),
            ([12, 0, 0, 1, 0, 0, 0, 0], protocol),
            ([127, 0, 0, 1, 0, 0, 0, 0], protocol),
            ([200, 0xff, 0, 1, 0, 0, 0, 9], Ok(FrameType::Ignored)),
            ([8, 0, 0, 8, 0, 0, 0, 0], Ok(FrameType::Ping)),
            ([8, 0, 0, 7, 0, 0, 0, 0], size),
            ([8, 0, 0, 8, 0, 0, 0, 1], protocol),
            ([6, 0, 0, 8, 0, 0, 0, 0], Ok(FrameType::Credit)),
            ([7, 0, 1, 5, 0, 0, 0, 1], size),
        ];
        for (bytes, expected) in table {
            assert_eq!(parse(bytes).map_err(|found| found.code), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_header_is_what_was_written() {
        let bytes = header(FrameType::Open, END | MORE, 513, 0x0102_0304);
        assert_eq!(bytes, [2, 3, 2, 1, 1, 2, 3, 4]);
        let header = Header::parse(bytes, FRAME).unwrap();
        assert_eq!((header.length, header.stream), (513, 0x0102_0304));
        assert!(header.has(END) && header.has(MORE));
    }

    #[test]
    fn explanations_carry_no_control_characters() {
        assert_eq!(&*text(b"a\x1b[31m\nb\xff"), "a[31mb\u{fffd}");
        assert_eq!(fitting(&"ä".repeat(200)).len(), 256);
        assert_eq!(fitting(&format!("x{}", "ä".repeat(200))).len(), 255);
    }
}
