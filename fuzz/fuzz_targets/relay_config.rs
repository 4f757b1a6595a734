//! What stands in an agent's file: no panic, and mistakes are at places that are there.
#![cfg_attr(feature = "run", no_main)]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use strait_api::private::Source;
use strait_relay::services::{FileState, Files, read};
use strait_types::Redacted;

struct None;

impl Files for None {
    fn look(&self, _: &Path) -> Result<FileState, String> {
        Ok(FileState { open_to_others: false })
    }

    fn read(&self, _: &Path) -> Result<Redacted<Vec<u8>>, String> {
        Ok(Redacted::new(b"secret".to_vec()))
    }
}

const HEAD: &str = "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\n";

fuzz_target!(|data: &str| {
    for text in [data, &format!("{HEAD}{data}"), &format!("{HEAD}services:\n- {data}")] {
        if let Err(mistakes) = read(&Source { file: "agent.yaml", text }, &None, false) {
            // In YAML a CR alone ends a line, too.
            let lines = text.matches(['\n', '\r']).count() + 1;
            for mistake in &mistakes {
                assert!((1..=lines).contains(&mistake.position.line), "{mistake:?}");
            }
        }
    }
});

/// What is only built with the workspace.
#[cfg(not(feature = "run"))]
fn main() {}
