//! The vocabulary of a sync: which rows come from where, what shape they have, and where they go.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::mapping::{Drift, Mapping};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps the text as it is.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }
    };
}

text_id! {
    /// Name of a dataset: unique in one configuration, the key of its state, audit and fingerprints.
    DatasetId
}
text_id! {
    /// Identity of one run of one dataset. A run that is resumed after a crash keeps its identity.
    RunId
}
text_id! {
    /// A position in the source's order. Only the source reads it; the engine stores and compares it for equality.
    Cursor
}

impl RunId {
    /// A new identity, random.
    #[must_use]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }
}

/// What a column holds once it has landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ColumnType {
    /// Unicode text, kept as it is. `""` and null stay different.
    Text,
    /// True or false.
    Bool,
    /// 16-bit integer.
    Int16,
    /// 32-bit integer.
    Int32,
    /// 64-bit integer.
    Int64,
    /// Binary floating point; only for columns that the source itself declares so.
    Double,
    /// Exact decimal with `precision` digits in all, `scale` of them behind the point. Precision is 1 to 38.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits behind the point.
        scale: u8,
    },
    /// Calendar date as written, never shifted by a zone. Days since 1970-01-01.
    Date,
    /// Date and time in microseconds since 1970-01-01T00:00:00. A value with an offset is brought to UTC; one without is kept as
    /// written (the server's local time).
    Timestamp,
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Bool => f.write_str("bool"),
            Self::Int16 => f.write_str("int16"),
            Self::Int32 => f.write_str("int32"),
            Self::Int64 => f.write_str("int64"),
            Self::Double => f.write_str("double"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Date => f.write_str("date"),
            Self::Timestamp => f.write_str("timestamp"),
        }
    }
}

impl std::str::FromStr for ColumnType {
    type Err = String;

    /// Reads the form that [`Display`](fmt::Display) writes, as used in configuration files.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        Ok(match text {
            "text" => Self::Text,
            "bool" => Self::Bool,
            "int16" => Self::Int16,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "double" => Self::Double,
            "date" => Self::Date,
            "timestamp" => Self::Timestamp,
            _ => return decimal_type(text),
        })
    }
}

fn decimal_type(text: &str) -> Result<ColumnType, String> {
    let facets = text
        .strip_prefix("decimal(")
        .and_then(|rest| rest.strip_suffix(')'))
        .and_then(|inner| inner.split_once(','))
        .and_then(|(p, s)| Some((p.trim().parse::<u8>().ok()?, s.trim().parse::<u8>().ok()?)));
    match facets {
        Some((precision, scale)) if (1..=38).contains(&precision) && scale <= precision => {
            Ok(ColumnType::Decimal { precision, scale })
        }
        _ => Err(format!(
            "'{text}' is no column type; use text, bool, int16, int32, int64, double, date, timestamp or \
             decimal(precision,scale) with precision 1 to 38 and scale no larger"
        )),
    }
}

/// One column on its way from a source property to a landed column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Name of the landed column.
    pub name: String,
    /// Name of the source property (case matters in Kinetic); empty for a derived column.
    pub source: String,
    /// What it holds.
    pub kind: ColumnType,
    /// Whether null is allowed. Key columns never are.
    pub nullable: bool,
    /// Whether the column lands. Columns that serve only change tracking or audit do not.
    pub landed: bool,
}

/// The columns of a dataset, resolved against the tenant's own metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// Columns in landing order; those that do not land, and then derived ones, come behind those of the source that land.
    pub columns: Vec<Column>,
    /// Positions of the key columns, in key order. Never empty.
    pub key: Vec<usize>,
    /// Position of the row version (`SysRevID`), an [`ColumnType::Int64`], where the source has one.
    pub version: Option<usize>,
    /// Position of the row identity (`SysRowID`), a [`ColumnType::Text`], where the source has one.
    pub row_id: Option<usize>,
    /// Position of the change stamp as sent, a [`ColumnType::Text`], where the dataset is tracked by one.
    pub stamp: Option<usize>,
    /// Position of the second of the day, an [`ColumnType::Int64`], where the stamp is a date and its time stands in another column.
    #[serde(default)]
    pub stamp_seconds: Option<usize>,
    /// Positions of the columns that the audit keeps as dimensions.
    pub dimensions: Vec<usize>,
}

impl Schema {
    /// The columns that land, with their positions in [`Schema::columns`].
    pub fn landed(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(_, column)| column.landed)
    }

    /// The key columns, in key order.
    pub fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().filter_map(|&at| self.columns.get(at))
    }

    /// What a reconcile lists of each row: the key, what tells versions apart, and nothing else. None where the source has no row
    /// version: then only whole rows tell versions apart.
    #[must_use]
    pub fn sighting(&self) -> Option<Self> {
        let version = self.version?;
        let keys = self.key.iter().filter_map(|&at| self.columns.get(at));
        let mut columns: Vec<Column> = keys.cloned().collect();
        let key = (0..columns.len()).collect();
        columns.push(self.columns.get(version)?.clone());
        Some(Self {
            version: Some(columns.len() - 1),
            columns,
            key,
            row_id: None,
            stamp: None,
            stamp_seconds: None,
            dimensions: Vec::new(),
        })
    }

    /// Only the key columns, in key order, under their source names as well as their landed ones.
    #[must_use]
    pub fn key_only(&self) -> Self {
        let columns: Vec<Column> = self.key_columns().cloned().collect();
        Self {
            key: (0..columns.len()).collect(),
            columns,
            version: None,
            row_id: None,
            stamp: None,
            stamp_seconds: None,
            dimensions: Vec::new(),
        }
    }

    /// Whether the landed columns and what tracks changes come from the same properties in both. Under the same name and type another
    /// property may land: by another renaming, or an empty column in the place of one that is gone for now.
    pub(crate) fn has_origin_of(&self, other: &Self) -> bool {
        let source = |column: &Column| column.source.clone();
        let landed = |schema: &Self| schema.landed().map(|(_, column)| source(column)).collect::<Vec<_>>();
        let tracked = |schema: &Self| {
            let places = [schema.version, schema.stamp, schema.stamp_seconds];
            places.map(|at| at.and_then(|at| schema.columns.get(at)).map(source))
        };
        landed(self) == landed(other) && tracked(self) == tracked(other)
    }

    /// Identity of what has landed: changes when a landed column's name, type or key role changes.
    #[must_use]
    pub fn signature(&self) -> String {
        use fmt::Write as _;
        let mut text = String::new();
        for (at, column) in self.landed() {
            let key = if self.key.contains(&at) { "!" } else { "" };
            // Writing to a String cannot fail.
            let _ = write!(text, "{}:{}{};", column.name, column.kind, key);
        }
        format!("{:032x}", xxhash_rust::xxh3::xxh3_128(text.as_bytes()))
    }
}

/// What a dataset reads in Kinetic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceObject {
    /// An entity set of a business object, for instance `Erp.BO.VendorSvc` / `Vendors`.
    EntitySet {
        /// Service name.
        service: String,
        /// Entity set name.
        set: String,
    },
    /// A BAQ, read through `BaqSvc/{id}/Data`.
    Baq {
        /// BAQ id.
        id: String,
        /// BAQ parameters, sent as they are.
        parameters: Vec<(String, String)>,
    },
    /// The lines below the rows of an entity set, one row a line, read by expanding them: for sets of lines that cannot be filtered
    /// by themselves (`PODetails` was seen to answer nothing then), and for lines with columns of their headers beside them.
    ///
    /// Columns and keys of the lines are named with their navigation property, `PODetails/POLine`, those of the header plainly; they
    /// land without it. The filter is one of the headers. What tracks changes is a column of the headers too, and Kinetic does not
    /// touch a header whenever one of its lines changes: [`Track::Snapshot`] sees all of it; with another one, use
    /// [`DatasetSpec::compare_rows`] and reconcile.
    Lines {
        /// Service name.
        service: String,
        /// Entity set of the headers.
        set: String,
        /// Navigation property of the lines.
        navigation: String,
    },
}

impl fmt::Display for SourceObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EntitySet { service, set } => write!(f, "{service}/{set}"),
            Self::Baq { id, .. } => write!(f, "BAQ {id}"),
            Self::Lines { service, set, navigation } => write!(f, "{service}/{set}/{navigation}"),
        }
    }
}

/// How finely a change stamp tells moments apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// Date and time.
    Second,
    /// Date only: all changes of a day carry one stamp.
    Day,
}

/// How changes are found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Track {
    /// A database-wide counter that every write moves (`SysRevID`, an SQL Server `rowversion`).
    Revision {
        /// The column; `SysRevID` on every standard table.
        column: String,
        /// How many revisions behind the checkpoint are read again, for writes that committed late. It widens by itself to twice the
        /// delay that was seen ([`Checkpoint::late_by`](crate::Checkpoint::late_by)).
        overlap: u64,
    },
    /// A stamp of the last change.
    Timestamp {
        /// The column.
        column: String,
        /// How fine it is.
        resolution: Resolution,
        /// How much behind the checkpoint is read again.
        overlap: Duration,
    },
    /// A stamp in two columns: the date of the last change, and the second of that day (`ChangeDate` and `ChangeTime` of customers).
    DateAndTime {
        /// The column of the date.
        date: String,
        /// The column of the seconds since midnight, a whole number.
        seconds: String,
        /// How much behind the checkpoint is read again.
        overlap: Duration,
    },
    /// Nothing in the source tells of changes: every run reads all rows, and lands those that differ from what has landed. Rows that
    /// are gone are seen as well, so that no reconcile is needed.
    Snapshot,
}

impl Track {
    /// By `SysRevID`, with the default overlap of 5,000 revisions.
    #[must_use]
    pub fn revision() -> Self {
        Self::Revision { column: "SysRevID".to_owned(), overlap: 5_000 }
    }

    /// By a stamp column, with an overlap of two minutes (resolution second) or one day (resolution day).
    #[must_use]
    pub fn timestamp(column: impl Into<String>, resolution: Resolution) -> Self {
        let overlap = match resolution {
            Resolution::Second => Duration::from_mins(2),
            Resolution::Day => Duration::from_hours(24),
        };
        Self::Timestamp { column: column.into(), resolution, overlap }
    }

    /// By a date and the seconds since its midnight, with an overlap of two minutes.
    #[must_use]
    pub fn date_and_time(date: impl Into<String>, seconds: impl Into<String>) -> Self {
        Self::DateAndTime { date: date.into(), seconds: seconds.into(), overlap: Duration::from_mins(2) }
    }

    /// The column that carries the change, where there is one; of two the date.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Revision { column, .. } | Self::Timestamp { column, .. } | Self::DateAndTime { date: column, .. } => {
                Some(column)
            }
            Self::Snapshot => None,
        }
    }
}

/// Where a dataset lands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Project path, outermost first, parts divided by `/`.
    pub project: String,
    /// Name of the datasource in that project.
    pub datasource: String,
}

/// Something in Tableau that is refreshed after a landing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RefreshTarget {
    /// A datasource with an upstream connection, named by project path and name.
    Datasource {
        /// Project path.
        project: String,
        /// Datasource name.
        name: String,
    },
    /// A workbook's extracts, named by project path and name.
    Workbook {
        /// Project path.
        project: String,
        /// Workbook name.
        name: String,
    },
    /// An extract refresh task, by its id.
    Task {
        /// Task id.
        id: String,
    },
}

impl fmt::Display for RefreshTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Datasource { project, name } => write!(f, "datasource '{name}' in '{project}'"),
            Self::Workbook { project, name } => write!(f, "workbook '{name}' in '{project}'"),
            Self::Task { id } => write!(f, "task {id}"),
        }
    }
}

/// One dataset: rows of one Kinetic entity set or BAQ, kept in one Tableau datasource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetSpec {
    /// Its name.
    pub id: DatasetId,
    /// What is read.
    pub source: SourceObject,
    /// Source properties that land, in landing order. The key columns are added when they are missing.
    pub select: Vec<String>,
    /// A fixed OData filter, combined with the change window by `and`.
    pub filter: Option<String>,
    /// Key columns in order; empty means the key that the metadata declares.
    pub key: Vec<String>,
    /// How changes are found.
    pub track: Track,
    /// Column types that override what the metadata says.
    pub types: BTreeMap<String, ColumnType>,
    /// Where it lands.
    pub target: Target,
    /// Columns kept beside each audit record.
    pub dimensions: Vec<String>,
    /// What is refreshed after each landing.
    pub refresh: Vec<RefreshTarget>,
    /// Rows asked for per page.
    pub page_size: u32,
    /// The largest part of the landed rows, in percent, that one run may remove, be it by deletes or by a full load that comes out
    /// smaller. A source that answers too little by mistake must not empty a datasource. 10 unless set.
    pub max_delete_percent: u8,
    /// Other names, values for nulls, columns of one's own.
    pub mapping: Mapping,
    /// What happens when the source's columns change.
    pub drift: Drift,
    /// Rows that one run may reject, because a value does not fit its column or the mapping does not allow it; they are kept with the
    /// reason. One more stops the run. None unless set: sums over a table that lacks rows are wrong.
    pub max_rejects: u64,
    /// Whether a reconcile compares whole rows even where there are row versions. It reads much more, and sees what moves no version:
    /// columns that Kinetic looks up in other tables (the vendor's name beside an invoice). False unless set.
    pub compare_rows: bool,
}

impl DatasetSpec {
    /// A dataset with the defaults: key from the metadata, tracked by `SysRevID`, pages of 5,000 rows.
    pub fn new(
        id: impl Into<DatasetId>,
        source: SourceObject,
        select: impl IntoIterator<Item = impl Into<String>>,
        target: Target,
    ) -> Self {
        Self {
            id: id.into(),
            source,
            select: select.into_iter().map(Into::into).collect(),
            filter: None,
            key: Vec::new(),
            track: Track::revision(),
            types: BTreeMap::new(),
            target,
            dimensions: Vec::new(),
            refresh: Vec::new(),
            page_size: 5_000,
            max_delete_percent: 10,
            mapping: Mapping::default(),
            drift: Drift::default(),
            max_rejects: 0,
            compare_rows: false,
        }
    }

    /// Identity of which rows are read and what is made of them: changes when the source object, the filter or the key does, or what
    /// the mapping makes of values. Rows that a filter does not select any more never show up as changes, so another selection calls
    /// for a full load.
    #[must_use]
    pub fn selection(&self) -> String {
        let mut parts = serde_json::to_vec(&(&self.source, &self.filter, &self.key)).unwrap_or_default();
        if !self.mapping.keeps_values() {
            parts.extend(serde_json::to_vec(&(&self.mapping.nulls, &self.mapping.derived)).unwrap_or_default());
        }
        format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&parts))
    }
}
