//! git over HTTP, both ways, with git's own server behind the agent.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use super::origin::{self, Seen};
use super::site::{Site, program};
use crate::harness::{Output, Process};

/// What is pushed and cloned, bytes; more than a request's body is kept in memory by git.
const CONTENT: u64 = 20 << 20;

#[test]
fn row_12_git_pushes_and_clones() {
    let served = tempfile::TempDir::new().unwrap();
    let address = serve(served.path());
    let site = Site::start(&format!(
        "services:\n- {{name: git, type: http, url: \"http://{address}\"}}\n"
    ));
    let token = site.token("git");
    let url = |name: &str, token: &str| {
        let url = site.url("git", &format!("/{name}.git"));
        url.replace("https://", &format!("https://x:{token}@"))
    };
    let run = |directory: &Path, arguments: &[&str]| git(&site, directory, arguments);
    let work = site.home.path().join("work");
    run(site.home.path(), &["init", "--quiet", "--initial-branch", "main", "work"]).succeeded();
    let content = std::fs::File::create(work.join("content")).unwrap();
    noise(&content);
    run(&work, &["add", "."]).succeeded();
    run(&work, &["commit", "--quiet", "--message", "content"]).succeeded();
    for version in ["HTTP/1.1", "HTTP/2"] {
        let name = version.replace('/', "-");
        let bare = served.path().join(format!("{name}.git"));
        let bare = bare.to_str().unwrap();
        run(&work, &["init", "--quiet", "--bare", "--initial-branch", "main", bare]).succeeded();
        run(&work, &["-C", bare, "config", "http.receivepack", "true"]).succeeded();
        let version = format!("http.version={version}");
        let with = |arguments: &[&str]| run(&work, &[&["-c", &version], arguments].concat());
        let url_of = url(&name, &token);
        with(&["push", "--quiet", &url_of, "main"]).succeeded();
        run(&work, &["-C", bare, "fsck", "--full", "--strict"]).succeeded();

        let clone = site.home.path().join(&name);
        with(&["clone", "--quiet", &url_of, clone.to_str().unwrap()]).succeeded();
        run(&clone, &["fsck", "--full", "--strict"]).succeeded();
        let same = |name| {
            std::fs::read(work.join(name)).unwrap() == std::fs::read(clone.join(name)).unwrap()
        };
        assert!(same("content"));

        run(&clone, &["commit", "--quiet", "--allow-empty", "--message", "more"]).succeeded();
        run(&clone, &["-c", &version, "push", "--quiet"]).succeeded();
        let refused = with(&["push", "--quiet", "--force-with-lease=main:main~0", &url_of, "main"]);
        assert!(refused.failed().contains("stale info"));
        let refused = with(&["ls-remote", &url(&name, "nonsense")]).failed();
        assert!(refused.contains("Authentication failed"), "{refused}");
    }
}

/// Runs git, as somebody without any configuration.
fn git(site: &Site, directory: &Path, arguments: &[&str]) -> Output {
    let mut git = program("git");
    git.env("HOME", site.home.path()).env("GIT_CONFIG_NOSYSTEM", "1");
    git.env("GIT_SSL_CAINFO", site.authority()).env("GIT_TERMINAL_PROMPT", "0");
    for role in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{role}_NAME"), "somebody").env(format!("GIT_{role}_EMAIL"), "a@b");
    }
    Process::start(git.current_dir(directory).args(arguments)).finish()
}

/// What no compression makes smaller, the same each time.
fn noise(file: &std::fs::File) {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    const PIECE: u64 = 1 << 16;
    for at in (0..CONTENT).step_by(usize::try_from(PIECE).unwrap()) {
        let piece: Vec<u8> = (0..PIECE / 8).flat_map(|_| next()).collect();
        file.write_all_at(&piece, at).unwrap();
    }
}

/// Serves the repositories of a directory: `git http-backend` for each request.
fn serve(directory: &Path) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let directory = directory.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let directory = directory.clone();
            thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                while let Ok(Some(head)) = origin::head(&mut reader) {
                    if answer(&mut reader, &head, &directory).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

/// Answers a request as the program does (RFC 3875), its body in chunks as it comes.
fn answer(reader: &mut BufReader<TcpStream>, head: &Seen, directory: &Path) -> std::io::Result<()> {
    let mut stream = reader.get_ref().try_clone()?;
    let mut backend = backend(head, directory).spawn()?;
    let mut input = backend.stdin.take().expect("it is piped");
    let mut output = BufReader::new(backend.stdout.take().expect("it is piped"));
    thread::scope(|scope| {
        let sent = scope.spawn(move || origin::body(reader, head, &mut input));
        let mut status = "200 OK".to_owned();
        let mut fields = String::new();
        loop {
            let mut line = String::new();
            output.read_line(&mut line)?;
            match line.trim_end().split_once(": ") {
                Some(("Status", code)) => code.clone_into(&mut status),
                Some(_) => fields.push_str(&line),
                None => break,
            }
        }
        write!(stream, "HTTP/1.1 {status}\r\n{fields}transfer-encoding: chunked\r\n\r\n")?;
        let mut piece = vec![0; 1 << 16];
        loop {
            let count = output.read(&mut piece)?;
            write!(stream, "{count:x}\r\n")?;
            stream.write_all(&piece[..count])?;
            stream.write_all(b"\r\n")?;
            if count == 0 {
                break;
            }
        }
        backend.wait()?;
        sent.join().expect("it does not panic").map(drop)
    })
}

fn backend(head: &Seen, directory: &Path) -> Command {
    let (path, query) = head.target().split_once('?').unwrap_or_else(|| (head.target(), ""));
    let mut backend = program("git");
    backend.arg("http-backend").env("GIT_PROJECT_ROOT", directory).env("GIT_HTTP_EXPORT_ALL", "1");
    backend.env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", directory).env("REMOTE_USER", "somebody");
    backend.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "safe.directory");
    backend.env("GIT_CONFIG_VALUE_0", "*");
    backend.env("REQUEST_METHOD", head.method()).env("PATH_INFO", path).env("QUERY_STRING", query);
    for (name, field) in [
        ("CONTENT_TYPE", "content-type"),
        ("CONTENT_LENGTH", "content-length"),
        ("HTTP_CONTENT_ENCODING", "content-encoding"),
        ("GIT_PROTOCOL", "git-protocol"),
    ] {
        backend.env(name, head.field(field).unwrap_or_default());
    }
    backend.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    backend
}
