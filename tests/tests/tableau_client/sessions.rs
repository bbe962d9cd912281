//! Sessions: every way in, when they end, and who ends them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use secrecy::SecretString;
use simulators::faults::{Effect, Fault};
use simulators::tableau::TableauSim;
use tableau_rest::{ConnectedApp, ErrorKind, JwtSource, UserId};

use super::{builder, client};

fn app(sim: &TableauSim) -> ConnectedApp {
    let (client, key, secret, user) = sim.connected_app();
    ConnectedApp::new(client, key, secret, user)
}

#[tokio::test]
async fn every_way_in_opens_a_session_that_is_renewed_when_the_server_ends_it() {
    let sim = TableauSim::builder().start().await.unwrap();
    let ways = [
        builder(&sim).personal_access_token(sim.pat_name(), sim.pat_secret()),
        builder(&sim).password(sim.user(), sim.password()),
        builder(&sim).connected_app(app(&sim).scopes(ConnectedApp::PUBLISHING_SCOPES.iter().copied())),
    ];
    for way in ways {
        let client = way.build().unwrap();
        let me = client.check_session().await.unwrap();
        assert_eq!(client.session().await.unwrap().user_id, me);
        sim.expire_sessions();
        assert_eq!(client.check_session().await.unwrap(), me);
        assert!(!client.projects().list().all().await.unwrap().is_empty());
        client.sign_out().await.unwrap();
        client.sign_out().await.unwrap();
    }
}

#[tokio::test]
async fn a_connected_app_that_asks_for_too_much_is_refused_once_and_not_again_and_again() {
    let sim = TableauSim::builder().start().await.unwrap();
    let (id, key, _, user) = sim.connected_app();
    let wrong = [
        app(&sim).scopes(["tableau:content:read", "tableau:sites:delete"]),
        ConnectedApp::new(id, key, "CANARY-wrong-secret", user).scopes(["tableau:content:read"]),
        ConnectedApp::new(id, key, "CANARY-wrong-secret", "somebody").scopes(["tableau:content:read"]),
    ];
    for app in wrong {
        let client = builder(&sim).connected_app(app).build().unwrap();
        let before = sim.faults().count("signin");
        for _ in 0..3 {
            let error = client.check_session().await.unwrap_err();
            assert_eq!((error.kind(), error.code()), (ErrorKind::Auth, Some("401001")));
            assert!(error.hint().unwrap().contains("scopes"), "{error}");
            assert!(!format!("{error} {error:?}").contains("CANARY"));
        }
        assert_eq!(sim.faults().count("signin") - before, 1);
    }
}

/// What a service of the company's hands out.
#[derive(Debug)]
struct Unified(AtomicUsize, bool);

#[async_trait]
impl JwtSource for Unified {
    async fn jwt(&self) -> tableau_rest::Result<SecretString> {
        use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
        let number = self.0.fetch_add(1, Ordering::SeqCst);
        if self.1 {
            return Err(tableau_rest::Error::credential("the service is down"));
        }
        let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let claims = format!(r#"{{"https://tableau.com/tenantId":"t","jti":"{number}"}}"#);
        Ok(SecretString::from(format!("{}.{}.CANARYsignature", part(r#"{"alg":"RS256"}"#), part(&claims))))
    }
}

#[tokio::test]
async fn unified_tokens_are_for_cloud_and_made_for_each_sign_in() {
    let sim = TableauSim::builder().switches(|switches| switches.cloud = true).start().await.unwrap();
    let source = Arc::new(Unified(AtomicUsize::new(0), false));
    let client = builder(&sim).unified_access_token(source.clone()).build().unwrap();
    client.check_session().await.unwrap();
    sim.expire_sessions();
    client.check_session().await.unwrap();
    assert_eq!(source.0.load(Ordering::SeqCst), 2);

    let failing = builder(&sim).unified_access_token(Arc::new(Unified(AtomicUsize::new(0), true))).build().unwrap();
    let error = failing.check_session().await.unwrap_err();
    assert!(error.to_string().contains("the service is down"), "{error}");

    let old = TableauSim::builder().switches(|switches| switches.version = "3.21".to_owned()).start().await.unwrap();
    let client = builder(&old).unified_access_token(Arc::new(Unified(AtomicUsize::new(0), false))).build().unwrap();
    let error = client.check_session().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("3.27") && error.to_string().contains("3.21"), "{error}");
    assert_eq!(old.faults().count("signin"), 0);
}

#[tokio::test]
async fn a_session_goes_to_another_site_and_back() {
    let sim = TableauSim::builder().start().await.unwrap();
    let home = client(&sim);
    let me: UserId = home.check_session().await.unwrap();
    assert_eq!(home.sites().list().all().await.unwrap().len(), 2);
    let error = home.clone().switch_site("finance").await.unwrap_err();
    assert_eq!(error.code(), Some("403070"));
    let error = home.clone().switch_site("nowhere").await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Auth, Some("401003")));
    let other = home.switch_site("other").await.unwrap();
    assert_eq!((other.site(), other.session().await.unwrap().site_content_url.as_str()), ("other", "other"));
    assert_eq!(other.check_session().await.unwrap(), me);
    let back = other.switch_site("finance").await.unwrap();
    assert_eq!(back.sites().current().await.unwrap().content_url, "finance");
    assert_eq!(sim.faults().count("signin"), 1);

    let cloud = TableauSim::builder().switches(|switches| switches.cloud = true).start().await.unwrap();
    assert_eq!(client(&cloud).switch_site("other").await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn an_eviction_by_another_process_is_survived_once_and_then_told() {
    let sim = TableauSim::builder().start().await.unwrap();
    let ours = client(&sim);
    ours.check_session().await.unwrap();
    // Another process, which this registry does not know of, signs in with the same token each time we do.
    let steal = || async {
        let body = serde_json::json!({ "credentials": { "personalAccessTokenName": sim.pat_name(),
            "personalAccessTokenSecret": sim.pat_secret(), "site": { "contentUrl": sim.site() } } });
        let http = reqwest::Client::new();
        let url = format!("{}/api/3.29/auth/signin", sim.url());
        http.post(url).header("accept", "application/json").json(&body).send().await.unwrap()
    };
    assert!(steal().await.status().is_success());
    ours.check_session().await.unwrap();
    assert_eq!(sim.faults().count("signin"), 3);
    // And when the server refuses the new one as well, the reason is named.
    let evicted = r#"{"error":{"summary":"Unauthorized Access","detail":"gone","code":"401002"}}"#;
    for _ in 0..2 {
        let refusal = Effect::Status { status: 401, body: evicted.to_owned(), retry_after: None };
        sim.faults().push(Fault::on("sessions/current", refusal));
    }
    let error = ours.check_session().await.unwrap_err();
    assert!(error.hint().unwrap().contains("one session at a time"), "{error}");
}
