//! `GetRows` and `GetList`: one where clause a table, in the old query language and not OData's, and pages by number.

use std::collections::HashSet;

use serde_json::{Map, Value as Json, json};

use super::Switches;
use super::answer::{Answer, Failure, ok};
use super::database::Database;
use super::filter::{self, Dates};
use super::methods;
use super::odata::joined;
use super::table::Table;
use super::value::Value;

/// The rows of the main set that meet its clause, a page of them, and all rows below these.
pub(crate) fn get_rows(database: &Database, switches: &Switches, sets: &[String], body: &Json, list: bool) -> Answer {
    let tables: Vec<&Table> = sets.iter().filter_map(|set| database.table(set)).collect();
    let (main, others) = tables.split_first().ok_or_else(|| Failure::unknown("the service"))?;
    let name = if list { "whereClause".to_owned() } else { clause_name(main) };
    let mut rows = meeting(main, clause(body, &name)?, switches)?;
    let size = number(body, "pageSize")?;
    // Pages are counted from 0 by some clients and from 1 by others; unless switched, both are taken for the first.
    let page = number(body, "absolutePage")?;
    let page = if switches.pages_from_zero { page + 1 } else { page.max(1) };
    let more = size > 0 && rows.len() > size.saturating_mul(page);
    if size > 0 {
        rows = rows.into_iter().skip(size.saturating_mul(page - 1)).take(size).collect();
    }
    let mut tableset = Map::new();
    let array = |table: &Table, rows: &[&[Value]]| {
        Json::Array(rows.iter().map(|row| methods::row_json(switches, table, row)).collect())
    };
    tableset.insert(main.definition.table.clone(), array(main, &rows));
    for table in others.iter().filter(|_| !list) {
        let children = meeting(table, clause(body, &clause_name(table))?, switches)?;
        let Some((_, pairs)) = main.definition.children.iter().find(|(set, _)| *set == table.definition.set) else {
            continue;
        };
        let (ours, its): (Vec<usize>, Vec<usize>) =
            pairs.iter().filter_map(|(ours, its)| Some((main.definition.at(ours)?, table.definition.at(its)?))).unzip();
        let parents: HashSet<String> = rows.iter().map(|row| joined(row, &ours)).collect();
        let below: Vec<&[Value]> = children.into_iter().filter(|row| parents.contains(&joined(row, &its))).collect();
        tableset.insert(table.definition.table.clone(), array(table, &below));
    }
    tableset.insert("ExtensionTables".to_owned(), json!([]));
    Ok(ok(&json!({"returnObj": tableset, "parameters": {"morePages": more}})))
}

fn clause_name(table: &Table) -> String {
    format!("whereClause{}", table.definition.table)
}

/// Every clause must be sent; a blank one means all rows.
fn clause<'a>(body: &'a Json, name: &str) -> Result<&'a str, Failure> {
    body.get(name).and_then(Json::as_str).ok_or_else(|| missing(name))
}

fn number(body: &Json, name: &str) -> Result<usize, Failure> {
    let number = body.get(name).and_then(Json::as_u64).ok_or_else(|| missing(name))?;
    usize::try_from(number).map_err(|_| missing(name))
}

fn missing(name: &str) -> Failure {
    Failure::business(format!("Parameter {name} not found in input object"))
}

fn meeting<'t>(table: &'t Table, clause: &str, switches: &Switches) -> Result<Vec<&'t [Value]>, Failure> {
    let (condition, order) = translated(clause);
    let mut rows: Vec<&[Value]> = table.all().map(|(_, row)| row).collect();
    if !condition.is_empty() {
        let dates = Dates { form: switches.date_form, strict: false };
        let filter = filter::parse(&condition, &table.definition, dates).map_err(Failure::business)?;
        rows.retain(|row| filter.fits(row));
    }
    let order = order
        .iter()
        .map(|name| table.definition.column(name).map_err(Failure::business))
        .collect::<Result<Vec<_>, _>>()?;
    rows.sort_by(|one, two| {
        let by = |at: &usize| one.get(*at).zip(two.get(*at)).and_then(|(one, two)| one.compare(two));
        order.iter().filter_map(by).find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    });
    Ok(rows)
}

/// A where clause in OData's words, and the columns behind its `BY`.
fn translated(clause: &str) -> (String, Vec<String>) {
    let mut words: Vec<String> = Vec::new();
    let mut rest = clause;
    while let Some((before, quoted)) = rest.split_once('\'') {
        plain_words(before, &mut words);
        let (text, behind) = unquoted(quoted);
        // Dates stand in quotes here and not in a filter.
        let is_date = text.len() >= 10
            && text.bytes().take(10).enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        words.push(if is_date { text } else { format!("'{}'", text.replace('\'', "''")) });
        rest = behind;
    }
    plain_words(rest, &mut words);
    let order = match words.iter().position(|word| word == "by") {
        Some(at) => words.split_off(at).into_iter().skip(1).collect(),
        None => Vec::new(),
    };
    (words.join(" "), order)
}

/// The text up to the closing quote, in which doubled quotes stand for one, and what is behind it.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut rest = text;
    while let Some((piece, behind)) = rest.split_once('\'') {
        value.push_str(piece);
        match behind.strip_prefix('\'') {
            Some(behind) => {
                value.push('\'');
                rest = behind;
            }
            None => return (value, behind),
        }
    }
    value.push_str(rest);
    (value, "")
}

fn plain_words(text: &str, words: &mut Vec<String>) {
    let mut spaced = text.replace("<>", " ne ").replace(">=", " ge ").replace("<=", " le ");
    for (sign, word) in [("=", " eq "), (">", " gt "), ("<", " lt "), ("(", " ( "), (")", " ) "), (",", " ")] {
        spaced = spaced.replace(sign, word);
    }
    words.extend(spaced.split_whitespace().map(|word| match word.to_ascii_uppercase().as_str() {
        known @ ("AND" | "OR" | "NOT" | "BY") => known.to_ascii_lowercase(),
        _ => word.to_owned(),
    }));
}

#[cfg(test)]
mod tests {
    use super::translated;

    #[test]
    fn where_clauses_become_filters_and_leave_quoted_text_alone() {
        let (condition, order) =
            translated("SysRevID > 555 and Name <> 'a = B AND c' OR (Inactive=false) BY SysRevID, Name");
        assert_eq!(condition, "SysRevID gt 555 and Name ne 'a = B AND c' or ( Inactive eq false )");
        assert_eq!(order, ["SysRevID", "Name"]);
        assert_eq!(translated("  "), (String::new(), Vec::new()));
        assert_eq!(translated("PartNum = 'O''Hara' BY PartNum").0, "PartNum eq 'O''Hara'");
        assert_eq!(translated("DueDate >= '2024-05-22'").0, "DueDate ge 2024-05-22");
    }
}
