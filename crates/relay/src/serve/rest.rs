//! What follows the head of an answer, passed on for as long as it takes.
//!
//! Most of what a process holds for its streams is held here: little else is needed by then.

use std::future::poll_fn;

use strait_tunnel::Code;
use tokio::time::Instant;

use super::flow::Flow;
use super::live::{Live, Way};
use super::pool::{Inner, Said};
use super::{answer, until};
use crate::link::Sender;

/// An answer whose head was passed on, and the connection that it comes by.
pub(super) struct Rest {
    pub(super) inner: Inner,
    /// Whether another request may use the connection.
    pub(super) keeps: bool,
    /// When the request's own time is over.
    pub(super) deadline: Option<Instant>,
}

impl Rest {
    /// Passes all of it on. There is no place for a message of ours.
    ///
    /// # Errors
    /// What its stream is to end with.
    pub(super) async fn pass(
        self,
        live: &Live,
        sender: &mut Sender,
        flow: &Flow,
    ) -> Result<(), Code> {
        let Self { mut inner, keeps, deadline } = self;
        tokio::select! {
            biased;
            passed = parts(&mut inner, sender, flow) => passed?,
            _ = flow.watch(&live.service.limits) => return Err(Code::Timeout),
            () = over(deadline) => return Err(Code::Timeout),
        }
        if let Way::Http(pool) = &live.kept.way
            && keeps
        {
            pool.keep(inner);
        }
        Ok(())
    }
}

/// Waits until a request's own time is over.
pub(super) async fn over(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => Box::pin(tokio::time::sleep_until(deadline)).await,
        None => std::future::pending().await,
    }
}

/// Passes on what follows, until it is whole.
async fn parts(inner: &mut Inner, sender: &mut Sender, flow: &Flow) -> Result<(), Code> {
    let mut trailers = None;
    loop {
        let said = until(sender, poll_fn(|context| inner.poll_next(context))).await?;
        match said {
            Ok(Said::Data(mut data)) => {
                flow.received(data.len());
                // The request goes on being sent meanwhile.
                let mut waited = false;
                let writing = poll_fn(|context| {
                    let written = sender.poll_write(context, &mut data);
                    if written.is_pending() {
                        waited = true;
                        inner.poll_send(context);
                    }
                    written
                });
                writing.await.map_err(|stopped| stopped.0)?;
                if waited {
                    flow.touch();
                }
            }
            Ok(Said::Trailers(fields)) => trailers = answer::trailers(&fields).map(Box::new),
            Ok(Said::End) => break,
            Ok(Said::Informed(..) | Said::Head { .. }) | Err(_) => {
                return Err(Code::UpstreamReset);
            }
        }
    }
    // A stream that is over by now is over in order: everything was written.
    let _ = match &trailers {
        Some(trailers) => sender.send_trailers(trailers),
        None => sender.finish(),
    };
    Ok(())
}
