//! HELLO: each side's first frame.

use std::time::Duration;

use bytes::Bytes;

use crate::code::Code;
use crate::limits::{
    CONNECTION_CREDIT_RANGE, Config, FRAME_RANGE, STREAM_CREDIT_RANGE, STREAMS_RANGE,
};
use crate::tlv::{self, TlvError};
use crate::wire::Violation;

const ROLE: u16 = 1;
const INSTANCE: u16 = 2;
const LIMITS: u16 = 3;
const SOFTWARE: u16 = 4;
const CAPABILITY_BITS: u16 = 6;
const KEEP_ALIVE: u16 = 8;
const DRAIN_SPREAD: u16 = 10;
const LABEL: u16 = 12;

/// Bytes of a text that is shown at most.
const SHOWN: usize = 64;

/// What this crate can do: raw streams (1), upgrades (2), trailers (4), extended heads.
pub(crate) const CAPABILITIES: u64 = 1 | 2 | 4 | EXTENDED_HEADS;

/// Heads may begin with extensions.
pub(crate) const EXTENDED_HEADS: u64 = 32;

/// What an endpoint is. Its name comes from its certificate, never from HELLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// The private side.
    Agent,
    /// The public side.
    Hub,
    /// A hub that forwards to the one that holds the agent.
    HubPeer,
}

impl Role {
    const fn to_wire(self) -> u8 {
        match self {
            Self::Agent => 1,
            Self::Hub => 2,
            Self::HubPeer => 3,
        }
    }

    const fn from_wire(value: u8) -> Option<Self> {
        match value {
            1 => Some(Self::Agent),
            2 => Some(Self::Hub),
            3 => Some(Self::HubPeer),
            _ => None,
        }
    }
}

/// What the peer said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Agrees with what was expected.
    pub role: Role,
    /// Random, one per process of the peer; zeros if it did not say.
    pub instance: [u8; 16],
    /// Name and version of its program, for people.
    pub software: Box<str>,
    /// Name of its machine, for people.
    pub label: Box<str>,
    /// What both sides can do: bits.
    pub capabilities: u64,
    /// Its wish; zero if it has none.
    pub keep_alive: Duration,
    /// Over what time to spread reconnections when it goes away.
    pub drain_spread: Option<Duration>,
    /// The version that is spoken.
    pub version: u16,
    /// Bytes of a frame's payload that it accepts.
    pub(crate) frame: u32,
    /// Bytes that each stream may send it before it grants more.
    pub(crate) stream_credit: u32,
    /// The same for the connection.
    pub(crate) connection_credit: u64,
    /// Streams that it accepts at a time.
    pub(crate) streams: u32,
}

/// This endpoint's HELLO payload.
pub(crate) fn encode(config: &Config) -> Bytes {
    let mut out = Vec::with_capacity(256);
    let limits = &config.limits;
    let mut numbers = [0; 20];
    numbers[..4].copy_from_slice(&limits.frame.to_be_bytes());
    numbers[4..8].copy_from_slice(&limits.stream_credit.to_be_bytes());
    numbers[8..16].copy_from_slice(&u64::from(limits.connection_credit).to_be_bytes());
    numbers[16..].copy_from_slice(&limits.streams.to_be_bytes());
    let keep_alive = millis(limits.keep_alive);
    let spread = config.drain_spread.map(millis);
    let all: [(u16, &[u8]); 8] = [
        (ROLE, &[config.role.to_wire()]),
        (INSTANCE, &config.instance),
        (LIMITS, &numbers),
        (SOFTWARE, shown(&config.software)),
        (CAPABILITY_BITS, &config.capabilities.to_be_bytes()),
        (KEEP_ALIVE, &keep_alive),
        (DRAIN_SPREAD, spread.as_ref().map_or(&[], |bytes| &bytes[..])),
        (LABEL, shown(&config.label)),
    ];
    for (kind, value) in all.into_iter().filter(|(_, value)| !value.is_empty()) {
        tlv::put(&mut out, kind, value).expect("every value is short");
    }
    Bytes::from(out)
}

fn millis(time: Duration) -> [u8; 4] {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX).to_be_bytes()
}

fn shown(text: &str) -> &[u8] {
    &text.as_bytes()[..text.floor_char_boundary(SHOWN)]
}

/// Checks the peer's HELLO payload against what this endpoint expects.
pub(crate) fn decode(payload: &[u8], config: &Config, version: u16) -> Result<Peer, Violation> {
    let mut role = None;
    let mut limits = None;
    let mut peer = Peer {
        role: config.peer,
        instance: [0; 16],
        software: Box::default(),
        label: Box::default(),
        capabilities: 0,
        keep_alive: Duration::ZERO,
        drain_spread: None,
        version,
        frame: 0,
        stream_credit: 0,
        connection_credit: 0,
        streams: 0,
    };
    tlv::read(payload, |kind, value| {
        match kind {
            ROLE => role = Some(Role::from_wire(u8::from_be_bytes(exact(value)?)).ok_or(())?),
            INSTANCE => peer.instance = exact(value)?,
            LIMITS => limits = Some(exact::<20>(value)?),
            SOFTWARE => peer.software = label(value)?,
            CAPABILITY_BITS => {
                peer.capabilities = u64::from_be_bytes(exact(value)?) & config.capabilities;
            }
            KEEP_ALIVE => peer.keep_alive = time(value)?,
            DRAIN_SPREAD => peer.drain_spread = Some(time(value)?),
            LABEL => peer.label = label(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    })
    .map_err(|error| match error {
        TlvError::Mandatory(_) => Violation::new(Code::Version, "HELLO demands the unknown"),
        _ => Violation::new(Code::Protocol, "HELLO is malformed"),
    })?;
    if role.ok_or(Violation::new(Code::Protocol, "HELLO without a role"))? != config.peer {
        return Err(Violation::new(Code::Auth, "HELLO claims another role than the certificate"));
    }
    take_limits(&mut peer, limits.ok_or(Violation::new(Code::Protocol, "HELLO without limits"))?)?;
    Ok(peer)
}

fn take_limits(peer: &mut Peer, bytes: [u8; 20]) -> Result<(), Violation> {
    let u32_at =
        |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes are a u32"));
    let credit = u64::from(u32_at(8)) << 32 | u64::from(u32_at(12));
    (peer.frame, peer.stream_credit, peer.streams) = (u32_at(0), u32_at(4), u32_at(16));
    peer.connection_credit = credit;
    let credit_range =
        u64::from(*CONNECTION_CREDIT_RANGE.start())..=u64::from(*CONNECTION_CREDIT_RANGE.end());
    let valid = FRAME_RANGE.contains(&peer.frame)
        && STREAM_CREDIT_RANGE.contains(&peer.stream_credit)
        && credit_range.contains(&credit)
        && STREAMS_RANGE.contains(&peer.streams);
    if valid {
        Ok(())
    } else {
        Err(Violation::new(Code::Protocol, "HELLO's limits are out of range"))
    }
}

fn exact<const N: usize>(value: &[u8]) -> Result<[u8; N], ()> {
    value.try_into().map_err(|_| ())
}

fn time(value: &[u8]) -> Result<Duration, ()> {
    Ok(Duration::from_millis(u32::from_be_bytes(exact(value)?).into()))
}

fn label(value: &[u8]) -> Result<Box<str>, ()> {
    let text = str::from_utf8(value).map_err(|_| ())?;
    if value.len() > SHOWN { Err(()) } else { Ok(crate::wire::text(text.as_bytes())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent() -> Config {
        let mut config = Config::new(Role::Agent, Role::Hub, [7; 16]);
        config.label = "machine".into();
        config.drain_spread = Some(Duration::from_secs(3));
        config
    }

    fn hub() -> Config {
        Config { capabilities: 1 | 8, ..Config::new(Role::Hub, Role::Agent, [8; 16]) }
    }

    #[test]
    fn what_is_said_is_understood() {
        let peer = decode(&encode(&agent()), &hub(), 1).unwrap();
        assert_eq!((peer.role, peer.instance, peer.version), (Role::Agent, [7; 16], 1));
        assert_eq!((&*peer.label, peer.capabilities), ("machine", 1));
        assert_eq!(peer.drain_spread, Some(Duration::from_secs(3)));
        assert_eq!((peer.frame, peer.stream_credit, peer.streams), (16_376, 32 << 10, 2_048));
        assert_eq!((peer.connection_credit, peer.keep_alive), (256 << 10, Duration::from_secs(5)));
    }

    /// M10, M19 and P12: what a HELLO may not say, and what is ignored.
    #[test]
    fn hello_is_checked() {
        let good = encode(&agent());
        let with = |more: &[u8]| [&good[..], more].concat();
        let without_limits = &good[..5];
        let table: [(&[u8], Option<Code>); 8] = [
            (&with(&[0x7f, 0, 0, 1, 9]), None),
            (&with(&[0x7f, 1, 0, 1, 9]), Some(Code::Version)),
            (&with(&[0, 1, 0, 1, 1]), Some(Code::Protocol)),
            (&with(&[0]), Some(Code::Protocol)),
            (b"", Some(Code::Protocol)),
            (without_limits, Some(Code::Protocol)),
            (&encode(&hub()), Some(Code::Auth)),
            (&[0, 1, 0, 1, 99], Some(Code::Protocol)),
        ];
        for (bytes, expected) in table {
            let found = decode(bytes, &hub(), 1).err().map(|violation| violation.code);
            assert_eq!(found, expected, "{bytes:?}");
        }
    }

    #[test]
    fn limits_outside_their_ranges_are_refused() {
        let mut config = agent();
        config.limits.streams = 15;
        assert!(decode(&encode(&config), &hub(), 1).is_err());
        config.limits.streams = 16;
        assert!(decode(&encode(&config), &hub(), 1).is_ok());
        config.limits.frame = 65_529;
        assert!(decode(&encode(&config), &hub(), 1).is_err());
    }
}
