//! Webhooks from both ends: one is made in Tableau, and a small web service receives what it posts. Tableau signs nothing, so the
//! secret is in the address; here it is changed while messages arrive.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use secrecy::ExposeSecret;
use simulators::tableau::TableauSim;
use tableau_rest::{Client, FileSource, FileType, NewWebhook, PublishRequest, Received, Receiver, WebhookEvent};

struct Service {
    receiver: Receiver,
    handled: AtomicUsize,
}

async fn tableau_says(State(service): State<Arc<Service>>, Path(secret): Path<String>, body: Bytes) -> StatusCode {
    match service.receiver.receive(&secret, &body) {
        Ok(Received::Event(message)) => {
            println!("  {} of {:?}", message.event, message.resource_name.unwrap_or_default());
            service.handled.fetch_add(1, Ordering::SeqCst);
            StatusCode::OK
        }
        Ok(Received::Duplicate(message)) => {
            println!("  {} once more, nothing to do", message.event);
            StatusCode::OK
        }
        Ok(Received::Test) => StatusCode::OK,
        Err(refused) => StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::BAD_REQUEST),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (old, new) = (Receiver::new_secret(), Receiver::new_secret());
    let receiver = Receiver::new(old.expose_secret())?.also(new.expose_secret())?;
    let service = Arc::new(Service { receiver, handled: AtomicUsize::new(0) });
    let app = Router::new()
        .route("/hooks/tableau/{secret}", post(tableau_says))
        .layer(DefaultBodyLimit::max(64 * 1024))
        .with_state(Arc::clone(&service));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });

    let tableau = TableauSim::builder().switches(|switches| switches.check_extracts = false).start().await?;
    let client = Client::builder(tableau.url())
        .site(tableau.site())
        .personal_access_token(tableau.pat_name(), tableau.pat_secret())
        .build()?;
    let at =
        |secret: &secrecy::SecretString| format!("https://hooks.example.com/hooks/tableau/{}", secret.expose_secret());
    let hook = NewWebhook::new("to our service", WebhookEvent::DatasourceUpdated, at(&old));
    let hook = client.webhooks().create(&hook).await?;
    println!("made {hook:?}; test: {}", client.webhooks().test(&hook.id).await?.is_success());

    let project = client.projects().ensure_path(&["Finance"]).await?;
    for round in 0..3_u8 {
        if round == 2 {
            // From now on Tableau posts to the address with the new secret; the old one goes on working until it is dropped.
            client.webhooks().set_url(&hook.id, &at(&new)).await?;
        }
        let file = FileSource::bytes(FileType::Hyper, vec![round; 100]);
        let request = PublishRequest::new(project.id.clone(), format!("Invoices {round}"), file).overwrite();
        client.datasources().publish(request.clone()).await?;
        client.datasources().publish(request).await?;
    }
    // The simulated Tableau cannot post to https, so its messages are carried over here, each twice as Tableau may.
    let http = reqwest::Client::new();
    let messages = tableau.take_webhook_messages();
    for (url, message) in &messages {
        let url = url.replace("https://hooks.example.com", &format!("http://{address}"));
        for _ in 0..2 {
            http.post(&url).body(message.clone()).send().await?.error_for_status()?;
        }
    }
    let guess = format!("http://{address}/hooks/tableau/{}", Receiver::new_secret().expose_secret());
    let status = http.post(guess).body("{}").send().await?.status();
    println!("a guessed secret: {status}");
    client.webhooks().delete(&hook.id).await?;
    client.sign_out().await?;
    serving.abort();

    let handled = service.handled.load(Ordering::SeqCst);
    if handled != 3 || messages.len() != 3 || status != StatusCode::NOT_FOUND {
        return Err(format!("{handled} of {} messages were handled", messages.len()).into());
    }
    println!("ok: {handled} messages, each handled once");
    Ok(())
}
