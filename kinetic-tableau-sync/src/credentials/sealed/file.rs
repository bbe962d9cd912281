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
        let file = Self::open(&beside, path).map_err(|error| unwritable(&beside, error))?;
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

    /// The file of the lock. A new one goes to the owner of the sealed file, or else root would keep them from writing. One that is there
    /// stays whose it is: it may be a link that somebody has laid.
    fn open(beside: &Path, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true);
        private(&mut options);
        match options.clone().create_new(true).open(beside) {
            Ok(file) => {
                if let Ok(sealed) = std::fs::metadata(path) {
                    // Whoever may not give it away has it themselves, and can lock.
                    let _ = give(&file, &sealed, 0o600);
                }
                Ok(file)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                options.create(true).truncate(false).open(beside)
            }
            Err(error) => Err(error),
        }
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
    create_with(path, None, |file| file.write_all(bytes))
}

/// As [`create`], with content that is written piece by piece, and for those who may read another file, unless that is everybody.
pub(super) fn create_with(
    path: &Path,
    like: Option<&Path>,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), CredentialError> {
    let exists = || {
        CredentialError::new(CredentialErrorKind::Exists, format!("{} is there already", path.display()))
            .with_hint("use it, or remove it if nobody needs it any more")
    };
    // So that it is said before anything is done; the last step makes sure.
    if path.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let written =
        staged(path, like.map(|like| (like, 0o640)), write).and_then(|new| match new.persist_noclobber(path) {
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

/// Puts new content in the place of the old, which keeps its owner, group and mode: a service whose secrets root changes must be able to
/// read them. Where they cannot be kept the old content stays. The lock must be held.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), CredentialError> {
    sweep(path);
    let replaced = staged(path, Some((path, 0o777)), |file| file.write_all(bytes)).and_then(|new| {
        step("rename")?;
        new.persist(path).map_err(|failed| failed.error)
    });
    replaced.and_then(|_| sync_directory(path)).map_err(|error| unwritable(path, error))
}

/// A new file in the same directory, readable for its owner only or for those who may read another one, with its content on disk. It
/// removes itself unless it is renamed.
fn staged(
    path: &Path,
    like: Option<(&Path, u32)>,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<NamedTempFile> {
    step("create")?;
    let mut new = tempfile::Builder::new().prefix(&prefix(path)).suffix(".new").tempfile_in(directory(path))?;
    step("write")?;
    write(new.as_file_mut())?;
    step("own")?;
    if let Some((like, most)) = like {
        give(new.as_file(), &std::fs::metadata(like)?, most)?;
    }
    step("sync")?;
    new.as_file().sync_all()?;
    Ok(new)
}

/// Gives a file of ours to the owner and the group of another one, with as much of its mode as is allowed.
#[cfg(unix)]
fn give(file: &File, like: &std::fs::Metadata, most: u32) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
    let (ours, mode) = (file.metadata()?, like.mode() & most);
    let owner = (ours.uid() != like.uid()).then_some(like.uid());
    let group = (ours.gid() != like.gid()).then_some(like.gid());
    if owner.is_some() || group.is_some() {
        // Before the mode: until then nobody else may read it. A group that may do nothing is no loss.
        fchown(file, owner, group)
            .or_else(|error| if owner.is_none() && mode & 0o070 == 0 { Ok(()) } else { Err(error) })
            .map_err(|error| {
                let words = format!(
                    "it belongs to user {} and group {}, and this user may not give a new one to them ({error})",
                    like.uid(),
                    like.gid()
                );
                io::Error::new(error.kind(), words)
            })?;
    }
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
fn give(_: &File, _: &std::fs::Metadata, _: u32) -> io::Result<()> {
    Ok(())
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
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "run it as root or as the user that the file and its directory belong to; what was there is as it was"
        }
        _ => "check that its directory exists, is writable and has space; what was there is as it was",
    };
    CredentialError::new(CredentialErrorKind::Io, format!("{} cannot be written: {error}", path.display()))
        .with_hint(hint)
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
        for at in ["create", "write", "own", "sync", "rename"] {
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
    fn access(path: &Path) -> (u32, u32, u32) {
        use std::os::unix::fs::MetadataExt as _;
        let about = std::fs::metadata(path).unwrap();
        (about.uid(), about.gid(), about.mode() & 0o777)
    }

    #[cfg(unix)]
    fn set_mode(path: &Path, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_what_is_made_and_what_is_replaced_stays_readable_for_those_who_could() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sealed.age");
        create(&path, b"x").unwrap();
        let (user, group, mode) = access(&path);
        assert_eq!(mode, 0o600);
        for mode in [0o600, 0o640, 0o400] {
            set_mode(&path, mode);
            replace(&path, b"y").unwrap();
            assert_eq!(access(&path), (user, group, mode));
        }
        // Only root can give files away.
        if user == 0 {
            for (owner, group, mode) in [(54_321, 54_322, 0o600), (0, 54_322, 0o440), (54_321, 0, 0o640)] {
                std::os::unix::fs::chown(&path, Some(owner), Some(group)).unwrap();
                set_mode(&path, mode);
                replace(&path, b"z").unwrap();
                assert_eq!(access(&path), (owner, group, mode));
            }
        }
        assert_eq!(names(directory.path()), ["sealed.age"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_new_lock_belongs_to_whoever_the_sealed_file_belongs_to_and_a_link_in_its_place_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sealed.age");
        create(&path, b"x").unwrap();
        let root = access(&path).0 == 0;
        if root {
            std::os::unix::fs::chown(&path, Some(54_321), Some(54_322)).unwrap();
        }
        let (owner, group, _) = access(&path);
        drop(Lock::take(&path).unwrap());
        let lock = beside(&path, ".lock");
        assert_eq!(access(&lock), (owner, group, 0o600));
        std::fs::remove_file(&lock).unwrap();
        let other = directory.path().join("other");
        std::fs::write(&other, "x").unwrap();
        let before = access(&other);
        std::os::unix::fs::symlink(&other, &lock).unwrap();
        drop(Lock::take(&path).unwrap());
        assert_eq!(access(&other), before);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_may_not_be_given_away_is_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new.key");
        let (root, ours) = (access(Path::new("/")), access(directory.path()));
        let made = create_with(&path, Some(Path::new("/")), |file| file.write_all(b"key"));
        // Root may give it to anybody.
        if ours.0 == 0 || ours.0 == root.0 {
            made.unwrap();
            return;
        }
        let error = made.unwrap_err();
        assert!(error.to_string().contains(&format!("it belongs to user {}", root.0)), "{error}");
        assert!(error.hint().unwrap().contains("run it as root"));
        assert!(names(directory.path()).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn a_new_key_is_for_those_who_may_read_another_file_and_never_for_everybody() {
        let directory = tempfile::tempdir().unwrap();
        let (path, like) = (directory.path().join("new.key"), directory.path().join("old.key"));
        create(&like, b"x").unwrap();
        if access(&like).0 == 0 {
            std::os::unix::fs::chown(&like, Some(54_321), Some(54_322)).unwrap();
        }
        for (mode, kept) in [(0o640, 0o640), (0o666, 0o640), (0o400, 0o400)] {
            set_mode(&like, mode);
            create_with(&path, Some(&like), |file| file.write_all(b"key")).unwrap();
            let (owner, group, _) = access(&like);
            assert_eq!(access(&path), (owner, group, kept));
            std::fs::remove_file(&path).unwrap();
        }
    }
}
