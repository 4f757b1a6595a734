//! What is to be written: frames as a list of slices, for one vectored write.
//!
//! Headers and short payloads are put together in a buffer that is used again; long payloads
//! stay where they are.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// Shorter payloads are copied.
const COPIED: usize = 1 << 10;
/// Room for copies that is made at a time: for 500 headers, so that most frames need none.
const TAIL: usize = 4 << 10;

/// A batch of frames. Read it as a [`Buf`]; fill it again at any time.
#[derive(Debug)]
pub struct Out {
    slices: VecDeque<Bytes>,
    /// Copied bytes, behind the slices.
    tail: BytesMut,
    length: usize,
    limit: usize,
}

impl Out {
    /// The smallest limit: the largest frame fits.
    pub const LIMIT_MIN: usize = 64 << 10;

    /// An empty batch that is filled up to `limit` bytes, at least [`Self::LIMIT_MIN`].
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let limit = limit.max(Self::LIMIT_MIN);
        Self { slices: VecDeque::new(), tail: BytesMut::new(), length: 0, limit }
    }

    /// Bytes that fit.
    pub(crate) const fn room(&self) -> usize {
        self.limit.saturating_sub(self.length)
    }

    pub(crate) fn put_slice(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        if self.tail.capacity() - self.tail.len() < bytes.len() {
            self.tail.reserve(bytes.len().max(TAIL));
        }
        self.tail.extend_from_slice(bytes);
    }

    pub(crate) fn put(&mut self, bytes: Bytes) {
        if bytes.len() < COPIED {
            return self.put_slice(&bytes);
        }
        self.length += bytes.len();
        if !self.tail.is_empty() {
            let tail = self.tail.split().freeze();
            self.slices.push_back(tail);
        }
        self.slices.push_back(bytes);
    }
}

impl Buf for Out {
    fn remaining(&self) -> usize {
        self.length
    }

    fn chunk(&self) -> &[u8] {
        self.slices.front().map_or(&self.tail, |slice| slice)
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let tail = Some(&self.tail[..]).filter(|tail| !tail.is_empty());
        let all = self.slices.iter().map(|slice| &slice[..]).chain(tail);
        let mut count = 0;
        for (slot, slice) in into.iter_mut().zip(all) {
            *slot = IoSlice::new(slice);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.length, "no more is written than there is");
        self.length -= count;
        while let Some(front) = self.slices.front_mut() {
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.slices.pop_front();
        }
        self.tail.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_and_copies_keep_their_order() {
        let long = Bytes::from(vec![b'l'; COPIED]);
        for step in [1, 7, 1_000, 5_000] {
            let mut out = Out::new(0);
            let mut expected = Vec::new();
            for part in [&b"a"[..], &long, b"b", b"c", &long, &long, b"d"] {
                out.put(Bytes::copy_from_slice(part));
                expected.extend_from_slice(part);
            }
            assert_eq!(out.room(), Out::LIMIT_MIN - expected.len());
            let mut found = Vec::new();
            while out.has_remaining() {
                let mut slots = [IoSlice::new(&[]); 8];
                let count = out.chunks_vectored(&mut slots);
                assert_eq!(
                    slots[..count].iter().map(|slot| slot.len()).sum::<usize>(),
                    out.remaining()
                );
                let take = step.min(out.chunk().len());
                found.extend_from_slice(&out.chunk()[..take]);
                out.advance(take);
            }
            assert_eq!(found, expected);
        }
    }
}
