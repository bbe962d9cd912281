//! Why a run loads everything anew, where it could have read only what changed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a load is a full one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FullReason {
    /// Nothing has landed yet.
    First,
    /// Somebody asked for it.
    Requested,
    /// An earlier delivery was given up, so that what lies in the target is not known.
    DeliveryUnknown,
    /// The target is gone.
    TargetGone,
    /// Another target is configured, or another one stands in its place.
    OtherTarget,
    /// The target is of a form that takes no delta.
    TargetForeign,
    /// Somebody else has written to the target.
    TargetTouched,
    /// The columns are others than those that have landed.
    OtherColumns,
    /// Other rows are selected, or read by another key, filter or mapping.
    OtherSelection,
    /// The rows are of another company.
    OtherCompany,
    /// The source's newest row lies before the checkpoint: its database was put back to an older state.
    SourceRestored,
    /// More has changed than a delta is good for.
    TooManyChanges,
}

impl FullReason {
    /// A few words, as printed behind "full load".
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "the first load",
            Self::Requested => "asked for",
            Self::DeliveryUnknown => "an earlier delivery was given up",
            Self::TargetGone => "the datasource is gone",
            Self::OtherTarget => "the datasource is another one",
            Self::TargetForeign => "the datasource is not of the form that takes changes",
            Self::TargetTouched => "somebody else has written to the datasource",
            Self::OtherColumns => "the columns have changed",
            Self::OtherSelection => "the selection of rows or the mapping has changed",
            Self::OtherCompany => "the company is another one",
            Self::SourceRestored => "the database was put back to an older state",
            Self::TooManyChanges => "too much has changed for a delta",
        }
    }
}

impl fmt::Display for FullReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
