//! DATA: checked against credit by its header, kept as it comes.

use bytes::Bytes;

use super::Connection;
use super::receive::{calm, protocol};
use crate::code::Code;
use crate::stall::Way;
use crate::stream::{Directions, RecvState, Stage, StreamId};
use crate::wire::{END, Header, Violation};

/// A DATA frame whose header was taken.
#[derive(Debug)]
pub(super) struct DataFrame {
    id: StreamId,
    left: usize,
    end: bool,
    keep: bool,
}

impl Connection {
    pub(super) fn receive_data_header(&mut self, header: Header) -> Result<(), Violation> {
        let id = StreamId(header.stream);
        let length = usize::from(header.length);
        let end = header.has(END);
        if !self.streams.was_opened(id) {
            return Err(protocol("DATA for a stream that was never opened"));
        }
        if length == 0 && !end && !self.abuse.empty.take(self.now) {
            return Err(calm("too much DATA without a byte"));
        }
        let bytes = u64::from(header.length);
        if !self.window.receive(self.now, bytes) {
            return Err(Violation::new(Code::FlowControl, "more than the connection's credit"));
        }
        self.place(bytes);
        self.flows();
        let keep = self.admit(id, bytes)?;
        if length == 0 {
            if end {
                self.receive_end(id);
            }
        } else {
            self.data = Some(DataFrame { id, left: length, end, keep });
        }
        Ok(())
    }

    /// Whether the bytes that follow are kept.
    fn admit(&mut self, id: StreamId, bytes: u64) -> Result<bool, Violation> {
        let late = |more| Violation::new(Code::FlowControl, more);
        let Some(stream) = self.streams.find(id).filter(|stream| stream.end.is_none()) else {
            let allowed = self.late.take(self.now, bytes);
            return allowed
                .then_some(false)
                .ok_or_else(|| late("more than reset streams had left"));
        };
        if stream.recv.is_over() {
            self.reset(id, Directions::Both, Code::Protocol, "DATA after the end");
            return Ok(false);
        }
        let window = &mut stream.recv.window;
        if !window.receive(self.now, bytes) {
            return Err(late("more than the stream's credit"));
        }
        if stream.recv.state == RecvState::Stopped {
            window.take(bytes);
            return Ok(false);
        }
        let received = window.received();
        let fits = stream.recv.expected.is_none_or(|expected| received <= expected);
        if !stream.recv.stage.takes_bytes() || !fits {
            self.unconsumed += bytes;
            self.reset(id, Directions::Both, Code::Protocol, "DATA that cannot be here");
            return Ok(false);
        }
        if window.outstanding() == 0 {
            stream.stall(Way::Receiving, self.now);
        }
        self.unconsumed += bytes;
        Ok(true)
    }

    pub(super) fn receive_data(&mut self, bytes: Bytes, region: usize) {
        let Some(frame) = &mut self.data else { return };
        frame.left = frame.left.saturating_sub(bytes.len());
        let (id, keep) = (frame.id, frame.keep);
        let ended = (frame.left == 0).then_some(frame.end);
        if let Some(stream) = self.streams.find(id)
            && keep
            && stream.recv.state == RecvState::Open
        {
            stream.recv.data.push_received(bytes, region);
            stream.notices.readable = true;
            self.queue_notices(id);
        }
        if let Some(end) = ended {
            self.data = None;
            if end {
                self.receive_end(id);
            }
        }
    }

    /// The peer's direction ended in order, or says so.
    pub(super) fn receive_end(&mut self, id: StreamId) {
        let Some(stream) = self.streams.find(id).filter(|stream| stream.end.is_none()) else {
            return;
        };
        let received = stream.recv.window.received();
        let complete = stream.recv.expected.is_none_or(|expected| received == expected);
        match stream.recv.state {
            RecvState::Open if !complete || stream.recv.stage == Stage::Head => {
                self.reset(id, Directions::Both, Code::Protocol, "END before the message is whole");
            }
            RecvState::Open | RecvState::Stopped => {
                if let Some(stalls) = &mut stream.stalls {
                    stalls.forget(Way::Receiving);
                }
                stream.recv.state = RecvState::Ended;
                stream.notices.readable = true;
                self.queue_notices(id);
                self.settle(id);
            }
            RecvState::Ended | RecvState::Broken(_) => {
                self.reset(id, Directions::Both, Code::Protocol, "END again");
            }
        }
    }
}
