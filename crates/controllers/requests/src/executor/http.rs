//! One HTTP call.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use strait_machinery::json::Value;
use strait_net::{CallError, CallLimits, Client, EgressPolicy};
use strait_pki::{PkiError, client_config};
use strait_runtime::Clock;
use strait_runtime::fs::read_capped;
use strait_types::{Redacted, Report};

use super::brought;
use crate::config::{Class, ExecutorConfig, HttpConfig, IDEMPOTENCY_KEY, Source, TextRule};
use crate::execution::{ExecutionId, Failure, FailureClass};
use crate::settle::Ended;

/// A token, and room for a line's end.
const BEARER_BYTES_MAX: usize = 16 << 10;

/// Makes a class's calls.
#[derive(Debug)]
pub(crate) struct HttpExecutor {
    class: Arc<Class>,
    client: Client,
}

impl HttpExecutor {
    pub(super) fn new(class: Arc<Class>, clock: Arc<dyn Clock>) -> Result<Self, PkiError> {
        let config = config(&class);
        let policy = EgressPolicy::guarded(config.networks.clone(), &[]);
        let tls = match &config.authorities {
            Some(authorities) => Some(client_config(authorities, None, clock)?),
            None => None,
        };
        Ok(Self { client: Client::new(tls, policy), class })
    }

    /// Makes the call. `key` names the request to the service.
    ///
    /// # Cancel safety
    /// Dropped, the call may have had its effect.
    pub(crate) async fn call(&self, key: &ExecutionId, params: &Value, limit: Duration) -> Ended {
        let config = config(&self.class);
        let mut request = match request(config, key, params) {
            Ok(request) => request,
            Err(failure) => return Ended::NotBegun(failure),
        };
        if let Err(failure) = self.authorize(request.headers_mut()).await {
            return Ended::NotBegun(failure);
        }
        let limits = CallLimits {
            connect: config.connect_timeout.min(limit),
            total: limit,
            response_bytes: config.response_bytes_max,
        };
        match self.client.call(request, &limits).await {
            Ok(response) => self.answered(&response),
            Err(error) => self.failed(&error),
        }
    }

    /// Adds the bearer, read anew so that a renewed one is used.
    async fn authorize(&self, headers: &mut HeaderMap) -> Result<(), Failure> {
        let Some(file) = config(&self.class).bearer_file.clone() else {
            return Ok(());
        };
        let unavailable = |error: String| {
            tracing::warn!(class = &*self.class.name, err = error, "no credential for a call");
            let message = "the agent's credential for the service is not available";
            infrastructure("CredentialUnavailable", message).retryable()
        };
        // A small file, read by a thread for such things.
        let read = tokio::task::spawn_blocking(move || read_capped(&file, BEARER_BYTES_MAX)).await;
        let read = read.map_err(|error| unavailable(error.to_string()))?;
        let token = Redacted::new(read.map_err(|error| unavailable(Report(&error).to_string()))?);
        let text = std::str::from_utf8(token.expose()).unwrap_or_default().trim();
        let value = Redacted::new(format!("Bearer {text}"));
        match HeaderValue::from_str(value.expose()) {
            Ok(mut value) if !text.is_empty() => {
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
                Ok(())
            }
            _ => Err(unavailable("the file holds no token".to_owned())),
        }
    }

    fn answered(&self, response: &Response<Bytes>) -> Ended {
        let code = response.status().as_u16();
        if config(&self.class).success.contains(&code) {
            return brought(&self.class, response.body());
        }
        tracing::warn!(class = &*self.class.name, code, "the service refused a request");
        refused(code)
    }

    fn failed(&self, error: &CallError) -> Ended {
        let text = Report(error).to_string();
        tracing::warn!(class = &*self.class.name, err = text, "a call brought no answer");
        match error {
            CallError::Denied(_) | CallError::Url { .. } => Ended::NotBegun(infrastructure(
                "ServiceNotAllowed",
                "the agent may not reach the service",
            )),
            CallError::TooLarge { status, .. } => {
                match config(&self.class).success.contains(&status.as_u16()) {
                    true => Ended::Failed(Failure::new(
                        FailureClass::Backend,
                        "AnswerTooLarge",
                        "the service's answer is too large",
                    )),
                    false => refused(status.as_u16()),
                }
            }
            error if error.nothing_was_sent() => Ended::NotBegun(
                infrastructure("ServiceUnreachable", "the service cannot be reached").retryable(),
            ),
            _ => Ended::Unknown("the service took the request and gave no whole answer"),
        }
    }
}

fn config(class: &Class) -> &HttpConfig {
    match &class.executor {
        ExecutorConfig::Http(config) => config,
        ExecutorConfig::Process(_) => unreachable!("an http executor is made for http classes"),
    }
}

fn infrastructure(code: &str, message: &str) -> Failure {
    Failure::new(FailureClass::Infrastructure, code, message)
}

/// An answer that is no success.
fn refused(code: u16) -> Ended {
    // A gateway that says so does not know whether the service behind it did the work.
    if matches!(code, 502 | 504) {
        return Ended::Unknown("a gateway in front of the service gave up on it");
    }
    let message = format!("the service answered {code}");
    let failure = Failure::new(FailureClass::Backend, &format!("HTTP{code}"), message);
    let passing = matches!(code, 408 | 425 | 429 | 500..);
    Ended::Failed(if passing { failure.retryable() } else { failure })
}

/// The request as the class describes it. Parameters go into structured places only, each
/// encoded for its place; what does not fit there is refused.
fn request(
    config: &HttpConfig,
    key: &ExecutionId,
    params: &Value,
) -> Result<Request<Bytes>, Failure> {
    let mut request = Request::new(Bytes::new());
    *request.method_mut() = config.method.clone();
    *request.uri_mut() = url(config, params)?;
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let key = HeaderValue::from_str(key.as_str()).expect("an id is letters and digits");
    headers.insert(IDEMPOTENCY_KEY, key);
    for (name, rule) in &config.headers {
        if let Some(text) = text(rule, params)? {
            let value = HeaderValue::from_str(&text);
            let value = value.map_err(|_| unfit("has characters that a header cannot carry"))?;
            headers.append(name.clone(), value);
        }
    }
    if !config.body.is_empty() {
        let mut body = Value::object();
        for rule in &config.body {
            let value = match &rule.source {
                Source::Value(value) => Some(value),
                Source::Param(param) => param.find(params),
            };
            if let Some(value) = value {
                rule.to.set(&mut body, value.clone());
            }
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = body.to_bytes().into();
    }
    Ok(request)
}

fn url(config: &HttpConfig, params: &Value) -> Result<Uri, Failure> {
    let mut url = config.url.to_string();
    let mut separator = '?';
    for (name, rule) in &config.query {
        if let Some(text) = text(rule, params)? {
            url.push(separator);
            url.extend(utf8_percent_encode(name, NON_ALPHANUMERIC));
            url.push('=');
            url.extend(utf8_percent_encode(&text, NON_ALPHANUMERIC));
            separator = '&';
        }
    }
    url.parse().map_err(|_| unfit("is too long for a query"))
}

/// A text of the class or a scalar parameter; none where the parameter is absent.
fn text(rule: &TextRule, params: &Value) -> Result<Option<String>, Failure> {
    let value = match rule {
        Source::Value(text) => return Ok(Some(text.to_string())),
        Source::Param(param) => param.find(params),
    };
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.to_string())),
        Some(scalar @ (Value::Bool(_) | Value::Number(_))) => Ok(Some(scalar.to_string())),
        Some(Value::Array(_) | Value::Object(_)) => Err(unfit("is no text, number or boolean")),
    }
}

/// Says nothing of where the parameter was to go.
fn unfit(why: &str) -> Failure {
    Failure::new(FailureClass::User, "InvalidParams", format!("a parameter {why}"))
}

#[cfg(test)]
mod tests;
