//! What the two sides of a connection say about it, on its control streams.
//!
//! Each side opens one stream of kind control and writes messages to it; nothing is answered on
//! the stream that it came by. A message is its length in four bytes and an object of JSON whose
//! `t` says what it is. What has no meaning here is passed over, so that either side may be older.
//!
//! Bounds: 64 KiB a message, 20 messages a second (the writer waits, and so does the reader: the
//! stream's credit then holds the peer back), [`SERVICES_MAX`] services in all parts of a list.
//! There is no message by which a hub could restart, upgrade, configure or run anything.

mod list;
mod pace;
mod unreached;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use strait_runtime::Clock;
use strait_tunnel::Code;

pub use list::{Lists, SERVICES_MAX, Taken};
use pace::Pace;
pub use unreached::Unreached;

use super::{Part, Receiver, Sender, Stopped};
use crate::services::{MESSAGE_MAX, Rejected};

/// Bytes of a length.
const LENGTH: usize = 4;

/// Most characters of a note that are shown.
const NOTE_CHARS_MAX: usize = 512;

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "kebab-case")]
pub enum Message {
    /// What an agent offers, whole or one part of it.
    Services(Services),
    /// What became of a list.
    ServicesAck {
        /// The list's number.
        r#gen: i64,
        /// What of it is not taken.
        #[serde(default)]
        refused: Vec<Refused>,
    },
    /// The sender takes no new streams, and ends when those that are there have, or by then.
    Draining {
        /// Milliseconds from now.
        deadline: u64,
    },
    /// The agent should renew its certificate now.
    Renew,
    /// The hubs that there are.
    Hubs {
        /// In no order.
        list: Vec<Hub>,
    },
    /// What the agent may call.
    Incoming {
        /// In no order.
        list: Vec<Callable>,
    },
    /// Whether the agent goes by what its files say.
    Config {
        /// What of them it does not take; none: it does.
        #[serde(default)]
        rejected: Option<Rejected>,
    },
    /// For people.
    Note {
        /// Such as `warn`.
        level: String,
        /// What to show of it: [`shown`].
        text: String,
    },
    /// What this release does not know.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// A list of services, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Services {
    /// Counts lists.
    pub r#gen: i64,
    /// Of the whole list.
    pub hash: String,
    /// Which part this is, from 1.
    #[serde(default = "one")]
    pub part: u32,
    /// Of how many.
    #[serde(default = "one")]
    pub of: u32,
    /// The services.
    pub list: Vec<Announced>,
}

/// A service as it is announced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Announced {
    /// Its name.
    pub name: String,
    /// Its type.
    pub r#type: String,
    /// Of its settings.
    pub hash: String,
    /// Whether it can be reached, as far as the agent knows.
    #[serde(default)]
    pub ready: bool,
    /// Why not, if the agent says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreached: Option<Unreached>,
    /// Whether it is bytes both ways.
    #[serde(default)]
    pub raw: bool,
    /// Whether it may be mounted as a workspace.
    #[serde(default)]
    pub mount: bool,
    /// How it may be spoken to.
    #[serde(default)]
    pub protocols: Vec<String>,
    /// The methods that pass; any if empty.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Patterns of the paths that pass; any if empty.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Whether what changes nothing may be sent again.
    #[serde(default)]
    pub retry: bool,
    /// Whether a client's own `Authorization` passes.
    #[serde(default)]
    pub client_authorization: bool,
    /// Shown to people.
    #[serde(default)]
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// A service that the hub does not take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its name.
    pub name: String,
    /// Why, for people.
    pub reason: String,
}

/// A hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hub {
    /// Its identifier.
    pub id: String,
    /// Host and port.
    pub addr: String,
    /// Where it is.
    #[serde(default)]
    pub zone: String,
}

/// A service that the agent may call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Callable {
    /// Its type.
    pub r#type: String,
    /// Its name.
    pub name: String,
}

const fn one() -> u32 {
    1
}

impl Message {
    /// The message as JSON.
    ///
    /// # Panics
    /// For [`Unknown`](Self::Unknown), which nobody says.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("these members are JSON")
    }
}

/// A text of the other side as it may be shown: on one line and not long.
#[must_use]
pub fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(NOTE_CHARS_MAX).collect()
}

/// The other side, or this one, does not keep to the form of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A length above the limit, or zero.
    #[error("a control message of {0} bytes; 1 to 65536 are allowed")]
    Length(u32),
    /// It is no message.
    #[error("a control message that is no JSON object with a type")]
    Content,
}

/// A message with its length in front.
///
/// # Errors
/// It is too long.
pub fn frame(message: &[u8]) -> Result<Bytes, Malformed> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    if message.is_empty() || message.len() > MESSAGE_MAX {
        return Err(Malformed::Length(length));
    }
    let mut framed = BytesMut::with_capacity(LENGTH + message.len());
    framed.put_u32(length);
    framed.put_slice(message);
    Ok(framed.freeze())
}

/// Puts messages together out of what arrives. Holds at most one message and what was given last.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: BytesMut,
}

impl Decoder {
    /// Takes what arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next whole message; none where more has to arrive.
    ///
    /// # Errors
    /// What arrived is malformed; nothing after it can be understood.
    pub fn message(&mut self) -> Result<Option<Message>, Malformed> {
        let Some(mut length) = self.pending.get(..LENGTH) else { return Ok(None) };
        let told = length.get_u32();
        let length = usize::try_from(told).unwrap_or(usize::MAX);
        if length == 0 || length > MESSAGE_MAX {
            return Err(Malformed::Length(told));
        }
        if self.pending.len() < LENGTH + length {
            return Ok(None);
        }
        self.pending.advance(LENGTH);
        let message = self.pending.split_to(length);
        serde_json::from_slice(&message).map(Some).map_err(|_| Malformed::Content)
    }
}

/// Writes messages to a control stream.
pub struct Speaker<'a> {
    sender: &'a mut Sender,
    pace: Pace,
    clock: &'a dyn Clock,
    /// Whether a message was begun and not ended.
    within: bool,
}

impl<'a> Speaker<'a> {
    /// Of a stream that was opened here.
    #[must_use]
    pub fn new(sender: &'a mut Sender, clock: &'a dyn Clock) -> Self {
        Self { sender, pace: Pace::default(), clock, within: false }
    }

    /// Writes a message, which may have to wait for its turn. One that is too long is left out.
    ///
    /// # Errors
    /// The peer wants no more, or the stream is over.
    ///
    /// # Cancel safety
    /// A part of the message may have been written; nothing more can be said then.
    pub async fn say(&mut self, message: &[u8]) -> Result<(), Stopped> {
        let Ok(framed) = frame(message) else {
            tracing::error!(bytes = message.len(), "a control message is too long to be sent");
            return Ok(());
        };
        self.pace.turn(self.clock).await;
        if std::mem::replace(&mut self.within, true) {
            return Err(Stopped(Code::Cancel));
        }
        self.sender.write(framed).await?;
        self.within = false;
        Ok(())
    }
}

/// Reads messages from a control stream.
pub struct Listener<'a> {
    receiver: Receiver,
    decoder: Decoder,
    pace: Pace,
    clock: &'a dyn Clock,
}

impl<'a> Listener<'a> {
    /// Of a stream that either side opened.
    #[must_use]
    pub fn new(receiver: Receiver, clock: &'a dyn Clock) -> Self {
        Self { receiver, decoder: Decoder::default(), pace: Pace::default(), clock }
    }

    /// The next message; none at the end of the stream.
    ///
    /// # Errors
    /// The peer does not keep to the form.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn next(&mut self) -> Result<Option<Message>, Malformed> {
        loop {
            self.pace.wait(self.clock).await;
            if let Some(message) = self.decoder.message()? {
                self.pace.took(self.clock);
                return Ok(Some(message));
            }
            match self.receiver.next().await {
                Part::Data(bytes) => self.decoder.feed(&bytes),
                Part::Head(_) | Part::Trailers(_) => {}
                Part::End | Part::Broken(_) => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests;
