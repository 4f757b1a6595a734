//! `strait service forward`.

use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use strait_runtime::{Context, TaskSet};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::ServiceName;
use super::bytes::Dialer;
use crate::client::Workspace;
use crate::exit::{Exit, Failure};
use crate::output;

/// Connections at once; as many streams a hub gives to one credential.
const CONNECTIONS_MAX: usize = 512;

/// A pause when the kernel has no connection to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Forwards local ports to a raw service
///
/// Each connection to a port is one to the service, until Ctrl-C. The service has to be exposed as
/// bytes (`spec.exposure.raw`), and you need the verb create on services/connect.
#[derive(Args, Debug)]
pub(super) struct ForwardArgs {
    /// The service: AGENT/SERVICE
    service: String,

    /// Where to listen: `5432:`, `127.0.0.1:5432:`, or `:` for a free port [default: `:`]
    #[arg(value_name = "LOCAL:")]
    local: Vec<String>,

    /// File with a token for the service; by default one is made, and made anew before it ends
    #[arg(long, env = "STRAIT_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Forwards until it is told to end.
pub(super) async fn run(args: &ForwardArgs, workspace: Workspace) -> Result<Exit, Failure> {
    let name: ServiceName = args.service.parse()?;
    let free = [":".to_owned()];
    let local = if args.local.is_empty() { &free[..] } else { &args.local };
    let parsed: Vec<_> = local.iter().map(|text| address(text)).collect();
    let mistakes: Vec<_> = parsed.iter().filter_map(|one| one.as_ref().err().cloned()).collect();
    if !mistakes.is_empty() {
        return Err(Failure::usage(mistakes));
    }
    let context = Context::of_system();
    context.shutdown.follow_signals(&context.tasks)?;
    let mut listeners = Vec::new();
    for address in parsed.into_iter().flatten() {
        listeners.push(listen(address).await?);
    }
    let dialer = Dialer::new(&context, workspace, name, args.token_file.clone()).await?;
    let dialer = Arc::new(dialer);
    let mut out = std::io::stdout().lock();
    for listener in &listeners {
        writeln!(out, "Forwarding from {}", listener.local_addr()?)?;
    }
    out.flush()?;
    drop(out);
    for listener in listeners {
        let accepted = accept(listener, dialer.clone(), context.tasks.clone());
        drop(context.tasks.spawn("forward", accepted));
    }
    context.shutdown.asked().await;
    Ok(Exit::Done)
}

/// Listens at an address.
pub(super) async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let why = match error.kind() {
            ErrorKind::AddrInUse => "the port is taken; `:` listens at a free one".to_owned(),
            _ => error.to_string(),
        };
        Failure::failed(&format!("cannot listen at {address}: {why}"))
    })
}

/// Carries every connection that comes.
pub(super) async fn accept(listener: TcpListener, dialer: Arc<Dialer>, tasks: TaskSet) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // Never closed, so never an error.
        let place = places.clone().acquire_owned().await;
        let (mut stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                output::note(&format!("cannot accept connections: {error}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Slower without, not wrong.
        let _ = stream.set_nodelay(true);
        let dialer = dialer.clone();
        let carried = async move {
            // Said before the local program sees it: that may end, and with it this one.
            if let Err(why) = dialer.carry(&mut stream).await {
                output::note(&format!("connection from {peer}: {why}"));
            }
            drop((stream, place));
        };
        drop(tasks.spawn("forwarded", carried));
    }
}

/// Where to listen, as people write it: the colon at the end is where kubectl has the other port.
fn address(text: &str) -> Result<SocketAddr, String> {
    let mistake = || {
        format!("{text:?} is no local address: `5432:`, `127.0.0.1:5432:`, or `:` for a free port")
    };
    let local = text.strip_suffix(':').unwrap_or(text);
    if local.is_empty() {
        return if text.is_empty() { Err(mistake()) } else { Ok((Ipv4Addr::LOCALHOST, 0).into()) };
    }
    let (host, port) = local.rsplit_once(':').unwrap_or(("", local));
    let port = port.parse::<u16>().map_err(|_| mistake())?;
    let host = match host {
        "" | "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        host => {
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            bare.unwrap_or(host).parse().map_err(|_| mistake())?
        }
    };
    Ok((host, port).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_read_as_kubectl_reads_them() {
        for (text, expected) in [
            (":", Some("127.0.0.1:0")),
            ("0:", Some("127.0.0.1:0")),
            ("5432:", Some("127.0.0.1:5432")),
            ("5432", Some("127.0.0.1:5432")),
            ("127.0.0.2:5432:", Some("127.0.0.2:5432")),
            ("localhost:5432", Some("127.0.0.1:5432")),
            ("[::1]:5432:", Some("[::1]:5432")),
            ("0.0.0.0:5432:", Some("0.0.0.0:5432")),
            ("", None),
            ("::", None),
            ("x:", None),
            ("65536:", None),
            ("db.example:5432:", None),
            ("5432:5432", None),
        ] {
            let found = address(text);
            assert_eq!(found.clone().ok(), expected.map(|own| own.parse().unwrap()), "{text}");
            assert!(found.err().is_none_or(|why| why.contains(text)), "{text}");
        }
    }
}
