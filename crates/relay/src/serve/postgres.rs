//! PostgreSQL's way to TLS, which begins in the clear (PostgreSQL's documentation, "Frontend/Backend
//! Protocol", §§ "SSL Session Encryption" and "GSSAPI Session Encryption").
//!
//! The agent asks the server for TLS in its own name, and checks whom it speaks to. So a client need
//! not: one that asks whether it may is told that it cannot, and goes on without, as it may between
//! itself and a forwarded port. Nor can it bind its password to a TLS that it does not see, and libpq
//! takes it amiss where that is offered without one; so it is not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use strait_tunnel::Code;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;

use crate::link::{Part, Receiver, Sender};

/// A length of eight bytes, and a number that is no version.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const GSSENC_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];
const YES: u8 = b'S';
const NO: &[u8] = b"N";

/// How often a client is told no: it has two things to ask for.
const NOES: usize = 2;
/// How long a client may take to say who it is: what servers give it.
const FIRST: Duration = Duration::from_secs(60);

/// Most of a server's bytes that are looked at.
const LOOKED_AT: usize = 8 << 10;
/// A message's kind, and its length without that.
const HEADER: usize = 5;
/// AuthenticationSASL, which names mechanisms.
const SASL: &[u8] = &10_u32.to_be_bytes();
/// The one that is bound to TLS (RFC 5802 §6).
const BOUND: &[u8] = b"SCRAM-SHA-256-PLUS";

/// Asks a server for TLS, which begins with the next byte where it answers yes.
///
/// # Errors
/// It does not answer.
pub(super) async fn ask_for_tls(
    server: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> io::Result<bool> {
    server.write_all(&SSL_REQUEST).await?;
    // No byte more: what is behind it belongs to TLS.
    Ok(server.read_u8().await? == YES)
}

/// Answers what a client asks about encryption; what it says then, or the beginning of that. None
/// where it leaves without having said anything more, which is what a probe does, and who insists on
/// TLS.
///
/// # Errors
/// It broke off, or says nothing within that time.
pub(super) async fn greet(
    receiver: &mut Receiver,
    sender: &mut Sender,
    time: Duration,
) -> Result<Option<Bytes>, Code> {
    let said = async {
        let mut said = BytesMut::new();
        let mut noes = 0;
        loop {
            match asks(&said) {
                Some(true) if noes < NOES => {
                    said.advance(SSL_REQUEST.len());
                    noes += 1;
                    sender.write(Bytes::from_static(NO)).await.map_err(|stopped| stopped.0)?;
                }
                Some(_) => return Ok(Some(said.freeze())),
                None => match receiver.next().await {
                    Part::Data(bytes) => said.extend_from_slice(&bytes),
                    Part::End => return Ok(None),
                    Part::Broken(end) => return Err(end.code),
                    Part::Head(_) | Part::Trailers(_) => return Err(Code::Protocol),
                },
            }
        }
    };
    timeout(time.min(FIRST), said).await.unwrap_or(Err(Code::Timeout))
}

/// A connection to a server that offers to authenticate without TLS.
pub(super) struct Unbound<T> {
    io: T,
    /// What came, until the offer did.
    came: Option<BytesMut>,
    /// What of it is to be read.
    passed: Bytes,
}

impl<T> Unbound<T> {
    /// From its first message on.
    pub(super) fn new(io: T) -> Self {
        Self { io, came: Some(BytesMut::new()), passed: Bytes::new() }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Unbound<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.passed.is_empty() {
                let count = this.passed.len().min(buffer.remaining());
                buffer.put_slice(&this.passed.split_to(count));
                return Poll::Ready(Ok(()));
            }
            let Some(came) = &mut this.came else {
                return Pin::new(&mut this.io).poll_read(context, buffer);
            };
            let mut piece = [0; 1 << 10];
            let mut piece = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut this.io).poll_read(context, &mut piece))?;
            came.extend_from_slice(piece.filled());
            let over = piece.filled().is_empty().then(|| came.to_vec());
            if let Some(passed) = over.or_else(|| unbound(came)) {
                (this.passed, this.came) = (passed.into(), None);
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Unbound<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// What a server said, without the offer to bind to TLS; none where its offer is still to come.
fn unbound(came: &[u8]) -> Option<Vec<u8>> {
    let as_it_is = || Some(came.to_vec());
    let mut at = 0;
    loop {
        let rest = &came[at..];
        let Some((kind, length)) = rest
            .split_first()
            .and_then(|(kind, rest)| Some((*kind, u32::from_be_bytes(*rest.first_chunk()?))))
        else {
            return if came.len() < LOOKED_AT { None } else { as_it_is() };
        };
        // No message is so short, and none of these so long.
        let length = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(1);
        if length < HEADER || length > LOOKED_AT - at.min(LOOKED_AT) {
            return as_it_is();
        }
        let message = rest.get(..length)?;
        match kind {
            // A notice, or which version it speaks.
            b'N' | b'v' => at += length,
            b'R' => {
                let Some(names) = message[HEADER..].strip_prefix(SASL) else { return as_it_is() };
                let names = names.split(|byte| *byte == 0).take_while(|name| !name.is_empty());
                let mut offer = SASL.to_vec();
                for name in names.filter(|name| *name != BOUND) {
                    offer.extend_from_slice(name);
                    offer.push(0);
                }
                offer.push(0);
                let length = u32::try_from(offer.len() + HEADER - 1).unwrap_or(u32::MAX);
                let length = length.to_be_bytes();
                return Some([&came[..at], b"R", &length, &offer, &rest[message.len()..]].concat());
            }
            _ => return as_it_is(),
        }
    }
}

/// Whether a client asks for encryption, if that can be told from what came so far.
fn asks(said: &[u8]) -> Option<bool> {
    let is = |request: &[u8]| said.starts_with(request);
    let may_become = |request: &[u8]| request.starts_with(said);
    let requests = [SSL_REQUEST, GSSENC_REQUEST];
    if requests.iter().any(|request| is(request)) {
        return Some(true);
    }
    (!requests.iter().any(|request| may_become(request))).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_told_from_a_beginning() {
        let startup = b"\0\0\0\x08\0\x03\0\0";
        let cancel = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02";
        for (said, expected) in [
            (&b""[..], None),
            (b"\0\0\0\x08\x04\xd2\x16", None),
            (&SSL_REQUEST, Some(true)),
            (&GSSENC_REQUEST, Some(true)),
            (&[&SSL_REQUEST[..], startup].concat(), Some(true)),
            (startup, Some(false)),
            (&startup[..5], Some(false)),
            (cancel, Some(false)),
            (b"\x16\x03\x01", Some(false)),
        ] {
            assert_eq!(asks(said), expected, "{said:?}");
        }
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind], &length[..], body].concat()
    }

    #[tokio::test]
    async fn a_server_offers_what_can_be_without_tls() {
        let sasl = |names: &str| message(b'R', &[SASL, names.as_bytes()].concat());
        let (all, left) =
            (sasl("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"), sasl("SCRAM-SHA-256\0\0"));
        let notice = message(b'N', b"SNOTICE\0\0");
        let (ok, error) = (message(b'R', &[0; 4]), message(b'E', b"SFATAL\0\0"));
        for (said, expected) in [
            (all.clone(), left.clone()),
            ([&notice[..], &all, b"more"].concat(), [&notice[..], &left, b"more"].concat()),
            (left.clone(), left.clone()),
            // Behind the first word everything passes as it is.
            ([&ok[..], &all].concat(), [&ok[..], &all].concat()),
            ([&error[..], &all].concat(), [&error[..], &all].concat()),
            (all[..9].to_vec(), all[..9].to_vec()),
            (b"R\0\0\0\x03".to_vec(), b"R\0\0\0\x03".to_vec()),
            (b"N\xff\xff\xff\xff, and so on".to_vec(), b"N\xff\xff\xff\xff, and so on".to_vec()),
            (vec![b'N'; 3], vec![b'N'; 3]),
            (Vec::new(), Vec::new()),
        ] {
            for pieces in [1, 7, 10_000] {
                let (near, mut far) = tokio::io::duplex(pieces);
                let sent = said.clone();
                let sending = async move {
                    far.write_all(&sent).await.unwrap();
                };
                let mut read = Vec::new();
                let mut near = Unbound::new(near);
                let reading = near.read_to_end(&mut read);
                let ((), count) = tokio::join!(sending, reading);
                assert_eq!((count.unwrap(), &read), (expected.len(), &expected), "{pieces}");
            }
        }
        let notices = notice.repeat(1_000);
        assert_eq!(unbound(&notices), Some(notices));
    }

    #[tokio::test]
    async fn a_server_is_asked_and_no_byte_more_is_taken() {
        for (answer, expected) in [(&b"S\x16"[..], true), (b"N", false), (b"Eno", false)] {
            let (mut near, mut far) = tokio::io::duplex(64);
            far.write_all(answer).await.unwrap();
            assert_eq!(ask_for_tls(&mut near).await.unwrap(), expected, "{answer:?}");
            let mut asked = [0; 8];
            far.read_exact(&mut asked).await.unwrap();
            assert_eq!(asked, SSL_REQUEST);
            drop(far);
            let mut rest = Vec::new();
            near.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, answer[1..]);
        }
        let (mut near, far) = tokio::io::duplex(64);
        drop(far);
        ask_for_tls(&mut near).await.unwrap_err();
    }
}
