//! What lies on the server, in words that do not depend on ids or the clock: for comparing what two clients leave behind.

use serde_json::{Value as Json, json};

use super::site::{Datasource, Site};
use super::{TableauSim, locked};

impl TableauSim {
    /// Everything that clients can change: projects, datasources with all that belongs to them, tasks, schedules, webhooks, and how
    /// many sessions and unused uploads are left.
    pub fn state(&self) -> Json {
        let site = locked(&self.shared.site);
        let mut projects: Vec<String> = site.projects.iter().map(|project| path(&site, &project.id)).collect();
        projects.sort();
        let mut datasources: Vec<Json> = site.datasources.iter().map(|found| datasource(&site, found)).collect();
        datasources.sort_by_key(ToString::to_string);
        let tasks: Vec<Json> = site
            .tasks
            .iter()
            .map(|task| {
                let schedule =
                    task.schedule.as_ref().and_then(|id| site.schedules.iter().find(|found| found.id == *id));
                let of = site.datasources.iter().find(|found| found.id == task.datasource).map(|found| &found.name);
                json!({ "of": of, "kind": task.kind, "schedule": schedule.map(|schedule| &schedule.name) })
            })
            .collect();
        let schedules: Vec<Json> = site
            .schedules
            .iter()
            .map(|found| {
                json!({ "name": found.name, "state": found.state, "priority": found.priority, "frequency": found.frequency })
            })
            .collect();
        let webhooks: Vec<Json> = site
            .webhooks
            .iter()
            .map(
                |found| json!({ "name": found.name, "event": found.event, "url": found.url, "enabled": found.enabled }),
            )
            .collect();
        json!({
            "projects": projects, "datasources": datasources, "tasks": tasks, "schedules": schedules,
            "webhooks": webhooks, "sessions": site.sessions.len(), "uploads": site.uploads.len(),
        })
    }
}

fn path(site: &Site, id: &str) -> String {
    let mut names = Vec::new();
    let mut at = site.project(id).ok();
    while let Some(project) = at {
        names.push(project.name.clone());
        at = project.parent.as_ref().and_then(|parent| site.project(parent).ok());
    }
    names.reverse();
    names.join("/")
}

fn datasource(site: &Site, found: &Datasource) -> Json {
    let user = |id: &str| site.users.iter().find(|user| user.id == id).map(|user| user.name.clone());
    let group = |id: &str| site.groups.iter().find(|group| group.id == id).map(|group| group.name.clone());
    let mut permissions: Vec<String> = found
        .permissions
        .iter()
        .map(|[kind, id, capability, mode]| {
            let name = if kind == "user" { user(id) } else { group(id) };
            format!("{mode} {kind} {} {capability}", name.unwrap_or_default())
        })
        .collect();
    permissions.sort();
    let mut tags = found.tags.clone();
    tags.sort();
    let connection = &found.connection;
    json!({
        "name": found.name, "project": path(site, &found.project_id), "kind": found.kind, "published": found.revision,
        "refreshed": found.refreshes, "tags": tags, "certified": found.certified,
        "owner": found.owner.as_deref().map_or(Some("demo".to_owned()), user), "permissions": permissions,
        "connection": [connection.server, connection.port, connection.user, connection.password],
        "embedded": connection.embed, "description": found.description,
    })
}
