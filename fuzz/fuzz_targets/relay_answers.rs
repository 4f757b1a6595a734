//! What a service answers: taken alike in whatever pieces it comes, and no head passes that
//! another parser reads differently.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strait_relay::http::wire::{check_answer, check_chunk_line};

fuzz_target!(|data: &[u8]| {
    strait_relay::serve::fuzz_answers(data);
    let _ = check_chunk_line(data);
    let end = data.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4);
    let Some(head) = end.map(|end| &data[..end]) else { return };
    if check_answer(head).is_err() {
        return;
    }
    let mut fields = [httparse::EMPTY_HEADER; 1024];
    let mut answer = httparse::Response::new(&mut fields);
    match answer.parse(head) {
        Ok(read) => assert_eq!(read, httparse::Status::Complete(head.len())),
        // It knows a limit that we have elsewhere.
        Err(httparse::Error::TooManyHeaders) => return,
        Err(error) => panic!("{error}"),
    }
    assert_eq!(answer.code, std::str::from_utf8(&head[9..12]).unwrap().parse().ok());
    let lines = head.split(|byte| *byte == b'\n').count() - 3;
    assert_eq!(answer.headers.len(), lines);
});
