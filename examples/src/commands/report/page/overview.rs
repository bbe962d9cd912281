//! The first part: how everything stands, in one look.

use std::fmt::{self, Write as _};

use chrono::{DateTime, Duration, Utc};

use super::{Text, Time, section, sign, table_of};
use crate::commands::report::gather::{Dataset, Report};
use crate::commands::report::html::{ago, counted, rough};
use crate::commands::standing::{Standing, State, moment};
use crate::failure::one_line;
use crate::output::{self, grouped};

/// A run takes its time; what is due since less than this is not late.
const PATIENCE: Duration = Duration::minutes(5);

pub(super) fn write(out: &mut String, report: &Report) -> fmt::Result {
    let now = report.wanted.until;
    section(out, "overview", "Overview", "")?;
    verdict(out, report)?;
    tiles(out, report)?;
    table_of(
        out,
        "stack",
        "Datasets",
        &["Dataset", "State", "#Rows in Tableau", "As of", "Whole as of", "Schedule", "Next"],
    )?;
    for (nth, dataset) in report.datasets.iter().enumerate() {
        row(out, nth, dataset, now)?;
    }
    super::end_table(out);
    attention(out, report)?;
    out.push_str("</section>");
    Ok(())
}

fn verdict(out: &mut String, report: &Report) -> fmt::Result {
    let now = report.wanted.until;
    let total = report.datasets.len() as u64;
    let of = |state: State| report.datasets.iter().filter(move |dataset| dataset.standing.state(now) == state);
    let failing: Vec<&str> = of(State::Failing).map(|dataset| dataset.standing.name.as_str()).collect();
    let (well, broken) = (of(State::Well).count() as u64, report.proof.first_broken.is_some());
    let (class, words) = if broken {
        ("bad", "The audit trail was altered. What this page says of the past is not proven.".to_owned())
    } else if let [first, rest @ ..] = failing.as_slice() {
        let more = if rest.is_empty() {
            String::new()
        } else {
            format!(" and {}", counted(rest.len() as u64, "other", "others"))
        };
        let are = if rest.is_empty() { "is" } else { "are" };
        (
            "bad",
            format!(
                "{first}{more} {are} failing; {} of {} well.",
                grouped(well),
                counted(total, "dataset is", "datasets are")
            ),
        )
    } else if well == total && total > 0 {
        (
            "good",
            if total == 1 {
                "The dataset is well.".to_owned()
            } else {
                format!("All {} datasets are well.", grouped(total))
            },
        )
    } else {
        ("", format!("Nothing is failing; {} of {} well.", grouped(well), counted(total, "dataset is", "datasets are")))
    };
    write!(out, "<p class=\"verdict {class}\">{}</p>", Text(&words))
}

fn tiles(out: &mut String, report: &Report) -> fmt::Result {
    let now = report.wanted.until;
    let well = report.datasets.iter().filter(|dataset| dataset.standing.state(now) == State::Well).count();
    let rows: u64 = report.datasets.iter().filter_map(|dataset| dataset.standing.landed_rows).sum();
    let changes: u64 = report
        .datasets
        .iter()
        .map(|dataset| dataset.ledger.totals.counts)
        .map(|counts| counts.inserted + counts.updated + counts.deleted)
        .sum();
    let running = report.workers.iter().flat_map(|worker| &worker.running).count() as u64;
    let work = match (report.workers.len(), running) {
        (0, _) => "nothing runs by schedule now".to_owned(),
        (_, 0) => "idle".to_owned(),
        (_, running) => format!("running {}", counted(running, "dataset", "datasets")),
    };
    let trail = if report.proof.first_broken.is_none() { "whole" } else { "ALTERED" };
    out.push_str("<dl class=\"tiles\">");
    for (name, value, more) in [
        ("Datasets well", format!("{well} of {}", report.datasets.len()), String::new()),
        ("Rows in Tableau", grouped(rows), format!("{} landed or deleted in this time", grouped(changes))),
        ("Workers alive", report.workers.len().to_string(), work),
        ("Audit trail", trail.to_owned(), counted(report.proof.records, "record", "records")),
    ] {
        write!(out, "<div><dt>{name}</dt><dd>{value}<small>{}</small></dd></div>", Text(&more))?;
    }
    out.push_str("</dl>");
    Ok(())
}

fn row(out: &mut String, nth: usize, dataset: &Dataset, now: DateTime<Utc>) -> fmt::Result {
    let standing = &dataset.standing;
    let name = Text(&standing.name);
    if dataset.in_detail {
        write!(out, "<tr><th scope=\"row\"><a href=\"#dataset-{nth}\"><bdi>{name}</bdi></a></th>")?;
    } else {
        write!(out, "<tr><th scope=\"row\"><bdi>{name}</bdi></th>")?;
    }
    write!(out, "<td data-label=\"State\">{}</td>", badge(standing.state(now)))?;
    match standing.landed_rows {
        Some(rows) => write!(out, "<td class=\"n rows\" data-label=\"Rows in Tableau\">{}</td>", grouped(rows))?,
        None => out.push_str("<td class=\"n none\" data-label=\"Rows in Tableau\">–</td>"),
    }
    let as_of = standing.last_success.as_ref().map(|run| run.started);
    for (label, at) in [("As of", as_of), ("Whole as of", standing.whole_at)] {
        match at {
            Some(at) => write!(out, "<td data-label=\"{label}\">{}<small>{}</small></td>", Time(at), ago(at, now))?,
            None => write!(out, "<td class=\"none\" data-label=\"{label}\">never</td>")?,
        }
    }
    let schedule = standing.schedule.as_deref().unwrap_or("not configured");
    let (class, lag) = lag(standing, now);
    write!(
        out,
        "<td data-label=\"Schedule\"><span class=\"long\">{}</span><small class=\"{class}\">{}</small></td>",
        Text(schedule),
        Text(&lag)
    )?;
    out.push_str("<td data-label=\"Next\">");
    match (standing.pause(now), standing.next_due) {
        (Some(pause), _) => match pause.until {
            Some(until) => write!(out, "{}<small>end of the pause</small>", Time(until))?,
            None => out.push_str("<span>when resumed</span>"),
        },
        (None, Some(at)) if at <= now => out.push_str("<span>now</span>"),
        (None, Some(at)) => write!(out, "{}<small>in {}</small>", Time(at), rough(at - now))?,
        (None, None) => out.push_str("<span class=\"none\">when asked for</span>"),
    }
    out.push_str("</td></tr>");
    Ok(())
}

/// A state in words, with a sign.
fn badge(state: State) -> String {
    let (class, name) = match state {
        State::Well => ("good", "well"),
        State::Failing => ("bad", "failing"),
        State::Paused => ("quiet", "paused"),
        State::DeliveryPending | State::RefreshPending => ("wait", "pending"),
        State::NotSynced => ("quiet", "new"),
    };
    format!("<span class=\"badge {class}\">{}{}</span>", sign(name), state.as_str())
}

/// How far a dataset is behind its schedule, with the class of it.
fn lag(standing: &Standing, now: DateTime<Utc>) -> (&'static str, String) {
    let Some(timing) = &standing.timing else { return ("", "nothing runs it".to_owned()) };
    if timing.is_manual() {
        return ("", "by hand".to_owned());
    }
    let Some(last) = &standing.last_success else { return ("", "has not run yet".to_owned()) };
    match timing.next_after(&standing.name.as_str().into(), last.started) {
        None => ("", "behind its batch process".to_owned()),
        Some(due) if due + PATIENCE < now => ("late", format!("late by {}", rough(now - due))),
        Some(_) => ("", "on time".to_owned()),
    }
}

/// What a person should know beyond the table.
fn attention(out: &mut String, report: &Report) -> fmt::Result {
    let now = report.wanted.until;
    let mut lines: Vec<(&str, String)> = Vec::new();
    for standing in report.datasets.iter().map(|dataset| &dataset.standing) {
        let name = standing.name.as_str();
        if let Some(pause) = standing.pause(now) {
            let why = pause.reason.as_ref().map_or_else(String::new, |reason| format!(": {}", one_line(reason)));
            let until = pause.until.map_or_else(|| "it is resumed".to_owned(), moment);
            lines.push((name, format!("paused until {until} by {}{why}", pause.by)));
        }
        for request in standing.control.requests.iter().map(|open| &open.request) {
            lines.push((name, format!("a run was asked for at {} by {}", moment(request.at), request.by)));
        }
        if let Some(pending) = &standing.pending_delivery {
            let rows = grouped(pending.rows);
            lines.push((name, format!("a {} of {rows} rows waits to be delivered", output::kind_name(pending.kind))));
        }
        for target in &standing.pending_refresh {
            lines.push((name, format!("the refresh of {target} is due; the next sync does it")));
        }
        if standing.rejected > 0 {
            lines.push((name, format!("{} could not land", counted(standing.rejected, "row", "rows"))));
        }
        if let Some((last, why)) = standing.refused() {
            let gone = last.findings.gone.saturating_sub(last.findings.reappeared);
            lines.push((
                name,
                format!("{} to delete were left alone at {}: {why}", counted(gone, "row", "rows"), moment(last.at)),
            ));
        }
        if let Some(error) = standing.last_run.as_ref().and_then(|run| run.error.as_ref()) {
            let error = one_line(error);
            lines.push((name, format!("failed {}: {error}", counted(u64::from(standing.failures), "time", "times"))));
            lines.push((name, standing.again(!report.workers.is_empty(), now).replace('`', "")));
        }
    }
    for worker in &report.workers {
        let running = if worker.running.is_empty() {
            "idle".to_owned()
        } else {
            format!("running {}", worker.running.join(", "))
        };
        lines.push(("worker", format!("{}: {running}, since {}", worker.name, moment(worker.since))));
    }
    if lines.is_empty() {
        return Ok(());
    }
    out.push_str("<ul class=\"notes\">");
    for (name, line) in lines {
        write!(out, "<li><strong><bdi>{}</bdi></strong> <bdi>{}</bdi></li>", Text(name), Text(&line))?;
    }
    out.push_str("</ul>");
    Ok(())
}
