//! Jobs in lists (Tableau REST API reference, Query Jobs).

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::ids::JobId;
use crate::paging::sealed::Wrapped;
use crate::wire;

/// A job as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct BackgroundJob {
    /// Its id.
    pub id: JobId,
    /// `Pending`, `InProgress`, `Success`, `Failed` or `Cancelled`.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub status: Option<String>,
    /// What it does, for example `refresh_extracts` or `increment_extracts`.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub job_type: Option<String>,
    /// The name of what it works on.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub title: Option<String>,
    /// More of that.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub subtitle: Option<String>,
    /// 1 being the highest.
    #[serde(default, deserialize_with = "wire::de_count")]
    pub priority: Option<u64>,
    /// When it was queued.
    #[serde(default, deserialize_with = "wire::de_moment")]
    pub created_at: Option<DateTime<Utc>>,
    /// When it began.
    #[serde(default, deserialize_with = "wire::de_moment")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(default, deserialize_with = "wire::de_moment")]
    pub ended_at: Option<DateTime<Utc>>,
}

impl BackgroundJob {
    pub(super) fn is_refresh(&self) -> bool {
        self.job_type.as_deref().is_some_and(|kind| kind.ends_with("_extracts"))
    }
}

impl Wrapped for BackgroundJob {
    const PATH: &'static str = "jobs";
    const OUTER: &'static str = "backgroundJobs";
    const INNER: &'static str = "backgroundJob";
}
