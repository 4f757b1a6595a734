//! Control messages of a peer: understood alike in whatever pieces they come, and said again as
//! they were.
#![cfg_attr(feature = "run", no_main)]

use libfuzzer_sys::fuzz_target;
use strait_relay::link::control::{Decoder, Message, frame};

fuzz_target!(|data: &[u8]| {
    let read = |bytes: &[u8], piece: usize| {
        let mut decoder = Decoder::default();
        let mut messages = Vec::new();
        for piece in bytes.chunks(piece) {
            decoder.feed(piece);
            loop {
                match decoder.message() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(error) => return (messages, Some(error)),
                }
            }
        }
        (messages, None)
    };
    // As they are, and as one message each, so that lengths need not be found.
    let whole = frame(data).map(|framed| framed.to_vec()).unwrap_or_default();
    for bytes in [data, &whole] {
        let (messages, error) = read(bytes, bytes.len().max(1));
        assert_eq!(read(bytes, 1), (messages.clone(), error));
        for message in messages.iter().filter(|message| !matches!(message, Message::Unknown)) {
            let said = frame(&message.to_bytes());
            if let Ok(said) = said {
                assert_eq!(read(&said, said.len()), (vec![message.clone()], None));
            }
        }
    }
});

/// What is only built with the workspace.
#[cfg(not(feature = "run"))]
fn main() {}
