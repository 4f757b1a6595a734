//! The files of the repository.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Directories that hold nothing that people wrote: git's, cargo's, a data directory.
const LEFT_OUT: [&str; 3] = [".git", "target", "strait-data"];

/// Files and directories by their path from the root, with `/` between parts.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: BTreeSet<String>,
    directories: BTreeSet<String>,
}

impl Tree {
    /// The files, in order.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str)
    }

    /// Whether something has this path; the root's is empty.
    pub(crate) fn has(&self, path: &str) -> bool {
        path.is_empty() || self.files.contains(path) || self.directories.contains(path)
    }

    #[cfg(test)]
    pub(crate) fn of(files: &[&str]) -> Self {
        let mut tree = Self::default();
        for file in files {
            tree.files.insert((*file).to_owned());
            for (at, _) in file.match_indices('/') {
                tree.directories.insert(file[..at].to_owned());
            }
        }
        tree
    }
}

/// Finds the files below a directory.
///
/// # Errors
/// A directory cannot be read.
pub(crate) fn walk(root: &Path) -> Result<Tree> {
    let mut tree = Tree::default();
    let mut open = vec![String::new()];
    while let Some(directory) = open.pop() {
        let path = root.join(&directory);
        let context = || format!("cannot read {}", path.display());
        for entry in fs::read_dir(&path).with_context(context)? {
            let entry = entry.with_context(context)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let below =
                if directory.is_empty() { name.clone() } else { format!("{directory}/{name}") };
            if !entry.file_type()?.is_dir() {
                tree.files.insert(below);
            } else if !LEFT_OUT.contains(&name.as_str()) {
                tree.directories.insert(below.clone());
                open.push(below);
            }
        }
    }
    Ok(tree)
}
