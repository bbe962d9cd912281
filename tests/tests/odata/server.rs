//! SAP's CAP as an OData server: installed once beside the build, started with a model and rows of a test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::python;

/// What is installed: pinned, since a test that fails one day because of a new release tells nothing.
const PACKAGE: &str = include_str!("package.json");
const NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/odata/requirements.txt");
const SERVER: &str = include_str!("server.js");

/// A running server. Ends with the value.
pub(super) struct Server {
    process: Child,
    address: String,
    home: TempDir,
}

impl Server {
    /// Starts the server with a model in CDS and rows as JSON: entity → array of rows.
    ///
    /// # Panics
    /// When Node.js or the server cannot be installed, or the server does not start; says what is needed.
    pub(super) fn start(model: &str, rows: &serde_json::Value) -> Self {
        let installed = installed();
        // Within the installation, since Node looks for modules in the directories above.
        let home = tempfile::Builder::new().prefix("run-").tempdir_in(installed).expect("a directory for the server");
        let write =
            |name: &str, text: &str| std::fs::write(home.path().join(name), text).expect("a file of the server");
        write("package.json", PACKAGE);
        write("server.js", SERVER);
        write("model.cds", model);
        write("rows.json", &rows.to_string());
        let mut command = Command::new(node().join("node"));
        let serve = installed.join("node_modules/@sap/cds/bin/serve.js");
        command.arg(serve).args(["model.cds", "--port", "0"]).current_dir(home.path());
        let log = home.path().join("log");
        let file = File::create(&log).expect("a file of the server");
        command.stderr(file.try_clone().expect("a file of the server")).stdout(file);
        let process = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut server = Self { process, address: String::new(), home };
        let started = Instant::now();
        loop {
            let said = server.log();
            if let Some(at) = said.split("listening on { url: '").nth(1).and_then(|rest| rest.split_once('\'')) {
                at.0.clone_into(&mut server.address);
                return server;
            }
            let ended = server.process.try_wait().expect("its end can be asked for");
            assert!(
                ended.is_none() && started.elapsed() < Duration::from_mins(1),
                "the OData server did not start: {said}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the server has said.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// The address, without a path.
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn installed() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let home = python::build_directory().join("odata-server-for-tests");
        install(&home);
        home
    })
}

/// The directory of `node` and `npm`, which come with pip like all else that the tests need.
fn node() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| python::made("node-for-tests", NODE)).clone()
}

fn install(home: &Path) {
    std::fs::create_dir_all(home).expect("the build directory can be written");
    // Other test processes may want the same at the same time.
    let lock = File::create(home.join("lock")).expect("the build directory can be written");
    lock.lock().expect("the lock of the installation");
    let stamp = home.join("installed.json");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == PACKAGE) {
        return;
    }
    std::fs::write(home.join("package.json"), PACKAGE).expect("the build directory can be written");
    let mut command = Command::new(node().join("npm"));
    if let Some(path) = std::env::var_os("PATH") {
        let paths = std::iter::once(node()).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(paths).expect("paths without colons"));
    }
    // No scripts: the driver is WebAssembly, so nothing has to be compiled.
    command.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]).current_dir(home);
    let ran = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let words = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{command:?} failed; let npm reach its package index\n{words}");
    std::fs::write(stamp, PACKAGE).expect("the build directory can be written");
}
