//! Pages, names and projects.

use serde_json::json;
use tableau_rest::Delivery;
use wiremock::matchers::{method, path, query_param};
use wiremock::{Mock, ResponseTemplate};

use crate::server::{InTurn, SITE, body, builder, refused, requests, start};

fn datasource(id: &str, name: &str, project: &str) -> serde_json::Value {
    json!({"id": id, "name": name, "project": {"id": project, "name": "P"}, "size": "1", "tags": {}, "isCertified": "False"})
}

#[tokio::test]
async fn all_pages_are_read_and_a_page_behind_the_last_is_no_error() {
    let server = start("3.29").await;
    for page in 1..=2 {
        let entries: Vec<_> = (0..2).map(|nth| datasource(&format!("{page}-{nth}"), "D", "p")).collect();
        // The count has grown meanwhile, so that a third page is asked for.
        let answer = json!({"pagination": {"pageNumber": page, "pageSize": "2", "totalAvailable": "5"}, "datasources": {"datasource": entries}});
        Mock::given(path(format!("{SITE}/datasources")))
            .and(query_param("pageNumber", page.to_string()))
            .respond_with(ResponseTemplate::new(200).set_body_json(answer))
            .expect(1)
            .mount(&server)
            .await;
    }
    Mock::given(query_param("pageNumber", "3")).respond_with(refused(400, "400006")).expect(1).mount(&server).await;
    let found = builder(&server).build().unwrap().datasources().list().page_size(2).all().await.unwrap();
    assert_eq!(found.len(), 4);
    assert_eq!(found[0].is_certified, Some(false));
}

#[tokio::test]
async fn a_name_is_found_without_regard_to_case_and_in_its_project_only() {
    let server = start("3.29").await;
    let all = [datasource("1", "ap INVOICES", "p"), datasource("2", "AP invoices", "other")];
    let filtered = json!({"pagination": {"totalAvailable": "1"}, "datasources": {"datasource": [all[1]]}});
    Mock::given(query_param("filter", "name:eq:AP invoices"))
        .respond_with(ResponseTemplate::new(200).set_body_json(filtered))
        .expect(1)
        .mount(&server)
        .await;
    let listed = json!({"pagination": {"totalAvailable": "2"}, "datasources": {"datasource": all}});
    Mock::given(path(format!("{SITE}/datasources")))
        .respond_with(ResponseTemplate::new(200).set_body_json(listed))
        .mount(&server)
        .await;
    let client = builder(&server).build().unwrap();
    let found = client.datasources().find_by_name(&"p".into(), "AP invoices").await.unwrap();
    assert_eq!(found.iter().map(|found| found.id.as_str()).collect::<Vec<_>>(), ["1"]);
    // A comma cannot travel in a filter, so that all are looked at.
    assert!(client.datasources().find_by_name(&"p".into(), "a, b & c").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_path_of_projects_is_made_where_it_is_missing_and_a_race_is_no_error() {
    let server = start("3.29").await;
    let finance = json!({"id": "f", "name": "Finance"});
    let ap = json!({"id": "a", "name": "AP", "parentProjectId": "f"});
    let page = |entries: serde_json::Value| {
        ResponseTemplate::new(200)
            .set_body_json(json!({"pagination": {"totalAvailable": "9"}, "projects": {"project": entries}}))
    };
    let empty = || page(json!([]));
    Mock::given(method("GET"))
        .and(path(format!("{SITE}/projects")))
        .respond_with(InTurn::new(vec![
            page(json!([finance])),
            empty(), // the end of the first listing
            page(json!([finance])),
            empty(),
            // Somebody has made it meanwhile.
            page(json!([finance, ap])),
            empty(),
        ]))
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path(format!("{SITE}/projects")))
        .respond_with(refused(409, "409006"))
        .mount(&server)
        .await;
    let client = builder(&server).build().unwrap();
    let made = client.projects().ensure_path(&["Finance", "AP"]).await.unwrap();
    assert_eq!(made.id.as_str(), "a");
    let posts: Vec<_> =
        requests(&server, "/projects").await.into_iter().filter(|request| request.method.as_str() == "POST").collect();
    assert_eq!(body(&posts[0]), json!({"project": {"name": "AP", "parentProjectId": "f"}}));
}

#[tokio::test]
async fn a_deletion_whose_answer_was_lost_is_repeated_and_then_done() {
    let server = start("3.29").await;
    Mock::given(method("DELETE"))
        .and(path(format!("{SITE}/datasources/d")))
        .respond_with(InTurn::new(vec![crate::server::lost(), refused(404, "404004")]))
        .expect(2)
        .mount(&server)
        .await;
    let client = builder(&server).build().unwrap();
    client.datasources().delete(&"d".into()).await.unwrap();
    let error = client.datasources().get(&"other".into()).await.unwrap_err();
    assert_eq!(error.delivery(), Delivery::Answered);
}

#[tokio::test]
async fn a_download_is_there_whole_or_not_at_all() {
    let server = start("3.29").await;
    let file = ResponseTemplate::new(200)
        .set_body_bytes(&b"0123456789"[..])
        .insert_header("content-disposition", "name=\"tableau_datasource\"; filename=\"../AP.hyper\"");
    Mock::given(path(format!("{SITE}/datasources/d/content"))).respond_with(file).mount(&server).await;
    let client = builder(&server).build().unwrap();
    let download = client.datasources().download(&"d".into()).await.unwrap();
    assert_eq!(download.file_name.as_deref(), Some("AP.hyper"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.hyper");
    assert_eq!(download.save(&path).await.unwrap(), 10);
    assert_eq!(std::fs::read(&path).unwrap(), b"0123456789");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}
