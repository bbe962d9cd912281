//! The lock that keeps two processes from working with one file.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::model::DatasetId;
use crate::store::Lease;

/// The lock of this process on a state file, while it has leases.
#[derive(Debug)]
pub(super) struct ProcessLock {
    path: PathBuf,
    file: Option<File>,
    /// Leases that were not given back, by their fencing numbers.
    held: HashMap<DatasetId, u64>,
}

impl ProcessLock {
    pub(super) fn new(state: &Path) -> Self {
        let mut path = state.as_os_str().to_owned();
        path.push(".lock");
        Self { path: path.into(), file: None, held: HashMap::new() }
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
        self.held.contains_key(dataset)
    }

    pub(super) fn hold(&mut self, lease: &Lease) {
        self.held.insert(lease.dataset.clone(), lease.fence);
    }

    /// Gives a lease back, unless it was taken over within this process; and with the last one the lock.
    pub(super) fn release(&mut self, lease: &Lease) {
        if self.held.get(&lease.dataset) == Some(&lease.fence) {
            self.held.remove(&lease.dataset);
        }
        self.settle();
    }

    /// Gives the lock back if there is no lease for which it is needed: others would wait for nothing.
    pub(super) fn settle(&mut self) {
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
