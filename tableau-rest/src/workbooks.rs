//! Workbooks, as far as their extracts are concerned (Tableau REST API reference, Workbooks and Views Methods).

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::client::Client;
use crate::datasources::{Owner, ProjectRef, Refresh};
use crate::error::Result;
use crate::filter::Filter;
use crate::ids::{ProjectId, WorkbookId};
use crate::paging::{Listing, sealed::Wrapped};
use crate::wire;

/// A workbook.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Workbook {
    /// Its id.
    pub id: WorkbookId,
    /// Its name, unique within its project.
    #[serde(default)]
    pub name: String,
    /// Its part of the address of its pages.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub content_url: Option<String>,
    /// Where to look at it.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub webpage_url: Option<String>,
    /// When it was made.
    #[serde(default, deserialize_with = "wire::de_moment")]
    pub created_at: Option<DateTime<Utc>>,
    /// When it was changed last.
    #[serde(default, deserialize_with = "wire::de_moment")]
    pub updated_at: Option<DateTime<Utc>>,
    /// The project; `None` in a personal space.
    #[serde(default)]
    pub project: Option<ProjectRef>,
    /// The owner.
    #[serde(default)]
    pub owner: Option<Owner>,
}

impl Wrapped for Workbook {
    const PATH: &'static str = "workbooks";
    const OUTER: &'static str = "workbooks";
    const INNER: &'static str = "workbook";
}

/// The workbooks of the site.
#[derive(Clone, Debug)]
pub struct Workbooks {
    client: Client,
}

impl Workbooks {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Lists the workbooks that the user can see.
    pub fn list(&self) -> Listing<Workbook> {
        Listing::new(self.client.clone())
    }

    /// The workbooks of this name in a project, without regard to case, as Tableau compares names.
    ///
    /// # Errors
    /// Everything that can go wrong between here and the server.
    pub async fn find_by_name(&self, project: &ProjectId, name: &str) -> Result<Vec<Workbook>> {
        let fits = |workbook: &Workbook| {
            workbook.project.as_ref().is_some_and(|of| of.id == *project)
                && workbook.name.to_lowercase() == name.to_lowercase()
        };
        if Filter::can_hold(name) {
            let mut found = self.list().filter(Filter::equal("name", name)?).all().await?;
            found.retain(fits);
            if !found.is_empty() {
                return Ok(found);
            }
        }
        // The filter regards case, so only a look at all of them proves that there is none.
        let mut all = self.list().all().await?;
        all.retain(fits);
        Ok(all)
    }

    /// Refreshes the extracts of a workbook now.
    ///
    /// # Errors
    /// [`ErrorKind::NoUpstream`](crate::ErrorKind::NoUpstream) when it has no extract that could be refreshed, and
    /// everything that can go wrong between here and the server.
    pub async fn refresh(&self, id: &WorkbookId) -> Result<Refresh> {
        Refresh::start(&self.client, "refresh workbook", &["workbooks", id.as_str(), "refresh"]).await
    }
}
