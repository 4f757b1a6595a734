//! How many files and sockets a process may have open.
//!
//! Service managers start processes with few, for the sake of programs that use `select(2)`, and let them
//! have many (systemd: `DefaultLimitNOFILE=1024:524288`). Whoever serves connections takes what it
//! may have; the programs that it starts get what it began with.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets this process have as many as it may be given. Returns how many it could have before; none
/// where there was no limit.
///
/// # Errors
/// The kernel does not let it.
pub fn raise_descriptor_limit() -> io::Result<Option<u64>> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    }
    Ok(limit.current)
}

/// Lets this process, and those that it starts, have so many, until somebody raises that.
///
/// # Errors
/// It is more than it may be given.
pub fn set_descriptor_limit(count: u64) -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(count), ..limit })?)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_has_what_it_may_and_gives_on_what_it_had() {
        // Another process: this one's limit is that of all tests.
        let script = "ulimit -Sn 100 && ulimit -Hn 200 && exec \"$0\" \"$@\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).arg(std::env::current_exe().unwrap());
        let output = shell
            .args(["--exact", "--nocapture", "descriptors::tests::limited"])
            .env("STRAIT_TEST_ROLE", "limited")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("checked"), "{said}");
    }

    #[test]
    fn limited() {
        if std::env::var_os("STRAIT_TEST_ROLE").is_none_or(|role| role != "limited") {
            return;
        }
        let of_started = || {
            let output = Command::new("sh").args(["-c", "ulimit -Sn"]).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        assert_eq!(raise_descriptor_limit().unwrap(), Some(100));
        assert_eq!(of_started(), "200");
        assert_eq!(raise_descriptor_limit().unwrap(), Some(200), "it is as high as it may be");
        set_descriptor_limit(100).unwrap();
        assert_eq!(of_started(), "100");
        assert!(set_descriptor_limit(201).is_err());
        println!("checked");
    }
}
