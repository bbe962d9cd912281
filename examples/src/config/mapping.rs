//! `rename`, `nulls`, `column`, `drift` of a `[[dataset]]`: what becomes of columns on their way.

use std::collections::BTreeMap;

use kinetic_tableau_sync::{
    ChangedType, ColumnType, DatePart, Derive, DerivedColumn, Drift, Mapping, MissingColumn, NewColumn, OnNull,
};

use super::document::Section;
use crate::failure::Outcome;

const PARTS: [(&str, DatePart, ColumnType); 5] = [
    ("year_of", DatePart::Year, ColumnType::Int16),
    ("quarter_of", DatePart::Quarter, ColumnType::Int16),
    ("month_of", DatePart::Month, ColumnType::Int16),
    ("day_of", DatePart::Day, ColumnType::Int16),
    ("date_of", DatePart::Date, ColumnType::Date),
];

const COLUMN: &[&str] = &[
    "name",
    "type",
    "constant",
    "template",
    "coalesce",
    "lookup",
    "values",
    "otherwise",
    "year_of",
    "quarter_of",
    "month_of",
    "day_of",
    "date_of",
];

pub(super) fn read(section: &Section<'_>) -> Outcome<Mapping> {
    Ok(Mapping { rename: rename(section)?, nulls: nulls(section)?, derived: derived(section)? })
}

fn rename(section: &Section<'_>) -> Outcome<BTreeMap<String, String>> {
    let Some(table) = section.open_section("rename")? else { return Ok(BTreeMap::new()) };
    table.entries().map(|(column, _)| Ok((column.to_owned(), table.text(column, "a name")?.to_owned()))).collect()
}

fn nulls(section: &Section<'_>) -> Outcome<BTreeMap<String, OnNull>> {
    const EXAMPLE: &str = "write COLUMN = \"reject\" or COLUMN = { replace = \"VALUE\" }";
    let Some(table) = section.open_section("nulls")? else { return Ok(BTreeMap::new()) };
    table
        .entries()
        .map(|(column, value)| {
            let policy = match value.get_ref().as_str() {
                Some("reject") => OnNull::Reject,
                Some(other) => {
                    return Err(table.bad(column, &format!("'{other}' is nothing to do with null")).next(EXAMPLE));
                }
                None => match table.section(column, &["replace"])? {
                    Some(inner) => OnNull::Replace(scalar(&inner, "replace", EXAMPLE)?),
                    None => return Err(table.bad(column, "nothing is said").next(EXAMPLE)),
                },
            };
            Ok((column.to_owned(), policy))
        })
        .collect()
}

fn derived(section: &Section<'_>) -> Outcome<Vec<DerivedColumn>> {
    let name = format!("{} column", section.title_of());
    section.sections("column", &name, COLUMN)?.iter().map(column).collect()
}

fn column(section: &Section<'_>) -> Outcome<DerivedColumn> {
    let name = section.text("name", "name = \"NAME IN TABLEAU\"")?.to_owned();
    let ways = ["constant", "template", "coalesce", "lookup"].into_iter().chain(PARTS.iter().map(|part| part.0));
    let said: Vec<&str> = ways.filter(|way| section.value(way).is_some()).collect();
    let [way] = said[..] else {
        return Err(section
            .refuse("exactly one of 'constant', 'template', 'coalesce', 'lookup', 'year_of', 'quarter_of', 'month_of', 'day_of' and 'date_of' is expected here")
            .next("for instance template = \"{VendorID} - {Name}\""));
    };
    for (key, of) in [("values", "lookup"), ("otherwise", "lookup")] {
        if section.value(key).is_some() && way != of {
            return Err(section.bad(key, &format!("it belongs to '{of}'")).next("remove the key"));
        }
    }
    let part = PARTS.iter().find(|part| part.0 == way);
    let from = match way {
        "constant" => Derive::Constant(scalar(section, "constant", "constant = \"VALUE\"")?),
        "template" => Derive::Template(section.text("template", "template = \"{COLUMN}\"")?.to_owned()),
        "coalesce" => Derive::Coalesce(section.texts("coalesce")?),
        "lookup" => {
            let Some(table) = section.open_section("values")? else {
                return Err(section.missing("values", "values = { \"FROM\" = \"TO\" }"));
            };
            Derive::Lookup {
                column: section.text("lookup", "lookup = \"COLUMN\"")?.to_owned(),
                values: table
                    .entries()
                    .map(|(from, _)| Ok((from.to_owned(), scalar(&table, from, "\"FROM\" = \"TO\"")?)))
                    .collect::<Outcome<_>>()?,
                otherwise: match section.value("otherwise") {
                    Some(_) => Some(scalar(section, "otherwise", "otherwise = \"VALUE\"")?),
                    None => None,
                },
            }
        }
        key => Derive::Part {
            column: section.text(key, "the name of a date column")?.to_owned(),
            part: part.map_or(DatePart::Date, |part| part.1),
        },
    };
    let kind = match section.optional_text("type")? {
        Some(text) => text.parse().map_err(|why: String| section.bad("type", &why))?,
        None => part.map_or(ColumnType::Text, |part| part.2),
    };
    Ok(DerivedColumn { name, kind, from })
}

/// A value of any simple kind, as text. Unlike elsewhere an empty text is one.
fn scalar(section: &Section<'_>, key: &str, example: &str) -> Outcome<String> {
    let Some(value) = section.value(key) else { return Err(section.missing(key, example)) };
    let value = value.get_ref();
    let text = value
        .as_str()
        .map(str::to_owned)
        .or_else(|| value.as_bool().map(|value| value.to_string()))
        .or_else(|| value.as_integer().filter(|number| number.radix() == 10).map(|number| number.as_str().to_owned()))
        .or_else(|| value.as_float().map(|number| number.as_str().to_owned()));
    text.ok_or_else(|| section.bad(key, "a text, a number or a boolean is expected here").next(example))
}

pub(super) fn drift(section: &Section<'_>) -> Outcome<Drift> {
    let mut drift = Drift::default();
    let Some(table) = section.section("drift", &["new", "missing", "changed"])? else { return Ok(drift) };
    let wrong = |key: &str, other: &str, known: &str| {
        table.bad(key, &format!("'{other}' is no policy for columns")).next(format!("use {known}"))
    };
    if let Some(word) = table.optional_text("new")? {
        drift.new = match word {
            "ignore" => NewColumn::Ignore,
            "add" => NewColumn::Add,
            other => return Err(wrong("new", other, "\"ignore\" or \"add\"")),
        };
    }
    if let Some(word) = table.optional_text("missing")? {
        drift.missing = match word {
            "stop" => MissingColumn::Stop,
            "drop" => MissingColumn::Drop,
            "null" => MissingColumn::Null,
            other => return Err(wrong("missing", other, "\"stop\", \"drop\" or \"null\"")),
        };
    }
    if let Some(word) = table.optional_text("changed")? {
        drift.changed = match word {
            "accept" => ChangedType::Accept,
            "reject" => ChangedType::Reject,
            "stop" => ChangedType::Stop,
            other => return Err(wrong("changed", other, "\"accept\", \"reject\" or \"stop\"")),
        };
    }
    Ok(drift)
}
