//! Waiting until one object is as it should be, and following what changes.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use strait_machinery::json::Value;

use crate::feed::LINE_BYTES_MAX;
use crate::stream::Lines;
use crate::{Api, ApiError};

/// Longest silence of a watch before it is opened anew.
const SILENCE: Duration = Duration::from_secs(300);

impl Api {
    /// Calls `each` with every event of a collection after a revision, in order, until it returns
    /// false. A watch that ends, or is silent for long, is opened again where it ended.
    ///
    /// # Errors
    /// As any call; code 410 where the events since are not kept any more.
    pub async fn follow(
        &self,
        collection: &str,
        revision: &str,
        mut each: impl FnMut(&Value) -> bool,
    ) -> Result<(), ApiError> {
        let mut revision = revision.to_owned();
        loop {
            let path = format!("{collection}?watch=true&resourceVersion={revision}");
            let response = self.watch(&path).await?;
            let mut events = Lines::new(response.into_body(), LINE_BYTES_MAX);
            loop {
                let event = match events.next(SILENCE).await {
                    Ok(Some(event)) => event,
                    Ok(None) | Err(ApiError::TimedOut) => break,
                    Err(error) => return Err(error),
                };
                if event.str_at(&["type"]) == Some("ERROR") {
                    return Err(refused(event.get("object").unwrap_or(&Value::Null)));
                }
                let seen = event.str_at(&["object", "metadata", "resourceVersion"]);
                if let Some(seen) = seen {
                    seen.clone_into(&mut revision);
                }
                if !each(&event) {
                    return Ok(());
                }
            }
        }
    }

    /// Watches the object of that name in a collection until it fits, and returns it as it is
    /// then. An object that is not there yet is waited for.
    ///
    /// # Errors
    /// [`ApiError::TimedOut`] when it does not fit within `limit`; else as any call.
    pub async fn wait(
        &self,
        collection: &str,
        name: &str,
        limit: Duration,
        fits: impl Fn(&Value) -> bool,
    ) -> Result<Value, ApiError> {
        let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
        let path = format!("{collection}?watch=true&fieldSelector=metadata.name%3D{name}");
        let waited = async {
            loop {
                let response = self.watch(&path).await?;
                let mut events = Lines::new(response.into_body(), LINE_BYTES_MAX);
                while let Some(event) = events.next(limit).await? {
                    let object = event
                        .get("object")
                        .filter(|_| matches!(event.str_at(&["type"]), Some("ADDED" | "MODIFIED")));
                    if let Some(object) = object.filter(|object| fits(object)) {
                        return Ok(object.clone());
                    }
                }
            }
        };
        tokio::time::timeout(limit, waited).await.unwrap_or(Err(ApiError::TimedOut))
    }
}

/// The error in a watch's last event.
fn refused(status: &Value) -> ApiError {
    let text = |key| status.str_at(&[key]).unwrap_or_default().to_owned();
    let code = status.get("code").and_then(Value::as_i64);
    ApiError::Status {
        code: code.and_then(|code| u16::try_from(code).ok()).unwrap_or(500),
        reason: text("reason"),
        message: text("message"),
        retry_after: None,
    }
}
