//! Which version of the interface is used.

use serde_json::json;
use tableau_rest::{ApiVersion, ErrorKind};

use super::fake;

#[tokio::test]
async fn the_lower_of_both_versions_is_used() {
    for (server, wanted, used) in [("3.21", "3.29", "3.21"), ("3.31", "3.29", "3.29"), ("3.29", "3.19", "3.19")] {
        let (builder, log) = fake::builder_at(server, |_, _| fake::datasource());
        let client = builder.api_version(wanted).build().unwrap();
        client.datasources().get(&"d-1".into()).await.unwrap();
        assert_eq!(client.api_version().await.unwrap().to_string(), used);
        assert_eq!(log.last().uri().path(), format!("/api/{used}/sites/site-1/datasources/d-1"));
        let sign_in = log.all().into_iter().find(|request| request.uri().path().ends_with("/signin")).unwrap();
        assert_eq!(sign_in.uri().path(), format!("/api/{used}/auth/signin"));
    }
}

#[tokio::test]
async fn a_server_that_does_not_know_our_version_is_asked_in_an_old_one() {
    let (builder, log) = fake::raw(|request| {
        if request.uri().path().starts_with("/api/3.29/") {
            return fake::error(404, "404001");
        }
        fake::json(200, &json!({"serverInfo": {"productVersion": "2021.3.1", "restApiVersion": "3.13"}}))
    });
    let client = builder.password("u", "p").build().unwrap();
    let info = client.server_info().await.unwrap();
    assert_eq!((info.rest_api_version, info.product_version.as_str()), (ApiVersion::new(3, 13), "2021.3.1"));
    let asked: Vec<_> = log.all().iter().map(fake::line).collect();
    assert_eq!(asked, ["GET /api/3.29/serverinfo", "GET /api/2.5/serverinfo"]);
}

#[tokio::test]
async fn an_address_without_a_tableau_server_is_said_to_be_one() {
    let (builder, _) = fake::raw(|_| fake::answer(404, "<html>nothing here</html>"));
    let error = builder.password("u", "p").build().unwrap().server_info().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.hint().unwrap().contains("server address"));
}

#[tokio::test]
async fn a_page_instead_of_an_answer_is_not_understood() {
    let (builder, _) = fake::raw(|_| fake::answer(200, "<html>please log in</html>"));
    let error = builder.password("u", "p").build().unwrap().server_info().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
}
