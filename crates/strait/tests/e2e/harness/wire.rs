//! HTTP/1.1 as it goes over the wire: a client without niceties, and a server that remembers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

/// Time for the next thing to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A message: its first line, its fields with names in lower case, its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) first: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Message {
    /// A field's value.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// A response's status.
    pub(crate) fn status(&self) -> u16 {
        self.first.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn read(reader: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut line = || {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
            Some(line.trim_end().to_owned())
        };
        let first = line()?;
        let mut fields = Vec::new();
        while let Some((name, value)) = line()?.split_once(':') {
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut message = Self { first, fields, body: String::new() };
        let length = message.field("content-length").map_or(0, |text| text.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        message.body = String::from_utf8(body).unwrap();
        Some(message)
    }
}

/// Sends a request and reads the answer.
pub(crate) fn ask(
    address: SocketAddr,
    first: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> Message {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = format!("{first} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    stream.write_all(text.as_bytes()).unwrap();
    Message::read(&mut BufReader::new(stream)).expect("an answer")
}

/// A server that answers 202 and remembers what it was sent.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    requests: Receiver<Message>,
}

impl Recorder {
    /// Opens a port; its threads end with the test.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sender = sender.clone();
                thread::spawn(move || serve(stream, &sender));
            }
        });
        Self { address, requests }
    }

    /// Waits for the next request.
    pub(crate) fn next(&self) -> Message {
        self.requests.recv_timeout(PATIENCE).expect("a request")
    }
}

fn serve(mut stream: TcpStream, requests: &Sender<Message>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = Message::read(&mut reader) {
        let answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 8\r\n\r\naccepted";
        if requests.send(request).is_err() || stream.write_all(answer).is_err() {
            return;
        }
    }
}
