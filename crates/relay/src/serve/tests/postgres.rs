//! A service that is asked for TLS in PostgreSQL's protocol.

use bytes::Bytes;
use strait_tunnel::Code;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::lives::{authority, tls_of};
use super::rig::{Answer, Rig};
use crate::link::Part;

const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSSENC_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";
const STARTUP: &[u8] = b"\0\0\0\x08\0\x03\0\0";

/// What a client gets that says these pieces, where the server answers so to the agent's question
/// and then says what it hears, and what is known of the certificate's authority.
async fn ask(pieces: &[&[u8]], answer: &'static [u8], trusted: &str) -> Answer {
    let (own, other) = (authority(1), authority(2));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = format!("{{serverName: ci.example, caFile: DIR/{trusted}, starttls: postgres}}");
    let rig = Rig::with_files(
        &format!("services:\n- {{name: db, type: tcp, address: \"{address}\", tls: {tls}}}\n"),
        &[("ca", &own.certificate_pem()), ("other", &other.certificate_pem())],
    )
    .await;
    let acceptor = tls_of(&own, &[]);
    rig.tasks.spawn_daemon("service", async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut asked = [0; 8];
        socket.read_exact(&mut asked).await.unwrap();
        assert_eq!(asked, SSL_REQUEST);
        socket.write_all(answer).await.unwrap();
        let Ok(mut socket) = acceptor.accept(socket).await else { return };
        let mut heard = Vec::new();
        // Who says nothing is gone without a word.
        if socket.read_to_end(&mut heard).await.is_ok() {
            socket.write_all(&heard).await.unwrap();
            socket.shutdown().await.unwrap();
        }
    });
    let (mut receiver, mut sender) = rig.raw("db").split();
    for piece in pieces {
        // What is refused takes nothing more.
        if sender.write(Bytes::copy_from_slice(piece)).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let _ = sender.finish();
    Answer::read(&mut receiver).await
}

#[tokio::test]
async fn the_agent_sees_to_tls_and_a_client_that_asks_goes_on_without() {
    for (pieces, noes) in [
        (&[STARTUP, b"select"][..], 0),
        (&[SSL_REQUEST, STARTUP], 1),
        (&[&SSL_REQUEST[..3], &SSL_REQUEST[3..], STARTUP], 1),
        (&[GSSENC_REQUEST, SSL_REQUEST, STARTUP], 2),
    ] {
        let answer = ask(pieces, b"S", "ca").await;
        assert_eq!(answer.end, Part::End);
        let heard = pieces.concat();
        let expected = [&b"NN"[..noes], &heard[noes * SSL_REQUEST.len()..]].concat();
        assert_eq!(answer.body, expected, "{pieces:?}");
    }
}

#[tokio::test]
async fn a_server_without_tls_or_with_anothers_certificate_gets_nothing() {
    for (answer, trusted, told) in [
        (&b"N"[..], "ca", "the server takes no TLS"),
        (b"E", "ca", "the server takes no TLS"),
        // In the clear behind its yes: it is not what TLS said.
        (b"Sinjected", "ca", "the TLS handshake failed"),
        (b"S", "other", "is not signed by tls.caFile"),
    ] {
        let end = ask(&[STARTUP], answer, trusted).await.end;
        let Part::Broken(end) = end else { panic!("{end:?}") };
        assert_eq!(end.code, Code::UpstreamTls, "{answer:?}");
        assert!(end.text.contains(told), "{}", end.text);
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_it_said_who_it_is_left_in_order() {
    for (pieces, told) in [(&[SSL_REQUEST][..], "N"), (&[], "")] {
        let answer = ask(pieces, b"S", "ca").await;
        assert_eq!((answer.text(), &answer.end), (told, &Part::End));
    }
}
