//! What else lies on a site, to read: views, users, groups, sites, flows and their runs. Nothing here writes.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use http::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::call::{Call, Scope};
use crate::client::Client;
use crate::datasources::{Download, Owner, ProjectRef};
use crate::error::Result;
use crate::ids::{FlowId, FlowRunId, GroupId, JobId, ProjectId, SiteId, UserId, ViewId, WorkbookId};
use crate::paging::{Listing, sealed::Wrapped};
use crate::projects::Project;
use crate::version::ApiVersion;
use crate::wire;

/// The workbook that a view belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct WorkbookRef {
    /// Its id.
    pub id: WorkbookId,
}

/// A view: a sheet, dashboard or story of a workbook.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct View {
    /// Its id.
    pub id: ViewId,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its part of the address of its page.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub content_url: Option<String>,
    /// When it was made.
    #[serde(default, deserialize_with = "wire::de_moment")]
    pub created_at: Option<DateTime<Utc>>,
    /// When it was changed last.
    #[serde(default, deserialize_with = "wire::de_moment")]
    pub updated_at: Option<DateTime<Utc>>,
    /// The workbook.
    #[serde(default)]
    pub workbook: Option<WorkbookRef>,
    /// The project; `None` in a personal space.
    #[serde(default)]
    pub project: Option<ProjectRef>,
    /// The owner.
    #[serde(default)]
    pub owner: Option<Owner>,
}

impl Wrapped for View {
    const PATH: &'static str = "views";
    const OUTER: &'static str = "views";
    const INNER: &'static str = "view";
}

/// A user of the site.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct User {
    /// The user's id.
    pub id: UserId,
    /// The name to sign in with.
    #[serde(default)]
    pub name: String,
    /// The name to show.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub full_name: Option<String>,
    /// The address for mail.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub email: Option<String>,
    /// What the user is here, for example `Creator` or `SiteAdministratorExplorer`.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub site_role: Option<String>,
    /// When the user was here last.
    #[serde(default, deserialize_with = "wire::de_moment")]
    pub last_login: Option<DateTime<Utc>>,
}

impl Wrapped for User {
    const PATH: &'static str = "users";
    const OUTER: &'static str = "users";
    const INNER: &'static str = "user";
}

/// A group of users.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// Its name.
    #[serde(default)]
    pub name: String,
}

impl Wrapped for Group {
    const PATH: &'static str = "groups";
    const OUTER: &'static str = "groups";
    const INNER: &'static str = "group";
}

/// A site.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Site {
    /// Its id.
    pub id: SiteId,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its part of addresses; empty for the default site.
    #[serde(default)]
    pub content_url: String,
    /// `Active` or `Suspended`.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub state: Option<String>,
    /// Whether extracts are encrypted at rest: `enforced`, `enabled` or `disabled`. For administrators.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub extract_encryption_mode: Option<String>,
}

impl Wrapped for Site {
    const PATH: &'static str = "sites";
    const OUTER: &'static str = "sites";
    const INNER: &'static str = "site";
    const OF_SERVER: bool = true;
}

/// A flow of Tableau Prep.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Flow {
    /// Its id.
    pub id: FlowId,
    /// Its name.
    #[serde(default)]
    pub name: String,
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

impl Wrapped for Flow {
    const PATH: &'static str = "flows";
    const OUTER: &'static str = "flows";
    const INNER: &'static str = "flow";
}

/// A run of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlowRun {
    /// Its id.
    pub id: FlowRunId,
    /// The flow.
    pub flow: Option<FlowId>,
    /// How it went, for example `Success`, `Failed` or `InProgress`.
    pub status: Option<String>,
    /// Per cent.
    pub progress: Option<u64>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// The job that did it.
    pub job: Option<JobId>,
}

impl FlowRun {
    fn read(value: &Value) -> Option<Self> {
        Some(Self {
            id: wire::text(value.get("id"))?.into(),
            flow: wire::text(value.get("flowId")).map(FlowId::from),
            status: wire::text(value.get("status")),
            progress: wire::count(value.get("progress")),
            started_at: wire::moment(value.get("startedAt")),
            completed_at: wire::moment(value.get("completedAt")),
            job: wire::text(value.get("backgroundJobId")).map(JobId::from),
        })
    }
}

macro_rules! readers {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            client: Client,
        }

        impl $name {
            pub(crate) fn new(client: Client) -> Self {
                Self { client }
            }
        }
    )+};
}

readers! {
    /// The views of the site.
    Views,
    /// The users of the site.
    Users,
    /// The groups of the site.
    Groups,
    /// The sites of the server.
    Sites,
    /// The flows of the site.
    Flows,
}

impl Views {
    /// Lists the views that the user can see.
    pub fn list(&self) -> Listing<View> {
        Listing::new(self.client.clone())
    }

    /// The views of a workbook.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is no such workbook (404006), and everything that can go
    /// wrong between here and the server.
    pub async fn of_workbook(&self, workbook: &WorkbookId) -> Result<Vec<View>> {
        let call = Call::get("list views", &["workbooks", workbook.as_str(), "views"])?;
        let answer = self.client.run(&call).await?;
        let value = answer.value()?;
        wire::entries(value.get("views"), "view").into_iter().map(|view| answer.read(view.clone())).collect()
    }

    /// What is known of a view.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when it does not exist or may not be seen.
    pub async fn get(&self, id: &ViewId) -> Result<View> {
        let call = Call::get("read view", &["views", id.as_str()])?;
        self.client.run(&call).await?.member("view")
    }

    /// The rows that a view shows, as CSV. The server counts this among the calls of which a site may make 20 at a time.
    ///
    /// # Errors
    /// As [`Views::get`].
    pub async fn data(&self, id: &ViewId) -> Result<Download> {
        Download::begin(&self.client, Call::get("read view data", &["views", id.as_str(), "data"])?).await
    }
}

impl Users {
    /// Lists the users of the site, as far as one may see them.
    pub fn list(&self) -> Listing<User> {
        Listing::new(self.client.clone())
    }

    /// What is known of a user.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is none of this id.
    pub async fn get(&self, id: &UserId) -> Result<User> {
        let call = Call::get("read user", &["users", id.as_str()])?;
        self.client.run(&call).await?.member("user")
    }
}

impl Groups {
    /// Lists the groups of the site.
    pub fn list(&self) -> Listing<Group> {
        Listing::new(self.client.clone())
    }

    /// Lists the users of a group.
    pub fn users(&self, id: &GroupId) -> Listing<User> {
        let path = ["groups", id.as_str(), "users"].map(str::to_owned).to_vec();
        Listing::at(self.client.clone(), path)
    }
}

impl Sites {
    /// Lists the sites of the server. On Cloud hardly anybody may (403069).
    pub fn list(&self) -> Listing<Site> {
        Listing::new(self.client.clone())
    }

    /// The site one is signed in to.
    ///
    /// # Errors
    /// Everything that can go wrong between here and the server.
    pub async fn current(&self) -> Result<Site> {
        let session = self.client.session().await?;
        let call = Call::new("read site", Method::GET, Scope::Server, &["sites", session.site_id.as_str()])?;
        self.client.run(&call).await?.member("site")
    }
}

impl Flows {
    /// Lists the flows that the user can see.
    pub fn list(&self) -> Listing<Flow> {
        Listing::new(self.client.clone())
    }

    /// The runs of flows, the newest of which the server keeps.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) before version 3.10 of the interface, and everything that can go
    /// wrong between here and the server.
    pub async fn runs(&self) -> Result<Vec<FlowRun>> {
        const OPERATION: &str = "list flow runs";
        self.client.require(OPERATION, ApiVersion::FLOW_RUNS).await?;
        let answer = self.client.run(&Call::get(OPERATION, &["flows", "runs"])?).await?;
        let value = answer.value()?;
        let runs = value.get("flowRuns");
        // The entries have the name of the list (observed in the XML form).
        let entries = ["flowRuns", "flowRun"].map(|name| wire::entries(runs, name)).concat();
        let read = |run| FlowRun::read(run).ok_or_else(|| answer.unfit("a run in the answer has no id"));
        entries.into_iter().map(read).collect()
    }

    /// What is known of a run.
    ///
    /// # Errors
    /// As [`Flows::runs`]; [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is none of this id.
    pub async fn run(&self, id: &FlowRunId) -> Result<FlowRun> {
        const OPERATION: &str = "read flow run";
        self.client.require(OPERATION, ApiVersion::FLOW_RUNS).await?;
        let answer = self.client.run(&Call::get(OPERATION, &["flows", "runs", id.as_str()])?).await?;
        let value = answer.value()?;
        let run = ["flowRun", "flowRuns"].into_iter().find_map(|name| value.get(name)).and_then(FlowRun::read);
        run.ok_or_else(|| answer.unfit("the run in the answer has no id"))
    }
}

/// The projects of a site with their place in the tree.
#[derive(Clone, Debug, Default)]
pub struct ProjectTree {
    projects: HashMap<ProjectId, Project>,
}

impl ProjectTree {
    pub(crate) fn new(projects: Vec<Project>) -> Self {
        Self { projects: projects.into_iter().map(|project| (project.id.clone(), project)).collect() }
    }

    /// A project by its id.
    pub fn get(&self, id: &ProjectId) -> Option<&Project> {
        self.projects.get(id)
    }

    /// How many projects there are.
    pub fn len(&self) -> usize {
        self.projects.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.projects.is_empty()
    }

    /// The projects in one, or at the top, by name. A project whose parent the user cannot see counts as one at the top.
    pub fn children(&self, parent: Option<&ProjectId>) -> Vec<&Project> {
        let seen =
            |project: &Project| project.parent_project_id.as_ref().filter(|id| self.projects.contains_key(id)).cloned();
        let mut children: Vec<&Project> =
            self.projects.values().filter(|project| seen(project).as_ref() == parent).collect();
        children.sort_by(|one, two| (&one.name, &one.id).cmp(&(&two.name, &two.id)));
        children
    }

    /// The names from the top down to a project.
    pub fn path(&self, id: &ProjectId) -> Vec<&str> {
        let mut path = Vec::new();
        let mut at = self.projects.get(id);
        while let Some(project) = at {
            path.push(project.name.as_str());
            // A server that closes a circle must not keep us in it.
            let up = project.parent_project_id.as_ref().filter(|_| path.len() <= self.projects.len());
            at = up.and_then(|parent| self.projects.get(parent));
        }
        path.reverse();
        path
    }
}
