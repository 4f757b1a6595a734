//! A connection that became another protocol: bytes both ways, each direction to its own end.

use bytes::{Bytes, BytesMut};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use strait_tunnel::{Code, Directions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::live::Entry;
use crate::link::{Part, Receiver, Sender};

/// What is read at once.
const CHUNK: usize = 16 << 10;

/// Carries bytes until both sides have ended, or one broke off.
pub(super) async fn tunnel(
    on_upgrade: OnUpgrade,
    mut receiver: Receiver,
    mut sender: Sender,
    live: Entry,
) {
    let Ok(upgraded) = on_upgrade.await else { return };
    let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
    let up = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK);
            match from.read_buf(&mut buffer).await {
                Ok(0) => {
                    // An end already is no news.
                    let _ = sender.finish();
                    return Ok(());
                }
                Ok(count) => {
                    live.took(count);
                    let bytes: Bytes = buffer.split().freeze();
                    sender.write(bytes).await.map_err(|stopped| stopped.0)?;
                }
                Err(_) => {
                    sender.reset(Directions::Both, Code::Cancel, "the client broke off");
                    return Err(Code::Cancel);
                }
            }
        }
    };
    let down = async {
        loop {
            match receiver.next().await {
                Part::Data(bytes) => {
                    live.brought(bytes.len());
                    to.write_all(&bytes).await.map_err(|_| Code::Cancel)?;
                    to.flush().await.map_err(|_| Code::Cancel)?;
                }
                Part::End => {
                    // The client's half may go on.
                    return to.shutdown().await.map_err(|_| Code::Cancel);
                }
                Part::Broken(end) => return Err(end.code),
                Part::Head(_) | Part::Trailers(_) => {}
            }
        }
    };
    // The first break ends both; what is dropped then is reset.
    let code = match tokio::try_join!(up, down) {
        Ok(_) => Code::None,
        Err(code) => code,
    };
    live.ended(code);
}
