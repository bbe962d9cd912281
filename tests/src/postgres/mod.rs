//! A real Postgres server for tests: found on this machine or fetched, started in a directory of its own, killable and restartable.
//!
//! It listens on a loopback port and on a Unix socket in a private directory, asks for a password (SCRAM) on both, and syncs to disk
//! as a server in earnest does. It ends with its owner, however that ends.

mod find;
mod install;
mod process;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

use self::process::{Cluster, Running};

/// How long a server may take until it answers. Behind a kill it has to read its log first.
const START: Duration = Duration::from_mins(1);
/// The administrator's role.
const ADMIN: &str = "postgres";
/// The role that owns the databases of tests: an ordinary one, since nothing of ours may need more.
const USER: &str = "kinetic";

/// Why there is no server: one line, with the next step.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PostgresError(String);

impl PostgresError {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    fn io(what: &str, path: &Path, cause: &std::io::Error) -> Self {
        Self(format!("cannot {what} {}: {cause}", path.display()))
    }
}

/// How a server is to be.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct PostgresBuilder {
    programs: Option<PathBuf>,
    settings: Vec<(String, String)>,
}

impl PostgresBuilder {
    /// The directory that holds `postgres` and `initdb`, instead of one that is looked for.
    pub fn programs(mut self, directory: impl Into<PathBuf>) -> Self {
        self.programs = Some(directory.into());
        self
    }

    /// The programs of the pinned package, whatever else is on this machine.
    ///
    /// # Errors
    /// When they cannot be fetched.
    pub async fn fetched(self) -> Result<Self, PostgresError> {
        let fetched = tokio::task::spawn_blocking(install::install).await;
        Ok(self.programs(fetched.map_err(|error| PostgresError::new(error.to_string()))??))
    }

    /// A setting of the server, as in `postgresql.conf`.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it and waits until it answers. Finding or fetching the programs and making the files takes some seconds.
    ///
    /// # Errors
    /// When there is no Postgres and none can be fetched, or it does not start.
    pub async fn start(self) -> Result<PostgresServer, PostgresError> {
        let password = uuid::Uuid::new_v4().simple().to_string();
        let secret = password.clone();
        let made = tokio::task::spawn_blocking(move || {
            let programs = self.programs.map_or_else(find::programs, |directory| find::at(&directory))?;
            let cluster = Cluster::make(programs, ADMIN, &secret, self.settings)?;
            let running = cluster.start()?;
            Ok::<_, PostgresError>((cluster, running))
        });
        let (cluster, running) = made.await.map_err(|error| PostgresError::new(error.to_string()))??;
        let server =
            PostgresServer { cluster, running: Mutex::new(Some(running)), password, databases: AtomicU32::new(0) };
        server.wait().await?;
        let admin = server.admin().await?;
        // Both are ours: a name, and hex digits.
        let role = format!("CREATE ROLE {USER} LOGIN PASSWORD '{}'", server.password);
        admin.batch_execute(&role).await.map_err(|error| refused("making a role", &error))?;
        Ok(server)
    }
}

/// A running server. Dropping it ends it and removes its files.
#[derive(Debug)]
pub struct PostgresServer {
    /// None while it is down. It ends before its files go.
    running: Mutex<Option<Running>>,
    cluster: Cluster,
    password: String,
    databases: AtomicU32,
}

impl PostgresServer {
    /// A server as it comes.
    ///
    /// # Errors
    /// As [`PostgresBuilder::start`].
    pub async fn start() -> Result<Self, PostgresError> {
        Self::builder().start().await
    }

    /// A server to be.
    pub fn builder() -> PostgresBuilder {
        PostgresBuilder::default()
    }

    /// The server that the tests of a process share. It ends behind the process.
    ///
    /// # Errors
    /// As [`PostgresBuilder::start`].
    pub async fn shared() -> Result<&'static Self, PostgresError> {
        static SHARED: OnceCell<PostgresServer> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// Makes an empty database.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn database(&self) -> Result<Database, PostgresError> {
        let name = format!("db_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let make = format!("CREATE DATABASE {name} OWNER {USER}");
        self.admin().await?.batch_execute(&make).await.map_err(|error| refused("making a database", &error))?;
        Ok(Database { name, port: self.port(), socket: self.socket().to_owned(), password: self.password.clone() })
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.cluster.port()
    }

    /// The directory of the Unix socket, which only we may enter.
    pub fn socket(&self) -> &Path {
        self.cluster.directory()
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        self.cluster.log()
    }

    /// Connects as the administrator.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn admin(&self) -> Result<Client, PostgresError> {
        connect(&config(self.port(), ADMIN, &self.password, "postgres"))
            .await
            .map_err(|error| refused("connecting", &error))
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills it with all its processes, as a power cut would. Nothing happens when it is down.
    pub fn kill9(&self) {
        if let Some(running) = self.running().take() {
            running.kill9(&self.cluster);
        }
    }

    /// Shuts it down; those who are connected are cut off, and what they have not committed is undone.
    pub fn stop(&self) {
        if let Some(running) = self.running().take() {
            running.stop(&self.cluster);
        }
    }

    /// Starts it again on the same files and the same port, and waits until it answers. Shuts it down before, where it runs.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&self) -> Result<(), PostgresError> {
        self.stop();
        let running = self.cluster.start()?;
        *self.running() = Some(running);
        self.wait().await
    }

    async fn wait(&self) -> Result<(), PostgresError> {
        let until = Instant::now() + START;
        loop {
            let Err(failure) = connect(&config(self.port(), ADMIN, &self.password, "postgres")).await else {
                return Ok(());
            };
            let ended = self.running().as_mut().is_some_and(Running::has_ended);
            let wrong = failure.code().is_some_and(|code| *code != SqlState::CANNOT_CONNECT_NOW);
            if ended || wrong || Instant::now() >= until {
                let log = self.cluster.log();
                let last: Vec<&str> = log.lines().rev().take(3).collect();
                let last: Vec<&str> = last.into_iter().rev().collect();
                return Err(PostgresError::new(format!(
                    "Postgres did not start ({failure}); it said: {}",
                    last.join(" / ")
                )));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A database of its own for a test.
#[derive(Clone, Debug)]
pub struct Database {
    name: String,
    port: u16,
    socket: PathBuf,
    password: String,
}

impl Database {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The connection string, over the loopback port.
    pub fn url(&self) -> String {
        self.url_at("127.0.0.1", self.port)
    }

    /// The connection string for another way to the same server.
    pub fn url_at(&self, host: &str, port: u16) -> String {
        format!("postgres://{USER}:{}@{host}:{port}/{}", self.password, self.name)
    }

    /// The connection string, over the Unix socket.
    pub fn over_socket(&self) -> String {
        let socket = self.socket.display();
        format!("host={socket} port={} user={USER} password={} dbname={}", self.port, self.password, self.name)
    }

    /// The password in both.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Connects as its owner.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn connect(&self) -> Result<Client, PostgresError> {
        connect(&config(self.port, USER, &self.password, &self.name))
            .await
            .map_err(|error| refused("connecting", &error))
    }
}

fn config(port: u16, user: &str, password: &str, database: &str) -> Config {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user(user).password(password).dbname(database);
    config.connect_timeout(Duration::from_secs(5));
    config
}

async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        // Its end is seen by whoever waits for an answer.
        let _ = connection.await;
    });
    Ok(client)
}

fn refused(doing: &str, error: &tokio_postgres::Error) -> PostgresError {
    let why = error.as_db_error().map_or_else(|| error.to_string(), |refusal| refusal.message().to_owned());
    PostgresError::new(format!("Postgres failed at {doing}: {why}"))
}
