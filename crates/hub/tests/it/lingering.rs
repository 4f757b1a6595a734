//! Streams that were cut and whose clients read nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::Timestamp;
use strait_relay::hub::STREAMS_PATH;
use strait_runtime::ManualClock;

use crate::fake_agent::{Acme, CI};
use crate::harness::{PATIENCE, TestHub, until};

#[tokio::test]
async fn a_stream_that_does_not_end_is_seen_again_as_cut() {
    let clock = Arc::new(ManualClock::new(Timestamp::now()));
    let acme = Acme::on(TestHub::start_at(clock.clone()).await).await;
    let mut agent = acme.smith().await;
    let alice = &acme.alice;
    let io = TokioIo::new(alice.connect_as(&[b"h2"]).await);
    // No byte of a body may come.
    let mut client = http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) =
        client.initial_stream_window_size(0).handshake(io).await.unwrap();
    tokio::spawn(connection);
    let url = format!("https://{}/clusters/root:acme{CI}", alice.address());
    let asked = Request::get(url).body(Empty::<Bytes>::new()).unwrap();
    let (answer, mut stream) = tokio::join!(sender.send_request(asked), agent.answer(200));
    stream.sender.write(Bytes::from_static(b"data")).await.unwrap();
    let answer = answer.unwrap();

    let list = async || alice.get(STREAMS_PATH).await.expect(200).array_at(&["items"]).to_vec();
    let held = async {
        loop {
            let open = list().await;
            if open[0].at(&["status", "bytesOut"]) == Some(&4.into()) {
                return open;
            }
        }
    };
    let open = tokio::time::timeout(PATIENCE, held).await.expect("the hub holds some of it");
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].at(&["status", "cutSeconds"]), None);
    let one = format!("{STREAMS_PATH}/{}", open[0].str_at(&["metadata", "name"]).unwrap());
    alice.delete(&one).await.expect(200);
    assert!(list().await.is_empty());
    alice.get(&one).await.refused(404, "NotFound");
    clock.advance(Duration::from_secs(6));
    let front = acme.hub.hub().front();
    assert_eq!(front.live().count(), 1, "it still counts");
    for seen in [list().await.remove(0), alice.get(&one).await.expect(200)] {
        assert_eq!(seen.at(&["status", "cutSeconds"]), Some(&6.into()), "{seen}");
    }
    // Cut again, it was cut when it was.
    let again = alice.delete(&one).await.expect(200);
    assert_eq!(again.at(&["status", "cutSeconds"]), Some(&6.into()), "{again}");
    assert_eq!(list().await.len(), 1);

    drop((answer.into_body().frame(), sender, stream));
    until(|| front.live().count() == 0).await;
}
