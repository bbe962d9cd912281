//! What the server remembers: projects, datasources, workbooks, tasks, jobs, uploads, sessions.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value as Json;
use uuid::Uuid;

use super::wire::{Failure, Node};

/// Everything on the server but the files.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) id: String,
    pub(crate) content_url: String,
    /// How long behind a write its stamp moves once more.
    late_update: Duration,
    pub(crate) user: String,
    pub(crate) projects: Vec<Project>,
    pub(crate) datasources: Vec<Datasource>,
    pub(crate) workbooks: Vec<Workbook>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) users: Vec<User>,
    pub(crate) groups: Vec<Group>,
    pub(crate) schedules: Vec<Schedule>,
    pub(crate) webhooks: Vec<Webhook>,
    /// What webhooks were to be told: address and message.
    pub(crate) messages: Vec<(String, String)>,
    /// JWTs that were used.
    pub(crate) used: Vec<String>,
    /// A second site, which has nothing on it.
    pub(crate) other_id: String,
    pub(crate) jobs: Vec<Job>,
    pub(crate) uploads: HashMap<String, Upload>,
    pub(crate) sessions: HashMap<String, Session>,
    /// Jobs of updates by their request id: a repeated one runs once.
    pub(crate) requests: HashMap<String, String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// The personal access token it was opened with.
    pub(crate) token_name: Option<String>,
    /// Whether it is at the second site.
    pub(crate) elsewhere: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Project {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) parent: Option<String>,
}

/// A published datasource, as tests see it.
#[derive(Clone, Debug)]
pub struct Datasource {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its project.
    pub project_id: String,
    /// What its only connection leads to: `hyper` for a published extract.
    pub kind: String,
    /// The file, where it is an extract.
    pub file: Option<PathBuf>,
    /// How often it was published.
    pub revision: u32,
    /// How often it was refreshed.
    pub refreshes: u32,
    /// Its tags.
    pub tags: Vec<String>,
    /// Why somebody vouches for it, if somebody does.
    pub certified: Option<String>,
    /// Its owner, where it is not the user.
    pub owner: Option<String>,
    /// Who may do what: `user` or `group`, id, capability, mode.
    pub permissions: Vec<[String; 4]>,
    pub(crate) description: String,
    pub(crate) connection: Connection,
    /// Earlier files, by the number of their publish.
    pub(crate) earlier: Vec<(u32, PathBuf, DateTime<Utc>)>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// What a datasource connects to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connection {
    pub(crate) server: String,
    pub(crate) port: String,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) embed: bool,
}

impl Datasource {
    pub(crate) fn new(name: &str, project_id: &str, kind: &str) -> Self {
        let server = if kind == "hyper" { "localhost" } else { "db.example.com" };
        Self {
            id: fresh_id(),
            name: name.to_owned(),
            project_id: project_id.to_owned(),
            kind: kind.to_owned(),
            file: None,
            revision: 1,
            refreshes: 0,
            tags: Vec::new(),
            certified: None,
            owner: None,
            permissions: Vec::new(),
            description: String::new(),
            connection: Connection { server: server.to_owned(), ..Connection::default() },
            earlier: Vec::new(),
            created_at: Utc::now(),
            updated_at: Utc::now(),
        }
    }

    pub(crate) fn connection_id(&self) -> String {
        format!("{}-c", self.id)
    }

    pub(crate) fn connection_node(&self) -> Node {
        Node::new("connection")
            .with("id", self.connection_id())
            .with("type", &self.kind)
            .with("serverAddress", &self.connection.server)
            .with("serverPort", &self.connection.port)
            .with("userName", &self.connection.user)
            .with("embedPassword", self.connection.embed)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) role: &'static str,
}

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) members: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) priority: String,
    pub(crate) frequency: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Webhook {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) event: String,
    pub(crate) url: String,
    pub(crate) enabled: bool,
    pub(crate) reason: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Workbook {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) project_id: String,
    /// Name of the datasource that it reads.
    pub(crate) reads: String,
    pub(crate) refreshes: u32,
    pub(crate) updated_at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) id: String,
    pub(crate) datasource: String,
    pub(crate) kind: String,
    pub(crate) frequency: String,
    /// The schedule of a server that it runs on.
    pub(crate) schedule: Option<String>,
}

/// What a job is about.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    Publish { datasource: Box<Datasource> },
    Update { datasource: String, payload: Option<PathBuf>, actions: Vec<Json> },
    Refresh { datasource: Option<String>, workbook: Option<String>, incremental: bool },
}

impl Work {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Publish { .. } => "PublishDatasource",
            Self::Update { .. } => "UpdateUploadedFile",
            Self::Refresh { .. } => "RefreshExtract",
        }
    }

    pub(crate) fn is_refresh_of(&self, id: &str) -> bool {
        matches!(self, Self::Refresh { datasource, workbook, .. } if [datasource, workbook].into_iter().flatten().any(|its| its == id))
    }

    pub(crate) fn is_update_of(&self, id: &str) -> bool {
        matches!(self, Self::Update { datasource, .. } if datasource == id)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) work: Work,
    pub(crate) created: DateTime<Utc>,
    pub(crate) started: Option<DateTime<Utc>>,
    /// When it ended, and what went wrong.
    pub(crate) ended: Option<(DateTime<Utc>, Option<String>)>,
    pub(crate) cancelled: bool,
}

/// Blocks lie in files of their own, so that an upload takes no memory here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Upload {
    /// Blocks by their number, or in the order of their arrival; with their size.
    pub(crate) blocks: BTreeMap<u64, (PathBuf, u64)>,
}

impl Upload {
    pub(crate) fn bytes(&self) -> u64 {
        self.blocks.values().map(|(_, size)| size).sum()
    }

    /// In megabytes, at least one.
    pub(crate) fn size(&self) -> u64 {
        self.bytes().div_ceil(1 << 20).max(1)
    }
}

pub(crate) fn fresh_id() -> String {
    Uuid::new_v4().to_string()
}

pub(crate) fn tags(found: &Datasource) -> Node {
    Node::list("tags", found.tags.iter().map(|label| Node::new("tag").with("label", label)))
}

pub(crate) fn schedule_node(schedule: &Schedule) -> Node {
    Node::new("schedule")
        .with("id", &schedule.id)
        .with("name", &schedule.name)
        .with("state", &schedule.state)
        .with("priority", &schedule.priority)
        .with("type", "Extract")
        .with("frequency", &schedule.frequency)
        .with("executionOrder", "Parallel")
        .with("createdAt", "2026-11-01T00:00:00Z")
        .with("updatedAt", "2026-11-01T00:00:00Z")
        .with("nextRunAt", "2026-12-01T02:00:00Z")
}

pub(crate) fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl Site {
    pub(crate) fn new(content_url: &str, late_update: Duration) -> Self {
        let default = Project { id: fresh_id(), name: "Default".to_owned(), parent: None };
        let user = |name: &str, role| User { id: fresh_id(), name: name.to_owned(), role };
        let users = vec![user("demo", "SiteAdministratorCreator"), user("ann", "Explorer")];
        let me = users.first().map(|user| user.id.clone()).unwrap_or_default();
        let members = users.iter().map(|user| user.id.clone()).collect();
        Self {
            id: fresh_id(),
            content_url: content_url.to_owned(),
            late_update,
            user: me,
            users,
            groups: vec![Group { id: fresh_id(), name: "Finance".to_owned(), members }],
            schedules: Vec::new(),
            webhooks: Vec::new(),
            messages: Vec::new(),
            used: Vec::new(),
            other_id: fresh_id(),
            projects: vec![default],
            datasources: Vec::new(),
            workbooks: Vec::new(),
            tasks: Vec::new(),
            jobs: Vec::new(),
            uploads: HashMap::new(),
            sessions: HashMap::new(),
            requests: HashMap::new(),
        }
    }

    pub(crate) fn project(&self, id: &str) -> Result<&Project, Failure> {
        self.projects.iter().find(|project| project.id == id).ok_or_else(|| Failure::not_found("404005", "project"))
    }

    /// The id of the project at a path; made where it is missing.
    pub(crate) fn project_at(&mut self, path: &str) -> String {
        let mut parent: Option<String> = None;
        for name in path.split('/') {
            let found = self.projects.iter().find(|project| project.name == name && project.parent == parent);
            let id = found.map_or_else(fresh_id, |project| project.id.clone());
            if found.is_none() {
                self.projects.push(Project { id: id.clone(), name: name.to_owned(), parent: parent.clone() });
            }
            parent = Some(id);
        }
        parent.unwrap_or_default()
    }

    pub(crate) fn datasource(&self, id: &str) -> Result<&Datasource, Failure> {
        self.datasources.iter().find(|found| found.id == id).ok_or_else(|| Failure::not_found("404004", "data source"))
    }

    pub(crate) fn datasource_mut(&mut self, id: &str) -> Option<&mut Datasource> {
        self.datasources.iter_mut().find(|found| found.id == id)
    }

    pub(crate) fn named(&self, project: &str, name: &str) -> Option<&Datasource> {
        let name = name.to_lowercase();
        self.datasources.iter().find(|found| found.project_id == project && found.name.to_lowercase() == name)
    }

    pub(crate) fn project_node(project: &Project) -> Node {
        Node::new("project")
            .with("id", &project.id)
            .with("name", &project.name)
            .with("description", "")
            .with("contentPermissions", "ManagedByOwner")
            .maybe("parentProjectId", project.parent.as_ref())
    }

    fn project_ref(&self, id: &str) -> Node {
        let name = self.project(id).map(|project| project.name.clone()).unwrap_or_default();
        Node::new("project").with("id", id).with("name", name)
    }

    /// What is told of the last write.
    fn shown(&self, updated_at: DateTime<Utc>) -> DateTime<Utc> {
        let late = updated_at + self.late_update;
        if late <= Utc::now() { late } else { updated_at }
    }

    pub(crate) fn datasource_node(&self, found: &Datasource) -> Node {
        let size =
            found.file.as_ref().and_then(|file| file.metadata().ok()).map_or(1, |file| file.len().div_ceil(1 << 20));
        Node::new("datasource")
            .with("id", &found.id)
            .with("name", &found.name)
            .with("contentUrl", found.name.replace(' ', ""))
            .with("description", &found.description)
            .with("type", &found.kind)
            .with("hasExtracts", true)
            .with("isCertified", found.certified.is_some())
            .maybe("certificationNote", found.certified.as_ref())
            .with("size", size.max(1))
            .with("createdAt", moment(found.created_at))
            .with("updatedAt", moment(self.shown(found.updated_at)))
            .child(self.project_ref(&found.project_id))
            .child(Node::new("owner").with("id", found.owner.as_ref().unwrap_or(&self.user)))
            .child(tags(found))
    }

    pub(crate) fn workbook_node(&self, found: &Workbook) -> Node {
        Node::new("workbook")
            .with("id", &found.id)
            .with("name", &found.name)
            .with("contentUrl", found.name.replace(' ', ""))
            .with("description", format!("reads {}", found.reads))
            .with("updatedAt", moment(found.updated_at))
            .child(self.project_ref(&found.project_id))
            .child(Node::new("owner").with("id", &self.user))
    }

    pub(crate) fn task_node(&self, task: &Task) -> Node {
        let schedule = task.schedule.as_ref().and_then(|id| self.schedules.iter().find(|schedule| schedule.id == *id));
        let refresh = Node::new("extractRefresh")
            .with("id", &task.id)
            .with("priority", 50)
            .with("consecutiveFailedCount", 0)
            .with(
                "type",
                if task.kind == "IncrementalRefresh" { "IncrementExtractTask" } else { "RefreshExtractTask" },
            );
        // Schedules of Cloud have neither id nor name.
        let schedule = match schedule {
            Some(schedule) => schedule_node(schedule),
            None => Node::new("schedule").with("frequency", &task.frequency),
        };
        let refresh = refresh.child(schedule).child(Node::new("datasource").with("id", &task.datasource));
        Node::new("task").child(refresh)
    }

    /// A job as lists show it.
    pub(crate) fn background_node(&self, job: &Job) -> (Vec<(&'static str, String)>, Node) {
        let status = match (&job.ended, job.cancelled, &job.started) {
            (Some(_), true, _) => "Cancelled",
            (Some((_, Some(_))), ..) => "Failed",
            (Some((_, None)), ..) => "Success",
            (None, _, Some(_)) => "InProgress",
            (None, _, None) => "Pending",
        };
        let (kind, target) = match &job.work {
            Work::Publish { datasource } => ("publish_datasource", datasource.name.clone()),
            Work::Update { datasource, .. } => ("update_uploaded_file", self.name_of(datasource)),
            Work::Refresh { datasource, workbook, .. } => {
                let id = datasource.as_ref().or(workbook.as_ref());
                ("refresh_extracts", id.map(|id| self.name_of(id)).unwrap_or_default())
            }
        };
        let node = Node::new("backgroundJob")
            .with("id", &job.id)
            .with("status", status)
            .with("jobType", kind)
            .with("title", &target)
            .with("priority", 50)
            .with("createdAt", moment(job.created))
            .maybe("startedAt", job.started.map(moment))
            .maybe("endedAt", job.ended.as_ref().map(|(at, _)| moment(*at)));
        (vec![("status", status.to_owned()), ("jobType", kind.to_owned()), ("title", target)], node)
    }

    fn name_of(&self, id: &str) -> String {
        let datasource = self.datasources.iter().find(|found| found.id == id).map(|found| found.name.clone());
        let workbook = || self.workbooks.iter().find(|found| found.id == id).map(|found| found.name.clone());
        datasource.or_else(workbook).unwrap_or_default()
    }

    /// Notes what webhooks of an event would be told.
    pub(crate) fn tell(&mut self, event: &str, resource: &str, id: &str) {
        let message = serde_json::json!({
            "resource": resource, "event_type": event, "resource_name": self.name_of(id), "site_luid": self.id,
            "resource_luid": id, "created_at": moment(Utc::now()), "text": format!("{event} of {}", self.name_of(id)),
        });
        let told = self.webhooks.iter().filter(|hook| hook.enabled && hook.event == event);
        let messages: Vec<(String, String)> = told.map(|hook| (hook.url.clone(), message.to_string())).collect();
        self.messages.extend(messages);
    }

    pub(crate) fn job_node(&self, job: &Job) -> Node {
        let ended = job.ended.as_ref();
        let progress = if ended.is_some() {
            100
        } else if job.started.is_some() {
            50
        } else {
            0
        };
        let code = match ended {
            Some(_) if job.cancelled => Some(2),
            Some((_, Some(_))) => Some(1),
            Some((_, None)) => Some(0),
            // Publish jobs say 1 while they run; others say nothing.
            None => matches!(job.work, Work::Publish { .. }).then_some(1),
        };
        let node = Node::new("job")
            .with("id", &job.id)
            .with("mode", "Asynchronous")
            .with("type", job.work.kind())
            .with("progress", progress)
            .with("createdAt", moment(job.created))
            .maybe("startedAt", job.started.map(moment))
            .maybe("completedAt", ended.map(|(at, _)| moment(*at)))
            .maybe("finishCode", code);
        let notes = ended.and_then(|(_, error)| error.clone());
        let name = |id: &str| self.datasource(id).map(|found| found.name.clone()).unwrap_or_default();
        match &job.work {
            Work::Publish { .. } => match notes {
                Some(notes) => node.child(Node::list(
                    "statusNotes",
                    [Node::new("statusNote").with("type", "errorMessage").with("value", "").with("text", notes)],
                )),
                None => node,
            },
            Work::Update { datasource, .. } => node.child(
                Node::new("updateUploadedFileJob")
                    .maybe("notes", notes)
                    .child(Node::new("datasource").with("id", datasource).with("name", name(datasource))),
            ),
            Work::Refresh { datasource, workbook, incremental } => {
                let target = match (datasource, workbook) {
                    (Some(id), _) => {
                        let target = Node::new("datasource").with("id", id).with("name", name(id));
                        target.maybe("incremental", incremental.then_some(true))
                    }
                    (None, id) => Node::new("workbook").with("id", id.clone().unwrap_or_default()),
                };
                node.child(Node::new("extractRefreshJob").maybe("notes", notes).child(target))
            }
        }
    }
}
