//! Two workers of the program on one Postgres: one is stopped for longer than its lease, or killed, at random moments, while the source
//! moves and both servers fail.

#![cfg(unix)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use simulators::faults::{Effect, Fault};
use simulators::postgres::{Database, PostgresServer};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::cli::{World, json, succeeded};

/// The second token that workers may sign in with.
const TOKEN: &str = "second";
const SECRET: &str = "the-secret-of-the-second";
const LEASE: Duration = Duration::from_secs(3);
/// Longer than anything here takes.
const LONG: Duration = Duration::from_mins(2);

/// A worker, and what it has said so far.
struct Worker {
    process: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl Worker {
    async fn start(world: &World, database: &Database, name: &str) -> Self {
        let mut command = world.command(&["run", "--config", &format!("{name}.toml")]).await;
        command.env("KT_STATE", database.url()).env("KT_PAT_2", SECRET);
        let mut process = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let mut out = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut complaints = BufReader::new(process.stderr.take().unwrap()).lines();
        let (heard, muttered) = (Arc::clone(&said), Arc::clone(&said));
        tokio::spawn(async move {
            while let Ok(Some(line)) = out.next_line().await {
                heard.lock().unwrap().push(line);
            }
        });
        tokio::spawn(async move {
            while let Ok(Some(line)) = complaints.next_line().await {
                muttered.lock().unwrap().push(line);
            }
        });
        Self { process, said }
    }

    fn times(&self, words: &str) -> usize {
        self.said.lock().unwrap().iter().filter(|line| line.contains(words)).count()
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().expect("it runs").to_string();
        assert!(std::process::Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }
}

async fn database() -> Database {
    PostgresServer::shared().await.expect("Postgres is needed for this test").database().await.unwrap()
}

fn text(workers: &[Worker]) -> String {
    workers.iter().map(|worker| worker.said.lock().unwrap().join("\n")).collect::<Vec<_>>().join("\n--\n")
}

async fn until(what: &str, workers: &[Worker], mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < LONG, "{what} never came:\n{}", text(workers));
        sleep(Duration::from_millis(20)).await;
    }
}

/// How the configuration names the one token.
fn one_token(world: &World) -> String {
    format!("name = \"{}\"\nsecret = {{ env = \"KT_PAT\" }}\n", world.tableau.pat_name())
}

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// One of the failures that servers have, before or behind the effect.
fn fault(numbers: &mut Numbers) -> (bool, Fault) {
    let effect = match numbers.below(4) {
        0 => Effect::Status { status: 503, body: String::new(), retry_after: None },
        1 => Effect::DropBefore,
        2 => Effect::DropAfter,
        _ => Effect::Delay(Duration::from_millis(700)),
    };
    match numbers.below(3) {
        0 => (true, Fault::on("APInvoices?", effect).nth(1 + numbers.below(4))),
        1 => (false, Fault::on("/data", effect)),
        _ => (false, Fault::on("/fileUploads", effect).nth(1 + numbers.below(2))),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_on_one_postgres_lose_and_double_nothing_whatever_befalls_them() {
    let database = database().await;
    let world = World::start_with(400, |tableau| tableau.another_token(TOKEN, SECRET)).await;
    let names = ["one", "other"];
    let tokens = format!(
        "tokens = [{{ name = \"{}\", secret = {{ env = \"KT_PAT\" }} }}, {{ name = \"{TOKEN}\", secret = {{ env = \"KT_PAT_2\" }} }}]\n",
        world.tableau.pat_name()
    );
    for name in names {
        world.configure(|text| {
            text.replace("store = \"sqlite:state.db\"", "store = { env = \"KT_STATE\" }")
                .replace(
                    "[state]",
                    &format!(
                        "[engine]\nspool = \"spool-{name}\"\n[worker]\nname = \"{name}\"\nlease = \"3s\"\n[state]"
                    ),
                )
                .replace(&one_token(&world), &tokens)
                + "schedule = \"every 1s\"\n"
        });
        let directory = world.directory.path();
        std::fs::rename(directory.join("kinetic-tableau.toml"), directory.join(format!("{name}.toml"))).unwrap();
    }
    std::fs::copy(world.directory.path().join("one.toml"), world.directory.path().join("kinetic-tableau.toml"))
        .unwrap();
    let mut workers = Vec::new();
    for name in names {
        workers.push(Worker::start(&world, &database, name).await);
    }
    until("the full load", &workers, async || workers.iter().any(|worker| worker.times(": full load, ") > 0)).await;

    let (mut numbers, mut dead) = (Numbers(20_261_126), String::new());
    for round in 0..8_u64 {
        world.kinetic.random_changes("APInvoices", 40, 100 + round);
        for _ in 0..numbers.below(3) {
            let (at_kinetic, fault) = fault(&mut numbers);
            if at_kinetic { world.kinetic.faults().push(fault) } else { world.tableau.faults().push(fault) }
        }
        let begun: Vec<usize> = workers.iter().map(|worker| worker.times(" begins")).collect();
        let mut struck = 0;
        until("a run", &workers, async || {
            let at = workers.iter().zip(&begun).position(|(worker, begun)| worker.times(" begins") > *begun);
            struck = at.unwrap_or_default();
            at.is_some()
        })
        .await;
        sleep(Duration::from_millis(numbers.below(350))).await;
        if round % 3 == 2 {
            workers[struck].process.kill().await.unwrap();
            dead.push_str(&text(&workers[struck..=struck]));
            workers[struck] = Worker::start(&world, &database, names[struck]).await;
        } else {
            workers[struck].signal("STOP");
            sleep(LEASE + Duration::from_millis(500)).await;
            // The other one takes over what changed meanwhile.
            let other = &workers[1 - struck];
            let landed = other.times(": delta, ") + other.times(": full load, ");
            world.kinetic.random_changes("APInvoices", 20, 200 + round);
            until("a takeover", &workers, async || {
                let other = &workers[1 - struck];
                other.times(": delta, ") + other.times(": full load, ") > landed
            })
            .await;
            workers[struck].signal("CONT");
            // It finds that another one has taken over what it was at.
            sleep(Duration::from_secs(1)).await;
        }
    }
    world.kinetic.faults().clear();
    world.tableau.faults().clear();

    // I1: when the source rests, all of it has landed.
    let rested = Utc::now();
    let with = |command: &mut Command| {
        command.env("KT_STATE", database.url()).env("KT_PAT_2", SECRET);
    };
    let status = async || {
        let mut status = world.command(&["status", "--json"]).await;
        with(&mut status);
        json(&status.output().await.unwrap())
    };
    until("rest", &workers, async || {
        let status = status().await;
        let dataset = &status["datasets"][0];
        let started = dataset["last_success"]["started"].as_str().and_then(|at| at.parse::<DateTime<Utc>>().ok());
        started.is_some_and(|started| started > rested + Duration::from_secs(3)) && dataset["failures"] == 0
    })
    .await;
    for worker in &mut workers {
        worker.signal("TERM");
        tokio::time::timeout(LONG, worker.process.wait()).await.unwrap().unwrap();
    }
    world.is_equal_with(&with).await;

    // It has struck in the middle of runs: the other one had to end what was begun.
    let all = dead + &text(&workers);
    assert!(all.matches(" had left").count() >= 2, "{all}");

    let mut export = world.command(&["audit", "--export", "jsonl"]).await;
    with(&mut export);
    let export = export.output().await.unwrap();
    succeeded(&export);
    proves_once_and_only_newer(&String::from_utf8(export.stdout).unwrap(), world.kinetic.truth_count("APInvoices"));
}

/// I2 and I3, by the trail alone: a key is there once, and its versions only rise.
fn proves_once_and_only_newer(trail: &str, rows: usize) {
    let mut versions: HashMap<String, i64> = HashMap::new();
    let mut landed = 0;
    for line in trail.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        if record["landed"] != true {
            continue;
        }
        let version = record["version"].as_i64().expect("every row has one");
        let key = record["key"].to_string();
        let inserts = record["action"] == "insert";
        match versions.insert(key.clone(), version) {
            None => assert!(inserts, "the first that is told of {key} is that it was inserted: {line}"),
            Some(before) => assert!(before <= version, "{key} went back from {before} to {version}: {line}"),
        }
        landed += 1;
    }
    assert_eq!(versions.len(), rows);
    assert!(landed > versions.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_token_is_in_use_stands_by_until_it_is_free() {
    let world = World::start(30).await;
    let database = database().await;
    world.configure(|text| {
        text.replace("store = \"sqlite:state.db\"", "store = { env = \"KT_STATE\" }") + "schedule = \"every 1s\"\n"
    });
    let start = async || Worker::start(&world, &database, "kinetic-tableau").await;
    let first = [start().await];
    until("the full load", &first, async || first[0].times(": full load, ") > 0).await;
    let second = [start().await];
    until("standing by", &second, async || second[0].times("waits until one is free") > 0).await;
    world.kinetic.random_changes("APInvoices", 9, 1);
    until("a change", &first, async || first[0].times(": delta, ") > 0).await;
    assert_eq!(world.tableau.faults().count("auth/signin"), 1, "nobody has ended its session");
    let [mut first] = first;
    first.signal("TERM");
    tokio::time::timeout(LONG, first.process.wait()).await.unwrap().unwrap();
    world.kinetic.random_changes("APInvoices", 9, 3);
    until("its turn", &second, async || second[0].times(": delta, ") > 0).await;
    let [mut second] = second;
    second.signal("TERM");
    tokio::time::timeout(LONG, second.process.wait()).await.unwrap().unwrap();
    let with = |command: &mut Command| {
        command.env("KT_STATE", database.url());
    };
    world.is_equal_with(with).await;

    // What people look at is there on Postgres as it is on one file.
    let mut report = world.command(&["report", "--out", "page.html"]).await;
    with(&mut report);
    succeeded(&report.output().await.unwrap());
    let page = std::fs::read_to_string(world.directory.path().join("page.html")).unwrap();
    let rows = world.kinetic.truth_count("APInvoices");
    assert!(page.contains(&format!("<li class=\"sum-inserted\"><b>{rows}</b>")), "none was ever deleted");
    assert!(page.contains("<li class=\"sum-failed\"><b>0</b>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_has_lost_its_token_gives_up_what_it_was_at_and_goes_on_when_the_token_is_free() {
    let world = World::start(30).await;
    let database = database().await;
    world.configure(|text| {
        text.replace("store = \"sqlite:state.db\"", "store = { env = \"KT_STATE\" }")
            .replace("[state]", "[worker]\nlease = \"3s\"\n[state]")
            + "schedule = \"every 1s\"\n"
    });
    let start = async || Worker::start(&world, &database, "kinetic-tableau").await;
    let landings = |worker: &Worker| worker.times(": delta, ") + worker.times(": full load, ");
    let first = [start().await];
    until("the full load", &first, async || landings(&first[0]) > 0).await;

    // What is done beside a worker does not end its session.
    let beside = async |name: &str| {
        let mut command = world.command(&[name]).await;
        command.env("KT_STATE", database.url()).output().await.unwrap()
    };
    let check = beside("check").await;
    succeeded(&check);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(said.contains("not signed in, which would end the session of a worker"), "{said}");
    let sync = beside("sync").await;
    let said = String::from_utf8_lossy(&sync.stderr).into_owned();
    assert_eq!(sync.status.code(), Some(1), "{said}");
    assert!(said.contains("is in use by another worker") && said.contains("`trigger`"), "{said}");
    assert_eq!(world.tableau.faults().count("auth/signin"), 1, "nobody has ended its session");
    let status = json(&{
        let mut status = world.command(&["status", "--json"]).await;
        status.env("KT_STATE", database.url()).output().await.unwrap()
    });
    assert!(status["unconnected"].is_null(), "a token that a worker uses keeps nothing from beginning: {status}");

    first[0].signal("STOP");
    let second = [start().await];
    world.kinetic.random_changes("APInvoices", 9, 1);
    until("a takeover", &second, async || landings(&second[0]) > 0).await;
    first[0].signal("CONT");
    until("the loss", &first, async || first[0].times("has taken our personal access token") > 0).await;
    until("standing by", &first, async || first[0].times("waits until one is free") > 0).await;

    let before = landings(&first[0]);
    let [mut second] = second;
    second.signal("TERM");
    assert!(tokio::time::timeout(LONG, second.process.wait()).await.unwrap().unwrap().success());
    world.kinetic.random_changes("APInvoices", 9, 2);
    // What was given up is the session that is over, and not the one that follows.
    until("its turn", &first, async || landings(&first[0]) > before).await;
    let [mut first] = first;
    first.signal("TERM");
    assert!(tokio::time::timeout(LONG, first.process.wait()).await.unwrap().unwrap().success());
    world
        .is_equal_with(|command| {
            command.env("KT_STATE", database.url());
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_under_a_token_that_is_lost_end_at_once_whatever_grace_they_have() {
    let world = World::start(30).await;
    let database = database().await;
    world.configure(|text| {
        text.replace("store = \"sqlite:state.db\"", "store = { env = \"KT_STATE\" }")
            .replace("[state]", "[worker]\nlease = \"3s\"\ngrace = \"10m\"\n[state]")
            + "schedule = \"every 1s\"\n"
    });
    let worker = [Worker::start(&world, &database, "kinetic-tableau").await];
    until("the full load", &worker, async || worker[0].times(": full load, ") > 0).await;
    // A run that takes long: its own lease is kept all the time.
    world.kinetic.faults().push(Fault::on("APInvoices", Effect::Delay(LONG)));
    sleep(LEASE).await;
    let asked = world.kinetic.faults().count("APInvoices");
    sleep(LEASE).await;
    assert_eq!(world.kinetic.faults().count("APInvoices"), asked, "it is at it");
    let steal = "UPDATE kinetic_tableau.lease SET fence = fence + 1, owner = 'another', expires = now() + interval '1 hour' \
                 WHERE dataset LIKE '@tableau-token/%'";
    assert_eq!(database.connect().await.unwrap().execute(steal, &[]).await.unwrap(), 1);
    let lost = Instant::now();
    until("standing by", &worker, async || worker[0].times("waits until one is free") > 0).await;
    assert!(lost.elapsed() < Duration::from_secs(20), "{:?}: {}", lost.elapsed(), text(&worker));
    assert_eq!(worker[0].times("has taken our personal access token"), 1);
    let [mut worker] = worker;
    worker.signal("TERM");
    assert!(tokio::time::timeout(LONG, worker.process.wait()).await.unwrap().unwrap().success());
}
