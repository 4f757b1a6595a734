//! The token by which a backend behind an agent of another hub is reached.
//!
//! It is read for each request, so that another takes its place at once. What is wrong with it is
//! told when it begins and when it is over: in the log with what to do, by a metric, and as how an
//! attempt ended.

use std::io::ErrorKind;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Request, StatusCode};
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use strait_net::Answer;
use strait_runtime::fs::{FsError, read_capped};
use strait_types::Report;

use super::attempt::{Unanswered, is_of_the_way};
use crate::config::Hub;

/// Bytes of a file with a token.
const BYTES_MAX: usize = 64 << 10;

/// Takes the hub's token where `Authorization` is for the service.
const OTHER_FIELD: HeaderName = HeaderName::from_static("x-opsmx-token");

pub(super) struct Token {
    hub: Hub,
    backend: Arc<str>,
    usable: Gauge,
    state: Mutex<Standing>,
}

/// What is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing, or that the hub takes it.
    Good,
    /// Its file cannot be read, or holds nothing that a header may.
    Unreadable,
    /// The hub does not take it: it has ended, was revoked, or is of another hub.
    Refused,
}

impl Token {
    /// What is known of it is shown by `usable`: 1 or 0.
    pub(super) fn new(hub: Hub, backend: Arc<str>, usable: Gauge) -> Self {
        usable.set(1);
        Self { hub, backend, usable, state: Mutex::new(Standing::Good) }
    }

    /// Puts the token of now into a request.
    pub(super) async fn put(&self, request: &mut Request<bytes::Bytes>) -> Result<(), Unanswered> {
        let taken = request.headers().contains_key(AUTHORIZATION);
        let (name, scheme) = if taken { (OTHER_FIELD, "") } else { (AUTHORIZATION, "Bearer ") };
        match self.read(scheme).await {
            Ok(value) => {
                self.was_read();
                request.headers_mut().insert(name, value);
                Ok(())
            }
            Err(error) => {
                self.is(Standing::Unreadable, &Report(&error).to_string());
                Err(Unanswered::Token(error))
            }
        }
    }

    /// Takes in what the answer to such a request says of the token.
    pub(super) fn saw(&self, answer: &Answer) {
        let refused = answer.status == StatusCode::UNAUTHORIZED && is_of_the_way(answer);
        self.is(if refused { Standing::Refused } else { Standing::Good }, "");
    }

    /// What was wrong with the file is mended, whatever the hub will say of the token.
    fn was_read(&self) {
        let mut state = self.state.lock();
        if *state != Standing::Unreadable {
            return;
        }
        *state = Standing::Good;
        drop(state);
        self.usable.set(1);
        let (backend, file) = (&*self.backend, self.hub.token.display());
        tracing::info!(backend, %file, "the token for a backend's hub can be read again");
    }

    fn is(&self, now: Standing, err: &str) {
        if std::mem::replace(&mut *self.state.lock(), now) == now {
            return;
        }
        self.usable.set(i64::from(now == Standing::Good));
        let (backend, file) = (&*self.backend, self.hub.token.display());
        match now {
            Standing::Good => tracing::info!(backend, "its hub takes the token again"),
            Standing::Unreadable => tracing::error!(
                backend,
                %file,
                err,
                "the token for a backend's hub cannot be read; webhooks wait until it can"
            ),
            Standing::Refused => tracing::error!(
                backend,
                %file,
                "a backend's hub does not take the token; webhooks wait until the file has another, \
                 as `strait service token` makes them"
            ),
        }
    }

    async fn read(&self, scheme: &'static str) -> Result<HeaderValue, FsError> {
        let path = self.hub.token.clone();
        let read = move || {
            let bytes = read_capped(&path, BYTES_MAX)?;
            let wrong = || FsError::new("use the token in", &path)(ErrorKind::InvalidData.into());
            let token = Some(bytes.trim_ascii()).filter(|token| !token.is_empty());
            let bytes = [scheme.as_bytes(), token.ok_or_else(wrong)?].concat();
            let mut value = HeaderValue::from_bytes(&bytes).map_err(|_| wrong())?;
            value.set_sensitive(true);
            Ok(value)
        };
        tokio::task::spawn_blocking(read).await.expect("reading a file does not panic")
    }
}
