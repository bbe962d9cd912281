//! The command line.

use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::{ArgAction, Parser, Subcommand, ValueEnum};

/// Bring Epicor Kinetic ERP rows into Tableau: no row lost, none doubled, and proof of it.
#[derive(Debug, Parser)]
#[command(
    name = "kinetic-tableau",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done, 1 something failed, 2 the command line or the configuration cannot work, 130 interrupted\n\
                  (`run` ends with 0 when it is asked to terminate, as systemd does).\n\
                  Every failure is one line on standard error, with what to do next below it.\n\
                  Try `kinetic-tableau demo` first: it needs no server and no configuration."
)]
pub(crate) struct Args {
    /// Configuration file.
    #[arg(short, long, global = true, value_name = "FILE", default_value = "kinetic-tableau.toml")]
    pub(crate) config: PathBuf,
    /// Tell more: causes of failures and the log of the libraries; twice for every request.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole way on simulators of both systems: full sync, changes, incremental sync, comparison of every cell.
    Demo(Demo),
    /// Ask both systems whether a sync could work, and say what to do where not. Changes nothing.
    Check {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Sync once: all datasets, or those that are named.
    Sync {
        /// Names of datasets in the configuration.
        #[arg(value_name = "DATASET")]
        datasets: Vec<String>,
        /// Load everything anew, however many rows that removes from Tableau.
        #[arg(long, conflicts_with = "reconcile", requires = "datasets")]
        full: bool,
        /// Afterwards compare everything with Kinetic, and land what the cycle could not see: deletes, silent edits, missed rows.
        #[arg(long)]
        reconcile: bool,
        /// Also read again the rows that earlier runs have rejected.
        #[arg(long, conflicts_with_all = ["full", "reconcile"])]
        replay: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Sync by the schedules of the configuration until interrupted. Several processes may do it with one configuration.
    Run,
    /// Let nothing be run of some datasets for a while, by no worker. What is being run ends.
    Pause(PauseOptions),
    /// End a pause.
    Resume {
        /// Names of datasets in the configuration.
        #[arg(value_name = "DATASET", required = true)]
        datasets: Vec<String>,
    },
    /// Ask the workers for a run of some datasets now.
    Trigger(Trigger),
    /// Show where each dataset stands.
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write one page of HTML about all datasets: freshness, activity, failures, records, and the proof of the trail. Asks no server.
    Report(Report),
    /// Show what became of records, or verify that nobody has altered the trail.
    Audit(Audit),
    /// Show the rows that could not land, and why.
    Rejects {
        /// Names of datasets in the configuration; all without.
        #[arg(value_name = "DATASET")]
        datasets: Vec<String>,
        /// Print JSON, one row a line, with the row as Kinetic sent it.
        #[arg(long)]
        json: bool,
    },
    /// Keep secrets sealed: make the store of `[secrets]`, and put secrets into it.
    Secrets {
        /// What to do with it.
        #[command(subcommand)]
        command: Secrets,
    },
    /// Find or install Tableau's extract engine `hyperd`.
    Engine {
        /// What to do with it.
        #[command(subcommand)]
        command: Engine,
    },
}

/// `demo`
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Keep extracts, state and configuration in this directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Keep both simulated servers up afterwards, with rows that change, so that every other command can be tried on them.
    #[arg(long, requires = "keep", conflicts_with = "json")]
    pub(crate) serve: bool,
    /// How many AP invoices there are, 20 to 5,000,000.
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(20..=5_000_000))]
    pub(crate) rows: u64,
}

/// `pause`
#[derive(Debug, clap::Args)]
pub(crate) struct PauseOptions {
    /// Names of datasets in the configuration.
    #[arg(value_name = "DATASET", required = true)]
    pub(crate) datasets: Vec<String>,
    /// How long, such as `2h`; until `resume` without.
    #[arg(long = "for", value_name = "TIME")]
    pub(crate) length: Option<String>,
    /// Why, for those who look at `status`.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// `trigger`
#[derive(Debug, clap::Args)]
pub(crate) struct Trigger {
    /// Names of datasets in the configuration.
    #[arg(value_name = "DATASET", required = true)]
    pub(crate) datasets: Vec<String>,
    /// Load everything anew.
    #[arg(long, conflicts_with_all = ["reconcile", "replay"])]
    pub(crate) full: bool,
    /// Compare everything with Kinetic.
    #[arg(long, conflicts_with = "replay")]
    pub(crate) reconcile: bool,
    /// Also read again the rows that earlier runs have rejected.
    #[arg(long)]
    pub(crate) replay: bool,
}

/// `report`
#[derive(Debug, clap::Args)]
pub(crate) struct Report {
    /// Write the page here; `-` for standard output.
    #[arg(long, value_name = "FILE", default_value_os_t = Report::default().out)]
    pub(crate) out: PathBuf,
    /// From this moment on: `2026-11-24T08:00:00Z`, `2026-11-24` (UTC), or so long ago, `90d`; the last 30 days without.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) since: Option<DateTime<Utc>>,
    /// Only this dataset; several when given several times.
    #[arg(long = "dataset", value_name = "NAME")]
    pub(crate) datasets: Vec<String>,
    /// Also the whole history of the record of this key: its last part (`INV-7`), or the whole key as `audit` prints it.
    #[arg(long = "key", value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    /// So many of the newest records of each dataset, as far as a page of a few megabytes holds them.
    #[arg(long, value_name = "N", default_value_t = Report::default().records)]
    pub(crate) records: usize,
}

impl Default for Report {
    /// What is meant where nothing is said.
    fn default() -> Self {
        let out = PathBuf::from("kinetic-tableau-report.html");
        Self { out, since: None, datasets: Vec::new(), keys: Vec::new(), records: 200 }
    }
}

/// `audit`
#[derive(Debug, clap::Args)]
pub(crate) struct Audit {
    /// Only this dataset.
    #[arg(long, value_name = "NAME")]
    pub(crate) dataset: Option<String>,
    /// Only records of this key: its last part (`INV-7`), or the whole key as printed (`["EPIC06",1042,"INV-7"]`).
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Only this run.
    #[arg(long)]
    pub(crate) run: Option<String>,
    /// Only this action.
    #[arg(long)]
    pub(crate) action: Option<Action>,
    /// Only records from this moment on: `2026-11-24T08:00:00Z`, `2026-11-24` (UTC), or so long ago, `2h`.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) since: Option<DateTime<Utc>>,
    /// Only records before this moment.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) until: Option<DateTime<Utc>>,
    /// At most so many records, the newest; 0 for all.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: usize,
    /// Print everything that matches in this form, for other tools; `--limit` does not count then.
    #[arg(long, value_name = "FORM", conflicts_with_all = ["verify", "json"])]
    pub(crate) export: Option<Export>,
    /// Recompute the chain of hashes instead, and say whether it is whole.
    #[arg(long, conflicts_with_all = ["dataset", "key", "run", "action", "since", "until"])]
    pub(crate) verify: bool,
    /// Remove the oldest part of the trail instead: runs that ended longer ago than this, such as `400d`. The rest can be verified as
    /// before, but what has landed cannot be rebuilt from the trail alone any more.
    #[arg(long, value_name = "AGE", conflicts_with_all = ["dataset", "key", "run", "action", "since", "until", "verify", "export"])]
    pub(crate) prune: Option<String>,
    /// Print JSON, one record a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Forms of the audit trail for other tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Export {
    /// Records as CSV, with a header.
    Csv,
    /// Records as JSON, one a line.
    Jsonl,
    /// Runs as run events for lineage services (specification 2-0-2), one a line.
    Openlineage,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Action {
    /// It is new.
    Insert,
    /// It has changed.
    Update,
    /// It is gone from Kinetic, and was deleted.
    Delete,
    /// It could not be mapped.
    Reject,
}

/// `engine`
#[derive(Debug, Subcommand)]
pub(crate) enum Engine {
    /// Fetch the pinned version with pip into the cache, and check it.
    Install,
    /// Say where it is.
    Where,
}

/// `secrets`
#[derive(Debug, Subcommand)]
pub(crate) enum Secrets {
    /// Make the sealed file, and its key where that is not there.
    Init,
    /// Put a secret into the store. Its value is asked for without echo, or read from a pipe: never an argument.
    Set {
        /// Which one.
        #[command(flatten)]
        target: SecretTarget,
        /// What to remember beside it, such as who gave it out. It is sealed too.
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// Tell what there is: names, when they were set, and notes. Never a value.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Give a secret a new value, and remember when the old one was set.
    Rotate {
        /// Which one.
        #[command(flatten)]
        target: SecretTarget,
    },
    /// Remove a secret.
    Remove {
        /// Name of the secret.
        name: String,
    },
    /// Seal everything for another key. The old one opens it no more.
    Rekey(Rekey),
}

/// A secret by its name.
#[derive(Debug, clap::Args)]
pub(crate) struct SecretTarget {
    /// Name of the secret, such as `kinetic-api-key`.
    pub(crate) name: String,
    /// Taken only to be refused: otherwise the complaint about it would repeat it.
    #[arg(hide = true, allow_hyphen_values = true)]
    pub(crate) rest: Vec<String>,
}

/// `secrets rekey`
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Rekey {
    /// A key file, made when it is not there.
    #[arg(long, value_name = "PATH")]
    pub(crate) key_file: Option<PathBuf>,
    /// A passphrase that is asked for.
    #[arg(long)]
    pub(crate) passphrase: bool,
    /// A passphrase in this variable of the environment.
    #[arg(long, value_name = "NAME")]
    pub(crate) passphrase_env: Option<String>,
    /// An entry of the operating system's keyring, made when it is not there.
    #[arg(long, value_name = "SERVICE/ACCOUNT")]
    pub(crate) keyring: Option<String>,
}

/// Reads a moment, a date, or a length of time before now.
fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(moment) = text.parse::<DateTime<Utc>>() {
        return Ok(moment);
    }
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Ok(date.and_time(NaiveTime::MIN).and_utc());
    }
    let ago = kinetic_tableau_sync::parse_duration(text).ok().and_then(|ago| chrono::Duration::from_std(ago).ok());
    ago.and_then(|ago| Utc::now().checked_sub_signed(ago))
        .ok_or_else(|| "write it as 2026-11-24T08:00:00Z, 2026-11-24, or 2h for two hours ago".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_a_date_or_a_while_ago() {
        assert_eq!(moment("2026-11-24T08:00:00+02:00").unwrap(), moment("2026-11-24T06:00:00Z").unwrap());
        assert_eq!(moment("2026-11-24").unwrap(), moment("2026-11-24T00:00:00Z").unwrap());
        let hour = Utc::now() - moment("1h").unwrap();
        assert!((59..=61).contains(&hour.num_minutes()));
        for text in ["yesterday", "", "2026-13-01", "5"] {
            assert!(moment(text).unwrap_err().contains("2026-11-24"), "{text}");
        }
    }
}
