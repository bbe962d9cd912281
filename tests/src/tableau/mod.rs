//! A stateful Tableau: the REST interface over one site, with files that are real extracts.
//!
//! It shares no code with the clients; of ours it uses only what starts Tableau's own engine. It speaks XML and JSON, so that
//! Tableau's own Python client works with it as well.

mod content;
mod extract;
mod jobs;
mod listing;
mod manage;
mod publish;
mod session;
mod site;
mod state;
mod switches;
mod webhooks;
mod wire;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response};
use chrono::Utc;
use percent_encoding::percent_decode_str;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use self::extract::Extracts;
use self::site::{Project, Site, Task, Work, Workbook, fresh_id};
use self::wire::{Failure, Language, Node};
use crate::faults::{self, Faults, plain};

pub use self::site::Datasource;
pub use self::switches::Switches;

#[derive(Clone)]
struct Secrets {
    token_name: String,
    token_secret: String,
    /// Names and secrets of further tokens.
    more_tokens: Vec<(String, String)>,
    user: String,
    password: String,
    app_secret: String,
    /// What every session token begins with, up to the site; a new one each time when none.
    session: Option<String>,
}

struct Shared {
    site: Mutex<Site>,
    directory: TempDir,
    extracts: Extracts,
    secrets: Secrets,
    switches: Switches,
    faults: Faults,
    failing_refreshes: Mutex<Vec<String>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Query = HashMap<String, String>;
/// Status and top-level elements.
type Reply = Result<(u16, Vec<Node>), Failure>;

/// A running simulator. Dropping it stops it and removes its files.
pub struct TableauSim {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for TableauSim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableauSim").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Builds a [`TableauSim`].
#[must_use]
pub struct TableauSimBuilder {
    site: String,
    secrets: Secrets,
    switches: Switches,
}

impl std::fmt::Debug for TableauSimBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableauSimBuilder").field("site", &self.site).finish_non_exhaustive()
    }
}

impl TableauSimBuilder {
    /// The content url of the site; `finance` unless set.
    pub fn site(mut self, content_url: impl Into<String>) -> Self {
        self.site = content_url.into();
        self
    }

    /// The personal access token that is right.
    pub fn token(mut self, name: impl Into<String>, secret: impl Into<String>) -> Self {
        (self.secrets.token_name, self.secrets.token_secret) = (name.into(), secret.into());
        self
    }

    /// Another personal access token that is right; each has a session of its own.
    pub fn another_token(mut self, name: impl Into<String>, secret: impl Into<String>) -> Self {
        self.secrets.more_tokens.push((name.into(), secret.into()));
        self
    }

    /// The user that is right.
    pub fn user(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        (self.secrets.user, self.secrets.password) = (user.into(), password.into());
        self
    }

    /// The secret of the connected app.
    pub fn app_secret(mut self, secret: impl Into<String>) -> Self {
        self.secrets.app_secret = secret.into();
        self
    }

    /// What every session token is, but for the site's id behind it, instead of a new one each time: so that it can be looked for.
    pub fn session_token(mut self, token: impl Into<String>) -> Self {
        self.secrets.session = Some(token.into());
        self
    }

    /// Sets switches.
    pub fn switches(mut self, change: impl FnOnce(&mut Switches)) -> Self {
        change(&mut self.switches);
        self
    }

    /// Starts it on a free port of this machine.
    ///
    /// # Errors
    /// When there is none, or no room for files.
    pub async fn start(self) -> io::Result<TableauSim> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            site: Mutex::new(Site::new(&self.site, self.switches.late_update)),
            directory: tempfile::Builder::new().prefix("kt-tableau-").tempdir()?,
            extracts: Extracts::default(),
            secrets: self.secrets,
            switches: self.switches,
            faults: Faults::default(),
            failing_refreshes: Mutex::default(),
        });
        let app = axum::Router::new().fallback(serve).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            // It ends with the simulator.
            let _ = axum::serve(listener, app).await;
        });
        Ok(TableauSim { shared, address, task })
    }
}

impl TableauSim {
    /// A simulator with demo credentials and default switches.
    pub fn builder() -> TableauSimBuilder {
        let secrets = Secrets {
            token_name: "kinetic-sync".to_owned(),
            token_secret: "demo-tableau-pat-secret-8d2e".to_owned(),
            more_tokens: Vec::new(),
            user: "demo".to_owned(),
            password: "demo-tableau-password-94bb".to_owned(),
            app_secret: session::APP_SECRET.to_owned(),
            session: None,
        };
        TableauSimBuilder { site: "finance".to_owned(), secrets, switches: Switches::default() }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The content url of its site.
    pub fn site(&self) -> String {
        locked(&self.shared.site).content_url.clone()
    }

    /// Name of the personal access token.
    pub fn pat_name(&self) -> &str {
        &self.shared.secrets.token_name
    }

    /// Secret of the personal access token.
    pub fn pat_secret(&self) -> &str {
        &self.shared.secrets.token_secret
    }

    /// The user.
    pub fn user(&self) -> &str {
        &self.shared.secrets.user
    }

    /// The user's password.
    pub fn password(&self) -> &str {
        &self.shared.secrets.password
    }

    /// The faults to come and the requests so far.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Ends all sessions, as after a restart of the server.
    pub fn expire_sessions(&self) {
        locked(&self.shared.site).sessions.clear();
    }

    /// Lets the next refresh fail with a note.
    pub fn fail_next_refresh(&self, note: impl Into<String>) {
        locked(&self.shared.failing_refreshes).push(note.into());
    }

    /// Adds a datasource with an upstream connection, in a project path, and answers its id.
    pub fn add_datasource_with_upstream(&self, project: &str, name: &str) -> String {
        let mut site = locked(&self.shared.site);
        let project_id = site.project_at(project);
        let id = fresh_id();
        site.datasources.push(Datasource { id: id.clone(), ..Datasource::new(name, &project_id, "sqlserver") });
        id
    }

    /// Adds a second datasource of the same name beside one that is there.
    pub fn duplicate_datasource(&self, name: &str) {
        let mut site = locked(&self.shared.site);
        let Some(copy) = site.datasources.iter().find(|found| found.name == name).cloned() else { return };
        site.datasources.push(Datasource { id: fresh_id(), ..copy });
    }

    /// Adds a workbook with an extract of a datasource, in a project path, and answers its id.
    pub fn add_workbook(&self, project: &str, name: &str, datasource: &str) -> String {
        let mut site = locked(&self.shared.site);
        let (project_id, id) = (site.project_at(project), fresh_id());
        site.workbooks.push(Workbook {
            id: id.clone(),
            name: name.to_owned(),
            project_id,
            reads: datasource.to_owned(),
            refreshes: 0,
            updated_at: Utc::now(),
        });
        id
    }

    /// Adds a task that refreshes a datasource, and answers its id.
    pub fn add_task(&self, datasource: &str) -> String {
        let id = fresh_id();
        locked(&self.shared.site).tasks.push(Task {
            id: id.clone(),
            datasource: datasource.to_owned(),
            kind: "FullRefresh".to_owned(),
            frequency: "Daily".to_owned(),
            schedule: None,
        });
        id
    }

    /// A datasource by project path and name.
    pub fn datasource(&self, project: &str, name: &str) -> Option<Datasource> {
        let mut site = locked(&self.shared.site);
        let project = site.project_at(project);
        site.named(&project, name).cloned()
    }

    /// The file of a published extract, by project path and name. Read a copy: the engine locks what it reads.
    pub fn landed_file(&self, project: &str, name: &str) -> Option<PathBuf> {
        self.datasource(project, name)?.file
    }

    /// The file of a published extract, by its name alone.
    pub fn extract_path(&self, name: &str) -> Option<PathBuf> {
        locked(&self.shared.site).datasources.iter().find(|found| found.name == name)?.file.clone()
    }

    /// Takes a datasource away, as somebody with the rights might.
    pub fn remove_datasource(&self, id: &str) {
        locked(&self.shared.site).datasources.retain(|found| found.id != id);
    }

    /// What webhooks were to be told so far, and takes it away: address and message.
    pub fn take_webhook_messages(&self) -> Vec<(String, String)> {
        std::mem::take(&mut locked(&self.shared.site).messages)
    }

    /// Client id, secret id and secret value of a connected app, and the user it may act as.
    pub fn connected_app(&self) -> (&str, &str, &str, &str) {
        (session::APP, session::APP_KEY, &self.shared.secrets.app_secret, &self.shared.secrets.user)
    }

    /// How often a workbook was refreshed.
    pub fn workbook_refreshes(&self, id: &str) -> u32 {
        locked(&self.shared.site).workbooks.iter().find(|found| found.id == id).map_or(0, |found| found.refreshes)
    }
}

impl Drop for TableauSim {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn pairs(query: &str) -> Query {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let effect = shared.faults.meet(&format!("{} {target}", head.method));
    if let Some(response) = effect.as_ref().and_then(faults::instead) {
        return response;
    }
    let body = axum::body::to_bytes(body, 200 << 20).await.unwrap_or_default();
    if let Some(response) = faults::echo(effect.as_ref(), &head, &body) {
        return response;
    }
    let language = Language::of(&head.headers, shared.switches.messy);
    let query = pairs(head.uri.query().unwrap_or_default());
    let segments: Vec<String> = head
        .uri
        .path()
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let file = match segments.as_slice() {
        ["api", _, "sites", _, "datasources", id, "content"] => {
            Some(manage::download(&shared, &head.headers, id, None))
        }
        ["api", _, "sites", _, "datasources", id, "revisions", number, "content"] => {
            Some(manage::download(&shared, &head.headers, id, number.parse().ok()))
        }
        ["api", _, "sites", _, "views", id, "data"] => Some(content::view_data(&shared, &head.headers, id)),
        _ => None,
    };
    let response = if let Some(file) = file {
        file.unwrap_or_else(|failure| failure.response(language))
    } else {
        match route(&shared, &head.method, &segments, &query, &head.headers, &body).await {
            Ok((204, _)) => plain(204, "text/plain", Body::empty()),
            Ok((status, nodes)) => language.answer(status, &nodes),
            Err(failure) => failure.response(language),
        }
    };
    faults::spoil(effect, response).await
}

/// Newer versions of the interface than the server's are unknown to it.
fn check_version(shared: &Shared, version: &str) -> Result<(), Failure> {
    let numbers = |text: &str| {
        text.split_once('.').and_then(|(one, two)| Some((one.parse::<u32>().ok()?, two.parse::<u32>().ok()?)))
    };
    match (numbers(version), numbers(&shared.switches.version)) {
        (Some(asked), Some(known)) if asked <= known => Ok(()),
        _ => Err(Failure::not_found("404000", "version of the interface")),
    }
}

async fn route(
    shared: &Arc<Shared>,
    method: &Method,
    segments: &[&str],
    query: &Query,
    headers: &HeaderMap,
    body: &[u8],
) -> Reply {
    let ["api", version, rest @ ..] = segments else { return Err(Failure::not_found("404000", "page")) };
    check_version(shared, version)?;
    match (method.as_str(), rest) {
        ("GET", [info]) if info.eq_ignore_ascii_case("serverinfo") => return Ok((200, vec![shared.server_info()])),
        ("POST", ["auth", "signin"]) => return shared.sign_in(headers, body),
        _ => {}
    }
    let token = shared.check_session(headers)?;
    let site = match rest {
        ["auth", "signout"] => {
            locked(&shared.site).sessions.remove(&token);
            return Ok((204, Vec::new()));
        }
        ["auth", "switchSite"] => return shared.switch_site(&token, &wire::read(headers, body)?),
        ["sessions", "current"] => return Ok((200, vec![shared.session_node(&token)])),
        ["schedules", below @ ..] => return shared.schedules(method, below, query, &wire::read(headers, body)?),
        ["sites"] => return shared.sites(query),
        ["sites", site, ..] => *site,
        _ => return Err(Failure::not_found("404000", "page")),
    };
    if site != locked(&shared.site).id || !shared.is_at_home(&token) {
        return Err(Failure::not_found("404000", "site"));
    }
    let rest = rest.get(2..).unwrap_or_default();
    let tree = || wire::read(headers, body);
    match (method.as_str(), rest) {
        ("GET", []) => Ok((200, vec![shared.site_node()])),
        ("POST", ["datasources"]) => publish::publish(shared, query, headers, body).await,
        ("POST", ["fileUploads"]) => Ok(publish::begin_upload(shared)),
        ("PUT", ["fileUploads", id]) => publish::append(shared, id, query, headers, body),
        ("PATCH", ["datasources", id, "data"] | ["datasources", id, "connections", _, "data"]) => {
            publish::update(shared, id, query, headers, &tree()?)
        }
        ("POST", ["datasources", id, "refresh"]) => shared.refresh_datasource(id, &tree()?),
        ("POST", ["workbooks", id, "refresh"]) => shared.refresh_workbook(id),
        ("POST", ["tasks", "extractRefreshes", id, "runNow"]) => {
            let datasource =
                locked(&shared.site).tasks.iter().find(|task| task.id == *id).map(|task| task.datasource.clone());
            let datasource = datasource.ok_or_else(|| Failure::not_found("404026", "task"))?;
            shared.refresh_datasource(&datasource, &serde_json::Value::Null)
        }
        ("POST" | "DELETE", ["tasks", "extractRefreshes", below @ ..]) => shared.tasks(method, below, &tree()?),
        ("PUT", ["schedules", id, "datasources"]) => shared.add_to_schedule(id, &tree()?),
        ("POST" | "PUT" | "DELETE", ["webhooks", below @ ..]) => shared.webhooks(method, below, &tree()?),
        ("POST", ["projects"]) => shared.create_project(&tree()?),
        ("GET", _) => shared.read(rest, query),
        ("PUT", ["jobs", id]) => shared.cancel(id),
        ("PUT" | "DELETE", ["datasources", id, below @ ..]) => shared.manage(method, id, below, &tree()?),
        _ => Err(Failure::not_found("404000", "page")),
    }
}

impl Shared {
    fn server_info(&self) -> Node {
        let text = |name, value: &str| Node::text(name, value);
        Node::new("serverInfo")
            .child(text("productVersion", "2026.2.0").with("build", "20262.26.1101.0000"))
            .child(text("restApiVersion", &self.switches.version))
    }

    fn create_project(&self, request: &serde_json::Value) -> Reply {
        let name = wire::text(request, &["project", "name"]).unwrap_or_default();
        if name.trim().is_empty() {
            return Err(Failure::new("400003", "Bad Request", "The project has no name."));
        }
        let parent = wire::text(request, &["project", "parentProjectId"]).map(str::to_owned);
        let mut site = locked(&self.site);
        if let Some(parent) = &parent {
            site.project(parent)?;
        }
        let same = |project: &Project| project.parent == parent && project.name.eq_ignore_ascii_case(name);
        if site.projects.iter().any(same) {
            return Err(Failure::new("409006", "Resource Conflict", "A project of this name exists already."));
        }
        let project = Project { id: fresh_id(), name: name.to_owned(), parent };
        let node = Site::project_node(&project);
        site.projects.push(project);
        Ok((201, vec![node]))
    }

    fn refresh_datasource(self: &Arc<Self>, id: &str, request: &serde_json::Value) -> Reply {
        let incremental = wire::truth(request, &["extractRefresh", "incremental"]).unwrap_or(false);
        {
            let site = locked(&self.site);
            if site.datasource(id)?.kind == "hyper" {
                let detail = "The data source has no upstream connection to refresh from.";
                return Err(Failure::new("403104", "Forbidden", detail));
            }
        }
        self.start_refresh(id, Work::Refresh { datasource: Some(id.to_owned()), workbook: None, incremental })
    }

    fn refresh_workbook(self: &Arc<Self>, id: &str) -> Reply {
        if !locked(&self.site).workbooks.iter().any(|found| found.id == id) {
            return Err(Failure::not_found("404006", "workbook"));
        }
        self.start_refresh(id, Work::Refresh { datasource: None, workbook: Some(id.to_owned()), incremental: false })
    }

    fn start_refresh(self: &Arc<Self>, id: &str, work: Work) -> Reply {
        if locked(&self.site).jobs.iter().any(|job| job.ended.is_none() && job.work.is_refresh_of(id)) {
            return Err(Failure::new(
                "409093",
                "Resource Conflict",
                "Job for the extract is already queued or running.",
            ));
        }
        let job = jobs::start(self, work);
        Ok((202, vec![self.job(&job)?]))
    }

    fn job(&self, id: &str) -> Result<Node, Failure> {
        let site = locked(&self.site);
        let job = site.jobs.iter().find(|job| job.id == id).ok_or_else(|| Failure::not_found("404018", "job"))?;
        Ok(site.job_node(job))
    }

    fn cancel(&self, id: &str) -> Reply {
        let mut site = locked(&self.site);
        let job = site.jobs.iter_mut().find(|job| job.id == id).ok_or_else(|| Failure::not_found("404018", "job"))?;
        if job.ended.is_some() {
            return Err(Failure::new("403091", "Forbidden", "The job is done."));
        }
        if !matches!(job.work, Work::Refresh { .. }) {
            return Err(Failure::new("403081", "Forbidden", "Jobs of this kind cannot be cancelled."));
        }
        job.cancelled = true;
        job.ended = Some((Utc::now(), None));
        Ok((200, Vec::new()))
    }

    fn read(&self, rest: &[&str], query: &Query) -> Reply {
        let site = locked(&self.site);
        match rest {
            ["projects"] => {
                let found = site.projects.iter().map(|project| {
                    let parent = project.parent.clone().unwrap_or_default();
                    (vec![("name", project.name.clone()), ("parentProjectId", parent)], Site::project_node(project))
                });
                listing::page("projects", found.collect(), query)
            }
            ["datasources"] => {
                let found = site.datasources.iter().map(|found| {
                    let project =
                        site.project(&found.project_id).map(|project| project.name.clone()).unwrap_or_default();
                    let fields =
                        vec![("name", found.name.clone()), ("projectName", project), ("type", found.kind.clone())];
                    (fields, site.datasource_node(found))
                });
                listing::page("datasources", found.collect(), query)
            }
            ["workbooks"] => {
                let found =
                    site.workbooks.iter().map(|found| (vec![("name", found.name.clone())], site.workbook_node(found)));
                listing::page("workbooks", found.collect(), query)
            }
            ["datasources", id] => Ok((200, vec![site.datasource_node(site.datasource(id)?)])),
            ["datasources", id, below @ ..] => manage::read(&site, site.datasource(id)?, below),
            ["tasks", "extractRefreshes"] => {
                Ok((200, vec![Node::list("tasks", site.tasks.iter().map(|task| site.task_node(task)))]))
            }
            ["tasks", "extractRefreshes", id] => {
                let task = site.tasks.iter().find(|task| task.id == *id);
                Ok((200, vec![site.task_node(task.ok_or_else(|| Failure::not_found("404026", "task"))?)]))
            }
            ["jobs"] if self.switches.jobs_visible => {
                let jobs = site.jobs.iter().map(|job| site.background_node(job)).collect();
                listing::page("backgroundJobs", jobs, query)
            }
            ["jobs", ..] if !self.switches.jobs_visible => {
                Err(Failure::new("403004", "Forbidden", "Only administrators may query jobs."))
            }
            ["jobs", id] => {
                drop(site);
                Ok((200, vec![self.job(id)?]))
            }
            _ => content::read(&site, rest, query),
        }
    }
}
