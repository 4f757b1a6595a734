//! Senders that never finish.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::gate::Gate;
use super::webhook::wrong;
use crate::bench::Ground;
use crate::bench::report::{Goal, Row};
use crate::stopwatch::Stopwatch;

/// Half of them send half a head, half a whole head and half a body.
const CONNECTIONS: usize = 2_000;
/// Deadlines of head and body.
const DEADLINE: Duration = Duration::from_secs(5);
/// Time between the bytes that a slow head goes on with.
const DRIBBLE: Duration = Duration::from_millis(500);

pub(crate) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    let limits = format!(
        "headDeadline: {0}s, bodyDeadline: {0}s, connections: 4000, perAddress: 4000",
        DEADLINE.as_secs()
    );
    let gate = Gate::start(ground, &[], &limits)?;
    let runtime = crate::bench::load::runtime()?;
    let last = runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for number in 0..CONNECTIONS {
            let stream = TcpStream::connect(gate.address).await?;
            tasks.spawn(dribble(stream, number % 2 == 0));
        }
        let mut last = Duration::ZERO;
        while let Some(lasted) = tasks.join_next().await {
            last = last.max(lasted??);
        }
        anyhow::Ok(last)
    })?;
    Ok(vec![Row {
        name: "hooks: the last of 2,000 slow connections is gone after",
        goal: Some(Goal::AtMost(DEADLINE.as_secs_f64() + 1.0)),
        measured: last.as_secs_f64(),
        unit: "s",
        details: format!("deadlines {} s; half dribble a head, half a body", DEADLINE.as_secs()),
    }])
}

/// Sends a byte now and then until the other side closes; how long that took.
async fn dribble(mut stream: TcpStream, head_only: bool) -> Result<Duration> {
    let stopwatch = Stopwatch::start();
    stream
        .write_all(b"POST /github HTTP/1.1\r\nhost: hooks\r\ncontent-type: application/json\r\n")
        .await?;
    if !head_only {
        let signature = wrong();
        let rest =
            format!("content-length: 5000\r\nx-hub-signature-256: {}\r\n\r\n", signature.to_str()?);
        stream.write_all(rest.as_bytes()).await?;
    }
    let (mut reader, mut writer) = stream.split();
    let mut answer = Vec::new();
    let closed = async { reader.read_to_end(&mut answer).await.map(drop) };
    let writes = async {
        let mut ticks = tokio::time::interval(DRIBBLE);
        loop {
            ticks.tick().await;
            if writer.write_all(if head_only { b"x" } else { b" " }).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let limit = DEADLINE * 4;
    tokio::select! {
        // Reset or closed: gone either way.
        _ = closed => Ok(stopwatch.elapsed()),
        () = writes => bail!("the writes ended"),
        () = tokio::time::sleep(limit) => bail!("a connection is open after {limit:?}"),
    }
}
