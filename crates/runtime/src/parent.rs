//! Ending with the process that started this one.

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// This process does not end with its parent.
#[derive(Debug, thiserror::Error)]
pub enum ParentError {
    /// The kernel does not offer it.
    #[error("cannot ask the kernel to end this process with its parent")]
    Unsupported(#[source] std::io::Error),
    /// The parent had already ended.
    #[error("the parent is no longer process {expected}")]
    Gone {
        /// Who was said to be the parent.
        expected: u32,
    },
}

/// Has the kernel kill this process when its parent ends, however it ends, and then checks that
/// the parent is still `expected`: it may have ended before the kernel was asked.
///
/// The kernel watches two *threads* (`PR_SET_PDEATHSIG(2const)`): the one that started this
/// process and the one that calls this. Call it on the main thread; start children on a thread
/// that lives as long as they may.
///
/// # Errors
/// See [`ParentError`]. The caller should end.
pub fn die_with_parent(expected: u32) -> Result<(), ParentError> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| ParentError::Unsupported(error.into()))?;
    let parent = getppid().map(Pid::as_raw_nonzero);
    if parent.is_some_and(|pid| u32::try_from(pid.get()) == Ok(expected)) {
        Ok(())
    } else {
        Err(ParentError::Gone { expected })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// Runs one test of this binary as another process; `role` tells it what it is there.
    fn run_as(role: &str, test: &str) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", test])
            .env("STRAIT_TEST_ROLE", role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn role_is(role: &str) -> bool {
        std::env::var_os("STRAIT_TEST_ROLE").is_some_and(|got| got == role)
    }

    fn read_until(output: &mut impl Read, word: &str) {
        let mut seen = String::new();
        let mut byte = [0];
        while !seen.ends_with(word) {
            assert_eq!(output.read(&mut byte).unwrap(), 1, "ended after {seen:?}");
            seen.push(char::from(byte[0]));
        }
    }

    /// The body of the middle process: starts a grandchild and waits for ever.
    #[test]
    fn middle() {
        if !role_is("middle") {
            return;
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "parent::tests::grandchild"])
            .env("STRAIT_TEST_ROLE", "grandchild")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "{}", std::process::id()).unwrap();
        child.wait().unwrap();
    }

    /// The body of the grandchild: binds itself to the middle process, then waits for ever.
    #[test]
    fn grandchild() {
        if !role_is("grandchild") {
            return;
        }
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap();
        die_with_parent(line.trim().parse().unwrap()).unwrap();
        std::io::stdout().write_all(b"bound\n").unwrap();
        loop {
            std::thread::park();
        }
    }

    #[test]
    fn ends_when_the_parent_is_killed() {
        let mut middle = run_as("middle", "parent::tests::middle");
        let mut output = middle.stdout.take().unwrap();
        read_until(&mut output, "bound\n");
        middle.kill().unwrap();
        middle.wait().unwrap();
        // The grandchild holds the other end: it closes only when that process is gone.
        output.read_to_end(&mut Vec::new()).unwrap();
    }

    #[test]
    fn refuses_another_parent() {
        let mut child = run_as("stranger", "parent::tests::stranger");
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    }

    /// The body of a process whose parent is not who it was said to be.
    #[test]
    fn stranger() {
        if role_is("stranger") {
            let error = die_with_parent(u32::MAX).unwrap_err();
            assert!(matches!(error, ParentError::Gone { expected: u32::MAX }));
        }
    }
}
