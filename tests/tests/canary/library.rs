//! The library with components of one's own that say every secret there is, at every place where they can say something.

use std::error::Error as _;
use std::fmt::Write as _;
use std::sync::Arc;

use kinetic_tableau_sync::credentials::SecretString;
use kinetic_tableau_sync::export::{OpenLineage, csv_line};
use kinetic_tableau_sync::store::SqliteStore;
use kinetic_tableau_sync::*;

use super::canaries::{Canaries, Evidence, said};
use super::own::{At, Listener, Talker};

pub(super) const DATASET: &str = "talk";

pub(super) fn dataset() -> DatasetSpec {
    let object = SourceObject::EntitySet { service: "S".to_owned(), set: "T".to_owned() };
    let target = Target { project: "Finance".to_owned(), datasource: "Talk".to_owned() };
    let mut dataset = DatasetSpec::new(DATASET, object, ["Num", "Name"], target);
    dataset.refresh = vec![RefreshTarget::Task { id: "1".to_owned() }];
    dataset
}

/// Everything that an error says, to whoever asks in whatever way.
pub(super) fn confess(error: &SyncError) -> String {
    let mut text = format!("{error} {error:?} {error:#?} {:?} {:?}", error.hint(), error.cause());
    let mut source = error.source();
    while let Some(cause) = source {
        write!(text, " {cause} {cause:?}").unwrap();
        source = cause.source();
    }
    text
}

/// What is in a store, through its own interface and in the forms for other tools.
pub(super) async fn read_store(store: &SqliteStore, dataset: &DatasetId, evidence: &mut Evidence) {
    let mut lineage = OpenLineage::new();
    for entry in store.events(&AuditFilter::default()).await.unwrap() {
        evidence.add("events", format!("{entry:?} {}", serde_json::to_string(&entry).unwrap()));
        evidence.add("lineage", lineage.event(&entry).map(|event| event.to_string()).unwrap_or_default());
    }
    for record in store.records(&AuditFilter::default()).await.unwrap() {
        let json = serde_json::to_string(&record).unwrap();
        evidence.add("records", format!("{record:?} {json} {}", csv_line(&record)));
    }
    evidence.add("rejects", format!("{:?}", store.rejects(dataset, None, 100).await.unwrap()));
    let state = store.load(dataset).await.unwrap().map(|found| found.checkpoint);
    evidence.add("state", format!("{state:?} {}", serde_json::to_string(&state).unwrap()));
}

/// One run of which one part says all secrets.
async fn scene(at: At, canaries: &Canaries, redactor: Redactor) -> Evidence {
    let words: Vec<String> = canaries.all().map(|canary| said(&canary.secret)).to_vec();
    let talker = Arc::new(Talker { at, words: words.join(" | ") });
    for canary in canaries.all() {
        redactor.add(&SecretString::from(canary.secret.as_str()));
    }
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(directory.path().join("state.db")).unwrap());
    let listener = Arc::new(Listener::default());
    let syncer = Syncer::builder(Arc::clone(&talker) as _, talker, Arc::clone(&store))
        .progress(Arc::clone(&listener) as _)
        .redactor(&redactor)
        .build();
    let mut dataset = dataset();
    dataset.max_rejects = u64::from(at == At::Reject);
    let mut evidence = Evidence::default();
    match syncer.run(&dataset).await {
        Ok(summary) => evidence.add("summary", format!("{summary:?} {}", serde_json::to_string(&summary).unwrap())),
        Err(error) => evidence.add("error", confess(&error)),
    }
    evidence.add("progress", listener.0.lock().unwrap().clone());
    evidence.add("debug", format!("{syncer:?} {redactor:?}"));
    read_store(&store, &dataset.id, &mut evidence).await;
    drop((syncer, store));
    evidence.add_files(directory.path(), &[]);
    evidence
}

/// Where the words come to lie when nothing keeps them out.
const PLACES: &[(At, &[&str])] = &[
    (At::Schema, &["error", "events", "lineage", "state", "file state.db"]),
    (At::Head, &["error", "events", "lineage", "state", "file state.db"]),
    (At::Read, &["error", "events", "lineage", "state", "file state.db"]),
    (At::Reject, &["records", "rejects", "file state.db"]),
    (At::TooManyRejects, &["error", "events", "records", "rejects", "state", "file state.db"]),
    (At::Inspect, &["error", "events", "lineage", "state", "file state.db"]),
    (At::Begin, &["error", "events", "lineage", "state", "file state.db"]),
    (At::Insert, &["error", "events", "lineage", "state", "file state.db"]),
    (At::Publish, &["error", "events", "lineage", "state", "file state.db"]),
    (At::Refused, &["error", "events", "lineage", "state", "file state.db"]),
    (At::Refresh, &["summary", "progress", "events", "state", "file state.db"]),
    (At::Refreshed, &["summary", "progress", "events", "state", "file state.db"]),
];

#[tokio::test]
async fn whatever_a_part_of_ones_own_says_no_secret_is_left_anywhere() {
    let canaries = Canaries::new();
    for (at, _) in PLACES {
        let evidence = scene(*at, &canaries, Redactor::new()).await;
        assert_eq!(evidence.hits(canaries.all()), [""; 0], "{at:?}");
        // The rest of what was said is there.
        assert!(evidence.holds("state", "[redacted]") || evidence.holds("rejects", "[redacted]"), "{at:?}");
    }
}

#[tokio::test]
async fn with_redaction_switched_off_the_same_search_finds_every_secret_at_every_place() {
    let canaries = Canaries::new();
    for (at, places) in PLACES {
        let evidence = scene(*at, &canaries, Redactor::switched_off()).await;
        let hits = evidence.hits(canaries.all());
        for place in *places {
            for canary in canaries.all() {
                let found = hits.iter().any(|hit| hit.starts_with(place) && hit.contains(canary.name));
                assert!(found, "{at:?}: {} is not found in {place}", canary.name);
            }
        }
    }
}
