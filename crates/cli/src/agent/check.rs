//! `strait agent check`.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;
use strait_agent::Files;

use crate::exit::{Exit, Failure};

/// Says what is wrong with an agent's files, all at once, and changes nothing
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// YAML file, as `strait agent --config` takes it; may be given again
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// As `strait agent --allow-insecure`
    #[arg(long)]
    allow_insecure: bool,

    /// Take what is unwise for a mistake, such as a secret that others may read
    #[arg(long)]
    strict: bool,
}

/// Reads the files as an agent would.
pub(super) fn run(args: &CheckArgs) -> Result<Exit, Failure> {
    let files = Files { paths: args.files.clone(), allow_insecure: args.allow_insecure };
    let lines = |text: String| text.lines().map(str::to_owned).collect();
    let told = files.read().map_err(|errors| Failure::usage(lines(errors.to_string())))?;
    let warnings: Vec<String> = told.warnings.iter().map(ToString::to_string).collect();
    if args.strict && !warnings.is_empty() {
        return Err(Failure::usage(warnings));
    }
    let mut notes = anstream::stderr().lock();
    for warning in &warnings {
        writeln!(notes, "warning: {warning}")?;
    }
    let (services, incoming) =
        told.relay.map_or((0, 0), |relay| (relay.services.len(), relay.incoming.len()));
    let classes = told.requests.classes().len();
    writeln!(
        io::stdout(),
        "good; services: {services}, listeners: {incoming}, classes of requests: {classes}"
    )?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_good_or_unwise_or_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let token = directory.path().join("token");
        std::fs::write(&token, "secret").unwrap();
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
        let unwise = format!("credentials: {{bearer: {{tokenFile: {}}}}}", token.display());
        let file = directory.path().join("agent.yaml");
        let check = |rest: &str, allow_insecure, strict| {
            let text = format!(
                "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\nservices:\n\
                 - {{name: a, type: http, url: 'https://a', {rest}}}\n"
            );
            std::fs::write(&file, text).unwrap();
            let told = run(&CheckArgs { files: vec![file.clone()], allow_insecure, strict });
            told.map_err(|failure| (failure.exit, failure.lines.join("\n")))
        };
        assert_eq!(check("", false, true), Ok(Exit::Done));
        assert_eq!(check(&unwise, false, false), Ok(Exit::Done));
        let insecure = "tls: {insecure: true}";
        assert_eq!(check(insecure, true, false), Ok(Exit::Done));
        for (rest, strict, expected) in [
            (&*unwise, true, "everybody on this machine may read it"),
            (insecure, false, "agent.yaml:4:"),
            ("retry: always, colour: red", false, "unknown field \"services[0].colour\""),
            ("retry: always, colour: red", false, "services[0].retry"),
        ] {
            let (exit, text) = check(rest, false, strict).unwrap_err();
            assert!(exit == Exit::Usage && text.contains(expected), "{text}");
        }
    }
}
