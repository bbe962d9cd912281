//! `audit`: what became of each record, and whether the trail is whole.

use chrono::{DateTime, Utc};
use kinetic_tableau_sync::export::{CSV_HEADER, OpenLineage, csv_line};
use kinetic_tableau_sync::{Action, AuditFilter, AuditRecord};

use crate::args;
use crate::config::Config;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{self, grouped, say};
use crate::store::Store;
use crate::visible::field;

pub(super) async fn run(config: &Config, options: &args::Audit) -> Outcome<Exit> {
    if let Some(age) = &options.prune {
        return prune(config, age, options.json).await;
    }
    let Some(store) = Store::open_for_reading(config).await? else {
        return Err(Failure::new("nothing has been synced yet, so there is no audit trail")
            .next("run `kinetic-tableau sync` first; paths in the configuration start at its own directory"));
    };
    let trail = store.audit();
    if options.verify {
        let verification = trail.verify().await?;
        if options.json {
            output::say_json(&verification);
        } else if verification.first_broken.is_none() {
            say(format_args!(
                "the trail is whole: {} entries, {} records",
                grouped(verification.entries),
                grouped(verification.records)
            ));
            if verification.pruned > 0 {
                say(format_args!(
                    "{} entries before them were removed by `audit --prune`",
                    grouped(verification.pruned)
                ));
            }
            say(format_args!("head {}", verification.head));
            say("write the head down elsewhere: a trail that was cut off at its end has another one");
        }
        return match verification.first_broken {
            None => Ok(Exit::Done),
            Some((entry, why)) => Err(Failure::new(format!("the audit trail was altered: entry {entry}: {why}"))
                .next("entries before it are as they were written; compare the file with a backup")),
        };
    }
    let filter = AuditFilter {
        dataset: options.dataset.as_deref().map(Into::into),
        run: options.run.as_deref().map(Into::into),
        key: options.key.clone(),
        action: options.action.map(action),
        since: options.since,
        until: options.until,
        limit: (options.limit > 0 && options.export.is_none()).then_some(options.limit),
    };
    if options.export == Some(args::Export::Openlineage) {
        // From the beginning: what a run reads and where it lands is told by its begin.
        let all = AuditFilter { since: None, until: None, ..filter.clone() };
        let mut lineage = OpenLineage::new();
        for entry in trail.events(&all).await? {
            let wanted =
                filter.since.is_none_or(|since| entry.at >= since) && filter.until.is_none_or(|until| entry.at < until);
            if let Some(event) = lineage.event(&entry).filter(|_| wanted) {
                output::say_json_line(&event)?;
            }
        }
        return Ok(Exit::Done);
    }
    let records = trail.records(&filter).await?;
    if options.export == Some(args::Export::Csv) {
        output::say_exactly(CSV_HEADER);
        for record in &records {
            output::say_exactly(csv_line(record));
        }
        return Ok(Exit::Done);
    }
    let json = options.json || options.export == Some(args::Export::Jsonl);
    for record in &records {
        if json {
            output::say_json_line(record)?;
        } else {
            say(line(record));
        }
    }
    if let Some(name) = options.dataset.as_deref().filter(|_| records.is_empty())
        && config.datasets.iter().all(|dataset| dataset.name() != name)
    {
        // It may have been configured once: then the trail knows it.
        let only = AuditFilter { dataset: Some(name.into()), limit: Some(1), ..AuditFilter::default() };
        if trail.records(&only).await?.is_empty() {
            config.named(&[name.to_owned()])?;
        }
    }
    if records.is_empty() && !json {
        say("no record matches");
    } else if records.len() == options.limit && !json {
        say(format_args!("these are the newest {}; --limit 0 shows all", options.limit));
    }
    Ok(Exit::Done)
}

/// Removes what is older. It takes the place of a worker, so that no run goes on meanwhile; and what waits to be delivered keeps its
/// records, however old they are: without them nothing would tell of its rows once they have landed.
async fn prune(config: &Config, age: &str, json: bool) -> Outcome<Exit> {
    let age = kinetic_tableau_sync::parse_duration(age)
        .map_err(|error| Failure::new(format!("--prune: {error}")).next("for instance --prune 400d").into_usage())?;
    let before = chrono::Duration::from_std(age).ok().and_then(|age| Utc::now().checked_sub_signed(age));
    let before = before.ok_or_else(|| Failure::new("--prune: nothing is that old").into_usage())?;
    if Store::open_for_reading(config).await?.is_none() {
        return Err(Failure::new("nothing has been synced yet, so there is no audit trail")
            .next("run `kinetic-tableau sync` first; paths in the configuration start at its own directory"));
    }
    let store = Store::open(config).await?;
    let worker = "audit --prune";
    let lease = store.state().lease(&worker.into(), worker, std::time::Duration::from_mins(1)).await?;
    let removed = prune_but_what_waits(&store, before).await;
    store.state().release(&lease).await?;
    let (removed, before) = removed?;
    if json {
        output::say_json(&serde_json::json!({ "removed": removed, "before": before }));
    } else {
        say(format_args!(
            "{} entries removed; runs that went on after {} stay",
            grouped(removed),
            before.format("%Y-%m-%d %H:%M:%SZ")
        ));
    }
    Ok(Exit::Done)
}

/// Answers how many entries were removed, and the moment before which they were written.
async fn prune_but_what_waits(store: &Store, before: DateTime<Utc>) -> Outcome<(u64, DateTime<Utc>)> {
    let mut before = before;
    for (dataset, known) in store.state().list().await? {
        let Some(waiting) = known.checkpoint.intent else { continue };
        let filter = AuditFilter { dataset: Some(dataset), run: Some(waiting.run), ..AuditFilter::default() };
        let began = store.audit().events(&filter).await?.first().map(|entry| entry.at);
        before = before.min(began.unwrap_or(waiting.at));
    }
    Ok((store.audit().prune(before).await?, before))
}

fn line(record: &AuditRecord) -> String {
    use std::fmt::Write as _;
    let landed = if record.landed { "landed" } else { "not landed" };
    let mut line = format!(
        "{}  {}  {}  {}  revision {}  {landed}  run {}",
        record.at.format("%Y-%m-%d %H:%M:%SZ"),
        record.dataset,
        record.action.as_str(),
        record.key,
        record.version,
        record.run
    );
    // Writing to a String cannot fail.
    if let Some(job) = &record.job_id {
        let _ = write!(line, "  job {job}");
    }
    for (name, value) in &record.dimensions {
        let _ = write!(line, "  {name}={}", field(value));
    }
    if !record.reason.is_empty() {
        let _ = write!(line, "  reason: {}", record.reason);
    }
    line
}

fn action(action: args::Action) -> Action {
    match action {
        args::Action::Insert => Action::Insert,
        args::Action::Update => Action::Update,
        args::Action::Delete => Action::Delete,
        args::Action::Reject => Action::Reject,
    }
}
