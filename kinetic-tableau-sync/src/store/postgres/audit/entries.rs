//! Entries and their records, read back as what was written.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use tokio_postgres::Row;

use crate::audit::trail::HASH;
use crate::audit::{Action, AuditEntry, AuditSegment, Records};
use crate::batch::BatchFull;
use crate::model::{DatasetId, RunId};
use crate::store::StateError;
use crate::store::postgres::error::corrupt;
use crate::store::postgres::{Transaction, indexed, last_part, original, stored};

/// The columns of an entry, in the order in which [`Entry::read`] takes them.
pub(super) const ENTRY: &str = "id, sequence, at, nanos, dataset, run, hash, event, body::text, records, company, project, \
                                datasource, request_id, dimension_names";

/// The columns of a record, in the order in which [`Record::read`] takes them.
pub(super) const RECORD: &str = "r.entry, r.version, r.position, r.action, r.hash, r.key, r.key_part, r.row_id, \
                                 r.stamp, r.reason, r.dimensions";

/// One entry of a chain as it is stored.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: i64,
    pub(super) sequence: i64,
    /// Without what lies below microseconds, as in the rows of its records.
    pub(super) at: DateTime<Utc>,
    nanos: i16,
    pub(super) dataset: String,
    pub(super) run: String,
    pub(super) hash: [u8; HASH],
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Segment(Common),
    Event {
        name: String,
        body: String,
    },
    /// Neither, which somebody has made of it.
    Broken,
}

/// What the records of a segment have in common.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) records: usize,
    company: String,
    project: String,
    datasource: String,
    request_id: String,
    pub(super) dimension_names: Vec<String>,
}

impl Entry {
    pub(super) fn read(transaction: &Transaction, row: &Row) -> Result<Self, StateError> {
        let text = |at| transaction.get::<&str>(row, at).map(|text| original(text).into_owned());
        let optional = |at| {
            let found = transaction.get::<Option<&str>>(row, at);
            found.map(|text| text.map(|text| original(text).into_owned()))
        };
        let hash: &[u8] = transaction.get(row, 6)?;
        let common = (
            transaction.get::<Option<i32>>(row, 9)?,
            optional(10)?,
            optional(11)?,
            optional(12)?,
            optional(13)?,
            transaction.get::<Option<Vec<&str>>>(row, 14)?,
        );
        let content = match (optional(7)?, transaction.get::<Option<String>>(row, 8)?, common) {
            (Some(name), Some(body), (None, None, None, None, None, None)) => Content::Event { name, body },
            (
                None,
                None,
                (Some(records), Some(company), Some(project), Some(datasource), Some(request_id), Some(names)),
            ) => Content::Segment(Common {
                records: usize::try_from(records).unwrap_or_default(),
                company,
                project,
                datasource,
                request_id,
                dimension_names: names.into_iter().map(|name| original(name).into_owned()).collect(),
            }),
            _ => Content::Broken,
        };
        Ok(Self {
            id: transaction.get(row, 0)?,
            sequence: transaction.get(row, 1)?,
            at: transaction.get(row, 2)?,
            nanos: transaction.get(row, 3)?,
            dataset: text(4)?,
            run: text(5)?,
            // A hash that has not the right length breaks the chain like any other wrong one.
            hash: hash.try_into().unwrap_or([0xff; HASH]),
            content,
        })
    }

    /// The moment as it was written.
    pub(super) fn moment(&self) -> DateTime<Utc> {
        self.at.checked_add_signed(chrono::Duration::nanoseconds(self.nanos.into())).unwrap_or(self.at)
    }

    /// Whether the columns beside an event say what the event says.
    pub(super) fn agrees_with(&self, name: &str, event: &AuditEntry) -> bool {
        self.moment() == event.at
            && self.dataset == event.dataset.as_str()
            && self.run == event.run.as_str()
            && name == super::append::name(&event.event)
    }

    /// The segment of records that have been gathered.
    pub(super) fn segment(&self, common: &Common, records: Records) -> AuditSegment {
        AuditSegment {
            dataset: DatasetId::new(&self.dataset),
            run: RunId::new(&self.run),
            at: self.moment(),
            company: common.company.clone(),
            project: common.project.clone(),
            datasource: common.datasource.clone(),
            request_id: common.request_id.clone(),
            dimension_names: common.dimension_names.clone(),
            records,
        }
    }
}

/// One record as it is stored.
pub(super) struct Record<'r> {
    pub(super) entry: i64,
    version: i64,
    pub(super) position: i32,
    action: Option<Action>,
    hash: Option<u128>,
    key: &'r str,
    key_part: &'r str,
    row_id: Option<&'r str>,
    stamp: Option<&'r str>,
    reason: Option<&'r str>,
    dimensions: Option<Vec<&'r str>>,
}

impl<'r> Record<'r> {
    pub(super) fn read(transaction: &Transaction, row: &'r Row) -> Result<Self, StateError> {
        let action: i16 = transaction.get(row, 3)?;
        let hash: &[u8] = transaction.get(row, 4)?;
        Ok(Self {
            entry: transaction.get(row, 0)?,
            version: transaction.get(row, 1)?,
            position: transaction.get(row, 2)?,
            action: u8::try_from(action).ok().and_then(Action::from_code),
            hash: hash.try_into().ok().map(u128::from_be_bytes),
            key: transaction.get(row, 5)?,
            key_part: transaction.get(row, 6)?,
            row_id: transaction.get(row, 7)?,
            stamp: transaction.get(row, 8)?,
            reason: transaction.get(row, 9)?,
            dimensions: transaction.get(row, 10)?,
        })
    }

    pub(super) fn action(&self) -> Result<Action, StateError> {
        self.action.ok_or_else(|| corrupt("a record of the audit trail has no action that is known"))
    }

    /// The key as it was written.
    pub(super) fn key(&self) -> Cow<'r, str> {
        original(self.key)
    }

    /// Whether the column by which keys are found says what the key says.
    fn is_indexed(&self) -> bool {
        indexed(&stored(&last_part(&self.key()))) == self.key_part
    }

    /// Puts the record behind others of its segment; false when it is not what we have written.
    pub(super) fn push(&self, records: &mut Records) -> Result<bool, BatchFull> {
        let (Some(action), Some(hash)) = (self.action, self.hash) else { return Ok(false) };
        // Nothing stands for an empty text.
        let optional = [self.row_id, self.stamp, self.reason];
        let dimensions = self.dimensions.as_deref().unwrap_or_default();
        let has_dimensions = self.dimensions.is_some();
        if usize::try_from(self.position) != Ok(records.len())
            || !self.is_indexed()
            || optional.contains(&Some(""))
            || dimensions.len() != records.dimensions.len()
            || has_dimensions == records.dimensions.is_empty()
        {
            return Ok(false);
        }
        let [row_id, stamp, reason] = optional.map(|text| original(text.unwrap_or_default()));
        records.push(action, &self.key(), self.version, &row_id, &stamp, hash, &reason)?;
        for (texts, value) in records.dimensions.iter_mut().zip(dimensions) {
            texts.push(&original(value))?;
        }
        Ok(true)
    }

    /// The record with what its segment tells; whether it has landed is told by another entry.
    pub(super) fn told(&self, entry: &Entry, common: &Common) -> Result<crate::AuditRecord, StateError> {
        let text = |text: Option<&str>| original(text.unwrap_or_default()).into_owned();
        let dimensions = self.dimensions.as_deref().unwrap_or_default();
        Ok(crate::AuditRecord {
            dataset: DatasetId::new(&entry.dataset),
            run: RunId::new(&entry.run),
            at: entry.moment(),
            company: common.company.clone(),
            project: common.project.clone(),
            datasource: common.datasource.clone(),
            request_id: common.request_id.clone(),
            job_id: None,
            landed: false,
            action: self.action()?,
            key: self.key().into_owned(),
            version: self.version,
            row_id: text(self.row_id),
            stamp: text(self.stamp),
            hash: format!("{:032x}", self.hash.unwrap_or_default()),
            reason: text(self.reason),
            dimensions: common
                .dimension_names
                .iter()
                .cloned()
                .zip(dimensions.iter().map(|value| original(value).into_owned()))
                .collect(),
        })
    }
}
