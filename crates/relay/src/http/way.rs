//! The path form of a service: `/services/relay/<agent>/<service>/…`, in a workspace
//! `/clusters/<workspace>/services/relay/…`.

use strait_types::{WorkspacePath, is_dns1123_label};

/// What stands before the agent's name.
const HEAD: &str = "/services/relay/";
const CLUSTERS: &str = "/clusters/";

/// Names in a path are none that agents and services can have: no such service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path names no agent and service")]
pub struct NoNames;

/// A service as a path names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way<'a> {
    /// None in the short form: then the credential must name it.
    pub workspace: Option<WorkspacePath>,
    /// A DNS label.
    pub agent: &'a str,
    /// A DNS label.
    pub service: &'a str,
    /// The path up to the service's name: what follows, a path or nothing, is the service's.
    pub prefix: &'a str,
}

impl<'a> Way<'a> {
    /// Reads a path; none where it leads to no service by its form.
    ///
    /// # Errors
    /// It has the form, and other names than there can be. Names are compared as they are
    /// written: an escape in one makes it another.
    pub fn of(path: &'a str) -> Result<Option<Self>, NoNames> {
        let (workspace, rest) = match path.strip_prefix(CLUSTERS) {
            None => (None, path),
            Some(rest) => match rest.find('/') {
                Some(end) if rest[end..].starts_with(HEAD) => (Some(&rest[..end]), &rest[end..]),
                _ => return Ok(None),
            },
        };
        let Some(names) = rest.strip_prefix(HEAD) else { return Ok(None) };
        let mut names = names.splitn(3, '/');
        let agent = names.next().filter(|name| is_dns1123_label(name)).ok_or(NoNames)?;
        let service = names.next().filter(|name| is_dns1123_label(name)).ok_or(NoNames)?;
        let workspace = workspace.map(WorkspacePath::new).transpose().map_err(|_| NoNames)?;
        let inner = names.next().map_or(0, |inner| inner.len() + 1);
        let prefix = &path[..path.len() - inner];
        Ok(Some(Self { workspace, agent, service, prefix }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_a_workspace_an_agent_and_a_service() {
        for (path, workspace, prefix) in [
            ("/services/relay/smith/ci/job/x", None, "/services/relay/smith/ci"),
            ("/services/relay/smith/ci/", None, "/services/relay/smith/ci"),
            ("/services/relay/smith/ci", None, "/services/relay/smith/ci"),
            ("/services/relay/smith/ci//x", None, "/services/relay/smith/ci"),
            (
                "/clusters/root:acme/services/relay/smith/ci/a",
                Some("root:acme"),
                "/clusters/root:acme/services/relay/smith/ci",
            ),
        ] {
            let way = Way::of(path).unwrap().unwrap();
            assert_eq!((way.agent, way.service, way.prefix), ("smith", "ci", prefix), "{path}");
            assert_eq!(way.workspace.as_ref().map(WorkspacePath::as_str), workspace);
        }
    }

    #[test]
    fn other_paths_and_other_names_lead_to_none() {
        for path in
            ["/", "/services/apiexport/x", "/clusters/root/api", "/clusters/x", "/services/relay"]
        {
            assert_eq!(Way::of(path), Ok(None), "{path}");
        }
        for path in [
            "/services/relay/",
            "/services/relay/smith",
            "/services/relay/smith/",
            "/services/relay/smith//x",
            "/services/relay/Smith/ci",
            "/services/relay/smi%74h/ci",
            "/services/relay/smith/c_i",
            "/services/relay/smith/ci.smith",
            "/clusters/ro ot/services/relay/smith/ci",
            "/clusters//services/relay/smith/ci",
        ] {
            assert_eq!(Way::of(path), Err(NoNames), "{path}");
        }
    }
}
