//! The engine as a child process: started on a private Unix socket, stopped when we are gone.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::child;
use super::error::{HyperError, HyperErrorKind};
use super::extract::FileVersion;
use super::locate::EngineLocation;
use super::quoted;

/// How long the engine may take to say where it listens.
const START: Duration = Duration::from_secs(30);
/// How long a file that somebody else has open is waited for (SQLSTATE 55006).
const LOCKED: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(400),
    Duration::from_secs(1),
    Duration::from_secs(2),
];
/// What the names of the engines' directories begin with.
const PREFIX: &str = "kt-hyperd-";
const USER: &str = "tableau_internal_user";
/// The last part of the socket's name as `PostgreSQL` clients expect it.
const PORT: u16 = 5432;

/// A running extract engine. Dropping it ends the process; files that were not detached keep their last detached state.
#[derive(Debug)]
pub struct Engine {
    /// The engine ends by itself once this closes, also when we are killed.
    callback: Option<TcpStream>,
    child: Child,
    address: Address,
}

#[derive(Debug)]
enum Address {
    /// A directory that only we may enter; removed at the end.
    #[cfg(unix)]
    Socket(TempDir),
    #[cfg(not(unix))]
    Loopback(u16),
}

/// What the engine has written to its standard streams, for the error when it does not start.
type Words = Arc<Mutex<Vec<u8>>>;

impl Engine {
    /// Starts the engine and waits until it listens.
    ///
    /// # Errors
    /// [`HyperErrorKind::Start`] as soon as it ends or fails, with its own words.
    pub async fn start(location: &EngineLocation) -> Result<Self, HyperError> {
        sweep();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(|error| failed("no port", error))?;
        let callback = listener.local_addr().map_err(|error| failed("no port", error))?;
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir()
            .map_err(|error| failed("no temporary directory", error))?;
        let mut child = spawn(location, callback, directory.path())?;
        let words: Words = Arc::default();
        let listening = [
            child.stdout.take().map(|stream| tokio::spawn(listen_to(stream, Arc::clone(&words)))),
            child.stderr.take().map(|stream| tokio::spawn(listen_to(stream, Arc::clone(&words)))),
        ];
        let called = tokio::select! {
            called = tokio::time::timeout(START, called_back(&listener)) => match called {
                Ok(Ok(called)) => Ok(called),
                Ok(Err(error)) => Err(format!("its call back failed: {error}")),
                Err(_) => Err(format!("it has not listened within {} s", START.as_secs())),
            },
            status = child.wait() => Err(match status {
                Ok(status) => format!("it ended at once ({status})"),
                Err(error) => format!("it ended at once: {error}"),
            }),
        };
        match called {
            Ok((callback, endpoint)) => {
                let address = Address::of(directory, &endpoint)?;
                Ok(Self { callback: Some(callback), child, address })
            }
            Err(why) => {
                let _ = child.kill().await;
                for stream in listening.into_iter().flatten() {
                    let _ = stream.await;
                }
                let message = format!("the extract engine did not start: {why}{}", said(&words));
                Err(HyperError::new(HyperErrorKind::Start, message)
                    .with_hint(format!("check {}, memory and disk space", location.hyperd.display())))
            }
        }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// [`HyperErrorKind::Connection`] when the engine has died.
    pub async fn connect(&self) -> Result<Connection, HyperError> {
        let mut config = Config::new();
        config.user(USER);
        match &self.address {
            #[cfg(unix)]
            Address::Socket(directory) => config.host_path(directory.path()).port(PORT),
            #[cfg(not(unix))]
            Address::Loopback(port) => config.host("localhost").port(*port),
        };
        let (client, connection) = config.connect(NoTls).await.map_err(|error| HyperError::sql("connecting", error))?;
        let task = tokio::spawn(async move {
            // Its end is seen by whoever waits for an answer.
            let _ = connection.await;
        });
        Ok(Connection { client, task })
    }

    /// Process id of the engine, while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Stops the engine and waits for its end.
    ///
    /// # Errors
    /// [`HyperErrorKind::Io`] when its end could not be waited for.
    pub async fn stop(mut self) -> Result<(), HyperError> {
        self.callback = None;
        let ended = match tokio::time::timeout(Duration::from_secs(5), self.child.wait()).await {
            Ok(ended) => ended.map(|_| ()),
            Err(_) => self.child.kill().await,
        };
        ended.map_err(|error| {
            HyperError::new(HyperErrorKind::Io, format!("the end of the extract engine is not known: {error}"))
                .with_cause(error)
        })
    }
}

impl Address {
    /// On Unix the name that was asked for counts; elsewhere the engine says which port it has chosen.
    fn of(directory: TempDir, endpoint: &str) -> Result<Self, HyperError> {
        let silent = || HyperError::new(HyperErrorKind::Start, "the extract engine does not say where it listens");
        if endpoint.is_empty() {
            return Err(silent());
        }
        #[cfg(unix)]
        return Ok(Self::Socket(directory));
        #[cfg(not(unix))]
        {
            drop(directory);
            endpoint.rsplit(':').next().and_then(|port| port.parse().ok()).map(Self::Loopback).ok_or_else(silent)
        }
    }
}

/// Removes the directories of engines whose process is gone: a process that is killed cannot clean up behind itself.
fn sweep() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let written = std::fs::read_to_string(entry.path().join(format!(".s.PGSQL.{PORT}.pid")));
        let process = written.ok().and_then(|text| text.trim().parse::<u32>().ok());
        // Only where the system says for sure that the process is gone.
        if cfg!(target_os = "linux") && process.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            // Those of other users cannot be removed, and need not.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn failed(what: &str, cause: io::Error) -> HyperError {
    HyperError::new(HyperErrorKind::Start, format!("the extract engine cannot start: {what}: {cause}"))
        .with_cause(cause)
}

fn spawn(location: &EngineLocation, callback: SocketAddr, directory: &Path) -> Result<Child, HyperError> {
    let listen = if cfg!(unix) {
        format!("tab.domain://{}/domain/.s.PGSQL.{PORT}", directory.display())
    } else {
        "tab.tcp://localhost:0".to_owned()
    };
    let mut command = Command::new(&location.hyperd);
    child::plain(command.as_std_mut());
    command
        .args(["run", "--callback-connection", &format!("tab.tcp://{callback}"), "--listen-connection", &listen])
        .arg(format!("--init-user={USER}"))
        .args(["--no-password", "--skip-license", "--language=en_US", "--date-style=MDY", "--date-style-lenient=false"])
        // An empty configuration of the log keeps `hyperd.log` away.
        .args(["--default-database-version=2", "--log-config="])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            failed(&location.hyperd.display().to_string(), error)
                .with_hint("check that it is Tableau's hyperd for this platform and may be executed")
        })
}

/// Waits for the engine to call back: one byte of length, then where it listens.
async fn called_back(listener: &TcpListener) -> io::Result<(TcpStream, String)> {
    let (mut stream, _) = listener.accept().await?;
    let length = stream.read_u8().await?;
    let mut endpoint = vec![0; usize::from(length)];
    stream.read_exact(&mut endpoint).await?;
    // It carries padding.
    Ok((stream, String::from_utf8_lossy(&endpoint).trim_matches(['\0', ' ', '\n']).to_owned()))
}

/// Drains a stream, so that the engine never waits for us, and keeps its beginning.
async fn listen_to(mut stream: impl AsyncRead + Unpin, words: Words) {
    let mut piece = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        if let (Ok(mut words), Some(read)) = (words.lock(), piece.get(..count))
            && words.len() < 4096
        {
            words.extend_from_slice(read);
        }
    }
}

fn said(words: &Words) -> String {
    let words = words.lock().map(|words| String::from_utf8_lossy(&words).into_owned()).unwrap_or_default();
    let lines: Vec<&str> =
        words.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains("--no-password")).collect();
    if lines.is_empty() { String::new() } else { format!("; it said: {}", lines.join(" / ")) }
}

/// A connection to the engine. Closing the last one to a file writes it out.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    task: JoinHandle<()>,
}

impl Connection {
    /// The `PostgreSQL` client, for statements of one's own.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Runs one statement that answers nothing. The engine takes no two at once.
    ///
    /// # Errors
    /// [`HyperErrorKind::Sql`] when it is refused. `doing` says in the message what was being done.
    pub async fn run(&self, doing: &str, statement: &str) -> Result<(), HyperError> {
        self.client.batch_execute(statement).await.map_err(|error| HyperError::sql(doing, error))
    }

    /// Runs one statement and answers how many rows it was about.
    ///
    /// # Errors
    /// As [`run`](Connection::run).
    pub async fn count(&self, doing: &str, statement: &str) -> Result<u64, HyperError> {
        let answers = self.client.simple_query(statement).await.map_err(|error| HyperError::sql(doing, error))?;
        let count = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::CommandComplete(count) => Some(*count),
            _ => None,
        });
        count.ok_or_else(|| {
            HyperError::new(HyperErrorKind::Sql, format!("the extract engine gave no number when {doing}"))
        })
    }

    /// Makes a new extract file.
    ///
    /// # Errors
    /// When it is there already or cannot be made.
    pub async fn create_database(&self, path: &Path, version: FileVersion) -> Result<(), HyperError> {
        let statement = format!("CREATE DATABASE {} WITH VERSION {}", path_name(path)?, version.number());
        self.run_patiently("making the extract", &statement).await
    }

    /// Opens an extract file under a name. One that somebody else still has open is waited for a few seconds.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn attach(&self, path: &Path, alias: &str) -> Result<(), HyperError> {
        let statement = format!("ATTACH DATABASE {} AS {}", path_name(path)?, quoted(alias));
        self.run_patiently("opening the extract", &statement).await
    }

    /// Runs a statement on a file, and waits a few seconds while somebody has it open.
    async fn run_patiently(&self, doing: &str, statement: &str) -> Result<(), HyperError> {
        let mut pauses = LOCKED.iter();
        loop {
            match self.run(doing, statement).await {
                // In use, or known still under the same path by a connection that is just going away.
                Err(error) if matches!(error.sqlstate(), Some("55006" | "42P04")) => match pauses.next() {
                    Some(&pause) => tokio::time::sleep(pause).await,
                    None => return Err(error),
                },
                ended => return ended,
            }
        }
    }

    /// Closes an extract file. Only once this has answered is what was written durable.
    ///
    /// # Errors
    /// When it could not be written out.
    pub async fn detach(&self, alias: &str) -> Result<(), HyperError> {
        self.run("writing the extract out", &format!("DETACH DATABASE {}", quoted(alias))).await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A path as the engine takes it.
fn path_name(path: &Path) -> Result<String, HyperError> {
    path.to_str().map(quoted).ok_or_else(|| {
        HyperError::new(HyperErrorKind::Io, format!("the path {} is no Unicode text", path.display()))
            .with_hint("choose another directory")
    })
}
