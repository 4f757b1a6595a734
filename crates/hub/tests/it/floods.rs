//! Connections of HTTP/2 that cost more than they ask for: ended, while others are served.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{Client, PATIENCE, TestHub};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113 §6).
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;

/// Flags of HEADERS: nothing follows, and the fields end here.
const WHOLE: u8 = 1 | 4;

/// What may pass before a connection is ended: what is sent on while that is not known yet, most
/// of it into buffers of the kernel's.
const PASSES_MAX: usize = 16 << 20;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// A field that is not to be remembered, its name and value as they are (RFC 7541 §6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// `GET /livez`.
fn asking() -> Vec<u8> {
    let all = [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/livez")];
    all.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// Sends pieces until the other side has ended the connection; how many bytes that took.
async fn until_ended(client: &Client, pieces: impl Iterator<Item = Vec<u8>>) -> usize {
    let (mut reader, mut writer) = tokio::io::split(client.connect_as(&[b"h2"]).await);
    let hello = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    writer.write_all(&hello).await.unwrap();
    let ended = async {
        let mut piece = vec![0; 16 << 10];
        while let Ok(1..) = reader.read(&mut piece).await {}
    };
    let mut sent = 0;
    let send = async {
        for piece in pieces {
            sent += piece.len();
            assert!(sent < PASSES_MAX, "it goes on");
            if writer.write_all(&piece).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let both = async {
        tokio::select! {
            () = ended => {}
            () = send => {}
        }
    };
    tokio::time::timeout(PATIENCE, both).await.expect("the connection is ended in time");
    sent
}

/// Row 41: CVE-2024-27316, CVE-2023-45288.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_without_end_end_their_connection() {
    let hub = TestHub::start().await;
    let first = frame(HEADERS, 1, 1, &asking());
    let value = "x".repeat(100);
    for more in [Vec::new(), field("x", &value), field("x", &value).repeat(100)] {
        let on = frame(CONTINUATION, 0, 1, &more);
        let pieces = std::iter::once(first.clone()).chain(std::iter::repeat(on));
        until_ended(&hub.anonymous(), pieces).await;
        assert_eq!(hub.anonymous().below("").get("/livez").await.status, 200);
    }
}

/// Row 41: CVE-2023-44487.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_given_up_at_once_end_their_connection() {
    let hub = TestHub::start().await;
    let both = |number: u32| {
        let id = 2 * number + 1;
        let cancel = frame(RST_STREAM, 0, id, &8_u32.to_be_bytes());
        [frame(HEADERS, WHOLE, id, &asking()), cancel].concat()
    };
    let pieces = (0..u32::MAX / 4).step_by(64);
    let pieces = pieces.map(|first| (first..first + 64).flat_map(both).collect());
    until_ended(&hub.anonymous(), pieces).await;
    assert_eq!(hub.anonymous().below("").get("/livez").await.status, 200);
}

/// The frames are those that a client may send.
#[tokio::test]
async fn a_request_in_these_frames_is_answered() {
    let hub = TestHub::start().await;
    let mut stream = hub.anonymous().connect_as(&[b"h2"]).await;
    let asked = [
        PREFACE,
        &frame(SETTINGS, 0, 0, &[]),
        &frame(HEADERS, 1, 1, &asking()[..9]),
        &frame(CONTINUATION, 4, 1, &asking()[9..]),
    ];
    stream.write_all(&asked.concat()).await.unwrap();
    let mut said = Vec::new();
    let answered = async {
        let mut piece = vec![0; 1 << 10];
        // `:status: 200` (RFC 7541, appendix A) in the HEADERS of the stream.
        while !said.windows(5).any(|five| five == [0, 0, 0, 1, 0x88]) {
            let count = stream.read(&mut piece).await.unwrap();
            assert_ne!(count, 0, "{said:?}");
            said.extend_from_slice(&piece[..count]);
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.unwrap();
}
