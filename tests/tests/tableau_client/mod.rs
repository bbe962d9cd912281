//! The Tableau client against the simulated Tableau: everything it offers, and what becomes of it when things fail.

mod content;
mod datasources;
mod same;
mod sessions;
mod uploads;
mod webhooks;

use std::path::PathBuf;
use std::time::Duration;

use simulators::tableau::TableauSim;
use tableau_rest::{Client, ClientBuilder, Datasource, FileSource, Project, PublishRequest, Published, RetryPolicy};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::python;

fn builder(sim: &TableauSim) -> ClientBuilder {
    let retry = RetryPolicy::default().first_delay(Duration::from_millis(1)).longest_delay(Duration::from_millis(5));
    Client::builder(sim.url()).site(sim.site()).retry(retry)
}

fn client(sim: &TableauSim) -> Client {
    builder(sim).personal_access_token(sim.pat_name(), sim.pat_secret()).build().unwrap()
}

/// Two extracts, made once by Tableau's own engine: a small one, and one of more than a megabyte.
struct Extracts {
    directory: TempDir,
}

impl Extracts {
    fn small(&self) -> PathBuf {
        self.directory.path().join("small.hyper")
    }

    fn large(&self) -> PathBuf {
        self.directory.path().join("large.hyper")
    }
}

const MAKE: &str = r#"
import sys
from random import Random
from tableauhyperapi import *
table = TableName("Extract", "Extract")
definition = TableDefinition(table, [
    TableDefinition.Column("Id", SqlType.int(), NOT_NULLABLE),
    TableDefinition.Column("Name", SqlType.text()),
])
random = Random(7)
with HyperProcess(Telemetry.DO_NOT_SEND_USAGE_DATA_TO_TABLEAU, parameters={"log_config": ""}) as hyper:
    for name, count in (("small", 3), ("large", 40_000)):
        with Connection(hyper.endpoint, f"{name}.hyper", CreateMode.CREATE_AND_REPLACE) as connection:
            connection.catalog.create_schema("Extract")
            connection.catalog.create_table(definition)
            with Inserter(connection, definition) as inserter:
                inserter.add_rows([(number, random.randbytes(40).hex()) for number in range(count)])
                inserter.execute()
"#;

async fn extracts() -> &'static Extracts {
    static MADE: OnceCell<Extracts> = OnceCell::const_new();
    MADE.get_or_init(|| async {
        tokio::task::spawn_blocking(|| {
            let directory = tempfile::tempdir().unwrap();
            let mut command = std::process::Command::new(python::environment());
            let ran = command.args(["-c", MAKE]).current_dir(directory.path()).output().unwrap();
            assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
            Extracts { directory }
        })
        .await
        .unwrap()
    })
    .await
}

async fn project(client: &Client) -> Project {
    client.projects().ensure_path(&["Finance", "Payables"]).await.unwrap()
}

async fn published(client: &Client, name: &str) -> Datasource {
    let project = project(client).await;
    let file = FileSource::path(extracts().await.small());
    match client.datasources().publish(PublishRequest::new(project.id, name, file).overwrite()).await.unwrap() {
        Published::Datasource(datasource) => *datasource,
        Published::Job(job) => panic!("a job was not asked for: {job:?}"),
    }
}
