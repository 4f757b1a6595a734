//! How work is done: one HTTP call, or one program under its supervisor.

mod http;
mod process;

pub(crate) use http::HttpExecutor;
pub(crate) use process::{ProcessExecutor, Program, remove};

use std::sync::Arc;

use strait_machinery::json::{Value, parse};
use strait_runtime::Clock;
use strait_sandbox::exec::Launcher;

use crate::config::{Class, ExecutorConfig};
use crate::execution::{Failure, FailureClass};
use crate::settle::Ended;

/// A class's executor, ready to work.
#[derive(Debug)]
pub(crate) enum Executor {
    Http(HttpExecutor),
    Process(ProcessExecutor),
}

/// What executors cannot be made without.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// A class's authorities or the TLS library.
    #[error("class {class} cannot make https calls")]
    Tls {
        /// The class's name.
        class: String,
        /// What the library said.
        #[source]
        source: strait_pki::PkiError,
    },
}

impl Executor {
    /// Makes a class's executor.
    ///
    /// # Errors
    /// See [`ExecutorError`].
    pub(crate) fn new(
        class: &Arc<Class>,
        launcher: &Launcher,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, ExecutorError> {
        Ok(match &class.executor {
            ExecutorConfig::Http(_) => {
                let http = HttpExecutor::new(class.clone(), clock.clone());
                Self::Http(http.map_err(|source| ExecutorError::Tls {
                    class: class.name.to_string(),
                    source,
                })?)
            }
            ExecutorConfig::Process(_) => {
                Self::Process(ProcessExecutor::new(class.clone(), launcher.clone()))
            }
        })
    }
}

/// What an executor brought back, as JSON; nothing is read where the class wants nothing of it.
fn brought(class: &Class, bytes: &[u8]) -> Ended {
    if class.results.is_empty() || bytes.iter().all(u8::is_ascii_whitespace) {
        return Ended::Done(Value::Null);
    }
    match parse(bytes) {
        Ok(value) => Ended::Done(value),
        Err(_) => Ended::Failed(Failure::new(
            FailureClass::Backend,
            "ResultNotJSON",
            "what came back is not JSON",
        )),
    }
}
