//! What a request of a class does.

use std::sync::Arc;
use std::time::Duration;

use strait_api::private::{ClassSpec, Execution, RequestClass};
use strait_machinery::field::FieldError;
use strait_machinery::json::{Path, Value, parse};
use strait_machinery::object;
use strait_machinery::schema::Schema;
use strait_machinery::schema::compile::compile;

use super::http::HttpConfig;
use super::problems::Problems;
use super::process::ProcessConfig;
use crate::pointer::Pointer;

/// Attempts of a class that is at-least-once and does not say.
const ATTEMPTS: u32 = 3;

/// A class of requests.
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) name: Arc<str>,
    /// What a request may bring; anything, where there is none.
    pub(crate) params: Option<Arc<Schema>>,
    /// 1: at most once. More: at least once, so many times at most.
    pub(crate) attempts_max: u32,
    pub(crate) at_least_once: bool,
    pub(crate) backoff_first: Duration,
    pub(crate) backoff_max: Duration,
    pub(crate) queue_timeout: Duration,
    pub(crate) execution_timeout: Duration,
    pub(crate) cancel_grace: Duration,
    pub(crate) concurrency: usize,
    pub(crate) pending_max: usize,
    pub(crate) results: Vec<ResultRule>,
    pub(crate) executor: ExecutorConfig,
}

/// One result.
#[derive(Debug)]
pub(crate) struct ResultRule {
    pub(crate) name: Box<str>,
    pub(crate) from: Pointer,
    /// Of its JSON.
    pub(crate) bytes_max: usize,
    pub(crate) required: bool,
}

/// How the work is done.
#[derive(Debug)]
pub(crate) enum ExecutorConfig {
    Http(Box<HttpConfig>),
    Process(ProcessConfig),
}

impl ExecutorConfig {
    /// The word in records and audit lines.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Process(_) => "process",
        }
    }
}

impl Class {
    pub(super) fn new(class: &RequestClass, problems: &mut Problems<'_>) -> Option<Self> {
        let spec = &class.spec;
        let base = Path::of(&["spec"]);
        let at = |field: &str| base.field(field);
        let params = match &spec.param_schema {
            None => Some(None),
            Some(schema) => param_schema(schema, &at("paramSchema"), problems).map(Some),
        };
        let at_least_once = spec.execution == Execution::AtLeastOnce;
        if spec.max_attempts.is_some() && !at_least_once {
            let why = "needs execution AtLeastOnce";
            problems.add(&FieldError::forbidden(at("maxAttempts"), why));
        }
        let backoff = at("backoff");
        let first = problems.duration(&backoff.field("initial"), &spec.backoff.initial);
        let max = problems.duration(&backoff.field("max"), &spec.backoff.max);
        let queue_timeout = problems.duration(&at("queueTimeout"), &spec.queue_timeout);
        let execution_timeout = problems.duration(&at("executionTimeout"), &spec.execution_timeout);
        let cancel_grace = problems.duration(&at("cancelGrace"), &spec.cancel_grace);
        let results = result_rules(spec, &at("results"), problems);
        let executor = executor(spec, &at("executor"), problems);
        Some(Self {
            name: class.metadata.name.as_str().into(),
            params: params?,
            attempts_max: if at_least_once { spec.max_attempts.unwrap_or(ATTEMPTS) } else { 1 },
            at_least_once,
            backoff_first: first?,
            backoff_max: max?,
            queue_timeout: queue_timeout?,
            execution_timeout: execution_timeout?,
            cancel_grace: cancel_grace?,
            concurrency: usize::try_from(spec.concurrency).ok()?,
            pending_max: usize::try_from(spec.max_pending).ok()?,
            results: results?,
            executor: executor?,
        })
    }
}

fn result_rules(
    spec: &ClassSpec,
    base: &Path,
    problems: &mut Problems<'_>,
) -> Option<Vec<ResultRule>> {
    let mut rules = Some(Vec::new());
    for (index, result) in spec.results.iter().enumerate() {
        let at = base.index(index);
        let from = problems.parse(&at.field("from"), &result.from);
        let bytes_max = problems.size(&at.field("maxBytes"), &result.max_bytes);
        let rule = from.zip(bytes_max).map(|(from, bytes_max)| ResultRule {
            name: result.name.as_str().into(),
            from,
            bytes_max,
            required: result.required,
        });
        rules = rules.zip(rule).map(|(mut rules, rule)| {
            rules.push(rule);
            rules
        });
    }
    rules
}

fn executor(spec: &ClassSpec, base: &Path, problems: &mut Problems<'_>) -> Option<ExecutorConfig> {
    match (&spec.executor.http, &spec.executor.process) {
        (Some(http), None) => {
            let http = HttpConfig::new(http, &base.field("http"), problems)?;
            Some(ExecutorConfig::Http(Box::new(http)))
        }
        (None, Some(process)) => {
            let process = ProcessConfig::new(process, &base.field("process"), problems)?;
            Some(ExecutorConfig::Process(process))
        }
        // The schema said what is wrong.
        _ => None,
    }
}

/// Reads the schema of the parameters.
fn param_schema(
    schema: &serde_json::Value,
    path: &Path,
    problems: &mut Problems<'_>,
) -> Option<Arc<Schema>> {
    let text = serde_json::to_vec(schema).ok()?;
    match compile_params(&parse(&text).ok()?) {
        Ok(schema) => Some(schema),
        Err(errors) => {
            for mut error in errors {
                let mut place = path.clone();
                for segment in error.path.segments() {
                    place.push(segment.clone());
                }
                error.path = place;
                problems.add(&error);
            }
            None
        }
    }
}

/// Compiles a schema as that of a member, since the top of a kind implies members of its own.
pub(crate) fn compile_params(schema: &Value) -> Result<Arc<Schema>, Vec<FieldError>> {
    let wrapped = object! {"type": "object", "properties": object!{"params": schema.clone()}};
    let outer = Path::of(&["properties", "params"]).segments().len();
    let compiled = compile(&wrapped, &Path::root(), &Arc::new(Schema::default()));
    let compiled = compiled.map_err(|mut errors| {
        for error in &mut errors {
            let mut inner = Path::root();
            for segment in error.path.segments().iter().skip(outer) {
                inner.push(segment.clone());
            }
            error.path = inner;
        }
        errors
    })?;
    let property = compiled.as_object().and_then(|object| object.property("params"));
    Ok(property.expect("it was declared above").schema.clone())
}
