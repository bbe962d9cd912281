//! Finding and making projects, alone and in a race.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};
use tableau_rest::{Delivery, ErrorKind};

use super::fake::{self, Answer};

type Tree = Arc<Mutex<Vec<Value>>>;

fn tree(projects: &[(&str, &str, &str)]) -> Tree {
    let project = |(id, name, parent): &(&str, &str, &str)| json!({"id": id, "name": name, "parentProjectId": parent});
    Arc::new(Mutex::new(projects.iter().map(project).collect()))
}

/// A server with these projects, which filters by name and makes new ones.
fn server(tree: &Tree) -> impl Fn(usize, &Request<Bytes>) -> Answer + Send + Sync + 'static {
    let tree = Arc::clone(tree);
    move |_, request| {
        let mut tree = tree.lock().unwrap();
        if request.method() == Method::POST {
            let body: Value = serde_json::from_slice(request.body()).unwrap();
            let mut project = body["project"].clone();
            let same = |one: &Value| {
                one["name"] == project["name"]
                    && one["parentProjectId"].as_str().unwrap_or_default()
                        == project["parentProjectId"].as_str().unwrap_or_default()
            };
            if tree.iter().any(same) {
                return fake::error(409, "409006");
            }
            project["id"] = format!("p-{}", tree.len() + 1).into();
            tree.push(project.clone());
            return fake::json(201, &json!({ "project": project }));
        }
        let wanted = fake::query(request, "filter").map(|filter| filter.trim_start_matches("name:eq:").to_owned());
        let found: Vec<_> =
            tree.iter().filter(|one| wanted.as_deref().is_none_or(|name| one["name"] == name)).cloned().collect();
        fake::json(200, &json!({"pagination": {"totalAvailable": found.len()}, "projects": {"project": found}}))
    }
}

#[tokio::test]
async fn a_path_is_walked_from_the_top_and_names_are_exact() {
    let tree = tree(&[("p-1", "Finance", ""), ("p-2", "AP", "p-1"), ("p-3", "AP", "p-4"), ("p-4", "Sales", "")]);
    let (client, _) = fake::client(server(&tree));
    let find =
        async |path: &[&str]| client.projects().find_path(path).await.unwrap().map(|project| project.id.into_string());
    assert_eq!(find(&["Finance", "AP"]).await.as_deref(), Some("p-2"));
    assert_eq!(find(&["Sales", "AP"]).await.as_deref(), Some("p-3"));
    assert_eq!(find(&["AP"]).await, None, "it is not at the top");
    assert_eq!(find(&["finance"]).await, None);
    assert_eq!(find(&["Finance", "AP", "x"]).await, None);
    for path in [&[][..], &["Finance", " "]] {
        assert_eq!(client.projects().find_path(path).await.unwrap_err().kind(), ErrorKind::Config);
    }
}

#[tokio::test]
async fn what_is_missing_of_a_path_is_made_once() {
    let tree = tree(&[("p-1", "Finance", "")]);
    let (client, log) = fake::client(server(&tree));
    let path = ["Finance", "AP, open", "2026"];
    let made = client.projects().ensure_path(&path).await.unwrap();
    assert_eq!((made.id.as_str(), made.parent_project_id), ("p-3", Some("p-2".into())));
    assert_eq!(client.projects().ensure_path(&path).await.unwrap().id, made.id);
    let bodies: Vec<Value> = log
        .calls()
        .iter()
        .filter(|call| call.method() == Method::POST)
        .map(|call| serde_json::from_slice(call.body()).unwrap())
        .collect();
    assert_eq!(
        bodies,
        [
            json!({"project": {"name": "AP, open", "parentProjectId": "p-1"}}),
            json!({"project": {"name": "2026", "parentProjectId": "p-2"}}),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn who_loses_a_race_uses_the_project_of_the_winner() {
    let tree = tree(&[]);
    let inner = server(&tree);
    let other = Arc::clone(&tree);
    // Somebody makes it between the look and the making, and the listing lags behind for one more look.
    let (client, _) = fake::client(move |number, request| {
        if request.method() == Method::POST {
            other.lock().unwrap().push(json!({"id": "p-9", "name": "Finance"}));
            return fake::error(409, "409006");
        }
        if number == 3 { fake::json(200, &json!({"projects": {}})) } else { inner(number, request) }
    });
    assert_eq!(client.projects().ensure_path(&["Finance"]).await.unwrap().id.as_str(), "p-9");
}

#[tokio::test(start_paused = true)]
async fn a_project_whose_making_was_not_answered_is_looked_for() {
    let tree = tree(&[]);
    let inner = server(&tree);
    let (client, _) = fake::client(move |number, request| {
        let answer = inner(number, request);
        if request.method() == Method::POST { fake::lost() } else { answer }
    });
    assert_eq!(client.projects().ensure_path(&["Finance"]).await.unwrap().id.as_str(), "p-1");
    assert_eq!(tree.lock().unwrap().len(), 1);
    let error = client.projects().create("Other", None).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_project_that_exists_unseen_and_one_that_may_not_be_made_are_errors() {
    for (status, code, kind) in [(409, "409006", ErrorKind::AlreadyExists), (403, "403045", ErrorKind::Forbidden)] {
        let (client, _) = fake::client(move |_, request| match request.method() {
            &Method::POST => fake::error(status, code),
            _ => fake::json(200, &json!({"projects": {}})),
        });
        assert_eq!(client.projects().ensure_path(&["Finance"]).await.unwrap_err().kind(), kind);
        assert_eq!(client.projects().create("Finance", None).await.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn twins_are_refused_and_not_chosen_from() {
    let (client, _) = fake::client(server(&tree(&[("p-1", "Finance", ""), ("p-2", "Finance", "")])));
    assert_eq!(client.projects().find_path(&["Finance"]).await.unwrap_err().kind(), ErrorKind::Conflict);
}
