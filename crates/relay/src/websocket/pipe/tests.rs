//! Both ends of a pipe, and clients that do not keep to the protocol.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

async fn pair(room: usize) -> (Pipe<DuplexStream>, Pipe<DuplexStream>) {
    let (near, far) = duplex(room);
    tokio::join!(Pipe::new(near, Role::Client), Pipe::new(far, Role::Server))
}

/// A server's pipe, and what its client really writes.
async fn server() -> (Pipe<DuplexStream>, DuplexStream) {
    let (near, far) = duplex(256 << 10);
    (Pipe::new(far, Role::Server).await, near)
}

/// A frame with a mask that changes nothing.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
        length @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

#[tokio::test]
async fn each_direction_ends_in_its_own_time() {
    for (name, (mut one, mut other)) in [
        ("client first", pair(1_000).await),
        ("server first", {
            let (client, server) = pair(1_000).await;
            (server, client)
        }),
    ] {
        one.write_all(b"asked").await.unwrap();
        one.shutdown().await.unwrap();
        let mut heard = String::new();
        other.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "asked", "{name}");
        // One end is told once.
        one.shutdown().await.unwrap();
        assert_eq!(other.read(&mut [0; 8]).await.unwrap(), 0, "{name}");
        other.write_all(b"answered").await.unwrap();
        other.shutdown().await.unwrap();
        let mut heard = String::new();
        one.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "answered", "{name}");
    }
}

#[tokio::test]
async fn bytes_stay_in_order_however_they_are_cut() {
    let (mut client, mut server) = pair(70_000).await;
    let sent: Vec<u8> =
        (0..3_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let expected = sent.clone();
    let write = async move {
        let (mut rest, mut size) = (&sent[..], 1_usize);
        while !rest.is_empty() {
            size = (size * 31 + 7) % 200_000;
            let (piece, left) = rest.split_at(size.min(rest.len()));
            client.write_all(piece).await.unwrap();
            rest = left;
        }
        client.shutdown().await.unwrap();
        client
    };
    let mut heard = Vec::new();
    let (_, read) = tokio::join!(write, server.read_to_end(&mut heard));
    read.unwrap();
    assert!(heard == expected);
}

#[tokio::test]
async fn a_close_without_an_end_is_no_end() {
    let (client, server) = pair(1_000).await;
    let reason = "ä".repeat(100);
    let (error, ()) = tokio::join!(
        async {
            let mut server = server;
            server.read(&mut [0; 8]).await.unwrap_err()
        },
        client.close(4_502, &reason),
    );
    let closed = Closed::find(&error).unwrap();
    assert_eq!((closed.code, closed.reason.as_str()), (4_502, &*"ä".repeat(61)));

    let (client, mut server) = pair(1_000).await;
    drop(client);
    let error = server.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(Closed::find(&error), None);
}

#[tokio::test]
async fn a_close_is_seen_by_who_only_writes() {
    let (mut client, mut server) = pair(1_000).await;
    server.shutdown().await.unwrap();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    let write = async move {
        loop {
            if let Err(error) = client.write_all(b"more").await {
                return error;
            }
            tokio::task::yield_now().await;
        }
    };
    let (error, ()) = tokio::join!(write, server.close(4_401, "revoked"));
    assert_eq!(Closed::find(&error).unwrap().reason, "revoked");
}

#[tokio::test]
async fn pings_are_answered_and_fragments_put_together() {
    let (mut server, mut client) = server().await;
    for part in [
        frame(0x02, b"fr"),
        frame(0x89, b"there?"),
        frame(0x00, b""),
        frame(0x80, b"agments"),
        frame(0x82, b""),
        frame(0x82, b"."),
        frame(0x81, HALF_CLOSE.as_bytes()),
    ] {
        client.write_all(&part).await.unwrap();
    }
    let mut heard = String::new();
    server.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "fragments.");
    server.flush().await.unwrap();
    let mut pong = [0; 8];
    client.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"\x8a\x06there?");
}

#[tokio::test]
async fn who_does_not_keep_to_the_protocol_is_told_by_a_code() {
    let fragments = [frame(0x02, &[0; 40_000]), frame(0x80, &[0; 40_000])].concat();
    let after_end = [frame(0x81, HALF_CLOSE.as_bytes()), frame(0x82, b"x")].concat();
    let table: [(&str, Vec<u8>, u16); 11] = [
        ("no mask", vec![0x82, 1, b'x'], 1002),
        ("a reserved bit", frame(0xc2, b"x"), 1002),
        ("a reserved operation", frame(0x83, b"x"), 1002),
        ("a fragment of nothing", frame(0x80, b"x"), 1002),
        ("a ping in fragments", frame(0x09, b"x"), 1002),
        ("a large ping", frame(0x89, &[0; 126]), 1002),
        ("a huge frame", frame(0x82, &[0; 65_537])[..14].to_vec(), 1009),
        ("a huge message", fragments, 1009),
        ("text", frame(0x81, b"hello"), 1003),
        ("text that is none", frame(0x81, b"\xff\xff"), 1007),
        ("bytes behind the end", after_end, 1003),
    ];
    for (name, bytes, code) in table {
        let (mut server, mut client) = server().await;
        client.write_all(&bytes).await.unwrap();
        let error = loop {
            match server.read(&mut [0; 4096]).await {
                Ok(0) => match server.write_all(b"x").await {
                    Ok(()) => {}
                    Err(error) => break error,
                },
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{name}: {error}");
        let mut told = Vec::new();
        let read = async {
            let read = tokio::time::timeout(PATIENCE, client.read_to_end(&mut told)).await;
            read.expect("the server ends its side").unwrap();
            drop(client);
        };
        tokio::join!(read, server.close(1000, ""));
        assert_eq!(
            told[told.len() - 4..],
            [&[0x88, 2][..], &code.to_be_bytes()].concat(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_reader_that_reads_nothing_holds_up_the_writer() {
    let (mut client, server) = pair(1_000).await;
    let mut taken = 0;
    let write = async {
        loop {
            taken += client.write(&[0; 16 << 10]).await.unwrap();
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(100), write).await.is_err());
    assert!(taken <= 2 * MESSAGE_MAX, "{taken}");
    drop(server);
}
