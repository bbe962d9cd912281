//! The program as a worker: schedules, what operators ask for, batch processes, and the end.

use std::time::Duration;

use simulators::faults::{Effect, Fault};
use simulators::kinetic::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use super::cli::{World, json, succeeded};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_mins(1);

struct Working {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Working {
    async fn start(world: &World) -> Self {
        let mut process = world.command(&["run"]).await.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// Waits until it says so. Answers the line.
    async fn says(&mut self, words: &str) -> String {
        let said = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if line.contains(words) {
                    return line;
                }
            }
            panic!("it ended without saying {words:?}");
        };
        timeout(LONG, said).await.unwrap_or_else(|_| panic!("it never said {words:?}"))
    }

    #[cfg(unix)]
    fn signal(&self, name: &str) {
        let id = self.process.id().unwrap().to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap();
        assert!(sent.success());
    }
}

fn scheduled(schedule: &str) -> impl FnOnce(String) -> String {
    move |text| format!("{text}schedule = {schedule}\n")
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_follows_its_schedule_its_operators_and_the_ends_of_processes() {
    let world = World::start(120).await;
    world.configure(scheduled("[\"every 1h\", \"after process Post AP Invoices\"]"));
    let mut worker = Working::start(&world).await;
    let due = worker.says("is due every 1h").await;
    assert!(due.ends_with(", next at once"), "{due}");
    let mut ended = worker.says(": full load, ").await;
    while ended.ends_with("; next at once") {
        // The process began to be watched while it ran, so that one more run follows.
        ended = worker.says("; next at ").await;
    }
    let next = ended.split_once("; next at ").unwrap_or_else(|| panic!("{ended}")).1;
    let next = chrono::DateTime::parse_from_rfc3339(&next.replace(' ', "T")).unwrap();
    let wait = next.to_utc() - chrono::Utc::now();
    assert!((55..=60).contains(&wait.num_minutes()), "{ended}");
    world.is_equal().await;

    // Asked for by another process.
    world.kinetic.random_changes("APInvoices", 9, 1);
    let asked = world.run(&["trigger", "ap_invoices"]).await;
    succeeded(&asked);
    assert_eq!(String::from_utf8(asked.stdout).unwrap(), "ap_invoices: asked for\n");
    worker.says(": delta, ").await;
    world.is_equal().await;

    // Paused: what is asked for waits.
    succeeded(&world.run(&["pause", "ap_invoices", "--reason", "month end"]).await);
    let status = json(&world.run(&["status", "--json"]).await);
    assert_eq!(status["datasets"][0]["paused"]["reason"], "month end");
    assert_eq!(status["workers"][0]["datasets"], 1);
    let text = String::from_utf8(world.run(&["status"]).await.stdout).unwrap();
    assert!(text.contains("paused until `resume`") && text.contains("month end") && text.contains("worker "), "{text}");
    world.kinetic.random_changes("APInvoices", 9, 2);
    let asked = world.run(&["trigger", "ap_invoices", "--reconcile"]).await;
    assert!(String::from_utf8(asked.stdout).unwrap().contains("it is paused"));
    tokio::time::sleep(Duration::from_secs(12)).await;
    let status = json(&world.run(&["status", "--json"]).await);
    assert_eq!(status["datasets"][0]["requests"][0]["run"], "reconcile", "it is still open");
    succeeded(&world.run(&["resume", "ap_invoices"]).await);
    worker.says("compared").await;

    // A batch process ends.
    world.kinetic.random_changes("APInvoices", 9, 3);
    let at = world.kinetic.database().now();
    let task = [
        ("SysTaskNum", Value::Int(7)),
        ("TaskDescription", "Post AP Invoices".into()),
        ("TaskStatus", "Complete".into()),
        ("StartedOn", Value::Moment(at)),
        ("EndedOn", Value::Moment(at)),
    ];
    world.kinetic.database().write("SysTasks", task);
    worker.says("1 batch processes have ended").await;
    worker.says(": delta, ").await;
    world.is_equal().await;

    // A worker that has nothing to do keeps nobody from the state.
    world.kinetic.random_changes("APInvoices", 9, 4);
    succeeded(&world.run(&["sync"]).await);
    world.is_equal().await;
    succeeded(&world.run(&["audit", "--prune", "400d"]).await);

    worker.signal("TERM");
    worker.says("what has landed stands").await;
    let ended = timeout(LONG, worker.process.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(0), "it is the usual end of a service");
    let status = json(&world.run(&["status", "--json"]).await);
    assert_eq!(status["workers"], serde_json::json!([]), "it has said that it leaves");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_stopped_ends_what_it_runs_and_gives_up_when_asked_again() {
    // A supervisor's signal is no failure; a person's is told by the exit code, also where it comes second.
    for (first, second, code) in
        [("TERM", None, 0), ("TERM", Some("INT"), 130), ("TERM", Some("TERM"), 0), ("INT", None, 130)]
    {
        let world = World::start(2_000).await;
        world.configure(scheduled("\"every 1h\""));
        let mut worker = Working::start(&world).await;
        worker.says("full load begins: the first load").await;
        worker.signal(first);
        worker.says(if first == "TERM" { "asked to end" } else { "interrupted" }).await;
        if let Some(second) = second {
            worker.signal(second);
        } else {
            worker.says("full load").await;
        }
        let ended = timeout(LONG, worker.process.wait()).await.unwrap().unwrap();
        assert_eq!(ended.code(), Some(code), "{first} {second:?}");
        // At once: no lease is left behind.
        succeeded(&world.run(&["sync"]).await);
        world.is_equal().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_sign_in_is_tried_once() {
    let world = World::start(1).await;
    world.configure(scheduled("\"every 1h\""));
    let mut command = world.command(&["run"]).await;
    command.env("KT_PAT", "wrong");
    let output = timeout(LONG, command.output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    // A supervisor is told so by a code of its own.
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("Tableau at") && text.contains("next: "), "{text}");
    let signed_in = world.tableau.faults().requests().iter().filter(|request| request.contains("signin")).count();
    assert_eq!(signed_in, 1, "accounts are locked by more");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_for_is_told_with_what_to_do() {
    let world = World::start(1).await;
    let text = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let unknown = world.run(&["pause", "ap_invoice"]).await;
    assert!(text(&unknown).contains("did you mean 'ap_invoices'?"), "{}", text(&unknown));
    let long = world.run(&["pause", "ap_invoices", "--for", "a while"]).await;
    assert!(text(&long).contains("--for: 'a while' is no length of time"), "{}", text(&long));
    let nobody = world.run(&["trigger", "ap_invoices"]).await;
    succeeded(&nobody);
    assert!(String::from_utf8(nobody.stdout).unwrap().contains("no worker is running"));
    world.configure(|text| text.replace("sqlite:state.db", "memory"));
    let memory = world.run(&["resume", "ap_invoices"]).await;
    assert!(text(&memory).contains("nobody else can see"), "{}", text(&memory));
    let idle = world.run(&["run"]).await;
    assert_eq!(idle.status.code(), Some(2));
    assert!(text(&idle).contains("no dataset has a schedule"), "{}", text(&idle));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_asked_how_it_is_and_tells_people_when_it_needs_them() {
    // Where alerts go.
    let (posted, mut alerts) = tokio::sync::mpsc::unbounded_channel::<serde_json::Value>();
    let take = async move |body: String| {
        posted.send(serde_json::from_str(&body).unwrap()).unwrap();
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let chat = format!("http://{}/chat/very-secret-path", listener.local_addr().unwrap());
    let app = axum::Router::new().route("/chat/very-secret-path", axum::routing::post(take));
    tokio::spawn(async move { axum::serve(listener, app).await });

    let world = World::start(60).await;
    world.configure(|text| {
        text.replace(
            "[state]",
            "[service]\nlisten = \"127.0.0.1:0\"\n[alerts]\nwebhook = { env = \"KT_CHAT\" }\n[state]",
        ) + "schedule = \"every 1s\"\n"
    });
    world.kinetic.faults().push(Fault::on("", Effect::Delay(Duration::from_secs(5))));
    let mut command = world.command(&["run"]).await;
    let mut process = command.env("KT_CHAT", &chat).spawn().unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut worker = Working { process, lines };
    let serves = worker.says("serves /health/live").await;
    assert!(!serves.contains("/hooks/"), "without a secret no webhooks are taken: {serves}");
    let address = serves.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
    let get = async |path: &str| {
        let answer = reqwest::get(format!("{address}{path}")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    // Kinetic takes its time. A worker that waits lives: whoever ended it for that would end it again and again.
    assert_eq!(get("/health/live").await.0, 200);
    let waits = "{\"ready\":false,\"why\":\"the worker is not connected yet\"}";
    assert_eq!(get("/health/ready").await, (503, waits.to_owned()));
    worker.says(": full load, ").await;
    assert_eq!(get("/health/live").await.0, 200);
    assert_eq!(get("/health/ready").await, (200, "{\"ready\":true}".to_owned()));
    assert_eq!(get("/hooks/tableau/x").await.0, 404);
    let (status, metrics) = get("/metrics").await;
    assert_eq!(status, 200);
    let inserted = "kinetic_tableau_rows_total{dataset=\"ap_invoices\",what=\"inserted\"} 60";
    assert!(metrics.lines().any(|line| line == inserted), "{metrics}");
    assert!(metrics.contains("kinetic_tableau_run_seconds_bucket{"), "{metrics}");

    // Kinetic refuses us: people are told, once.
    let refused = Effect::Status { status: 403, body: String::new(), retry_after: None };
    world.kinetic.faults().push(Fault::on("APInvoices", refused).times(1_000));
    let alert = timeout(LONG, alerts.recv()).await.unwrap().unwrap();
    assert_eq!((alert["kind"].as_str(), alert["dataset"].as_str()), (Some("failing"), Some("ap_invoices")), "{alert}");
    assert!(alert["text"].as_str().unwrap().contains("403") && alert["hint"].is_string(), "{alert}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(alerts.try_recv().is_err(), "once");
    world.kinetic.faults().clear();
    succeeded(&world.run(&["trigger", "ap_invoices"]).await);
    let alert = timeout(LONG, alerts.recv()).await.unwrap().unwrap();
    assert_eq!(alert["kind"], "recovered", "{alert}");

    worker.signal("TERM");
    timeout(LONG, worker.process.wait()).await.unwrap().unwrap();
}
