//! The real program, at the finest level of its log, through every way in which a sync fails.

use std::time::Duration;

use simulators::faults::{Effect, Fault};

use super::canaries::{Canaries, said};
use super::world::{Kinetic, Tableau, World, ended, text};

const WAYS: [(Kinetic, Tableau); 3] =
    [(Kinetic::Basic, Tableau::Pat), (Kinetic::TokenResource, Tableau::Password), (Kinetic::OAuth2, Tableau::App)];

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_goes_well_prints_and_writes_no_secret() {
    for (kinetic, tableau) in WAYS {
        let mut world = World::new(kinetic, tableau).await;
        for arguments in [&["check"][..], &["check", "--json"], &["-vv", "sync"], &["-v", "sync", "--reconcile"]] {
            let output = world.run(arguments).await;
            ended(&output, 0);
            // The log is really as fine as it can be.
            assert!(text(&output).contains("TRACE") && text(&output).contains("DEBUG"), "{}", text(&output));
        }
        world.look_back().await;
        world.is_clean("all went well");
        let checked = world.evidence.text("stdout of check");
        assert!(
            checked.contains("secret [kinetic] api_key: found: the secret kinetic-api-key in the sealed file"),
            "{checked}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_refused_are_told_without_being_shown() {
    for (kinetic, tableau) in WAYS {
        let mut world = World::new(kinetic, tableau).await;
        // Other servers, where everything is wrong.
        let wrong_kinetic = simulators::kinetic::KineticSim::builder().start().await.unwrap();
        let wrong_tableau = simulators::tableau::TableauSim::builder().start().await.unwrap();
        let (right_kinetic, right_tableau) = (world.kinetic.url().to_owned(), world.tableau.url());
        // The API key alone is right there, so that the identity is what is refused.
        let wrong_identity =
            simulators::kinetic::KineticSim::builder().api_key(&world.canaries.api_key.secret).start().await.unwrap();
        let (oauth, wrong_oauth) = (world.kinetic.oauth2_url(), wrong_identity.oauth2_url());
        for (from, to) in [
            (right_kinetic.clone(), wrong_kinetic.url().to_owned()),
            (right_kinetic, wrong_identity.url().to_owned()),
            (oauth, wrong_oauth),
            (right_tableau, wrong_tableau.url()),
        ] {
            world.configure(kinetic, tableau, |text| text.replace(&from, &to));
            let fails = std::fs::read_to_string(world.path("kinetic-tableau.toml")).unwrap().contains(&to);
            for arguments in [&["check"][..], &["check", "--json"], &["-vv", "sync"], &["sync", "--json"]] {
                let output = world.run(arguments).await;
                ended(&output, i32::from(fails));
            }
        }
        world.look_back().await;
        world.is_clean("credentials were refused");
    }
}

/// Requests of a sync, each of which is answered with all that it held.
const REQUESTS: &[(&str, bool)] = &[
    ("TokenResource.svc", true),
    ("connect/token", true),
    ("VendorSvc", true),
    ("APInvoiceSvc/$metadata", true),
    ("APInvoiceSvc/APInvoices", true),
    ("/serverinfo", false),
    ("/auth/signin", false),
    ("/projects", false),
    ("/datasources?", false),
    ("POST /api/3.29/sites", false),
    ("PUT /api/3.29/sites", false),
    ("/jobs/", false),
    ("/auth/signout", false),
];

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_repeat_the_request_in_their_error_are_not_repeated() {
    for (nth, (kinetic, tableau)) in WAYS.into_iter().enumerate() {
        let mut world = World::new(kinetic, tableau).await;
        let mut struck = 0;
        for (at, (request, of_kinetic)) in REQUESTS.iter().enumerate() {
            // The program tells a rejection in the server's own words.
            let status = if *request == "VendorSvc" { 400 } else { [400, 401, 403, 500][(at + nth) % 4] };
            let faults = if *of_kinetic { world.kinetic.faults() } else { world.tableau.faults() };
            let before = faults.count(request);
            // Passing faults are repeated, and strike until nothing more is tried.
            faults.push(Fault::on(*request, Effect::Echo(status)).times(if status == 500 { 1 } else { 20 }));
            world.run(&["-vv", "sync", "--full", "ap_invoices"]).await;
            let faults = if *of_kinetic { world.kinetic.faults() } else { world.tableau.faults() };
            struck += usize::from(faults.count(request) > before);
            faults.clear();
            world.run(&["status", "--json"]).await;
        }
        assert!(struck >= REQUESTS.len() - 3, "only {struck} requests were made");
        world.run(&["-vv", "sync"]).await;
        world.look_back().await;
        world.is_clean("requests were repeated in errors");
        assert!(
            world.evidence.text("stderr of -vv sync --full").contains("[redacted]"),
            "nothing was said that had to go"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_knows_the_secrets_of_the_other_one_is_not_repeated() {
    let mut world = World::new(Kinetic::Basic, Tableau::Pat).await;
    let Canaries { api_key, password, pat, sealed, .. } = world.canaries.clone();
    // Nobody has taken that one out of the sealed file, so nobody knows it.
    let words = |secret: &str| format!("marker-0815 {}", said(secret));
    let refusal = |words: &str| {
        let body = serde_json::json!({ "ErrorMessage": words, "ErrorType": "X", "error": {
            "code": "400000", "summary": words, "detail": words, "message": words,
        }});
        Effect::Status { status: 400, body: body.to_string(), retry_after: None }
    };
    let commands = [&["check"][..], &["check", "--json"], &["-vv", "sync"], &["sync", "--json"]];
    for (of_kinetic, request, canary) in [
        (true, "VendorSvc", &pat),
        (false, "/auth/signin", &api_key),
        (false, "/auth/signin", &password),
        (false, "/serverinfo", &api_key),
        (false, "/datasources?", &password),
    ] {
        for arguments in commands {
            let faults = if of_kinetic { world.kinetic.faults() } else { world.tableau.faults() };
            faults.push(Fault::on(request, refusal(&words(&canary.secret))).times(9));
            world.run(arguments).await;
            let faults = if of_kinetic { world.kinetic.faults() } else { world.tableau.faults() };
            faults.clear();
        }
    }
    world.is_clean("one server said the other one's secrets");
    for place in ["stdout of check", "stdout of check --json", "stderr of -vv sync", "stderr of sync --json"] {
        assert!(world.evidence.holds(place, "marker-0815"), "the words are not in {place}");
        assert!(world.evidence.holds(place, "[redacted]"), "nothing was redacted in {place}");
    }
    world.kinetic.faults().push(Fault::on("VendorSvc", refusal(&words(&sealed.secret))).times(9));
    world.run(&["check"]).await;
    let hits = world.evidence.hits([&sealed]);
    assert!(hits.iter().any(|hit| hit.starts_with("stdout of check")), "the search finds nothing: {hits:?}");
}

/// A job of Tableau that fails and says these words.
fn failed_job(words: &str) -> Effect {
    let body = serde_json::json!({ "job": {
        "id": "j-1", "type": "PublishDatasource", "progress": "100", "finishCode": "1", "completedAt": "2026-11-26T10:00:00Z",
        "notes": words,
    }});
    Effect::Status { status: 200, body: body.to_string(), retry_after: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_says_secrets_leaves_its_other_words_alone() {
    let mut world = World::new(Kinetic::TokenResource, Tableau::Pat).await;
    let Canaries { api_key, password, pat, session, .. } = world.canaries.clone();
    for canary in [&api_key, &password, &pat, &session] {
        // The servers know the session as it is; what is configured is known in every spelling.
        let forms = if canary.name == "session-token" { canary.secret.clone() } else { said(&canary.secret) };
        for before in [0, 45, 150, 270] {
            // What is too long is cut, also in the middle of a secret.
            let words = format!("marker-0815 {}{forms}", "x".repeat(before));
            world.tableau.faults().push(Fault::on("/jobs/", failed_job(&words)).times(9));
            let output = world.run(&["-vv", "sync", "--full", "ap_invoices"]).await;
            ended(&output, 1);
            world.tableau.faults().clear();
        }
    }
    world.look_back().await;
    world.is_clean("a job said secrets");
    for place in
        ["stderr of -vv sync", "stdout of status --json", "stdout of audit --export openlineage", "file state.db"]
    {
        assert!(world.evidence.holds(place, "marker-0815"), "the words are not in {place}");
        assert!(world.evidence.holds(place, "[redacted]"), "nothing was redacted in {place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_words_are_found_everywhere_when_nobody_has_said_that_they_are_secret() {
    let mut world = World::new(Kinetic::Basic, Tableau::Pat).await;
    // Of another program.
    let stranger = world.canaries.passphrase.clone();
    world.tableau.faults().push(Fault::on("/jobs/", failed_job(&stranger.secret)).times(9));
    ended(&world.run(&["-vv", "sync"]).await, 1);
    world.look_back().await;
    world.evidence.add_files(world.directory.path(), &[]);
    let hits = world.evidence.hits(world.canaries.all());
    for place in [
        "stderr of -vv sync",
        "stdout of status",
        "stdout of status --json",
        "stdout of audit --export openlineage",
        "file state.db",
    ] {
        assert!(hits.iter().any(|hit| hit.starts_with(place) && hit.contains("passphrase")), "{place}: {hits:?}");
    }
    assert!(hits.iter().all(|hit| hit.contains("passphrase")), "{hits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_answers_sessions_that_end_and_a_missing_engine_show_nothing() {
    for (kinetic, tableau) in [(Kinetic::TokenResource, Tableau::Password), (Kinetic::OAuth2, Tableau::Pat)] {
        let mut world = World::new(kinetic, tableau).await;
        for effect in [
            Effect::CutBody(30),
            Effect::CutQuietly(30),
            Effect::DropBefore,
            Effect::DropAfter,
            Effect::Html(502),
            Effect::Delay(Duration::from_millis(20)),
        ] {
            for request in ["connect/token", "TokenResource.svc", "APInvoices"] {
                world.kinetic.faults().push(Fault::on(request, effect.clone()));
            }
            for request in ["/auth/signin", "/projects", "/jobs/"] {
                world.tableau.faults().push(Fault::on(request, effect.clone()));
            }
            world.run(&["-vv", "sync", "--full", "ap_invoices"]).await;
            world.kinetic.faults().clear();
            world.tableau.faults().clear();
        }
        world.variables = vec![("HYPERD_PATH", "/nowhere/hyperd".to_owned())];
        ended(&world.run(&["-vv", "sync"]).await, 1);
        ended(&world.run(&["check"]).await, 1);
        world.variables.clear();
        world.look_back().await;
        world.is_clean("answers were broken");
        assert!(world.evidence.text("stderr of -vv sync").contains("HYPERD_PATH names"));
    }
}
