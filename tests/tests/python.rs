//! Python environments with pinned packages, made once beside the build.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What is installed: pinned, since a test that fails one day because of a new release tells nothing.
const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tsc/requirements.txt");

/// The interpreter of the environment with Tableau's packages.
///
/// # Panics
/// When Python or pip cannot make it; says what is needed.
pub(crate) fn environment() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| made("python-for-tests", REQUIREMENTS).join("python")).clone()
}

/// The directory of the programs of an environment in the build directory, made there unless it is there already.
///
/// # Panics
/// When Python or pip cannot make it; says what is needed.
pub(crate) fn made(name: &str, requirements: &str) -> PathBuf {
    let home = build_directory().join(name);
    std::fs::create_dir_all(build_directory()).expect("the build directory can be written");
    // Other test processes may want the same at the same time.
    let lock = std::fs::File::create(home.with_extension("lock")).expect("the build directory can be written");
    lock.lock().expect("the lock of the environment");
    make(&home, requirements);
    home.join(if cfg!(windows) { "Scripts" } else { "bin" })
}

/// Where the build writes to.
pub(crate) fn build_directory() -> PathBuf {
    let tests = std::env::current_exe().expect("this test has a path");
    // target/debug/deps/main-… → target
    tests.ancestors().nth(3).expect("tests lie in a build directory").to_owned()
}

fn make(home: &Path, requirements: &str) {
    let stamp = home.join("requirements.txt");
    let wanted = std::fs::read_to_string(requirements).expect("the requirements are there");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return;
    }
    run(
        Command::new("python3").args(["-m", "venv", "--clear"]).arg(home),
        "install Python 3 with venv (Debian: python3-venv)",
    );
    let python = if cfg!(windows) { home.join("Scripts/python.exe") } else { home.join("bin/python") };
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements];
    run(Command::new(&python).args(pip), "let pip reach its package index");
    std::fs::write(&stamp, wanted).expect("the build directory can be written");
}

fn run(command: &mut Command, needed: &str) {
    let ran = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; {needed}"));
    let words = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{command:?} failed; {needed}\n{words}");
}
