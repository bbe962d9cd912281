//! Fetching the engine: the pinned wheel of Tableau's Python package, by pip, checked against the hash in this file.
//!
//! Only what is needed is kept of it: the program and the notices of its licence.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::child;
use super::error::{HyperError, HyperErrorKind};
use super::locate::{EngineLocation, Origin, PROGRAM, VERSION, cache_directory};
use crate::digest;

/// Version of the Python package `tableauhyperapi` that is installed.
pub const ENGINE_VERSION: &str = VERSION;

const PACKAGE: &str = "tableauhyperapi";

/// SHA-256 of the wheels of [`ENGINE_VERSION`], by platform.
const WHEELS: &[(&str, &str, &str)] = &[
    ("linux", "x86_64", "35376f598c6fdfa52fe25769778f756e2daec1c124ff8f471b5e098cb9cf7863"),
    ("windows", "x86_64", "35e64279c619157561158128b3ef7e2c1107855be39b8fa0c1967371ad394ffd"),
];

/// How to install.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct InstallOptions {
    /// Directory to install into, instead of the user's cache. The engine is found there only when it is named, for instance in
    /// `HYPERD_PATH`.
    pub directory: Option<PathBuf>,
}

/// Finds the engine, and installs it when it is not there. Blocks.
///
/// # Errors
/// As [`install`], and where `HYPERD_PATH` is wrong.
pub fn find_or_install(options: &InstallOptions) -> Result<EngineLocation, HyperError> {
    match EngineLocation::find() {
        Err(error) if error.kind() == HyperErrorKind::NotFound && std::env::var_os("HYPERD_PATH").is_none() => {
            install(options)
        }
        found => found,
    }
}

/// Fetches the engine with pip, checks it, and puts it into the cache, whole or not at all. Where it is there already nothing is
/// fetched. Several processes may do so at once. Blocks, for some seconds with a good line (about 90 MB).
///
/// # Errors
/// [`HyperErrorKind::Install`] when Tableau ships no engine for this platform, pip is missing or fails, or the package is not the one
/// that is pinned; [`HyperErrorKind::Io`] when it cannot be written.
pub fn install(options: &InstallOptions) -> Result<EngineLocation, HyperError> {
    let Some(root) = options.directory.clone().or_else(cache_directory) else {
        return Err(HyperError::new(
            HyperErrorKind::Install,
            "there is no home directory to keep the extract engine in",
        )
        .with_hint("set HOME or XDG_CACHE_HOME"));
    };
    let home = root.join(format!("hyperd-{VERSION}"));
    let found = EngineLocation { hyperd: home.join(PROGRAM), origin: Origin::Cache };
    if found.hyperd.is_file() {
        return Ok(found);
    }
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let Some((.., sha256)) = WHEELS.iter().find(|(its_os, its_arch, _)| (*its_os, *its_arch) == (os, arch)) else {
        let message = format!("no extract engine is pinned for {os} on {arch}");
        return Err(HyperError::new(HyperErrorKind::Install, message).with_hint(format!(
            "install Tableau's Python package {PACKAGE}, if there is one for this platform, or set HYPERD_PATH; without an engine, land \
             whole tables as Parquet (deliver = \"parquet\")"
        )));
    };
    fs::create_dir_all(&root).map_err(|error| HyperError::io("make", &root, error))?;
    // One download at a time; whoever has waited finds what the other one has fetched.
    let lock = root.join("install.lock");
    let lock = File::create(&lock)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|error| HyperError::io("lock", &lock, error))?;
    if found.hyperd.is_file() {
        return Ok(found);
    }
    // In the cache itself, so that the last step is a rename within one file system.
    let work = tempfile::Builder::new()
        .prefix("install-")
        .tempdir_in(&root)
        .map_err(|error| HyperError::io("make a directory in", &root, error))?;
    download(work.path())?;
    let wheel = only_wheel(work.path())?;
    check(&wheel, sha256)?;
    let unpacked = work.path().join("unpacked");
    unpack(&wheel, &unpacked)?;
    let moved = fs::rename(&unpacked, &home);
    drop(lock);
    match moved {
        // Somebody else was faster.
        Err(_) if found.hyperd.is_file() => Ok(found),
        Err(error) => Err(HyperError::io("move the extract engine to", &home, error)),
        Ok(()) => Ok(found),
    }
}

/// Runs the first pip that is there.
fn download(into: &Path) -> Result<(), HyperError> {
    let pips: [&[&str]; 4] = [&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"]];
    let mut missing = None;
    for pip in pips {
        let Some((program, first)) = pip.split_first() else {
            continue;
        };
        let ran = child::python(&mut Command::new(program))
            .args(first)
            .args(["download", "--quiet", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--dest"])
            .arg(into)
            .arg(format!("{PACKAGE}=={VERSION}"))
            .stdin(Stdio::null())
            .output();
        match ran {
            Ok(ran) if ran.status.success() => return Ok(()),
            Ok(ran) => {
                let words = String::from_utf8_lossy(&ran.stderr);
                if words.contains("No module named pip") {
                    missing = Some("pip is not installed".to_owned());
                    continue;
                }
                let word =
                    words.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it says nothing");
                return Err(HyperError::new(
                    HyperErrorKind::Install,
                    format!("pip could not fetch {PACKAGE} {VERSION}: {word}"),
                )
                .with_hint(
                    "check the network and pip's package index, or set HYPERD_PATH to an engine that is there",
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => missing = Some(format!("{program} cannot be run: {error}")),
        }
    }
    let why = missing.unwrap_or_else(|| "neither python3 nor pip is on PATH".to_owned());
    Err(HyperError::new(HyperErrorKind::Install, format!("the extract engine cannot be fetched: {why}"))
        .with_hint("install Python 3 with pip, or set HYPERD_PATH to an engine that is there"))
}

fn only_wheel(directory: &Path) -> Result<PathBuf, HyperError> {
    let entries = fs::read_dir(directory).map_err(|error| HyperError::io("read", directory, error))?;
    let wheel =
        entries.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|kind| kind == "whl"));
    wheel.ok_or_else(|| HyperError::new(HyperErrorKind::Install, "pip has fetched no wheel"))
}

fn check(wheel: &Path, expected: &str) -> Result<(), HyperError> {
    let failed = |error| HyperError::io("read", wheel, error);
    let (_, found) = File::open(wheel).and_then(|mut file| digest::of_file(&mut file)).map_err(failed)?;
    if found == expected {
        return Ok(());
    }
    let message =
        format!("the package {PACKAGE} {VERSION} that pip fetched is not the one that is pinned (sha256 {found})");
    Err(HyperError::new(HyperErrorKind::Install, message)
        .with_hint("do not use it; check where pip fetches packages from"))
}

/// Takes the program and the notices out of the wheel.
fn unpack(wheel: &Path, into: &Path) -> Result<(), HyperError> {
    let damaged = |error: zip::result::ZipError| {
        HyperError::new(HyperErrorKind::Install, format!("the package cannot be unpacked: {error}")).with_cause(error)
    };
    let file = File::open(wheel).map_err(|error| HyperError::io("read", wheel, error))?;
    let mut archive = zip::ZipArchive::new(file).map_err(damaged)?;
    fs::create_dir(into).map_err(|error| HyperError::io("make", into, error))?;
    let mut found = false;
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).map_err(damaged)?;
        let member = entry.name().map_err(damaged)?.into_owned();
        let Some(name) = kept_as(&member) else { continue };
        let path = into.join(name);
        let mut out = File::create(&path).map_err(|error| HyperError::io("write", &path, error))?;
        io::copy(&mut entry, &mut out).map_err(|error| HyperError::io("write", &path, error))?;
        if name == PROGRAM {
            found = true;
            executable(&out).map_err(|error| HyperError::io("write", &path, error))?;
        }
        out.sync_all().map_err(|error| HyperError::io("write", &path, error))?;
    }
    if found {
        return Ok(());
    }
    Err(HyperError::new(HyperErrorKind::Install, format!("the package {PACKAGE} {VERSION} holds no {PROGRAM}")))
}

/// The name under which a member of the wheel is kept, if it is.
fn kept_as(member: &str) -> Option<&str> {
    let (directory, name) = member.rsplit_once('/')?;
    let program = name == PROGRAM && directory.ends_with("bin/hyper");
    let notice =
        directory.contains(".dist-info") && ["LICENSE", "NOTICES.txt", "HYPER_API_OSS_disclosure.txt"].contains(&name);
    (program || notice).then_some(name)
}

fn executable(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.set_permissions(fs::Permissions::from_mode(0o755))?;
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_program_and_its_notices_are_kept() {
        assert_eq!(kept_as(&format!("tableauhyperapi/bin/hyper/{PROGRAM}")), Some(PROGRAM));
        assert_eq!(kept_as("tableauhyperapi-0.0.1.dist-info/NOTICES.txt"), Some("NOTICES.txt"));
        for other in ["tableauhyperapi/__init__.py", "hyperd", "evil/hyperd", "tableauhyperapi-0.0.1.dist-info/RECORD"]
        {
            assert_eq!(kept_as(other), None, "{other}");
        }
    }

    #[test]
    fn a_wheel_that_is_not_the_pinned_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let wheel = directory.path().join("x.whl");
        fs::write(&wheel, "abc").unwrap();
        check(&wheel, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").unwrap();
        let error = check(&wheel, "00").unwrap_err();
        assert_eq!(error.kind(), HyperErrorKind::Install);
        assert!(error.hint().is_some());
    }
}
