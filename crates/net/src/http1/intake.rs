//! What is read of a connection and not taken yet. While nothing comes, nothing is held for it.

use std::future::Future as _;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

/// What is read at once of a quiet connection, bytes: the whole of most answers. It is read into
/// the stack, and kept as long as it came.
const LITTLE: usize = 4 << 10;
/// The same while a connection fills what it is given.
const MUCH: usize = 64 << 10;
/// What has to come at once for that to go on.
const MUCH_LEAST: usize = MUCH / 2;

/// The bytes of a connection that came.
#[derive(Debug, Default)]
pub struct Intake {
    /// Those that were not taken yet.
    pub bytes: BytesMut,
    much: bool,
}

impl Intake {
    /// Reads more, behind what is there; how much, none at the end of the connection.
    ///
    /// # Errors
    /// The connection broke off.
    pub fn poll_read(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.bytes.is_empty() {
            // A slice of it may be in use elsewhere, with all of it.
            self.bytes = BytesMut::new();
        }
        let read = if self.much { self.fill(io, context) } else { self.sip(io, context) };
        if let Poll::Ready(Ok(count)) = read {
            self.much = count >= if self.much { MUCH_LEAST } else { LITTLE };
        }
        read
    }

    /// All that came.
    #[must_use]
    pub fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes).freeze()
    }

    fn sip(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut room = [MaybeUninit::uninit(); LITTLE];
        let mut room = ReadBuf::uninit(&mut room);
        let read = Pin::new(io).poll_read(context, &mut room);
        self.bytes.extend_from_slice(room.filled());
        read.map_ok(|()| room.filled().len())
    }

    fn fill(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.bytes.reserve(MUCH);
        let read = pin!(io.read_buf(&mut self.bytes)).poll(context);
        if !matches!(read, Poll::Ready(Ok(MUCH_LEAST..))) {
            // Of room that little came into, or nothing, none is kept.
            self.bytes = BytesMut::from(&self.bytes[..]);
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, future::poll_fn};
    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn a_quiet_connection_holds_nothing() {
        let (mut service, mut io) = duplex(1 << 20);
        let mut intake = Intake::default();
        let mut taken = 0;
        for length in [0, 1, LITTLE, 0, LITTLE, MUCH, MUCH, 5, 0, 3] {
            service.write_all(&vec![7; length]).await.unwrap();
            while let Some(read) =
                poll_fn(|context| intake.poll_read(&mut io, context)).now_or_never()
            {
                assert_eq!(read.unwrap(), intake.bytes.len());
                taken += intake.take().len();
            }
            assert_eq!(intake.bytes.capacity(), 0, "after {length}");
        }
        assert_eq!(taken, 2 * LITTLE + 2 * MUCH + 9);
        drop(service);
        let read = poll_fn(|context| intake.poll_read(&mut io, context)).await;
        assert_eq!(read.unwrap(), 0);
    }

    #[tokio::test]
    async fn what_was_not_taken_stays_before_what_comes() {
        let (mut service, mut io) = duplex(1 << 20);
        let mut intake = Intake::default();
        let sent: Vec<u8> = (0..200_000_u32).map(|at| at.to_le_bytes()[0]).collect();
        service.write_all(&sent).await.unwrap();
        while intake.bytes.len() < sent.len() {
            poll_fn(|context| intake.poll_read(&mut io, context)).await.unwrap();
        }
        assert!(poll_fn(|context| intake.poll_read(&mut io, context)).now_or_never().is_none());
        assert_eq!(intake.take(), sent);
    }
}
