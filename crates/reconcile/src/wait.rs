//! Waiting until one object is as it should be.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use strait_machinery::json::Value;

use crate::feed::LINE_BYTES_MAX;
use crate::stream::Lines;
use crate::{Api, ApiError};

impl Api {
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
