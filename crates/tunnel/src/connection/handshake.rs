//! Preface and HELLO: one round trip, 10 s, 4 KiB.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Connection, Phase};
use crate::code::Code;
use crate::event::EndedBy;
use crate::hello;
use crate::limits::{Side, keep_alive};
use crate::preface::{Preface, Progress, Versions};
use crate::wire::{self, FrameType, Header, Violation};

/// The largest payload before HELLO was accepted.
pub(super) const FRAME: u32 = 4 << 10;

impl Connection {
    /// The dialler speaks first, and sends HELLO without waiting.
    pub(super) fn greet(&mut self) {
        if self.side == Side::Dialler {
            self.slots.greeting = Some(self.greeting(Preface::Versions(self.config.versions)));
        }
    }

    fn greeting(&self, preface: Preface) -> Bytes {
        let hello = hello::encode(&self.config);
        let mut out = BytesMut::new();
        out.put_slice(&preface.encode());
        out.put_slice(&wire::header(FrameType::Hello, 0, hello.len(), 0));
        out.put_slice(&hello);
        out.freeze()
    }

    /// Takes a preface off the front; answers whether frames follow.
    pub(super) fn receive_preface(&mut self, bytes: &mut Bytes) -> bool {
        let Phase::Preface(collector) = &mut self.phase else { return true };
        match collector.feed(bytes) {
            Progress::More => false,
            Progress::Foreign => {
                self.finish_silently(Code::Protocol, "the peer does not speak strait-tunnel");
                false
            }
            Progress::Done(preface) => match self.side {
                Side::Dialler => self.answered(preface),
                Side::Acceptor => self.offered(preface),
            },
        }
    }

    fn offered(&mut self, preface: Preface) -> bool {
        let Preface::Versions(offer) = preface else {
            self.finish_silently(Code::Protocol, "the peer does not speak strait-tunnel");
            return false;
        };
        let ours = self.config.versions;
        let Some(version) = ours.common(offer) else {
            let refusal = Preface::Refusal(ours).encode();
            self.slots.greeting = Some(Bytes::copy_from_slice(&refusal));
            self.end(Code::Version, EndedBy::Us, &mismatch(ours, offer));
            return false;
        };
        self.version = version;
        let choice = Versions { lowest: version, highest: version };
        self.slots.greeting = Some(self.greeting(Preface::Versions(choice)));
        self.phase = Phase::Hello;
        true
    }

    fn answered(&mut self, preface: Preface) -> bool {
        let ours = self.config.versions;
        match preface {
            Preface::Refusal(theirs) => {
                self.finish_silently(Code::Version, &mismatch(ours, theirs));
                false
            }
            Preface::Versions(choice)
                if choice.lowest == choice.highest && ours.common(choice).is_some() =>
            {
                self.version = choice.lowest;
                self.phase = Phase::Hello;
                true
            }
            Preface::Versions(_) => {
                self.finish_silently(Code::Protocol, "the peer chose a version not offered");
                false
            }
        }
    }

    /// Before HELLO was accepted there is nothing but HELLO, or the peer's refusal.
    pub(super) fn receive_hello(
        &mut self,
        header: Header,
        payload: &[u8],
    ) -> Result<(), Violation> {
        match header.kind {
            FrameType::Hello => {}
            FrameType::Cut => {
                self.receive_cut(payload);
                return Ok(());
            }
            _ => return Err(Violation::new(Code::Protocol, "a frame before HELLO")),
        }
        let peer = hello::decode(payload, &self.config, self.version)?;
        self.phase = Phase::Ready;
        self.decoder.set_frame_max(self.config.limits.frame);
        self.may_send = peer.connection_credit;
        self.life.set_keep_alive(keep_alive(self.config.limits.keep_alive, peer.keep_alive));
        self.life.measure(self.now);
        self.control_waits();
        self.ready = Some(Box::new(peer.clone()));
        self.peer = Some(peer);
        Ok(())
    }
}

fn mismatch(ours: Versions, theirs: Versions) -> String {
    let range = |versions: Versions| format!("{}–{}", versions.lowest, versions.highest);
    format!("this side speaks versions {}, the peer {}", range(ours), range(theirs))
}
