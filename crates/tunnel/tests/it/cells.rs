//! Every state of a stream, every frame that can come: which halves are open, whether it was
//! accepted, who opened it.

use strait_tunnel::{
    Class, Code, Directions, Event, OpenHead, RawHead, Read, Side, StreamId, Tlvs,
};

use crate::frames::{ACCEPT, DATA, END, HEAD, RESET, Raw, credit, frame, open_raw};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recv {
    Open,
    Stopped,
    Ended,
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    local: bool,
    accepted: bool,
    sends: bool,
    recv: Recv,
}

impl Cell {
    const fn is_over(self) -> bool {
        matches!(self.recv, Recv::Ended | Recv::Broken)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Accept,
    Head,
    Data,
    End,
    Credit,
    Reset(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Open,
    Closed,
    /// The stream is reset as a mistake of the peer.
    Reset,
    /// The connection ends.
    Cut(Code),
}

/// What the protocol says.
fn expected(cell: Cell, sent: Sent) -> Outcome {
    if sent == Sent::Accept && !cell.local {
        return Outcome::Cut(Code::Protocol);
    }
    let closed_if = |closed| if closed { Outcome::Closed } else { Outcome::Open };
    if !cell.sends && cell.is_over() {
        // It is over; only data needs a permission, which there is none of.
        let late = sent == Sent::Data;
        return if late { Outcome::Cut(Code::FlowControl) } else { Outcome::Closed };
    }
    match sent {
        Sent::Accept if cell.accepted => Outcome::Reset,
        Sent::Head => Outcome::Reset,
        Sent::Data | Sent::End if cell.is_over() => Outcome::Reset,
        Sent::End | Sent::Reset(1) => closed_if(!cell.sends),
        Sent::Reset(2) => closed_if(cell.is_over()),
        Sent::Reset(_) => Outcome::Closed,
        Sent::Accept | Sent::Credit | Sent::Data => Outcome::Open,
    }
}

/// A connection with a stream in that state.
fn reach(cell: Cell) -> (Raw, StreamId) {
    let mut raw = Raw::ready(Side::Acceptor);
    let id = if cell.local {
        let head = OpenHead::Raw(RawHead::new(&Tlvs::default()).unwrap());
        let id = raw.connection.open(raw.now, &head, Class::Normal, false).unwrap();
        raw.bytes();
        if cell.accepted {
            raw.send(&frame(ACCEPT, 0, id.get(), &[0, 0, 0x80, 0]));
        }
        id
    } else {
        raw.send(&open_raw(1, 32 << 10));
        let Some(Event::Incoming(id, _)) = raw.connection.poll_event() else { panic!() };
        if cell.accepted {
            raw.connection.accept(id);
        }
        id
    };
    match cell.recv {
        Recv::Open => {}
        Recv::Stopped => raw.connection.reset(id, Directions::Receive, Code::None, ""),
        Recv::Ended => raw.send(&frame(DATA, END, id.get(), &[])),
        Recv::Broken => raw.send(&frame(RESET, 0, id.get(), &[1, 0, 0, 8])),
    }
    if !cell.sends {
        raw.connection.finish(id).unwrap();
    }
    raw.bytes();
    (raw, id)
}

fn outcome(cell: Cell, sent: Sent) -> Outcome {
    let (mut raw, id) = reach(cell);
    let bytes = match sent {
        Sent::Accept => frame(ACCEPT, 0, id.get(), &[0, 0, 0x80, 0]),
        Sent::Head => frame(HEAD, 0, id.get(), &[0, 200]),
        Sent::Data => frame(DATA, 0, id.get(), b"x"),
        Sent::End => frame(DATA, END, id.get(), &[]),
        Sent::Credit => credit(id.get(), 1 << 20),
        Sent::Reset(directions) => frame(RESET, 0, id.get(), &[directions, 0, 0, 1]),
    };
    raw.send(&bytes);
    let frames = raw.frames();
    while matches!(raw.connection.read(id), Read::Data(_)) {}
    let (mut closed, mut cut) = (0, None);
    for event in raw.events() {
        match event {
            Event::Closed(..) => closed += 1,
            Event::Ended(close) => cut = Some(close.code),
            _ => {}
        }
    }
    assert!(closed <= 1, "one end for each stream");
    let is_mistake =
        |frame: &crate::frames::Frame| frame.kind == RESET && frame.payload[..4] == [3, 0, 0, 17];
    match cut {
        Some(code) => Outcome::Cut(code),
        None if frames.iter().any(is_mistake) => Outcome::Reset,
        None if closed == 1 => Outcome::Closed,
        None => Outcome::Open,
    }
}

#[test]
fn every_frame_in_every_state_has_its_outcome() {
    let frames = [Sent::Accept, Sent::Head, Sent::Data, Sent::End, Sent::Credit];
    let resets = [1, 2, 3].map(Sent::Reset);
    let mut cells = 0;
    for bits in 0..8 {
        let (local, accepted, sends) = (bits & 1 > 0, bits & 2 > 0, bits & 4 > 0);
        for recv in [Recv::Open, Recv::Stopped, Recv::Ended, Recv::Broken] {
            let cell = Cell { local, accepted, sends, recv };
            for sent in frames.into_iter().chain(resets) {
                assert_eq!(outcome(cell, sent), expected(cell, sent), "{cell:?} {sent:?}");
                cells += 1;
            }
        }
    }
    assert_eq!(cells, 256);
}
