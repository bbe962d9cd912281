//! The lock that keeps two processes from working with one file.

use std::collections::HashSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::model::DatasetId;

/// The lock of this process on a state file, while it has leases.
#[derive(Debug)]
pub(super) struct ProcessLock {
    path: PathBuf,
    file: Option<File>,
    held: HashSet<DatasetId>,
}

impl ProcessLock {
    pub(super) fn new(state: &Path) -> Self {
        let mut path = state.as_os_str().to_owned();
        path.push(".lock");
        Self { path: path.into(), file: None, held: HashSet::new() }
    }

    /// Takes the lock, unless it is taken already; false when another process has it.
    pub(super) fn take(&mut self) -> io::Result<bool> {
        if self.file.is_some() {
            return Ok(true);
        }
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        private(&mut options);
        let file = options.open(&self.path)?;
        match file.try_lock() {
            Ok(()) => {
                self.file = Some(file);
                Ok(true)
            }
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether this process has a lease of the dataset that was not given back.
    pub(super) fn holds(&self, dataset: &DatasetId) -> bool {
        self.held.contains(dataset)
    }

    pub(super) fn hold(&mut self, dataset: &DatasetId) {
        self.held.insert(dataset.clone());
    }

    /// Gives a lease back, and with the last one the lock.
    pub(super) fn release(&mut self, dataset: &DatasetId) {
        self.held.remove(dataset);
        if self.held.is_empty() {
            // Closing the file unlocks it.
            self.file = None;
        }
    }
}

/// Makes an empty file that only its owner may read, if it is not there.
pub(super) fn create_private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    private(&mut options);
    options.open(path).map(|_| ())
}

fn private(options: &mut OpenOptions) {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    #[cfg(not(unix))]
    let _ = options;
}
