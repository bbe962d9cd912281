//! `[[dataset]]`: what is read, how changes are found, where it lands, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use kinetic_tableau_sync::{
    ColumnType, DatasetSpec, RefreshTarget, Resolution, Schedule, ScheduleError, SourceObject, Target, Timing, Track,
    parse_duration,
};

use super::document::Section;
use super::mapping;
use crate::failure::Outcome;

const KEYS: &[&str] = &[
    "name",
    "service",
    "entity_set",
    "lines",
    "baq",
    "parameters",
    "select",
    "filter",
    "key",
    "track",
    "types",
    "project",
    "datasource",
    "deliver",
    "schedule",
    "jitter",
    "blackout",
    "dimensions",
    "refresh",
    "page_size",
    "reconcile",
    "reconcile_after",
    "reconcile_rows",
    "max_delete_percent",
    "rename",
    "nulls",
    "column",
    "drift",
    "max_rejects",
];

/// A server that is asked for more rows at once tends to cut the page or to run out of memory.
const LARGEST_PAGE: u32 = 100_000;

/// How rows come to Tableau.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Deliver {
    /// As an extract that is kept up to date by key.
    Tableau,
    /// As a table of the staging database, which datasources read.
    Postgres,
    /// As a Parquet file that is published anew each time.
    Parquet,
}

/// One `[[dataset]]`.
#[derive(Clone, Debug)]
pub(crate) struct Dataset {
    /// What the engine is told.
    pub(crate) spec: DatasetSpec,
    /// How it comes to Tableau.
    pub(crate) deliver: Deliver,
    /// When it is due under `run`.
    pub(crate) timing: Timing,
    /// When it is compared with its source as a whole, under `run`: behind the first cycle from then on.
    pub(crate) reconcile: Schedule,
    /// After how many cycles as well.
    pub(crate) reconcile_after: Option<u32>,
}

impl Dataset {
    pub(crate) fn name(&self) -> &str {
        self.spec.id.as_str()
    }

    fn read(section: &Section<'_>) -> Outcome<Self> {
        let name = name(section)?;
        let source = source(section)?;
        let target = Target {
            project: project(section, "project", section.text("project", "project = \"Finance/AP\"")?)?,
            datasource: section.text("datasource", "datasource = \"NAME IN TABLEAU\"")?.to_owned(),
        };
        let select = section.texts("select")?;
        if select.is_empty() {
            return Err(section.missing(
                "select",
                "select = [\"COLUMN\", …]: tables have hundreds of columns, and each one costs time",
            ));
        }
        let is_baq = matches!(source, SourceObject::Baq { .. });
        let mut spec = DatasetSpec::new(name, source, select, target);
        spec.key = section.texts("key")?;
        if is_baq && spec.key.is_empty() {
            // A BAQ's declared key is a row id that is made anew with each call.
            return Err(section
                .missing("key", "key = [\"COLUMN\", …]: nothing else says which columns identify a row of a BAQ"));
        }
        spec.filter = section.optional_text("filter")?.map(str::to_owned);
        spec.types = types(section)?;
        spec.dimensions = section.texts("dimensions")?;
        spec.track = match track(section)? {
            Some(track) => track,
            None if is_baq => {
                return Err(section.missing(
                    "track",
                    "track = { timestamp = \"COLUMN\", resolution = \"second\" }, or \"snapshot\" where no column tells of changes: a BAQ has no default",
                ));
            }
            // A line that changes need not touch its header.
            None if matches!(spec.source, SourceObject::Lines { .. }) => Track::Snapshot,
            None => Track::revision(),
        };
        spec.refresh = refresh(section, &spec.target.project)?;
        spec.page_size = page_size(section, spec.page_size)?;
        let deliver = deliver(section)?;
        spec.max_delete_percent = percent(section, spec.max_delete_percent)?;
        spec.mapping = mapping::read(section)?;
        spec.drift = mapping::drift(section)?;
        spec.max_rejects = section.integer("max_rejects", "a number of rows")?.unwrap_or(spec.max_rejects);
        spec.compare_rows = section.flag("reconcile_rows", false)?;
        let reconcile_after: Option<u32> = section.integer("reconcile_after", "a number of cycles")?;
        if reconcile_after == Some(0) {
            return Err(section.bad("reconcile_after", "at least one cycle").next("for instance 100"));
        }
        Ok(Self { spec, deliver, timing: timing(section)?, reconcile: reconcile(section)?, reconcile_after })
    }
}

/// When it is due, and when it is not.
fn timing(section: &Section<'_>) -> Outcome<Timing> {
    let mut timing = Timing::default();
    for text in section.one_or_more("schedule")? {
        timing = timing.or(schedule(section, "schedule", &text)?);
    }
    if let Some(text) = section.optional_text("jitter")? {
        timing = timing.jitter(parse_duration(text).map_err(|error| section.bad("jitter", &error.to_string()))?);
    }
    for text in section.one_or_more("blackout")? {
        let blackout = text.parse().and_then(|blackout| timing.except(blackout));
        timing = blackout.map_err(|error: ScheduleError| section.bad("blackout", &error.to_string()))?;
    }
    Ok(timing)
}

/// When everything is compared. The end of a process is no time, and comparing is done behind a run anyway.
fn reconcile(section: &Section<'_>) -> Outcome<Schedule> {
    let Some(text) = section.optional_text("reconcile")? else { return Ok(Schedule::Manual) };
    match schedule(section, "reconcile", text)? {
        Schedule::AfterProcess(_) => Err(section
            .bad("reconcile", "a comparison is not made behind a process")
            .next("let the process be the `schedule`, and use `reconcile_after = 1` to compare behind each run")),
        schedule => Ok(schedule),
    }
}

fn schedule(section: &Section<'_>, key: &str, text: &str) -> Outcome<Schedule> {
    text.parse().map_err(|error: ScheduleError| {
        section.bad(key, &error.to_string()).next(
            "for instance \"manual\", \"every 15m\", \"0 6 * * 1-5 in Europe/Zurich\" or \"after process Post AP Invoices\"",
        )
    })
}

fn percent(section: &Section<'_>, default: u8) -> Outcome<u8> {
    let percent: u8 = section.integer("max_delete_percent", "a percentage of 0 to 100")?.unwrap_or(default);
    if percent <= 100 {
        return Ok(percent);
    }
    Err(section.bad("max_delete_percent", "a percentage is 0 to 100").next("leave it out for the default of 10"))
}

/// Every dataset of the file. Names and targets are unique: two datasets in one datasource would overwrite each other.
pub(super) fn read_all(root: &Section<'_>) -> Outcome<Vec<Dataset>> {
    let mut datasets: Vec<Dataset> = Vec::new();
    for section in root.sections("dataset", "[[dataset]]", KEYS)? {
        let dataset = Dataset::read(&section)?;
        for other in &datasets {
            // Files are named after datasets, and some file systems do not tell case apart.
            if other.name().eq_ignore_ascii_case(dataset.name()) {
                return Err(section
                    .bad("name", &format!("there are two datasets named '{}'", dataset.name()))
                    .next("give one of them another name; state and audit are kept under it"));
            }
            let in_one_table = [other, &dataset].iter().all(|dataset| dataset.deliver == Deliver::Postgres)
                && other.spec.target.datasource == dataset.spec.target.datasource;
            if in_one_table {
                let name = &dataset.spec.target.datasource;
                return Err(section
                    .bad("datasource", &format!("the table '{name}' is that of dataset '{}' already", other.name()))
                    .next("tables are named by 'datasource' alone: give it another one"));
            }
            if same(&other.spec.target, &dataset.spec.target) {
                return Err(section
                    .bad(
                        "datasource",
                        &format!(
                            "'{}' in project '{}' is the target of dataset '{}' already",
                            dataset.spec.target.datasource,
                            dataset.spec.target.project,
                            other.name()
                        ),
                    )
                    .next("let each dataset land in a datasource of its own"));
            }
        }
        datasets.push(dataset);
    }
    if datasets.is_empty() {
        return Err(root.missing("dataset", "at least one section [[dataset]]"));
    }
    Ok(datasets)
}

/// Tableau does not tell names apart that differ only in case.
fn same(one: &Target, other: &Target) -> bool {
    one.project.to_lowercase() == other.project.to_lowercase()
        && one.datasource.to_lowercase() == other.datasource.to_lowercase()
}

fn name(section: &Section<'_>) -> Outcome<String> {
    let name = section.text("name", "name = \"NAME\"")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.len() > 64 || !name.chars().all(plain) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(section
            .bad(
                "name",
                "a dataset's name is up to 64 letters, digits, '-', '_' and '.', and begins with a letter or digit",
            )
            .next("the name in Tableau is set by 'datasource' and is free"));
    }
    Ok(name.to_owned())
}

fn source(section: &Section<'_>) -> Outcome<SourceObject> {
    let parameters = section.open_section("parameters")?;
    match (section.optional_text("service")?, section.optional_text("entity_set")?, section.optional_text("baq")?) {
        (Some(service), Some(set), None) => match parameters {
            None => Ok(match section.optional_text("lines")? {
                Some(lines) => SourceObject::Lines {
                    service: service.to_owned(),
                    set: set.to_owned(),
                    navigation: lines.to_owned(),
                },
                None => SourceObject::EntitySet { service: service.to_owned(), set: set.to_owned() },
            }),
            Some(_) => {
                Err(section.bad("parameters", "only a BAQ has parameters").next("remove the key, or use 'filter'"))
            }
        },
        (None, None, Some(_)) if section.value("lines").is_some() => {
            Err(section.bad("lines", "a BAQ has no lines below it").next("remove the key; join in the query instead"))
        }
        (None, None, Some(id)) => {
            let parameters = match parameters {
                None => Vec::new(),
                Some(table) => table
                    .entries()
                    .map(|(name, _)| Ok((name.to_owned(), table.text(name, "a value")?.to_owned())))
                    .collect::<Outcome<_>>()?,
            };
            Ok(SourceObject::Baq { id: id.to_owned(), parameters })
        }
        (Some(_), None, None) => {
            Err(section.missing("entity_set", "entity_set = \"Vendors\", the set of the service to read"))
        }
        (None, Some(_), None) => {
            Err(section.missing("service", "service = \"Erp.BO.VendorSvc\", the service of the set"))
        }
        (None, None, None) => Err(section
            .refuse("it does not say what to read")
            .next("add service = \"Erp.BO.VendorSvc\" and entity_set = \"Vendors\", or baq = \"QUERY ID\"")),
        _ => Err(section
            .bad("baq", "a dataset reads either an entity set or a BAQ, not both")
            .next("remove 'baq', or remove 'service' and 'entity_set'")),
    }
}

fn types(section: &Section<'_>) -> Outcome<BTreeMap<String, ColumnType>> {
    let Some(table) = section.open_section("types")? else {
        return Ok(BTreeMap::new());
    };
    table
        .entries()
        .map(|(column, _)| {
            let text = table.text(column, "a type")?;
            let kind = text.parse().map_err(|why: String| table.bad(column, &why))?;
            Ok((column.to_owned(), kind))
        })
        .collect()
}

fn track(section: &Section<'_>) -> Outcome<Option<Track>> {
    const WAYS: &[&str] = &["revision", "timestamp", "resolution", "date", "seconds", "overlap"];
    const EXAMPLE: &str = "use \"revision\", \"snapshot\", { revision = \"SysRevID\", overlap = 5000 }, { timestamp = \"ChangeDate\", resolution = \"day\" } or \
                           { date = \"ChangeDate\", seconds = \"ChangeTime\" }";
    let Some(value) = section.value("track") else {
        return Ok(None);
    };
    if let Some(word) = value.get_ref().as_str() {
        return match word {
            "revision" => Ok(Some(Track::revision())),
            "snapshot" => Ok(Some(Track::Snapshot)),
            other => Err(section.bad("track", &format!("'{other}' is no way to find changes")).next(EXAMPLE)),
        };
    }
    let Some(table) = section.section("track", WAYS)? else {
        return Ok(None);
    };
    if table.value("date").is_some() || table.value("seconds").is_some() {
        return date_and_time(&table).map(Some);
    }
    match (table.optional_text("revision")?, table.optional_text("timestamp")?) {
        (Some(column), None) => {
            if table.value("resolution").is_some() {
                return Err(table.bad("resolution", "a revision has none").next("remove the key"));
            }
            let Track::Revision { overlap, .. } = Track::revision() else {
                return Ok(None);
            };
            let overlap = table.integer("overlap", "a number of revisions")?.unwrap_or(overlap);
            Ok(Some(Track::Revision { column: column.to_owned(), overlap }))
        }
        (None, Some(column)) => {
            let resolution = match table
                .text("resolution", "resolution = \"second\", or \"day\" for a column that holds only dates")?
            {
                "second" => Resolution::Second,
                "day" => Resolution::Day,
                other => {
                    return Err(table
                        .bad("resolution", &format!("'{other}' is none"))
                        .next("use \"second\" or \"day\""));
                }
            };
            let mut track = Track::timestamp(column, resolution);
            if let (Some(wanted), Track::Timestamp { overlap, .. }) = (overlap(&table, resolution)?, &mut track) {
                *overlap = wanted;
            }
            Ok(Some(track))
        }
        _ => {
            let message = "exactly one of 'revision', 'timestamp' and 'date' is expected here";
            Err(section.bad("track", message).next(EXAMPLE))
        }
    }
}

/// A stamp in two columns.
fn date_and_time(table: &Section<'_>) -> Outcome<Track> {
    for other in ["revision", "timestamp", "resolution"] {
        if table.value(other).is_some() {
            return Err(table.bad(other, "it does not go with 'date' and 'seconds'").next("remove one or the other"));
        }
    }
    let date = table.text("date", "date = \"ChangeDate\", the column of the date")?;
    let seconds = table.text("seconds", "seconds = \"ChangeTime\", the column of the seconds since midnight")?;
    let mut track = Track::date_and_time(date, seconds);
    if let (Some(wanted), Track::DateAndTime { overlap, .. }) = (overlap(table, Resolution::Second)?, &mut track) {
        *overlap = wanted;
    }
    Ok(track)
}

fn overlap(table: &Section<'_>, resolution: Resolution) -> Outcome<Option<Duration>> {
    let Some(text) = table.optional_text("overlap")? else {
        return Ok(None);
    };
    let overlap = parse_duration(text).map_err(|error| table.bad("overlap", &error.to_string()))?;
    if resolution == Resolution::Day && overlap.as_secs() % 86_400 != 0 {
        return Err(table
            .bad("overlap", "with resolution \"day\" the overlap is whole days")
            .next("for instance overlap = \"1d\""));
    }
    Ok(Some(overlap))
}

fn refresh(section: &Section<'_>, default_project: &str) -> Outcome<Vec<RefreshTarget>> {
    let name = format!("{} refresh", section.title_of());
    let mut targets = Vec::new();
    for entry in section.sections("refresh", &name, &["datasource", "workbook", "task", "project"])? {
        let in_project = entry.optional_text("project")?;
        let project = || project(&entry, "project", in_project.unwrap_or(default_project));
        let target = match (
            entry.optional_text("datasource")?,
            entry.optional_text("workbook")?,
            entry.optional_text("task")?,
        ) {
            (Some(name), None, None) => RefreshTarget::Datasource { project: project()?, name: name.to_owned() },
            (None, Some(name), None) => RefreshTarget::Workbook { project: project()?, name: name.to_owned() },
            (None, None, Some(id)) if in_project.is_none() => RefreshTarget::Task { id: id.to_owned() },
            (None, None, Some(_)) => {
                return Err(entry.bad("project", "a task is named by its id alone").next("remove 'project'"));
            }
            _ => {
                return Err(entry
                    .refuse("exactly one of 'datasource', 'workbook' and 'task' is expected here")
                    .next("for instance { workbook = \"Payables\", project = \"Finance\" }"));
            }
        };
        if targets.contains(&target) {
            return Err(entry.refuse(&format!("{target} is listed twice")).next("remove one of the two"));
        }
        targets.push(target);
    }
    Ok(targets)
}

/// A project path without empty parts.
fn project(section: &Section<'_>, key: &str, path: &str) -> Outcome<String> {
    let parts: Vec<&str> = path.split('/').map(str::trim).collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(section
            .bad(key, "the project path has an empty part")
            .next("write the names from the outermost project on, divided by single '/'"));
    }
    Ok(parts.join("/"))
}

fn page_size(section: &Section<'_>, default: u32) -> Outcome<u32> {
    let size = section.integer("page_size", "a number of rows")?.unwrap_or(default);
    if (1..=LARGEST_PAGE).contains(&size) {
        return Ok(size);
    }
    Err(section
        .bad("page_size", &format!("a page has 1 to {LARGEST_PAGE} rows"))
        .next("leave it out for the default of 5000"))
}

fn deliver(section: &Section<'_>) -> Outcome<Deliver> {
    match section.optional_text("deliver")? {
        // The form of the extract was the word for it once.
        None | Some("tableau" | "hyper") => Ok(Deliver::Tableau),
        Some("postgres") => Ok(Deliver::Postgres),
        Some("parquet") => Ok(Deliver::Parquet),
        Some(other) => Err(section
            .bad("deliver", &format!("'{other}' is no way to deliver"))
            .next("use \"tableau\" (an extract), \"postgres\" (a table of [staging]) or \"parquet\"")),
    }
}
