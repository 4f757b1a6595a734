//! Reads of single objects.

use std::sync::Arc;

use anyhow::Result;
use http::{Request, StatusCode, header};
use http_body_util::Full;

use super::Ground;
use super::creates::{COLLECTION, create};
use super::hub::Hub;
use super::load::{self, CONNECTIONS, Requests};
use super::report::{Goal, Row};
use crate::https;

/// Objects that are read in turn.
const OBJECTS: usize = 1000;

/// Makes objects, then reads them.
pub(crate) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    let hub = Hub::start(ground)?;
    load::runtime()?.block_on(fill(&hub))?;
    let requests: Requests = Arc::new(|number| {
        let uri = format!("{COLLECTION}/load-{}", number % OBJECTS);
        let mut request = Request::new(Full::default());
        *request.uri_mut() = uri.parse().expect("a path of plain letters is a URI");
        request.headers_mut().insert(header::HOST, header::HeaderValue::from_static("hub"));
        request
    });
    let outcome = load::run(&hub, StatusCode::OK, &requests)?;
    Ok(vec![Row {
        name: "GET of an object, 64 connections",
        goal: Some(Goal::AtLeast(15_000.0)),
        measured: outcome.per_second,
        unit: "/s",
        details: outcome.details,
    }])
}

async fn fill(hub: &Hub) -> Result<()> {
    let tls = hub.admin()?;
    let mut clients = tokio::task::JoinSet::new();
    for first in 0..CONNECTIONS {
        let (mut sender, driver) = hub.connect(tls.clone()).await?;
        clients.spawn(https::drive(driver, async move {
            for number in (first..OBJECTS).step_by(CONNECTIONS) {
                let response = https::answer(&mut sender, create(number)).await?;
                load::expect(&response, StatusCode::CREATED)?;
            }
            Ok(())
        }));
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    Ok(())
}
