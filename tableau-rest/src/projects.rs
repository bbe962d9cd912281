//! Projects (Tableau REST API reference, Projects Methods).
//!
//! A name is unique among siblings only, so a project is found by walking the tree from the top.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::Method;
use serde::Deserialize;
use serde_json::json;

use crate::call::{Call, Scope};
use crate::client::Client;
use crate::content::ProjectTree;
use crate::error::{Delivery, Error, ErrorKind, Fate, Result};
use crate::filter::Filter;
use crate::ids::ProjectId;
use crate::paging::{Listing, sealed::Wrapped};
use crate::wire;

/// How often a project is looked up again after the server has said that it exists: listings lag behind.
const LOOK_UPS: u32 = 4;
const LOOK_UP_PAUSE: Duration = Duration::from_millis(500);

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Its name, unique among its siblings only.
    #[serde(default)]
    pub name: String,
    /// The project it lies in; `None` at the top.
    #[serde(default, deserialize_with = "parent")]
    pub parent_project_id: Option<ProjectId>,
    /// Its description.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub description: Option<String>,
    /// Who decides on permissions: `LockedToProject`, `ManagedByOwner`, `LockedToProjectWithoutNested`.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub content_permissions: Option<String>,
    /// When it was made.
    #[serde(default, deserialize_with = "wire::de_moment")]
    pub created_at: Option<DateTime<Utc>>,
    /// When it was changed last.
    #[serde(default, deserialize_with = "wire::de_moment")]
    pub updated_at: Option<DateTime<Utc>>,
}

fn parent<'de, D: serde::Deserializer<'de>>(reader: D) -> Result<Option<ProjectId>, D::Error> {
    wire::de_text(reader).map(|id| id.map(ProjectId::from))
}

impl Wrapped for Project {
    const PATH: &'static str = "projects";
    const OUTER: &'static str = "projects";
    const INNER: &'static str = "project";
}

/// The projects of the site.
#[derive(Clone, Debug)]
pub struct Projects {
    client: Client,
}

impl Projects {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Lists the projects that the user can see.
    pub fn list(&self) -> Listing<Project> {
        Listing::new(self.client.clone())
    }

    /// All projects that the user can see, with their place in the tree.
    ///
    /// # Errors
    /// Everything that can go wrong between here and the server.
    pub async fn tree(&self) -> Result<ProjectTree> {
        self.list().all().await.map(ProjectTree::new)
    }

    /// Finds a project by the names from the top down to it, for example `&["Finance", "AP"]`. Names are exact.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an empty path, and everything that can go wrong between here and the server.
    pub async fn find_path(&self, path: &[&str]) -> Result<Option<Project>> {
        let mut found: Option<Project> = None;
        for name in checked(path)? {
            match self.child(found.as_ref().map(|project| &project.id), name).await? {
                Some(project) => found = Some(project),
                None => return Ok(None),
            }
        }
        Ok(found)
    }

    /// Makes a project, at the top or in another one.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] when a sibling has the name (409006), [`ErrorKind::Forbidden`] when the user may not.
    /// With delivery [`Unknown`](Delivery::Unknown) it may have been made all the same.
    pub async fn create(&self, name: &str, parent: Option<&ProjectId>) -> Result<Project> {
        if name.trim().is_empty() {
            return Err(Error::config("create project", "the name of the project is empty"));
        }
        let mut project = json!({ "name": name });
        if let (Some(parent), Some(fields)) = (parent, project.as_object_mut()) {
            fields.insert("parentProjectId".to_owned(), parent.as_str().into());
        }
        let call =
            Call::new("create project", Method::POST, Scope::Site, &["projects"])?.json(&json!({ "project": project }));
        self.client.run(&call).await?.member("project")
    }

    /// Finds a project by its path, and makes what is missing of it. Harmless to call from many places at once.
    ///
    /// # Errors
    /// As [`Projects::find_path`] and [`Projects::create`].
    pub async fn ensure_path(&self, path: &[&str]) -> Result<Project> {
        let mut found: Option<Project> = None;
        for name in checked(path)? {
            let parent = found.as_ref().map(|project| project.id.clone());
            let project = match self.child(parent.as_ref(), name).await? {
                Some(project) => project,
                None => self.make(parent.as_ref(), name).await?,
            };
            found = Some(project);
        }
        found.ok_or_else(|| Error::config("find project", "the path of the project is empty"))
    }

    /// Makes a project, or finds the one that somebody else (or an earlier attempt of ours) made in the meantime.
    async fn make(&self, parent: Option<&ProjectId>, name: &str) -> Result<Project> {
        let error = match self.create(name, parent).await {
            Ok(project) => return Ok(project),
            Err(error) => error,
        };
        let made = error.kind() == ErrorKind::AlreadyExists;
        if !made && error.delivery() != Delivery::Unknown {
            return Err(error);
        }
        for look_up in 0..LOOK_UPS {
            if look_up > 0 {
                tokio::time::sleep(LOOK_UP_PAUSE.saturating_mul(look_up)).await;
            }
            if let Some(project) = self.child(parent, name).await? {
                return Ok(project);
            }
        }
        Err(if made {
            error
                .with_hint("it is not visible to this user, or is written in other letters; check name and permissions")
        } else {
            error
        })
    }

    /// The child of `parent` with exactly this name.
    async fn child(&self, parent: Option<&ProjectId>, name: &str) -> Result<Option<Project>> {
        let mut listing = self.list();
        if Filter::can_hold(name) {
            listing = listing.filter(Filter::equal("name", name)?);
        }
        let mut children = listing
            .all()
            .await?
            .into_iter()
            .filter(|project| project.name == name && project.parent_project_id.as_ref() == parent);
        let found = children.next();
        if children.next().is_some() {
            return Err(Error::new(
                ErrorKind::Conflict,
                Delivery::Answered,
                "find project",
                "two projects of the same name lie side by side",
            )
            .with_hint("rename one of them")
            .with_fate(Fate::Final));
        }
        Ok(found)
    }
}

fn checked<'a, 'b>(path: &'a [&'b str]) -> Result<&'a [&'b str]> {
    if path.is_empty() || path.iter().any(|name| name.trim().is_empty()) {
        return Err(Error::config("find project", "the path of the project is empty or has an empty name in it"));
    }
    Ok(path)
}
