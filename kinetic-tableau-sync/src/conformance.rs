//! Proof for destinations of one's own: run [`destination`] against them in a test.
//!
//! Stores have suites of their own in [`store::conformance`](crate::store::conformance).

use std::sync::Arc;

use async_trait::async_trait;

use crate::batch::{Batch, ColumnData, Values};
use crate::destination::{
    Destination, DestinationError, DestinationErrorKind, LoadKind, LoadPlan, Receipt, Staged, TargetState,
};
use crate::model::{Column, ColumnType, RunId, Schema, Target};

/// A place that rows land in, as the suite sees it.
#[async_trait]
pub trait Ground: Send + Sync {
    /// The destination, made anew each time, as behind a restart.
    async fn destination(&self) -> Arc<dyn Destination>;

    /// What is visible of a target, by other means than the destination's own: each row as texts of the columns `Company`, `Number`,
    /// `Name`, `Amount`, `Day`, `Moment`, `Open` and `Ratio`, in any order of rows. Amounts have three digits behind the point, days are
    /// written 2026-01-31, moments 2026-01-31T23:59:59.000001, booleans true and false, ratios as Rust does.
    async fn rows(&self, target: &Target) -> Vec<Vec<Option<String>>>;
}

/// One row of the suite.
type Row<'a> = (&'a str, i64, Option<&'a str>, Option<i64>);

fn schema() -> Arc<Schema> {
    let column = |name: &str, kind, nullable| Column {
        name: name.to_owned(),
        source: name.to_owned(),
        kind,
        nullable,
        landed: true,
    };
    let columns = vec![
        column("Company", ColumnType::Text, false),
        column("Number", ColumnType::Int32, false),
        column("Name", ColumnType::Text, true),
        column("Amount", ColumnType::Decimal { precision: 18, scale: 3 }, true),
        column("Day", ColumnType::Date, true),
        column("Moment", ColumnType::Timestamp, true),
        column("Open", ColumnType::Bool, true),
        column("Ratio", ColumnType::Double, true),
    ];
    let none = Vec::new();
    let (version, row_id, stamp, stamp_seconds) = (None, None, None, None);
    Arc::new(Schema { columns, key: vec![0, 1], version, row_id, stamp, stamp_seconds, dimensions: none })
}

/// Days of a row, moments and the rest follow from its number.
fn batch(schema: &Arc<Schema>, rows: &[Row<'_>]) -> Batch {
    let mut columns: Vec<ColumnData> = schema.columns.iter().map(|column| ColumnData::for_type(column.kind)).collect();
    for (company, number, name, amount) in rows {
        for (column, wanted) in columns.iter_mut().zip(&schema.columns) {
            let is_null = match wanted.name.as_str() {
                "Company" | "Number" => false,
                "Name" => name.is_none(),
                _ => amount.is_none(),
            };
            if is_null {
                column.push_null();
                continue;
            }
            match &mut column.values {
                Values::Text(texts) => {
                    let text = if wanted.name == "Company" { company } else { name.as_ref().unwrap_or(&"") };
                    assert!(texts.push(text).is_ok());
                }
                Values::Bool(values) => values.push(number % 2 == 0),
                Values::F64(values) => values.push(half(*number)),
                Values::I64(values) => values.push(match wanted.name.as_str() {
                    "Number" => *number,
                    "Amount" => amount.unwrap_or_default(),
                    "Day" => number - 719_162,
                    _ => number * 1_000_001,
                }),
                Values::I128(_) => {}
            }
            column.nulls.push(false);
        }
    }
    let batch = Batch::from_columns(Arc::clone(schema), columns);
    assert!(batch.is_ok(), "the suite makes whole batches");
    batch.unwrap_or_else(|_| Batch::empty(Arc::clone(schema)))
}

fn half(number: i64) -> f64 {
    f64::from(i32::try_from(number).unwrap_or_default()) / 2.0
}

/// The rows as they must be visible.
fn visible(rows: &[Row<'_>]) -> Vec<Vec<Option<String>>> {
    let text = |(company, number, name, amount): &Row<'_>| {
        let sign = amount.filter(|amount| *amount < 0).map_or("", |_| "-");
        let day = chrono::NaiveDate::from_num_days_from_ce_opt(i32::try_from(number + 1).unwrap_or_default());
        let moment = chrono::DateTime::from_timestamp_micros(number * 1_000_001);
        vec![
            Some((*company).to_owned()),
            Some(number.to_string()),
            name.map(str::to_owned),
            amount.map(|amount| format!("{sign}{}.{:03}", amount.abs() / 1_000, amount.abs() % 1_000)),
            amount.and(day).map(|day| day.format("%Y-%m-%d").to_string()),
            amount.and(moment).map(|moment| moment.format("%Y-%m-%dT%H:%M:%S%.6f").to_string()),
            amount.map(|_| (number % 2 == 0).to_string()),
            amount.map(|_| half(*number).to_string()),
        ]
    };
    let mut rows: Vec<_> = rows.iter().map(text).collect();
    rows.sort();
    rows
}

/// A destination under proof, and what it answers.
struct Suite<'a, G> {
    ground: &'a G,
    target: Target,
    schema: Arc<Schema>,
    runs: u32,
}

impl<G: Ground> Suite<'_, G> {
    async fn plan(&mut self, kind: LoadKind) -> LoadPlan {
        self.runs += 1;
        let run = RunId::new(format!("{}-{}", self.target.datasource, self.runs));
        let target_id = match self.state().await {
            TargetState::Present { id, .. } | TargetState::Foreign { id } => Some(id),
            TargetState::Absent => None,
        };
        LoadPlan {
            dataset: "conformance".into(),
            request_id: run.to_string(),
            run,
            kind,
            schema: Arc::clone(&self.schema),
            target: self.target.clone(),
            target_id,
        }
    }

    async fn state(&self) -> TargetState {
        told(self.ground.destination().await.inspect(&self.target).await, "looking at the target")
    }

    async fn see(&self) -> Vec<Vec<Option<String>>> {
        let mut rows = self.ground.rows(&self.target).await;
        rows.sort();
        rows
    }

    async fn stage(&self, plan: &LoadPlan, rows: &[&[Row<'_>]]) -> Staged {
        let mut load = told(self.ground.destination().await.begin(plan).await, "beginning");
        for rows in rows {
            told(load.insert(&batch(&self.schema, rows)).await, "inserting");
        }
        told(load.seal().await, "sealing")
    }

    async fn publish(&self, plan: &LoadPlan, staged: &Staged) -> Receipt {
        let receipt = told(self.ground.destination().await.publish(plan, staged).await, "publishing");
        assert_eq!((receipt.request_id.as_str(), receipt.rows), (plan.request_id.as_str(), staged.rows));
        match self.state().await {
            TargetState::Present { id, version } => {
                assert_eq!((id, version), (receipt.target_id.clone(), receipt.target_version.clone()));
            }
            TargetState::Foreign { id } => assert_eq!(id, receipt.target_id),
            TargetState::Absent => assert_eq!("absent", "present", "what was published is there"),
        }
        receipt
    }
}

fn told<T>(result: Result<T, DestinationError>, doing: &str) -> T {
    let words = result.as_ref().err().map(|error| format!("{error} ({:?})", error.hint()));
    assert_eq!(words, None, "{doing} failed");
    #[expect(clippy::unwrap_used, reason = "a broken promise is a panic")]
    result.unwrap()
}

fn refused<T>(result: Result<T, DestinationError>, kind: DestinationErrorKind, what: &str) {
    assert_eq!(result.err().map(|error| error.kind()), Some(kind), "{what}");
}

/// Proves the promises of [`Destination`] and [`Load`](crate::Load). `target` names nothing that is there yet.
///
/// # Panics
/// With the promise that was broken.
pub async fn destination(ground: &impl Ground, target: Target) {
    let mut suite = Suite { ground, target, schema: schema(), runs: 0 };
    assert_eq!(suite.state().await, TargetState::Absent, "nothing is there yet");
    full(&mut suite).await;
    replaced(&mut suite).await;
    unwelcome(&mut suite).await;
    if matches!(suite.state().await, TargetState::Present { .. }) {
        delta(&mut suite).await;
    }
    let plan = suite.plan(LoadKind::Full).await;
    let staged = suite.stage(&plan, &[]).await;
    suite.publish(&plan, &staged).await;
    assert_eq!(suite.see().await, visible(&[]), "a full load of no rows leaves none");
}

/// A sealed load is invisible, durable and publishes once.
async fn full<G: Ground>(suite: &mut Suite<'_, G>) {
    let first: &[Row<'_>] =
        &[("E1", 1, Some("Łódź \"x\"\t\\N"), Some(1_234_567)), ("E1", 2, Some(""), Some(-1)), ("E2", 1, None, None)];
    let second: &[Row<'_>] =
        &[("e1", 1, Some("NULL"), Some(0)), ("", 7, Some("a\r\nb"), Some(-999_999_999_999_999_999))];
    let plan = suite.plan(LoadKind::Full).await;
    let staged = suite.stage(&plan, &[first, second]).await;
    assert_eq!((staged.rows, staged.deletes), (5, 0));
    assert_eq!(suite.state().await, TargetState::Absent, "what is sealed is not visible");
    let again = suite.ground.destination().await;
    assert!(told(again.is_intact(&staged).await, "asking after a sealed load"), "a sealed load outlives its process");
    for (changed, what) in [
        (Staged { rows: 4, ..staged.clone() }, "rows"),
        (Staged { sha256: "0".repeat(64), ..staged.clone() }, "hash"),
        (Staged { path: staged.path.with_file_name("another"), ..staged.clone() }, "place"),
    ] {
        // The number of rows is not told by every form of staging.
        let is_intact = told(again.is_intact(&changed).await, "asking after another load");
        assert!(!is_intact || what == "rows", "a load of another {what} is none of ours");
    }
    let receipt = suite.publish(&plan, &staged).await;
    let truth: Vec<Row<'_>> = first.iter().chain(second).copied().collect();
    assert_eq!(suite.see().await, visible(&truth), "what is visible is what was given");
    let repeated = told(again.publish(&plan, &staged).await, "publishing again");
    assert_eq!(repeated.target_id, receipt.target_id, "the same target");
    assert_eq!(suite.see().await, visible(&truth), "to publish again has no second effect");
    if let Some(found) = told(again.find_receipt(&plan).await, "looking for the receipt") {
        assert_eq!(found, receipt, "the receipt that is found is the one that was given");
    }
    told(again.discard(&staged).await, "discarding");
    told(again.discard(&staged).await, "discarding once more");
    assert!(!told(again.is_intact(&staged).await, "asking after a discarded load"), "it is gone");
    assert_eq!(suite.see().await, visible(&truth), "what has landed stays");
}

/// In a full load rows are replaced that were written again while it was read.
async fn replaced<G: Ground>(suite: &mut Suite<'_, G>) {
    let plan = suite.plan(LoadKind::Full).await;
    let mut load = told(suite.ground.destination().await.begin(&plan).await, "beginning");
    let insert = |rows: &[Row<'_>]| batch(&suite.schema, rows);
    told(load.insert(&insert(&[("E1", 1, Some("old"), Some(1)), ("E1", 2, Some("kept"), Some(2))])).await, "inserting");
    let replaced = load.upsert(&insert(&[("E1", 1, Some("newer"), Some(3)), ("E1", 3, Some("new"), None)])).await;
    assert_eq!(told(replaced, "replacing"), 1, "one row took the place of another");
    told(load.insert(&insert(&[("E1", 4, None, Some(4))])).await, "inserting behind it");
    let replaced = load.upsert(&insert(&[("E1", 1, Some("newest"), Some(5)), ("E1", 4, Some("too"), Some(6))])).await;
    assert_eq!(told(replaced, "replacing again"), 2);
    let staged = told(load.seal().await, "sealing");
    assert_eq!(staged.rows, 4, "rows that were replaced do not count");
    assert!(told(suite.ground.destination().await.is_intact(&staged).await, "asking"), "it is as it was sealed");
    suite.publish(&plan, &staged).await;
    let truth = [
        ("E1", 1, Some("newest"), Some(5)),
        ("E1", 2, Some("kept"), Some(2)),
        ("E1", 3, Some("new"), None),
        ("E1", 4, Some("too"), Some(6)),
    ];
    assert_eq!(suite.see().await, visible(&truth), "the last content of each key is visible, and no other row");
    told(suite.ground.destination().await.discard(&staged).await, "discarding");
}

/// What must not land leaves nothing behind.
async fn unwelcome<G: Ground>(suite: &mut Suite<'_, G>) {
    let before = suite.see().await;
    let plan = suite.plan(LoadKind::Full).await;
    let mut load = told(suite.ground.destination().await.begin(&plan).await, "beginning");
    told(load.insert(&batch(&suite.schema, &[("E9", 9, None, None)])).await, "inserting");
    told(load.abort().await, "aborting");
    let plan = suite.plan(LoadKind::Full).await;
    let mut load = told(suite.ground.destination().await.begin(&plan).await, "beginning");
    told(load.insert(&batch(&suite.schema, &[("E9", 9, None, None)])).await, "inserting");
    drop(load);
    let plan = suite.plan(LoadKind::Full).await;
    let mut load = told(suite.ground.destination().await.begin(&plan).await, "beginning");
    told(load.insert(&batch(&suite.schema, &[("E9", 9, None, None), ("E9", 8, None, None)])).await, "inserting");
    told(load.insert(&batch(&suite.schema, &[("E9", 9, Some("again"), None)])).await, "inserting");
    refused(load.seal().await, DestinationErrorKind::Value, "two rows of one key are never sealed");
    let plan = suite.plan(LoadKind::Full).await;
    let mut load = told(suite.ground.destination().await.begin(&plan).await, "beginning");
    let large = [("E9", 9, None, Some(1_000_000_000_000_000_000))];
    let ended = match load.insert(&batch(&suite.schema, &large)).await {
        Ok(()) => load.seal().await.map(|_| ()),
        Err(error) => told(load.abort().await.map(|()| Err(error)), "aborting"),
    };
    refused(ended, DestinationErrorKind::Value, "a decimal with more digits than its column is refused");
    assert_eq!(suite.see().await, before, "nothing of them is visible");
}

/// Changes are applied by key, once, all or none.
async fn delta<G: Ground>(suite: &mut Suite<'_, G>) {
    let plan = suite.plan(LoadKind::Delta).await;
    let mut load = told(suite.ground.destination().await.begin(&plan).await, "beginning");
    let changed = [("E1", 2, None, Some(20)), ("E3", 1, Some("added"), Some(30))];
    told(load.insert(&batch(&suite.schema, &changed)).await, "inserting");
    let keys = Arc::new(suite.schema.key_only());
    told(load.delete(&batch(&keys, &[("E1", 3, None, None), ("E1", 77, None, None)])).await, "deleting");
    let sealed = load.seal().await;
    if sealed.as_ref().is_err_and(|error| error.kind() == DestinationErrorKind::TooLarge) {
        // Whoever takes no changes says so here, and is given a full load.
        return;
    }
    let staged = told(sealed, "sealing");
    assert_eq!((staged.rows, staged.deletes), (2, 2));
    suite.publish(&plan, &staged).await;
    let mut truth = vec![("E1", 1, Some("newest"), Some(5)), ("E1", 4, Some("too"), Some(6))];
    truth.extend(changed);
    assert_eq!(suite.see().await, visible(&truth), "changed, added and deleted; a key that is not there is no failure");
    told(suite.ground.destination().await.publish(&plan, &staged).await, "publishing again");
    assert_eq!(suite.see().await, visible(&truth), "and once only");
    told(suite.ground.destination().await.discard(&staged).await, "discarding");

    let plan = suite.plan(LoadKind::Delta).await;
    let mut load = told(suite.ground.destination().await.begin(&plan).await, "beginning");
    told(load.delete(&batch(&keys, &[("E3", 1, None, None)])).await, "deleting");
    let staged = told(load.seal().await, "sealing");
    suite.publish(&plan, &staged).await;
    truth.retain(|row| row.0 != "E3");
    assert_eq!(suite.see().await, visible(&truth), "deletes alone");
    told(suite.ground.destination().await.discard(&staged).await, "discarding");
}
