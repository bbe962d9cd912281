//! The history of single records. Each is there without a script; the script only hides what is not looked for.

use std::fmt::{self, Write as _};

use kinetic_tableau_sync::{Action, AuditRecord};

use super::findings::linked;
use super::{Text, Time, end_table, section, table};
use crate::commands::report::gather::{Dataset, History, KEY_RECORDS, Report};
use crate::commands::report::html::{counted, cut};

pub(super) fn write(out: &mut String, report: &Report) -> fmt::Result {
    let records: usize = histories(report).map(|(_, history)| history.records.len()).sum();
    let line = format!(
        "What became of single records. Here are the {} newest entries of the trail of each dataset ({} in all); older ones of the same \
         record may be missing, unless it was asked for: `report --key KEY` shows the whole history of one.",
        report.records_each,
        counted(records as u64, "entry", "entries")
    );
    section(out, "records", "Records", &line)?;
    for key in &report.unknown {
        write!(out, "<p class=\"empty\">No record has the key <bdi>{}</bdi>.</p>", Text(&cut(key, 300)))?;
    }
    if records == 0 {
        out.push_str("<p class=\"empty\">No record in this time.</p></section>");
        return Ok(());
    }
    out.push_str("<form class=\"search\" hidden><label>Dataset <select><option value=\"\">all</option>");
    for (nth, dataset) in report.datasets.iter().enumerate().filter(|(_, dataset)| !dataset.histories.is_empty()) {
        write!(out, "<option value=\"{nth}\">{}</option>", Text(&dataset.standing.name))?;
    }
    out.push_str("</select></label><label>Key <input type=\"search\" autocomplete=\"off\" spellcheck=\"false\" placeholder=\"INV-7\"></label>");
    out.push_str("<output role=\"status\"></output></form><div class=\"histories\">");
    for (nth, dataset) in report.datasets.iter().enumerate() {
        for history in &dataset.histories {
            one(out, nth, dataset, history)?;
        }
    }
    out.push_str("</div></section>");
    Ok(())
}

fn histories(report: &Report) -> impl Iterator<Item = (&Dataset, &History)> {
    report.datasets.iter().flat_map(|dataset| dataset.histories.iter().map(move |history| (dataset, history)))
}

fn one(out: &mut String, nth: usize, dataset: &Dataset, history: &History) -> fmt::Result {
    let Some(newest) = history.records.first() else { return Ok(()) };
    write!(
        out,
        "<details class=\"record\" data-dataset=\"{nth}\"><summary><code class=\"key\"><bdi>{}</bdi></code>",
        Text(&cut(&history.key, 300))
    )?;
    let times = counted(history.records.len() as u64, "entry", "entries");
    write!(
        out,
        "<span class=\"of\"><bdi>{}</bdi>, {} at {}, {times}</span></summary>",
        Text(&dataset.standing.name),
        done(newest),
        Time(newest.at)
    )?;
    let titles = ["When", "What", "Landed", "#Version", "Stamp", "Run", "More"];
    table(out, "History of the record", &titles)?;
    for record in &history.records {
        let run = format!("<code>{}</code>", Text(record.run.as_str().get(..8).unwrap_or(record.run.as_str())));
        write!(out, "<tr><th scope=\"row\">{}</th><td>{}</td>", Time(record.at), done(record))?;
        write!(out, "<td>{}</td>", if record.landed { "yes" } else { "no" })?;
        write!(out, "<td class=\"n\">{}</td><td><bdi>{}</bdi></td>", record.version, Text(&cut(&record.stamp, 60)))?;
        write!(out, "<td>{}</td><td class=\"long\">", linked(dataset, record.run.as_str(), &run))?;
        if !record.reason.is_empty() {
            write!(out, "<bdi>{}</bdi> ", Text(&cut(&record.reason, 300)))?;
        }
        if let Some(job) = &record.job_id {
            write!(out, "<small>job {}</small>", Text(&cut(job, 60)))?;
        }
        for (name, value) in record.dimensions.iter().filter(|(_, value)| !value.is_empty()).take(12) {
            write!(out, "<small><bdi>{} = {}</bdi></small>", Text(&cut(name, 60)), Text(&cut(value, 120)))?;
        }
        out.push_str("</td></tr>");
    }
    end_table(out);
    let first_of_all = history.records.last().is_some_and(|record| record.action == Action::Insert);
    if history.asked_for && history.records.len() == KEY_RECORDS {
        write!(out, "<p class=\"empty\">These are the newest {KEY_RECORDS}; <code>audit --key</code> tells all.</p>")?;
    } else if !history.asked_for && !first_of_all {
        out.push_str("<p class=\"empty\">There are older entries, which this page does not hold.</p>");
    }
    out.push_str("</details>");
    Ok(())
}

fn done(record: &AuditRecord) -> &'static str {
    match record.action {
        Action::Insert => "inserted",
        Action::Update => "updated",
        Action::Delete => "deleted",
        Action::Reject => "rejected",
        _ => record.action.as_str(),
    }
}
