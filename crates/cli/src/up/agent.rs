//! The agent `local`.

use strait_machinery::object;
use strait_relay::agent::Membership;
use strait_runtime::fs;

use super::child::Child;
use super::demo::Signer;
use super::{Children, Up, failed, path};
use crate::agent::make;
use crate::client::Workspace;
use crate::exit::Failure;

/// Its name, and its directory's below `agents`.
pub(super) const NAME: &str = "local";

/// A token is used at once.
const TOKEN_LIFE: &str = "10m";

/// Starts the agent in a workspace of the hub and waits until it is connected; on first start
/// with a token that lets it join. With the example's signer it takes that export's requests.
pub(super) async fn start(
    up: &Up,
    hub: &str,
    workspace: &Workspace,
    signer: Option<&Signer>,
    children: &mut Children,
) -> Result<(), Failure> {
    let directory = up.directory.join("agents").join(NAME);
    fs::create_private_dir(&directory)?;
    let token_file = directory.join("token");
    if !is_member(up, workspace.name())? {
        let token = token(workspace, signer.is_some())
            .await
            .map_err(|error| failed("a join token", &error))?;
        fs::write_atomic(&token_file, token.as_bytes(), 0o600)?;
    }
    // The hub may listen elsewhere than when the agent joined.
    let mut args = vec!["agent", "--data-dir", path(&directory)?, "--hub", hub];
    args.extend(["--health", "127.0.0.1:0"]);
    if token_file.exists() {
        args.extend(["--token-file", path(&token_file)?]);
    }
    if let Some(signer) = signer {
        args.extend(["--config", path(&signer.agent_config)?]);
    }
    let agent = children.agent.insert(Child::start("agent", &args, &up.log)?);
    agent.ready().await?;
    // It has been used.
    drop(std::fs::remove_file(&token_file));
    Ok(())
}

/// Whether the agent is a member in that workspace. A membership in another one, of a start with
/// or without the example, is given up.
fn is_member(up: &Up, workspace: &str) -> Result<bool, Failure> {
    let file = up.directory.join("agents").join(NAME).join("membership.json");
    match Membership::load(&file)? {
        Some(membership) if membership.workspace == workspace => Ok(true),
        Some(_) => {
            std::fs::remove_file(&file)?;
            Ok(false)
        }
        None => Ok(false),
    }
}

async fn token(
    workspace: &Workspace,
    with_export: bool,
) -> Result<String, strait_reconcile::ApiError> {
    let exports = if with_export { &[super::demo::EXPORT][..] } else { &[] };
    let made = make(workspace, NAME, exports, &object! {"ttl": TOKEN_LIFE}).await?;
    Ok(made.str_at(&["token"]).unwrap_or_default().to_owned())
}
