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
}

impl WorkerOptions {
    pub(super) fn read(root: &Section<'_>) -> Outcome<Self> {
        const AT_ONCE: &str = "a number of datasets from 1 to 64";
        let default = Self { name: None, at_once: 2, grace: Duration::from_secs(20) };
        let Some(section) = root.section("worker", &["name", "at_once", "grace"])? else {
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
        Ok(Self { name: section.optional_text("name")?.map(str::to_owned), at_once, grace })
    }
}
