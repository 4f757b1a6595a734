//! Whether a connection becomes another protocol, told by who answers to who reads.

use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// The answer to a client's wish for another protocol. There is one wish at a time: nothing is
/// read behind it before its answer.
#[derive(Debug, Default)]
pub(crate) struct Turn(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    became: Option<bool>,
    reader: Option<Waker>,
}

impl Turn {
    /// Tells what the answer was.
    pub(crate) fn answered(&self, became: bool) {
        let reader = {
            let mut state = self.0.lock();
            state.became = Some(became);
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Waits for it; it is told once.
    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<bool> {
        let mut state = self.0.lock();
        match state.became.take() {
            Some(became) => Poll::Ready(became),
            None => {
                state.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
