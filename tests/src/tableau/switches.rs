//! What differs between servers, to be turned on by tests.

use std::time::Duration;

/// What differs between servers.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Switches {
    /// How long jobs take.
    pub job_time: Duration,
    /// Whether JSON comes as untidy as from some servers: single entries without a list, truth values in capitals.
    pub messy: bool,
    /// The newest version of the interface.
    pub version: String,
    /// Whether the user may ask after jobs.
    pub jobs_visible: bool,
    /// Whether it is Cloud: tasks with a recurrence of their own, no schedules, no switching of sites.
    pub cloud: bool,
    /// Whether earlier publishes of a datasource are kept.
    pub keep_revisions: bool,
    /// Whether published files are opened and checked by the engine.
    pub check_extracts: bool,
    /// How long behind a write `updatedAt` moves once more, as where something is reckoned later; not at all when zero.
    pub late_update: Duration,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            job_time: Duration::from_millis(40),
            messy: false,
            version: "3.29".to_owned(),
            jobs_visible: true,
            cloud: false,
            keep_revisions: false,
            check_extracts: true,
            late_update: Duration::ZERO,
        }
    }
}
