//! The configuration file: one TOML file, read strictly.
//!
//! Whatever is wrong with it is said with file, line, section and key, before anything is connected to.

mod connection;
mod dataset;
mod document;
mod mapping;
mod nearest;
mod secret;
mod secrets;
mod service;
mod staging;
mod state;
#[cfg(test)]
pub(crate) mod tests;
mod worker;

use std::path::{Path, PathBuf};

pub(crate) use self::connection::{Identity, Kinetic, SignIn, Tableau, Token};
pub(crate) use self::dataset::{Dataset, Deliver};
use self::document::Document;
pub(crate) use self::nearest::offer;
pub(crate) use self::secret::SecretRef;
pub(crate) use self::secrets::{KeyRef, SecretStore};
pub(crate) use self::service::{AlertOptions, Service};
pub(crate) use self::staging::Staging;
pub(crate) use self::state::{PostgresAddress, PostgresLocation, StoreLocation};
use self::worker::WorkerOptions;
use crate::failure::{Failure, Outcome};
use crate::secrets::Secrets;

const SECTIONS: &[&str] =
    &["kinetic", "tableau", "secrets", "state", "staging", "engine", "worker", "service", "alerts", "dataset"];

/// Where loads are staged unless the file says otherwise. Not a temporary directory: a load that was sealed before a crash is
/// published by the next run.
const DEFAULT_SPOOL: &str = "kinetic-tableau-spool";

/// Everything the file says.
#[derive(Debug)]
pub(crate) struct Config {
    /// `[kinetic]`
    pub(crate) kinetic: Kinetic,
    /// `[tableau]`
    pub(crate) tableau: Tableau,
    /// `[secrets]`
    pub(crate) secrets: Secrets,
    /// `[state]`
    pub(crate) store: StoreLocation,
    /// `[staging]`
    pub(crate) staging: Option<Staging>,
    /// `[engine] spool`
    pub(crate) spool: PathBuf,
    /// `[worker]`
    pub(crate) worker: WorkerOptions,
    /// `[service]`
    pub(crate) service: Option<Service>,
    /// `[alerts]`
    pub(crate) alerts: Option<AlertOptions>,
    /// `[[dataset]]`, in the order of the file.
    pub(crate) datasets: Vec<Dataset>,
}

impl Config {
    /// Reads a file.
    pub(crate) fn load(path: &Path) -> Outcome<Self> {
        Self::of(&Document::read(path)?)
    }

    /// Reads a text as if it were a file at `path`.
    #[cfg(test)]
    pub(crate) fn of_text(path: &Path, text: &str) -> Outcome<Self> {
        Self::of(&Document::of_text(path, text))
    }

    fn of(document: &Document) -> Outcome<Self> {
        let table = document.parse()?;
        let root = document.root(&table, SECTIONS)?;
        let kinetic = Kinetic::read(&root)?;
        let tableau = Tableau::read(&root)?;
        let secrets = SecretStore::read(&root)?;
        let store = StoreLocation::read(&root)?;
        let staging = Staging::read(&root)?;
        let service = Service::read(&root)?;
        let alerts = AlertOptions::read(&root)?;
        let datasets = dataset::read_all(&root)?;
        if let (None, Some(dataset)) = (&staging, datasets.iter().find(|dataset| dataset.deliver == Deliver::Postgres))
        {
            let why =
                format!("dataset '{}' is delivered to Postgres, but there is no section [staging]", dataset.name());
            return Err(root
                .refuse(&why)
                .next("add [staging] with url = \"postgres://USER@HOST/DATABASE\" and password"));
        }
        let worker = WorkerOptions::read(&root)?;
        let spool = match root.section("engine", &["spool"])? {
            Some(engine) => engine.optional_text("spool")?.unwrap_or(DEFAULT_SPOOL),
            None => DEFAULT_SPOOL,
        };
        let (keeps_secrets, secrets) = (secrets.is_some(), Secrets::new(secrets));
        let spool = document.resolve(spool);
        let config = Self { kinetic, tableau, secrets, store, staging, spool, worker, service, alerts, datasets };
        match config.secret_refs().into_iter().find(|secret| secret.name().is_some()) {
            Some(secret) if !keeps_secrets => {
                let why = format!("{} names a secret, but there is no section [secrets]", secret.place());
                Err(root.refuse(&why).next("add [secrets] with store = \"sealed:FILE\" and key = { file = \"PATH\" }"))
            }
            _ => Ok(config),
        }
    }

    /// Reads only where secrets are kept: what else is in the file need not be right yet.
    pub(crate) fn load_secrets(path: &Path) -> Outcome<Secrets> {
        let document = Document::read(path)?;
        let table = document.parse()?;
        SecretStore::read(&document.root(&table, SECTIONS)?).map(Secrets::new)
    }

    /// Every secret that is referred to.
    pub(crate) fn secret_refs(&self) -> Vec<&SecretRef> {
        let beside = beside(self.service.as_ref(), self.alerts.as_ref());
        self.kinetic
            .secrets()
            .into_iter()
            .chain(self.tableau.secrets())
            .chain(self.store.secrets())
            .chain(self.staging.iter().filter_map(Staging::secret))
            .chain(beside)
            .collect()
    }

    /// Whether any dataset is delivered in a way.
    pub(crate) fn delivers(&self, deliver: Deliver) -> bool {
        self.datasets.iter().any(|dataset| dataset.deliver == deliver)
    }

    /// Whether Tableau has a part in it: something lands or is refreshed there.
    pub(crate) fn needs_tableau(&self) -> bool {
        self.datasets.iter().any(|dataset| dataset.deliver != Deliver::Postgres || !dataset.spec.refresh.is_empty())
    }

    /// The datasets that were named, in the order of the file; all of them when none was.
    pub(crate) fn named(&self, names: &[String]) -> Outcome<Vec<&Dataset>> {
        for name in names {
            if self.datasets.iter().all(|dataset| dataset.name() != name) {
                return Err(Failure::usage(format!("there is no dataset '{name}' in the configuration"))
                    .next(offer(name, self.datasets.iter().map(Dataset::name))));
            }
        }
        let wanted = |dataset: &&Dataset| names.is_empty() || names.iter().any(|name| name == dataset.name());
        Ok(self.datasets.iter().filter(wanted).collect())
    }
}

/// The secrets of what stands beside the workers.
fn beside<'a>(service: Option<&'a Service>, alerts: Option<&'a AlertOptions>) -> impl Iterator<Item = &'a SecretRef> {
    service.and_then(|service| service.webhook_secret.as_ref()).into_iter().chain(alerts.map(|alerts| &alerts.webhook))
}
