//! From the configuration to the two clients, the store and the syncer.

use std::sync::Arc;
use std::time::Duration;

use kinetic_tableau_sync::hyper::EngineLocation;
use kinetic_tableau_sync::store::{MemoryStore, SqliteStore};
use kinetic_tableau_sync::worker::{Limit, Worker, WorkerBuilder};
use kinetic_tableau_sync::{
    AuditStore, Destination, HyperOptions, KineticSource, NoteStore, Progress, RejectStore, Source, SourceObject,
    StateStore, Stop, Syncer, SyncerBuilder, TableauDestination,
};
use secrecy::ExposeSecret as _;
use tableau_rest::ConnectedApp;

use crate::config::{Config, Identity, SignIn, StoreLocation};
use crate::failure::{Failure, Outcome};
use crate::output;

/// How long signing out may hold up the end of the process.
const GOODBYE: Duration = Duration::from_secs(5);

/// A client of Kinetic. Nothing is sent.
pub(crate) async fn kinetic(config: &Config) -> Outcome<epicor_kinetic::Client> {
    let (settings, secrets) = (&config.kinetic, &config.secrets);
    let builder = epicor_kinetic::Client::builder(&settings.url)
        .company(&settings.company)
        .api_key(settings.api_key.resolve(secrets).await?.expose_secret());
    let builder = match &settings.identity {
        Identity::Basic { user, password } => builder.basic(user, password.resolve(secrets).await?.expose_secret()),
        Identity::TokenResource { user, password } => {
            builder.token_resource(user, password.resolve(secrets).await?.expose_secret())
        }
        Identity::OAuth2 { token_url, client_id, client_secret, scope } => {
            let secret = client_secret.resolve(secrets).await?;
            let oauth2 = epicor_kinetic::OAuth2::client_credentials(token_url, client_id, secret.expose_secret());
            builder.oauth2(match scope {
                Some(scope) => oauth2.scope(scope),
                None => oauth2,
            })
        }
    };
    builder.build().map_err(|error| Failure::from(error).within("[kinetic]").into_usage())
}

/// Where rows are read.
pub(crate) fn source(config: &Config, client: epicor_kinetic::Client) -> KineticSource {
    KineticSource::new(client).concurrency(config.kinetic.concurrency)
}

/// A client of Tableau. Nothing is sent.
pub(crate) async fn tableau(config: &Config) -> Outcome<tableau_rest::Client> {
    let (settings, secrets) = (&config.tableau, &config.secrets);
    let builder = tableau_rest::Client::builder(&settings.url).site(&settings.site);
    let builder = match &settings.sign_in {
        SignIn::Pat { name, secret } => {
            builder.personal_access_token(name, secret.resolve(secrets).await?.expose_secret())
        }
        SignIn::Jwt { token } => builder.jwt(token.resolve(secrets).await?.expose_secret()),
        SignIn::Password { user, password } => builder.password(user, password.resolve(secrets).await?.expose_secret()),
        SignIn::ConnectedApp { client_id, secret_id, secret, user } => {
            let secret = secret.resolve(secrets).await?;
            let app = ConnectedApp::new(client_id, secret_id, secret.expose_secret(), user);
            builder.connected_app(app.scopes(ConnectedApp::PUBLISHING_SCOPES.iter().copied()))
        }
    };
    builder.build().map_err(|error| Failure::from(error).within("[tableau]").into_usage())
}

/// How many runs each of the two systems takes at once, from all workers together.
pub(crate) fn limits(config: &Config) -> Vec<Limit> {
    let kinetic = config
        .kinetic
        .most_runs
        .map(|most| Limit::new(format!("kinetic/{}/{}", config.kinetic.url, config.kinetic.company), most));
    let tableau = config
        .tableau
        .most_runs
        .map(|most| Limit::new(format!("tableau/{}/{}", config.tableau.url, config.tableau.site), most));
    kinetic.into_iter().chain(tableau).collect()
}

/// The name of this worker, as others see it in leases and in `status`.
pub(crate) fn owner(config: &Config) -> String {
    config.worker.name.clone().unwrap_or_else(|| format!("{} (process {})", host(), std::process::id()))
}

/// Who works at this terminal.
pub(crate) fn person() -> String {
    let name = ["USER", "USERNAME", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| "somebody".to_owned());
    format!("{name} at {}", host())
}

fn host() -> String {
    let named = std::env::var("COMPUTERNAME").or_else(|_| std::env::var("HOSTNAME"));
    let known = named.or_else(|_| std::fs::read_to_string("/proc/sys/kernel/hostname"));
    known
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "this host".to_owned())
}

/// A failure of Kinetic, with the address that was asked.
pub(crate) fn at_kinetic(client: &epicor_kinetic::Client, error: epicor_kinetic::Error) -> Failure {
    Failure::from(error).within(&format!("Kinetic at {}", client.root()))
}

/// A failure of Tableau, with the address that was asked.
pub(crate) fn at_tableau(client: &tableau_rest::Client, error: tableau_rest::Error) -> Failure {
    Failure::from(error).within(&format!("Tableau at {}", client.server_url()))
}

/// Where rows are staged and published.
pub(crate) fn destination(
    config: &Config,
    tableau: &tableau_rest::Client,
    engine: EngineLocation,
) -> TableauDestination {
    TableauDestination::new(tableau.clone(), HyperOptions { spool: config.spool.clone(), engine })
}

/// State, audit and fingerprints in one store.
#[derive(Debug)]
pub(crate) enum Store {
    Sqlite(Arc<SqliteStore>),
    Memory(Arc<MemoryStore>),
}

impl Store {
    pub(crate) fn open(location: &StoreLocation) -> Outcome<Self> {
        Ok(match location {
            StoreLocation::Sqlite(path) => Self::Sqlite(Arc::new(SqliteStore::open(path)?)),
            StoreLocation::Memory => Self::Memory(Arc::new(MemoryStore::new())),
        })
    }

    /// A store that others may be writing meanwhile; none when nothing has ever been written.
    pub(crate) fn open_for_reading(location: &StoreLocation) -> Outcome<Option<Self>> {
        match location {
            StoreLocation::Sqlite(path) if path.exists() => {
                Ok(Some(Self::Sqlite(Arc::new(SqliteStore::open_read_only(path)?))))
            }
            StoreLocation::Sqlite(_) => Ok(None),
            StoreLocation::Memory => {
                Err(Failure::usage("[state] store is \"memory\": it ends with the process that synced")
                    .next("use store = \"sqlite:FILE\" to look at state and audit later"))
            }
        }
    }

    pub(crate) fn state(&self) -> Arc<dyn StateStore> {
        match self {
            Self::Sqlite(store) => Arc::clone(store) as _,
            Self::Memory(store) => Arc::clone(store) as _,
        }
    }

    pub(crate) fn audit(&self) -> Arc<dyn AuditStore> {
        match self {
            Self::Sqlite(store) => Arc::clone(store) as _,
            Self::Memory(store) => Arc::clone(store) as _,
        }
    }

    /// A store to leave notes in, while a worker may be using it.
    pub(crate) fn open_for_notes(location: &StoreLocation) -> Outcome<Self> {
        match location {
            StoreLocation::Memory => {
                Err(Failure::usage("[state] store is \"memory\": nobody else can see what is asked for there")
                    .next("use store = \"sqlite:FILE\" to control workers from another process"))
            }
            StoreLocation::Sqlite(_) => Self::open(location),
        }
    }

    pub(crate) fn notes(&self) -> Arc<dyn NoteStore> {
        match self {
            Self::Sqlite(store) => Arc::clone(store) as _,
            Self::Memory(store) => Arc::clone(store) as _,
        }
    }

    fn worker(&self) -> WorkerBuilder {
        match self {
            Self::Sqlite(store) => Worker::builder(Arc::clone(store)),
            Self::Memory(store) => Worker::builder(Arc::clone(store)),
        }
    }

    pub(crate) fn rejects(&self) -> Arc<dyn RejectStore> {
        match self {
            Self::Sqlite(store) => Arc::clone(store) as _,
            Self::Memory(store) => Arc::clone(store) as _,
        }
    }

    fn syncer(&self, source: Arc<dyn Source>, destination: Arc<dyn Destination>) -> SyncerBuilder {
        match self {
            Self::Sqlite(store) => Syncer::builder(source, destination, Arc::clone(store)),
            Self::Memory(store) => Syncer::builder(source, destination, Arc::clone(store)),
        }
    }
}

/// Proves that Kinetic can be asked. A key whose scope leaves vendors out is tried with what the configuration reads.
pub(crate) async fn ping(
    client: &epicor_kinetic::Client,
    config: &Config,
) -> epicor_kinetic::Result<epicor_kinetic::Ping> {
    let refused = match client.ping().await {
        Err(error) if error.kind() == epicor_kinetic::ErrorKind::Forbidden => error,
        ended => return ended,
    };
    let sets = config.datasets.iter().filter_map(|dataset| match &dataset.spec.source {
        SourceObject::EntitySet { service, set } | SourceObject::Lines { service, set, .. } => Some((service, set)),
        SourceObject::Baq { .. } => None,
    });
    match sets.into_iter().next() {
        Some((service, set)) => client.ping_entity_set(epicor_kinetic::EntitySet::new(service, set)?).await,
        None => Err(refused),
    }
}

/// Everything a sync needs, connected.
#[derive(Debug)]
pub(crate) struct Session {
    tableau: tableau_rest::Client,
    store: Store,
    syncer: Syncer,
}

impl Session {
    /// Connects. What would fail for every dataset alike is tried here once, so that it is said once.
    pub(crate) async fn open(config: &Config, progress: Arc<dyn Progress>, stop: &Stop) -> Outcome<Self> {
        let kinetic = kinetic(config).await?;
        let tableau = tableau(config).await?;
        let engine = EngineLocation::find()?;
        let store = Store::open(&config.store)?;
        ping(&kinetic, config).await.map_err(|error| at_kinetic(&kinetic, error))?;
        tableau.sign_in().await.map_err(|error| at_tableau(&tableau, error))?;
        let destination = destination(config, &tableau, engine);
        let syncer = store.syncer(Arc::new(source(config, kinetic)), Arc::new(destination));
        let syncer = syncer.progress(progress).stop(stop).owner(owner(config)).redactor(output::redactor()).build();
        Ok(Self { tableau, store, syncer })
    }

    pub(crate) fn syncer(&self) -> &Syncer {
        &self.syncer
    }

    /// Where state and audit are kept.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// A worker over the same store.
    pub(crate) fn worker(&self) -> WorkerBuilder {
        self.store.worker()
    }

    /// Signs out. A session that cannot be ended lapses by itself.
    pub(crate) async fn close(self) {
        sign_out(&self.tableau).await;
    }
}

/// Signs out, but does not wait for ever.
pub(crate) async fn sign_out(tableau: &tableau_rest::Client) {
    let _ = tokio::time::timeout(GOODBYE, tableau.sign_out()).await;
}
