//! What somebody tries who is new to the program: servers that stay up, checks that see what would fail, and ends that harm nothing.

use std::process::Stdio;
use std::time::Duration;

use simulators::faults::{Effect, Fault};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::cli::{World, binary, json, succeeded};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_mins(2);

fn text(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[cfg(unix)]
fn signal(name: &str, process: &str) {
    assert!(std::process::Command::new("kill").args([&format!("-{name}"), "--", process]).status().unwrap().success());
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_servers_of_the_demo_stay_up_for_every_other_command() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept");
    let mut demo = Command::new(binary().await)
        .args(["demo", "--serve", "--rows", "40", "--keep"])
        .arg(&kept)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let up = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("stay up until Ctrl-C") {
                return;
            }
        }
        panic!("it ended");
    };
    timeout(LONG, up).await.unwrap();
    let config = kept.join("kinetic-tableau.toml");
    for command in ["check", "sync"] {
        let output = Command::new(binary().await).arg("--config").arg(&config).arg(command).output().await.unwrap();
        succeeded(&output);
        assert!(!text(&output).contains("others may read"), "{}", text(&output));
    }
    signal("INT", &demo.id().unwrap().to_string());
    assert!(timeout(LONG, demo.wait()).await.unwrap().unwrap().success());
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_to_all_that_a_worker_started_lets_its_runs_end() {
    let world = World::start(400).await;
    world.configure(|text| text + "schedule = \"every 1h\"\n");
    // The engine has taken rows when the signal comes.
    world.kinetic.faults().push(Fault::on("APInvoices?", Effect::Delay(Duration::from_secs(4))).nth(3));
    let mut command = world.command(&["-v", "run"]).await;
    command.process_group(0);
    let mut worker = command.spawn().unwrap();
    let mut lines = BufReader::new(worker.stdout.take().unwrap()).lines();
    let mut said = String::new();
    let all = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            said.push_str(&line);
            said.push('\n');
            if line.contains("full load begins") {
                tokio::time::sleep(Duration::from_secs(2)).await;
                signal("TERM", &format!("-{}", worker.id().unwrap()));
            }
        }
    };
    timeout(LONG, all).await.unwrap();
    assert!(timeout(LONG, worker.wait()).await.unwrap().unwrap().success(), "{said}");
    assert!(said.contains("asked to end") && said.contains(": full load, 400 read"), "{said}");
    world.is_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_back_a_sync_that_does_not_name_its_dataset() {
    let world = World::start(30).await;
    succeeded(&world.run(&["pause", "ap_invoices", "--for", "1h"]).await);
    let left = world.run(&["sync"]).await;
    succeeded(&left);
    assert!(text(&left).contains("is paused until") && text(&left).contains("left out"), "{}", text(&left));
    assert!(world.tableau.extract_path("AP invoices").is_none());
    let named = world.run(&["sync", "ap_invoices"]).await;
    succeeded(&named);
    assert!(text(&named).contains("synced all the same"), "{}", text(&named));
    world.is_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_what_run_would_refuse_and_what_a_sync_would_replace() {
    let world = World::start(30).await;
    let service = |secret: &str, listen: &str| {
        let section = format!("[service]\nlisten = \"{listen}\"\nwebhook_secret = {{ env = \"{secret}\" }}\n[state]");
        world.configure(|text| text.replace("[state]", &section));
    };
    let check = async || {
        let mut command = world.command(&["check"]).await;
        command.env("KT_SHORT", "short").env("KT_HOOK", "0123456789abcdef0123456789abcdef");
        command.output().await.unwrap()
    };
    service("KT_SHORT", "127.0.0.1:0");
    let short = check().await;
    assert_eq!(short.status.code(), Some(1));
    assert!(text(&short).contains("✗ service: webhook_secret: the secret is shorter"), "{}", text(&short));
    assert!(text(&short).contains("next: make one with `openssl rand -hex 32`"), "{}", text(&short));
    service("KT_HOOK", "192.0.2.1:80");
    assert!(text(&check().await).contains("✗ service: listen"), "not an address of this machine");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    service("KT_HOOK", &taken.local_addr().unwrap().to_string());
    let used = check().await;
    succeeded(&used);
    assert!(text(&used).contains("is in use, as it is while a worker runs here"), "{}", text(&used));

    world.configure(|text| text);
    succeeded(&world.run(&["sync"]).await);
    let known = world.run(&["check"]).await;
    assert!(text(&known).contains("there, and takes changes"), "{}", text(&known));
    world.configure(|text| text.replace("state.db", "another.db"));
    let unknown = world.run(&["check"]).await;
    succeeded(&unknown);
    assert!(text(&unknown).contains("the first sync replaces all of its rows"), "{}", text(&unknown));
    assert_eq!(json(&world.run(&["check", "--json"]).await)["ok"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_everything_from_beginning_is_in_the_status_until_it_is_over() {
    let world = World::start(30).await;
    let mut wrong = world.command(&["sync"]).await;
    let output = wrong.env("KT_PAT", "wrong").output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let status = world.run(&["status"]).await;
    assert!(
        text(&status).contains("nothing could be begun since") && text(&status).contains("Tableau at"),
        "{}",
        text(&status)
    );
    let told = json(&world.run(&["status", "--json"]).await)["unconnected"].clone();
    assert!(told["message"].as_str().unwrap().contains("sign in") && told["next"].is_string(), "{told}");
    succeeded(&world.run(&["sync"]).await);
    let status = json(&world.run(&["status", "--json"]).await);
    assert!(status["unconnected"].is_null(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_keeps_nobody_from_using_another() {
    let world = World::start(30).await;
    let name = world.tableau.pat_name().to_owned();
    world.configure(|text| {
        let one = format!("name = \"{name}\"\nsecret = {{ env = \"KT_PAT\" }}\n");
        let two = "tokens = [{ name = \"gone\", secret = { env = \"KT_API_KEY\" } }, ";
        text.replace(&one, &format!("{two}{{ name = \"{name}\", secret = {{ env = \"KT_PAT\" }} }}]\n"))
    });
    let output = world.run(&["sync"]).await;
    succeeded(&output);
    assert!(text(&output).contains("token 1 of 2, which is passed over"), "{}", text(&output));
    world.is_equal().await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_schedules_does_what_is_asked_for() {
    let world = World::start(30).await;
    let mut worker = world.command(&["run"]).await.spawn().unwrap();
    let mut lines = BufReader::new(worker.stdout.take().unwrap()).lines();
    let mut said = String::new();
    let all = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            said.push_str(&line);
            if line.contains("no dataset has a schedule") {
                succeeded(&world.run(&["trigger", "ap_invoices"]).await);
            }
            if line.contains(": full load, ") {
                signal("TERM", &worker.id().unwrap().to_string());
            }
        }
    };
    timeout(LONG, all).await.unwrap_or_else(|_| panic!("{said}"));
    assert!(timeout(LONG, worker.wait()).await.unwrap().unwrap().success(), "{said}");
    world.is_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_moves_its_stamps_late_costs_full_loads_and_no_row() {
    let world =
        World::start_with(60, |tableau| tableau.switches(|switches| switches.late_update = Duration::from_secs(2)))
            .await;
    let sync = async || {
        world.kinetic.random_changes("APInvoices", 5, 1);
        tokio::time::sleep(Duration::from_millis(3_500)).await;
        let output = world.run(&["sync"]).await;
        succeeded(&output);
        world.is_equal().await;
        text(&output)
    };
    succeeded(&world.run(&["sync"]).await);
    let seen = sync().await;
    assert!(seen.contains("full load") && seen.contains("somebody else has written"), "{seen}");
    world.configure(|text| text.replace("[tableau.auth]", "watch_target = false\n[tableau.auth]"));
    let unseen = sync().await;
    assert!(unseen.contains(": delta, "), "{unseen}");
}
