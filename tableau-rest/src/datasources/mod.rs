//! Published datasources (Tableau REST API reference, Data Sources Methods).

mod publish;
mod update;
mod upload;

use std::path::Path;

use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use http::{HeaderValue, Method};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

pub use self::publish::{PublishRequest, Published};
pub use self::update::{
    Action, Column, Condition, Constant, Operand, Table, UPDATE_DATA_LIMIT, UpdateData, source, target,
};
use crate::call::{Call, Scope, gone_is_fine};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::filter::Filter;
use crate::ids::{ConnectionId, DatasourceId, ProjectId, UserId};
use crate::jobs::JobHandle;
use crate::paging::{Listing, sealed::Wrapped};
use crate::transport::{Body, TransportError, TransportErrorKind};
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
        let call = Call::post(operation, segments)?.json(&json!({}));
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
        let call = Call::new("delete datasource", Method::DELETE, Scope::Site, &["datasources", id.as_str()])?
            .idempotent(true);
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

    /// Downloads a datasource with its extract, as it was published or packed as `.tdsx`.
    ///
    /// # Errors
    /// As [`Datasources::get`]; [`ErrorKind::Forbidden`] without the right to download.
    pub async fn download(&self, id: &DatasourceId) -> Result<Download> {
        let mut call = Call::get("download datasource", &["datasources", id.as_str(), "content"])?
            .query("includeExtract", "true")
            .long();
        call.streamed = true;
        call.accept = HeaderValue::from_static("*/*");
        let answer = self.client.run(&call).await?;
        let header = |name| answer.head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let file_name = header(http::header::CONTENT_DISPOSITION).and_then(file_name_of);
        let size = header(http::header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let body = answer.stream.unwrap_or_else(|| Body::from(answer.body));
        Ok(Download { file_name, size, body })
    }
}

/// The last part of a file name in a `Content-Disposition`: never a path.
fn file_name_of(disposition: &str) -> Option<String> {
    let (_, rest) = disposition.split_once("filename=")?;
    let quoted = rest.trim().trim_start_matches('"');
    let name = quoted.split(['"', ';']).next()?.rsplit(['/', '\\']).next()?.trim();
    (!name.is_empty() && name != "." && name != "..").then(|| name.to_owned())
}

/// A file that is being downloaded.
#[derive(Debug)]
#[non_exhaustive]
pub struct Download {
    /// Its name as the server gives it, without any path.
    pub file_name: Option<String>,
    /// Its size in bytes, where the server says it.
    pub size: Option<u64>,
    /// Its content.
    pub body: Body,
}

impl Download {
    /// Writes it to a file, which is there whole or not at all.
    ///
    /// # Errors
    /// [`ErrorKind::File`] when it cannot be written, [`ErrorKind::Transport`] when the download breaks off.
    pub async fn save(mut self, path: impl AsRef<Path>) -> Result<u64> {
        let path = path.as_ref();
        let mut partial = path.as_os_str().to_owned();
        partial.push(".part");
        let saved = self.write(Path::new(&partial)).await;
        let saved = match saved {
            Ok(bytes) => {
                tokio::fs::rename(&partial, path).await.map(|()| bytes).map_err(|error| unwritable(path, error))
            }
            Err(error) => Err(error),
        };
        if saved.is_err() {
            // The failure that led here is what counts.
            let _ = tokio::fs::remove_file(&partial).await;
        }
        saved
    }

    async fn write(&mut self, path: &Path) -> Result<u64> {
        let mut file = tokio::fs::File::create(path).await.map_err(|error| unwritable(path, error))?;
        let broken = |error| Error::transport("download datasource", error);
        let mut bytes = 0_u64;
        while let Some(piece) = self.body.next().await.transpose().map_err(broken)? {
            file.write_all(&piece).await.map_err(|error| unwritable(path, error))?;
            bytes += piece.len() as u64;
        }
        file.flush().await.map_err(|error| unwritable(path, error))?;
        match self.size {
            Some(size) if size != bytes => Err(broken(TransportError::new(TransportErrorKind::Truncated))),
            _ => Ok(bytes),
        }
    }
}

fn unwritable(path: &Path, cause: std::io::Error) -> Error {
    Error::file("download datasource", format!("the file {} cannot be written", path.display()), cause)
        .with_hint("check that its directory exists, is writable and has space")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_never_a_path() {
        let name = |text: &str| file_name_of(text);
        assert_eq!(
            name(r#"name="tableau_datasource"; filename="AP invoices.hyper""#).as_deref(),
            Some("AP invoices.hyper")
        );
        assert_eq!(name(r#"attachment; filename="../../etc/passwd""#).as_deref(), Some("passwd"));
        assert_eq!(name("attachment; filename=a.hyper; x=y").as_deref(), Some("a.hyper"));
        assert_eq!(name(r#"attachment; filename="..""#), None);
        assert_eq!(name("attachment"), None);
    }
}
