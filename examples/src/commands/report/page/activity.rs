//! What was done over the time: charts and tables of each dataset.

use std::fmt::{self, Write as _};

use chrono::{DateTime, Utc};
use kinetic_tableau_sync::LoadKind;

use super::{Text, Time, end_table, number, section, table};
use crate::commands::report::chart::{Bar, Dot, Mark, bars, dots};
use crate::commands::report::gather::{Bin, Dataset, End, KEPT_RUNS, MOST_DATASETS, Report, Run};
use crate::commands::report::html::{counted, cut, took};
use crate::output::grouped;

/// Up to so many runs have a bar each; more of them are put together by time.
const BARS: usize = 40;

/// At most about so many bars of a length of time each.
const PERIODS: i64 = 48;

/// So many of the newest runs are dots.
const DOTS: usize = 60;

pub(super) fn write(out: &mut String, report: &Report) -> fmt::Result {
    section(out, "activity", "Activity", "Rows that landed in Tableau, and how long each run took until they had.")?;
    let others = report.datasets.iter().filter(|dataset| !dataset.in_detail).count();
    if others > 0 {
        let words = format!(
            "The first {MOST_DATASETS} datasets are shown here; make a report of {others} others with <code>report --dataset NAME</code>."
        );
        write!(out, "<p class=\"lead\">{words}</p>")?;
    }
    for (nth, dataset) in report.datasets.iter().enumerate().filter(|(_, dataset)| dataset.in_detail) {
        write_dataset(out, nth, dataset)?;
    }
    out.push_str("</section>");
    Ok(())
}

fn write_dataset(out: &mut String, nth: usize, dataset: &Dataset) -> fmt::Result {
    let (name, ledger) = (&dataset.standing.name, &dataset.ledger);
    write!(out, "<article class=\"card\" id=\"dataset-{nth}\"><h3><bdi>{}</bdi></h3>", Text(name))?;
    let totals = &ledger.totals;
    if totals.runs == 0 {
        out.push_str("<p class=\"empty\">No run in this time.</p></article>");
        return Ok(());
    }
    let counts = &totals.counts;
    out.push_str("<ul class=\"sums\">");
    for (class, count, one, several) in [
        ("runs", totals.runs, "run", "runs"),
        ("inserted", counts.inserted, "row inserted", "rows inserted"),
        ("updated", counts.updated, "row updated", "rows updated"),
        ("deleted", counts.deleted, "row deleted", "rows deleted"),
        ("unchanged", counts.unchanged, "row unchanged", "rows unchanged"),
        ("failed", totals.failed, "failure", "failures"),
    ] {
        let words = if count == 1 { one } else { several };
        write!(out, "<li class=\"sum-{class}\"><b>{}</b> {words}</li>", grouped(count))?;
    }
    out.push_str("</ul><div class=\"charts\">");
    let periods = periods(dataset);
    landed(out, name, dataset, periods.as_deref())?;
    durations(out, name, dataset)?;
    out.push_str("</div>");
    if let Some(periods) = periods {
        period_table(out, &periods)?;
    }
    runs(out, dataset)?;
    out.push_str("</article>");
    Ok(())
}

/// Runs put together by time; none where there are so few that each has a bar.
fn periods(dataset: &Dataset) -> Option<Vec<(String, Bin)>> {
    let ledger = &dataset.ledger;
    if ledger.runs.len() <= BARS {
        return None;
    }
    let (first, last) = (*ledger.hours.keys().next()?, *ledger.hours.keys().next_back()?);
    let hours =
        [1, 2, 3, 6, 12, 24, 48, 168, 336, 672, 1_344].into_iter().find(|hours| (last - first) / hours < PERIODS);
    let hours = hours.unwrap_or(8_760);
    // Weeks begin on Mondays; the first hour of all was on a Thursday.
    let shift = if hours >= 168 { 72 } else { 0 };
    let of = |hour: i64| (hour + shift).div_euclid(hours);
    let mut found: Vec<(String, Bin)> =
        (of(first)..=of(last)).map(|period| (period_name(period * hours - shift, hours), Bin::default())).collect();
    for (hour, bin) in &ledger.hours {
        let nth = usize::try_from(of(*hour) - of(first)).unwrap_or(usize::MAX);
        if let Some((_, sum)) = found.get_mut(nth) {
            sum.add(bin);
        }
    }
    Some(found)
}

fn period_name(hour: i64, hours: i64) -> String {
    let at = DateTime::<Utc>::from_timestamp(hour * 3_600, 0).unwrap_or_default();
    if hours < 24 { at.format("%d %b %H:%M").to_string() } else { at.format("%d %b").to_string() }
}

fn landed(out: &mut String, name: &str, dataset: &Dataset, periods: Option<&[(String, Bin)]>) -> fmt::Result {
    let all: Vec<Bar> = if let Some(periods) = periods {
        periods.iter().map(|(label, bin)| bar(label, label, bin)).collect()
    } else {
        let label = labels(dataset.ledger.runs.iter().map(|run| run.at));
        let of_run = |run: &Run| {
            bar(&label(run.at), &format!("{}, {}", run.at.format("%Y-%m-%d %H:%M"), kind(run)), &alone(run))
        };
        dataset.ledger.runs.iter().map(of_run).collect()
    };
    let counts = &dataset.ledger.totals.counts;
    let by = if periods.is_some() { "over time" } else { "by run" };
    let label = format!(
        "Rows landed of {name} {by}: {} inserted, {} updated, {} deleted in all. The figures are in the table below.",
        grouped(counts.inserted),
        grouped(counts.updated),
        grouped(counts.deleted)
    );
    write!(
        out,
        "<figure class=\"chart\" tabindex=\"0\" aria-label=\"Rows landed {by}; arrow keys read each bar\"><figcaption>Rows landed {by}</figcaption>"
    )?;
    out.push_str("<p class=\"legend\">");
    for class in ["inserted", "updated", "deleted"] {
        write!(
            out,
            "<span><svg viewBox=\"0 0 12 12\" aria-hidden=\"true\"><rect class=\"{class}\" width=\"12\" height=\"12\"/></svg>{class}</span>"
        )?;
    }
    failed_legend(out);
    out.push_str("</p>");
    bars(out, &label, &all)?;
    out.push_str("<output></output></figure>");
    Ok(())
}

/// One run as a sum.
fn alone(run: &Run) -> Bin {
    Bin {
        inserted: run.counts.inserted,
        updated: run.counts.updated,
        deleted: run.counts.deleted,
        runs: 1,
        failed: u64::from(run.end == End::Failed),
        full: run.kind == Some(LoadKind::Full),
    }
}

fn failed_legend(out: &mut String) {
    out.push_str("<span><svg viewBox=\"0 0 12 12\" aria-hidden=\"true\"><path class=\"failed\" d=\"M2 2L10 10M2 10L10 2\"/></svg>failed</span>");
}

fn bar(label: &str, name: &str, bin: &Bin) -> Bar {
    let failed =
        if bin.failed > 0 { format!(", {}", counted(bin.failed, "failure", "failures")) } else { String::new() };
    let runs = if bin.runs == 1 { String::new() } else { format!(", {}", counted(bin.runs, "run", "runs")) };
    Bar {
        label: label.to_owned(),
        title: format!(
            "{name}: {} inserted, {} updated, {} deleted{runs}{failed}",
            grouped(bin.inserted),
            grouped(bin.updated),
            grouped(bin.deleted)
        ),
        parts: [bin.inserted, bin.updated, bin.deleted],
        full: bin.full,
        failed: bin.failed > 0,
    }
}

fn durations(out: &mut String, name: &str, dataset: &Dataset) -> fmt::Result {
    let known: Vec<(&Run, u64)> = dataset.ledger.runs.iter().filter_map(|run| Some((run, run.took()?))).collect();
    let known = known.get(known.len().saturating_sub(DOTS)..).unwrap_or_default();
    let label = labels(known.iter().map(|(run, _)| run.at));
    let all: Vec<Dot> = known
        .iter()
        .map(|(run, length)| Dot {
            label: label(run.at),
            title: format!("{}, {}: {}", run.at.format("%Y-%m-%d %H:%M"), kind(run), took(*length)),
            value: *length,
            mark: match (run.end, run.kind) {
                (End::Failed, _) => Mark::Failed,
                (_, Some(LoadKind::Full)) => Mark::Full,
                _ => Mark::Delta,
            },
        })
        .collect();
    let longest = known.iter().map(|(_, length)| *length).max().unwrap_or_default();
    let label = format!(
        "Duration of the {} of {name}; the longest took {}.",
        counted(all.len() as u64, "newest run", "newest runs"),
        took(longest)
    );
    out.push_str("<figure class=\"chart\" tabindex=\"0\" aria-label=\"Duration of each run; arrow keys read each run\"><figcaption>Duration of each run</figcaption>");
    out.push_str("<p class=\"legend\"><span><svg viewBox=\"0 0 12 12\" aria-hidden=\"true\"><circle class=\"dot\" cx=\"6\" cy=\"6\" r=\"4\"/></svg>changes</span>");
    out.push_str("<span><svg viewBox=\"0 0 12 12\" aria-hidden=\"true\"><rect class=\"dot\" x=\"2\" y=\"2\" width=\"8\" height=\"8\"/></svg>full load</span>");
    failed_legend(out);
    out.push_str("</p>");
    dots(out, &label, &all)?;
    out.push_str("<output></output></figure>");
    Ok(())
}

/// How moments are named below a chart: by the time where all are of one day, else by the date.
fn labels(moments: impl Iterator<Item = DateTime<Utc>>) -> impl Fn(DateTime<Utc>) -> String {
    let (mut first, mut last) = (None, None);
    for at in moments {
        first = first.or(Some(at));
        last = Some(at);
    }
    let of_one_day = first.map(|at| at.date_naive()) == last.map(|at| at.date_naive());
    let short = first.zip(last).is_some_and(|(first, last)| last - first < chrono::Duration::minutes(5));
    move |at| match (of_one_day, short) {
        (true, true) => at.format("%H:%M:%S").to_string(),
        (true, false) => at.format("%H:%M").to_string(),
        _ => at.format("%d %b").to_string(),
    }
}

/// What a run was, in words.
fn kind(run: &Run) -> String {
    let kind = match (run.kind, &run.findings) {
        (Some(LoadKind::Full), _) => "full load",
        (_, Some(_)) => "comparison",
        (Some(LoadKind::Delta), _) => "changes",
        (None, _) => "run",
    };
    match run.reason {
        Some(reason) => format!("{kind}: {reason}"),
        None => kind.to_owned(),
    }
}

fn period_table(out: &mut String, periods: &[(String, Bin)]) -> fmt::Result {
    out.push_str("<details><summary>Figures of the chart</summary>");
    table(out, "Rows landed over time", &["From", "#Runs", "#Inserted", "#Updated", "#Deleted", "#Failures"])?;
    for (name, bin) in periods {
        write!(out, "<tr><th scope=\"row\">{}</th>", Text(name))?;
        for count in [bin.runs, bin.inserted, bin.updated, bin.deleted, bin.failed] {
            number(out, count)?;
        }
        out.push_str("</tr>");
    }
    end_table(out);
    out.push_str("</details>");
    Ok(())
}

fn runs(out: &mut String, dataset: &Dataset) -> fmt::Result {
    let ledger = &dataset.ledger;
    let shown = ledger.runs.len() as u64;
    let all = if shown < ledger.totals.runs {
        format!("The newest {KEPT_RUNS} of {} runs", grouped(ledger.totals.runs))
    } else {
        "All runs".to_owned()
    };
    write!(out, "<details class=\"runs\"><summary>{all}</summary>")?;
    let titles = [
        "Began",
        "What",
        "End",
        "#Read",
        "#Inserted",
        "#Updated",
        "#Unchanged",
        "#Superseded",
        "#Rejected",
        "#Deleted",
        "#Late",
        "#Rows after",
        "#Took",
        "Run",
    ];
    table(out, "Runs", &titles)?;
    for run in ledger.runs.iter().rev() {
        let id = Text(&run.id);
        write!(
            out,
            "<tr id=\"run-{id}\"><th scope=\"row\">{}</th><td>{}</td>",
            Time(run.started.unwrap_or(run.at)),
            Text(&kind(run))
        )?;
        out.push_str("<td>");
        let (class, end) = match run.end {
            End::Open => ("quiet", "not ended"),
            End::BrokenOff => ("bad", "broken off"),
            End::Landed => ("good", "landed"),
            End::Idle => ("quiet", "nothing to land"),
            End::Failed => ("bad", "failed"),
        };
        write!(out, "<span class=\"end {class}\">{end}</span>")?;
        if let Some(message) = &run.message {
            write!(out, "<small class=\"long\"><bdi>{}</bdi></small>", Text(&cut(message, 160)))?;
        }
        for words in &run.unrefreshed {
            write!(out, "<small class=\"late long\"><bdi>{}</bdi></small>", Text(&cut(words, 160)))?;
        }
        out.push_str("</td>");
        let counts = &run.counts;
        for count in [
            counts.read,
            counts.inserted,
            counts.updated,
            counts.unchanged,
            counts.superseded,
            counts.rejected,
            counts.deleted,
            counts.late,
        ] {
            number(out, count)?;
        }
        match run.landed_rows {
            Some(rows) => write!(out, "<td class=\"n\">{}</td>", grouped(rows))?,
            None => out.push_str("<td class=\"n none\">–</td>"),
        }
        write!(out, "<td class=\"n\">{}</td>", run.took().map_or_else(|| "–".to_owned(), took))?;
        write!(out, "<td><code title=\"{id}\">{}</code></td></tr>", Text(run.id.get(..8).unwrap_or(&run.id)))?;
    }
    end_table(out);
    out.push_str("</details>");
    Ok(())
}
