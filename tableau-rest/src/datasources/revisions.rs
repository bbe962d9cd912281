//! Earlier publishes of a datasource, where the site keeps them (Tableau REST API reference, Revision Methods).

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Datasources, Download};
use crate::call::{Call, gone_is_fine};
use crate::error::Result;
use crate::ids::{DatasourceId, UserId};
use crate::wire;

/// One publish of a datasource.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Revision {
    /// Its number, as the server writes it.
    pub number: String,
    /// When it was published.
    pub published_at: Option<DateTime<Utc>>,
    /// Whether it is the one in use.
    pub is_current: bool,
    /// Whether its content is gone.
    pub is_deleted: bool,
    /// Who published it.
    pub publisher: Option<UserId>,
}

impl Revision {
    fn read(value: &Value) -> Option<Self> {
        Some(Self {
            number: wire::text(value.get("revisionNumber"))?,
            published_at: wire::moment(value.get("publishedAt")),
            is_current: wire::truth(value.get("current")).unwrap_or(false),
            is_deleted: wire::truth(value.get("deleted")).unwrap_or(false),
            publisher: wire::text(value.get("publisher").and_then(|user| user.get("id"))).map(UserId::from),
        })
    }
}

impl Datasources {
    /// The revisions of a datasource, as far as the site keeps them.
    ///
    /// # Errors
    /// As [`Datasources::get`]; [`ErrorKind::Forbidden`](crate::ErrorKind::Forbidden) without the right to download it.
    pub async fn revisions(&self, id: &DatasourceId) -> Result<Vec<Revision>> {
        let call = Call::get("list revisions", &["datasources", id.as_str(), "revisions"])?;
        let answer = self.client.run(&call).await?;
        let value = answer.value()?;
        wire::entries(value.get("revisions"), "revision")
            .into_iter()
            .map(|entry| Revision::read(entry).ok_or_else(|| answer.unfit("a revision in the answer has no number")))
            .collect()
    }

    /// Downloads a revision, as it was published then.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is no such revision (404024).
    pub async fn download_revision(&self, id: &DatasourceId, number: &str) -> Result<Download> {
        self.fetch("download revision", &["datasources", id.as_str(), "revisions", number, "content"], true).await
    }

    /// Deletes a revision.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) for the one in use (403055),
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is none (404024).
    pub async fn delete_revision(&self, id: &DatasourceId, number: &str) -> Result<()> {
        let call = Call::delete("delete revision", &["datasources", id.as_str(), "revisions", number])?;
        gone_is_fine(self.client.run(&call).await.map(|_| ()))
    }
}
