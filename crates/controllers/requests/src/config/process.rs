//! A class's program.

use std::collections::BTreeMap;
use std::path::PathBuf;

use strait_api::private::ProcessExecutor;
use strait_machinery::field::FieldError;
use strait_machinery::json::Path;
use strait_sandbox::Isolation;

use super::problems::Problems;

/// A program and its limits.
#[derive(Debug)]
pub(crate) struct ProcessConfig {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) stdout_bytes_max: usize,
    pub(crate) stderr_bytes_max: usize,
}

impl ProcessConfig {
    pub(super) fn new(
        config: &ProcessExecutor,
        base: &Path,
        problems: &mut Problems<'_>,
    ) -> Option<Self> {
        let at = |field: &str| base.field(field);
        let program = problems.file(&at("program"), &config.program);
        for (index, arg) in config.args.iter().enumerate() {
            if arg.contains('\0') {
                problems.invalid(&at("args").index(index), arg, "contains a zero byte");
            }
        }
        for (index, variable) in config.env.iter().enumerate() {
            if variable.value.contains('\0') {
                let path = at("env").index(index).field("value");
                problems.invalid(&path, &variable.value, "contains a zero byte");
            }
        }
        let isolation = Isolation::from_word(&config.isolation);
        if let Some(Err(error)) = isolation.map(Isolation::require) {
            problems.add(&FieldError::forbidden(at("isolation"), error.to_string()));
        }
        let stdout = problems.size(&at("maxStdoutBytes"), &config.max_stdout_bytes);
        let stderr = problems.size(&at("maxStderrBytes"), &config.max_stderr_bytes);
        let env = config.env.iter().map(|one| (one.name.clone(), one.value.clone()));
        Some(Self {
            program: program?,
            args: config.args.clone(),
            env: env.collect(),
            stdout_bytes_max: stdout?,
            stderr_bytes_max: stderr?,
        })
    }
}
