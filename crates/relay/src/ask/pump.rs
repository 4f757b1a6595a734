//! Connections that carry bytes both ways, each direction to its own end: those that became
//! another protocol, and those of raw services.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use strait_net::OnUpgrade;
use strait_net::http1::Intake;
use strait_tunnel::{Code, End};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::Meter;
use crate::link::{FAREWELL, Part, Receiver, Sender, Stopped};

/// Carries the bytes of a connection that became another protocol.
pub(super) async fn tunnel(
    on_upgrade: OnUpgrade,
    receiver: Receiver,
    sender: Sender,
    live: impl Meter,
) {
    let Ok(upgraded) = on_upgrade.await else { return };
    let _ = pump(upgraded, receiver, sender, &live).await;
}

/// Who broke a connection off.
pub(crate) enum Broken {
    Client,
    Stream(End),
}

/// Passes bytes on until both directions have ended, or one broke off. The stream is over then.
pub(crate) async fn pump<T: AsyncRead + AsyncWrite + Unpin>(
    io: T,
    mut receiver: Receiver,
    mut sender: Sender,
    live: &impl Meter,
) -> (T, Result<(), Broken>) {
    let (mut from, mut to) = tokio::io::split(io);
    let up = up(&mut from, &mut sender, live);
    let down = down(&mut receiver, &mut to, live);
    // The first break ends both; what is dropped then is reset.
    let ended = tokio::try_join!(up, down).map(drop);
    match &ended {
        Ok(()) => live.ended(None),
        Err(Broken::Stream(end)) => live.ended(Some(end)),
        // That the client left is heard from there being no end.
        Err(Broken::Client) => take_leave(&mut receiver, &sender).await,
    }
    (from.unsplit(to), ended)
}

/// A client that says its last word and breaks off is heard: many close TLS without a word of
/// that. What the service says meanwhile is for nobody.
async fn take_leave(receiver: &mut Receiver, sender: &Sender) {
    if sender.is_finished() {
        receiver.stop(Code::Cancel);
    } else {
        sender.abort(Code::Cancel, "the client broke off");
    }
    let over = async { while let Part::Data(_) | Part::Head(_) = receiver.next().await {} };
    // Out of time, the rest is dropped with the stream.
    let _ = timeout(FAREWELL, over).await;
}

async fn up<T: AsyncRead + Unpin>(
    from: &mut T,
    sender: &mut Sender,
    live: &impl Meter,
) -> Result<(), Broken> {
    let mut intake = Intake::default();
    let mut sent = 0;
    loop {
        let read = tokio::select! {
            read = poll_fn(|context| intake.poll_read(from, context)) => read,
            code = sender.stopped() => return stopped(sender, code),
        };
        match read {
            Ok(0) => {
                // An end already is no news.
                let _ = sender.finish();
                // Who writes looks after what the client still says, from now on.
                tokio::task::yield_now().await;
                // What comes may be held up by a client that reads nothing.
                let code = sender.stopped().await;
                return stopped(sender, code);
            }
            Ok(count) => {
                sent += count as u64;
                live.took(sent);
                if let Err(Stopped(code)) = sender.write(intake.take()).await {
                    return stopped(sender, code);
                }
            }
            Err(_) => return Err(Broken::Client),
        }
    }
}

/// What it means that no more is taken. What still comes says how it ends, but for what nobody
/// may have any longer.
fn stopped(sender: &Sender, code: Code) -> Result<(), Broken> {
    if code == Code::Revoked {
        let by = sender.stopped_by();
        return Err(Broken::Stream(End::broken(code, by)));
    }
    Ok(())
}

async fn down<T: AsyncWrite + Unpin>(
    receiver: &mut Receiver,
    to: &mut T,
    live: &impl Meter,
) -> Result<(), Broken> {
    loop {
        let part = tokio::select! {
            biased;
            part = receiver.next() => part,
            never = tend(to) => return never,
        };
        match part {
            Part::Data(bytes) => {
                live.brought(bytes.len());
                to.write_all(&bytes).await.map_err(|_| Broken::Client)?;
                to.flush().await.map_err(|_| Broken::Client)?;
            }
            // The client's half may go on.
            Part::End => return to.shutdown().await.map_err(|_| Broken::Client),
            Part::Broken(end) => return Err(Broken::Stream(end)),
            Part::Head(_) | Part::Trailers(_) => {}
        }
    }
}

/// Answers what a client says that has ended its direction, such as pings, and sees that it left.
/// Nothing is waited for that was written.
async fn tend<T: AsyncWrite + Unpin>(to: &mut T) -> Result<(), Broken> {
    poll_fn(|context| match Pin::new(&mut *to).poll_flush(context) {
        Poll::Ready(Err(_)) => Poll::Ready(Err(Broken::Client)),
        _ => Poll::Pending,
    })
    .await
}
