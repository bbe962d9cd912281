//! What else lies on the site, to read: views, users, groups, flows; all made up from what there is.

use axum::body::Body;
use axum::http::{HeaderMap, Response};
use chrono::Utc;

use super::site::{Site, User, Workbook, moment};
use super::wire::{Failure, Node};
use super::{Query, Reply, Shared, listing, locked};
use crate::faults::plain;

fn view_node(site: &Site, workbook: &Workbook) -> Node {
    Node::new("view")
        .with("id", format!("{}-v", workbook.id))
        .with("name", "Sheet 1")
        .with("contentUrl", format!("{}/sheets/Sheet1", workbook.name.replace(' ', "")))
        .with("createdAt", moment(workbook.updated_at))
        .with("updatedAt", moment(workbook.updated_at))
        .child(Node::new("workbook").with("id", &workbook.id))
        .child(Node::new("project").with("id", &workbook.project_id))
        .child(Node::new("owner").with("id", &site.user))
        .child(Node::list("tags", []))
}

fn user_node(user: &User) -> Node {
    Node::new("user")
        .with("id", &user.id)
        .with("name", &user.name)
        .with("siteRole", user.role)
        .with("fullName", format!("Full {}", user.name))
        // As from real servers: nothing is written as an empty text.
        .with("lastLogin", "")
        .with("externalAuthUserId", "")
}

pub(super) fn view_data(shared: &Shared, headers: &HeaderMap, id: &str) -> Result<Response<Body>, Failure> {
    shared.check_session(headers)?;
    let site = locked(&shared.site);
    let workbook = id.strip_suffix("-v").and_then(|id| site.workbooks.iter().find(|workbook| workbook.id == id));
    let workbook = workbook.ok_or_else(|| Failure::not_found("404011", "view"))?;
    Ok(plain(200, "text/csv;charset=utf-8", format!("Workbook,Refreshes\n{},{}\n", workbook.name, workbook.refreshes)))
}

fn flow_id(site: &Site) -> String {
    format!("{}-f", site.id)
}

fn run_node(site: &Site, name: &'static str, number: u32) -> Node {
    let node = Node::new(name)
        .with("id", format!("{}-r{number}", site.id))
        .with("flowId", flow_id(site))
        .with("status", if number == 1 { "Success" } else { "InProgress" })
        .with("progress", if number == 1 { 100 } else { 40 })
        .with("backgroundJobId", format!("{}-j{number}", site.id))
        .with("startedAt", moment(Utc::now()));
    node.maybe("completedAt", (number == 1).then(|| moment(Utc::now())))
}

pub(super) fn read(site: &Site, rest: &[&str], query: &Query) -> Reply {
    match rest {
        ["views"] => {
            let views = site.workbooks.iter().map(|workbook| {
                (
                    vec![("name", "Sheet 1".to_owned()), ("workbookName", workbook.name.clone())],
                    view_node(site, workbook),
                )
            });
            listing::page("views", views.collect(), query)
        }
        ["views", id] => {
            let workbook = site.workbooks.iter().find(|workbook| format!("{}-v", workbook.id) == *id);
            let workbook = workbook.ok_or_else(|| Failure::not_found("404011", "view"))?;
            Ok((200, vec![view_node(site, workbook)]))
        }
        ["workbooks", id, "views"] => {
            let workbook = site.workbooks.iter().find(|workbook| workbook.id == *id);
            let workbook = workbook.ok_or_else(|| Failure::not_found("404006", "workbook"))?;
            Ok((200, vec![Node::list("views", [view_node(site, workbook)])]))
        }
        ["users"] => {
            let users = site.users.iter().map(|user| (vec![("name", user.name.clone())], user_node(user)));
            listing::page("users", users.collect(), query)
        }
        ["users", id] => {
            let user = site.users.iter().find(|user| user.id == *id);
            Ok((200, vec![user_node(user.ok_or_else(|| Failure::not_found("404002", "user"))?)]))
        }
        ["groups"] => {
            let node = |group: &super::site::Group| Node::new("group").with("id", &group.id).with("name", &group.name);
            let groups = site.groups.iter().map(|group| (vec![("name", group.name.clone())], node(group)));
            listing::page("groups", groups.collect(), query)
        }
        ["groups", id, "users"] => {
            let group = site.groups.iter().find(|group| group.id == *id);
            let group = group.ok_or_else(|| Failure::not_found("404012", "group"))?;
            let members = site.users.iter().filter(|user| group.members.contains(&user.id));
            listing::page("users", members.map(|user| (Vec::new(), user_node(user))).collect(), query)
        }
        ["flows"] => {
            let flow = Node::new("flow").with("id", flow_id(site)).with("name", "Nightly prep");
            listing::page("flows", vec![(vec![("name", "Nightly prep".to_owned())], flow)], query)
        }
        ["flows", "runs"] => {
            Ok((200, vec![Node::list("flowRuns", [1, 2].map(|number| run_node(site, "flowRuns", number)))]))
        }
        ["flows", "runs", id] => {
            let number = if id.ends_with("-r1") { 1 } else { 2 };
            if !id.ends_with("-r1") && !id.ends_with("-r2") {
                return Err(Failure::not_found("404006", "flow run"));
            }
            Ok((200, vec![run_node(site, "flowRun", number)]))
        }
        ["webhooks"] => {
            let webhooks = site.webhooks.iter().map(|webhook| (Vec::new(), super::webhooks::node(site, webhook)));
            listing::page("webhooks", webhooks.collect(), query)
        }
        ["webhooks", id] => {
            let webhook = site.webhooks.iter().find(|webhook| webhook.id == *id);
            let webhook = webhook.ok_or_else(|| Failure::not_found("404034", "webhook"))?;
            Ok((200, vec![super::webhooks::node(site, webhook)]))
        }
        ["webhooks", id, "test"] => {
            let webhook = site.webhooks.iter().find(|webhook| webhook.id == *id);
            let webhook = webhook.ok_or_else(|| Failure::not_found("404034", "webhook"))?;
            // It cannot post to https from here; a host of this name stands for one that refuses.
            let status = if webhook.url.contains("refusing") { 500 } else { 200 };
            let result = Node::new("webhookTestResult").with("id", id).with("status", status);
            Ok((200, vec![result.child(Node::text("body", "from the receiver"))]))
        }
        _ => Err(Failure::not_found("404000", "page")),
    }
}
