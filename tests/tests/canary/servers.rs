//! The library with its own clients, against servers that repeat what they were sent: everything that an error holds is searched.

use std::sync::Arc;
use std::time::Duration;

use kinetic_tableau_sync::credentials::SecretString;
use kinetic_tableau_sync::store::SqliteStore;
use kinetic_tableau_sync::{
    HyperOptions, KineticSource, Progress, Redactor, Syncer, TableauDestination, hyper::InstallOptions,
};
use simulators::faults::{Effect, Fault};

use super::canaries::Evidence;
use super::library::{confess, read_store};
use super::own::Listener;
use super::world::{Kinetic, Tableau, World};
use crate::e2e::support::invoices;

fn kinetic(world: &World, way: Kinetic) -> epicor_kinetic::Client {
    let canaries = &world.canaries;
    let builder =
        epicor_kinetic::Client::builder(world.kinetic.url()).company("EPIC06").api_key(&*canaries.api_key.secret);
    let builder = builder.retry(epicor_kinetic::RetryPolicy::default().first_delay(Duration::from_millis(1)));
    let builder = match way {
        Kinetic::Basic => builder.basic("demo", &*canaries.password.secret),
        Kinetic::TokenResource => builder.token_resource("demo", &*canaries.password.secret),
        Kinetic::OAuth2 => builder.oauth2(epicor_kinetic::OAuth2::client_credentials(
            world.kinetic.oauth2_url(),
            "demo-client",
            &*canaries.client_secret.secret,
        )),
    };
    builder.build().unwrap()
}

fn tableau(world: &World, way: Tableau) -> tableau_rest::Client {
    let canaries = &world.canaries;
    let builder = tableau_rest::Client::builder(world.tableau.url()).site(world.tableau.site());
    let builder = builder.retry(tableau_rest::RetryPolicy::default().first_delay(Duration::from_millis(1)));
    let (app, key, secret, user) = world.tableau.connected_app();
    let builder = match way {
        Tableau::Pat => builder.personal_access_token("kinetic-sync", &*canaries.pat.secret),
        Tableau::Password => builder.password("demo", &*canaries.tableau_password.secret),
        Tableau::App => builder.connected_app(
            tableau_rest::ConnectedApp::new(app, key, secret, user)
                .scopes(tableau_rest::ConnectedApp::PUBLISHING_SCOPES.iter().copied()),
        ),
    };
    builder.build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_clients_hold_no_secret_however_they_are_looked_at() {
    let engine = tokio::task::spawn_blocking(|| {
        kinetic_tableau_sync::hyper::find_or_install(&InstallOptions::default()).unwrap()
    });
    let engine = engine.await.unwrap();
    for (one, other, statuses) in [
        (Kinetic::Basic, Tableau::Pat, &[400, 401][..]),
        (Kinetic::TokenResource, Tableau::Password, &[401]),
        (Kinetic::OAuth2, Tableau::App, &[403]),
    ] {
        let world = World::new(one, other).await;
        let redactor = Redactor::new();
        for canary in world.canaries.configured() {
            redactor.add(&SecretString::from(canary.secret.as_str()));
        }
        let store = Arc::new(SqliteStore::open(world.path("library.db")).unwrap());
        let listener = Arc::new(Listener::default());
        let (source, destination) = (kinetic(&world, one), tableau(&world, other));
        let options = HyperOptions { spool: world.path("library-spool"), engine: engine.clone() };
        let mut evidence = Evidence::default();
        evidence.add("debug", format!("{source:?} {destination:?} {source:#?} {destination:#?}"));
        let syncer = Syncer::builder(
            Arc::new(KineticSource::new(source)),
            Arc::new(TableauDestination::new(destination, options)),
            Arc::clone(&store),
        )
        .progress(Arc::clone(&listener) as Arc<dyn Progress>)
        .redactor(&redactor)
        .build();
        evidence.add("debug", format!("{syncer:?} {syncer:#?}"));
        let dataset = invoices();
        let mut failures = 0;
        for &status in statuses {
            for (request, of_kinetic) in [
                ("TokenResource.svc", true),
                ("connect/token", true),
                ("$metadata", true),
                ("APInvoices?", true),
                ("/auth/signin", false),
                ("/projects", false),
                ("/datasources", false),
                ("/jobs/", false),
            ] {
                let faults = if of_kinetic { world.kinetic.faults() } else { world.tableau.faults() };
                faults.push(Fault::on(request, Effect::Echo(status)).times(20));
                // So that everything is asked for anew.
                world.kinetic.expire_tokens();
                world.tableau.expire_sessions();
                match syncer.run_full(&dataset).await {
                    Ok(summary) => evidence.add("summary", format!("{summary:?}")),
                    Err(error) => {
                        failures += 1;
                        evidence.add("error", confess(&error));
                    }
                }
                faults.clear();
            }
        }
        assert!(failures >= statuses.len() * 5, "only {failures} runs failed");
        syncer.run(&dataset).await.unwrap();
        evidence.add("progress", listener.0.lock().unwrap().clone());
        read_store(&store, &dataset.id, &mut evidence).await;
        evidence.add_files(world.directory.path(), &["seal.key"]);
        assert_eq!(evidence.hits(world.canaries.all()), [""; 0]);
        assert!(evidence.text("error").contains("[redacted]"), "no server repeated anything");
    }
}
