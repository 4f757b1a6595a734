//! What a service answers: taken alike in whatever pieces it comes, and no head passes that
//! another parser reads differently.
#![cfg_attr(feature = "run", no_main)]

use libfuzzer_sys::fuzz_target;
use strait_net::http1::{read_answer, read_chunk_size};

fuzz_target!(|data: &[u8]| {
    strait_relay::serve::fuzz_answers(data);
    let _ = read_chunk_size(data);
    let end = data.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4);
    let Some(head) = end.map(|end| &data[..end]) else { return };
    let Ok(own) = read_answer(head.into()) else { return };
    let mut fields = [httparse::EMPTY_HEADER; 1024];
    let mut answer = httparse::Response::new(&mut fields);
    match answer.parse(head) {
        Ok(read) => assert_eq!(read, httparse::Status::Complete(head.len())),
        // It knows a limit that we have elsewhere.
        Err(httparse::Error::TooManyHeaders) => return,
        Err(error) => panic!("{error}"),
    }
    assert_eq!(answer.code, Some(own.status.as_u16()));
    assert_eq!(answer.headers.len(), own.fields.len());
    for (field, own) in answer.headers.iter().zip(own.fields.iter()) {
        assert!(own.name == field.name.to_ascii_lowercase().as_bytes() && own.value == field.value);
    }
});

/// What is only built with the workspace.
#[cfg(not(feature = "run"))]
fn main() {}
