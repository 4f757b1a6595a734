//! A directory on a disk that can lose its power, be full, or break.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use super::chance::Chance;
use super::model::{Loss, Model};

/// Between two looks at what a process did.
const LOOK: std::time::Duration = std::time::Duration::from_millis(1);

/// What the disk does wrong while its power is on.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Fault {
    /// Nothing.
    None = b'0',
    /// Nothing more fits on it.
    Full = b'1',
    /// It cannot sync.
    Sync = b'2',
    /// It cannot sync a database's file, as a checkpoint wants it.
    Checkpoint = b'3',
}

/// A disk. Processes that are [`attached`](Self::attach) to it are recorded.
#[derive(Debug)]
pub(crate) struct Disk {
    home: TempDir,
    root: PathBuf,
    model: Option<Model>,
}

impl Disk {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let home = TempDir::new().unwrap();
        let root = home.path().canonicalize().unwrap().join("data");
        fs::create_dir(&root).unwrap();
        Self::over(home, root)
    }

    /// One that holds what is in `root`, durably, and lies in `home`.
    pub(crate) fn over(home: TempDir, root: PathBuf) -> Self {
        let model = Some(Model::of(&root));
        let disk = Self { home, root, model };
        disk.set(Fault::None);
        disk
    }

    /// The directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Has a process work on this disk.
    pub(crate) fn attach<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("LD_PRELOAD", library())
            .env("STRAIT_DISK_ROOT", &self.root)
            .env("STRAIT_DISK_LOG", self.log())
            .env("STRAIT_DISK_FAULT", self.home.path().join("fault"))
    }

    /// Breaks it, or repairs it.
    pub(crate) fn set(&self, fault: Fault) {
        // Processes have it mapped: it must not be shorter for a moment.
        let mut open = fs::OpenOptions::new();
        let file =
            open.write(true).create(true).truncate(false).open(self.home.path().join("fault"));
        file.unwrap().write_all(&[fault as u8]).unwrap();
    }

    /// Notes what the processes did, which must have ended.
    pub(crate) fn note(&mut self) {
        self.note_of(|_| true);
    }

    /// The same of a disk that does not do what a sync of certain files asks for.
    pub(crate) fn note_of(&mut self, honest: impl Fn(&Path) -> bool) {
        let path = self.log();
        let model = self.model.as_mut().unwrap();
        if let Ok(log) = fs::read(&path) {
            model.absorb(&log, honest);
            fs::remove_file(&path).unwrap();
        }
        model.reconcile();
    }

    /// Keeps no note of what the processes did: its power will not be cut.
    pub(crate) fn forget(&self) {
        fs::remove_file(self.log()).unwrap();
    }

    /// Cuts the power; what is left is there when it comes back.
    pub(crate) fn cut(&mut self, loss: Loss, chance: &mut Chance) {
        let model = self.model.take().unwrap();
        self.model = Some(model.cut(loss, chance));
    }

    /// How often a sync of that file was asked for since the last note.
    pub(crate) fn syncs_of(&self, file: &str) -> usize {
        let log = fs::read(self.log()).unwrap_or_default();
        super::model::syncs(&log).filter(|path| path.ends_with(file)).count()
    }

    /// Waits until the process has done so many things to the disk, or no more.
    pub(crate) fn wait_for_records(&self, count: usize) {
        let mut looks_in_vain = 0;
        let mut before = 0;
        while looks_in_vain < 1000 {
            let log = fs::read(self.log()).unwrap_or_default();
            if super::model::count(&log) >= count {
                return;
            }
            looks_in_vain = if log.len() == before { looks_in_vain + 1 } else { 0 };
            before = log.len();
            std::thread::sleep(LOOK);
        }
    }

    fn log(&self) -> PathBuf {
        self.home.path().join("log")
    }
}

/// The recording library, compiled once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = LIBRARY.get_or_init(|| {
        let home = TempDir::new().unwrap();
        let path = home.path().join("disk.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/durability/disk.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([path.as_path(), &source])
            .arg("-ldl")
            .status();
        assert!(compiled.expect("a C compiler").success());
        (home, path)
    });
    path
}
