//! `rejects`: the rows that could not land, and why.

use kinetic_tableau_sync::Reject;
use serde::Serialize;

use crate::config::Config;
use crate::failure::{Exit, Outcome};
use crate::output::{self, grouped, say};
use crate::store::Store;

/// Rows that are read at once.
const PAGE: usize = 500;

#[derive(Debug, Serialize)]
struct Line<'a> {
    dataset: &'a str,
    key: &'a str,
    version: i64,
    at: chrono::DateTime<chrono::Utc>,
    run: &'a str,
    column: &'a str,
    reason: &'a str,
    hint: Option<&'a str>,
    raw: &'a str,
}

pub(super) async fn run(config: &Config, names: &[String], json: bool) -> Outcome<Exit> {
    let datasets = config.named(names)?;
    let mut found = 0_u64;
    if let Some(store) = Store::open_for_reading(config).await? {
        for dataset in datasets {
            let mut after: Option<String> = None;
            loop {
                let page = store.rejects().rejects(&dataset.spec.id, after.as_deref(), PAGE).await?;
                found += page.len() as u64;
                for reject in &page {
                    show(reject, json)?;
                }
                after = page.last().map(|reject| reject.key.clone());
                if page.len() < PAGE {
                    break;
                }
            }
        }
    }
    if !json {
        say(match found {
            0 => "no row is rejected".to_owned(),
            found => format!(
                "{} rejected; mended rows land with the next sync, or with `sync --replay` where Kinetic tells of no change",
                grouped(found)
            ),
        });
    }
    Ok(Exit::Done)
}

fn show(reject: &Reject, json: bool) -> Outcome<()> {
    if json {
        let line = Line {
            dataset: reject.dataset.as_str(),
            key: &reject.key,
            version: reject.version,
            at: reject.at,
            run: reject.run.as_str(),
            column: &reject.column,
            reason: &reject.reason,
            hint: reject.hint.as_deref(),
            raw: &reject.raw,
        };
        return output::say_json_line(&line);
    }
    say(format_args!(
        "{}  {}  revision {}  {}: {}{}",
        reject.dataset,
        reject.key,
        reject.version,
        reject.column,
        reject.reason,
        reject.hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default()
    ));
    Ok(())
}
