//! Webhooks from both ends: made in Tableau, received by a web service.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use secrecy::ExposeSecret;
use simulators::faults::{Effect, Fault};
use simulators::tableau::TableauSim;
use tableau_rest::{ErrorKind, NewWebhook, Received, Receiver, WebhookEvent};

use super::{client, published};

#[tokio::test]
async fn a_webhook_is_made_tested_moved_turned_off_and_on_and_deleted() {
    let sim = TableauSim::builder().start().await.unwrap();
    let webhooks = client(&sim).webhooks();
    let url = "https://hooks.example.com/CANARY-secret-in-the-address";
    for event in [WebhookEvent::DatasourceUpdated, WebhookEvent::FlowCompleted, WebhookEvent::Other("New".to_owned())] {
        let made = webhooks.create(&NewWebhook::new("ours", event.clone(), url)).await.unwrap();
        assert_eq!((made.event.as_ref(), made.url.as_deref(), made.is_enabled), (Some(&event), Some(url), Some(true)));
        assert!(!format!("{made:?}").contains("CANARY"));
        assert!(webhooks.test(&made.id).await.unwrap().is_success());
        let off = webhooks.disable(&made.id, "moving").await.unwrap();
        assert_eq!((off.is_enabled, off.status_change_reason.as_deref()), (Some(false), Some("moving")));
        let moved = webhooks.set_url(&made.id, "https://refusing.example.com/new").await.unwrap();
        // Nothing else has changed by that.
        assert_eq!((moved.event.as_ref(), moved.name.as_str()), (Some(&event), "ours"));
        assert!(!webhooks.test(&made.id).await.unwrap().is_success());
        assert_eq!(webhooks.enable(&made.id).await.unwrap().is_enabled, Some(true));
        assert_eq!(webhooks.get(&made.id).await.unwrap().id, made.id);
        assert_eq!(webhooks.list().all().await.unwrap().len(), 1);
        webhooks.delete(&made.id).await.unwrap();
        assert_eq!(webhooks.get(&made.id).await.unwrap_err().code(), Some("404034"));
    }
}

#[tokio::test]
async fn addresses_that_tableau_would_not_post_to_are_refused_and_never_shown() {
    let sim = TableauSim::builder().start().await.unwrap();
    let webhooks = client(&sim).webhooks();
    let refused = |url: &str| NewWebhook::new("ours", WebhookEvent::DatasourceUpdated, url);
    for url in ["http://hooks.example.com/CANARY", "CANARY", "ftp://CANARY"] {
        let error = webhooks.create(&refused(url)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!format!("{error} {error:?}").contains("CANARY"));
    }
    assert_eq!(sim.faults().count("POST"), 0);
    // A server that sends the address back in its error must not spread it.
    let echo = r#"{"error":{"summary":"Bad","detail":"bad url https://untrusted.example.com/CANARY","code":"400118"}}"#;
    sim.faults().push(Fault::on("/webhooks", Effect::Status { status: 400, body: echo.to_owned(), retry_after: None }));
    let error = webhooks.create(&refused("https://untrusted.example.com/CANARY")).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Rejected, Some("400118")));
    assert!(!format!("{error} {error:?}").contains("CANARY"), "{error:?}");
}

type Heard = Arc<Mutex<Vec<Received>>>;

async fn hear(
    State((receiver, heard)): State<(Arc<Receiver>, Heard)>,
    Path(secret): Path<String>,
    body: Bytes,
) -> StatusCode {
    match receiver.receive(&secret, &body) {
        Ok(message) => {
            heard.lock().unwrap().push(message);
            StatusCode::OK
        }
        Err(error) => StatusCode::from_u16(error.status()).unwrap(),
    }
}

#[tokio::test]
async fn what_happens_in_tableau_arrives_once_at_a_service() {
    let secret = Receiver::new_secret();
    let receiver = Arc::new(Receiver::new(secret.expose_secret()).unwrap());
    let heard = Heard::default();
    let app = Router::new().route("/hooks/{secret}", post(hear)).with_state((receiver, Arc::clone(&heard)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });

    let sim = TableauSim::builder().start().await.unwrap();
    let client = client(&sim);
    let url = format!("https://hooks.example.com/hooks/{}", secret.expose_secret());
    for event in [WebhookEvent::DatasourceCreated, WebhookEvent::DatasourceDeleted] {
        client.webhooks().create(&NewWebhook::new("ours", event, url.as_str())).await.unwrap();
    }
    let datasource = published(&client, "Small").await;
    client.datasources().delete(&datasource.id).await.unwrap();
    let http = reqwest::Client::new();
    for (url, message) in sim.take_webhook_messages() {
        let url = url.replace("https://hooks.example.com", &format!("http://{address}"));
        // Twice, as Tableau may.
        for _ in 0..2 {
            assert_eq!(http.post(&url).body(message.clone()).send().await.unwrap().status(), 200);
        }
        let wrong = url.replace(secret.expose_secret(), "0123456789abcdef0123456789abcdef");
        assert_eq!(http.post(wrong).body(message).send().await.unwrap().status(), 404);
    }
    let heard = heard.lock().unwrap();
    let events: Vec<_> = heard
        .iter()
        .filter_map(|message| match message {
            Received::Event(payload) => Some((payload.event.clone(), payload.resource_luid.clone().unwrap())),
            _ => None,
        })
        .collect();
    let id = datasource.id.to_string();
    assert_eq!(events, [(WebhookEvent::DatasourceCreated, id.clone()), (WebhookEvent::DatasourceDeleted, id)]);
    assert_eq!(heard.len(), 4);
}
