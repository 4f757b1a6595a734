//! Lines of JSON, one after the other, as they come about.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use serde_json::Value;
use strait_net::{Body, BoxError};
use tokio::sync::mpsc;

use super::answer;

/// Lines that wait for a reader.
const LINES_MAX: usize = 256;

/// How long a reader may take no line at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where lines are written; dropped, they end.
pub(super) struct Lines {
    sender: mpsc::Sender<Bytes>,
    /// Room for the last line, whatever waits.
    last: mpsc::OwnedPermit<Bytes>,
    patience: Duration,
}

/// The reader has gone, or does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    Gone,
    Slow,
}

impl Lines {
    /// Where to write, and the answer that they are.
    pub(super) fn new() -> (Self, Response<Body>) {
        Self::with_patience(PATIENCE)
    }

    fn with_patience(patience: Duration) -> (Self, Response<Body>) {
        let (sender, receiver) = mpsc::channel(LINES_MAX);
        // There is room, and the other end is here.
        let last = sender.clone().try_reserve_owned().expect("the channel is new");
        let frames = stream::unfold(receiver, |mut receiver| async {
            let line = receiver.recv().await?;
            Some((Ok::<_, BoxError>(Frame::data(line)), receiver))
        });
        let body = Body::stream(StreamBody::new(frames));
        (
            Self { sender, last, patience },
            answer::body(StatusCode::OK, "application/x-ndjson", body),
        )
    }

    /// Writes a line if there is room for it: for those that the next one says as well.
    pub(super) fn offer(&self, line: &Value) -> Result<(), Unread> {
        match self.sender.try_send(bytes(line)) {
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Unread::Gone),
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
        }
    }

    /// Writes a line when there is room.
    pub(super) async fn write(&self, line: &Value) -> Result<(), Unread> {
        match self.sender.send_timeout(bytes(line), self.patience).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(Unread::Gone),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(Unread::Slow),
        }
    }

    /// Returns when the reader has gone.
    pub(super) async fn gone(&self) {
        self.sender.closed().await;
    }

    /// Writes the last line.
    pub(super) fn end(self, line: &Value) {
        self.last.send(bytes(line));
    }
}

fn bytes(line: &Value) -> Bytes {
    let mut text = line.to_string();
    text.push('\n');
    text.into()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_reader_that_does_not_read_is_told_so_at_the_end() {
        let (lines, response) = Lines::with_patience(Duration::from_millis(1));
        let mut written = 0;
        while lines.write(&json!(written)).await.is_ok() {
            written += 1;
        }
        assert_eq!(lines.write(&json!("more")).await, Err(Unread::Slow));
        assert_eq!(lines.offer(&json!("more")), Ok(()));
        lines.end(&json!("end"));
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert_eq!(text.lines().count(), LINES_MAX);
        assert_eq!(text.lines().last(), Some("\"end\""));
    }

    #[tokio::test]
    async fn a_reader_that_has_gone_is_noticed() {
        let (lines, response) = Lines::new();
        drop(response);
        lines.gone().await;
        assert_eq!(lines.offer(&json!(1)), Err(Unread::Gone));
        assert_eq!(lines.write(&json!(1)).await, Err(Unread::Gone));
    }
}
