//! The files of a server and its processes.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use tempfile::TempDir;

use super::PostgresError;
use super::find::Programs;

/// User and group that the server runs as when we are root: nobody.
#[cfg(unix)]
const NOBODY: u32 = 65_534;

/// Waits until its standard input ends, however we end, then ends the server and removes its files.
#[cfg(unix)]
const GUARD: &str = r#"
read -r _
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then
    kill -QUIT "$pid" 2>/dev/null
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.2
    done
    kill -KILL "$pid" 2>/dev/null
fi
rm -rf "$1"
"#;

/// The files of a server, and where it listens.
#[derive(Debug)]
pub(super) struct Cluster {
    programs: Programs,
    directory: TempDir,
    port: u16,
    settings: Vec<(String, String)>,
    /// Held open for as long as the server may run.
    #[cfg(unix)]
    guard: Option<(ChildStdin, Child)>,
}

impl Cluster {
    /// Makes the files. The administrator gets this password.
    pub(super) fn make(
        programs: Programs,
        admin: &str,
        password: &str,
        settings: Vec<(String, String)>,
    ) -> Result<Self, PostgresError> {
        // A short name: that of a socket has about 100 bytes at most.
        let directory = tempfile::Builder::new()
            .prefix("kt-pg-")
            .tempdir()
            .map_err(|error| PostgresError::io("make a directory in", &std::env::temp_dir(), &error))?;
        let secret = directory.path().join("password");
        fs::write(&secret, password).map_err(|error| PostgresError::io("write", &secret, &error))?;
        let log = directory.path().join("log");
        File::create(&log).map_err(|error| PostgresError::io("write", &log, &error))?;
        for path in [directory.path(), &secret, &log] {
            give_away(path).map_err(|error| PostgresError::io("give to another user", path, &error))?;
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.map_err(|error| PostgresError::new(format!("there is no free port: {error}")))?.port();
        let mut cluster = Self {
            programs,
            directory,
            port,
            settings,
            #[cfg(unix)]
            guard: None,
        };
        let mut initdb = cluster.command(&cluster.programs.initdb);
        initdb.arg("--pgdata").arg(cluster.data()).arg("--pwfile").arg(&secret);
        initdb.args(["--username", admin, "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"]);
        let ran = initdb.output().map_err(|error| cannot_run(&cluster.programs.initdb, &error))?;
        if !ran.status.success() {
            let words = String::from_utf8_lossy(&ran.stderr);
            let word = words.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it says nothing");
            return Err(PostgresError::new(format!("initdb could not make the files of a server: {word}")));
        }
        // Nobody needs it any more.
        let _ = fs::remove_file(&secret);
        cluster.watch()?;
        Ok(cluster)
    }

    #[cfg(unix)]
    fn watch(&mut self) -> Result<(), PostgresError> {
        use std::os::unix::process::CommandExt as _;

        let sh = Path::new("/bin/sh");
        let mut guard = Command::new(sh);
        guard.args(["-c", GUARD, "guard"]).arg(self.directory.path()).current_dir("/");
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Not what the terminal interrupts.
        guard.process_group(0);
        let mut guard = guard.spawn().map_err(|error| cannot_run(sh, &error))?;
        self.guard = guard.stdin.take().map(|end| (end, guard));
        Ok(())
    }

    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "as on other systems")]
    fn watch(&mut self) -> Result<(), PostgresError> {
        Ok(())
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    pub(super) fn log(&self) -> String {
        fs::read(self.log_file()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// A program of Postgres, as the user that it takes, knowing nothing of other servers.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.directory.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C").env("TZ", "UTC");
        #[cfg(unix)]
        {
            use std::os::unix::process::CommandExt as _;
            command.process_group(0);
            if are_we_root() {
                command.uid(NOBODY).gid(NOBODY);
            }
        }
        command
    }

    /// Starts the server on its files.
    pub(super) fn start(&self) -> Result<Running, PostgresError> {
        let log = File::options().append(true).open(self.log_file());
        let log = log.and_then(|log| Ok((log.try_clone()?, log)));
        let (out, log) = log.map_err(|error| PostgresError::io("write", &self.log_file(), &error))?;
        let mut server = self.command(&self.programs.postgres);
        server.arg("-D").arg(self.data()).stdout(out).stderr(log);
        let ours = [
            ("listen_addresses", "127.0.0.1"),
            ("port", &self.port.to_string()),
            ("unix_socket_directories", &self.directory.path().to_string_lossy()),
            ("fsync", "on"),
            ("max_connections", "200"),
            // Of the tests' size; the files of a trial go when it ends.
            ("shared_buffers", "256MB"),
            ("max_wal_size", "2GB"),
            ("log_checkpoints", "off"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        for (name, value) in ours.iter().chain(&self.settings) {
            server.arg("-c").arg(format!("{name}={value}"));
        }
        let child = server.spawn().map_err(|error| cannot_run(&self.programs.postgres, &error))?;
        Ok(Running { child: Some(child) })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some((end, mut guard)) = self.guard.take() {
            drop(end);
            let _ = guard.wait();
        }
    }
}

/// The server's first process, which has started the others.
#[derive(Debug)]
pub(super) struct Running {
    child: Option<Child>,
}

impl Running {
    pub(super) fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Ends all its processes at once.
    pub(super) fn kill9(mut self, cluster: &Cluster) {
        let Some(mut child) = self.child.take() else { return };
        let others = children(child.id());
        // The first process itself before the others, or it would see them die and begin to recover.
        let _ = child.kill();
        signal("KILL", &others);
        ended(&mut child, cluster);
    }

    /// Ends it as an administrator would who does not wait for others.
    pub(super) fn stop(mut self, cluster: &Cluster) {
        let Some(mut child) = self.child.take() else { return };
        signal("INT", &[child.id()]);
        ended(&mut child, cluster);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // At once: the files go as well.
            signal("QUIT", &[child.id()]);
            let _ = child.wait();
        }
    }
}

/// Waits for the end. From then on its number may be another process's.
fn ended(child: &mut Child, cluster: &Cluster) {
    let _ = child.wait();
    let _ = fs::remove_file(cluster.data().join("postmaster.pid"));
}

/// Processes that a process has started.
fn children(parent: u32) -> Vec<u32> {
    let ran = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let listed = ran.map(|ran| String::from_utf8_lossy(&ran.stdout).into_owned()).unwrap_or_default();
    let pairs = listed.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    pairs.filter(|(_, its_parent)| *its_parent == parent).map(|(process, _)| process).collect()
}

fn signal(name: &str, processes: &[u32]) {
    if processes.is_empty() {
        return;
    }
    let numbers: Vec<String> = processes.iter().map(ToString::to_string).collect();
    let kill = format!("kill -{name} {} 2>/dev/null", numbers.join(" "));
    let _ = Command::new("/bin/sh").args(["-c", &kill]).stdin(Stdio::null()).status();
}

fn cannot_run(program: &Path, error: &io::Error) -> PostgresError {
    let who =
        if cfg!(unix) && is_root() { "; as root it is run as user 65534, who must be able to reach it" } else { "" };
    PostgresError::new(format!("{} cannot be run: {error}{who}", program.display()))
}

fn is_root() -> bool {
    #[cfg(unix)]
    return are_we_root();
    #[cfg(not(unix))]
    false
}

/// Whether we are root, whom Postgres refuses: asked of a file of our own.
#[cfg(unix)]
pub(super) fn are_we_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    use std::sync::OnceLock;

    static ROOT: OnceLock<bool> = OnceLock::new();
    *ROOT.get_or_init(|| {
        let owner = tempfile::tempfile().and_then(|file| file.metadata()).map(|found| found.uid());
        owner.is_ok_and(|owner| owner == 0)
    })
}

/// Gives a path to the user that the server runs as.
fn give_away(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if are_we_root() {
        return std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY));
    }
    let _ = path;
    Ok(())
}
