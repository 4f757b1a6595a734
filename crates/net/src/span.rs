//! How much of what came belongs to a body or a chunk of known length.

/// Takes up to `left` bytes.
pub fn take_body(left: &mut u64, bytes: &[u8]) -> usize {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    *left -= count as u64;
    count
}

/// Takes up to `left` bytes, of which the last two are CR and LF (RFC 9112, 7.1); none if they
/// are not.
#[must_use]
pub fn take_chunk(left: &mut u64, bytes: &[u8]) -> Option<usize> {
    let data = usize::try_from(left.saturating_sub(2)).unwrap_or(usize::MAX);
    let due = if *left == 1 { &b"\n"[..] } else { b"\r\n" };
    let count = take_body(left, bytes);
    let end = bytes[..count].get(data..).unwrap_or_default();
    due.starts_with(end).then_some(count)
}
