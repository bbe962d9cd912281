//! Records of the audit trail, in columns while they are written and as rows when they are read.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::batch::{BatchFull, TextColumn};
use crate::model::{DatasetId, RunId};

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[non_exhaustive]
pub enum Action {
    /// Landed under a key that was not there.
    Insert = 1,
    /// Landed in place of an older version.
    Update = 2,
    /// Removed, because the source no longer has it.
    Delete = 3,
    /// Not landed, with a reason.
    Reject = 4,
}

impl Action {
    /// The action of a code, as stored.
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Insert,
            2 => Self::Update,
            3 => Self::Delete,
            4 => Self::Reject,
            _ => return None,
        })
    }

    /// The code, as stored.
    pub fn code(self) -> u8 {
        match self {
            Self::Insert => 1,
            Self::Update => 2,
            Self::Delete => 3,
            Self::Reject => 4,
        }
    }

    /// The name, as printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Reject => "reject",
        }
    }
}

/// Records of one run, in columns. All columns are equally long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// What became of each row.
    pub actions: Vec<Action>,
    /// Keys as JSON arrays, for instance `["EPIC06",1042,"INV-7"]`.
    pub keys: TextColumn,
    /// `SysRevID`; 0 where the source has none.
    pub versions: Vec<i64>,
    /// `SysRowID` as sent; empty where the source has none.
    pub row_ids: TextColumn,
    /// The change stamp as sent; empty where the dataset has none.
    pub stamps: TextColumn,
    /// Hash of the row's landed values (XXH3, 128 bits; it tells versions apart, it is no signature).
    pub hashes: Vec<u128>,
    /// Why a row was rejected; empty otherwise.
    pub reasons: TextColumn,
    /// The dimension columns, one text column each.
    pub dimensions: Vec<TextColumn>,
}

impl Records {
    /// Empty columns, with so many dimensions.
    #[must_use]
    pub fn with_dimensions(dimensions: usize) -> Self {
        Self { dimensions: vec![TextColumn::default(); dimensions], ..Self::default() }
    }

    /// Empty columns with room for as much as others hold, and as many dimensions.
    pub(crate) fn sized_like(other: &Self) -> Self {
        let text = |other: &TextColumn| {
            let mut text = TextColumn::default();
            text.reserve_like(other);
            text
        };
        let rows = other.len();
        Self {
            actions: Vec::with_capacity(rows),
            keys: text(&other.keys),
            versions: Vec::with_capacity(rows),
            row_ids: text(&other.row_ids),
            stamps: text(&other.stamps),
            hashes: Vec::with_capacity(rows),
            reasons: text(&other.reasons),
            dimensions: other.dimensions.iter().map(text).collect(),
        }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.actions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// Adds one record but for its dimensions, which are pushed by the caller, one to each of [`Records::dimensions`].
    ///
    /// # Errors
    /// [`BatchFull`] when a text column would pass 4 GiB.
    #[expect(
        clippy::too_many_arguments,
        reason = "one argument a column; a struct would be built a million times for nothing"
    )]
    pub fn push(
        &mut self,
        action: Action,
        key: &str,
        version: i64,
        row_id: &str,
        stamp: &str,
        hash: u128,
        reason: &str,
    ) -> Result<(), BatchFull> {
        self.keys.push(key)?;
        self.row_ids.push(row_id)?;
        self.stamps.push(stamp)?;
        self.reasons.push(reason)?;
        self.actions.push(action);
        self.versions.push(version);
        self.hashes.push(hash);
        Ok(())
    }
}

/// Records with what they have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSegment {
    /// The dataset.
    pub dataset: DatasetId,
    /// The run.
    pub run: RunId,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// Company of the source.
    pub company: String,
    /// Project path in Tableau.
    pub project: String,
    /// Datasource in that project.
    pub datasource: String,
    /// Request id under which the load is published.
    pub request_id: String,
    /// Names of the dimension columns.
    pub dimension_names: Vec<String>,
    /// The records.
    pub records: Records,
}

/// One record, as read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// The dataset.
    pub dataset: DatasetId,
    /// The run.
    pub run: RunId,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// Company of the source.
    pub company: String,
    /// Project path in Tableau.
    pub project: String,
    /// Datasource in that project.
    pub datasource: String,
    /// Request id under which the load was published.
    pub request_id: String,
    /// Tableau's job, where the load has landed through one.
    pub job_id: Option<String>,
    /// Whether it has landed. `false`: the run was abandoned, or has not come so far, or the row was rejected.
    pub landed: bool,
    /// What became of the row.
    pub action: Action,
    /// Key as a JSON array.
    pub key: String,
    /// `SysRevID`; 0 where the source has none.
    pub version: i64,
    /// `SysRowID` as sent; empty where the source has none.
    pub row_id: String,
    /// The change stamp as sent; empty where the dataset has none.
    pub stamp: String,
    /// Hash of the row's landed values, 32 hex digits.
    pub hash: String,
    /// Why it was rejected; empty otherwise.
    pub reason: String,
    /// The dimensions, by name.
    pub dimensions: Vec<(String, String)>,
}
