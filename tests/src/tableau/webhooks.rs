//! Webhooks, and what runs by the clock: refresh tasks of Cloud, schedules of Server.

use axum::http::Method;
use serde_json::Value as Json;

use super::site::{Schedule, Site, Task, Webhook, fresh_id, schedule_node};
use super::wire::{self, Failure, Node};
use super::{Query, Reply, Shared, listing, locked};

/// Old clients name events as elements.
const OLD_NAMES: [(&str, &str); 4] = [
    ("webhook-source-event-datasource-created", "DatasourceCreated"),
    ("webhook-source-event-datasource-updated", "DatasourceUpdated"),
    ("webhook-source-event-datasource-deleted", "DatasourceDeleted"),
    ("webhook-source-event-datasource-refresh-failed", "DatasourceRefreshFailed"),
];

pub(super) fn node(site: &Site, webhook: &Webhook) -> Node {
    let old = OLD_NAMES.iter().find(|(_, name)| *name == webhook.event).map(|(old, _)| Node::new(old));
    let source = old.map(|old| Node::new("webhook-source").child(old));
    let http = Node::new("webhook-destination-http").with("method", "POST").with("url", &webhook.url);
    let node = Node::new("webhook")
        .with("id", &webhook.id)
        .with("name", &webhook.name)
        .with("event", &webhook.event)
        .with("isEnabled", webhook.enabled)
        .with("statusChangeReason", &webhook.reason)
        .with("createdAt", "2026-11-01T00:00:00Z")
        .with("updatedAt", "2026-11-01T00:00:00Z")
        .child(Node::new("webhook-destination").child(http))
        .child(Node::new("owner").with("id", &site.user).with("name", "demo"));
    match source {
        Some(source) => node.child(source),
        None => node,
    }
}

fn url_of(request: &Json) -> Result<Option<String>, Failure> {
    let url = wire::text(request, &["webhook", "webhook-destination", "webhook-destination-http", "url"]);
    match url {
        Some(url) if !url.starts_with("https://") || url.contains("untrusted") => {
            Err(Failure::new("400118", "Bad Request", "The webhook destination is not valid."))
        }
        other => Ok(other.map(str::to_owned)),
    }
}

impl Shared {
    pub(super) fn webhooks(&self, method: &Method, below: &[&str], request: &Json) -> Reply {
        let mut site = locked(&self.site);
        let text = |name: &str| wire::text(request, &["webhook", name]).map(str::to_owned);
        match (method.as_str(), below) {
            ("POST", []) => {
                let source = request.get("webhook").and_then(|webhook| webhook.get("webhook-source"));
                let old = OLD_NAMES.iter().find(|(old, _)| source.is_some_and(|source| source.get(old).is_some()));
                let event = text("event").or_else(|| old.map(|(_, name)| (*name).to_owned()));
                let (Some(name), Some(event), Some(url)) = (text("name"), event, url_of(request)?) else {
                    return Err(Failure::new("400110", "Bad Request", "The webhook lacks name, event or destination."));
                };
                let webhook = Webhook { id: fresh_id(), name, event, url, enabled: true, reason: String::new() };
                let node = node(&site, &webhook);
                site.webhooks.push(webhook);
                Ok((201, vec![node]))
            }
            ("PUT", [id]) => {
                let url = url_of(request)?;
                let at = site.webhooks.iter().position(|webhook| webhook.id == *id);
                let at = at.ok_or_else(|| Failure::not_found("404034", "webhook"))?;
                let mut webhook = site.webhooks.swap_remove(at);
                webhook.url = url.unwrap_or(webhook.url);
                webhook.name = text("name").unwrap_or(webhook.name);
                webhook.event = text("event").unwrap_or(webhook.event);
                webhook.enabled = wire::truth(request, &["webhook", "isEnabled"]).unwrap_or(webhook.enabled);
                webhook.reason =
                    if webhook.enabled { String::new() } else { text("statusChangeReason").unwrap_or_default() };
                let node = node(&site, &webhook);
                site.webhooks.push(webhook);
                Ok((200, vec![node]))
            }
            ("DELETE", [id]) => {
                let before = site.webhooks.len();
                site.webhooks.retain(|webhook| webhook.id != *id);
                if site.webhooks.len() == before {
                    return Err(Failure::not_found("404034", "webhook"));
                }
                Ok((204, Vec::new()))
            }
            _ => Err(Failure::not_found("404000", "page")),
        }
    }

    pub(super) fn tasks(&self, method: &Method, below: &[&str], request: &Json) -> Reply {
        let mut site = locked(&self.site);
        let unknown = || Failure::not_found("404026", "task");
        match (method.as_str(), below) {
            ("DELETE", [id]) => {
                let before = site.tasks.len();
                site.tasks.retain(|task| task.id != *id);
                return if site.tasks.len() == before { Err(unknown()) } else { Ok((204, Vec::new())) };
            }
            ("POST", [] | [_]) if !self.switches.cloud => {
                return Err(Failure::new("404003", "Resource Not Found", "A server has no such method."));
            }
            ("POST", [] | [_]) => {}
            _ => return Err(Failure::not_found("404000", "page")),
        }
        let datasource = wire::text(request, &["extractRefresh", "datasource", "id"]).unwrap_or_default().to_owned();
        site.datasource(&datasource)?;
        let details = request.get("schedule").and_then(|schedule| schedule.get("frequencyDetails"));
        let intervals = details.map(|details| wire::entries(details, &["intervals", "interval"])).unwrap_or_default();
        let start = details.and_then(|details| wire::text(details, &["start"])).unwrap_or_default();
        let on_mark =
            start.len() == 8 && start.ends_with(":00") && matches!(start.as_bytes().get(4), Some(b'0' | b'5'));
        if intervals.is_empty() || !on_mark {
            return Err(Failure::new("409004", "Bad Request", "The schedule is not valid."));
        }
        let task = Task {
            id: below.first().map_or_else(fresh_id, |id| (*id).to_owned()),
            datasource,
            kind: wire::text(request, &["extractRefresh", "type"]).unwrap_or_default().to_owned(),
            frequency: wire::text(request, &["schedule", "frequency"]).unwrap_or_default().to_owned(),
            schedule: None,
        };
        if !below.is_empty() {
            let at = site.tasks.iter().position(|known| known.id == task.id).ok_or_else(unknown)?;
            site.tasks.swap_remove(at);
        }
        // Here the schedule lies beside the task, and times have offsets without a colon.
        let refresh = Node::new("extractRefresh")
            .with("id", &task.id)
            .with("type", &task.kind)
            .with("priority", 50)
            .child(Node::new("datasource").with("id", &task.datasource));
        let schedule =
            Node::new("schedule").with("frequency", &task.frequency).with("nextRunAt", "2026-11-24T02:00:00-0700");
        site.tasks.push(task);
        Ok((200, vec![refresh, schedule]))
    }

    /// Schedules of the server.
    pub(super) fn schedules(&self, method: &Method, below: &[&str], query: &Query, request: &Json) -> Reply {
        if self.switches.cloud {
            return Err(Failure::new("409091", "Resource Conflict", "Schedules are not supported."));
        }
        let mut site = locked(&self.site);
        let text = |name: &str| wire::text(request, &["schedule", name]).map(str::to_owned);
        let unknown = || Failure::not_found("404023", "schedule");
        match (method.as_str(), below) {
            ("GET", []) => {
                let all = site
                    .schedules
                    .iter()
                    .map(|schedule| (vec![("name", schedule.name.clone())], schedule_node(schedule)));
                listing::page("schedules", all.collect(), query)
            }
            ("POST", []) => {
                let schedule = Schedule {
                    id: fresh_id(),
                    name: text("name").unwrap_or_default(),
                    state: "Active".to_owned(),
                    priority: text("priority").unwrap_or_default(),
                    frequency: text("frequency").unwrap_or_default(),
                };
                let node = schedule_node(&schedule);
                site.schedules.push(schedule);
                Ok((201, vec![node]))
            }
            (_, [id]) => {
                let at = site.schedules.iter().position(|schedule| schedule.id == *id).ok_or_else(unknown)?;
                if method == Method::DELETE {
                    site.schedules.swap_remove(at);
                    return Ok((204, Vec::new()));
                }
                let Some(schedule) = site.schedules.get_mut(at) else { return Err(unknown()) };
                if method == Method::PUT {
                    for (name, place) in [
                        ("name", &mut schedule.name),
                        ("state", &mut schedule.state),
                        ("frequency", &mut schedule.frequency),
                    ] {
                        if let Some(text) = text(name) {
                            *place = text;
                        }
                    }
                }
                Ok((200, vec![schedule_node(schedule)]))
            }
            _ => Err(Failure::not_found("404000", "page")),
        }
    }

    pub(super) fn add_to_schedule(&self, id: &str, request: &Json) -> Reply {
        let mut site = locked(&self.site);
        if site.schedules.iter().all(|schedule| schedule.id != id) {
            // As documented, and odd.
            return Err(Failure::new("500000", "Internal Server Error", "The schedule is unknown."));
        }
        let refresh = ["task", "extractRefresh"];
        let of = |name: &[&str]| wire::text(request, &[&refresh[..], name].concat()).map(str::to_owned);
        let datasource = of(&["datasource", "id"]).unwrap_or_default();
        site.datasource(&datasource)?;
        let schedule = Some(id.to_owned());
        let known = site.tasks.iter().find(|task| task.datasource == datasource && task.schedule == schedule);
        let known = known.map(|task| task.id.clone());
        let task = known.clone().unwrap_or_else(fresh_id);
        if known.is_none() {
            let kind = of(&["type"]).unwrap_or_else(|| "FullRefresh".to_owned());
            site.tasks.push(Task { id: task.clone(), datasource, kind, frequency: String::new(), schedule });
        }
        Ok((200, vec![Node::new("task").child(Node::new("extractRefresh").with("id", task).with("priority", 50))]))
    }
}
