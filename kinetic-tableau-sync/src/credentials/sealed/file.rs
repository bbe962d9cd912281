//! Writing the file so that it is whole at every moment, and one process at a time.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use super::super::{CredentialError, CredentialErrorKind};

/// How long another process that writes is waited for. Trying a passphrase takes a second, and changing one takes three of those.
const PATIENCE: Duration = if cfg!(test) { Duration::from_millis(300) } else { Duration::from_secs(15) };

/// No sealed file is larger: nobody else's large file is read into memory by mistake.
const LARGEST: u64 = 64 << 20;

/// The lock of this process on a sealed file. It goes with the process, however that dies.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, and waits a while for whoever has it.
    pub(super) fn take(path: &Path) -> Result<Self, CredentialError> {
        let beside = beside(path, ".lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        private(&mut options);
        let file = options.open(&beside).map_err(|error| unwritable(&beside, error))?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if began.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => {
                    let message = format!("another process is writing the sealed file {}", path.display());
                    return Err(CredentialError::new(CredentialErrorKind::Busy, message)
                        .with_hint("wait until it has finished, and run again; nothing was changed"));
                }
                Err(TryLockError::Error(error)) => return Err(unwritable(&beside, error)),
            }
        }
        Ok(Self { _file: file })
    }
}

/// Reads the whole file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, CredentialError> {
    let about = std::fs::metadata(path).map_err(|error| unreadable(path, error))?;
    if !about.is_file() || about.len() > LARGEST {
        return Err(CredentialError::invalid(format!("{} is no sealed file", path.display()))
            .with_hint("name the file that holds the sealed secrets"));
    }
    std::fs::read(path).map_err(|error| unreadable(path, error))
}

/// Makes the file, unless there is one.
pub(super) fn create(path: &Path, bytes: &[u8]) -> Result<(), CredentialError> {
    create_with(path, |file| file.write_all(bytes))
}

/// As [`create`], with content that is written piece by piece.
pub(super) fn create_with(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), CredentialError> {
    let exists = || {
        CredentialError::new(CredentialErrorKind::Exists, format!("{} is there already", path.display()))
            .with_hint("use it, or remove it if nobody needs it any more")
    };
    // So that it is said before anything is done; the last step makes sure.
    if path.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let written = staged(path, write).and_then(|new| match new.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(failed) => Err(failed.error),
    });
    match written {
        Ok(true) => sync_directory(path).map_err(|error| unwritable(path, error)),
        Ok(false) => Err(exists()),
        Err(error) => Err(unwritable(path, error)),
    }
}

/// Puts new content in the place of the old. The lock must be held.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), CredentialError> {
    sweep(path);
    let replaced = staged(path, |file| file.write_all(bytes)).and_then(|new| {
        step("rename")?;
        new.persist(path).map_err(|failed| failed.error)
    });
    replaced.and_then(|_| sync_directory(path)).map_err(|error| unwritable(path, error))
}

/// A new file in the same directory, readable for its owner only, with its content on disk. It removes itself unless it is renamed.
fn staged(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<NamedTempFile> {
    step("create")?;
    let mut new = tempfile::Builder::new().prefix(&prefix(path)).suffix(".new").tempfile_in(directory(path))?;
    step("write")?;
    write(new.as_file_mut())?;
    step("sync")?;
    new.as_file().sync_all()?;
    Ok(new)
}

/// Removes what processes that died while writing have left.
fn sweep(path: &Path) {
    let (prefix, Ok(entries)) = (prefix(path), std::fs::read_dir(directory(path))) else { return };
    let ours = |name: OsString| {
        let name = name.to_string_lossy();
        name.starts_with(&*prefix.to_string_lossy()) && name.ends_with(".new")
    };
    for entry in entries.flatten().filter(|entry| ours(entry.file_name())) {
        // What cannot be removed only takes space.
        let _ = std::fs::remove_file(entry.path());
    }
}

/// Makes the renaming durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(directory(path))?.sync_all()?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn prefix(path: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    prefix
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn private(options: &mut OpenOptions) {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    #[cfg(not(unix))]
    let _ = options;
}

/// A failure to read the sealed file.
pub(super) fn unreadable(path: &Path, error: io::Error) -> CredentialError {
    if error.kind() == io::ErrorKind::NotFound {
        let message = format!("the sealed file {} is not there", path.display());
        return CredentialError::new(CredentialErrorKind::Missing, message)
            .with_hint("check the path, or make it: with `SealedFile::create`, or `kinetic-tableau secrets init`");
    }
    CredentialError::new(CredentialErrorKind::Io, format!("the sealed file {} cannot be read: {error}", path.display()))
        .with_hint("check its owner and its mode")
        .with_cause(error)
}

fn unwritable(path: &Path, error: io::Error) -> CredentialError {
    CredentialError::new(CredentialErrorKind::Io, format!("{} cannot be written: {error}", path.display()))
        .with_hint("check that its directory exists, is writable and has space; what was there is as it was")
        .with_cause(error)
}

/// A step that a test lets fail.
#[cfg(test)]
fn step(name: &'static str) -> io::Result<()> {
    match tests::FAIL_AT.get() {
        Some(at) if at == name => Err(io::Error::from(io::ErrorKind::StorageFull)),
        _ => Ok(()),
    }
}

#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "as in tests")]
fn step(_: &'static str) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        pub(super) static FAIL_AT: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn whatever_fails_half_way_the_old_file_is_whole_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sealed.age");
        create(&path, b"old").unwrap();
        for at in ["create", "write", "sync", "rename"] {
            FAIL_AT.set(Some(at));
            let error = replace(&path, b"new").unwrap_err();
            FAIL_AT.set(None);
            assert_eq!(error.kind(), CredentialErrorKind::Io, "{at}");
            assert_eq!(std::fs::read(&path).unwrap(), b"old", "{at}");
            assert_eq!(names(directory.path()), ["sealed.age"], "{at}");
        }
        replace(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn what_a_process_that_died_has_left_is_removed_by_the_next_one_that_writes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sealed.age");
        create(&path, b"old").unwrap();
        for left in [".sealed.age.x7.new", ".other.age.x7.new", "sealed.age.old"] {
            std::fs::write(directory.path().join(left), "left").unwrap();
        }
        replace(&path, b"new").unwrap();
        assert_eq!(names(directory.path()), [".other.age.x7.new", "sealed.age", "sealed.age.old"]);
    }

    #[test]
    fn a_file_that_is_there_is_never_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sealed.age");
        create(&path, b"old").unwrap();
        assert_eq!(create(&path, b"new").unwrap_err().kind(), CredentialErrorKind::Exists);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn only_one_writes_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sealed.age");
        let lock = Lock::take(&path).unwrap();
        // Another handle is another process to the operating system.
        let error = Lock::take(&path).unwrap_err();
        assert_eq!(error.kind(), CredentialErrorKind::Busy);
        drop(lock);
        Lock::take(&path).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_what_is_written() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sealed.age");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        create(&path, b"x").unwrap();
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        replace(&path, b"y").unwrap();
        assert_eq!(mode(), 0o600);
    }
}
