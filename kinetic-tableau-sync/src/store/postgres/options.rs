//! Where the server is, and how it is used.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::error::storage;
use super::parameters;
use super::tls::Tls;
use crate::store::StateError;

/// Where the server is, and how it is used. The connection string is a secret: neither `Debug` nor any error shows it.
#[derive(Clone, Debug)]
#[must_use]
pub struct PostgresOptions {
    connection: SecretString,
    schema: String,
    ca_file: Option<PathBuf>,
    connections: usize,
    statement_timeout: Duration,
    long_statement_timeout: Duration,
}

impl PostgresOptions {
    /// By a connection string as `libpq` takes it: `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=require`, or
    /// `host=… user=… password=… dbname=… sslmode=…`.
    ///
    /// Where TLS is used the server's certificate and name are always verified, so that `require`, `verify-ca` and `verify-full` mean the
    /// same; `sslrootcert` adds a file of certificates that are trusted besides the system's. With no `sslmode`, TLS is required, but
    /// not within this machine. `disable` and `prefer` have to be asked for.
    pub fn new(connection: impl Into<SecretString>) -> Self {
        Self {
            connection: connection.into(),
            schema: "kinetic_tableau".to_owned(),
            ca_file: None,
            connections: 8,
            statement_timeout: Duration::from_secs(30),
            long_statement_timeout: Duration::from_hours(2),
        }
    }

    /// The schema that holds our tables; `kinetic_tableau` by default. It is made when it is not there.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// A file of certificates (PEM) that are trusted besides the system's.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// How many connections are open at most; 8 by default, at least 1. A dataset that is being synced needs one at a time, and now
    /// and then another one to renew its lease.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// How long a statement may take, and how long a connection is waited for; 30 seconds by default.
    pub fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout;
        self
    }

    /// How long a statement may take that goes through everything, as a verification of the audit trail does; two hours by default.
    pub fn long_statement_timeout(mut self, timeout: Duration) -> Self {
        self.long_statement_timeout = timeout;
        self
    }

    /// What the parts below need.
    pub(super) fn resolve(self) -> Result<Resolved, StateError> {
        let name = self.schema.as_str();
        // Postgres cuts longer names, and two schemas would become one.
        if name.is_empty() || name.len() > 63 || name.contains('\0') || name.starts_with("pg_") {
            return Err(storage(format!(
                "'{}' cannot be the name of a schema; choose another one",
                name.escape_debug()
            )));
        }
        let (text, special) = parameters::split(self.connection.expose_secret()).ok_or_else(unreadable)?;
        // What the parser has to say may quote a password that stands in the wrong place.
        let mut config = Config::from_str(&text).map_err(|_| unreadable())?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(storage("the connection string names no host; add one"));
        }
        let local = !config.get_hosts().is_empty() && config.get_hosts().iter().all(is_local);
        let mode = match special.sslmode.as_deref() {
            None if local => SslMode::Disable,
            Some("disable") => SslMode::Disable,
            Some("allow" | "prefer") => SslMode::Prefer,
            None | Some("require" | "verify-ca" | "verify-full") => SslMode::Require,
            Some(_) => {
                let known = "disable, prefer, require or verify-full";
                return Err(storage(format!("the connection string has an unknown `sslmode`; say {known}")));
            }
        };
        config.ssl_mode(mode);
        let tls = match mode {
            SslMode::Disable => Tls::none(),
            _ => Tls::verified(self.ca_file.or(special.sslrootcert).as_deref())?,
        };
        if config.get_application_name().is_none() {
            config.application_name("kinetic-tableau-sync");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(10));
        }
        // A server that has vanished without a word is noticed within two minutes, not hours.
        if config.get_keepalives_idle() >= Duration::from_hours(2) {
            config.keepalives_idle(Duration::from_secs(30));
        }
        if config.get_keepalives_interval().is_none() {
            config.keepalives_interval(Duration::from_secs(15)).keepalives_retries(4);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(Duration::from_secs(90));
        }
        let place = Place::of(&config);
        Ok(Resolved {
            config,
            tls,
            place,
            schema: self.schema,
            connections: self.connections,
            statement_timeout: self.statement_timeout,
            long_statement_timeout: self.long_statement_timeout,
        })
    }
}

fn unreadable() -> StateError {
    storage(
        "the connection string of Postgres cannot be read; write postgres://USER:PASSWORD@HOST/DATABASE, with %XX for special \
         characters in the password, or host=… user=… password=… dbname=…",
    )
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

/// [`PostgresOptions`], read and checked.
pub(super) struct Resolved {
    pub(super) config: Config,
    pub(super) tls: Tls,
    pub(super) place: Place,
    pub(super) schema: String,
    pub(super) connections: usize,
    pub(super) statement_timeout: Duration,
    pub(super) long_statement_timeout: Duration,
}

/// Host, port, database and user, for messages.
#[derive(Clone, Debug)]
pub(super) struct Place {
    hosts: String,
    database: String,
    user: String,
}

impl Place {
    fn of(config: &Config) -> Self {
        let addresses = config.get_hostaddrs().iter().map(ToString::to_string);
        let hosts = config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            #[cfg(unix)]
            Host::Unix(path) => path.display().to_string(),
        });
        let ports = config.get_ports();
        let hosts = if config.get_hosts().is_empty() { addresses.collect::<Vec<_>>() } else { hosts.collect() };
        let hosts: Vec<String> = hosts
            .into_iter()
            .enumerate()
            .map(|(nth, host)| format!("{host}:{}", ports.get(nth).or(ports.first()).copied().unwrap_or(5432)))
            .collect();
        let user = config.get_user().unwrap_or_default().to_owned();
        let database = config.get_dbname().map_or_else(|| user.clone(), ToOwned::to_owned);
        Self { hosts: hosts.join(", "), database, user }
    }

    pub(super) fn database(&self) -> &str {
        &self.database
    }

    pub(super) fn user(&self) -> &str {
        if self.user.is_empty() { "of this process" } else { &self.user }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (database {}, user {})", self.hosts, self.database, self.user())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str) -> Result<Resolved, StateError> {
        PostgresOptions::new(text).resolve()
    }

    #[test]
    fn tls_is_required_but_on_this_machine_or_where_it_is_said_otherwise() {
        for (text, mode) in [
            ("postgres://u:p@db.example.com/d", SslMode::Require),
            ("postgres://u:p@db.example.com/d?sslmode=verify-full", SslMode::Require),
            ("postgres://u:p@db.example.com/d?sslmode=disable", SslMode::Disable),
            ("postgres://u:p@db.example.com/d?connect_timeout=3&sslmode=prefer", SslMode::Prefer),
            ("postgres://u:p@127.0.0.1/d", SslMode::Disable),
            ("postgres://u:p@localhost/d?sslmode=require", SslMode::Require),
            ("postgres://u:p@localhost,db.example.com/d", SslMode::Require),
            ("host=/var/run/postgresql user=u", SslMode::Disable),
            ("host = db.example.com user=u sslmode = 'verify-ca'", SslMode::Require),
            ("hostaddr=127.0.0.1 user=u", SslMode::Require),
        ] {
            assert_eq!(resolved(text).unwrap().config.get_ssl_mode(), mode, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        for text in [
            "postgres://u:hunter2@db.example.com:none/d",
            "postgres//u:hunter2@db.example.com/d",
            "host=db.example.com hunter2=x",
            "host=db.example.com password='hunter2",
            "postgres://u:hunter2@db.example.com/d?sslmode=hunter2",
            "postgres://u:hunter2@db.example.com/d?sslrootcert=/none/such/file.pem",
            "user=u password=hunter2",
            "",
        ] {
            let error = resolved(text).map(|_| ()).unwrap_err();
            let all = format!("{error} {error:?}");
            assert!(!all.contains("hunter2") && !error.to_string().contains('\n'), "{all}");
        }
        let options = PostgresOptions::new("postgres://u:hunter2@db.example.com/d");
        assert!(!format!("{options:?}").contains("hunter2"));
        for schema in ["", "pg_mine", "a\0b", &"x".repeat(64)] {
            assert!(PostgresOptions::new("host=localhost").schema(schema).resolve().is_err(), "{schema:?}");
        }
    }

    #[test]
    fn messages_name_host_port_database_and_user() {
        let place = |text: &str| resolved(text).unwrap().place.to_string();
        assert_eq!(place("postgres://u:p@localhost:5433/d"), "localhost:5433 (database d, user u)");
        assert_eq!(place("host=localhost,127.0.0.1 port=1,2 user=u"), "localhost:1, 127.0.0.1:2 (database u, user u)");
    }
}
