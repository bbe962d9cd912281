//! A source, a destination and a listener of one's own, of which one says more than it should.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use kinetic_tableau_sync::*;

/// Where something is said that should not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Schema,
    Head,
    Read,
    /// In the message of a panic while rows are read.
    Panic,
    /// In the reason, the hint and the copy of a row that is rejected.
    Reject,
    /// As [`At::Reject`], with one row more than is allowed.
    TooManyRejects,
    Inspect,
    Begin,
    Insert,
    /// A publish that does not succeed, and stays to be done.
    Publish,
    /// A publish that is refused for good.
    Refused,
    /// A refresh that cannot be started.
    Refresh,
    /// A refresh that ends in failure.
    Refreshed,
}

/// Says some words at one place, and works well everywhere else.
#[derive(Clone)]
pub(super) struct Talker {
    pub(super) at: At,
    pub(super) words: String,
}

impl std::fmt::Debug for Talker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Talker").field("at", &self.at).finish_non_exhaustive()
    }
}

/// An error whose cause has a cause, all of which say it.
#[derive(Debug, thiserror::Error)]
#[error("beneath: {words}")]
struct Cause {
    words: String,
    #[source]
    beneath: std::io::Error,
}

impl Talker {
    fn cause(&self) -> Cause {
        Cause { words: self.words.clone(), beneath: std::io::Error::other(self.words.clone()) }
    }

    fn source(&self, at: At) -> Result<(), SourceError> {
        if self.at != at {
            return Ok(());
        }
        let error = SourceError::new(SourceErrorKind::Other, format!("the source said {}", self.words));
        Err(error.with_hint(format!("ask it: {}", self.words)).with_cause(self.cause()))
    }

    fn destination(&self, at: At, kind: DestinationErrorKind) -> Result<(), DestinationError> {
        if self.at != at {
            return Ok(());
        }
        let error = DestinationError::new(kind, format!("the destination said {}", self.words));
        Err(error.with_hint(format!("ask it: {}", self.words)).with_cause(self.cause()))
    }

    fn batch(&self, schema: Arc<Schema>) -> Batch {
        let mut columns: Vec<ColumnData> =
            schema.columns.iter().map(|column| ColumnData::for_type(column.kind)).collect();
        for number in 1..=2_i64 {
            for column in &mut columns {
                match &mut column.values {
                    Values::I64(values) => values.push(number),
                    Values::Text(values) => values.push("a row").unwrap(),
                    other => panic!("{other:?}"),
                }
                column.nulls.push(false);
            }
        }
        let batch = Batch::from_columns(schema, columns).unwrap();
        if !matches!(self.at, At::Reject | At::TooManyRejects) {
            return batch;
        }
        batch.with_rejects(vec![RowReject {
            row: 1,
            column: "Name".to_owned(),
            reason: format!("the value is no name: {}", self.words),
            hint: Some(format!("mend {}", self.words)),
            raw: serde_json::json!({ "Num": 2, "Name": self.words }).to_string(),
        }])
    }
}

#[async_trait]
impl Source for Talker {
    async fn schema(&self, _: &DatasetSpec) -> Result<Schema, SourceError> {
        self.source(At::Schema)?;
        let column = |name: &str, kind| Column {
            name: name.to_owned(),
            source: name.to_owned(),
            kind,
            nullable: true,
            landed: true,
        };
        Ok(Schema {
            columns: vec![column("Num", ColumnType::Int64), column("Name", ColumnType::Text)],
            key: vec![0],
            version: Some(0),
            row_id: None,
            stamp: None,
            stamp_seconds: None,
            dimensions: vec![1],
        })
    }

    async fn head(&self, _: &DatasetSpec, _: &Schema) -> Result<Option<Cursor>, SourceError> {
        self.source(At::Head)?;
        Ok(Some(Cursor::new("2")))
    }

    fn read<'a>(
        &'a self,
        _: &'a DatasetSpec,
        schema: Arc<Schema>,
        _: Window,
    ) -> BoxStream<'a, Result<Batch, SourceError>> {
        assert!(self.at != At::Panic, "the source panics: {}", self.words);
        let batch = self.source(At::Read).map(|()| self.batch(schema));
        stream::iter([batch]).boxed()
    }

    fn is_after(&self, _: &DatasetSpec, later: &Cursor, earlier: &Cursor) -> Result<bool, SourceError> {
        Ok(later.as_str() > earlier.as_str())
    }

    fn company(&self) -> &'static str {
        "E1"
    }
}

#[derive(Debug)]
struct Nowhere(Talker);

#[async_trait]
impl Load for Nowhere {
    async fn insert(&mut self, _: &Batch) -> Result<(), DestinationError> {
        self.0.destination(At::Insert, DestinationErrorKind::Engine)
    }

    async fn upsert(&mut self, _: &Batch) -> Result<u64, DestinationError> {
        Ok(0)
    }

    async fn delete(&mut self, _: &Batch) -> Result<(), DestinationError> {
        Ok(())
    }

    async fn seal(self: Box<Self>) -> Result<Staged, DestinationError> {
        let rows = if self.0.at == At::Reject { 1 } else { 2 };
        Ok(Staged { path: PathBuf::from("nowhere"), rows, deletes: 0, bytes: 1, sha256: "00".to_owned() })
    }

    async fn abort(self: Box<Self>) -> Result<(), DestinationError> {
        Ok(())
    }
}

#[async_trait]
impl Destination for Talker {
    async fn inspect(&self, _: &Target) -> Result<TargetState, DestinationError> {
        self.destination(At::Inspect, DestinationErrorKind::Auth)?;
        Ok(TargetState::Absent)
    }

    async fn begin(&self, _: &LoadPlan) -> Result<Box<dyn Load>, DestinationError> {
        self.destination(At::Begin, DestinationErrorKind::Engine)?;
        Ok(Box::new(Nowhere(self.clone())))
    }

    async fn is_intact(&self, _: &Staged) -> Result<bool, DestinationError> {
        Ok(true)
    }

    async fn publish(&self, plan: &LoadPlan, staged: &Staged) -> Result<Receipt, DestinationError> {
        self.destination(At::Publish, DestinationErrorKind::Unavailable)?;
        self.destination(At::Refused, DestinationErrorKind::Rejected)?;
        Ok(Receipt {
            target_id: "t".to_owned(),
            request_id: plan.request_id.clone(),
            job_id: None,
            target_version: None,
            rows: staged.rows,
            landed_at: chrono::Utc::now(),
        })
    }

    async fn refresh(&self, target: &RefreshTarget) -> Result<RefreshReport, DestinationError> {
        self.destination(At::Refresh, DestinationErrorKind::Auth)?;
        let outcome = match self.at {
            At::Refreshed => RefreshOutcome::Failed(format!("the job said {}", self.words)),
            _ => RefreshOutcome::Succeeded,
        };
        Ok(RefreshReport { target: target.clone(), job_id: None, outcome })
    }

    async fn discard(&self, _: &Staged) -> Result<(), DestinationError> {
        Ok(())
    }
}

/// Keeps everything that a run tells.
#[derive(Debug, Default)]
pub(super) struct Listener(pub(super) Mutex<String>);

impl Progress for Listener {
    fn report(&self, dataset: &DatasetId, event: &ProgressEvent) {
        writeln!(self.0.lock().unwrap(), "{dataset} {event:?}").unwrap();
    }
}
