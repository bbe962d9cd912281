//! The audit trail: entries in one hash chain for each dataset, so that workers on different datasets never wait for one another, and
//! records as rows beside them.

mod append;
mod copy;
mod entries;
mod gather;
mod partitions;
mod prune;
mod search;
mod verify;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::PostgresStore;
use super::error;
use crate::audit::trail;
use crate::audit::{AuditEntry, AuditError, AuditFilter, AuditRecord, AuditSegment, AuditStore, Verification};

#[async_trait]
impl AuditStore for PostgresStore {
    async fn append(&self, segment: AuditSegment) -> Result<(), AuditError> {
        append::segment(&self.shared, segment).await.map_err(error::audit)
    }

    async fn record(&self, entry: AuditEntry) -> Result<(), AuditError> {
        append::event(&self.shared, entry).await.map_err(error::audit)
    }

    async fn records(&self, filter: &AuditFilter) -> Result<Vec<AuditRecord>, AuditError> {
        search::records(&self.shared, filter).await.map_err(error::audit)
    }

    async fn events(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, AuditError> {
        search::events(&self.shared, filter).await.map_err(error::audit)
    }

    async fn verify(&self) -> Result<Verification, AuditError> {
        verify::verify(&self.shared).await.map_err(error::audit)
    }

    async fn prune(&self, before: DateTime<Utc>) -> Result<u64, AuditError> {
        let found = verify::verify(&self.shared).await.map_err(error::audit)?;
        if let Some((entry, why)) = found.first_broken {
            return Err(trail::altered(entry, &why));
        }
        prune::prune(&self.shared, before).await.map_err(error::audit)
    }
}
