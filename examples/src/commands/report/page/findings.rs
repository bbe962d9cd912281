//! What went wrong or would have: what comparisons have caught, failures, and rows that could not land.

use std::fmt::{self, Write as _};

use super::{Text, Time, end_table, number, section, table};
use crate::commands::report::gather::{Dataset, FailureGroup, Report};
use crate::commands::report::html::{counted, cut};
use crate::output::grouped;

/// So many comparisons, failures and reasons are shown, those of all datasets together.
const SHOWN: usize = 100;

/// A message is shown up to this length.
const LONGEST: usize = 600;

pub(super) fn comparisons(out: &mut String, report: &Report) -> fmt::Result {
    let totals = || report.datasets.iter().map(|dataset| &dataset.ledger.totals);
    let sum = |of: fn(&kinetic_tableau_sync::Findings) -> u64| totals().map(|totals| of(&totals.findings)).sum::<u64>();
    let count: u64 = totals().map(|totals| totals.comparisons).sum();
    let late: u64 = totals().map(|totals| totals.counts.late).sum();
    let line = if count == 0 {
        "Nothing was compared as a whole in this time. A comparison finds what change tracking cannot see: `sync --reconcile`."
            .to_owned()
    } else {
        let listed = sum(|found| found.listed);
        let refused: u64 = totals().map(|totals| totals.refused).sum();
        let but = match refused {
            0 => String::new(),
            refused => format!(" {} left rows alone that seem to be gone.", counted(refused, "of them", "of them")),
        };
        format!(
            "{} looked at {} and set right what change tracking alone had not seen.{but}",
            counted(count, "comparison", "comparisons"),
            counted(listed, "row", "rows")
        )
    };
    section(out, "comparisons", "What comparisons caught", &line)?;
    out.push_str("<dl class=\"tiles caught\">");
    for (class, name, value, more) in [
        ("missed", "Missed rows", sum(|found| found.missed), "were in Kinetic, not in Tableau"),
        ("silent", "Silent edits", sum(|found| found.silent), "had changed without their stamp"),
        ("gone", "Deletes", sum(|found| found.deleted), "were gone from Kinetic, and were removed"),
        ("late", "Late rows", late, "became visible late, and were found by the overlap"),
    ] {
        write!(
            out,
            "<div class=\"caught-{class}\"><dt>{name}</dt><dd>{}<small>{more}</small></dd></div>",
            grouped(value)
        )?;
    }
    out.push_str("</dl>");
    let mut all: Vec<_> = report
        .datasets
        .iter()
        .flat_map(|dataset| dataset.ledger.comparisons.iter().map(move |found| (dataset, found)))
        .collect();
    all.sort_by_key(|(_, (at, ..))| std::cmp::Reverse(*at));
    if !all.is_empty() {
        let titles =
            ["When", "Dataset", "#Rows compared", "#Missed", "#Silent edits", "#Gone", "#Deleted", "What was refused"];
        table(out, "Comparisons, newest first", &titles)?;
        for (dataset, (at, run, found)) in all.iter().take(SHOWN) {
            write!(
                out,
                "<tr><th scope=\"row\">{}</th><td class=\"long\"><bdi>{}</bdi></td>",
                linked(dataset, run, &Time(*at).to_string()),
                Text(&dataset.standing.name)
            )?;
            let gone = found.gone.saturating_sub(found.reappeared);
            for count in [found.listed, found.missed, found.silent, gone, found.deleted] {
                number(out, count)?;
            }
            match &found.refused {
                Some(why) => write!(out, "<td class=\"late long\"><bdi>{}</bdi></td></tr>", Text(&cut(why, LONGEST)))?,
                None => out.push_str("<td class=\"none\">–</td></tr>"),
            }
        }
        end_table(out);
        more(out, all.len())?;
    }
    out.push_str("</section>");
    Ok(())
}

pub(super) fn failures(out: &mut String, report: &Report) -> fmt::Result {
    let mut all: Vec<(&Dataset, &FailureGroup)> = report
        .datasets
        .iter()
        .flat_map(|dataset| dataset.ledger.failures.iter().map(move |group| (dataset, group)))
        .collect();
    all.sort_by_key(|(_, group)| std::cmp::Reverse(group.last));
    let count: u64 = report.datasets.iter().map(|dataset| dataset.ledger.totals.failed).sum();
    let line = if count == 0 {
        "Nothing failed in this time."
    } else {
        "Newest first. What repeats is told once. Nothing is lost by a failure: the next run continues from what has landed."
    };
    section(out, "failures", "Failures", line)?;
    if count > 0 {
        out.push_str("<ol class=\"failures\">");
        for (dataset, group) in all.iter().take(SHOWN) {
            write!(
                out,
                "<li class=\"card\"><p class=\"what\"><strong><bdi>{}</bdi></strong> at the step {}",
                Text(&dataset.standing.name),
                Text(&group.stage)
            )?;
            let last = linked(dataset, &group.run, &Time(group.last).to_string());
            if group.count > 1 {
                write!(
                    out,
                    " <span class=\"times\">{} times</span>, from {} to {last}</p>",
                    grouped(group.count),
                    Time(group.first)
                )?;
            } else {
                write!(out, ", {last}</p>")?;
            }
            write!(out, "<p class=\"message\"><bdi>{}</bdi></p>", Text(&cut(&group.message, LONGEST)))?;
            if let Some(hint) = &group.hint {
                write!(out, "<p class=\"hint\"><b>Next:</b> <bdi>{}</bdi></p>", Text(&cut(hint, LONGEST)))?;
            }
            out.push_str("</li>");
        }
        out.push_str("</ol>");
        more(out, all.len())?;
    }
    told(out, report)?;
    out.push_str("</section>");
    Ok(())
}

/// What Tableau told of refreshes, those of others as well.
fn told(out: &mut String, report: &Report) -> fmt::Result {
    let mut all: Vec<_> = report
        .datasets
        .iter()
        .flat_map(|dataset| dataset.ledger.told.iter().map(move |group| (&dataset.standing.name, group)))
        .collect();
    if all.is_empty() {
        return Ok(());
    }
    all.sort_by_key(|(_, group)| std::cmp::Reverse(group.last));
    table(out, "Told by Tableau's webhooks, newest first", &["Last", "Dataset", "What", "Of what", "#Times"])?;
    for (name, group) in all.iter().take(SHOWN) {
        write!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"long\"><bdi>{}</bdi></td>",
            Time(group.last),
            Text(name)
        )?;
        for words in [&group.what, &group.resource] {
            write!(out, "<td class=\"long\"><bdi>{}</bdi></td>", Text(&cut(words, 200)))?;
        }
        number(out, group.count)?;
        out.push_str("</tr>");
    }
    end_table(out);
    more(out, all.len())
}

pub(super) fn rejected(out: &mut String, report: &Report) -> fmt::Result {
    let count: u64 = report.datasets.iter().map(|dataset| dataset.standing.rejected).sum();
    let line = if count == 0 {
        "No row is kept back: everything that was read could land.".to_owned()
    } else {
        format!(
            "{} could not land as they are. They are kept with the reason, and land once they can.",
            counted(count, "row", "rows")
        )
    };
    section(out, "rejected", "Rejected rows", &line)?;
    if count > 0 {
        table(out, "Rejected rows by reason", &["Dataset", "Column", "Reason", "#Rows", "One of them"])?;
        for dataset in &report.datasets {
            let name = Text(&dataset.standing.name);
            for group in dataset.rejected.groups.iter().take(SHOWN) {
                write!(
                    out,
                    "<tr><th scope=\"row\"><bdi>{name}</bdi></th><td class=\"long\"><bdi>{}</bdi></td>",
                    Text(&cut(&group.column, 120))
                )?;
                write!(out, "<td class=\"long\"><bdi>{}</bdi>", Text(&cut(&group.reason, LONGEST)))?;
                if let Some(hint) = &group.hint {
                    write!(out, "<small><bdi>{}</bdi></small>", Text(&cut(hint, LONGEST)))?;
                }
                out.push_str("</td>");
                number(out, group.count)?;
                write!(out, "<td><code><bdi>{}</bdi></code></td></tr>", Text(&cut(&group.example, 200)))?;
            }
            let unseen = dataset.standing.rejected.saturating_sub(dataset.rejected.looked_at) + dataset.rejected.others;
            if unseen > 0 {
                write!(
                    out,
                    "<tr><th scope=\"row\"><bdi>{name}</bdi></th><td></td><td>other reasons; <code>rejects</code> tells all</td>"
                )?;
                number(out, unseen)?;
                out.push_str("<td></td></tr>");
            }
        }
        end_table(out);
    }
    out.push_str("</section>");
    Ok(())
}

/// A link to the row of a run, where it has one.
pub(super) fn linked(dataset: &Dataset, run: &str, words: &str) -> String {
    if dataset.in_detail && dataset.ledger.runs.iter().any(|known| known.id == run) {
        format!("<a href=\"#run-{}\">{words}</a>", Text(run))
    } else {
        words.to_owned()
    }
}

fn more(out: &mut String, count: usize) -> fmt::Result {
    if count <= SHOWN {
        return Ok(());
    }
    write!(out, "<p class=\"empty\">The newest {SHOWN} are shown.</p>")
}
