//! `strait stream cut`.

use std::io::Write as _;

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::STREAMS;
use crate::client::{Workspace, failure};
use crate::exit::{Exit, Failure};
use crate::objects::missing;

/// Cuts streams at once
///
/// The credential stays good: `strait service revoke` ends that.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub(super) struct CutArgs {
    /// The number of one stream
    #[arg(conflicts_with_all = ["user", "agent"])]
    id: Option<String>,

    /// All of a user's
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// All to an agent, and from it
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
}

impl CutArgs {
    /// The path of what is meant, behind the collection's.
    fn path(&self) -> String {
        if let Some(id) = &self.id {
            return format!("/{}", utf8_percent_encode(id, NON_ALPHANUMERIC));
        }
        let fields = [("spec.user", &self.user), ("spec.agent", &self.agent)];
        let terms = fields.into_iter().filter_map(|(field, value)| {
            let value = value.as_ref()?.replace('\\', "\\\\");
            Some(format!("{field}={}", value.replace(',', "\\,").replace('=', "\\=")))
        });
        let selector = terms.collect::<Vec<_>>().join(",");
        format!("?fieldSelector={}", utf8_percent_encode(&selector, NON_ALPHANUMERIC))
    }
}

/// Cuts.
pub(super) async fn run(args: &CutArgs, workspace: &Workspace) -> Result<Exit, Failure> {
    let answer = workspace.delete(&format!("{}{}", STREAMS.collection, args.path())).await;
    let answer = match (answer, &args.id) {
        (Ok(answer), _) => answer,
        (Err(error), Some(id)) => return Err(missing(&STREAMS, id, workspace, &error).await),
        (Err(error), None) => return Err(failure("streams", &error)),
    };
    let one = [answer.clone()];
    let cut = if args.id.is_some() { &one[..] } else { answer.array_at(&["items"]) };
    if cut.is_empty() {
        let why = format!("no such streams are open in workspace {}", workspace.name());
        return Err(Failure { exit: Exit::No, lines: vec![why] });
    }
    let mut out = std::io::stdout().lock();
    for stream in cut {
        writeln!(out, "cut {}", (STREAMS.typed)(stream))?;
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_cut_and_nothing_else() {
        for (id, user, agent, expected) in [
            ("7", "", "", "/7"),
            ("../x", "", "", "/%2E%2E%2Fx"),
            ("", "alice", "", "?fieldSelector=spec%2Euser%3Dalice"),
            ("", "a,b=c", "", "?fieldSelector=spec%2Euser%3Da%5C%2Cb%5C%3Dc"),
            ("", "alice", "smith", "?fieldSelector=spec%2Euser%3Dalice%2Cspec%2Eagent%3Dsmith"),
        ] {
            let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let args = CutArgs { id: given(id), user: given(user), agent: given(agent) };
            assert_eq!(args.path(), expected);
        }
    }
}
