//! What the operator sees: results on standard output, failures on standard error, progress as bars or lines.

use std::collections::HashMap;
use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kinetic_tableau_sync::{
    DatasetId, LoadKind, Progress, ProgressEvent, Redactor, RefreshOutcome, RefreshReport, RunSummary,
};

use crate::failure::{Failure, one_line};
use crate::visible::{visible, visible_json, visible_lines};

/// Between two lines of a log that tell how far a run has come.
const LOG_EVERY: Duration = Duration::from_secs(30);

/// Rows between two lines of plain progress.
const LINE_EVERY: u64 = 100_000;

/// Every secret that this process has resolved. Whatever it prints goes through it.
static REDACTOR: LazyLock<Redactor> = LazyLock::new(Redactor::new);

/// What keeps secrets out of whatever is printed.
pub(crate) fn redactor() -> &'static Redactor {
    &REDACTOR
}

/// Takes secrets out of what is written to it and makes the rest visible, for the log, which gives a whole entry at once.
#[derive(Debug)]
pub(crate) struct Clean<W>(pub(crate) W);

impl<W: std::io::Write> std::io::Write for Clean<W> {
    fn write(&mut self, entry: &[u8]) -> std::io::Result<usize> {
        let entry_text = String::from_utf8_lossy(entry);
        let (text, end) = entry_text.strip_suffix('\n').map_or((&*entry_text, ""), |text| (text, "\n"));
        self.0.write_all(format!("{}{end}", visible(&redactor().clean(text))).as_bytes())?;
        Ok(entry.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// Prints a line of the result, whatever it holds. A reader that has gone away (`| head`) is no failure.
pub(crate) fn say(line: impl Display) {
    put(&visible(&redactor().clean(&line.to_string())));
}

/// Prints several lines. What they are made of must not hold line breaks of its own: see [`Table`].
pub(crate) fn say_lines(lines: impl Display) {
    put(&visible_lines(&redactor().clean(&lines.to_string())));
}

/// Prints what another program reads, such as CSV: as it is, but on a terminal, which would obey it.
pub(crate) fn say_exactly(line: impl Display) {
    let line = line.to_string();
    let line = redactor().clean(&line);
    put(&if std::io::stdout().is_terminal() { visible(&line) } else { line });
}

/// Prints what is clean already.
fn put(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints a line of a log: with the time in front.
pub(crate) fn log(line: impl Display) {
    say(format_args!("{} {line}", chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ")));
}

/// Prints a remark that is no result, and so must not disturb one.
pub(crate) fn note(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{}", visible(&redactor().clean(&line.to_string())));
}

/// Prints a value as JSON, the only thing on standard output.
pub(crate) fn say_json(value: &impl serde::Serialize) {
    match serde_json::to_string_pretty(value).and_then(|text| still_json(text, true)) {
        Ok(text) => put(&visible_json(&text)),
        Err(error) => complain(&Failure::new(format!("the result cannot be written as JSON: {error}")), false),
    }
}

/// Prints a value as one line of JSON.
pub(crate) fn say_json_line(value: &impl serde::Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(value).and_then(|text| still_json(text, false));
    line.map(|line| put(&visible_json(&line))).map_err(|error| Failure::of(&error, None))
}

/// JSON whose texts hold no secret: within each text, since a cut through an escape would leave no JSON.
fn still_json(text: String, pretty: bool) -> serde_json::Result<String> {
    if matches!(redactor().clean(&text), std::borrow::Cow::Borrowed(_)) {
        return Ok(text);
    }
    let mut value: serde_json::Value = serde_json::from_str(&text)?;
    redactor().clean_json(&mut value);
    if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }
}

/// Prints a failure.
pub(crate) fn complain(failure: &Failure, verbose: bool) {
    let text = failure.render(verbose);
    let _ = write!(std::io::stderr().lock(), "{}", visible_lines(&redactor().clean(&text)));
}

/// Shows runs while they go on.
#[derive(Debug)]
pub(crate) struct Reporter {
    shape: Shape,
    runs: Mutex<HashMap<DatasetId, Run>>,
}

#[derive(Debug)]
enum Shape {
    /// On a terminal.
    Bars(MultiProgress),
    /// Everywhere else.
    Lines {
        /// Only what takes long: pages read, and refreshes.
        brief: bool,
    },
    /// Where lines are kept: with the time in front, and of rows read only one in a while, however fast they come.
    Log,
    /// When only JSON may be printed.
    Silent,
}

#[derive(Debug, Default)]
struct Run {
    bar: Option<ProgressBar>,
    lines: u64,
    pace: Pace,
}

/// When a run was last told of.
#[derive(Debug)]
struct Pace {
    begun: Instant,
    told: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        let now = Instant::now();
        Self { begun: now, told: now }
    }
}

impl Pace {
    /// Whether it is time to tell how far the run has come. If so, answers for how long it has been going on.
    fn due(&mut self, now: Instant) -> Option<Duration> {
        if now.saturating_duration_since(self.told) < LOG_EVERY {
            return None;
        }
        self.told = now;
        Some(now.saturating_duration_since(self.begun))
    }
}

impl Reporter {
    /// Bars on a terminal, else lines; nothing when the result is JSON.
    pub(crate) fn new(json: bool) -> Self {
        let shape = if json {
            Shape::Silent
        } else if std::io::stderr().is_terminal() {
            Shape::Bars(MultiProgress::new())
        } else {
            Shape::Lines { brief: false }
        };
        Self { shape, runs: Mutex::default() }
    }

    /// For a log that is kept: bars on a terminal, else lines with the time in front.
    pub(crate) fn for_log() -> Self {
        let mut reporter = Self::new(false);
        if let Shape::Lines { .. } = reporter.shape {
            reporter.shape = Shape::Log;
        }
        reporter
    }

    /// Says less where it says lines: for a caller that sums up each run itself.
    pub(crate) fn brief(mut self) -> Self {
        if let Shape::Lines { brief } = &mut self.shape {
            *brief = true;
        }
        self
    }
}

impl Progress for Reporter {
    fn report(&self, dataset: &DatasetId, event: &ProgressEvent) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.shape {
            Shape::Silent => {}
            Shape::Bars(bars) => {
                let bar =
                    runs.entry(dataset.clone()).or_default().bar.get_or_insert_with(|| bars.add(spinner(dataset)));
                if matches!(event, ProgressEvent::Ended) {
                    bar.finish_and_clear();
                    runs.remove(dataset);
                } else if let Some(text) = describe(event) {
                    if let ProgressEvent::Read { rows } = event {
                        bar.set_position(*rows);
                    }
                    bar.set_message(visible(&redactor().clean(&text)).into_owned());
                }
            }
            Shape::Log => {
                let run = runs.entry(dataset.clone()).or_default();
                match event {
                    ProgressEvent::Ended => drop(runs.remove(dataset)),
                    ProgressEvent::Read { rows } => {
                        if let Some(passed) = run.pace.due(Instant::now()) {
                            log(format_args!("{dataset}: {} rows read in {} s", grouped(*rows), passed.as_secs()));
                        }
                    }
                    _ => {
                        if let Some(text) = describe(event) {
                            log(format_args!("{dataset}: {text}"));
                        }
                    }
                }
            }
            Shape::Lines { brief } => {
                let run = runs.entry(dataset.clone()).or_default();
                match event {
                    ProgressEvent::Read { rows } if rows / LINE_EVERY == run.lines => {}
                    ProgressEvent::Ended => drop(runs.remove(dataset)),
                    ProgressEvent::Started { .. }
                    | ProgressEvent::Staged { .. }
                    | ProgressEvent::Publishing
                    | ProgressEvent::Landed { .. }
                        if *brief => {}
                    _ => {
                        if let ProgressEvent::Read { rows } = event {
                            run.lines = rows / LINE_EVERY;
                        }
                        if let Some(text) = describe(event) {
                            say(format_args!("{dataset}: {text}"));
                        }
                    }
                }
            }
        }
    }
}

fn spinner(dataset: &DatasetId) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_prefix(dataset.to_string());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:<20} {msg} {elapsed:>6}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn describe(event: &ProgressEvent) -> Option<String> {
    Some(match event {
        ProgressEvent::Resumed { run } => format!("delivering what run {run} had left"),
        ProgressEvent::Started { kind, reason: Some(reason) } => format!("{} begins: {reason}", kind_name(*kind)),
        ProgressEvent::Started { kind, .. } => format!("{} begins", kind_name(*kind)),
        ProgressEvent::Read { rows } => format!("{} rows read", grouped(*rows)),
        ProgressEvent::Staged { rows, bytes } => format!("{} rows staged ({})", grouped(*rows), size(*bytes)),
        ProgressEvent::Publishing => "publishing".to_owned(),
        ProgressEvent::Landed { rows } => format!("{} rows landed", grouped(*rows)),
        ProgressEvent::Refreshing { target } => format!("refreshing {target}"),
        ProgressEvent::Refreshed { report } => refreshed(report),
        _ => return None,
    })
}

/// One line about a refresh.
pub(crate) fn refreshed(report: &RefreshReport) -> String {
    let end = match &report.outcome {
        RefreshOutcome::Succeeded => "refreshed".to_owned(),
        RefreshOutcome::AlreadyQueued => "was queued for a refresh already".to_owned(),
        RefreshOutcome::NoUpstream => "has no upstream, nothing to refresh".to_owned(),
        RefreshOutcome::Failed(why) => format!("refresh failed: {}", one_line(why)),
        RefreshOutcome::Unknown(why) => format!("the end of the refresh is not known: {}", one_line(why)),
        _ => "ended in an unknown way".to_owned(),
    };
    match &report.job_id {
        Some(job) => format!("{} {end} (job {job})", report.target),
        None => format!("{} {end}", report.target),
    }
}

/// One line about a run that ended well.
pub(crate) fn summary(dataset: &str, run: &RunSummary) -> String {
    let kind = run.kind.map_or("nothing to do", kind_name);
    let counts = &run.counts;
    let mut deleted = if counts.deleted > 0 { format!(", {} deleted", grouped(counts.deleted)) } else { String::new() };
    if counts.rejected > 0 {
        deleted = format!("{deleted}, {} rejected (see `rejects`)", grouped(counts.rejected));
    }
    if let Some(found) = &run.findings {
        return format!(
            "{dataset}: compared {} rows: {} missed, {} silently edited, {} gone{deleted}; {} rows landed, {}",
            grouped(found.listed),
            grouped(found.missed),
            grouped(found.silent),
            grouped(found.gone - found.reappeared),
            grouped(run.landed_rows),
            seconds(run)
        );
    }
    format!(
        "{dataset}: {kind}, {} read: {} new, {} changed, {} unchanged, {} superseded{deleted}; {} rows landed, {}",
        grouped(counts.read),
        grouped(counts.inserted),
        grouped(counts.updated),
        grouped(counts.unchanged),
        grouped(counts.superseded),
        grouped(run.landed_rows),
        seconds(run)
    )
}

/// How long a run took.
pub(crate) fn seconds(run: &RunSummary) -> String {
    let took = (run.ended - run.started).to_std().unwrap_or_default();
    format!("{:.1} s", took.as_secs_f64())
}

pub(crate) fn kind_name(kind: LoadKind) -> &'static str {
    match kind {
        LoadKind::Full => "full load",
        LoadKind::Delta => "delta",
    }
}

/// A number with its digits in groups of three.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes.
pub(crate) fn size(bytes: u64) -> String {
    if bytes < 1_000_000 {
        return format!("{} kB", bytes.div_ceil(1_000));
    }
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

/// Rows of a table, in columns that are as wide as they need to be.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(titles: [&str; N]) -> Self {
        Self { rows: vec![titles.map(str::to_owned).to_vec()] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        // A line break would begin a row of its own.
        self.rows.push(cells.map(|cell| visible(&cell).into_owned()).to_vec());
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |at: usize| {
            self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (nth, row) in self.rows.iter().enumerate() {
            if nth > 0 {
                writeln!(f)?;
            }
            let line: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
            f.write_str(line.join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_sizes_are_written_for_people() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!((size(1), size(999_001), size(1_250_000)), ("1 kB".into(), "1000 kB".into(), "1.2 MB".into()));
    }

    #[test]
    fn a_log_tells_how_far_a_long_run_has_come_every_half_minute_and_not_more_often() {
        let mut pace = Pace::default();
        let begun = pace.begun;
        let told: Vec<u64> = (0..=95)
            .filter_map(|second| pace.due(begun + Duration::from_secs(second)).map(|passed| passed.as_secs()))
            .collect();
        assert_eq!(told, [30, 60, 90]);
    }

    #[test]
    fn an_entry_of_the_log_is_one_line_without_secrets_in_which_everything_is_seen() {
        redactor().add(&"qz\"canary-of-the-log".into());
        let mut log = Vec::new();
        let entry = format!("DEBUG said={:?} \u{1b}[2m\nforged\n", "qz\"canary-of-the-log");
        assert_eq!(Clean(&mut log).write(entry.as_bytes()).unwrap(), entry.len());
        assert_eq!(String::from_utf8(log).unwrap(), "DEBUG said=\"[redacted]\" ⟨U+001B⟩[2m⟨U+000A⟩forged\n");
    }

    #[test]
    fn json_stays_json_where_a_secret_begins_within_an_escape() {
        redactor().add(&"nqz-canary-of-json".into());
        let text =
            serde_json::to_string(&serde_json::json!({ "a": "line\nqz-canary-of-json", "b": "nqz-canary-of-json" }))
                .unwrap();
        let clean: serde_json::Value = serde_json::from_str(&still_json(text, false).unwrap()).unwrap();
        assert_eq!(clean["b"], "[redacted]");
    }

    #[test]
    fn a_table_has_straight_columns() {
        let mut table = Table::new(["a", "b"]);
        table.row(["lång".to_owned(), String::new()]);
        table.row(["x".to_owned(), "y".to_owned()]);
        assert_eq!(table.to_string(), "a     b\nlång\nx     y");
    }
}
