//! Datasources besides their rows: names, owners, tags, permissions, connections, revisions.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Response, header};
use chrono::Utc;
use serde_json::Value as Json;

use super::site::{Datasource, Site, moment, tags};
use super::wire::{self, Failure, Node};
use super::{Reply, Shared, locked};
use crate::faults::plain;

/// The file of a datasource, or of an earlier publish of it.
pub(super) fn download(
    shared: &Shared,
    headers: &HeaderMap,
    id: &str,
    revision: Option<u32>,
) -> Result<Response<Body>, Failure> {
    shared.check_session(headers)?;
    let found = locked(&shared.site).datasource(id)?.clone();
    let file = match revision {
        Some(number) if number != found.revision => {
            let earlier = found.earlier.iter().find(|(its, ..)| *its == number).map(|(_, file, _)| file.clone());
            Some(earlier.ok_or_else(|| Failure::not_found("404024", "revision"))?)
        }
        _ => found.file,
    };
    let file = file.ok_or_else(|| Failure::not_found("404004", "extract"))?;
    let content = std::fs::read(&file).map_err(|_| Failure::not_found("404004", "extract"))?;
    let mut response = plain(200, "application/octet-stream", content);
    let disposition = format!("name=\"tableau_datasource\"; filename=\"{}.hyper\"", found.id);
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

pub(super) fn read(site: &Site, found: &Datasource, below: &[&str]) -> Reply {
    match below {
        ["connections"] => Ok((200, vec![Node::list("connections", [found.connection_node()])])),
        ["permissions"] => Ok((200, vec![permissions(found)])),
        ["revisions"] => {
            let earlier = found.earlier.iter().map(|(number, _, at)| (*number, *at, false));
            let all = earlier.chain([(found.revision, found.updated_at, true)]);
            let revisions = all.map(|(number, at, current)| {
                Node::new("revision")
                    .with("revisionNumber", number)
                    .with("publishedAt", moment(at))
                    .with("current", current)
                    .with("deleted", false)
                    .child(Node::new("publisher").with("id", &site.user).with("name", "demo"))
            });
            Ok((200, vec![Node::list("revisions", revisions)]))
        }
        _ => Err(Failure::not_found("404000", "page")),
    }
}

fn permissions(found: &Datasource) -> Node {
    let mut who: Vec<(&str, &str)> = Vec::new();
    for [kind, id, ..] in &found.permissions {
        if !who.contains(&(kind.as_str(), id.as_str())) {
            who.push((kind.as_str(), id.as_str()));
        }
    }
    let rules = who.into_iter().map(|(kind, id)| {
        let its = found.permissions.iter().filter(|[its_kind, its_id, ..]| its_kind == kind && its_id == id);
        let capabilities = its.map(|[_, _, name, mode]| Node::new("capability").with("name", name).with("mode", mode));
        Node::new("granteeCapabilities")
            .child(Node::new(if kind == "user" { "user" } else { "group" }).with("id", id))
            .child(Node::list("capabilities", capabilities))
    });
    Node::list("permissions", rules)
}

impl Shared {
    /// `PUT` and `DELETE` below a datasource.
    pub(super) fn manage(&self, method: &Method, id: &str, below: &[&str], request: &Json) -> Reply {
        let mut site = locked(&self.site);
        site.datasource(id)?;
        match (method.as_str(), below) {
            ("DELETE", []) => {
                site.tell("DatasourceDeleted", "DATASOURCE", id);
                site.datasources.retain(|found| found.id != id);
                return Ok((204, Vec::new()));
            }
            ("PUT", []) => {
                change(&mut site, id, request)?;
                site.tell("DatasourceUpdated", "DATASOURCE", id);
                return Ok((200, vec![site.datasource_node(site.datasource(id)?)]));
            }
            _ => {}
        }
        let Some(found) = site.datasource_mut(id) else { return Err(Failure::not_found("404004", "data source")) };
        match (method.as_str(), below) {
            ("PUT", ["tags"]) => {
                for tag in wire::entries(request, &["tags", "tag"]) {
                    let label = wire::text(tag, &["label"]).unwrap_or_default().trim_matches('"').to_owned();
                    if !found.tags.contains(&label) {
                        found.tags.push(label);
                    }
                }
                Ok((200, vec![tags(found)]))
            }
            ("DELETE", ["tags", label]) => {
                let before = found.tags.len();
                found.tags.retain(|tag| tag != label.trim_matches('"'));
                if found.tags.len() == before {
                    Err(Failure::not_found("404007", "tag"))
                } else {
                    Ok((204, Vec::new()))
                }
            }
            ("PUT", ["permissions"]) => add_permissions(found, request),
            ("DELETE", ["permissions", kind, who, capability, mode]) => {
                let before = found.permissions.len();
                let kind = kind.trim_end_matches('s');
                found.permissions.retain(|[its, id, name, its_mode]| {
                    (its.as_str(), id.as_str(), name.as_str(), its_mode.as_str()) != (kind, *who, *capability, *mode)
                });
                if found.permissions.len() == before {
                    return Err(Failure::not_found("404000", "permission"));
                }
                Ok((204, Vec::new()))
            }
            ("PUT", ["connections", connection]) => {
                if *connection != found.connection_id() {
                    return Err(Failure::not_found("404020", "connection"));
                }
                connect(found, request);
                Ok((200, vec![found.connection_node()]))
            }
            ("PUT", ["connections"]) => {
                let ids = wire::entries(request, &["connectionLUIDs", "connectionLUID"]);
                let own = found.connection_id();
                if ids.is_empty() || ids.iter().any(|id| id.as_str() != Some(own.as_str())) {
                    return Err(Failure::not_found("404020", "connection"));
                }
                connect(found, request);
                Ok((200, vec![Node::list("connections", [found.connection_node()])]))
            }
            ("DELETE", ["revisions", number]) => {
                if number.parse() == Ok(found.revision) {
                    return Err(Failure::new("403055", "Forbidden", "The current revision cannot be removed."));
                }
                let before = found.earlier.len();
                found.earlier.retain(|(its, ..)| number.parse() != Ok(*its));
                if found.earlier.len() == before {
                    return Err(Failure::not_found("404024", "revision"));
                }
                Ok((204, Vec::new()))
            }
            _ => Err(Failure::not_found("404000", "page")),
        }
    }
}

fn change(site: &mut Site, id: &str, request: &Json) -> Result<(), Failure> {
    let text = |path: &[&str]| wire::text(request, path).map(str::to_owned);
    let project = text(&["datasource", "project", "id"]);
    if let Some(project) = &project {
        site.project(project)?;
    }
    let owner = text(&["datasource", "owner", "id"]);
    if owner.as_ref().is_some_and(|owner| site.users.iter().all(|user| user.id != *owner)) {
        return Err(Failure::not_found("404002", "user"));
    }
    let name = text(&["datasource", "name"]);
    let now = site.datasource(id)?;
    let (to, called) = (project.as_ref().unwrap_or(&now.project_id), name.as_ref().unwrap_or(&now.name));
    if site.named(to, called).is_some_and(|other| other.id != id) {
        return Err(Failure::new("409015", "Resource Conflict", "There is a data source of this name already."));
    }
    let Some(found) = site.datasource_mut(id) else { return Ok(()) };
    if let Some(name) = name {
        found.name = name;
    }
    if let Some(project) = project {
        found.project_id = project;
    }
    found.owner = owner.or(found.owner.take());
    if let Some(description) = text(&["datasource", "description"]) {
        found.description = description;
    }
    match wire::truth(request, &["datasource", "isCertified"]) {
        Some(true) => found.certified = Some(text(&["datasource", "certificationNote"]).unwrap_or_default()),
        Some(false) => found.certified = None,
        None => {}
    }
    found.updated_at = Utc::now();
    Ok(())
}

fn connect(found: &mut Datasource, request: &Json) {
    let connection = &mut found.connection;
    for (name, place) in [
        ("serverAddress", &mut connection.server),
        ("serverPort", &mut connection.port),
        ("userName", &mut connection.user),
        ("password", &mut connection.password),
    ] {
        if let Some(text) = wire::text(request, &["connection", name]) {
            text.clone_into(place);
        }
    }
    if let Some(embed) = wire::truth(request, &["connection", "embedPassword"]) {
        connection.embed = embed;
    }
}

fn add_permissions(found: &mut Datasource, request: &Json) -> Reply {
    let mut added = Vec::new();
    for rule in wire::entries(request, &["permissions", "granteeCapabilities"]) {
        let who = ["user", "group"].into_iter().find_map(|kind| Some((kind, wire::text(rule, &[kind, "id"])?)));
        let Some((kind, who)) = who else {
            return Err(Failure::new("400009", "Bad Request", "A rule names neither user nor group."));
        };
        for capability in wire::entries(rule, &["capabilities", "capability"]) {
            let text = |name: &str| wire::text(capability, &[name]).unwrap_or_default().to_owned();
            added.push([kind.to_owned(), who.to_owned(), text("name"), text("mode")]);
        }
    }
    let contradicts = |[kind, who, name, mode]: &[String; 4]| {
        found.permissions.iter().any(|rule| [&rule[0], &rule[1], &rule[2]] == [kind, who, name] && rule[3] != *mode)
    };
    if added.iter().any(contradicts) {
        return Err(Failure::new("409008", "Resource Conflict", "There is a rule for this capability already."));
    }
    for rule in added {
        if !found.permissions.contains(&rule) {
            found.permissions.push(rule);
        }
    }
    Ok((200, vec![permissions(found)]))
}
