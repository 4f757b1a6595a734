//! Which source a path belongs to.

use std::sync::Arc;

use super::metrics::SourceMetrics;
use crate::config::{Answers, Source};
use crate::path::climbs;
use crate::secrets::Secrets;

/// A source with what verifies its webhooks.
#[derive(Clone, Debug)]
pub struct Receiving {
    /// As it is configured.
    pub source: Source,
    /// Of its scheme.
    pub secrets: Arc<Secrets>,
}

/// A source as requests find it.
pub(super) struct Served {
    pub(super) source: Source,
    pub(super) secrets: Arc<Secrets>,
    pub(super) metrics: SourceMetrics,
}

/// All sources of one configuration.
pub(super) struct Sources {
    /// Longer paths first.
    served: Vec<Arc<Served>>,
}

impl Sources {
    pub(super) fn new(mut served: Vec<Arc<Served>>) -> Self {
        served.sort_by_key(|served| std::cmp::Reverse(served.source.path.len()));
        Self { served }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Served>> {
        self.served.iter()
    }

    /// The source with the longest path that this one is or is below, and what follows; nothing
    /// where that could lead a backend out of its own path.
    pub(super) fn find<'p>(&self, path: &'p str) -> Option<(&Arc<Served>, &'p str)> {
        let found = self.served.iter().find_map(|served| {
            let rest = below(path, &served.source.path)?;
            let whole = rest.is_empty() || served.source.answers == Answers::Strait;
            whole.then_some((served, rest))
        });
        found.filter(|(_, rest)| !climbs(rest))
    }
}

/// What follows a source's path, at the boundary of a segment.
fn below<'p>(path: &'p str, base: &str) -> Option<&'p str> {
    if base == "/" {
        return if path == "/" { Some("") } else { path.strip_prefix('/').map(|_| path) };
    }
    path.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::super::tests::served;
    use super::*;

    #[test]
    fn the_longest_path_takes_what_is_below_it() {
        let all = [("/", Answers::Strait), ("/a", Answers::Strait), ("/a/b", Answers::Strait)];
        let sources = Sources::new(all.map(|(path, answers)| served(path, answers)).into());
        for (path, found) in [
            ("/", Some(("/", ""))),
            ("/x", Some(("/", "/x"))),
            ("//a", Some(("/", "//a"))),
            ("/a", Some(("/a", ""))),
            ("/a/", Some(("/a", "/"))),
            ("/ab", Some(("/", "/ab"))),
            ("/a/b", Some(("/a/b", ""))),
            ("/a/b/c%2Fd", Some(("/a/b", "/c%2Fd"))),
            ("/%61", Some(("/", "/%61"))),
            ("/a/../b", None),
            ("/a/.", None),
            ("/a/%2e%2E/b", None),
            ("/a/.%2e", None),
            ("/a/.../b", Some(("/a", "/.../b"))),
            ("*", None),
            ("", None),
        ] {
            let got = sources.find(path).map(|(served, rest)| (&*served.source.path, rest));
            assert_eq!(got, found, "{path}");
        }
    }

    #[test]
    fn sprayproxys_paths_have_nothing_below_them() {
        let all = [("/", Answers::Sprayproxy), ("/proxy", Answers::Sprayproxy)];
        let sources = Sources::new(all.map(|(path, answers)| served(path, answers)).into());
        for (path, found) in [
            ("/", Some("/")),
            ("/proxy", Some("/proxy")),
            ("/proxy/", None),
            ("/proxy/x", None),
            ("/%70roxy", None),
            ("/other", None),
        ] {
            let got = sources.find(path).map(|(served, _)| &*served.source.path);
            assert_eq!(got, found, "{path}");
        }
    }
}
