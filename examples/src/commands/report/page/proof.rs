//! The trail's proof, and what this page is.

use std::fmt::{self, Write as _};

use super::{Text, Time, section};
use crate::commands::report::gather::{KEPT_RUNS, MOST_DATASETS, Report};
use crate::output::grouped;

pub(super) fn write(out: &mut String, report: &Report) -> fmt::Result {
    let proof = &report.proof;
    section(
        out,
        "proof",
        "Proof",
        "Every record of the audit trail and every event is chained to the one before by SHA-256, and the chain was computed again for this page.",
    )?;
    match &proof.first_broken {
        None => out.push_str("<p class=\"verdict good\">The audit trail is whole.</p>"),
        Some((entry, why)) => {
            write!(
                out,
                "<p class=\"verdict bad\">The audit trail was altered at entry {entry}: <bdi>{}</bdi>. Entries before it are as they were written.</p>",
                Text(why)
            )?;
        }
    }
    out.push_str("<dl class=\"facts card\">");
    let fact = |out: &mut String, class: &str, name: &str, value: &str| {
        write!(out, "<div><dt>{name}</dt><dd class=\"{class}\">{value}</dd></div>")
    };
    fact(out, "entries", "Entries", &grouped(proof.entries))?;
    fact(out, "records", "Records", &grouped(proof.records))?;
    fact(out, "pruned", "Removed before", &grouped(proof.pruned))?;
    fact(out, "head", "Head", &format!("<code>{}</code>", Text(&proof.head)))?;
    fact(out, "made-at", "Made at", &format!("{} UTC", Time(report.wanted.until)))?;
    fact(out, "version", "Program", &format!("kinetic-tableau {}", Text(env!("CARGO_PKG_VERSION"))))?;
    out.push_str(
        "</dl><p class=\"lead\">Write the head down elsewhere: a trail that was cut off at its end has another one. ",
    );
    out.push_str("<code>kinetic-tableau audit --verify</code> computes it again.</p>");
    write!(
        out,
        "<p class=\"lead\">All times are UTC. This page holds {} to {}: of each dataset all sums, the newest {KEPT_RUNS} runs one by one and the newest {} entries of records; charts and records of {MOST_DATASETS} datasets at most. Longer texts are cut.</p></section>",
        Time(report.wanted.since),
        Time(report.wanted.until),
        report.records_each
    )
}
