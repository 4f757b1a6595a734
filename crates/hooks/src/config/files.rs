//! The files of this machine.

use std::fs::File;
use std::path::Path;

use super::Files;
use crate::secrets::{self, Place};
use crate::signature::Scheme;

/// The files of this machine. Blocks on the file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk {
    /// Whether this is a hub.
    pub in_hub: bool,
}

impl Files for Disk {
    fn in_hub(&self) -> bool {
        self.in_hub
    }

    fn secret(&self, scheme: &Scheme, path: &Path) -> Result<(), String> {
        let place = Place::File(path.to_owned());
        secrets::read(scheme, &place, |_| None).map(drop).map_err(|error| error.why().to_owned())
    }

    fn readable(&self, path: &Path) -> Result<(), String> {
        let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
        if !metadata.is_file() {
            return Err("is not a file".to_owned());
        }
        File::open(path).map(drop).map_err(|error| error.to_string())
    }
}
