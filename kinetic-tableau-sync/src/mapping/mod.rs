//! What becomes of the source's columns on their way to the target: other names, other types, values for nulls, columns of one's own,
//! and what happens when the source's columns change.
//!
//! Columns are named by their source properties everywhere but in [`DerivedColumn::name`] and the values of [`Mapping::rename`].
//!
//! ```
//! use kinetic_tableau_sync::{ColumnType, DatasetSpec, Derive, DerivedColumn, OnNull, SourceObject, Target};
//!
//! let source = SourceObject::EntitySet { service: "Erp.BO.VendorSvc".into(), set: "Vendors".into() };
//! let target = Target { project: "Finance".into(), datasource: "Vendors".into() };
//! let mut spec = DatasetSpec::new("vendors", source, ["Company", "VendorNum", "VendorID", "Name", "TermsCode"], target);
//! spec.mapping.rename.insert("VendorID".into(), "Vendor".into());
//! spec.mapping.nulls.insert("TermsCode".into(), OnNull::Replace("none".into()));
//! spec.mapping.derived.push(DerivedColumn {
//!     name: "Label".into(),
//!     kind: ColumnType::Text,
//!     from: Derive::Template("{VendorID} {Name}".into()),
//! });
//! ```

mod apply;
mod drift;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use self::apply::Mapper;
pub(crate) use self::drift::adjust;
use crate::model::ColumnType;

/// How columns are mapped; by default they land as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// Landed names of source properties, where they are to be others.
    pub rename: BTreeMap<String, String>,
    /// What becomes of null in a column, where it is not to land as null.
    pub nulls: BTreeMap<String, OnNull>,
    /// Columns made of others; they land behind the selected ones.
    pub derived: Vec<DerivedColumn>,
}

impl Mapping {
    /// Whether rows land as they come, but for names.
    #[must_use]
    pub fn keeps_values(&self) -> bool {
        self.nulls.is_empty() && self.derived.is_empty()
    }
}

/// What becomes of a null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnNull {
    /// This value lands in its place, read by the column's type: `0`, `1900-01-01`, `none`.
    Replace(String),
    /// The row is rejected.
    Reject,
}

/// A column that the source does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DerivedColumn {
    /// Its landed name.
    pub name: String,
    /// Its type. What does not fit it rejects the row.
    pub kind: ColumnType,
    /// What it is made of.
    pub from: Derive,
}

/// What a derived column is made of. The columns that it names are selected ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Derive {
    /// Null in every row.
    Null,
    /// The same value in every row, read by the column's type.
    Constant(String),
    /// A text with columns in braces: `{VendorID} - {Name}`. Null where one of them is null. `{{` and `}}` are braces.
    Template(String),
    /// The first of these columns that is not null.
    Coalesce(Vec<String>),
    /// Another value for each value of a column.
    Lookup {
        /// The column.
        column: String,
        /// Its values as text, and what lands in their place.
        values: BTreeMap<String, String>,
        /// What lands for all others; null unless set. Null stays null.
        otherwise: Option<String>,
    },
    /// A part of a date or timestamp.
    Part {
        /// The column.
        column: String,
        /// Which part.
        part: DatePart,
    },
}

/// A part of a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatePart {
    /// The year, such as 2026.
    Year,
    /// 1 to 4.
    Quarter,
    /// 1 to 12.
    Month,
    /// Day of the month, 1 to 31.
    Day,
    /// The date without its time.
    Date,
}

/// What happens when the source's columns are not what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// For columns that the source has and the dataset does not select.
    pub new: NewColumn,
    /// For selected columns that the source has no more.
    pub missing: MissingColumn,
    /// For columns whose type in the source is another than the one that has landed.
    pub changed: ChangedType,
}

/// For columns that the source has and the dataset does not select.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NewColumn {
    /// They are left out.
    #[default]
    Ignore,
    /// They land as well, by a full load. Kinetic's tables have hundreds of columns: this suits BAQs.
    Add,
}

/// For selected columns that the source has no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingColumn {
    /// The run stops.
    #[default]
    Stop,
    /// The column goes from the target too, by a full load.
    Drop,
    /// The column stays, empty, by a full load. Its type is the one that has landed, else text.
    Null,
}

/// For columns whose type in the source is another than the one that has landed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangedType {
    /// The column lands with its new type, by a full load.
    #[default]
    Accept,
    /// The landed type stays; rows that do not fit it are rejected.
    Reject,
    /// The run stops.
    Stop,
}

/// A column that a source offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedColumn {
    /// Name of the property.
    pub name: String,
    /// The type it would land with; none where it is of a type that cannot land.
    pub kind: Option<ColumnType>,
}
