//! What a disk holds for certain, and what was changed since without being synced.
//!
//! The rules are those of POSIX, not of a kind file system: content is durable after a sync of
//! the file, a name after a sync of its directory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::chance::Chance;

/// Disks write sectors whole.
const SECTOR: usize = 512;

/// Size of a record's numbers.
const HEAD_BYTES: usize = 24;

/// The tree below a directory.
#[derive(Debug)]
pub(crate) struct Model {
    root: PathBuf,
    /// The first is the root.
    nodes: Vec<Node>,
    /// What the process sees under a path.
    names: HashMap<PathBuf, usize>,
    /// Syncs under way: of which node, and how many of its changes they cover.
    syncs: HashMap<u64, (usize, usize)>,
    /// Files that were about to be given another name: from, to.
    renaming: Vec<(PathBuf, PathBuf)>,
}

#[derive(Debug)]
struct Node {
    content: Content,
    /// Changes that were made durable.
    settled: usize,
}

#[derive(Debug)]
enum Content {
    File { kept: Vec<u8>, pending: Vec<Change> },
    Directory { kept: BTreeMap<OsString, usize>, pending: Vec<Naming> },
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate(usize),
}

/// Names that go and come at once.
#[derive(Clone, Debug)]
struct Naming {
    gone: Option<OsString>,
    come: Option<(OsString, usize)>,
}

/// What a process did: `struct record` of `disk.c`.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    op: u32,
    pub(crate) path: PathBuf,
    target: PathBuf,
    at: u64,
    bytes: &'a [u8],
}

/// Reads a log. Its last record may be cut off, if the process was killed while it wrote.
fn records(mut log: &[u8]) -> impl Iterator<Item = Record<'_>> {
    std::iter::from_fn(move || {
        let (head, rest) = log.split_first_chunk::<HEAD_BYTES>()?;
        let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        let [op, from, to, data] = [0, 4, 8, 12].map(number);
        let (from, rest) = rest.split_at_checked(usize::try_from(from).unwrap())?;
        let (to, rest) = rest.split_at_checked(usize::try_from(to).unwrap())?;
        let (bytes, rest) = rest.split_at_checked(usize::try_from(data).unwrap())?;
        log = rest;
        let path = |bytes: &[u8]| PathBuf::from(std::str::from_utf8(bytes).unwrap());
        let at = u64::from_le_bytes(head[16..].try_into().unwrap());
        Some(Record { op, path: path(from), target: path(to), at, bytes })
    })
}

/// The files whose syncs a log tells of, whether or not they succeeded.
pub(crate) fn syncs(log: &[u8]) -> impl Iterator<Item = PathBuf> + '_ {
    records(log).filter(|record| record.op == 5).map(|record| record.path)
}

/// How many things a log tells of.
pub(crate) fn count(log: &[u8]) -> usize {
    records(log).count()
}

/// What a power cut takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Everything that was not synced.
    All,
    /// Any part of it.
    Some,
}

impl Model {
    /// What is there now, all of it durable.
    pub(crate) fn of(root: &Path) -> Self {
        let mut model = Self {
            root: root.to_owned(),
            nodes: Vec::new(),
            names: HashMap::new(),
            syncs: HashMap::new(),
            renaming: Vec::new(),
        };
        model.add(root.to_owned(), true);
        model.reconcile();
        for node in &mut model.nodes {
            node.settle(usize::MAX);
        }
        model
    }

    /// Takes what a process did. Syncs of files that are not `honest` do nothing.
    pub(crate) fn absorb(&mut self, log: &[u8], honest: impl Fn(&Path) -> bool) {
        for record in records(log) {
            self.take(record, &honest);
        }
    }

    fn take(&mut self, record: Record<'_>, honest: impl Fn(&Path) -> bool) {
        let Record { op, path, target, at, bytes } = record;
        let place = || usize::try_from(at).unwrap();
        match op {
            1 | 2 if !self.names.contains_key(&path) => self.add(path, op == 2),
            1 | 2 => {}
            3 => self.change(&path, Change::Write { at: place(), bytes: bytes.to_vec() }),
            4 => self.change(&path, Change::Truncate(place())),
            5 => {
                if let Some(&id) = self.names.get(&path) {
                    let covers = self.nodes[id].settled + self.nodes[id].pending();
                    self.syncs.insert(at, (id, covers));
                }
            }
            6 => {
                if let Some((id, covers)) = self.syncs.remove(&at)
                    && honest(&path)
                {
                    self.nodes[id].settle(covers);
                }
            }
            7 | 10 => {
                let begun = |(from, to): &(PathBuf, PathBuf)| (from, to) == (&path, &target);
                if let Some(at) = self.renaming.iter().position(begun) {
                    self.renaming.remove(at);
                }
                if op == 7 {
                    self.move_file(&path, target);
                }
            }
            8 => {
                if self.names.remove(&path).is_some() {
                    self.rename(&path, Naming { gone: Some(name(&path)), come: None });
                }
            }
            9 => self.renaming.push((path, target)),
            other => panic!("{other} is no operation"),
        }
    }

    fn add(&mut self, path: PathBuf, directory: bool) {
        let id = self.nodes.len();
        let content = match directory {
            true => Content::Directory { kept: BTreeMap::new(), pending: Vec::new() },
            false => Content::File { kept: Vec::new(), pending: Vec::new() },
        };
        self.nodes.push(Node { content, settled: 0 });
        if id > 0 {
            self.rename(&path, Naming { gone: None, come: Some((name(&path), id)) });
        }
        self.names.insert(path, id);
    }

    fn change(&mut self, path: &Path, change: Change) {
        let Some(&id) = self.names.get(path) else { return };
        if let Content::File { pending, .. } = &mut self.nodes[id].content {
            pending.push(change);
        }
    }

    fn move_file(&mut self, from: &Path, to: PathBuf) {
        if let Some(id) = self.names.remove(from) {
            let (gone, come) = (name(from), Some((name(&to), id)));
            self.rename(from, Naming { gone: Some(gone), come });
            self.names.insert(to, id);
        }
    }

    /// Changes names of one directory; nothing here moves files between two.
    fn rename(&mut self, path: &Path, naming: Naming) {
        let Some(&parent) = self.names.get(path.parent().unwrap()) else { return };
        if let Content::Directory { pending, .. } = &mut self.nodes[parent].content {
            pending.push(naming);
        }
    }

    /// Takes over, as never synced, what is there though no process recorded it: the last
    /// write of one that was killed, and what unrecorded processes wrote.
    pub(crate) fn reconcile(&mut self) {
        for (from, to) in std::mem::take(&mut self.renaming) {
            if !from.exists() {
                self.move_file(&from, to);
            }
        }
        let mut there = HashSet::from([self.root.clone()]);
        let mut directories = vec![self.root.clone()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory).unwrap() {
                let (entry, path) =
                    entry.map(|entry| (entry.file_type().unwrap(), entry.path())).unwrap();
                if !(entry.is_dir() || entry.is_file()) || is_shared_memory(&path) {
                    continue;
                }
                there.insert(path.clone());
                if !self.names.contains_key(&path) {
                    self.add(path.clone(), entry.is_dir());
                }
                if entry.is_dir() {
                    directories.push(path);
                } else {
                    self.reconcile_file(&path);
                }
            }
        }
        let gone: Vec<_> =
            self.names.keys().filter(|path| !there.contains(*path)).cloned().collect();
        for path in gone {
            self.names.remove(&path);
            self.rename(&path, Naming { gone: Some(name(&path)), come: None });
        }
    }

    fn reconcile_file(&mut self, path: &Path) {
        let bytes = fs::read(path).unwrap();
        if let Content::File { kept, pending } = &self.nodes[self.names[path]].content
            && changed(kept.clone(), pending) != bytes
        {
            self.change(path, Change::Truncate(bytes.len()));
            self.change(path, Change::Write { at: 0, bytes });
        }
    }

    /// Cuts the power: puts in place what is left, which is durable then.
    pub(crate) fn cut(self, loss: Loss, chance: &mut Chance) -> Self {
        let Self { root, mut nodes, .. } = self;
        for node in &mut nodes {
            node.lose(loss, chance);
        }
        for entry in fs::read_dir(&root).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => fs::remove_dir_all(path).unwrap(),
                false => fs::remove_file(path).unwrap(),
            }
        }
        write(&nodes, 0, &root);
        Self::of(&root)
    }
}

impl Node {
    fn pending(&self) -> usize {
        match &self.content {
            Content::File { pending, .. } => pending.len(),
            Content::Directory { pending, .. } => pending.len(),
        }
    }

    /// Makes changes durable, up to the one of that number.
    fn settle(&mut self, up_to: usize) {
        let count = up_to.saturating_sub(self.settled).min(self.pending());
        self.settled += count;
        match &mut self.content {
            Content::File { kept, pending } => {
                let now: Vec<_> = pending.drain(..count).collect();
                *kept = changed(std::mem::take(kept), &now);
            }
            Content::Directory { kept, pending } => {
                pending.drain(..count).for_each(|naming| naming.apply(kept));
            }
        }
    }

    /// Decides about what is not durable. Names change in their order; of a file's writes any
    /// may be missing, and one may be torn.
    fn lose(&mut self, loss: Loss, chance: &mut Chance) {
        let some = loss == Loss::Some && chance.below(4) > 0;
        match &mut self.content {
            Content::File { pending, .. } => {
                pending.retain(|_| some && chance.below(4) > 0);
                if let Some(Change::Write { bytes, .. }) = pending.last_mut()
                    && chance.below(2) == 0
                {
                    bytes.truncate(chance.below(bytes.len().div_ceil(SECTOR) + 1) * SECTOR);
                }
            }
            Content::Directory { pending, .. } => {
                let kept = if some { chance.below(pending.len() + 1) } else { 0 };
                pending.truncate(kept);
            }
        }
        self.settle(usize::MAX);
    }
}

impl Naming {
    fn apply(self, names: &mut BTreeMap<OsString, usize>) {
        self.gone.map(|gone| names.remove(&gone));
        self.come.map(|(name, id)| names.insert(name, id));
    }
}

fn changed(mut file: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        match change {
            Change::Truncate(length) => file.resize(*length, 0),
            Change::Write { at, bytes } => {
                file.resize(file.len().max(at + bytes.len()), 0);
                file[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
    file
}

fn write(nodes: &[Node], id: usize, path: &Path) {
    match &nodes[id].content {
        Content::File { kept, .. } => {
            fs::write(path, kept).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        Content::Directory { kept, .. } => {
            fs::create_dir_all(path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
            for (name, id) in kept {
                write(nodes, *id, &path.join(name));
            }
        }
    }
}

fn name(path: &Path) -> OsString {
    path.file_name().unwrap().to_owned()
}

/// What SQLite's connections share; the first one makes it anew.
fn is_shared_memory(path: &Path) -> bool {
    path.to_string_lossy().ends_with("-shm")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record<'a>(op: u32, path: &Path, bytes: &'a [u8]) -> Record<'a> {
        Record { op, path: path.to_owned(), target: PathBuf::new(), at: 0, bytes }
    }

    #[test]
    fn what_was_not_synced_is_lost() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        fs::write(&file, b"old").unwrap();
        for (synced, left) in [(&[][..], "old"), (&[5], "old"), (&[5, 6], "new")] {
            fs::write(&file, b"old").unwrap();
            let mut model = Model::of(home.path());
            let mut take = |op, bytes| model.take(record(op, &file, bytes), |_| true);
            take(3, &b"new"[..]);
            synced.iter().for_each(|op| take(*op, &b""[..]));
            fs::write(&file, b"newer").unwrap();
            model.reconcile();
            drop(model.cut(Loss::All, &mut Chance::new()));
            assert_eq!(fs::read_to_string(&file).unwrap(), left);
        }
    }

    #[test]
    fn who_is_killed_while_it_moves_a_synced_file_loses_none_of_it() {
        let home = tempfile::tempdir().unwrap();
        let [temporary, file] = ["temporary", "file"].map(|name| home.path().join(name));
        let mut model = Model::of(home.path());
        fs::write(&temporary, b"x").unwrap();
        [1, 3, 5, 6].iter().for_each(|op| model.take(record(*op, &temporary, b"x"), |_| true));
        model.take(Record { target: file.clone(), ..record(9, &temporary, b"") }, |_| true);
        fs::rename(&temporary, &file).unwrap();
        model.reconcile();
        for op in [5, 6] {
            model.take(record(op, home.path(), b""), |_| true);
        }
        drop(model.cut(Loss::All, &mut Chance::new()));
        assert_eq!(fs::read_to_string(&file).unwrap(), "x");
    }

    #[test]
    fn who_could_not_move_a_file_left_the_other() {
        let home = tempfile::tempdir().unwrap();
        let [temporary, file] = ["temporary", "file"].map(|name| home.path().join(name));
        fs::write(&file, b"old").unwrap();
        fs::write(&temporary, b"new").unwrap();
        let mut model = Model::of(home.path());
        for op in [9, 10] {
            let target = file.clone();
            model.take(Record { target, ..record(op, &temporary, b"") }, |_| true);
        }
        fs::remove_file(&temporary).unwrap();
        model.reconcile();
        drop(model.cut(Loss::All, &mut Chance::new()));
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
    }

    #[test]
    fn a_name_needs_a_sync_of_its_directory() {
        for (synced, left) in [(false, false), (true, true)] {
            let home = tempfile::tempdir().unwrap();
            let file = home.path().join("file");
            let mut model = Model::of(home.path());
            fs::write(&file, b"x").unwrap();
            let mut take = |op, path: &Path| model.take(record(op, path, b"x"), |_| true);
            [1, 3, 5, 6].iter().for_each(|op| take(*op, &file));
            if synced {
                [5, 6].iter().for_each(|op| take(*op, home.path()));
            }
            drop(model.cut(Loss::All, &mut Chance::new()));
            assert_eq!(file.exists(), left);
        }
    }
}
