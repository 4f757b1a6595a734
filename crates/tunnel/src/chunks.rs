//! Bytes of a stream that wait, in order, without a copy where that is cheap to keep.
//!
//! A slice keeps the whole buffer alive that it was cut from. So what comes from the peer is
//! kept as a slice only if it is a good part of its buffer; else it is copied behind what is
//! there. The memory held is then at most a small multiple of the bytes that wait, whatever a
//! peer cuts them into.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Shorter slices are copied.
const SLICE_MIN: usize = 2 << 10;
/// A slice is at least this part of its buffer: 1 ÷ 4.
const SLICE_PART: usize = 4;
/// A tail is closed at this size.
const TAIL_MAX: usize = 16 << 10;
/// Slices of our own side that may wait before they are copied together.
const OWN_SLICES: usize = 16;

/// A queue of bytes.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    /// What comes next; mostly it is all there is.
    front: Bytes,
    /// Behind it; none while nothing is.
    behind: Option<Box<Behind>>,
    length: usize,
}

#[derive(Debug, Default)]
struct Behind {
    queue: VecDeque<Bytes>,
    /// Copied bytes, behind the queue.
    tail: BytesMut,
}

impl Chunks {
    pub(crate) const fn len(&self) -> usize {
        self.length
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Appends what was cut from a buffer of `region` bytes.
    pub(crate) fn push_received(&mut self, bytes: Bytes, region: usize) {
        let slice = bytes.len() >= SLICE_MIN && bytes.len() * SLICE_PART >= region;
        self.push(bytes, slice);
    }

    /// Appends what the application gave.
    pub(crate) fn push_own(&mut self, bytes: Bytes) {
        let waits = self.behind.as_ref().map_or(0, |behind| behind.queue.len());
        let slice = bytes.len() >= SLICE_MIN || waits < OWN_SLICES;
        self.push(bytes, slice);
    }

    fn push(&mut self, bytes: Bytes, slice: bool) {
        let first = self.is_empty();
        self.length += bytes.len();
        match (first, slice) {
            (true, true) => self.front = bytes,
            (true, false) => self.front = Bytes::copy_from_slice(&bytes),
            (false, _) => self.behind.get_or_insert_default().push(bytes, slice),
        }
    }

    /// Takes at most `most` bytes, as many as lie together.
    pub(crate) fn pop(&mut self, most: usize) -> Option<Bytes> {
        if self.is_empty() {
            return None;
        }
        let bytes = if self.front.len() > most {
            self.front.split_to(most)
        } else {
            let next = self.behind.as_mut().and_then(|behind| behind.pop());
            if next.is_none() {
                self.behind = None;
            }
            std::mem::replace(&mut self.front, next.unwrap_or_default())
        };
        self.length -= bytes.len();
        Some(bytes)
    }

    /// Drops everything; returns how much it was.
    pub(crate) fn clear(&mut self) -> usize {
        std::mem::take(self).length
    }

    /// Bytes that are held, at most: what waits is counted with what it may keep alive.
    pub(crate) fn memory(&self) -> usize {
        self.front.len() * SLICE_PART + self.behind.as_ref().map_or(0, |behind| behind.memory())
    }
}

impl Behind {
    fn push(&mut self, bytes: Bytes, slice: bool) {
        if slice {
            self.close_tail();
            self.queue.push_back(bytes);
            return;
        }
        if self.tail.len() + bytes.len() > TAIL_MAX {
            self.close_tail();
        }
        self.tail.extend_from_slice(&bytes);
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.queue.push_back(std::mem::take(&mut self.tail).freeze());
        }
    }

    fn pop(&mut self) -> Option<Bytes> {
        if self.queue.is_empty() {
            self.close_tail();
        }
        self.queue.pop_front()
    }

    fn memory(&self) -> usize {
        let slices: usize = self.queue.iter().map(Bytes::len).sum();
        let queue = self.queue.capacity() * size_of::<Bytes>();
        size_of::<Self>() + queue + slices * SLICE_PART + self.tail.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(chunks: &mut Chunks, most: usize) -> Vec<u8> {
        std::iter::from_fn(|| chunks.pop(most)).flatten().collect()
    }

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let mut chunks = Chunks::default();
        let mut all = Vec::new();
        for (at, length) in [1, 5_000, 3, 20_000, 40, 16_000, 800].into_iter().enumerate() {
            let bytes = Bytes::from(vec![u8::try_from(at).unwrap(); length]);
            all.extend_from_slice(&bytes);
            chunks.push_received(bytes, 16 << 10);
        }
        assert_eq!(chunks.len(), all.len());
        assert_eq!(drained(&mut chunks, 700), all);
        assert!(chunks.is_empty() && chunks.memory() == 0);
    }

    #[test]
    fn crumbs_do_not_keep_their_buffers() {
        let mut chunks = Chunks::default();
        for _ in 0..32 << 10 {
            let buffer = Bytes::from(vec![1; 64 << 10]);
            chunks.push_received(buffer.slice(..1), buffer.len());
        }
        assert_eq!(chunks.len(), 32 << 10);
        assert!(chunks.memory() < 4 * chunks.len() + 1_024, "{}", chunks.memory());
    }

    #[test]
    fn a_large_part_of_a_buffer_is_not_copied() {
        let buffer = Bytes::from(vec![1; 16 << 10]);
        let mut chunks = Chunks::default();
        chunks.push_received(buffer.clone(), buffer.len());
        assert_eq!(chunks.pop(usize::MAX).unwrap().as_ptr(), buffer.as_ptr());
    }

    #[test]
    fn many_small_writes_are_put_together() {
        let mut chunks = Chunks::default();
        for _ in 0..1_000 {
            chunks.push_own(Bytes::from_static(b"x"));
        }
        let behind = chunks.behind.as_ref().map_or(0, |behind| behind.queue.len());
        assert!(behind <= OWN_SLICES && chunks.memory() < 4_096);
        assert_eq!(drained(&mut chunks, 10), [b'x'; 1_000]);
    }
}
