//! The audit trail.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    reason = "a suite for tests: a broken promise is a panic"
)]

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::audit::{Action, AuditEntry, AuditEvent, AuditFilter, AuditSegment, AuditStore, Records};
use crate::checkpoint::Counts;
use crate::destination::Receipt;
use crate::model::RunId;

fn minute(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + 60 * minute, 0).unwrap()
}

fn segment(dataset: &str, run: &str, at: i64, records: &[(Action, &str, i64)]) -> AuditSegment {
    let mut columns = Records::with_dimensions(1);
    for (action, key, version) in records {
        columns.push(*action, key, *version, "row-id", "2024-05-22", 7, "").unwrap();
        columns.dimensions[0].push("EUR").unwrap();
    }
    AuditSegment {
        dataset: dataset.into(),
        run: RunId::new(run),
        at: minute(at),
        company: "E1".to_owned(),
        project: "Finance".to_owned(),
        datasource: "AP".to_owned(),
        request_id: format!("request-{run}"),
        dimension_names: vec!["Currency".to_owned()],
        records: columns,
    }
}

fn landed(dataset: &str, run: &str, at: i64) -> AuditEntry {
    let receipt = Receipt {
        target_version: None,
        target_id: "ds".to_owned(),
        request_id: format!("request-{run}"),
        job_id: Some(format!("job-{run}")),
        rows: 2,
        landed_at: minute(at),
    };
    let event =
        AuditEvent::Landed { receipt, counts: Counts::default(), through: None, sha256: String::new(), landed_rows: 2 };
    AuditEntry { dataset: dataset.into(), run: RunId::new(run), at: minute(at), event }
}

/// Checks an [`AuditStore`]. `make` gives an empty store.
pub async fn audit_store<S: AuditStore>(make: impl Fn() -> Arc<S>) {
    let store = make();
    let nothing = store.verify().await.unwrap();
    assert_eq!((nothing.entries, nothing.first_broken), (0, None), "an empty trail is whole");
    let (insert, update) = (Action::Insert, Action::Update);
    store
        .append(segment("ap", "1", 0, &[(insert, r#"["E1",7,"INV-1"]"#, 1), (insert, r#"["E1",8,"INV-2"]"#, 2)]))
        .await
        .unwrap();
    store.record(landed("ap", "1", 1)).await.unwrap();
    store.append(segment("ap", "2", 2, &[(update, r#"["E1",7,"INV-1"]"#, 3)])).await.unwrap();
    store.append(segment("po", "3", 3, &[(insert, r#"["E1",7]"#, 4)])).await.unwrap();
    store.record(landed("po", "3", 4)).await.unwrap();

    let versions = async |filter: AuditFilter| -> Vec<i64> {
        store.records(&filter).await.unwrap().into_iter().map(|record| record.version).collect()
    };
    let any = AuditFilter::default;
    assert_eq!(versions(any()).await, [1, 2, 3, 4], "all records, oldest first");
    assert_eq!(versions(AuditFilter { dataset: Some("ap".into()), ..any() }).await, [1, 2, 3], "by dataset");
    assert_eq!(versions(AuditFilter { run: Some(RunId::new("2")), ..any() }).await, [3], "by run");
    assert_eq!(
        versions(AuditFilter { key: Some("INV-1".to_owned()), ..any() }).await,
        [1, 3],
        "by the key's last part"
    );
    assert_eq!(versions(AuditFilter { key: Some("7".to_owned()), ..any() }).await, [4], "also where it is a number");
    let whole = AuditFilter { key: Some(r#"["E1",8,"INV-2"]"#.to_owned()), ..any() };
    assert_eq!(versions(whole).await, [2], "by the whole key");
    assert_eq!(versions(AuditFilter { action: Some(update), ..any() }).await, [3], "by action");
    assert_eq!(versions(AuditFilter { since: Some(minute(2)), until: Some(minute(3)), ..any() }).await, [3], "by time");
    assert_eq!(versions(AuditFilter { limit: Some(2), ..any() }).await, [3, 4], "the newest, oldest first");

    let records = store.records(&any()).await.unwrap();
    assert!(records[0].landed && records[0].job_id.as_deref() == Some("job-1"), "a landing is told with its job");
    assert!(!records[2].landed && records[2].job_id.is_none(), "a run that did not land is told as well");
    let record = &records[0];
    assert_eq!(
        (record.company.as_str(), record.request_id.as_str(), record.row_id.as_str(), record.stamp.as_str()),
        ("E1", "request-1", "row-id", "2024-05-22")
    );
    assert_eq!(record.dimensions, [("Currency".to_owned(), "EUR".to_owned())]);
    assert_eq!(record.hash, format!("{:032x}", 7));

    let events = store.events(&AuditFilter { dataset: Some("po".into()), ..any() }).await.unwrap();
    assert_eq!(events, [landed("po", "3", 4)], "events by dataset");
    assert_eq!(store.events(&AuditFilter { until: Some(minute(2)), ..any() }).await.unwrap(), [landed("ap", "1", 1)]);
    let found = store.verify().await.unwrap();
    assert_eq!((found.entries, found.records, found.first_broken), (5, 4, None), "the trail is whole");
    assert!(!found.head.is_empty() && found.head != nothing.head, "its head moves on");

    // Run 2 goes on behind the cut, so that it stays as a whole; so does what stands between.
    store.record(landed("ap", "2", 9)).await.unwrap();
    let before = store.verify().await.unwrap();
    assert_eq!(store.prune(minute(3)).await.unwrap(), 2, "run 1 goes");
    assert_eq!(versions(any()).await, [3, 3 + 1], "the others stay");
    let after = store.verify().await.unwrap();
    assert_eq!((after.pruned, after.entries, after.records, after.first_broken), (2, 4, 2, None));
    assert_eq!(after.head, before.head, "the rest is proven as before");
    assert_eq!(store.prune(minute(3)).await.unwrap(), 0, "there is nothing more to remove");
    assert_eq!(
        store.prune(minute(99)).await.unwrap(),
        0,
        "the last run stays, and with it what stands behind its beginning"
    );
    store.record(landed("po", "4", 100)).await.unwrap();
    assert_eq!(store.prune(minute(99)).await.unwrap(), 4);
    store.record(landed("po", "5", 101)).await.unwrap();
    let found = store.verify().await.unwrap();
    assert_eq!((found.pruned, found.entries, found.first_broken), (6, 2, None), "the chain goes on");

    written_by_clocks_that_differ(&*make()).await;
}

/// What was written later is told later, whatever the clocks of the writers said; these only matter where moments are asked for.
async fn written_by_clocks_that_differ<S: AuditStore>(store: &S) {
    // A month has just begun. The second worker's clock is an hour behind, in the month before.
    let month = 24_000;
    let key = r#"["E1",7]"#;
    for (run, at, action, version) in
        [("1", month, Action::Insert, 1), ("2", month - 60, Action::Update, 2), ("3", month + 1, Action::Delete, 3)]
    {
        store.append(segment("ap", run, at, &[(action, key, version)])).await.unwrap();
        store.append(segment("po", run, at, &[(action, r#"["E1",8]"#, version)])).await.unwrap();
        store.record(landed("ap", run, at)).await.unwrap();
    }
    let any = AuditFilter::default;
    let ap = || AuditFilter { dataset: Some("ap".into()), ..any() };
    let by_key = || AuditFilter { key: Some("7".to_owned()), ..any() };
    for (filter, expected, what) in [
        (by_key(), &[1, 2, 3][..], "of a key"),
        (AuditFilter { limit: Some(2), ..by_key() }, &[2, 3], "the newest of a key"),
        (
            AuditFilter { until: Some(minute(month + 1)), limit: Some(1), ..by_key() },
            &[2],
            "the newest before a moment",
        ),
        (AuditFilter { since: Some(minute(month)), ..by_key() }, &[1, 3], "of a key, since a moment"),
        (ap(), &[1, 2, 3], "of a dataset"),
        (AuditFilter { limit: Some(2), ..ap() }, &[2, 3], "the newest of a dataset"),
        (
            AuditFilter { since: Some(minute(month - 60)), until: Some(minute(month + 1)), limit: Some(1), ..ap() },
            &[2],
            "between",
        ),
        (AuditFilter { run: Some(RunId::new("2")), ..ap() }, &[2], "of a run"),
        (any(), &[1, 1, 2, 2, 3, 3], "of all"),
        (AuditFilter { limit: Some(3), ..any() }, &[2, 3, 3], "the newest of all"),
        (
            AuditFilter { until: Some(minute(month + 1)), limit: Some(3), ..any() },
            &[1, 2, 2],
            "the newest of all before a moment",
        ),
    ] {
        let found: Vec<i64> = store.records(&filter).await.unwrap().iter().map(|record| record.version).collect();
        assert_eq!(found, expected, "in the order of writing: {what}");
    }
    for filter in [any(), ap()] {
        let found = store.events(&filter).await.unwrap();
        let runs: Vec<&str> = found.iter().map(|entry| entry.run.as_str()).collect();
        assert_eq!(runs, ["1", "2", "3"], "events in the order of writing");
    }
}
