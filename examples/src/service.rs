//! The web service beside a worker: health, metrics, and Tableau's webhooks.

use kinetic_tableau_sync::TableauEvents;
use kinetic_tableau_sync::service::{Health, Webhooks};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use secrecy::ExposeSecret as _;
use tableau_rest::Receiver;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::config::Config;
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
    /// Whether webhooks are taken.
    pub(crate) webhooks: bool,
}

/// Begins to serve what `[service]` says; none without such a section.
pub(crate) async fn start(config: &Config, store: &Store, events: &TableauEvents) -> Outcome<Option<Service>> {
    let Some(options) = &config.service else { return Ok(None) };
    let metrics = recorder()?;
    let shown = metrics.clone();
    let mut app = Health::new(store.notes())
        .owner(connect::owner(config))
        .router()
        .route("/metrics", axum::routing::get(async move || shown.render()));
    if let Some(secret) = &options.webhook_secret {
        let secret = secret.resolve(&config.secrets).await?;
        let receiver = Receiver::new(secret.expose_secret())
            .map_err(|error| Failure::from(error).within("[service] webhook_secret").into_usage())?;
        let datasets = config.datasets.iter().map(|dataset| dataset.spec.clone());
        app = app.merge(
            Webhooks::new(receiver, events).audit(store.audit(), datasets).redactor(output::redactor()).router(),
        );
    }
    let listener = TcpListener::bind(options.listen).await.map_err(|error| {
        let failure = Failure::new(format!("[service] listen: {} cannot be listened on: {error}", options.listen))
            .next("choose a port that is free, and an address of this machine");
        // A port that is in use may be free in a while, as when the worker before is about to end.
        if error.kind() == std::io::ErrorKind::AddrInUse { failure } else { failure.into_usage() }
    })?;
    let address = listener.local_addr().map_err(|error| Failure::of(&error, None))?;
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
    Ok(Some(Service { task, address, webhooks: options.webhook_secret.is_some() }))
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
