//! The destinations that datasets of the configuration are delivered to.

use std::sync::Arc;

use kinetic_tableau_sync::hyper::EngineLocation;
use kinetic_tableau_sync::{
    Destination, HyperOptions, ParquetDestination, PostgresDestination, StagingOptions, TableauDestination,
    TableauEvents, TableauRefresher,
};

use crate::config::{Config, Deliver};
use crate::failure::{Failure, Outcome};
use crate::store;

/// Where rows are staged and published, for each way that is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Destinations {
    tableau: Option<Arc<dyn Destination>>,
    postgres: Option<Arc<PostgresDestination>>,
    parquet: Option<Arc<dyn Destination>>,
}

impl Destinations {
    /// Tableau's engine is needed only where something is delivered as an extract. Nothing is started or connected to yet.
    pub(crate) async fn new(
        config: &Config,
        tableau: &tableau_rest::Client,
        engine: Option<EngineLocation>,
        events: Option<&TableauEvents>,
    ) -> Outcome<Self> {
        let extracts = engine.filter(|_| config.delivers(Deliver::Tableau)).map(|engine| {
            let options = HyperOptions { spool: config.spool.clone(), engine };
            let destination =
                TableauDestination::new(tableau.clone(), options).watch_target(config.tableau.watch_target);
            Arc::new(match events {
                Some(events) => destination.events(events),
                None => destination,
            }) as _
        });
        let parquet = config.delivers(Deliver::Parquet).then(|| {
            let destination =
                ParquetDestination::new(tableau.clone(), &config.spool).watch_target(config.tableau.watch_target);
            Arc::new(match events {
                Some(events) => destination.events(events),
                None => destination,
            }) as _
        });
        let postgres = if config.delivers(Deliver::Postgres) { postgres(config, tableau, events).await? } else { None };
        Ok(Self { tableau: extracts, postgres, parquet })
    }

    pub(crate) fn of(&self, deliver: Deliver) -> Option<Arc<dyn Destination>> {
        match deliver {
            Deliver::Tableau => self.tableau.clone(),
            Deliver::Postgres => self.postgres.clone().map(|postgres| postgres as _),
            Deliver::Parquet => self.parquet.clone(),
        }
    }

    /// The staging database.
    pub(crate) fn postgres(&self) -> Option<&PostgresDestination> {
        self.postgres.as_deref()
    }
}

async fn postgres(
    config: &Config,
    tableau: &tableau_rest::Client,
    events: Option<&TableauEvents>,
) -> Outcome<Option<Arc<PostgresDestination>>> {
    let Some(staging) = &config.staging else { return Ok(None) };
    let connection =
        store::connection(config, &staging.address).await.map_err(|failure| failure.within("[staging]"))?;
    // One for each run, and some for what looks at tables meanwhile.
    let mut options =
        StagingOptions::new(connection).deletes(staging.deletes).connections((config.worker.at_once + 2).max(8));
    if let Some(schema) = &staging.schema {
        options = options.schema(schema);
    }
    if let Some(file) = &staging.ca_file {
        options = options.ca_file(file);
    }
    let destination = PostgresDestination::new(options).map_err(|error| Failure::from(error).within("[staging]"))?;
    let refresher = TableauRefresher::new(tableau.clone());
    let refresher = match events {
        Some(events) => refresher.events(events),
        None => refresher,
    };
    Ok(Some(Arc::new(destination.refresher(Arc::new(refresher)))))
}
