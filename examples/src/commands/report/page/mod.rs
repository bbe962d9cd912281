//! The page itself: one file that asks for nothing else, and lets nothing else be asked for.

mod activity;
mod findings;
mod overview;
mod proof;
mod records;

use std::fmt::{self, Write as _};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use super::gather::Report;
use super::html::{Text, Time, Words};
use crate::output;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Patterns and signs that are drawn again and again.
const DRAWINGS: &str = include_str!("drawings.svg");

/// Writes the page.
pub(super) fn write(report: &Report) -> Result<String, fmt::Error> {
    let mut body = String::new();
    header(&mut body, report)?;
    body.push_str("<main>");
    overview::write(&mut body, report)?;
    activity::write(&mut body, report)?;
    findings::comparisons(&mut body, report)?;
    findings::failures(&mut body, report)?;
    findings::rejected(&mut body, report)?;
    records::write(&mut body, report)?;
    proof::write(&mut body, report)?;
    body.push_str("</main>");

    let mut page = String::with_capacity(body.len() + 32 * 1024);
    page.push_str("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    writeln!(page, "<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">", policy())?;
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.push_str(
        "<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n",
    );
    writeln!(page, "<title>Kinetic to Tableau, {}</title>", report.wanted.until.format("%Y-%m-%d %H:%M"))?;
    write!(page, "<style>{STYLE}</style>\n</head>\n<body>\n{DRAWINGS}\n{body}")?;
    let size = output::size(page.len() as u64 + SCRIPT.len() as u64);
    write!(
        page,
        "\n<footer><p>This page is one file of {size}. It asks no server for anything, so that it can be kept, mailed and printed. It holds keys of records: give it to those who may see them.</p></footer>"
    )?;
    write!(page, "\n<script>{SCRIPT}</script>\n</body>\n</html>\n")?;
    Ok(page)
}

/// Nothing may be loaded or run but the one style and the one script that are here, told by their hashes.
fn policy() -> String {
    let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

fn header(out: &mut String, report: &Report) -> fmt::Result {
    let wanted = &report.wanted;
    out.push_str(
        "<header><div class=\"title\"><p class=\"eyebrow\">Epicor Kinetic to Tableau</p><h1>Sync report</h1></div>",
    );
    write!(
        out,
        "<p class=\"made\">{} to {} UTC<br>made by kinetic-tableau {}",
        Time(wanted.since),
        Time(wanted.until),
        Text(env!("CARGO_PKG_VERSION"))
    )?;
    if !wanted.datasets.is_empty() {
        write!(out, "<br>only {}", Text(&wanted.datasets.join(", ")))?;
    }
    out.push_str("</p><nav aria-label=\"Sections\">");
    for (id, name) in [
        ("overview", "Overview"),
        ("activity", "Activity"),
        ("comparisons", "Comparisons"),
        ("failures", "Failures"),
        ("rejected", "Rejected rows"),
        ("records", "Records"),
        ("proof", "Proof"),
    ] {
        write!(out, "<a href=\"#{id}\">{name}</a>")?;
    }
    out.push_str("</nav></header>");
    Ok(())
}

/// The beginning of a section, with its title and a line below it.
fn section(out: &mut String, id: &str, title: &str, line: &str) -> fmt::Result {
    write!(out, "<section id=\"{id}\" aria-labelledby=\"{id}-title\"><h2 id=\"{id}-title\">{title}</h2>")?;
    if line.is_empty() { Ok(()) } else { write!(out, "<p class=\"lead\">{}</p>", Words(line)) }
}

/// The beginning of a table, in a box of its own that scrolls when the table is wider than the page. A title that begins with `#` is of a
/// column of numbers.
fn table(out: &mut String, name: &str, titles: &[&str]) -> fmt::Result {
    table_of(out, "wide", name, titles)
}

/// A table of a class of its own.
fn table_of(out: &mut String, class: &str, name: &str, titles: &[&str]) -> fmt::Result {
    write!(
        out,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\"><table class=\"{class}\"><thead><tr>",
        Text(name)
    )?;
    for title in titles {
        match title.strip_prefix('#') {
            Some(title) => write!(out, "<th scope=\"col\" class=\"n\">{title}</th>")?,
            None => write!(out, "<th scope=\"col\">{title}</th>")?,
        }
    }
    out.push_str("</tr></thead><tbody>");
    Ok(())
}

fn end_table(out: &mut String) {
    out.push_str("</tbody></table></div>");
}

/// A cell with a number.
fn number(out: &mut String, count: u64) -> fmt::Result {
    let class = if count == 0 { "n none" } else { "n" };
    write!(out, "<td class=\"{class}\">{}</td>", output::grouped(count))
}

/// One of the signs of [`DRAWINGS`].
fn sign(name: &str) -> String {
    format!("<svg class=\"sign\" aria-hidden=\"true\" viewBox=\"0 0 16 16\"><use href=\"#sign-{name}\"/></svg>")
}
