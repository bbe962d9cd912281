//! The suite that every destination has to pass.

use std::sync::Arc;

use async_trait::async_trait;
use kinetic_tableau_sync::conformance::{self, Ground};
use kinetic_tableau_sync::{Deletes, Destination, Target};
use simulators::postgres::Database;

use super::{database, destination, target, texts};

struct Place {
    database: Database,
    deletes: Deletes,
}

#[async_trait]
impl Ground for Place {
    async fn destination(&self) -> Arc<dyn Destination> {
        Arc::new(destination(&self.database, self.deletes))
    }

    async fn rows(&self, target: &Target) -> Vec<Vec<Option<String>>> {
        let alive = if self.deletes == Deletes::Soft { "WHERE \"_deleted_at\" IS NULL" } else { "" };
        let query = format!(
            "SELECT \"Company\", \"Number\", \"Name\", \"Amount\", \"Day\", \
             to_char(\"Moment\", 'YYYY-MM-DD\"T\"HH24:MI:SS.US'), \"Open\"::text, \"Ratio\" FROM tableau.\"{}\" {alive}",
            target.datasource
        );
        texts(&self.database.connect().await.unwrap(), &query).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_keep_what_every_destination_promises() {
    for deletes in [Deletes::Hard, Deletes::Soft] {
        let place = Place { database: database().await, deletes };
        conformance::destination(&place, target("All kinds")).await;
        let client = place.database.connect().await.unwrap();
        let left = texts(&client, "SELECT stage FROM tableau_loads.load").await;
        assert!(left.len() <= 1, "what was given up is cleared away by the next load: {left:?}");
    }
}
