//! A watch's answer, line by line.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use kube::client::Body;
use strait_machinery::json::{Value, parse};
use strait_net::BodyError;

use crate::ApiError;

/// One event, JSON and a newline each.
pub(crate) struct Lines {
    body: Body,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line's end.
    searched: usize,
    limit: usize,
}

impl Lines {
    pub(crate) fn new(body: Body, limit: usize) -> Self {
        Self { body, buffer: BytesMut::new(), searched: 0, limit }
    }

    /// The next event; none at the end of the stream. Waits no longer than `silence`.
    ///
    /// # Cancel safety
    /// Safe: what was read is kept.
    pub(crate) async fn next(&mut self, silence: Duration) -> Result<Option<Value>, ApiError> {
        loop {
            if let Some(line) = self.line() {
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return parse(&line).map(Some).map_err(|_| ApiError::Malformed("a watch event"));
            }
            if self.buffer.len() > self.limit {
                return Err(BodyError::TooLarge { limit: self.limit }.into());
            }
            match tokio::time::timeout(silence, self.body.frame()).await {
                Err(_) => return Err(ApiError::TimedOut),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(BodyError::Broken(error.into()).into()),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    fn line(&mut self) -> Option<Bytes> {
        let found = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
        let Some(end) = found.map(|at| self.searched + at) else {
            self.searched = self.buffer.len();
            return None;
        };
        self.searched = 0;
        let line = self.buffer.split_to(end).freeze();
        self.buffer.advance(1);
        Some(line)
    }
}
