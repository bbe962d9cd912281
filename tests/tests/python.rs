//! A Python environment with the vendor's packages, made once beside the build.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What is installed: pinned, since a test that fails one day because of a new release tells nothing.
const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tsc/requirements.txt");

/// The interpreter of the environment. Made in the build directory when it is not there.
///
/// # Panics
/// When Python or pip cannot do it; says what is needed.
pub(crate) fn environment() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let tests = std::env::current_exe().expect("this test has a path");
        // target/debug/deps/main-… → target
        let target = tests.ancestors().nth(3).expect("tests lie in a build directory");
        make(&target.join("python-for-tests"))
    })
    .clone()
}

fn make(home: &Path) -> PathBuf {
    let python = if cfg!(windows) { home.join("Scripts/python.exe") } else { home.join("bin/python") };
    let stamp = home.join("requirements.txt");
    let wanted = std::fs::read_to_string(REQUIREMENTS).expect("the requirements are there");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return python;
    }
    run(
        Command::new("python3").args(["-m", "venv", "--clear"]).arg(home),
        "install Python 3 with venv (Debian: python3-venv)",
    );
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS];
    run(Command::new(&python).args(pip), "let pip reach its package index");
    std::fs::write(&stamp, wanted).expect("the build directory can be written");
    python
}

fn run(command: &mut Command, needed: &str) {
    let ran = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; {needed}"));
    let words = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{command:?} failed; {needed}\n{words}");
}
