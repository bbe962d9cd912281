//! The web service beside a worker: health, metrics, and Tableau's webhooks.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use kinetic_tableau_sync::TableauEvents;
use kinetic_tableau_sync::service::{Health, Webhooks};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use secrecy::ExposeSecret as _;
use tableau_rest::Receiver;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

use crate::config::{self, Config};
use crate::connect;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::store::Store;

/// Where seconds are counted: from a poll that finds nothing to a first load of millions of rows.
const SECONDS: [f64; 10] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0];

/// It listens, and serves until it is dropped.
#[derive(Debug)]
pub(crate) struct Service {
    task: JoinHandle<()>,
    /// Where it listens.
    pub(crate) address: std::net::SocketAddr,
    /// Takes webhooks, until the router has it.
    receiver: Mutex<Option<Receiver>>,
    webhooks: bool,
    /// What needs the store, once there is one.
    later: Arc<OnceLock<Router>>,
}

/// Begins to serve what `[service]` says; none without such a section. A worker may have to wait for its systems or its token, so that
/// it lives and is not ready before it [has a store](Service::connected).
pub(crate) async fn start(config: &Config) -> Outcome<Option<Service>> {
    let Some(options) = &config.service else { return Ok(None) };
    let webhooks = receiver(config, options).await?;
    let listener = listen(options).await?;
    let address = listener.local_addr().map_err(|error| Failure::of(&error, None))?;
    let metrics = recorder()?;
    let shown = metrics.clone();
    let later = Arc::new(OnceLock::new());
    let rest = Arc::clone(&later);
    let app = Router::new()
        .route("/health/live", get(async || Health::live()))
        .route("/metrics", get(async move || shown.render()))
        .fallback(async move |request: Request| match rest.get() {
            Some(router) => answer(Router::clone(router), request).await,
            None => Health::not_ready("the worker is not connected yet").into_response(),
        });
    let task = tokio::spawn(async move {
        let upkeep = async {
            loop {
                tokio::time::sleep(std::time::Duration::from_secs(5)).await;
                metrics.run_upkeep();
            }
        };
        tokio::select! {
            // It ends with the process only.
            _ = axum::serve(listener, app) => {}
            () = upkeep => {}
        }
    });
    Ok(Some(Service { task, address, webhooks: webhooks.is_some(), receiver: Mutex::new(webhooks), later }))
}

/// What tells Tableau's messages from others; none where no webhooks are taken.
pub(crate) async fn receiver(config: &Config, options: &config::Service) -> Outcome<Option<Receiver>> {
    let Some(secret) = &options.webhook_secret else { return Ok(None) };
    let secret = secret.resolve(&config.secrets).await?;
    let receiver = Receiver::new(secret.expose_secret()).map_err(|error| {
        // The client's own words are for programmers.
        Failure::usage(format!("[service] webhook_secret: {}", error.message()))
            .next("make one with `openssl rand -hex 32`, and put it into the address that Tableau's webhook has")
    })?;
    Ok(Some(receiver))
}

/// Takes the port.
pub(crate) async fn listen(options: &config::Service) -> Outcome<TcpListener> {
    TcpListener::bind(options.listen).await.map_err(|error| {
        let failure = Failure::new(format!("[service] listen: {} cannot be listened on: {error}", options.listen))
            .next("choose a port that is free, and an address of this machine");
        // A port that is in use may be free in a while, as when the worker before is about to end.
        if error.kind() == std::io::ErrorKind::AddrInUse { failure } else { failure.into_usage() }
    })
}

async fn answer(router: Router, request: Request) -> Response {
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

impl Service {
    /// Serves what needs the store as well: readiness and webhooks. Later calls change nothing.
    pub(crate) fn connected(&self, config: &Config, store: &Store, events: &TableauEvents) {
        self.later.get_or_init(|| {
            let app = Health::new(store.notes()).owner(connect::owner(config)).router();
            let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(receiver) = receiver else { return app };
            let datasets = config.datasets.iter().map(|dataset| dataset.spec.clone());
            let webhooks = Webhooks::new(receiver, events).audit(store.audit(), datasets).state(store.state());
            app.merge(webhooks.redactor(output::redactor()).router())
        });
    }

    /// What it serves, for people.
    pub(crate) fn routes(&self) -> String {
        let webhooks = if self.webhooks { " /hooks/tableau/SECRET" } else { "" };
        format!("http://{} serves /health/live /health/ready /metrics{webhooks}", self.address)
    }
}

/// Where everything that is counted from now on is kept.
fn recorder() -> Outcome<PrometheusHandle> {
    let failed = |error| Failure::of(&error, None);
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("seconds".to_owned()), &SECONDS)
        .map_err(failed)?;
    builder.install_recorder().map_err(failed)
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}
