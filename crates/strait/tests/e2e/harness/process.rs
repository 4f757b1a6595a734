//! Processes that are waited for by what they say.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Time for a process to say the next thing, or to end.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Lines that are waited through.
const LINES_MAX: usize = 10_000;

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    lines: Receiver<Line>,
    output: Output,
    patience: Duration,
}

/// What a process said, and how it ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Output {
    /// All of standard output.
    pub(crate) stdout: String,
    /// All of standard error.
    pub(crate) stderr: String,
    /// Its exit code; none while it runs, and where a signal ended it.
    pub(crate) code: Option<i32>,
}

#[derive(Debug)]
enum Line {
    Out(String),
    Err(String),
}

impl Process {
    /// Starts a process.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::start_with_input(command, "")
    }

    /// Starts a process with this on its standard input.
    pub(crate) fn start_with_input(command: &mut Command, input: &str) -> Self {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let (sender, lines) = mpsc::channel();
        read(child.stdout.take().unwrap(), sender.clone(), Line::Out);
        read(child.stderr.take().unwrap(), sender, Line::Err);
        write(child.stdin.take().unwrap(), input.to_owned());
        Self { name, child, lines, output: Output::default(), patience: SILENCE_MAX }
    }

    /// Lets it say nothing for so long.
    pub(crate) const fn patiently(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Waits until it says a line on standard output that fits, and returns that line.
    ///
    /// # Panics
    /// It ends or falls silent before.
    pub(crate) fn wait_for_output(&mut self, fits: impl Fn(&str) -> bool) -> String {
        self.wait_for(|line| matches!(line, Line::Out(_)) && fits(line.text()))
    }

    /// The same on standard error.
    ///
    /// # Panics
    /// It ends or falls silent before.
    pub(crate) fn wait_for_log(&mut self, fits: impl Fn(&str) -> bool) -> String {
        self.wait_for(|line| matches!(line, Line::Err(_)) && fits(line.text()))
    }

    /// A line on standard error that fits, heard before or waited for.
    ///
    /// # Panics
    /// It ends or falls silent before.
    pub(crate) fn find_in_log(&mut self, fits: impl Fn(&str) -> bool) -> String {
        let heard = self.output.stderr.lines().find(|line| fits(line)).map(str::to_owned);
        heard.unwrap_or_else(|| self.wait_for_log(fits))
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It goes on.
    pub(crate) fn finish(mut self) -> Output {
        while self.next().is_some() {}
        let status = self.child.wait().unwrap();
        self.output.code = ExitStatus::code(&status);
        std::mem::take(&mut self.output)
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Panics
    /// It goes on.
    pub(crate) fn terminate(self) -> Output {
        self.end_with(Signal::TERM)
    }

    /// Sends it a signal that ends it, and waits until it has ended.
    ///
    /// # Panics
    /// It goes on.
    pub(crate) fn end_with(self, signal: Signal) -> Output {
        kill_process(self.pid(), signal).unwrap();
        self.finish()
    }

    /// Its id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// A figure of its memory in `/proc/PID/status`, such as `VmRSS`; bytes.
    pub(crate) fn memory(&self, figure: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid().as_raw_pid());
        let status = std::fs::read_to_string(path).unwrap();
        let mut words = status.lines().map(str::split_whitespace);
        let value = words.find_map(|mut line| {
            let name = line.next()?.strip_suffix(':')?;
            (name == figure).then(|| line.next()).flatten()
        });
        value.unwrap().parse::<u64>().unwrap() << 10
    }

    fn wait_for(&mut self, fits: impl Fn(&Line) -> bool) -> String {
        for _ in 0..LINES_MAX {
            match self.next() {
                Some(line) if fits(&line) => return line.text().to_owned(),
                Some(_) => {}
                None => panic!("{} ended without saying it: {:?}", self.name, self.output),
            }
        }
        panic!("{} did not say it in {LINES_MAX} lines: {:?}", self.name, self.output)
    }

    /// The next line it says; none when it has closed both outputs.
    fn next(&mut self) -> Option<Line> {
        let line = match self.lines.recv_timeout(self.patience) {
            Ok(line) => line,
            Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                panic!("{} was silent for {:?}: {:?}", self.name, self.patience, self.output)
            }
        };
        match &line {
            Line::Out(text) => self.output.stdout.push_str(text),
            Line::Err(text) => self.output.stderr.push_str(text),
        }
        Some(line)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Output {
    /// Standard output of a process that ended well.
    ///
    /// # Panics
    /// It did not.
    #[track_caller]
    pub(crate) fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// Standard error of a process that did not.
    ///
    /// # Panics
    /// It did.
    #[track_caller]
    pub(crate) fn failed(self) -> String {
        assert_ne!(self.code, Some(0), "{self:?}");
        self.stderr
    }
}

impl Line {
    /// The line without its line feed.
    fn text(&self) -> &str {
        match self {
            Self::Out(text) | Self::Err(text) => text.trim_end(),
        }
    }
}

/// Passes lines on, with their line feeds, from a thread that ends with the stream.
fn read(stream: impl Read + Send + 'static, lines: Sender<Line>, line: fn(String) -> Line) {
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        loop {
            let mut bytes = Vec::new();
            let read = stream.read_until(b'\n', &mut bytes);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if text.is_empty() || lines.send(line(text)).is_err() || read.is_err() {
                break;
            }
        }
    });
}

/// Writes from a thread: a process that says much before it reads must not block a test.
fn write(mut stream: ChildStdin, text: String) {
    thread::spawn(move || stream.write_all(text.as_bytes()));
}
