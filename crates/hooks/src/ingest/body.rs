//! A body, hashed as it comes.
//!
//! Bytes go into one buffer that grows by doubling, and are never copied at the end. What the
//! hashes take of a thread at once is one read of the connection, at most 64 KiB: a large body
//! does not hold up others.

use aws_lc_rs::digest;
use bytes::Bytes;
use http_body::Body as HttpBody;
use http_body_util::BodyExt;

use crate::budget::{Share, Spent};
use crate::signature::{Refused, Verifier};

/// What the first bytes take at least, if so much is announced.
const FIRST_BYTES: usize = 16 << 10;

/// A body that came to its end.
pub(super) struct Arrived {
    pub(super) bytes: Bytes,
    pub(super) sha256: [u8; 32],
    pub(super) verdict: Result<(), Refused>,
    /// To be held as long as the bytes.
    pub(super) share: Share,
}

/// A body did not come to its end, or cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotRead {
    /// It has more than the limit, or says that it has.
    TooLarge,
    /// There is no memory for it. It came to its end.
    Spent,
    /// It broke off, or is not written as HTTP has it.
    Broken,
}

/// Reads a body of at most `limit` bytes. What announces more is not read.
///
/// One for which there is no memory is read on and forgotten, so that its sender sees an answer
/// instead of a reset, and keeps its connection.
pub(super) async fn read<B: HttpBody<Data = Bytes>>(
    body: B,
    limit: usize,
    mut verifier: Verifier,
    share: Share,
) -> Result<Arrived, NotRead> {
    let mut body = std::pin::pin!(body);
    let hint = body.size_hint();
    if hint.lower() > limit as u64 {
        return Err(NotRead::TooLarge);
    }
    let most = hint.exact().and_then(|exact| usize::try_from(exact).ok()).unwrap_or(limit);
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut buffer = Buffer { bytes: Vec::new(), share, most };
    let (mut length, mut spent) = (0_usize, false);
    while let Some(frame) = body.as_mut().frame().await {
        let Ok(data) = frame.map_err(|_| NotRead::Broken)?.into_data() else {
            // Nothing signs trailers.
            continue;
        };
        length = length.saturating_add(data.len());
        if length > limit {
            return Err(NotRead::TooLarge);
        }
        if spent {
            continue;
        }
        spent = buffer.push(&data).is_err();
        if spent {
            buffer.clear();
            continue;
        }
        hash.update(&data);
        verifier.update(&data);
    }
    if spent {
        return Err(NotRead::Spent);
    }
    let hash = hash.finish();
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(hash.as_ref());
    let Buffer { bytes, share, .. } = buffer;
    Ok(Arrived { bytes: bytes.into(), sha256, verdict: verifier.finish(), share })
}

struct Buffer {
    bytes: Vec<u8>,
    share: Share,
    /// What it will hold at most.
    most: usize,
}

impl Buffer {
    fn push(&mut self, data: &[u8]) -> Result<(), Spent> {
        let needed = self.bytes.len() + data.len();
        if needed > self.bytes.capacity() {
            let roomy = needed.max(2 * self.bytes.capacity()).max(FIRST_BYTES);
            let capacity = roomy.min(self.most).max(needed);
            self.share.grow(capacity)?;
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    fn clear(&mut self) {
        self.bytes = Vec::new();
        self.share.give_back();
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http::HeaderMap;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};
    use jiff::Timestamp;
    use prometheus_client::metrics::gauge::Gauge;

    use super::*;
    use crate::budget::Budget;
    use crate::signature::Scheme;

    const LIMIT: usize = 100_000;

    fn budget() -> Budget {
        Budget::new(LIMIT, LIMIT, Gauge::default())
    }

    async fn get<B: HttpBody<Data = Bytes>>(body: B, budget: &Budget) -> Result<Arrived, NotRead> {
        let verifier = Scheme::None.begin(&HeaderMap::new(), &[], Timestamp::UNIX_EPOCH);
        read(body, LIMIT, verifier.unwrap(), budget.share([127, 0, 0, 1].into())).await
    }

    fn chunks(sizes: &[usize]) -> impl HttpBody<Data = Bytes> + use<> {
        let frames: Vec<_> = sizes.iter().map(|size| Bytes::from(vec![7; *size])).collect();
        let frames = frames.into_iter().map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
        StreamBody::new(stream::iter(frames))
    }

    #[tokio::test]
    async fn a_body_is_kept_and_hashed_whole() {
        for sizes in [&[][..], &[5], &[1, 70_000, 29_999], &[20_000; 5]] {
            let budget = budget();
            let arrived = get(chunks(sizes), &budget).await.unwrap();
            let all = vec![7; sizes.iter().sum()];
            assert_eq!(arrived.bytes, all);
            assert_eq!(arrived.sha256, digest::digest(&digest::SHA256, &all).as_ref());
            assert!(budget.taken() >= all.len());
            drop(arrived.share);
            assert_eq!(budget.taken(), 0);
        }
    }

    #[tokio::test]
    async fn a_body_that_announces_its_length_takes_no_more() {
        let budget = budget();
        let arrived = get(Full::new(Bytes::from(vec![7; 5_000])), &budget).await.unwrap();
        assert_eq!((budget.taken(), arrived.bytes.len()), (5_000, 5_000));
    }

    #[tokio::test]
    async fn what_is_too_large_or_finds_no_memory_takes_nothing() {
        let budget = budget();
        let announced = get(Full::new(Bytes::from(vec![7; LIMIT + 1])), &budget).await;
        assert_eq!(announced.err(), Some(NotRead::TooLarge));
        let grown = get(chunks(&[60_000, 60_000]), &budget).await;
        assert_eq!(grown.err(), Some(NotRead::TooLarge));
        let mut other = budget.share([192, 0, 2, 1].into());
        other.grow(50_000).unwrap();
        let refused = get(chunks(&[40_000, 40_000, 1]), &budget).await;
        assert_eq!(refused.err(), Some(NotRead::Spent));
        assert_eq!(budget.taken(), 50_000);
    }
}
