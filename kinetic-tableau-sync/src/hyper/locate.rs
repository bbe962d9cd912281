//! Where the extract engine is on this machine.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::child;
use super::error::{HyperError, HyperErrorKind};

/// File name of the engine.
pub(super) const PROGRAM: &str = if cfg!(windows) { "hyperd.exe" } else { "hyperd" };

/// Version of the Python package `tableauhyperapi` whose engine this crate is tested with.
pub(super) const VERSION: &str = "0.0.26963";

/// How the engine was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// The caller named it.
    Given,
    /// The variable `HYPERD_PATH`.
    Environment,
    /// A directory of `PATH`.
    SearchPath,
    /// Our own cache, where `install` puts it.
    Cache,
    /// An installed Python package `tableauhyperapi`.
    PythonPackage,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Given => "given",
            Self::Environment => "from HYPERD_PATH",
            Self::SearchPath => "from PATH",
            Self::Cache => "from the cache",
            Self::PythonPackage => "from the Python package tableauhyperapi",
        })
    }
}

/// The extract engine, found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineLocation {
    /// The program.
    pub hyperd: PathBuf,
    /// How it was found.
    pub origin: Origin,
}

impl EngineLocation {
    /// The engine at this path, a file or the directory that holds it.
    ///
    /// # Errors
    /// [`HyperErrorKind::NotFound`] when there is none.
    pub fn at(path: impl AsRef<Path>) -> Result<Self, HyperError> {
        let path = path.as_ref();
        program_at(path).map(|hyperd| Self { hyperd, origin: Origin::Given }).ok_or_else(|| {
            HyperError::new(HyperErrorKind::NotFound, format!("there is no extract engine at {}", path.display()))
                .with_hint(format!("name the file {PROGRAM} or the directory that holds it"))
        })
    }

    /// Looks for the engine: in `HYPERD_PATH` (a file or a directory), `PATH`, our cache, and an installed Python package
    /// `tableauhyperapi`, in this order. Asks `python3` only when all else has failed. Never downloads anything.
    ///
    /// # Errors
    /// [`HyperErrorKind::NotFound`] with every place that was looked at. A `HYPERD_PATH` that leads nowhere is an error even where
    /// another place would do.
    pub fn find() -> Result<Self, HyperError> {
        if let Some(named) = std::env::var_os("HYPERD_PATH").filter(|named| !named.is_empty()) {
            let hyperd = program_at(Path::new(&named)).ok_or_else(|| {
                let message = format!("HYPERD_PATH names {}, where there is no {PROGRAM}", Path::new(&named).display());
                HyperError::new(HyperErrorKind::NotFound, message).with_hint("correct the variable or unset it")
            })?;
            return Ok(Self { hyperd, origin: Origin::Environment });
        }
        let cache = cached_program();
        let on_path =
            || search_path(std::env::var_os("PATH")).map(|hyperd| Self { hyperd, origin: Origin::SearchPath });
        let in_cache = || cache.as_deref().and_then(program_at).map(|hyperd| Self { hyperd, origin: Origin::Cache });
        let in_python = || python_package().map(|hyperd| Self { hyperd, origin: Origin::PythonPackage });
        on_path().or_else(in_cache).or_else(in_python).ok_or_else(|| {
            let cache = cache.as_deref().map_or_else(|| "our cache (no home directory)".to_owned(), |path| path.display().to_string());
            let message = format!(
                "Tableau's extract engine {PROGRAM} was not found: HYPERD_PATH is not set, it is not on PATH, not in {cache}, \
                 and python3 has no package tableauhyperapi"
            );
            HyperError::new(HyperErrorKind::NotFound, message)
                .with_hint("run `kinetic-tableau engine install`, or set HYPERD_PATH")
        })
    }
}

/// The program at a path: the file itself, or in the directory.
fn program_at(path: &Path) -> Option<PathBuf> {
    if path.is_dir() {
        return [path.join(PROGRAM), path.join("hyper").join(PROGRAM)].into_iter().find(|file| file.is_file());
    }
    path.is_file().then(|| path.to_owned())
}

fn search_path(path: Option<OsString>) -> Option<PathBuf> {
    std::env::split_paths(&path?).map(|directory| directory.join(PROGRAM)).find(|file| file.is_file())
}

/// Where `install` puts the program.
pub(super) fn cached_program() -> Option<PathBuf> {
    cache_directory().map(|cache| cache.join(format!("hyperd-{VERSION}")).join(PROGRAM))
}

/// Our directory in the user's cache.
pub(super) fn cache_directory() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = variable("XDG_CACHE_HOME").filter(|path| path.is_absolute()).or_else(|| {
        if cfg!(windows) {
            variable("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            variable("HOME").map(|home| home.join("Library").join("Caches"))
        } else {
            variable("HOME").map(|home| home.join(".cache"))
        }
    });
    base.map(|base| base.join("kinetic-tableau"))
}

/// The program in an installed Python package. The package itself is not imported: that would load the whole library.
fn python_package() -> Option<PathBuf> {
    const ASK: &str = "import importlib.util as u;s=u.find_spec('tableauhyperapi');print(s.submodule_search_locations[0] if s else '')";
    ["python3", "python"].into_iter().find_map(|python| {
        let mut command = Command::new(python);
        let command = child::python(&mut command).args(["-c", ASK]).stdin(Stdio::null()).stderr(Stdio::null());
        let answer = command.output().ok()?;
        let package = PathBuf::from(String::from_utf8(answer.stdout).ok()?.trim());
        program_at(&package.join("bin").join("hyper"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_or_its_directory_names_the_program() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(EngineLocation::at(directory.path()).unwrap_err().kind(), HyperErrorKind::NotFound);
        let program = directory.path().join(PROGRAM);
        std::fs::write(&program, "").unwrap();
        assert_eq!(EngineLocation::at(directory.path()).unwrap().hyperd, program);
        assert_eq!(EngineLocation::at(&program).unwrap().origin, Origin::Given);
    }

    #[test]
    fn the_search_path_is_walked_in_its_order() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = std::env::join_paths([first.path(), second.path()]).unwrap();
        assert_eq!(search_path(Some(path.clone())), None);
        std::fs::write(second.path().join(PROGRAM), "").unwrap();
        assert_eq!(search_path(Some(path.clone())), Some(second.path().join(PROGRAM)));
        std::fs::write(first.path().join(PROGRAM), "").unwrap();
        assert_eq!(search_path(Some(path)), Some(first.path().join(PROGRAM)));
    }
}
