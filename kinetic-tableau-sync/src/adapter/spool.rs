//! The directory of loads on their way: `SPOOL/DATASET/RUN.hyper`, or with the ending of another form.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use crate::destination::{DestinationError, DestinationErrorKind, Staged};
use crate::digest;
use crate::model::{DatasetId, RunId};

/// Where loads lie.
#[derive(Debug)]
pub(super) struct Spool {
    root: PathBuf,
}

impl Spool {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The path of a new load. What crashed runs of the dataset have left is removed: a run that begins a load has dealt with every
    /// load that still counted.
    pub(super) async fn clear_for(
        &self,
        dataset: &DatasetId,
        run: &RunId,
        ending: &str,
    ) -> Result<PathBuf, DestinationError> {
        let directory = std::path::absolute(&self.root)
            .map(|root| root.join(safe(dataset.as_str())))
            .map_err(|error| io_failed("find", &self.root, error))?;
        let file = directory.join(format!("{}.{ending}", safe(run.as_str())));
        blocking(move || {
            create_private(&directory).map_err(|error| io_failed("create", &directory, error))?;
            let left = std::fs::read_dir(&directory).map_err(|error| io_failed("read", &directory, error))?;
            for entry in left.flatten() {
                // What cannot be removed only takes space.
                let _ = std::fs::remove_file(entry.path());
            }
            Ok(file)
        })
        .await
    }
}

/// A file name for any text.
fn safe(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02x}");
        }
    }
    out
}

fn create_private(directory: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// Whether a sealed load is there as it was sealed.
pub(super) async fn is_intact(staged: Staged) -> Result<bool, DestinationError> {
    blocking(move || {
        let mut file = match std::fs::File::open(&staged.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(io_failed("read", &staged.path, error)),
        };
        let (bytes, hash) = digest::of_file(&mut file).map_err(|error| io_failed("read", &staged.path, error))?;
        Ok(bytes == staged.bytes && hash == staged.sha256)
    })
    .await
}

/// Removes a load, if it is there.
pub(super) async fn remove(path: &Path) -> Result<(), DestinationError> {
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_failed("remove", path, error)),
        _ => Ok(()),
    }
}

/// Brings a finished file to the disk for good, and describes it.
#[cfg(feature = "parquet")]
pub(super) fn settle(path: &Path, rows: u64) -> Result<Staged, DestinationError> {
    let failed = |error| io_failed("finish", path, error);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    }
    file.sync_all().map_err(failed)?;
    #[cfg(unix)]
    if let Some(directory) = path.parent() {
        std::fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
    }
    let (bytes, sha256) = digest::of_file(&mut file).map_err(failed)?;
    Ok(Staged { path: path.to_owned(), rows, deletes: 0, bytes, sha256 })
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DestinationError> + Send + 'static,
) -> Result<T, DestinationError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(DestinationError::new(DestinationErrorKind::Other, "work on the spool was broken off").with_cause(error))
    })
}

fn io_failed(what: &str, path: &Path, error: io::Error) -> DestinationError {
    let message = format!("cannot {what} {}: {error}", path.display());
    DestinationError::new(DestinationErrorKind::Engine, message)
        .with_hint("check that the spool directory is writable and has space")
        .with_cause(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_never_leave_the_spool() {
        assert_eq!(safe("ap_invoices-2"), "ap_invoices-2");
        assert_eq!(safe("../ö"), "%2e%2e%2f%c3%b6");
    }

    #[tokio::test]
    async fn only_what_was_sealed_is_intact() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(directory.path().join("spool"));
        let path = spool.clear_for(&"a/b".into(), &RunId::new("1"), "hyper").await.unwrap();
        let staged = Staged {
            path: path.clone(),
            rows: 1,
            deletes: 0,
            bytes: 3,
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned(),
        };
        assert!(!is_intact(staged.clone()).await.unwrap(), "not there");
        std::fs::write(&path, "abc").unwrap();
        assert!(is_intact(staged.clone()).await.unwrap());
        std::fs::write(&path, "abd").unwrap();
        assert!(!is_intact(staged.clone()).await.unwrap(), "changed");
        std::fs::write(&path, "ab").unwrap();
        assert!(!is_intact(staged).await.unwrap(), "cut");
        spool.clear_for(&"a/b".into(), &RunId::new("2"), "hyper").await.unwrap();
        assert!(!path.exists(), "what a crashed run left is removed");
        remove(&path).await.unwrap();
    }
}
