//! The PROXY protocol, by which a balancer of TCP says whose connection it passes on (HAProxy's
//! `doc/proxy-protocol.txt`, versions 1 and 2). It comes before TLS, which begins with no byte of it.
//!
//! What else a header tells is read and passed over.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What TLS begins with is none of these.
const FIRST: [u8; 2] = [b'P', SIGNATURE[0]];

const NAME: &[u8] = b"PROXY ";
/// Longest line of version 1, with its end.
const LINE_MAX: usize = 107;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length of what follows.
const HEAD: usize = 16;
/// Most bytes that may follow: addresses, and what is passed over.
const REST_MAX: usize = 4 << 10;

/// A header is none, or says what this does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no header of the PROXY protocol")]
pub(crate) struct NoHeader;

impl From<NoHeader> for io::Error {
    fn from(none: NoHeader) -> Self {
        Self::new(io::ErrorKind::InvalidData, none)
    }
}

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whose {
    /// As far as is known: the client's, or that of the proxy before it.
    pub(crate) address: SocketAddr,
    pub(crate) is: Is,
}

/// Whose address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Is {
    /// The client's.
    Client,
    /// A trusted proxy's, whose connection it is; it may say of each request whose that is.
    Proxy,
    /// A trusted proxy's, which passes somebody's on and does not say whose: what comes through it
    /// is not that proxy's word.
    Nobodys,
}

impl Whose {
    /// Of a connection that nobody passed on.
    pub(crate) const fn client(address: SocketAddr) -> Self {
        Self { address, is: Is::Client }
    }
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Whose connection it is.
    Client(SocketAddr),
    /// It is the balancer's own, such as a question whether somebody is there.
    Own,
    /// Nothing of an address.
    Nobody,
}

impl Said {
    fn client(ip: IpAddr, port: u16) -> Result<Self, NoHeader> {
        // Nobody connects from there, and some take it for a socket of this machine.
        let ip = Some(ip.to_canonical()).filter(|ip| !ip.is_unspecified()).ok_or(NoHeader)?;
        Ok(Self::Client(SocketAddr::new(ip, port)))
    }
}

/// Whether a connection that begins with this byte begins with a header.
pub(crate) fn begins(first: u8) -> bool {
    FIRST.contains(&first)
}

/// Reads a header and no byte more.
///
/// # Errors
/// It is none, or the connection broke.
pub(crate) async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Said> {
    let mut head = [0; HEAD];
    // The shortest line of version 1 is a byte shorter than a head of version 2.
    io.read_exact(&mut head[..HEAD - 1]).await?;
    if head.starts_with(NAME) {
        let mut line = head[..HEAD - 1].to_vec();
        while !line.ends_with(b"\n") && line.len() < LINE_MAX {
            line.push(io.read_u8().await?);
        }
        return Ok(line_of(&line)?);
    }
    head[HEAD - 1] = io.read_u8().await?;
    let (kind, length) = head_of(&head)?;
    let mut rest = vec![0; length];
    io.read_exact(&mut rest).await?;
    let said = match kind {
        Kind::Said(said) => said,
        Kind::Client(family) => family.said(&rest)?,
    };
    Ok(said)
}

/// What a line of version 1 says.
fn line_of(line: &[u8]) -> Result<Said, NoHeader> {
    let text = str::from_utf8(line).ok().and_then(|text| text.strip_suffix("\r\n"));
    let words: Vec<&str> = text.ok_or(NoHeader)?.split(' ').collect();
    let address = match words[..] {
        ["PROXY", "UNKNOWN", ..] => return Ok(Said::Nobody),
        ["PROXY", "TCP4", client, _, port, _] => {
            client.parse().ok().map(IpAddr::V4).zip(port.parse().ok())
        }
        ["PROXY", "TCP6", client, _, port, _] => {
            client.parse().ok().map(IpAddr::V6).zip(port.parse().ok())
        }
        _ => None,
    };
    let (ip, port) = address.ok_or(NoHeader)?;
    Said::client(ip, port)
}

/// What the head of version 2 says.
enum Kind {
    /// All that there is to say.
    Said(Said),
    /// Addresses follow.
    Client(Family),
}

/// Of which kind those are.
#[derive(Clone, Copy, Debug)]
enum Family {
    V4,
    V6,
}

impl Family {
    /// The client's, of those that follow.
    fn said(self, rest: &[u8]) -> Result<Said, NoHeader> {
        let found = match self {
            Self::V4 => rest.first_chunk::<4>().map(|ip| IpAddr::from(*ip)).zip(rest.get(8..10)),
            Self::V6 => rest.first_chunk::<16>().map(|ip| IpAddr::from(*ip)).zip(rest.get(32..34)),
        };
        let (ip, port) = found.ok_or(NoHeader)?;
        Said::client(ip, u16::from_be_bytes(port.try_into().map_err(|_| NoHeader)?))
    }
}

/// What follows the head of version 2, and how long it is.
fn head_of(head: &[u8; HEAD]) -> Result<(Kind, usize), NoHeader> {
    let (signature, [command, family, length @ ..]) = head.split_at(SIGNATURE.len()) else {
        return Err(NoHeader);
    };
    let length = length.try_into().map(u16::from_be_bytes).map_err(|_| NoHeader)?;
    if signature != SIGNATURE || usize::from(length) > REST_MAX {
        return Err(NoHeader);
    }
    let kind = match (command, family) {
        (0x21, 0x11) => Kind::Client(Family::V4),
        (0x21, 0x21) => Kind::Client(Family::V6),
        (0x21, _) => Kind::Said(Said::Nobody),
        (0x20, _) => Kind::Said(Said::Own),
        _ => return Err(NoHeader),
    };
    Ok((kind, length.into()))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;

    /// What a header says, and what of these bytes is left.
    fn read_all(mut bytes: &[u8]) -> (Option<Said>, &[u8]) {
        let said = read(&mut bytes).now_or_never().expect("a slice does not wait");
        (said.ok(), bytes)
    }

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest, b"TLS"].concat()
    }

    #[test]
    fn a_header_says_whose_connection_it_is() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x1f, 0x90, 1, 187];
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0x1f, 0x90, 1, 187]];
        let v6 = v6.concat();
        let more = [&v4[..], b"\x04\0\x02hi"].concat();
        let client = |text: &str| Said::Client(text.parse().unwrap());
        let (four, six) = (client("192.0.2.7:8080"), client("[2001:db8::7]:8080"));
        let mapped = [&[0; 10][..], &[0xff, 0xff], &v4[..4], &[0; 16], &v4[8..]].concat();
        for (bytes, expected) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 443\r\nTLS".to_vec(), four),
            (b"PROXY TCP6 2001:db8::7 ::1 8080 443\r\nTLS".to_vec(), six),
            (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 8080 443\r\nTLS".to_vec(), four),
            (b"PROXY UNKNOWN\r\nTLS".to_vec(), Said::Nobody),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\nTLS".to_vec(), Said::Nobody),
            (version_2(0x21, 0x11, &v4), four),
            (version_2(0x21, 0x11, &more), four),
            (version_2(0x21, 0x21, &v6), six),
            (version_2(0x21, 0x21, &mapped), four),
            (version_2(0x20, 0x00, &[]), Said::Own),
            (version_2(0x20, 0x11, &v4), Said::Own),
            (version_2(0x21, 0x31, &[0; 216]), Said::Nobody),
        ] {
            assert_eq!(read_all(&bytes), (Some(expected), &b"TLS"[..]), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        for bytes in [
            b"PROXY TCP4 192.0.2.7 10.0.0.1 8080\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::7 ::1 8080 443\r\n".to_vec(),
            b"PROXY TCP6 192.0.2.7 10.0.0.1 8080 443\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 80800 443\r\n".to_vec(),
            b"PROXY TCP4 0.0.0.0 10.0.0.1 0 443\r\n".to_vec(),
            b"PROXY TCP6 :: ::1 0 443\r\n".to_vec(),
            b"PROXY TCP6 ::ffff:0.0.0.0 ::1 0 443\r\n".to_vec(),
            version_2(0x21, 0x21, &[0; 36]),
            b"PROXY UDP4 192.0.2.7 10.0.0.1 8080 443\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 443\n".to_vec(),
            b"POST / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
            long.into_bytes(),
            version_2(0x22, 0x11, &[0; 12]),
            version_2(0x11, 0x11, &[0; 12]),
            version_2(0x21, 0x11, &[0; 8]),
            version_2(0x21, 0x21, &[0; 12]),
            version_2(0x21, 0x11, &[0; REST_MAX + 1]),
            b"\r\n\r\n\0\r\nQUIX\n\x21\x11\0\0".to_vec(),
            b"\r\n\r\n".to_vec(),
        ] {
            assert!(begins(bytes[0]));
            assert_eq!(read_all(&bytes).0, None, "{bytes:?}");
        }
        // TLS.
        assert!(!begins(0x16));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes: Vec<u8>, family: u8, line in "PROXY [ -~]{0,120}\r?\n?") {
            let _ = read_all(&bytes);
            let _ = read_all(line.as_bytes());
            let _ = read_all(&version_2(0x21, family, &bytes));
        }
    }
}
