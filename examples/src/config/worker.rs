//! `[worker]`: how `run` works.

use std::time::Duration;

use kinetic_tableau_sync::parse_duration;

use super::document::Section;
use crate::failure::Outcome;

/// `[worker]`
#[derive(Clone, Debug)]
pub(crate) struct WorkerOptions {
    /// Its name, as others see it.
    pub(crate) name: Option<String>,
    /// Datasets that it runs at the same time.
    pub(crate) at_once: usize,
    /// How long runs may go on behind an interrupt.
    pub(crate) grace: Duration,
    /// How long others wait for a worker that has died.
    pub(crate) lease: Duration,
}

impl WorkerOptions {
    pub(super) fn read(root: &Section<'_>) -> Outcome<Self> {
        const AT_ONCE: &str = "a number of datasets from 1 to 64";
        let default = Self { name: None, at_once: 2, grace: Duration::from_secs(20), lease: Duration::from_mins(1) };
        let Some(section) = root.section("worker", &["name", "at_once", "grace", "lease"])? else {
            return Ok(default);
        };
        let at_once = section.integer("at_once", AT_ONCE)?.unwrap_or(default.at_once);
        if !(1..=64).contains(&at_once) {
            return Err(section.bad("at_once", AT_ONCE).next("leave it out for 2"));
        }
        let grace = match section.optional_text("grace")? {
            None => default.grace,
            Some(text) => parse_duration(text).map_err(|error| section.bad("grace", &error.to_string()))?,
        };
        let lease = match section.optional_text("lease")? {
            None => default.lease,
            Some(text) => parse_duration(text).map_err(|error| section.bad("lease", &error.to_string()))?,
        };
        if !(Duration::from_secs(3)..=Duration::from_hours(1)).contains(&lease) {
            return Err(section.bad("lease", "a length of time from 3s to 1h").next("leave it out for a minute"));
        }
        Ok(Self { name: section.optional_text("name")?.map(str::to_owned), at_once, grace, lease })
    }
}
