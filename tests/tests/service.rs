//! The web service of a worker: webhooks in, health out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kinetic_tableau_sync::service::{Health, Webhooks};
use kinetic_tableau_sync::store::MemoryStore;
use kinetic_tableau_sync::worker::Worker;
use kinetic_tableau_sync::{
    AuditEvent, AuditFilter, AuditStore as _, Checkpoint, Destination as _, HyperOptions, Redactor, RefreshOutcome,
    RefreshTarget, StateStore as _, Stop, TableauDestination, TableauEvents, Target,
};
use secrecy::ExposeSecret as _;
use simulators::tableau::TableauSim;
use tableau_rest::{NewWebhook, Receiver, WaitPolicy, WebhookEvent};

use super::e2e::support::{World, invoices, location};

async fn serve(app: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_ends_the_wait_for_a_refresh_and_its_outcome_is_audited() {
    let mut world = World::new().await;
    world.tableau = TableauSim::builder()
        .switches(|switches| switches.job_time = Duration::from_millis(300))
        .start()
        .await
        .unwrap();
    world.tableau.add_datasource_with_upstream("Finance", "Ledger");
    let ledger = RefreshTarget::Datasource { project: "Finance".to_owned(), name: "Ledger".to_owned() };
    let mut dataset = invoices();
    dataset.refresh = vec![ledger.clone()];
    let mut other = invoices();
    other.id = "other".into();
    other.target = Target { project: "Finance".to_owned(), datasource: "Another".to_owned() };

    let secret = Receiver::new_secret();
    let events = TableauEvents::new();
    let webhooks = Webhooks::new(Receiver::new(secret.expose_secret()).unwrap(), &events)
        .audit(Arc::clone(&world.store) as _, [dataset.clone(), other])
        .redactor(&Redactor::default());
    assert!(!format!("{webhooks:?}").contains(secret.expose_secret()));
    let address = serve(webhooks.router()).await;

    // By asking alone it would be noticed after twenty seconds.
    let slow = WaitPolicy::new(Duration::from_mins(2)).first_poll(Duration::from_secs(20));
    let options = HyperOptions { spool: world.directory.path().join("spool"), engine: location() };
    let client = world.tableau_client();
    let destination = TableauDestination::new(client.clone(), options).wait_policy(slow).events(&events);
    for event in [WebhookEvent::DatasourceRefreshSucceeded, WebhookEvent::DatasourceRefreshFailed] {
        let url = format!("https://hooks.example.com/hooks/tableau/{}", secret.expose_secret());
        client.webhooks().create(&NewWebhook::new(format!("to us: {event}"), event, url)).await.unwrap();
    }
    for failing in [false, true] {
        if failing {
            world.tableau.fail_next_refresh("the database is away");
        }
        let carry = async {
            // The simulated Tableau cannot post to https, so its messages are carried over here, each twice as Tableau may.
            let messages = loop {
                let messages = world.tableau.take_webhook_messages();
                if !messages.is_empty() {
                    break messages;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            };
            for (url, message) in messages {
                let url = url.replace("https://hooks.example.com", &address);
                for _ in 0..2 {
                    let status = reqwest::Client::new().post(&url).body(message.clone()).send().await.unwrap().status();
                    assert_eq!(status, 200);
                }
            }
        };
        let began = Instant::now();
        let (report, ()) = tokio::join!(destination.refresh(&ledger), carry);
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        match report.unwrap().outcome {
            RefreshOutcome::Failed(note) => assert!(failing && note.contains("the database is away"), "{note}"),
            outcome => assert!(!failing && outcome == RefreshOutcome::Succeeded, "{outcome:?}"),
        }
    }

    let told = world.store.events(&AuditFilter::default()).await.unwrap();
    let told: Vec<(&str, &str, Option<&str>)> = told
        .iter()
        .map(|entry| match &entry.event {
            AuditEvent::Told { what, resource, .. } => (entry.dataset.as_str(), what.as_str(), resource.as_deref()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            ("ap_invoices", "DatasourceRefreshSucceeded", Some("Ledger")),
            ("ap_invoices", "DatasourceRefreshFailed", Some("Ledger"))
        ],
        "once each, and for the dataset that refreshes it only"
    );
    assert_eq!(world.store.verify().await.unwrap().first_broken, None);
}

#[tokio::test]
async fn what_is_no_message_of_tableau_is_refused() {
    let secret = Receiver::new_secret();
    let events = TableauEvents::new();
    let store = Arc::new(MemoryStore::new());
    let receiver = Receiver::new(secret.expose_secret()).unwrap();
    let address = serve(Webhooks::new(receiver, &events).audit(Arc::clone(&store) as _, [invoices()]).router()).await;
    let post = async |secret: &str, body: String| {
        let url = format!("{address}/hooks/tableau/{secret}");
        reqwest::Client::new().post(url).body(body).send().await.unwrap().status().as_u16()
    };
    let message = r#"{"event_type":"DatasourceRefreshSucceeded","resource_name":"AP invoices"}"#.to_owned();
    assert_eq!(post(Receiver::new_secret().expose_secret(), message.clone()).await, 404);
    assert_eq!(post(secret.expose_secret(), "no json".to_owned()).await, 400);
    assert_eq!(post(secret.expose_secret(), format!("{{\"x\":\"{}\"}}", "y".repeat(70_000))).await, 413);
    assert_eq!(store.events(&AuditFilter::default()).await.unwrap(), []);
    assert_eq!(post(secret.expose_secret(), String::new()).await, 200, "the test of a webhook");
    assert_eq!(post(secret.expose_secret(), message).await, 200);
    assert_eq!(store.events(&AuditFilter::default()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_message_concerns_what_has_landed_under_its_id_and_by_its_name_only_what_has_not_landed_yet() {
    let secret = Receiver::new_secret();
    let store = Arc::new(MemoryStore::new());
    let mut datasets = Vec::new();
    for (project, landed_as) in [("Finance", Some("4f1c")), ("Sales", Some("77aa")), ("Stock", None)] {
        let mut dataset = invoices();
        dataset.id = project.into();
        dataset.target.project = project.to_owned();
        if let Some(id) = landed_as {
            let (target, signature) = (dataset.target.clone(), String::new());
            let landed = serde_json::json!({"target": target, "target_id": id, "signature": signature, "rows": 1});
            let landed = serde_json::from_value(landed).unwrap();
            let lease = store.lease(&dataset.id, "us", Duration::from_mins(1)).await.unwrap();
            let checkpoint = Checkpoint { landed: Some(landed), ..Checkpoint::default() };
            store.store(&lease, None, &checkpoint).await.unwrap();
        }
        datasets.push(dataset);
    }
    let name = datasets[0].target.datasource.clone();
    let mut refresher = invoices();
    refresher.id = "Refresher".into();
    refresher.target.datasource = "Another".to_owned();
    refresher.refresh = vec![RefreshTarget::Datasource { project: "Finance".to_owned(), name: name.clone() }];
    datasets.push(refresher);
    let receiver = Receiver::new(secret.expose_secret()).unwrap();
    let webhooks = Webhooks::new(receiver, &TableauEvents::new())
        .audit(Arc::clone(&store) as _, datasets)
        .state(Arc::clone(&store) as _);
    let address = serve(webhooks.router()).await;
    let post = async |message: serde_json::Value| {
        let url = format!("{address}/hooks/tableau/{}", secret.expose_secret());
        assert_eq!(reqwest::Client::new().post(url).body(message.to_string()).send().await.unwrap().status(), 200);
        let mut told: Vec<String> = store
            .events(&AuditFilter::default())
            .await
            .unwrap()
            .into_iter()
            .map(|entry| entry.dataset.to_string())
            .collect();
        told.sort();
        told
    };
    let event = "DatasourceRefreshFailed";
    let known = serde_json::json!({"event_type": event, "resource_name": name, "resource_luid": "77AA"});
    assert_eq!(post(known).await, ["Refresher", "Sales", "Stock"]);
    let unnamed = serde_json::json!({"event_type": event, "resource_name": name});
    assert_eq!(
        post(unnamed).await,
        ["Finance", "Refresher", "Refresher", "Sales", "Sales", "Stock", "Stock"],
        "without an id all of its name"
    );
}

#[tokio::test]
async fn a_worker_is_ready_once_it_has_said_that_it_is_alive_and_until_it_leaves() {
    let store = Arc::new(MemoryStore::new());
    let address = serve(Health::new(Arc::clone(&store) as _).owner("ours").router()).await;
    let ask = async |path: &str| {
        let answer = reqwest::get(format!("{address}/health/{path}")).await.unwrap();
        (answer.status().as_u16(), answer.json::<serde_json::Value>().await.unwrap())
    };
    assert_eq!(ask("live").await, (200, serde_json::json!({ "live": true })));
    let (status, why) = ask("ready").await;
    assert_eq!((status, why["ready"].as_bool()), (503, Some(false)));
    assert!(why["why"].as_str().unwrap().contains("not said that it is alive"), "{why}");

    let stop = Stop::new();
    let start = |name: &str| {
        let (worker, stop) = (Worker::builder(Arc::clone(&store)).owner(name).build(), stop.clone());
        tokio::spawn(async move { worker.run(&stop).await })
    };
    let other = start("another");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(ask("ready").await.0, 503, "another one is alive, and not ours");
    let ours = start("ours");
    let began = Instant::now();
    while ask("ready").await.0 != 200 {
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.now();
    ours.await.unwrap();
    other.await.unwrap();
    assert_eq!(ask("ready").await.0, 503);
}
