//! Where Postgres is on this machine.

use std::path::{Path, PathBuf};

use super::{PostgresError, install};

/// The variable that names the directory of the programs.
const VARIABLE: &str = "KT_POSTGRES_BIN";

/// Where `postgres` and `initdb` are.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) postgres: PathBuf,
    pub(super) initdb: PathBuf,
}

/// The programs in a directory.
pub(super) fn at(directory: &Path) -> Result<Programs, PostgresError> {
    inside(directory).ok_or_else(|| {
        let message = format!("there is no postgres with its initdb in {}", directory.display());
        PostgresError::new(format!("{message}; name the directory that holds both"))
    })
}

/// Looks for the programs: in the directory of `KT_POSTGRES_BIN`, on `PATH`, and where packages put them; and fetches them when they are
/// nowhere. Blocks.
pub(super) fn programs() -> Result<Programs, PostgresError> {
    if let Some(named) = std::env::var_os(VARIABLE).filter(|named| !named.is_empty()) {
        let why = |error| PostgresError::new(format!("{VARIABLE}: {error}"));
        return at(Path::new(&named)).map_err(why);
    }
    match places().iter().filter(|place| is_for_everybody(place)).find_map(|place| inside(place)) {
        Some(programs) => Ok(programs),
        None => at(&install::install()?),
    }
}

fn inside(directory: &Path) -> Option<Programs> {
    let program = |name: &str| {
        let path = directory.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        // What stands on `PATH` is often a link; the server looks for its files beside itself.
        path.is_file().then(|| path.canonicalize().ok()).flatten()
    };
    Some(Programs { postgres: program("postgres")?, initdb: program("initdb")? })
}

/// Directories that may hold the programs, the likeliest first.
fn places() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    // One directory per version, the newest first.
    for root in ["/usr/lib/postgresql", "/Library/PostgreSQL", "/Applications/Postgres.app/Contents/Versions"] {
        let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir(root)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
            .collect();
        versions.sort();
        places.extend(versions.into_iter().rev().map(|(_, path)| path));
    }
    for root in ["/opt/homebrew/opt", "/usr/local/opt"] {
        places.extend(
            ["postgresql@18", "postgresql@17", "postgresql@16", "postgresql"]
                .map(|name| Path::new(root).join(name).join("bin")),
        );
    }
    places.extend(
        ["/usr/local/pgsql/bin", "/usr/pgsql-18/bin", "/usr/pgsql-17/bin", "/usr/pgsql-16/bin"].map(PathBuf::from),
    );
    places
}

/// Whether another user than we may enter a directory. An administrator cannot run Postgres, but only have it run by somebody else.
fn is_for_everybody(directory: &Path) -> bool {
    #[cfg(unix)]
    if super::process::are_we_root() {
        use std::os::unix::fs::PermissionsExt as _;
        let Ok(directory) = directory.canonicalize() else { return false };
        return directory
            .ancestors()
            .all(|path| std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o001 != 0));
    }
    directory.is_dir()
}
