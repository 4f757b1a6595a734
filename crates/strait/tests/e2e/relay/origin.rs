//! A service that can misbehave, and remembers what it was sent.

use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::{Condvar, Mutex};

/// A request's head as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) first: String,
    /// Names in lower case.
    pub(super) fields: Vec<(String, String)>,
}

impl Seen {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    pub(super) fn method(&self) -> &str {
        self.first.split(' ').next().unwrap_or_default()
    }

    pub(super) fn target(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }
}

/// What is known of it by the test.
#[derive(Default)]
pub(super) struct Known {
    pub(super) seen: Mutex<Vec<Seen>>,
    pub(super) open: AtomicUsize,
    /// Lets answers that wait go on.
    pub(super) go: (Mutex<usize>, Condvar),
}

/// The service. Its threads end with the test.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    pub(super) known: Arc<Known>,
}

impl Origin {
    pub(super) fn start() -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// The same where something listens already.
    pub(super) fn start_on(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let known = Arc::<Known>::default();
        let all = known.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let known = all.clone();
                thread::spawn(move || {
                    known.open.fetch_add(1, Ordering::Relaxed);
                    let _ = serve(stream, &known);
                    known.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self { address, known }
    }

    /// A service named `ci` that is this one.
    pub(super) fn service(&self) -> String {
        format!(
            "services:\n- {{name: ci, type: http, url: \"http://{}\", upgrade: true}}\n",
            self.address
        )
    }

    /// How many requests of a method came for paths that begin so.
    pub(super) fn count(&self, method: &str, path: &str) -> usize {
        let seen = self.known.seen.lock();
        seen.iter().filter(|one| one.method() == method && one.target().starts_with(path)).count()
    }

    /// The last head that it got.
    pub(super) fn last(&self) -> Seen {
        self.known.seen.lock().last().expect("a request").clone()
    }

    /// Lets one answer that waits go on.
    pub(super) fn go(&self) {
        *self.known.go.0.lock() += 1;
        self.known.go.1.notify_all();
    }
}

fn serve(mut stream: TcpStream, known: &Known) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(head) = head(&mut reader)? {
        known.seen.lock().push(head.clone());
        let (path, argument) = apart(head.target());
        match path {
            "status" => bodiless(&mut stream, &argument)?,
            "bytes" => bytes(&mut stream, &head, argument.parse().unwrap_or(0))?,
            "refuse" => {
                // Not a byte of the body is read.
                stream.write_all(b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 9\r\nconnection: close\r\n\r\ntoo large")?;
                stream.shutdown(std::net::Shutdown::Write)?;
                // What still comes is thrown away, or the answer might be lost to a reset.
                std::io::copy(&mut reader, &mut std::io::sink())?;
                return Ok(());
            }
            "truncated" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n")?;
                return Ok(());
            }
            "short" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart")?;
                return Ok(());
            }
            "trailers" => stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n")?,
            "redirect" => {
                let own = head.field("host").unwrap_or_default();
                let answer = format!("HTTP/1.1 302 Found\r\nlocation: http://{own}/there?x=1\r\nset-cookie: a=b; Path=/\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes())?;
            }
            "endless" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
                loop {
                    stream.write_all(b"4\r\ntick\r\n")?;
                    thread::park_timeout(std::time::Duration::from_millis(5));
                }
            }
            "events" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n10\r\ndata: the first\n\r\n1\r\n\n\r\n")?;
                wait(known);
                stream.write_all(b"c\r\ndata: next\n\n\r\n0\r\n\r\n")?;
            }
            "quiet" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n7\r\ndata: 1\r\n")?;
                // Until the connection ends.
                std::io::copy(&mut reader, &mut std::io::sink())?;
                return Ok(());
            }
            "early" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nearly\r\n")?;
                body(&mut reader, &head, &mut std::io::sink())?;
                stream.write_all(b"0\r\n\r\n")?;
            }
            "wait" => {
                wait(known);
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone")?;
            }
            "drop" => return Ok(()),
            "echo-bytes" => return upgrade(stream, reader, &head),
            _ => told(&mut stream, &mut reader, &head)?,
        }
    }
    Ok(())
}

/// The first segment of a path, and what is behind it.
fn apart(target: &str) -> (&str, String) {
    let path = target.split('?').next().unwrap_or_default().trim_start_matches('/');
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    (first, rest.to_owned())
}

/// Reads the head of a request; none where the connection has ended.
pub(super) fn head(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Seen>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut seen = Seen { first: line.trim_end().to_owned(), fields: Vec::new() };
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { return Ok(Some(seen)) };
        seen.fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// Reads the body, and says how long it was and which trailers came.
fn told(
    stream: &mut TcpStream,
    reader: &mut BufReader<TcpStream>,
    head: &Seen,
) -> std::io::Result<()> {
    if head.field("expect").is_some() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let (count, trailers) = body(reader, head, &mut std::io::sink())?;
    let text = format!("{} {count} {trailers}\n", head.first);
    let fields: String =
        head.fields.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    let text = format!("{text}{fields}");
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len())
}

/// Copies the body of a request: how long it was, and its trailers.
pub(super) fn body(
    reader: &mut BufReader<TcpStream>,
    head: &Seen,
    to: &mut impl Write,
) -> std::io::Result<(u64, String)> {
    if let Some(length) = head.field("content-length") {
        let length = length.parse().unwrap_or(0);
        let count = std::io::copy(&mut reader.take(length), to)?;
        return if count == length {
            Ok((count, String::new()))
        } else {
            Err(std::io::ErrorKind::UnexpectedEof.into())
        };
    }
    if head.field("transfer-encoding").is_none() {
        return Ok((0, String::new()));
    }
    let mut count = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
        if size == 0 {
            break;
        }
        count += std::io::copy(&mut reader.take(size), to)?;
        reader.read_line(&mut line)?;
    }
    let mut trailers = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            return Ok((count, trailers));
        }
        trailers.push_str(line.trim());
    }
}

/// An answer of this status without a body, which tells a length where it may.
fn bodiless(stream: &mut TcpStream, status: &str) -> std::io::Result<()> {
    let length = match status {
        "204" => "",
        "304" => "content-length: 5\r\netag: \"e\"\r\n",
        _ => "content-length: 0\r\n",
    };
    write!(stream, "HTTP/1.1 {status} Status\r\n{length}\r\n")
}

/// So many bytes, or the range of them that was asked for.
fn bytes(stream: &mut TcpStream, head: &Seen, length: u64) -> std::io::Result<()> {
    let range = head.field("range").and_then(|text| text.strip_prefix("bytes="));
    let range = range.and_then(|text| text.split_once('-'));
    let range =
        range.and_then(|(from, to)| Some((from.parse::<u64>().ok()?, to.parse::<u64>().ok()?)));
    let count = match range {
        Some((from, to)) => {
            let count = to + 1 - from;
            write!(
                stream,
                "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes {from}-{to}/{length}\r\ncontent-length: {count}\r\n\r\n"
            )?;
            count
        }
        None => {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n")?;
            length
        }
    };
    if head.method() == "HEAD" {
        return Ok(());
    }
    let piece = vec![b'x'; 1 << 16];
    let mut left = usize::try_from(count).unwrap_or(usize::MAX);
    while left > 0 {
        let some = left.min(piece.len());
        stream.write_all(&piece[..some])?;
        left -= some;
    }
    Ok(())
}

/// Becomes another protocol, in which all that is said is said back.
fn upgrade(
    mut stream: TcpStream,
    mut reader: BufReader<TcpStream>,
    head: &Seen,
) -> std::io::Result<()> {
    let Some(protocol) = head.field("upgrade") else {
        return stream.write_all(b"HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\n\r\n");
    };
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n"
    )?;
    std::io::copy(&mut reader, &mut stream)?;
    stream.shutdown(std::net::Shutdown::Write)
}

fn wait(known: &Known) {
    let mut may = known.go.0.lock();
    while *may == 0 {
        known.go.1.wait(&mut may);
    }
    *may -= 1;
}
