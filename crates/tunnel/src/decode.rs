//! Bytes to frames, however they are cut. DATA is passed on as it comes; other payloads are
//! collected, which needs at most one frame of memory.

use bytes::{Buf, Bytes, BytesMut};

use crate::wire::{FrameType, HEADER, Header, Violation};

/// A piece of what the peer sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A whole frame, not DATA.
    Frame(Header, Bytes),
    /// A DATA frame begins.
    DataBegins(Header),
    /// The next bytes of the DATA frame that began.
    Data(Bytes),
}

#[derive(Clone, Copy, Debug)]
enum State {
    Header,
    Payload(Header),
    /// Of a DATA frame; so many bytes are missing.
    Data(usize),
    /// Of an ignored frame; so many bytes are missing.
    Skip(usize),
}

/// Turns bytes into pieces.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    /// A header, or a payload that is collected.
    partial: BytesMut,
    frame_max: u32,
}

impl Decoder {
    pub(crate) fn new(frame_max: u32) -> Self {
        Self { state: State::Header, partial: BytesMut::new(), frame_max }
    }

    /// The next piece; `None` when `input` is used up.
    pub(crate) fn next(&mut self, input: &mut Bytes) -> Result<Option<Piece>, Violation> {
        loop {
            match self.state {
                State::Header => {
                    let Some(bytes) = self.header(input) else { return Ok(None) };
                    let header = Header::parse(bytes, self.frame_max)?;
                    let length = usize::from(header.length);
                    match header.kind {
                        FrameType::Data => {
                            self.state = Self::data(length);
                            return Ok(Some(Piece::DataBegins(header)));
                        }
                        FrameType::Ignored => self.state = State::Skip(length),
                        _ => self.state = State::Payload(header),
                    }
                }
                State::Payload(header) => {
                    let payload = self.collect(input, usize::from(header.length));
                    return Ok(payload.map(|payload| {
                        self.state = State::Header;
                        Piece::Frame(header, payload)
                    }));
                }
                State::Data(left) if input.is_empty() => {
                    self.state = State::Data(left);
                    return Ok(None);
                }
                State::Data(left) => {
                    let bytes = input.split_to(left.min(input.len()));
                    self.state = Self::data(left - bytes.len());
                    return Ok(Some(Piece::Data(bytes)));
                }
                State::Skip(left) => {
                    let skipped = left.min(input.len());
                    input.advance(skipped);
                    if skipped < left {
                        self.state = State::Skip(left - skipped);
                        return Ok(None);
                    }
                    self.state = State::Header;
                }
            }
        }
    }

    /// Payloads may be of this length from the next frame on.
    pub(crate) fn set_frame_max(&mut self, frame_max: u32) {
        self.frame_max = frame_max;
    }

    /// Bytes that are held for a frame that is not whole.
    pub(crate) fn memory(&self) -> usize {
        self.partial.capacity()
    }

    const fn data(left: usize) -> State {
        if left == 0 { State::Header } else { State::Data(left) }
    }

    fn header(&mut self, input: &mut Bytes) -> Option<[u8; HEADER]> {
        if self.partial.is_empty()
            && let Some(bytes) = input.first_chunk::<HEADER>().copied()
        {
            input.advance(HEADER);
            return Some(bytes);
        }
        let bytes = self.collect(input, HEADER)?;
        bytes.first_chunk().copied()
    }

    /// Takes `length` bytes once they are there; keeps what is there until then.
    fn collect(&mut self, input: &mut Bytes, length: usize) -> Option<Bytes> {
        if self.partial.is_empty() && input.len() >= length {
            return Some(input.split_to(length));
        }
        if self.partial.capacity() < length {
            self.partial.reserve(length - self.partial.len());
        }
        let part = input.split_to((length - self.partial.len()).min(input.len()));
        self.partial.extend_from_slice(&part);
        (self.partial.len() == length).then(|| std::mem::take(&mut self.partial).freeze())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::code::Code;
    use crate::wire::{self, END, FRAME};

    fn pieces(bytes: &[u8], cuts: &[usize]) -> Result<Vec<Piece>, Code> {
        let mut decoder = Decoder::new(FRAME);
        let mut found = Vec::new();
        let mut rest = Bytes::copy_from_slice(bytes);
        for cut in cuts.iter().copied().chain([usize::MAX]) {
            let mut input = rest.split_to(cut.min(rest.len()));
            while let Some(piece) = decoder.next(&mut input).map_err(|found| found.code)? {
                match (found.last_mut(), piece) {
                    (Some(Piece::Data(before)), Piece::Data(more)) => {
                        *before = [&before[..], &more].concat().into();
                    }
                    (_, piece) => found.push(piece),
                }
            }
            assert!(decoder.memory() <= 2 * FRAME as usize);
        }
        Ok(found)
    }

    proptest! {
        /// P1 for one direction: frames are the same however their bytes are cut.
        #[test]
        fn frames_do_not_depend_on_how_bytes_are_cut(
            frames in prop::collection::vec((0_u8..4, 0_usize..600), 0..12),
            cuts in prop::collection::vec(0_usize..40, 0..200),
        ) {
            let mut bytes = Vec::new();
            for (kind, length) in frames {
                let (kind, length, stream) = match kind {
                    0 => (FrameType::Data, length, 2),
                    1 => (FrameType::Head, length, 4),
                    2 => (FrameType::Ping, 8, 0),
                    _ => (FrameType::Ignored, length, 0),
                };
                bytes.extend(wire::header(kind, END, length, stream));
                bytes.extend(std::iter::repeat_n(b'x', length));
            }
            let whole = pieces(&bytes, &[]);
            prop_assert!(whole.is_ok());
            prop_assert_eq!(pieces(&bytes, &cuts), whole);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..2_000),
            cuts in prop::collection::vec(0_usize..40, 0..50),
        ) {
            let whole = pieces(&bytes, &[]);
            prop_assert_eq!(pieces(&bytes, &cuts).is_ok(), whole.is_ok());
        }
    }
}
