//! Answers as servers really write them, and listings page by page.

use serde_json::{Value, json};
use tableau_rest::{Client, Direction, ErrorKind, Filter, Operator, ProjectId, Sort};

use super::fake;

/// A client of a site with these datasources, filtered by exact name as the server does it.
fn site(all: Vec<Value>) -> (Client, std::sync::Arc<fake::Log>) {
    fake::client(move |_, request| {
        let wanted = fake::query(request, "filter").map(|filter| filter.trim_start_matches("name:eq:").to_owned());
        let fits = |one: &&Value| wanted.as_deref().is_none_or(|name| one["name"] == name);
        let found: Vec<_> = all.iter().filter(fits).cloned().collect();
        let size: usize = fake::query(request, "pageSize").unwrap().parse().unwrap();
        let number: usize = fake::query(request, "pageNumber").unwrap().parse().unwrap();
        let page: Vec<_> = found.iter().skip(size * (number - 1)).take(size).cloned().collect();
        if page.is_empty() && number > 1 {
            return fake::error(400, "400006");
        }
        let pagination = json!({"pageNumber": number.to_string(), "totalAvailable": found.len().to_string()});
        fake::json(200, &json!({"pagination": pagination, "datasources": {"datasource": page}}))
    })
}

fn one(id: &str, name: &str, project: &str) -> Value {
    json!({"id": id, "name": name, "project": {"id": project, "name": "P"}})
}

#[tokio::test]
async fn fields_are_read_in_every_spelling() {
    let at = Some("2023-08-17T22:36:37Z".parse().unwrap());
    let table = [
        json!({"size": 3, "hasExtracts": true, "isCertified": false, "createdAt": "2023-08-17T22:36:37Z"}),
        json!({"size": "3", "hasExtracts": "true", "isCertified": "false", "createdAt": "2023-08-17T15:36:37-0700"}),
        json!({"size": "3", "hasExtracts": "True", "isCertified": "False", "createdAt": "2023-08-17T15:36:37-07:00"}),
        json!({"size": 3, "hasExtracts": 1, "isCertified": "0", "createdAt": "2023-08-17T22:36:37.000Z", "new": [1]}),
    ];
    for mut fields in table {
        fields["id"] = "d-1".into();
        fields["updatedAt"] = "".into();
        fields["tags"] = json!({"tag": {"label": "t"}});
        let shown = fields.to_string();
        let (client, _) = fake::client(move |_, _| fake::json(200, &json!({ "datasource": fields })));
        let found = client.datasources().get(&"d-1".into()).await.unwrap();
        assert_eq!((found.size, found.has_extracts, found.is_certified), (Some(3), Some(true), Some(false)), "{shown}");
        assert_eq!((found.created_at, found.updated_at), (at, None), "{shown}");
        assert_eq!((found.project, found.owner, found.tags), (None, None, vec!["t".to_owned()]));
    }
}

#[tokio::test]
async fn lists_are_read_in_every_shape() {
    let entry = json!({"id": "d-1", "name": "x"});
    let page = json!({"pageNumber": "1", "pageSize": "1000", "totalAvailable": "9"});
    let table = [
        (json!({"datasources": {"datasource": [entry, entry]}}), 2),
        (json!({"datasources": {"datasource": entry}}), 1),
        (json!({"datasources": [entry]}), 1),
        (json!({"datasources": {}}), 0),
        (json!({"datasources": []}), 0),
        (json!({"datasources": null}), 0),
        (json!({"pagination": page}), 0),
    ];
    for (body, expected) in table {
        let shown = body.to_string();
        let (client, _) = fake::client(move |_, _| fake::json(200, &body));
        let found = client.datasources().list().page(1).await.unwrap();
        assert_eq!(found.items.len(), expected, "{shown}");
    }
    let (client, _) = fake::client(|_, _| fake::json(200, &json!({"welcome": true})));
    assert_eq!(client.datasources().list().page(1).await.unwrap_err().kind(), ErrorKind::Decode);
}

#[tokio::test]
async fn connections_are_read_with_empty_ports() {
    let (client, log) = fake::client(|_, _| {
        fake::json(200, &json!({"connections": {"connection": {"id": "c-1", "type": "hyper", "serverPort": ""}}}))
    });
    let found = client.datasources().connections(&"d-1".into()).await.unwrap();
    assert_eq!((found[0].kind.as_deref(), found[0].server_port.as_deref()), (Some("hyper"), None));
    assert_eq!(log.lines(), ["GET datasources/d-1/connections"]);
}

#[tokio::test]
async fn a_listing_reads_every_page_once() {
    for (count, requests) in [(0, 1), (1, 1), (2, 1), (3, 2), (4, 2), (5, 3)] {
        let (client, log) = site((0..count).map(|n| one(&format!("d-{n}"), "x", "p-1")).collect());
        let found = client.datasources().list().page_size(2).all().await.unwrap();
        let ids: Vec<_> = found.iter().map(|found| found.id.to_string()).collect();
        assert_eq!(ids, (0..count).map(|n| format!("d-{n}")).collect::<Vec<_>>());
        assert_eq!(log.calls().len(), requests, "{count}");
    }
}

#[tokio::test]
async fn a_listing_that_shrinks_while_it_is_read_ends_without_error() {
    let (client, log) = fake::client(|number, _| match number {
        1 => fake::json(
            200,
            &json!({"pagination": {"totalAvailable": "3"}, "datasources": {"datasource": [one("d-1", "x", "p-1"), one("d-2", "x", "p-1")]}}),
        ),
        _ => fake::error(400, "400006"),
    });
    assert_eq!(client.datasources().list().page_size(2).all().await.unwrap().len(), 2);
    assert_eq!(log.calls().len(), 2);
}

#[tokio::test]
async fn pages_are_asked_for_with_filter_and_order() {
    let (client, log) = site(Vec::new());
    client
        .datasources()
        .list()
        .filter(Filter::equal("type", "hyper").unwrap())
        .filter(Filter::new("size", Operator::AtLeast, "5").unwrap())
        .sort(Sort::by("createdAt", Direction::Descending).unwrap())
        .page_size(5_000)
        .all()
        .await
        .unwrap();
    let expected = "GET datasources?pageSize=1000&pageNumber=1&filter=type:eq:hyper,size:gte:5&sort=createdAt:desc";
    assert_eq!(log.lines(), [expected]);
}

#[tokio::test]
async fn a_datasource_is_found_by_name_within_its_project_only() {
    let project = ProjectId::from("p-2");
    let (client, log) = site(vec![
        one("d-1", "AP invoices", "p-1"),
        one("d-2", "AP invoices", "p-2"),
        json!({"id": "d-3", "name": "AP invoices"}),
        one("d-4", "AP invoices 2", "p-2"),
    ]);
    let found = client.datasources().find_by_name(&project, "AP invoices").await.unwrap();
    assert_eq!(found.iter().map(|found| found.id.as_str()).collect::<Vec<_>>(), ["d-2"]);
    assert_eq!(log.lines(), ["GET datasources?pageSize=1000&pageNumber=1&filter=name:eq:AP%20invoices"]);
}

#[tokio::test]
async fn names_are_compared_without_regard_to_case_although_the_filter_regards_it() {
    let (client, _) = site(vec![one("d-1", "ÄP Invoices", "p-1")]);
    let found = client.datasources().find_by_name(&"p-1".into(), "äp invoices").await.unwrap();
    assert_eq!(found.len(), 1);
    assert!(client.datasources().find_by_name(&"p-1".into(), "other").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_name_that_no_filter_can_hold_is_looked_for_in_all() {
    for name in ["Payables, open", "A&P"] {
        let (client, log) = site(vec![one("d-1", "x", "p-1"), one("d-2", name, "p-1")]);
        let found = client.datasources().find_by_name(&"p-1".into(), name).await.unwrap();
        assert_eq!(found.iter().map(|found| found.id.as_str()).collect::<Vec<_>>(), ["d-2"]);
        assert!(log.calls().iter().all(|call| fake::query(call, "filter").is_none()));
    }
}
