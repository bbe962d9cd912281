//! Published datasources (Tableau REST API reference, Data Sources Methods).

mod download;
mod manage;
mod permissions;
mod publish;
mod revisions;
mod update;

use chrono::{DateTime, Utc};
use http::HeaderValue;
use serde::Deserialize;
use serde_json::{Value, json};

pub use self::download::Download;
pub use self::manage::{ConnectionUpdate, DatasourceUpdate};
pub use self::permissions::{Capability, Grantee, PermissionMode, PermissionRule};
pub use self::publish::{PublishRequest, Published};
pub use self::revisions::Revision;
pub(crate) use self::update::UpdateLocks;
pub use self::update::{
    Action, Column, Condition, Constant, Operand, Table, UPDATE_DATA_LIMIT, UpdateData, source, target,
};
use crate::call::{Call, gone_is_fine};
use crate::client::Client;
use crate::error::{ErrorKind, Result};
use crate::filter::Filter;
use crate::ids::{ConnectionId, DatasourceId, ProjectId, UserId};
use crate::jobs::JobHandle;
use crate::paging::{Listing, sealed::Wrapped};
use crate::version::ApiVersion;
use crate::wire;

/// A published datasource.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Datasource {
    /// Its id.
    pub id: DatasourceId,
    /// Its name, unique within its project.
    #[serde(default)]
    pub name: String,
    /// Its part of the address of its pages.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub content_url: Option<String>,
    /// Its description.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub description: Option<String>,
    /// What it is, for example `hyper` or `sqlserver`.
    #[serde(default, rename = "type", deserialize_with = "wire::de_text")]
    pub kind: Option<String>,
    /// Whether it holds an extract.
    #[serde(default, deserialize_with = "wire::de_truth")]
    pub has_extracts: Option<bool>,
    /// Whether somebody vouches for it.
    #[serde(default, deserialize_with = "wire::de_truth")]
    pub is_certified: Option<bool>,
    /// Why.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub certification_note: Option<String>,
    /// Whether its extract is encrypted at rest.
    #[serde(default, deserialize_with = "wire::de_truth")]
    pub encrypt_extracts: Option<bool>,
    /// Its size as Tableau counts it: whole megabytes, at least one.
    #[serde(default, deserialize_with = "wire::de_count")]
    pub size: Option<u64>,
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
    /// Its tags.
    #[serde(default, deserialize_with = "wire::de_tags")]
    pub tags: Vec<String>,
}

/// The project that something lies in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ProjectRef {
    /// Its id.
    pub id: ProjectId,
    /// Its name.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub name: Option<String>,
}

/// Who owns something.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Owner {
    /// The user.
    pub id: UserId,
    /// The user's name, where the server says it.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub name: Option<String>,
}

/// A connection of a datasource.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Connection {
    /// Its id.
    pub id: ConnectionId,
    /// What it leads to, for example `hyper` (a published extract without an upstream) or `sqlserver`.
    #[serde(default, rename = "type", deserialize_with = "wire::de_text")]
    pub kind: Option<String>,
    /// The server it leads to.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub server_address: Option<String>,
    /// The port there.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub server_port: Option<String>,
    /// As whom.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub user_name: Option<String>,
    /// Whether the server keeps the password for refreshes.
    #[serde(default, deserialize_with = "wire::de_truth")]
    pub embed_password: Option<bool>,
}

impl Wrapped for Datasource {
    const PATH: &'static str = "datasources";
    const OUTER: &'static str = "datasources";
    const INNER: &'static str = "datasource";
}

/// What became of the wish to refresh something.
#[derive(Clone, Debug)]
pub enum Refresh {
    /// It runs, as this job.
    Started(JobHandle),
    /// The same refresh is queued or running already (409093). The server does not say as which job.
    AlreadyQueued,
}

impl Refresh {
    /// Starts a refresh or runs a task.
    pub(crate) async fn start(client: &Client, operation: &str, segments: &[&str]) -> Result<Self> {
        // The server insists on a body.
        Self::send(client, Call::post(operation, segments)?.json(&json!({}))).await
    }

    /// Starts a refresh of what is new only.
    async fn start_incremental(client: &Client, operation: &str, segments: &[&str]) -> Result<Self> {
        client.require(operation, ApiVersion::INCREMENTAL).await?;
        // The JSON form of this is documented with an odd key; the XML form is not in doubt.
        let body = "<tsRequest><extractRefresh incremental=\"true\"/></tsRequest>";
        Self::send(client, Call::post(operation, segments)?.body(HeaderValue::from_static("application/xml"), body))
            .await
    }

    async fn send(client: &Client, call: Call) -> Result<Self> {
        match client.run(&call).await {
            Ok(answer) => JobHandle::of_answer(client, &answer).map(Self::Started),
            Err(error) if error.kind() == ErrorKind::AlreadyQueued => Ok(Self::AlreadyQueued),
            Err(error) => Err(error),
        }
    }
}

/// The datasources of the site.
#[derive(Clone, Debug)]
pub struct Datasources {
    client: Client,
}

impl Datasources {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Lists the datasources that the user can see. A new one may be missing for a while.
    pub fn list(&self) -> Listing<Datasource> {
        Listing::new(self.client.clone())
    }

    /// The datasources of this name in a project, without regard to case, as Tableau compares names.
    ///
    /// # Errors
    /// Everything that can go wrong between here and the server.
    pub async fn find_by_name(&self, project: &ProjectId, name: &str) -> Result<Vec<Datasource>> {
        let fits = |found: &Datasource| {
            found.project.as_ref().is_some_and(|of| of.id == *project)
                && found.name.to_lowercase() == name.to_lowercase()
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

    /// What is known of a datasource.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it does not exist or may not be seen, and everything that can go wrong between here and the server.
    pub async fn get(&self, id: &DatasourceId) -> Result<Datasource> {
        let call = Call::get("read datasource", &["datasources", id.as_str()])?;
        self.client.run(&call).await?.member("datasource")
    }

    /// Deletes a datasource. Where the answer was lost, the deletion is repeated, and that it is gone then counts as done.
    ///
    /// # Errors
    /// As [`Datasources::get`].
    pub async fn delete(&self, id: &DatasourceId) -> Result<()> {
        let call = Call::delete("delete datasource", &["datasources", id.as_str()])?;
        gone_is_fine(self.client.run(&call).await.map(|_| ()))
    }

    /// The connections of a datasource. A published extract without an upstream has one, of kind `hyper`.
    ///
    /// # Errors
    /// As [`Datasources::get`].
    pub async fn connections(&self, id: &DatasourceId) -> Result<Vec<Connection>> {
        let call = Call::get("list connections", &["datasources", id.as_str(), "connections"])?;
        let answer = self.client.run(&call).await?;
        let value: Value = answer.value()?;
        wire::entries(value.get("connections"), "connection")
            .into_iter()
            .map(|entry| answer.read(entry.clone()))
            .collect()
    }

    /// Refreshes the extract of a datasource now, whole.
    ///
    /// # Errors
    /// [`ErrorKind::NoUpstream`] for a published `.hyper` and for live connections (403104, 409090): there is nothing to refresh
    /// them from. [`ErrorKind::Forbidden`] when the user may not, and everything that can go wrong between here and the server.
    pub async fn refresh(&self, id: &DatasourceId) -> Result<Refresh> {
        Refresh::start(&self.client, "refresh datasource", &["datasources", id.as_str(), "refresh"]).await
    }

    /// Refreshes the extract of a datasource now by the rows that are new. Its extract must be set up for that in Tableau.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] before version 3.25 of the interface, which would refresh it whole; else as
    /// [`Datasources::refresh`].
    pub async fn refresh_incremental(&self, id: &DatasourceId) -> Result<Refresh> {
        let segments = ["datasources", id.as_str(), "refresh"];
        Refresh::start_incremental(&self.client, "refresh datasource", &segments).await
    }

    /// Downloads a datasource with its extract, as it was published or packed as `.tdsx`.
    ///
    /// # Errors
    /// As [`Datasources::get`]; [`ErrorKind::Forbidden`] without the right to download.
    pub async fn download(&self, id: &DatasourceId) -> Result<Download> {
        self.fetch("download datasource", &["datasources", id.as_str(), "content"], true).await
    }

    /// Downloads a datasource without its extract: the description of its connections and fields.
    ///
    /// # Errors
    /// As [`Datasources::download`].
    pub async fn download_without_extract(&self, id: &DatasourceId) -> Result<Download> {
        self.fetch("download datasource", &["datasources", id.as_str(), "content"], false).await
    }

    async fn fetch(&self, operation: &str, segments: &[&str], extract: bool) -> Result<Download> {
        let call = Call::get(operation, segments)?.query("includeExtract", if extract { "true" } else { "false" });
        Download::begin(&self.client, call).await
    }
}
