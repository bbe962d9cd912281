//! A few connections, made when they are needed and made anew when the server went away.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config};

use super::error::{self, unavailable};
use super::options::{Place, Resolved};
use super::tls::Tls;
use crate::store::StateError;

/// How long a server may take from the connection to the end of the sign-in.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_mins(5);
/// How long a server is waited for that is starting, or that was there before and listens no more.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(150);

pub(super) struct Pool {
    config: Config,
    tls: Tls,
    pub(super) place: Place,
    idle: Mutex<Vec<(Client, Instant)>>,
    permits: Arc<Semaphore>,
    size: usize,
    wait: Duration,
    /// How long all hosts together may take until one has let us in.
    answer: Duration,
}

impl Pool {
    /// Makes the first connection at once: what is wrong with the address should be told now.
    pub(super) async fn open(resolved: &Resolved) -> Result<Arc<Self>, StateError> {
        let pool = Self::new(resolved);
        let first = pool.connect(false).await?;
        pool.idle().push((first, Instant::now()));
        Ok(pool)
    }

    /// Connects with the first use.
    pub(super) fn new(resolved: &Resolved) -> Arc<Self> {
        let config = resolved.config.clone();
        let hosts = config.get_hosts().len().max(config.get_hostaddrs().len()).max(1);
        let each = config.get_connect_timeout().copied().unwrap_or_default() + HANDSHAKE;
        Arc::new(Self {
            answer: each * u32::try_from(hosts).unwrap_or(u32::MAX),
            config,
            tls: resolved.tls.clone(),
            place: resolved.place.clone(),
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(resolved.connections)),
            size: resolved.connections,
            wait: resolved.statement_timeout,
        })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Client, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that nobody else uses.
    pub(super) async fn take(self: &Arc<Self>) -> Result<Connection, Unconnected> {
        let permit = tokio::time::timeout(self.wait, Arc::clone(&self.permits).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            let error = unavailable(format!(
                "all {} connections to Postgres were in use for {} s; allow more, or let fewer datasets run at once",
                self.size,
                self.wait.as_secs()
            ));
            return Err(Unconnected { error, code: None });
        };
        let reused = self.reuse();
        let is_fresh = reused.is_none();
        let client = match reused {
            Some(client) => client,
            None => self.connect(true).await?,
        };
        Ok(Connection { client: Some(client), pool: Arc::clone(self), is_fresh, _permit: permit })
    }

    /// The connection that was used last, so that those that are too many grow old.
    fn reuse(&self) -> Option<Client> {
        let mut idle = self.idle();
        idle.retain(|(client, since)| !client.is_closed() && since.elapsed() < IDLE);
        idle.pop().map(|(client, _)| client)
    }

    async fn connect(&self, was_there: bool) -> Result<Client, Unconnected> {
        let until = Instant::now() + PATIENCE;
        loop {
            // Of the client's own timeouts none is for a server that takes the connection and then says nothing.
            let answer = tokio::time::timeout(self.answer, self.config.connect(self.tls.clone())).await;
            let Ok(connected) = answer else {
                return Err(Unconnected { error: error::silent(&self.place, self.answer), code: None });
            };
            match connected {
                Ok((client, connection)) => {
                    tokio::spawn(async move {
                        // Its end is seen by whoever waits for an answer.
                        let _ = connection.await;
                    });
                    return Ok(client);
                }
                Err(failure) => {
                    let is_soon = error::is_starting(&failure) || was_there && error::is_refused(&failure);
                    if !is_soon || Instant::now() >= until {
                        let error = error::connecting(&self.place, &failure);
                        return Err(Unconnected { error, code: failure.code().cloned() });
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// No connection could be had; with the code of the server's refusal, where it was one.
pub(super) struct Unconnected {
    pub(super) error: StateError,
    pub(super) code: Option<SqlState>,
}

impl From<Unconnected> for StateError {
    fn from(failed: Unconnected) -> Self {
        failed.error
    }
}

/// A connection in use. Dropping it closes it, since nobody knows what it was in the middle of; [`give_back`](Connection::give_back)
/// keeps it.
pub(super) struct Connection {
    client: Option<Client>,
    pool: Arc<Pool>,
    /// Made for this use; otherwise the server may be gone since the last one.
    pub(super) is_fresh: bool,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    pub(super) fn client(&self) -> Result<&Client, StateError> {
        self.client.as_ref().ok_or_else(|| unavailable("the connection to Postgres was closed"))
    }

    pub(super) fn give_back(mut self) {
        if let Some(client) = self.client.take().filter(|client| !client.is_closed()) {
            self.pool.idle().push((client, Instant::now()));
        }
    }
}
