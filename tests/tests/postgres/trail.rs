//! The audit trail: what is written is found again, quickly, and what is altered is noticed.

use std::time::Duration;

use kinetic_tableau_sync::store::PostgresStore;
use kinetic_tableau_sync::{
    Action, AuditEntry, AuditEvent, AuditFilter, AuditRecord, AuditStore as _, Counts, Receipt, Records, RunId,
};
use simulators::postgres::Database;

use super::{client, database, moment, segment, store};

const RUNS: usize = 10;
/// Records of each run.
const MANY: usize = 20_000;
const FEW: usize = 50;

fn event(dataset: &str, run: &str, event: AuditEvent) -> AuditEntry {
    AuditEntry { dataset: dataset.into(), run: RunId::new(run), at: moment("2026-11-20T11:00:00.000000001Z"), event }
}

fn landed(dataset: &str, run: &str) -> AuditEntry {
    let receipt = Receipt {
        target_version: None,
        target_id: "ds".to_owned(),
        request_id: format!("request-{run}"),
        job_id: Some(format!("job-{run}")),
        rows: 2,
        landed_at: moment("2026-11-20T10:59:59Z"),
    };
    let (counts, sha256) = (Counts::default(), String::new());
    event(dataset, run, AuditEvent::Landed { receipt, counts, through: None, sha256, landed_rows: 2 })
}

/// A trail of ten runs with so many records each, in a segment: its number is odd, that of its landing even.
async fn trail(database: &Database, records: usize) -> PostgresStore {
    let store = store(database).await;
    for run in 0..RUNS {
        let name = format!("run-{run}");
        let at = moment("2026-11-20T10:00:00.123456789Z") + Duration::from_mins(u64::try_from(run).unwrap());
        store.append(segment("ap", &name, at, run * records, records)).await.unwrap();
        store.record(landed("ap", &name)).await.unwrap();
    }
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_thousand_records_are_copied_found_by_key_and_whatever_is_altered_is_named() {
    let database = database().await;
    let store = trail(&database, MANY).await;
    let sql = client(&database).await;
    let found = store.verify().await.unwrap();
    assert_eq!((found.entries, found.records, found.first_broken.clone()), (20, 200_000, None));
    // By key, through the indexes: in the store's own queries, and in those of others. The server counts what a connection has done
    // once that has ended.
    let ended = async |store: PostgresStore| {
        drop(store);
        let others =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        while sql.query_one(others, &[]).await.unwrap().get::<_, i64>(0) > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let query = "SELECT sum(idx_scan) FILTER (WHERE indexrelname LIKE '%key%')::bigint, \
                     (SELECT sum(seq_scan)::bigint FROM pg_stat_user_tables WHERE relname LIKE 'audit_record%') \
                     FROM pg_stat_user_indexes WHERE relname LIKE 'audit_record%'";
        let row = sql.query_one(query, &[]).await.unwrap();
        (row.get::<_, Option<i64>>(0).unwrap_or_default(), row.get::<_, Option<i64>>(1).unwrap_or_default())
    };
    let before = ended(store).await;
    let store = PostgresStore::connect_read_only(super::options(&database)).await.unwrap();
    for key in ["INV-123456", r#"["EPIC06",354,"INV-123456"]"#] {
        let filter = AuditFilter { key: Some(key.to_owned()), ..AuditFilter::default() };
        let records = store.records(&filter).await.unwrap();
        let [record] = records.as_slice() else { panic!("{records:?}") };
        assert_eq!((record.version, record.run.as_str()), (2_226_299_042 + 123_456, "run-6"));
        assert_eq!(record.at, moment("2026-11-20T10:06:00.123456789Z"), "to the nanosecond");
        assert_eq!((record.landed, record.job_id.as_deref()), (true, Some("job-run-6")));
        assert_eq!(record.dimensions[1], ("Amount".to_owned(), "123456.50".to_owned()));
    }
    let after = ended(store).await;
    let store = PostgresStore::connect_read_only(super::options(&database)).await.unwrap();
    assert!(after.0 >= before.0 + 4, "indexes for keys are used: {before:?} {after:?}");
    assert_eq!(after.1, before.1, "and nothing is read through");
    sql.batch_execute("ANALYZE").await.unwrap();
    for condition in ["key = '[\"EPIC06\",354,\"INV-123456\"]'", "key_part = 'INV-123456'"] {
        let plan = sql.query(&format!("EXPLAIN SELECT * FROM audit_trail WHERE {condition}"), &[]).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains("Index Scan") && plan.contains("_key_"), "{plan}");
        assert!(!plan.contains("Seq Scan on audit_record"), "{plan}");
    }

    let count: i64 = sql.query_one("SELECT count(*) FROM audit_trail WHERE landed", &[]).await.unwrap().get(0);
    assert_eq!(count, 200_000, "readers see them as rows");

    // The newest of many, without reading the others.
    let filter = AuditFilter { dataset: Some("ap".into()), limit: Some(3), ..AuditFilter::default() };
    let newest: Vec<i64> = store.records(&filter).await.unwrap().iter().map(|record| record.version).collect();
    assert_eq!(newest, [199_997, 199_998, 199_999].map(|row| 2_226_299_042 + row));
    let filter = AuditFilter { run: Some(RunId::new("run-2")), action: Some(Action::Insert), ..AuditFilter::default() };
    assert_eq!(store.records(&filter).await.unwrap().len(), MANY / 10);
    let (since, until) = (moment("2026-11-20T10:03:00.123456789Z"), moment("2026-11-20T10:04:00.123456789Z"));
    let filter = AuditFilter { since: Some(since), until: Some(until), ..AuditFilter::default() };
    let found_between = store.records(&filter).await.unwrap();
    assert_eq!(found_between.len(), MANY, "from the nanosecond on, and before the other one");
    let since = Some(since + Duration::from_nanos(1));
    let filter = AuditFilter { since, until: Some(until), ..AuditFilter::default() };
    assert!(store.records(&filter).await.unwrap().is_empty(), "a nanosecond later");

    // What is altered is found at its place: each of these lies before the one above.
    for (alteration, at) in [
        // One bit of one byte.
        ("UPDATE audit_record SET hash = set_byte(hash, 3, get_byte(hash, 3) # 1) WHERE key_part = 'INV-160000'", 17),
        ("DELETE FROM audit_record WHERE key_part = 'INV-123456'", 13),
        (
            "UPDATE audit_record r SET key = o.key, key_part = o.key_part FROM audit_record o \
             WHERE (r.key_part, o.key_part) IN (('INV-40000', 'INV-40001'), ('INV-40001', 'INV-40000'))",
            5,
        ),
    ] {
        sql.batch_execute(alteration).await.unwrap();
        let (broken, why) = store.verify().await.unwrap().first_broken.unwrap();
        assert_eq!((broken, why.starts_with("dataset ap: ")), (at, true), "{alteration}: {why}");
    }
}

/// How many entries of the trail the server has looked at so far, for connections that have ended.
async fn looked_at(sql: &tokio_postgres::Client, store: PostgresStore) -> i64 {
    drop(store);
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    while sql.query_one(others, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let query = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'audit_entry'";
    sql.query_one(query, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_in_a_long_trail_looks_at_a_small_part_of_it() {
    let database = database().await;
    let store = trail(&database, 2).await;
    let sql = client(&database).await;
    // Runs of other datasets: a year of them was written before, and a year behind.
    sql.batch_execute(
        "ALTER TABLE audit_entry ALTER id SET GENERATED BY DEFAULT;
         INSERT INTO audit_entry (id, dataset, sequence, run, at, nanos, hash, records, company, project, datasource, request_id, dimension_names)
         SELECT CASE WHEN n <= 30000 THEN -n ELSE 1000 + n END, 'other ' || n % 50, n, 'other-' || n,
         timestamptz '2026-11-20T10:05:30Z' + interval '1 hour' + (CASE WHEN n <= 30000 THEN -2 * interval '1 hour' - n * interval '17 minutes' \
         ELSE (n - 30000) * interval '17 minutes' END), 0, '', 0, '', '', '', '', '{}' FROM generate_series(1, 60000) n",
    )
    .await
    .unwrap();
    let (since, until) = (Some(moment("2026-11-20T10:02:00Z")), Some(moment("2026-11-20T10:08:30Z")));
    let any = || AuditFilter { limit: Some(2), ..AuditFilter::default() };
    let ap = || AuditFilter { dataset: Some("ap".into()), ..any() };
    let mut looked = looked_at(&sql, store).await;
    for statistics in [false, true] {
        if statistics {
            sql.batch_execute("ANALYZE").await.unwrap();
        }
        for (nth, (filter, run)) in [
            (AuditFilter { since, until, ..any() }, "run-8"),
            (AuditFilter { since, until, ..ap() }, "run-8"),
            (AuditFilter { until, ..ap() }, "run-8"),
            (AuditFilter { since, ..ap() }, "run-9"),
            (ap(), "run-9"),
            (AuditFilter { run: Some(RunId::new("run-3")), ..any() }, "run-3"),
            (AuditFilter { key: Some("INV-9".to_owned()), ..any() }, "run-4"),
        ]
        .into_iter()
        .enumerate()
        {
            let store = PostgresStore::connect_read_only(super::options(&database)).await.unwrap();
            let runs: Vec<_> = store.records(&filter).await.unwrap().into_iter().map(|record| record.run).collect();
            assert_eq!(runs.last().map(RunId::as_str), Some(run), "{filter:?}");
            let before = std::mem::replace(&mut looked, looked_at(&sql, store).await);
            let part = looked - before;
            assert!(part < 1_000, "search {nth}, statistics {statistics}: {part} of 60,000 entries");
        }
    }
}

#[tokio::test]
async fn whatever_is_altered_in_rows_or_entries_is_found_at_its_place() {
    let database = database().await;
    let store = trail(&database, FEW).await;
    let sql = client(&database).await;
    let head = store.verify().await.unwrap().head;
    for (alteration, at) in [
        ("UPDATE audit_record SET version = version + 1 WHERE key_part = 'INV-100'", 5),
        ("UPDATE audit_record SET key = replace(key, 'EPIC06', 'EPIC07') WHERE key_part = 'INV-51'", 3),
        ("UPDATE audit_record SET key_part = 'INV-0' WHERE key_part = 'INV-499'", 19),
        ("UPDATE audit_record SET hash = '' WHERE key_part = 'INV-150'", 7),
        ("UPDATE audit_record SET dimensions[2] = '1.00' WHERE key_part = 'INV-200'", 9),
        ("UPDATE audit_record SET dimensions = NULL WHERE key_part = 'INV-200'", 9),
        ("UPDATE audit_record SET action = 3 WHERE key_part = 'INV-10'", 1),
        ("UPDATE audit_record SET action = 300 WHERE key_part = 'INV-10'", 1),
        ("UPDATE audit_record SET reason = '' WHERE key_part = 'INV-10'", 1),
        ("UPDATE audit_record SET at = at + interval '1 microsecond' WHERE key_part = 'INV-250'", 11),
        ("UPDATE audit_record SET position = position + 1000 WHERE key_part = 'INV-49'", 1),
        ("DELETE FROM audit_record WHERE key_part = 'INV-301'", 13),
        ("DELETE FROM audit_record WHERE key_part = 'INV-49'", 1),
        ("TRUNCATE audit_record", 1),
        (
            "INSERT INTO audit_record SELECT at, entry, version, 50, action, hash, 'x', 'x' FROM audit_record \
             WHERE key_part = 'INV-1'",
            1,
        ),
        (
            "INSERT INTO audit_record SELECT at + interval '1 day', entry, version, position, action, hash, 'x', 'x' \
             FROM audit_record WHERE key_part = 'INV-50'",
            3,
        ),
        (
            "INSERT INTO audit_record SELECT r.at, r.entry + 1, version, position, action, r.hash, key, key_part \
             FROM audit_record r WHERE key_part = 'INV-50'",
            4,
        ),
        ("UPDATE audit_entry SET company = 'EPIC07' WHERE sequence = 3", 3),
        ("UPDATE audit_entry SET records = 49 WHERE sequence = 3", 3),
        ("UPDATE audit_entry SET dimension_names = dimension_names[:1] WHERE sequence = 3", 3),
        ("UPDATE audit_entry SET nanos = 788 WHERE sequence = 5", 5),
        ("UPDATE audit_entry SET run = 'run-0' WHERE sequence = 8", 8),
        ("UPDATE audit_entry SET at = at - interval '1 day' WHERE sequence = 8", 8),
        ("UPDATE audit_entry SET body = replace(body::text, 'job-run-4', 'job-run-9')::json WHERE sequence = 10", 10),
        ("UPDATE audit_entry SET body = replace(body::text, ',', ', ')::json WHERE sequence = 10", 10),
        ("UPDATE audit_entry SET event = 'idle' WHERE sequence = 12", 12),
        ("UPDATE audit_entry SET event = NULL, body = NULL WHERE sequence = 12", 12),
        ("UPDATE audit_entry SET hash = sha256(hash) WHERE sequence = 14", 14),
        ("DELETE FROM audit_entry WHERE sequence = 16", 16),
        (
            "UPDATE audit_entry SET sequence = sequence + 100 WHERE sequence IN (17, 18); \
             UPDATE audit_entry SET sequence = CASE sequence WHEN 117 THEN 18 ELSE 17 END WHERE sequence > 100",
            17,
        ),
        ("DELETE FROM audit_entry WHERE sequence = 20", 20),
        ("DELETE FROM audit_chain", 1),
        ("UPDATE audit_chain SET hash = anchor", 20),
    ] {
        let keep = "CREATE TABLE r AS TABLE audit_record; CREATE TABLE e AS TABLE audit_entry; \
                    CREATE TABLE c AS TABLE audit_chain;";
        sql.batch_execute(&format!("{keep} {alteration}")).await.unwrap();
        let found = store.verify().await.unwrap().first_broken;
        let (broken, why) = found.unwrap_or_else(|| panic!("not noticed: {alteration}"));
        assert_eq!(broken, at, "{alteration}: {why}");
        assert!(why.starts_with("dataset ap: "), "{alteration}: {why}");
        sql.batch_execute(
            "TRUNCATE audit_record, audit_entry, audit_chain; INSERT INTO audit_record TABLE r; \
             INSERT INTO audit_entry OVERRIDING SYSTEM VALUE TABLE e; INSERT INTO audit_chain TABLE c; DROP TABLE r, e, c",
        )
        .await
        .unwrap();
    }
    let again = store.verify().await.unwrap();
    assert_eq!((again.first_broken, again.head == head), (None, true), "each was put back");

    // Who cuts the end off and the end of the chain with it is betrayed by the head only.
    sql.batch_execute(
        "DELETE FROM audit_entry WHERE sequence = 20; \
         UPDATE audit_chain SET sequence = 19, hash = (SELECT hash FROM audit_entry WHERE sequence = 19)",
    )
    .await
    .unwrap();
    let cut = store.verify().await.unwrap();
    assert_eq!(cut.first_broken, None);
    assert_ne!(cut.head, head);
}

#[tokio::test]
async fn chains_of_datasets_are_independent_and_the_first_broken_one_is_named() {
    let database = database().await;
    let store = store(&database).await;
    let at = moment("2026-11-20T10:00:00Z");
    for set in ["po", "ap", "Ärger"] {
        store.append(segment(set, "r", at, 0, 5)).await.unwrap();
        store.record(landed(set, "r")).await.unwrap();
    }
    // While somebody appends to one chain, another one takes entries.
    let mut sql = client(&database).await;
    let holding = sql.transaction().await.unwrap();
    holding.query_one("SELECT 1 FROM audit_chain WHERE dataset = 'ap' FOR UPDATE", &[]).await.unwrap();
    let appended = store.record(event("po", "r", AuditEvent::Idle { counts: Counts::default(), through: None }));
    tokio::time::timeout(Duration::from_secs(5), appended).await.unwrap().unwrap();
    holding.rollback().await.unwrap();

    let whole = store.verify().await.unwrap();
    assert_eq!((whole.entries, whole.records, whole.first_broken), (7, 15, None));
    sql.batch_execute("UPDATE audit_entry SET company = 'x' WHERE records > 0 AND dataset <> 'ap'").await.unwrap();
    let (at, why) = store.verify().await.unwrap().first_broken.unwrap();
    assert_eq!((at, why.starts_with("dataset po: ")), (1, true), "{why}");
}

#[tokio::test]
async fn texts_of_all_kinds_come_back_as_they_were() {
    let database = database().await;
    let store = store(&database).await;
    let odd = ["a\0b", "␀", "␀0", "Łódź \"'\\", "\u{feff}\u{202e}😀", "\\x00", "NULL", "{}", "\t\r\n"];
    let mut odd_segment = segment("odd \0 set", "run ␀", moment("2026-11-20T10:00:00.000000999Z"), 0, 0);
    odd_segment.company = "E\0".to_owned();
    odd_segment.dimension_names = odd.iter().map(|name| (*name).to_owned()).collect();
    odd_segment.records = Records::with_dimensions(odd.len());
    let long = "x\0".repeat(3_000);
    for text in odd.iter().copied().chain([long.as_str(), ""]) {
        let key = serde_json::to_string(&["E1", text]).unwrap();
        odd_segment.records.push(Action::Reject, &key, i64::MIN, text, text, u128::MAX, text).unwrap();
        odd_segment.records.dimensions.iter_mut().for_each(|column| column.push(text).unwrap());
    }
    // Not a list, and one without parts.
    for key in ["", "plain", "[]"] {
        odd_segment.records.push(Action::Delete, key, 0, "", "", 0, "").unwrap();
        odd_segment.records.dimensions.iter_mut().for_each(|column| column.push("").unwrap());
    }
    store.append(odd_segment.clone()).await.unwrap();
    let failed = AuditEvent::Failed { stage: "read\0".to_owned(), message: "␀ \0".to_owned(), hint: None };
    let entry = AuditEntry { dataset: "odd \0 set".into(), ..event("x", "run ␀", failed) };
    store.record(entry.clone()).await.unwrap();

    assert_eq!(store.verify().await.unwrap().first_broken, None);
    assert_eq!(store.events(&AuditFilter::default()).await.unwrap(), [entry]);
    let found = store.records(&AuditFilter::default()).await.unwrap();
    assert_eq!(found.len(), odd_segment.records.len());
    for (row, record) in found.iter().enumerate() {
        let records = &odd_segment.records;
        assert_eq!(record.key, records.keys.at(row));
        assert_eq!(
            (record.reason.as_str(), record.row_id.as_str()),
            (records.reasons.at(row), records.row_ids.at(row))
        );
        assert_eq!(record.hash, format!("{:032x}", records.hashes[row]));
        assert_eq!((record.dataset.as_str(), record.company.as_str()), ("odd \0 set", "E\0"));
        let values: Vec<&str> = record.dimensions.iter().map(|(_, value)| value.as_str()).collect();
        assert!(values.iter().all(|value| *value == records.reasons.at(row)));
        for key in [record.key.clone(), record.reason.clone()] {
            let filter = AuditFilter { key: Some(key), dataset: Some("odd \0 set".into()), ..AuditFilter::default() };
            let by_key = store.records(&filter).await.unwrap();
            let expected: Vec<&AuditRecord> = found.iter().filter(|record| filter.matches_key(&record.key)).collect();
            assert_eq!(by_key.iter().collect::<Vec<_>>(), expected, "{:?}", filter.key);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_looks_while_others_write_sees_whole_segments() {
    let database = database().await;
    let writing = store(&database).await;
    let looking = PostgresStore::connect_read_only(super::options(&database)).await.unwrap();
    let at = moment("2026-11-20T10:00:00Z");
    let writer = tokio::spawn(async move {
        for nth in 0..60 {
            let set = ["ap", "po", "gl"][nth % 3];
            writing.append(segment(set, &format!("r{nth}"), at, nth * 500, 500)).await.unwrap();
            writing.record(landed(set, &format!("r{nth}"))).await.unwrap();
        }
    });
    while !writer.is_finished() {
        let found = looking.verify().await.unwrap();
        assert_eq!((found.first_broken, found.records % 500), (None, 0));
        assert_eq!(looking.records(&AuditFilter::default()).await.unwrap().len() % 500, 0);
    }
    writer.await.unwrap();
    assert_eq!(looking.verify().await.unwrap().records, 30_000);
}
