//! The binary `kinetic-tableau` as an operator uses it: what it prints, how it ends, and that killing it at any moment is harmless.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use kinetic_tableau_sync::StateStore as _;
use kinetic_tableau_sync::hyper::{Engine, InstallOptions, find_or_install};
use kinetic_tableau_sync::store::SqliteStore;
use serde_json::Value;
use simulators::kinetic::{KineticSim, Row, Seed};
use simulators::tableau::{TableauSim, TableauSimBuilder};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

// The same comparison that the demo shows, so that both mean the same by "equal".
#[path = "../../examples/src/commands/demo/compare.rs"]
mod compare;

/// Stands for a secret that an operator mistyped: it must appear nowhere.
const CANARY: &str = "canary-51c9e0d2";

impl compare::TrueRow for Row {
    fn text(&self, column: &str) -> Option<String> {
        self.get(column).and_then(simulators::kinetic::Value::to_text)
    }
}

/// The binary, built once with the profile of this test.
pub(crate) async fn binary() -> &'static Path {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    BUILT
        .get_or_init(|| async {
            let test = std::env::current_exe().unwrap();
            let profile = test.ancestors().find(|path| path.join("deps").is_dir()).unwrap().to_owned();
            let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            build.args([
                "build",
                "--quiet",
                "--package",
                "kinetic-tableau",
                "--bin",
                "kinetic-tableau",
                "--target-dir",
            ]);
            build.arg(profile.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
            if profile.file_name().is_some_and(|name| name == "release") {
                build.arg("--release");
            }
            assert!(build.status().await.unwrap().success(), "the binary does not build");
            profile.join(format!("kinetic-tableau{}", std::env::consts::EXE_SUFFIX))
        })
        .await
}

async fn engine() -> Engine {
    let location = tokio::task::spawn_blocking(|| find_or_install(&InstallOptions::default())).await.unwrap().unwrap();
    Engine::start(&location).await.unwrap()
}

/// Both simulators, and a directory with a configuration that names them.
pub(crate) struct World {
    pub(crate) kinetic: KineticSim,
    pub(crate) tableau: TableauSim,
    pub(crate) directory: tempfile::TempDir,
}

impl World {
    pub(crate) async fn start(invoices: usize) -> Self {
        Self::start_with(invoices, |tableau| tableau).await
    }

    pub(crate) async fn start_with(
        invoices: usize,
        tableau: impl FnOnce(TableauSimBuilder) -> TableauSimBuilder,
    ) -> Self {
        let kinetic = KineticSim::builder().start().await.unwrap();
        kinetic.seed(Seed { vendors: 20, ap_invoices: invoices, ..Seed::default() });
        let tableau = tableau(TableauSim::builder()).start().await.unwrap();
        let world = Self { kinetic, tableau, directory: tempfile::tempdir().unwrap() };
        world.configure(|text| text);
        world
    }

    /// Writes the configuration, after a change.
    pub(crate) fn configure(&self, change: impl FnOnce(String) -> String) {
        let text = format!(
            r#"
[kinetic]
url = "{}"
company = "EPIC06"
api_key = {{ env = "KT_API_KEY" }}
[kinetic.auth]
kind = "basic"
user = "{}"
password = {{ env = "KT_PASSWORD" }}
[tableau]
url = "{}"
site = "{}"
[tableau.auth]
kind = "pat"
name = "{}"
secret = {{ env = "KT_PAT" }}
[state]
store = "sqlite:state.db"
[[dataset]]
name = "ap_invoices"
service = "Erp.BO.APInvoiceSvc"
entity_set = "APInvoices"
select = ["Company", "VendorNum", "InvoiceNum", "InvoiceDate", "InvoiceAmt", "CurrencyCode", "Posted"]
page_size = 100
project = "Finance"
datasource = "AP invoices"
"#,
            self.kinetic.url(),
            self.kinetic.user(),
            self.tableau.url(),
            self.tableau.site(),
            self.tableau.pat_name()
        );
        std::fs::write(self.directory.path().join("kinetic-tableau.toml"), change(text)).unwrap();
    }

    pub(crate) async fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary().await);
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("KT_API_KEY", self.kinetic.api_key())
            .env("KT_PASSWORD", self.kinetic.password())
            .env("KT_PAT", self.tableau.pat_secret())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).await.output().await.unwrap();
        self.shows_no_secret(&output);
        output
    }

    fn shows_no_secret(&self, output: &Output) {
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        for secret in [self.kinetic.api_key(), self.kinetic.password(), self.tableau.pat_secret(), CANARY] {
            assert!(!text.contains(secret), "a secret was printed");
        }
    }

    /// Runs a command that must fail, with one line that says why and one that says what to do. Answers both.
    async fn complaint(&self, mut command: Command) -> String {
        let output = command.output().await.unwrap();
        self.shows_no_secret(&output);
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            matches!(lines.as_slice(), [error, next] if error.starts_with("error: ") && next.starts_with("  next: ")),
            "not one clear line and its hint:\n{text}"
        );
        text
    }

    /// What lies in Tableau is what is in Kinetic, row for row and cell for cell, and the state says so too.
    pub(crate) async fn is_equal(&self) {
        self.is_equal_with(|_| ()).await;
    }

    /// The same, with commands that need more than their names.
    pub(crate) async fn is_equal_with(&self, more: impl Fn(&mut Command)) {
        let copy = self.directory.path().join("copy.hyper");
        std::fs::copy(self.tableau.extract_path("AP invoices").expect("it has landed"), &copy).unwrap();
        let truth = self.kinetic.rows("APInvoices");
        let found =
            compare::compare(&engine().await, &copy, &["Company", "VendorNum", "InvoiceNum"], &truth).await.unwrap();
        assert!(found.matches(), "{found:?}");
        assert!(found.cells > 0);
        let mut status = self.command(&["status", "--json"]).await;
        more(&mut status);
        let status = json(&status.output().await.unwrap());
        assert_eq!(status["datasets"][0]["landed_rows"], truth.len());
        assert_eq!(status["datasets"][0]["pending_delivery"], Value::Null);
        let mut verify = self.command(&["audit", "--verify"]).await;
        more(&mut verify);
        assert!(verify.output().await.unwrap().status.success());
    }
}

pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("standard output is not one JSON value: {error}: {}", String::from_utf8_lossy(&output.stderr))
    })
}

pub(crate) fn succeeded(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_matches_for_machines_and_keeps_what_it_made() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept");
    let mut demo = Command::new(binary().await);
    demo.args(["demo", "--json", "--rows", "700", "--keep"]).arg(&kept);
    let output = demo.output().await.unwrap();
    succeeded(&output);
    let report = json(&output);
    let datasets = report["datasets"].as_array().unwrap();
    let names: Vec<&str> = datasets.iter().map(|dataset| dataset["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["vendors", "ap_invoices", "purchase_orders", "gl_accounts"]);
    for dataset in datasets {
        assert_eq!(dataset["matches"], true, "{dataset}");
        assert_eq!(dataset["source_rows"], dataset["landed_rows"]);
        assert_eq!(dataset["full"]["matches"], true);
        assert!(dataset["reconcile"]["deleted"].as_u64().unwrap() > 0, "{dataset}");
        assert!(
            dataset["incremental"]["inserted"].as_u64().unwrap() + dataset["incremental"]["updated"].as_u64().unwrap()
                > 0
        );
        // An incremental cycle that reads everything again is none.
        assert!(Path::new(dataset["extract"].as_str().unwrap()).is_file());
    }
    let refreshed: Vec<&str> = datasets
        .iter()
        .flat_map(|dataset| dataset["refreshes"].as_array().unwrap())
        .map(|report| report["outcome"]["is"].as_str().unwrap())
        .collect();
    assert_eq!(refreshed, ["succeeded"; 6], "a datasource and a workbook after each of three landings");

    let page = std::fs::read_to_string(report["page"].as_str().unwrap()).unwrap();
    assert!(page.contains("All 4 datasets are well.") && page.contains("The audit trail is whole."));

    // The state outlives the demo, and its own configuration reads it.
    for arguments in
        [["status"].as_slice(), &["audit", "--dataset", "ap_invoices", "--limit", "3"], &["audit", "--verify"]]
    {
        let mut command = Command::new(binary().await);
        command.arg("--config").arg(kept.join("kinetic-tableau.toml")).args(arguments);
        succeeded(&command.output().await.unwrap());
    }

    // A directory that holds something is left alone.
    let mut again = Command::new(binary().await);
    again.args(["demo", "--json", "--keep"]).arg(&kept);
    let output = again.output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn check_is_content_with_what_works_and_changes_nothing() {
    let world = World::start(50).await;
    let checks = json(&world.run(&["check", "--json"]).await);
    assert_eq!(checks["ok"], true, "{checks}");
    assert!(world.tableau.extract_path("AP invoices").is_none());
    let told = checks["checks"].as_array().unwrap().iter().map(|check| check["message"].as_str().unwrap());
    let told: Vec<&str> = told.collect();
    assert!(told.iter().any(|told| told.contains(" starts in ")), "the engine was tried out: {told:?}");
    assert!(told.iter().any(|told| told.contains("kinetic-tableau-spool can be written to")), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_finds_what_would_fail_only_behind_the_landing() {
    let world = World::start(5).await;
    world.tableau.add_datasource_with_upstream("Finance", "Ledger");
    // A file stands where the spool would be.
    std::fs::write(world.directory.path().join("file"), "").unwrap();
    world.configure(|text| {
        format!("[engine]\nspool = \"file/spool\"\n{text}refresh = [{{ datasource = \"Ledger\", project = \"Finance\" }}, {{ workbook = \"Nope\", project = \"Finance\" }}]\n")
    });
    let output = world.run(&["check", "--json"]).await;
    assert_eq!(output.status.code(), Some(1));
    let checks = json(&output)["checks"].as_array().unwrap().clone();
    let of =
        |words: &str| checks.iter().find(|check| check["check"].as_str().unwrap().contains(words)).unwrap().clone();
    assert_eq!(of("spool")["ok"], false, "{checks:?}");
    assert_eq!(of("Ledger")["ok"], true, "{checks:?}");
    let nope = of("Nope");
    assert_eq!(nope["ok"], false);
    assert!(nope["message"].as_str().unwrap().contains("not there") && nope["next"].is_string(), "{nope}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_api_key_is_one_clear_line() {
    let world = World::start(5).await;
    let mut sync = world.command(&["sync"]).await;
    sync.env("KT_API_KEY", CANARY);
    let text = world.complaint(sync).await;
    assert!(text.contains("Kinetic at ") && text.contains("401"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_company_is_told_in_the_servers_own_words() {
    let world = World::start(5).await;
    world.configure(|text| text.replace("EPIC06", "EPIC99"));
    let sync = world.command(&["sync"]).await;
    let text = world.complaint(sync).await;
    assert!(text.contains("Company EPIC99 is not valid") && text.contains("check `company`"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_one_clear_line() {
    let world = World::start(5).await;
    let mut sync = world.command(&["sync"]).await;
    sync.env("KT_PAT", CANARY);
    let text = world.complaint(sync).await;
    assert!(text.contains("Tableau at ") && text.contains("401001"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_host_is_one_clear_line_that_names_it() {
    let world = World::start(5).await;
    // Nobody listens on port 1.
    for url in [world.kinetic.url().to_string(), world.tableau.url().clone()] {
        world.configure(|text| text.replace(&url, "http://127.0.0.1:1/x"));
        let sync = world.command(&["sync"]).await;
        let text = world.complaint(sync).await;
        assert!(text.contains("127.0.0.1:1"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_column_is_one_clear_line_that_offers_the_nearest() {
    let world = World::start(5).await;
    world.configure(|text| text.replace("\"InvoiceAmt\"", "\"InvoiceAmnt\""));
    let sync = world.command(&["sync"]).await;
    let text = world.complaint(sync).await;
    assert!(text.contains("no column InvoiceAmnt") && text.contains("InvoiceAmt?"), "{text}");
    assert!(world.tableau.extract_path("AP invoices").is_none(), "something was published");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datasource_name_that_exists_twice_is_one_clear_line() {
    let world = World::start(5).await;
    succeeded(&world.run(&["sync"]).await);
    world.tableau.duplicate_datasource("AP invoices");
    world.kinetic.random_changes("APInvoices", 2, 1);
    let sync = world.command(&["sync"]).await;
    let text = world.complaint(sync).await;
    assert!(text.contains("2 datasources named 'AP invoices'"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connected_app_signs_in_for_a_whole_sync() {
    let world = World::start(30).await;
    let (id, key, secret, user) = world.tableau.connected_app();
    let auth = |text: String, secret_id: &str| {
        let (before, rest) = text.split_once("kind = \"pat\"").unwrap();
        let (_, behind) = rest.split_once("[state]").unwrap();
        format!(
            "{before}kind = \"connected-app\"\nclient_id = \"{id}\"\nsecret_id = \"{secret_id}\"\n\
             secret = {{ env = \"KT_APP\" }}\nuser = \"{user}\"\n[state]{behind}"
        )
    };
    world.configure(|text| auth(text, key));
    let output = world.command(&["sync"]).await.env("KT_APP", secret).output().await.unwrap();
    succeeded(&output);
    assert!(world.tableau.landed_file("Finance", "AP invoices").is_some());
    assert!(!String::from_utf8_lossy(&output.stdout).contains(secret));
    world.configure(|text| auth(text, "another"));
    let mut refused = world.command(&["check"]).await;
    refused.env("KT_APP", CANARY);
    let text = String::from_utf8(refused.output().await.unwrap().stdout).unwrap();
    assert!(text.contains("401001") && text.contains("connected app"), "{text}");
    assert!(!text.contains(CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_ends_with_the_exit_code_of_a_wrong_configuration() {
    let world = World::start(1).await;
    world.configure(|text| text.replace("page_size", "pagesize"));
    let output = world.run(&["sync"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("'page_size'"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_is_told_in_the_forms_of_other_tools() {
    let world = World::start(60).await;
    succeeded(&world.run(&["sync"]).await);
    let text = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap();
    let csv = world.run(&["audit", "--export", "csv"]).await;
    succeeded(&csv);
    assert_eq!(text(&csv).lines().count(), world.kinetic.truth_count("APInvoices") + 1);
    assert!(text(&csv).starts_with("at,dataset,run,action,"));
    let lines = text(&world.run(&["audit", "--export", "jsonl"]).await);
    assert_eq!(lines.lines().count(), world.kinetic.truth_count("APInvoices"));
    let events = text(&world.run(&["audit", "--export", "openlineage"]).await);
    let kinds: Vec<Value> =
        events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["eventType"].clone()).collect();
    assert_eq!(kinds, ["START", "COMPLETE"]);
}

/// The lines behind which a run is killed: while pages are read, while the sealed load is being published, and when it is visible
/// but the checkpoint may not have moved.
const MOMENTS: [&str; 3] = [" begins", "publishing", " rows landed"];

impl World {
    /// Starts a sync and kills it as soon as it has said so.
    async fn killed_behind(&self, words: &str) {
        let mut sync: Child = self.command(&["sync"]).await.spawn().unwrap();
        let mut lines = BufReader::new(sync.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        while !said.last().is_some_and(|line: &String| line.contains(words)) {
            let Some(line) = lines.next_line().await.unwrap() else {
                let output = sync.wait_with_output().await.unwrap();
                let complaint = String::from_utf8_lossy(&output.stderr);
                panic!("the sync ended without saying {words:?}: {said:?} {complaint}");
            };
            said.push(line);
        }
        // SIGKILL: nothing in the process runs any more.
        sync.kill().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_either_cycle_and_run_again_nothing_is_lost_or_doubled() {
    for words in MOMENTS {
        let world = World::start(400).await;
        world.killed_behind(words).await;
        succeeded(&world.run(&["sync"]).await);
        world.is_equal().await;

        world.kinetic.random_changes("APInvoices", 60, 5);
        world.killed_behind(words).await;
        succeeded(&world.run(&["sync"]).await);
        world.is_equal().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_the_trail_leaves_what_waits_to_be_delivered() {
    let world = World::start(300).await;
    world.configure(|text| {
        text + "[[dataset]]\nname = \"vendors\"\nservice = \"Erp.BO.VendorSvc\"\nentity_set = \"Vendors\"\n\
                select = [\"Name\"]\nproject = \"Finance\"\ndatasource = \"Vendors\"\n"
    });
    world.killed_behind("publishing").await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    // What others have done since does not make it older than it is.
    succeeded(&world.run(&["sync", "vendors"]).await);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    succeeded(&world.run(&["audit", "--prune", "1s"]).await);
    succeeded(&world.run(&["sync"]).await);
    world.is_equal().await;
    let told = String::from_utf8(world.run(&["audit", "--export", "jsonl"]).await.stdout).unwrap();
    let lines = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let landed = lines.filter(|line| line["landed"] == true && line["dataset"] == "ap_invoices").count();
    assert_eq!(landed, world.kinetic.truth_count("APInvoices"), "each row that lies in Tableau has its record");
    // It takes the place of a worker, so that no run goes on meanwhile.
    let store = SqliteStore::open(world.directory.path().join("state.db")).unwrap();
    let held = store.lease(&"ap_invoices".into(), "another worker", Duration::from_mins(1)).await.unwrap();
    let prune = world.command(&["audit", "--prune", "1s"]).await;
    let text = world.complaint(prune).await;
    assert!(text.contains("another worker") && text.contains("wait until"), "{text}");
    store.release(&held).await.unwrap();
    succeeded(&world.run(&["audit", "--prune", "1s"]).await);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn interrupted_at_any_moment_it_ends_soon_and_goes_on_with_the_next_run() {
    let world = World::start(300).await;
    let mut interrupted = 0;
    for nth in 0..12_u64 {
        world.kinetic.random_changes("APInvoices", 10, nth);
        let arguments: &[&str] = if nth % 3 == 0 { &["sync", "--full", "ap_invoices"] } else { &["sync"] };
        let sync = world.command(arguments).await.spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(40 + nth * 83 % 700)).await;
        // Twice, as an impatient operator does; or as a service manager does.
        let signals: &[&str] = if nth % 2 == 0 { &["-INT", "-INT"] } else { &["-TERM"] };
        let sent = std::time::Instant::now();
        for signal in signals {
            let process = sync.id().unwrap().to_string();
            let _ = Command::new("kill").args([*signal, process.as_str()]).stderr(Stdio::null()).status().await;
        }
        let output = sync.wait_with_output().await.unwrap();
        world.shows_no_secret(&output);
        assert!(sent.elapsed() < Duration::from_secs(8), "{:?} after signal {nth}", sent.elapsed());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            // It was through; or it did not listen to signals yet, which end it then.
            Some(0) | None => {}
            Some(130) => {
                interrupted += 1;
                assert!(said.starts_with("error: interrupted; ") && said.lines().count() == 2, "{nth}: {said}");
            }
            code => panic!("{nth}: {code:?}: {said}"),
        }
        // At once: nobody has to wait until a lease lapses.
        succeeded(&world.run(&["sync"]).await);
        succeeded(&world.run(&["sync"]).await);
        world.is_equal().await;
    }
    assert!(interrupted > 5, "only {interrupted} were interrupted");
}

/// How often it is killed at a random moment.
const KILLS: u64 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_ends_up_right() {
    let world = World::start(300).await;
    succeeded(&world.run(&["sync"]).await);
    // How long a run takes here.
    world.kinetic.random_changes("APInvoices", 10, KILLS);
    let began = std::time::Instant::now();
    succeeded(&world.run(&["sync"]).await);
    let length = u64::try_from(began.elapsed().as_millis()).unwrap();
    // One of its moments, from the first to the last.
    let (mut random, mut died) = (7_u64, 0);
    for nth in 0..KILLS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = Duration::from_millis((random >> 33) % length);
        world.kinetic.random_changes("APInvoices", 10, nth);
        let arguments: &[&str] = if nth % 5 == 4 { &["sync", "--full", "ap_invoices"] } else { &["sync"] };
        let mut sync: Child = world.command(arguments).await.spawn().unwrap();
        tokio::time::sleep(moment).await;
        // SIGKILL, unless it has ended by then.
        died += u64::from(sync.try_wait().unwrap().is_none());
        sync.kill().await.unwrap();
        succeeded(&world.run(&["sync"]).await);
        // What that run found to deliver first may be older than the last change.
        succeeded(&world.run(&["sync"]).await);
        world.is_equal().await;
    }
    assert!(died > KILLS / 2, "it was killed only {died} times before it had ended");
}
