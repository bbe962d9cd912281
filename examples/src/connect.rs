//! From the configuration to the two clients, the store and the syncer.

use std::sync::Arc;
use std::time::Duration;

use kinetic_tableau_sync::hyper::EngineLocation;
use kinetic_tableau_sync::worker::{Limit, Slot, WorkerBuilder};
use kinetic_tableau_sync::{KineticSource, Progress, Source, SourceObject, Stop, Syncer, TableauEvents};
use secrecy::ExposeSecret as _;
use tableau_rest::ConnectedApp;

use crate::config::{Config, Dataset, Deliver, Identity, SignIn, Token};
use crate::deliver::Destinations;
use crate::failure::{Exit, Failure, Outcome};
use crate::output;
use crate::store::Store;
use crate::tokens::{self, Taken};
use crate::unconnected;

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

/// A client of Tableau, with one of the tokens where there are several. Nothing is sent.
pub(crate) async fn tableau(config: &Config, token: usize) -> Outcome<tableau_rest::Client> {
    let (settings, secrets) = (&config.tableau, &config.secrets);
    let builder = tableau_rest::Client::builder(&settings.url).site(&settings.site);
    let builder = match &settings.sign_in {
        SignIn::Pat { tokens } => match tokens.get(token).or(tokens.first()) {
            Some(Token { name, secret }) => {
                builder.personal_access_token(name, secret.resolve(secrets).await?.expose_secret())
            }
            None => builder,
        },
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
    /// One for each way of delivery that the configuration names.
    syncers: Vec<(Deliver, Syncer)>,
    /// Keeps other workers from our token.
    token: Option<Slot>,
}

/// How a session is opened.
pub(crate) struct Opening<'a> {
    /// Who listens to its runs.
    pub(crate) progress: Arc<dyn Progress>,
    /// Ends its runs.
    pub(crate) stop: &'a Stop,
    /// What to do when each token is in use.
    pub(crate) taken: Taken,
    /// Ends the waiting for one.
    pub(crate) waiting: &'a Stop,
    /// What webhooks tell.
    pub(crate) events: Option<&'a TableauEvents>,
}

impl Session {
    /// Connects. What would fail for every dataset alike is tried here once, so that it is said once.
    /// A token that is in use is waited for until `waiting` ends that.
    pub(crate) async fn open(config: &Config, opening: Opening<'_>) -> Outcome<Self> {
        let store = Store::open(config).await?;
        let opened = Box::pin(Self::connect(config, opening, store.clone())).await;
        let failure = opened.as_ref().err();
        if failure.is_none_or(|failure| failure.exit() != Exit::Interrupted && !failure.is_busy()) {
            unconnected::note(&store, &owner(config), failure).await;
        }
        opened
    }

    async fn connect(config: &Config, opening: Opening<'_>, store: Store) -> Outcome<Self> {
        // All of them, so that none is repeated which the other system happens to say. What is wrong with one is told where it is needed.
        for reference in config.secret_refs() {
            let _ = reference.resolve(&config.secrets).await;
        }
        let kinetic = kinetic(config).await?;
        let engine = if config.delivers(Deliver::Tableau) { Some(EngineLocation::find()?) } else { None };
        ping(&kinetic, config).await.map_err(|error| at_kinetic(&kinetic, error))?;
        // Where nothing goes to Tableau no token is needed.
        let (tableau, token) = if config.needs_tableau() {
            signed_in(config, &store, &opening).await?
        } else {
            (tableau(config, 0).await?, None)
        };
        match Self::syncers(config, opening, (kinetic, &tableau, engine), &store).await {
            Ok(syncers) => Ok(Self { tableau, store, syncers, token }),
            Err(failure) => {
                sign_out(&tableau).await;
                if let Some(token) = token {
                    token.release().await;
                }
                Err(failure)
            }
        }
    }

    async fn syncers(
        config: &Config,
        opening: Opening<'_>,
        (kinetic, tableau, engine): (epicor_kinetic::Client, &tableau_rest::Client, Option<EngineLocation>),
        store: &Store,
    ) -> Outcome<Vec<(Deliver, Syncer)>> {
        let destinations = Destinations::new(config, tableau, engine, opening.events).await?;
        let source: Arc<dyn Source> = Arc::new(source(config, kinetic));
        let mut syncers = Vec::new();
        for deliver in [Deliver::Tableau, Deliver::Postgres, Deliver::Parquet] {
            let Some(destination) = destinations.of(deliver) else { continue };
            let syncer = store
                .syncer(Arc::clone(&source), destination)
                .progress(Arc::clone(&opening.progress))
                .stop(opening.stop)
                .owner(owner(config))
                .lease(config.worker.lease)
                .redactor(output::redactor())
                .build();
            syncers.push((deliver, syncer));
        }
        Ok(syncers)
    }

    /// What runs a dataset.
    pub(crate) fn syncer(&self, dataset: &Dataset) -> Outcome<&Syncer> {
        let found = self.syncers.iter().find(|(deliver, _)| *deliver == dataset.deliver);
        let missing = || Failure::new(format!("nothing delivers dataset '{}' in this session", dataset.name()));
        found.map(|(_, syncer)| syncer).ok_or_else(missing)
    }

    /// The store of its runs.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// A worker over the same store.
    pub(crate) fn worker(&self) -> WorkerBuilder {
        self.store.worker()
    }

    /// Waits until another worker has taken our token, since we could not renew our claim in time. For ever where there is none.
    pub(crate) async fn token_lost(&self) {
        match &self.token {
            Some(slot) => slot.lost().await,
            None => std::future::pending().await,
        }
    }

    /// Signs out. A session that cannot be ended lapses by itself.
    pub(crate) async fn close(self) {
        sign_out(&self.tableau).await;
        if let Some(token) = self.token {
            token.release().await;
        }
    }
}

/// Signs in, with the first token that is free and that Tableau takes. One that it refuses keeps nobody from using another.
async fn signed_in(
    config: &Config,
    store: &Store,
    opening: &Opening<'_>,
) -> Outcome<(tableau_rest::Client, Option<Slot>)> {
    let all = match &config.tableau.sign_in {
        SignIn::Pat { tokens } => tokens.len(),
        _ => 1,
    };
    let mut refused = Vec::new();
    loop {
        let (nth, slot) = tokens::take(config, store, opening.taken, opening.waiting, &refused).await?;
        let signed_in = async {
            let client = tableau(config, nth).await?;
            client.sign_in().await.map_err(|error| at_tableau(&client, error))?;
            Ok(client)
        };
        let failure: Failure = match signed_in.await {
            Ok(client) => return Ok((client, slot)),
            Err(failure) => failure,
        };
        if let Some(slot) = slot {
            slot.release().await;
        }
        refused.push(nth);
        if !failure.is_refused() || refused.len() >= all {
            return Err(failure);
        }
        output::complain(&failure.within(&format!("token {} of {all}, which is passed over", nth + 1)), false);
    }
}

/// Signs out, but does not wait for ever.
pub(crate) async fn sign_out(tableau: &tableau_rest::Client) {
    let _ = tokio::time::timeout(GOODBYE, tableau.sign_out()).await;
}
