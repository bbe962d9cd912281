//! The page over stores in memory: whatever they hold, it stays a page, bounded, and right.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use kinetic_tableau_sync::store::MemoryStore;
use kinetic_tableau_sync::*;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::config::tests::with_dataset_named;

/// Everything that tries to leave its place in a page.
const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u{202e}</style><!--${x}`{{y}}";

struct World {
    store: Arc<MemoryStore>,
    config: Config,
    now: DateTime<Utc>,
}

impl World {
    fn new(name: &str) -> Self {
        Self { store: Arc::default(), config: with_dataset_named(name), now: Utc::now() }
    }

    fn stores(&self) -> Stores {
        let store = &self.store;
        Stores {
            state: Arc::clone(store) as _,
            audit: Arc::clone(store) as _,
            rejects: Arc::clone(store) as _,
            notes: Arc::clone(store) as _,
        }
    }

    async fn event(&self, dataset: &str, run: &str, minutes_ago: i64, event: AuditEvent) {
        let at = self.now - chrono::Duration::minutes(minutes_ago);
        self.store.record(AuditEntry { dataset: dataset.into(), run: run.into(), at, event }).await.unwrap();
    }

    async fn started(&self, dataset: &str, run: &str, minutes_ago: i64, kind: LoadKind) {
        let target = Target { project: "P".to_owned(), datasource: "D".to_owned() };
        let reason = (kind == LoadKind::Full).then_some(FullReason::First);
        let event = AuditEvent::Started { kind, reason, company: "E1".to_owned(), after: None, target };
        self.event(dataset, run, minutes_ago, event).await;
    }

    async fn landed(&self, dataset: &str, run: &str, minutes_ago: i64, counts: Counts) {
        let receipt = Receipt {
            target_id: "t".to_owned(),
            request_id: "q".to_owned(),
            job_id: Some(HOSTILE.to_owned()),
            target_version: None,
            rows: counts.inserted + counts.updated,
            landed_at: self.now,
        };
        let event = AuditEvent::Landed { receipt, counts, through: None, sha256: String::new(), landed_rows: 7 };
        self.event(dataset, run, minutes_ago, event).await;
    }

    async fn told(&self, dataset: &str, what: &str, resource: &str) {
        let (what, resource) = (what.to_owned(), Some(resource.to_owned()));
        self.event(dataset, "", 4, AuditEvent::Told { what, resource, id: None, at: None }).await;
    }

    async fn records(&self, dataset: &str, run: &str, keys: impl Iterator<Item = String>) {
        let mut records = Records::with_dimensions(1);
        for key in keys {
            records.push(Action::Insert, &key, 5, HOSTILE, HOSTILE, 1, HOSTILE).unwrap();
            records.dimensions[0].push(HOSTILE).unwrap();
        }
        let segment = AuditSegment {
            dataset: dataset.into(),
            run: run.into(),
            at: self.now - chrono::Duration::minutes(1),
            company: "E1".to_owned(),
            project: "P".to_owned(),
            datasource: "D".to_owned(),
            request_id: "q".to_owned(),
            dimension_names: vec![HOSTILE.to_owned()],
            records,
        };
        AuditStore::append(&*self.store, segment).await.unwrap();
    }

    async fn report(&self, records: usize) -> (Report, String) {
        let options = args::Report {
            out: "-".into(),
            since: Some(self.now - chrono::Duration::days(400)),
            datasets: Vec::new(),
            keys: Vec::new(),
            records,
        };
        let report = gathered(&self.config, &self.stores(), &options).await.unwrap();
        let page = page::write(&report).unwrap();
        (report, page)
    }
}

fn counts(inserted: u64, updated: u64) -> Counts {
    Counts { read: inserted + updated, inserted, updated, ..Counts::default() }
}

#[tokio::test]
async fn data_that_looks_like_code_stays_data_everywhere_on_the_page() {
    let world = World::new(HOSTILE);
    world.started(HOSTILE, HOSTILE, 9, LoadKind::Full).await;
    world.landed(HOSTILE, HOSTILE, 8, counts(2, 0)).await;
    let findings = Findings { gone: 3, refused: Some(HOSTILE.to_owned()), ..Findings::default() };
    world.event(HOSTILE, HOSTILE, 7, AuditEvent::Reconciled { findings: findings.clone() }).await;
    let failed = AuditEvent::Failed {
        stage: HOSTILE.to_owned(),
        message: format!("{HOSTILE}; {HOSTILE}"),
        hint: Some(HOSTILE.to_owned()),
    };
    world.event(HOSTILE, "other", 6, failed).await;
    let refreshed = RefreshReport {
        target: RefreshTarget::Task { id: HOSTILE.to_owned() },
        job_id: Some(HOSTILE.to_owned()),
        outcome: RefreshOutcome::Failed(HOSTILE.to_owned()),
    };
    world.event(HOSTILE, HOSTILE, 6, AuditEvent::Refreshed { report: refreshed }).await;
    world.told(HOSTILE, HOSTILE, HOSTILE).await;
    world.records(HOSTILE, HOSTILE, std::iter::once(serde_json::to_string(&[HOSTILE]).unwrap())).await;
    let reject = Reject {
        dataset: HOSTILE.into(),
        key: HOSTILE.to_owned(),
        hash: 1,
        version: 1,
        run: HOSTILE.into(),
        at: world.now,
        column: HOSTILE.to_owned(),
        reason: HOSTILE.to_owned(),
        hint: Some(HOSTILE.to_owned()),
        raw: HOSTILE.to_owned(),
    };
    world.store.keep(vec![reject]).await.unwrap();
    let id = DatasetId::new(HOSTILE);
    let lease = world.store.lease(&id, "test", Duration::from_mins(1)).await.unwrap();
    let summary = serde_json::json!({
        "run": HOSTILE, "kind": null, "started": world.now, "ended": world.now, "landed_rows": 0, "refreshes": [],
        "error": HOSTILE, "counts": {"read": 0, "inserted": 0, "updated": 0, "unchanged": 0, "superseded": 0},
    });
    let checkpoint = Checkpoint {
        last_run: Some(serde_json::from_value(summary).unwrap()),
        reconciled: Some(Reconciled { at: world.now, findings }),
        pending_refresh: vec![RefreshTarget::Task { id: HOSTILE.to_owned() }],
        failures: 1,
        ..Checkpoint::default()
    };
    world.store.store(&lease, None, &checkpoint).await.unwrap();
    let controls = worker::Controls::new(Arc::clone(&world.store) as _);
    let pause =
        worker::Pause { since: world.now, until: None, by: HOSTILE.to_owned(), reason: Some(HOSTILE.to_owned()) };
    controls.pause(&id, pause).await.unwrap();

    let (_, page) = world.report(50).await;
    assert!(page.matches("&lt;script&gt;alert(1)&lt;/script&gt;").count() > 15, "it is everywhere");
    assert!(page.matches("⟨U+202E⟩").count() > 15 && !page.contains('\u{202e}'));
    assert_eq!((page.matches("<script").count(), page.matches("</script").count()), (1, 1));
    assert_eq!((page.matches("<style").count(), page.matches("</style").count()), (1, 1));
    assert!(!page.contains("<img") && !page.contains("<!--"));
    // In every attribute too: outside of tags no quote is left, and inside them none more than there is.
    let body = page.split_once("<body>").unwrap().1.split_once("<script>").unwrap().0;
    for (nth, part) in body.split('<').enumerate().skip(1) {
        let (tag, text) = part.split_once('>').unwrap_or_else(|| panic!("part {nth} is no tag: {part}"));
        assert!(tag.matches('"').count() % 2 == 0 && !text.contains(['"', '\'']), "{part}");
        let outside = tag.split('"').step_by(2).flat_map(|part| part.split(' '));
        assert!(outside.into_iter().all(|name| !name.starts_with("on") && name != "style="), "{tag}");
    }
}

#[tokio::test]
async fn the_page_allows_only_its_own_style_and_script_and_refers_to_nothing_outside() {
    let world = World::new("vendors");
    world.started("vendors", "r1", 9, LoadKind::Full).await;
    world.landed("vendors", "r1", 8, counts(2, 0)).await;
    world.records("vendors", "r1", std::iter::once("[\"E1\",1]".to_owned())).await;
    let (_, page) = world.report(50).await;
    let between = |from: &str, to: &str| page.split_once(from).unwrap().1.split_once(to).unwrap().0;
    let policy = between("Content-Security-Policy\" content=\"", "\"");
    for (directive, content) in
        [("style-src", between("<style>", "</style>")), ("script-src", between("<script>", "</script>"))]
    {
        let hash = BASE64_STANDARD.encode(Sha256::digest(content.as_bytes()));
        assert!(policy.contains(&format!("{directive} 'sha256-{hash}'")), "{directive}: {policy}");
    }
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe") && !policy.contains("http"));
    for words in
        ["http:", "https:", "//", "@import", "innerHTML", "eval(", "fetch(", "XMLHttp", "srcset", "<link", "<iframe"]
    {
        let rest = page.replace("// Everything is there", "");
        assert!(!rest.contains(words), "the page has {words}");
    }
    let urls = page.matches("url(").count();
    assert_eq!(urls, page.matches("url(#").count(), "only what is drawn here");
    for link in page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        let id = link.strip_prefix('#').unwrap_or_else(|| panic!("{link} leads elsewhere"));
        assert_eq!(page.matches(&format!("id=\"{id}\"")).count(), 1, "{link}");
    }
}

#[tokio::test]
async fn the_page_is_bounded_however_long_the_trail_is_and_its_sums_are_of_all() {
    let mut sizes = Vec::new();
    for runs in [400_u64, 1_600] {
        let world = World::new("vendors");
        for nth in 0..runs {
            let (run, ago) = (format!("run-{nth}"), i64::try_from(runs - nth).unwrap() * 60);
            world.started("vendors", &run, ago, LoadKind::Delta).await;
            world.landed("vendors", &run, ago - 1, counts(1, 2)).await;
            let message = format!("failure number {nth}");
            let failed = AuditEvent::Failed { stage: "publish".to_owned(), message, hint: None };
            world.event("vendors", &run, ago - 2, failed).await;
            world
                .event(
                    "vendors",
                    &run,
                    ago - 2,
                    AuditEvent::Reconciled { findings: Findings { missed: 1, ..Findings::default() } },
                )
                .await;
        }
        world.records("vendors", "run-1", (0..5_000).map(|nth| format!("[\"E1\",{nth}]"))).await;
        let (report, page) = world.report(100).await;
        let ledger = &report.datasets[0].ledger;
        assert_eq!((ledger.totals.runs, ledger.totals.counts.inserted, ledger.totals.failed), (runs, runs, runs));
        assert_eq!((ledger.totals.comparisons, ledger.totals.findings.missed), (runs, runs));
        assert_eq!((ledger.runs.len(), ledger.runs.back().unwrap().id.clone()), (120, format!("run-{}", runs - 1)));
        assert_eq!(page.matches("<details class=\"record\"").count(), 100);
        assert!(page.contains(&format!("The newest 120 of {} runs", grouped(runs))));
        let shown: u64 = ledger.hours.values().map(|bin| bin.updated).sum();
        assert_eq!(shown, runs * 2, "no hour is missing in the chart");
        sizes.push(page.len());
    }
    assert!(sizes[1] < sizes[0] * 11 / 10 && sizes[0] < 600_000, "{sizes:?}");
}

#[tokio::test]
async fn a_landing_that_is_told_twice_counts_once_and_failures_that_repeat_are_told_once() {
    let world = World::new("vendors");
    world.started("vendors", "a", 90, LoadKind::Full).await;
    world.landed("vendors", "a", 80, counts(9, 0)).await;
    world.landed("vendors", "a", 79, counts(9, 0)).await;
    for (nth, run) in ["b", "c", "d"].iter().enumerate() {
        let failed = AuditEvent::Failed {
            stage: "read".to_owned(),
            message: "no answer; ask the network".to_owned(),
            hint: Some("ask the network".to_owned()),
        };
        world.event("vendors", run, 30 - i64::try_from(nth).unwrap(), failed).await;
    }
    world
        .event(
            "vendors",
            "e",
            5,
            AuditEvent::Idle { counts: Counts { read: 4, unchanged: 4, ..Counts::default() }, through: None },
        )
        .await;
    for resource in ["Vendors", "Vendors", "Ledger"] {
        world.told("vendors", "DatasourceRefreshFailed", resource).await;
    }
    let (report, page) = world.report(0).await;
    let ledger = &report.datasets[0].ledger;
    let told: Vec<_> = ledger.told.iter().map(|group| (group.resource.as_str(), group.count)).collect();
    assert_eq!(told, [("Vendors", 2), ("Ledger", 1)]);
    assert_eq!(page.matches("<bdi>DatasourceRefreshFailed</bdi>").count(), 2);
    assert_eq!((ledger.totals.landed, ledger.totals.idle, ledger.totals.counts.inserted), (1, 1, 9));
    let [group] = ledger.failures.as_slice() else { panic!("{:?}", ledger.failures) };
    assert_eq!((group.count, group.message.as_str(), group.hint.as_deref()), (3, "no answer", Some("ask the network")));
    assert!(page.contains("<span class=\"times\">3 times</span>"));
    assert_eq!(ledger.runs.front().unwrap().took(), Some(600_000));
    let ids: HashSet<&str> = ledger.runs.iter().map(|run| run.id.as_str()).collect();
    assert_eq!((ids.len(), ledger.totals.runs), (5, 5));
    // Nothing is known of the rows, so nothing is said of them.
    assert!(page.contains("not synced yet") && page.contains("No record in this time."));
}

#[tokio::test]
async fn a_run_of_which_nothing_more_is_told_counts_as_broken_off_once_another_begins() {
    let world = World::new("a");
    world.started("a", "r1", 9, LoadKind::Full).await;
    let (_, page) = world.report(10).await;
    assert!(page.contains("not ended") && !page.contains("broken off"), "it may go on");
    world.started("a", "r2", 5, LoadKind::Full).await;
    world.landed("a", "r2", 4, counts(3, 0)).await;
    let (_, page) = world.report(10).await;
    assert!(page.contains("broken off") && !page.contains("not ended"));
    // What it had sealed is delivered by the next one, under its name.
    world.landed("a", "r1", 3, counts(3, 0)).await;
    let (_, page) = world.report(10).await;
    assert!(!page.contains("broken off"));
}

#[tokio::test]
async fn the_whole_history_of_a_record_that_is_asked_for_is_there_whenever_it_was() {
    let world = World::new("vendors");
    let old = world.now - chrono::Duration::days(4_000);
    let mut segment_world = World::new("vendors");
    segment_world.store = Arc::clone(&world.store);
    segment_world.now = old;
    segment_world.records("vendors", "long-ago", ["[\"E1\",7]", "[\"E1\",8]"].into_iter().map(str::to_owned)).await;
    world.records("vendors", "now", std::iter::once("[\"E1\",7]".to_owned())).await;
    let keys = vec!["7".to_owned(), "<70>".to_owned()];
    let options = args::Report { out: "-".into(), since: None, datasets: Vec::new(), keys, records: 10 };
    let report = gathered(&world.config, &world.stores(), &options).await.unwrap();
    assert_eq!(report.unknown, ["<70>"]);
    assert!(page::write(&report).unwrap().contains("No record has the key <bdi>&lt;70&gt;</bdi>"));
    let [history] = report.datasets[0].histories.as_slice() else { panic!("{:?}", report.datasets[0].histories) };
    let runs: Vec<&str> = history.records.iter().map(|record| record.run.as_str()).collect();
    assert_eq!((history.key.as_str(), runs), ("[\"E1\",7]", vec!["now", "long-ago"]));
    let unknown = args::Report { datasets: vec!["vendor".to_owned()], ..options };
    let failure = gathered(&world.config, &world.stores(), &unknown).await.unwrap_err();
    assert!(failure.hint().unwrap().contains("'vendors'"), "{failure:?}");
}

#[test]
fn the_page_replaces_an_older_one_as_a_whole_and_says_where_it_cannot() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.html");
    std::fs::write(&file, "an older and longer page").unwrap();
    save(&file, "new").unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
    for wrong in [directory.path(), Path::new("/"), &directory.path().join("missing").join("report.html")] {
        let failure = save(wrong, "new").unwrap_err();
        assert!(failure.hint().unwrap().contains("--out"), "{failure:?}");
    }
}
