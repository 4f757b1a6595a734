//! A request on its way to a service of HTTP/1.1.
//!
//! What it says is framed by what was told of its length: so many bytes, or chunks. A body that
//! breaks off is never ended. Of a body no more than [`QUEUED_MAX`] and a few pieces is taken
//! before some of that has left.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame};
use strait_net::fields::Fields;
use strait_net::fields::names::{CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use strait_net::http1::{Length, Sending, put};
use tokio::io::AsyncWrite;

use super::request::Asked;

/// Bytes of a body that are taken and have not left, but for what comes with them at once.
const QUEUED_MAX: usize = 64 << 10;

/// One request, as far as it has not left.
pub(super) struct Outgoing<B> {
    sending: Sending,
    body: B,
    /// Of its trailers, those that its head names.
    named: Vec<HeaderName>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There may be more to come.
    Running,
    /// All of it was taken.
    Whole,
    /// It broke off: what has left must not look whole.
    BrokenOff,
    /// The connection takes no more. It may have been answered before.
    Unwanted,
    /// The same, and no end of an answer came before.
    Reset,
}

impl<B: Default> Default for Outgoing<B> {
    fn default() -> Self {
        Self {
            sending: Sending::default(),
            body: B::default(),
            named: Vec::new(),
            state: State::Whole,
        }
    }
}

impl<B: Body<Data = Bytes> + Default + Unpin> Outgoing<B> {
    /// Begins a request; `has_body`: `body` is one, if only an empty one.
    pub(super) fn begin(&mut self, asked: &Asked, body: B, has_body: bool) {
        let length = match asked.length {
            _ if !has_body => Length::Known(0),
            Some(length) => Length::Known(length),
            None => Length::Chunked,
        };
        let chunked = length == Length::Chunked;
        self.named = if chunked { announced(&asked.fields) } else { Vec::new() };
        self.body = body;
        self.sending.clear();
        self.sending.begin(head(asked, chunked).into(), length);
        self.state = if self.sending.is_whole() { State::Whole } else { State::Running };
    }

    /// Whether all of it has left.
    pub(super) fn has_left(&self) -> bool {
        self.state == State::Whole && self.sending.has_left()
    }

    /// Whether it broke off.
    pub(super) fn is_broken_off(&self) -> bool {
        self.state == State::BrokenOff
    }

    /// Whether the connection was reset, and it was this that found out.
    pub(super) fn is_reset(&self) -> bool {
        self.state == State::Reset
    }

    /// Sends what there is of it, and takes what comes, as far as the connection goes along.
    pub(super) fn poll(&mut self, io: &mut (impl AsyncWrite + Unpin), context: &mut Context<'_>) {
        loop {
            self.gather(context);
            match self.sending.poll_write(io, context) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) | Poll::Pending => return,
                Poll::Ready(Err(error)) => {
                    // Whoever finds a reset first is told of it, and nobody after: a read then
                    // sees an end. Where one came before, the pipe is what is broken.
                    let ended = error.kind() == io::ErrorKind::BrokenPipe;
                    self.state = if ended { State::Unwanted } else { State::Reset };
                    self.sending.clear();
                    return;
                }
            }
        }
    }

    /// Takes what is there of the body.
    fn gather(&mut self, context: &mut Context<'_>) {
        while self.state == State::Running && !self.sending.is_full(QUEUED_MAX) {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(frame))) => self.frame(frame),
                Poll::Ready(None) => self.end(&HeaderMap::new()),
                Poll::Ready(Some(Err(_))) => self.state = State::BrokenOff,
            }
        }
        if self.state != State::Running {
            // With it goes its half of the stream.
            self.body = B::default();
        }
    }

    fn frame(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(data) => self.data(data),
            Err(frame) => self.end(&frame.into_trailers().unwrap_or_default()),
        }
    }

    fn data(&mut self, data: Bytes) {
        let taken = self.sending.data(data);
        self.state = match taken {
            Err(_) => State::BrokenOff,
            Ok(()) if self.sending.is_whole() => State::Whole,
            Ok(()) => State::Running,
        };
    }

    fn end(&mut self, trailers: &HeaderMap) {
        let named = trailers.iter().filter(|(name, _)| self.named.contains(name));
        let ended = self.sending.end(named);
        self.state = if ended.is_ok() { State::Whole } else { State::BrokenOff };
    }
}

/// The head of a request, with the empty line.
fn head(asked: &Asked, chunked: bool) -> Vec<u8> {
    let path = asked.uri.path_and_query().map_or("/", |path| path.as_str());
    let (method, version) = (asked.method.as_str(), " HTTP/1.1\r\n");
    let has_te = asked.fields.has(TE);
    let own: [Option<(&str, &[u8])>; 3] = [
        // Some methods have a body only where the head says so.
        chunked.then_some((TRANSFER_ENCODING, &b"chunked"[..])),
        asked.upgrade.as_ref().map(|protocol| (UPGRADE, protocol.value().as_bytes())),
        match &asked.upgrade {
            Some(_) if has_te => Some((CONNECTION, b"upgrade, te")),
            Some(_) => Some((CONNECTION, b"upgrade")),
            None => has_te.then_some((CONNECTION, b"te")),
        },
    ];
    let fields = || {
        let own = own.iter().flatten().map(|(name, value)| (name.as_bytes(), *value));
        asked.fields.iter().map(|field| (field.name, field.value)).chain(own)
    };
    let length = |(name, value): (&[u8], &[u8])| name.len() + value.len() + 4;
    let first = method.len() + 1 + path.len() + version.len();
    let length = first + fields().map(length).sum::<usize>() + 2;
    let mut head = Vec::with_capacity(length);
    for part in [method, " ", path, version] {
        head.extend_from_slice(part.as_bytes());
    }
    fields().for_each(|(name, value)| put(&mut head, name, value));
    head.extend_from_slice(b"\r\n");
    head
}

/// The trailers that a head announces (RFC 9110 §6.6.2).
fn announced(fields: &Fields) -> Vec<HeaderName> {
    let names = fields.all(TRAILER).flat_map(|value| value.split(|byte| *byte == b','));
    names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures_util::FutureExt as _;
    use futures_util::future::poll_fn;
    use http::{HeaderValue, Method, Uri};
    use proptest::prelude::*;
    use strait_net::http1::PIECES_MAX;
    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;
    use crate::http::testing::fields_of;
    use crate::http::upgrade::Protocol;

    /// A body that is there at once; none where it broke off.
    #[derive(Default)]
    struct Script(VecDeque<Option<Frame<Bytes>>>);

    impl Body for Script {
        type Data = Bytes;
        type Error = ();

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
            Poll::Ready(self.0.pop_front().map(|frame| frame.ok_or(())))
        }
    }

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    fn asked(fields: &[(&'static str, &'static str)], length: Option<u64>) -> Asked {
        Asked {
            method: Method::POST,
            uri: Uri::from_static("http://ci/a?b"),
            fields: fields_of(fields),
            upgrade: None,
            expects: false,
            length,
            bare: false,
            claimed: false,
        }
    }

    fn data(text: &str) -> Option<Frame<Bytes>> {
        Some(Frame::data(Bytes::copy_from_slice(text.as_bytes())))
    }

    /// Sends as much as goes.
    fn step(outgoing: &mut Outgoing<Script>, io: &mut (impl AsyncWrite + Unpin)) {
        let step = poll_fn(|context| {
            outgoing.poll(io, context);
            Poll::Ready(())
        });
        step.now_or_never();
    }

    /// What arrives of a request over a connection that takes so many bytes at once, and whether
    /// all of it has left.
    async fn sent(
        asked: &Asked,
        body: Vec<Option<Frame<Bytes>>>,
        has_body: bool,
        at_once: usize,
    ) -> (String, bool) {
        let (mut io, mut service) = duplex(at_once);
        let mut outgoing = Outgoing::default();
        outgoing.begin(asked, Script(body.into()), has_body);
        let mut came = Vec::new();
        loop {
            step(&mut outgoing, &mut io);
            match service.read_buf(&mut came).now_or_never() {
                Some(read) => assert!(read.unwrap() > 0),
                None => break,
            }
        }
        assert!(!(outgoing.has_left() && outgoing.is_broken_off()));
        (String::from_utf8(came).unwrap().replace("\r\n", "|"), outgoing.has_left())
    }

    #[tokio::test]
    async fn a_request_is_framed_by_what_is_known_of_its_length() {
        let trailers = || {
            let fields = map(&[("x-sum", "1"), ("x-other", "2"), ("x-sum", "3")]);
            Some(Frame::trailers(fields))
        };
        let plain = "POST /a?b HTTP/1.1|";
        for (fields, length, body, expected, left) in [
            (&[][..], Some(0), None, "|", true),
            (&[("content-length", "0")], Some(0), None, "content-length: 0||", true),
            (
                &[("content-length", "3")],
                Some(3),
                Some(vec![data("a"), data(""), data("bc"), data("not sent")]),
                "content-length: 3||abc",
                true,
            ),
            (
                &[("content-length", "3")],
                Some(3),
                Some(vec![data("a"), data("b")]),
                "content-length: 3||ab",
                false,
            ),
            (
                &[("content-length", "3")],
                Some(3),
                Some(vec![data("a"), data("bcd")]),
                "content-length: 3||a",
                false,
            ),
            (
                &[("content-length", "3")],
                Some(3),
                Some(vec![data("a"), trailers()]),
                "content-length: 3||a",
                false,
            ),
            (&[], None, Some(vec![]), "transfer-encoding: chunked||0||", true),
            (
                &[],
                None,
                Some(vec![data("hello, hello, hello"), data(""), data("x"), trailers()]),
                "transfer-encoding: chunked||13|hello, hello, hello|1|x|0||",
                true,
            ),
            (
                &[("trailer", "X-Sum, content-md5")],
                None,
                Some(vec![data("x"), trailers()]),
                "trailer: X-Sum, content-md5|transfer-encoding: chunked||1|x|0|x-sum: 1|x-sum: 3||",
                true,
            ),
            (&[], None, Some(vec![data("x"), None]), "transfer-encoding: chunked||1|x|", false),
            (&[("te", "trailers")], Some(0), None, "te: trailers|connection: te||", true),
        ] {
            let has_body = body.is_some();
            let body = body.unwrap_or_default();
            let (came, whole) = sent(&asked(fields, length), body, has_body, 1 << 20).await;
            assert_eq!(came, format!("{plain}{expected}"));
            assert_eq!(whole, left, "{came}");
        }
    }

    #[tokio::test]
    async fn a_wish_for_another_protocol_is_one_of_the_connection() {
        let asked = Asked {
            method: Method::GET,
            upgrade: Some(Protocol::websocket()),
            ..asked(&[("te", "trailers")], None)
        };
        let (came, left) = sent(&asked, Vec::new(), false, 1 << 20).await;
        let fields = "te: trailers|upgrade: websocket|connection: upgrade, te";
        assert_eq!((&*came, left), (&*format!("GET /a?b HTTP/1.1|{fields}||"), true));
    }

    #[tokio::test]
    async fn of_a_body_that_does_not_leave_little_is_taken() {
        let (mut io, _service) = duplex(1);
        for length in [1, 16 << 10] {
            let piece = "x".repeat(length);
            let mut outgoing = Outgoing::default();
            let body = Script((0..1000).map(|_| data(&piece)).collect());
            outgoing.begin(&asked(&[], None), body, true);
            step(&mut outgoing, &mut io);
            let taken = 1000 - outgoing.body.0.len();
            assert!(taken <= PIECES_MAX && taken * length <= QUEUED_MAX + length, "{taken}");
        }
    }

    #[tokio::test]
    async fn what_the_connection_does_not_take_is_given_up() {
        let (mut io, service) = duplex(1);
        drop(service);
        let mut outgoing = Outgoing::<Script>::default();
        outgoing.begin(&asked(&[], Some(0)), Script::default(), false);
        step(&mut outgoing, &mut io);
        assert!(!outgoing.has_left() && !outgoing.is_broken_off());
    }

    proptest! {
        #[test]
        fn how_much_is_taken_at_once_does_not_matter(
            pieces in prop::collection::vec(prop_oneof![0_usize..20, 900_usize..1200, Just(70_000)], 0..30),
            at_once in prop_oneof![1_usize..300, Just(1 << 20)],
            sized: bool,
        ) {
            let total = pieces.iter().sum::<usize>() as u64;
            let asked = asked(&[], sized.then_some(total));
            let texts: Vec<String> = pieces.iter().map(|length| "x".repeat(*length)).collect();
            let body = texts.iter().map(|text| data(text)).collect();
            let (came, left) = sent(&asked, body, true, at_once).now_or_never().unwrap();
            prop_assert!(left);
            let (_, body) = came.split_once("||").unwrap();
            let expected = if sized {
                texts.concat()
            } else {
                let chunks = texts.iter().filter(|text| !text.is_empty());
                let chunks: String = chunks.map(|text| format!("{:x}|{text}|", text.len())).collect();
                chunks + "0||"
            };
            prop_assert!(body == expected);
        }
    }
}
