//! Reading entity sets: options, order, pages, single rows, children.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use axum::body::Body;
use axum::http::Response;

use super::Switches;
use super::answer::{Answer, Failure};
use super::database::Database;
use super::filter::{self, Dates, Filter};
use super::seed::Random;
use super::table::{Definition, Table};
use super::value::{Kind, Value};
use crate::faults::plain;

/// A set that is expanded, and its columns where some are asked for alone.
type Expanded = (String, Option<Vec<String>>);

/// The options of a query, decoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    select: Option<Vec<String>>,
    filter: Option<String>,
    order: Vec<(String, bool)>,
    expand: Vec<Expanded>,
    top: Option<usize>,
    skip: usize,
    /// Up to which row the client's limit goes, when it follows a link.
    end: Option<usize>,
    count: bool,
    /// What is no option: parameters of a BAQ.
    pub(crate) parameters: Vec<(String, String)>,
}

impl Options {
    pub(crate) fn read(pairs: &[(String, String)]) -> Result<Self, Failure> {
        let mut options = Self::default();
        let list = |text: &str| text.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>();
        let number = |text: &str| {
            text.parse::<usize>().map_err(|_| Failure::query(format!("'{text}' is no value for $top or $skip.")))
        };
        for (name, value) in pairs {
            match name.as_str() {
                "$select" => options.select = Some(list(value)),
                "$filter" => options.filter = Some(value.clone()),
                "$expand" => options.expand = expanded(value)?,
                "$top" => options.top = Some(number(value)?),
                "$skip" => options.skip = number(value)?,
                // A token of our own: where to go on, and where the client's limit is.
                "$skiptoken" => {
                    let (from, end) = value.split_once('-').unwrap_or((value, "0"));
                    let (from, end) = (number(from)?, number(end)?);
                    (options.skip, options.end) = (from, Some(end));
                }
                "$count" => options.count = value == "true",
                "$orderby" => {
                    for part in list(value) {
                        let (name, direction) = part.split_once(' ').unwrap_or((&part, "asc"));
                        let descending = match direction.trim() {
                            "asc" => false,
                            "desc" => true,
                            other => return Err(Failure::query(format!("Syntax error: '{other}' in $orderby."))),
                        };
                        options.order.push((name.to_owned(), descending));
                    }
                }
                other if other.starts_with('$') => {
                    return Err(Failure::query(format!("The query parameter '{other}' is not supported.")));
                }
                _ => options.parameters.push((name.clone(), value.clone())),
            }
        }
        Ok(options)
    }
}

/// What stays the same while one request is answered.
pub(crate) struct Reading<'a> {
    pub(crate) database: &'a Database,
    pub(crate) switches: &'a Switches,
    /// Counts requests, so that unordered answers differ.
    pub(crate) turn: u64,
    pub(crate) root: &'a str,
    /// The options that a link to the next page must repeat, encoded and with an `&` behind each.
    pub(crate) kept: String,
}

/// `PODetails`, `PODetails($select=POLine)`, and several of them.
fn expanded(text: &str) -> Result<Vec<Expanded>, Failure> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = rest.find([',', '(']).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        let (columns, behind) = match behind.strip_prefix("($select=") {
            Some(inner) => {
                let wrong = || Failure::query(format!("Syntax error in $expand: '{text}'."));
                let (columns, behind) = inner.split_once(')').ok_or_else(wrong)?;
                (Some(columns.split(',').map(|name| name.trim().to_owned()).collect()), behind)
            }
            None => (None, behind),
        };
        found.push((name.trim().to_owned(), columns));
        rest = match behind.strip_prefix(',') {
            Some(rest) => rest.trim(),
            None if behind.is_empty() => "",
            None => return Err(Failure::query(format!("Syntax error in $expand: '{text}'."))),
        };
    }
    Ok(found)
}

/// The rows of an expanded set, by what they share with the row above.
struct Children<'t> {
    table: &'t Table,
    /// The columns that are answered.
    columns: Vec<usize>,
    ours: Vec<usize>,
    below: HashMap<String, Vec<&'t [Value]>>,
}

/// The values in some places of a row as one text.
pub(crate) fn joined(row: &[Value], places: &[usize]) -> String {
    let parts = places.iter().map(|at| row.get(*at).map(ToString::to_string).unwrap_or_default());
    parts.collect::<Vec<_>>().join("\u{1f}")
}

impl Reading<'_> {
    fn dates(&self) -> Dates {
        Dates { form: self.switches.date_form, strict: self.switches.strict_dates }
    }

    /// A page of a table.
    pub(crate) fn page(&self, table: &Table, options: &Options) -> Answer {
        let definition = &table.definition;
        let columns = columns(definition, options.select.as_deref())?;
        let filter = match &options.filter {
            Some(text) => Some(filter::parse(text, definition, self.dates()).map_err(Failure::query)?),
            None => None,
        };
        let children = self.children(definition, &options.expand)?;
        let order = options
            .order
            .iter()
            .map(|(name, descending)| Ok((definition.column(name).map_err(Failure::query)?, *descending)))
            .collect::<Result<Vec<_>, Failure>>()?;
        let quirk = self.switches.empty_details && definition.set == "PODetails" && filter.is_some();
        let cap = self.switches.cap.unwrap_or(usize::MAX);
        let asked = options.end.map_or(options.top.unwrap_or(100), |end| end.saturating_sub(options.skip));
        let top = asked.min(cap);
        let (rows, total) = if quirk {
            (Vec::new(), 0)
        } else {
            self.select(table, filter.as_ref(), &order, options.skip, top, options.count)
        };
        let mut out = String::with_capacity(rows.len() * columns.len() * 24 + 128);
        let _ = write!(out, "{{\"@odata.context\":\"{}/$metadata#{}\"", self.root, definition.set);
        if options.count {
            let _ = write!(out, ",\"@odata.count\":{total}");
        }
        out.push_str(",\"value\":[");
        for (nth, row) in rows.iter().enumerate() {
            if nth > 0 {
                out.push(',');
            }
            self.row(&mut out, definition, &columns, row, &children);
        }
        out.push(']');
        if self.switches.next_links && options.skip + rows.len() < total {
            let next = options.skip + top;
            if self.switches.skip_tokens {
                // It goes as far as the client's own limit, as OData has it.
                if rows.len() < asked {
                    let end = options.skip + asked;
                    let _ =
                        write!(out, ",\"@odata.nextLink\":\"{}?{}$skiptoken={next}-{end}\"", definition.set, self.kept);
                }
            } else {
                let _ = write!(out, ",\"@odata.nextLink\":\"{}/{}?$skip={next}\"", self.root, definition.set);
            }
        }
        out.push('}');
        Ok(json_page(out))
    }

    /// One row by its positional key.
    pub(crate) fn single(&self, table: &Table, key: &[String], options: &Options) -> Answer {
        let definition = &table.definition;
        let columns = columns(definition, options.select.as_deref())?;
        let children = self.children(definition, &options.expand)?;
        let row =
            table.find(&key.join("\u{1f}")).and_then(|at| table.values(at)).ok_or_else(Failure::record_not_found)?;
        let mut out = String::new();
        self.row(&mut out, definition, &columns, row, &children);
        Ok(json_page(out))
    }

    fn select<'t>(
        &self,
        table: &'t Table,
        filter: Option<&Filter>,
        order: &[(usize, bool)],
        skip: usize,
        top: usize,
        count: bool,
    ) -> (Vec<&'t [Value]>, usize) {
        let fits = |row: &[Value]| filter.is_none_or(|filter| filter.fits(row));
        if let [(column, descending)] = order
            && *column == table.revision
        {
            // The index that every real server has, too: large tables are read by their row version.
            let (from, to) = filter.map_or((None, None), |filter| filter.bounds(table.revision));
            let range = table.by_revision(from.unwrap_or(i64::MIN), to.unwrap_or(i64::MAX - 1));
            let all: Box<dyn Iterator<Item = &'t [Value]> + '_> = if *descending {
                Box::new(range.rev().map(|(_, row)| row).filter(|row| fits(row)))
            } else {
                Box::new(range.map(|(_, row)| row).filter(|row| fits(row)))
            };
            if !count && !self.switches.next_links {
                return (all.skip(skip).take(top).collect(), usize::MAX);
            }
            let all: Vec<&[Value]> = all.collect();
            let total = all.len();
            return (all.into_iter().skip(skip).take(top).collect(), total);
        }
        let mut all: Vec<&[Value]> = table.all().map(|(_, row)| row).filter(|row| fits(row)).collect();
        if !order.is_empty() {
            all.sort_by(|one, two| {
                order.iter().fold(Ordering::Equal, |so_far, (column, descending)| {
                    so_far.then_with(|| {
                        let (one, two) = (one.get(*column), two.get(*column));
                        let by = one.zip(two).and_then(|(one, two)| one.compare(two)).unwrap_or(Ordering::Equal);
                        if *descending { by.reverse() } else { by }
                    })
                })
            });
        } else if self.switches.shuffle {
            // Without an order a database answers as it likes, and differently each time.
            let mut random = Random(self.turn);
            for at in (1..all.len()).rev() {
                let other = random.below(u32::try_from(at + 1).unwrap_or(u32::MAX)) as usize;
                all.swap(at, other);
            }
        }
        let total = all.len();
        (all.into_iter().skip(skip).take(top).collect(), total)
    }

    fn children(&self, definition: &Definition, expand: &[Expanded]) -> Result<Vec<Children<'_>>, Failure> {
        expand
            .iter()
            .map(|(name, wanted)| {
                if wanted.is_some() && !self.switches.nested_select {
                    return Err(Failure::query("The query option '$select' is not allowed within $expand.".to_owned()));
                }
                let unknown = || {
                    Failure::query(format!(
                        "Could not find a property named '{name}' on type 'Erp.{}'.",
                        definition.table
                    ))
                };
                let (set, pairs) = definition.children.iter().find(|(set, _)| set == name).ok_or_else(unknown)?;
                let table = self.database.table(set).ok_or_else(unknown)?;
                let (ours, its): (Vec<usize>, Vec<usize>) = pairs
                    .iter()
                    .filter_map(|(ours, its)| Some((definition.at(ours)?, table.definition.at(its)?)))
                    .unzip();
                let mut below: HashMap<String, Vec<&[Value]>> = HashMap::new();
                for (_, row) in table.all() {
                    below.entry(joined(row, &its)).or_default().push(row);
                }
                let columns = columns(&table.definition, wanted.as_deref())?;
                Ok(Children { table, columns, ours, below })
            })
            .collect()
    }

    fn row(
        &self,
        out: &mut String,
        definition: &Definition,
        columns: &[usize],
        row: &[Value],
        children: &[Children<'_>],
    ) {
        self.members(out, definition, columns, row);
        for Children { table, columns, ours, below } in children {
            // The last brace gives way to one more member.
            out.pop();
            let _ = write!(out, ",\"{}\":[", table.definition.set);
            for (nth, child) in below.get(&joined(row, ours)).into_iter().flatten().enumerate() {
                if nth > 0 {
                    out.push(',');
                }
                self.members(out, &table.definition, columns, child);
            }
            out.push_str("]}");
        }
    }

    fn members(&self, out: &mut String, definition: &Definition, columns: &[usize], row: &[Value]) {
        out.push('{');
        for (nth, (column, value)) in
            columns.iter().filter_map(|at| Some((definition.columns.get(*at)?, row.get(*at)?))).enumerate()
        {
            if nth > 0 {
                out.push(',');
            }
            let _ = write!(out, "\"{}\":", column.name);
            value.write_json(out, self.switches.date_form);
        }
        out.push('}');
    }
}

fn columns(definition: &Definition, select: Option<&[String]>) -> Result<Vec<usize>, Failure> {
    let Some(select) = select else { return Ok((0..definition.columns.len()).collect()) };
    let wanted = select.iter().map(|name| definition.column(name).map_err(Failure::query));
    let wanted: Vec<usize> = wanted.collect::<Result<_, _>>()?;
    let mut seen = HashSet::new();
    Ok(wanted.into_iter().filter(|at| seen.insert(*at)).collect())
}

fn json_page(text: String) -> Response<Body> {
    plain(200, "application/json; odata.metadata=minimal; charset=utf-8", text)
}

/// The entity data model of a service, as EDMX.
pub(crate) fn metadata(definitions: &[&Definition], actions: &[&str], facets: bool) -> String {
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<edmx:Edmx Version=\"4.0\" \
         xmlns:edmx=\"http://docs.oasis-open.org/odata/ns/edmx\"><edmx:DataServices>\
         <Schema Namespace=\"Erp\" xmlns=\"http://docs.oasis-open.org/odata/ns/edm\">",
    );
    for definition in definitions {
        let _ = write!(out, "<EntityType Name=\"{}\"><Key>", definition.table);
        for key in &definition.key {
            let _ = write!(out, "<PropertyRef Name=\"{key}\"/>");
        }
        out.push_str("</Key>");
        for column in &definition.columns {
            let required = definition.key.contains(&column.name);
            let kind = match column.kind {
                Kind::Text => "Edm.String",
                Kind::Int32 => "Edm.Int32",
                Kind::Int64 => "Edm.Int64",
                Kind::Decimal(..) => "Edm.Decimal",
                Kind::Bool => "Edm.Boolean",
                Kind::Date | Kind::Moment => "Edm.DateTimeOffset",
                Kind::Guid => "Edm.Guid",
            };
            let _ = write!(out, "<Property Name=\"{}\" Type=\"{kind}\"", column.name);
            if let (Kind::Decimal(precision, scale), true) = (column.kind, facets) {
                let _ = write!(out, " Precision=\"{precision}\" Scale=\"{scale}\"");
            }
            if required {
                out.push_str(" Nullable=\"false\"");
            }
            out.push_str("/>");
        }
        for (set, _) in &definition.children {
            // The set is named in the plural, the type of its rows is not.
            let Some(child) = definitions.iter().find(|child| child.set == *set) else { continue };
            let _ = write!(out, "<NavigationProperty Name=\"{set}\" Type=\"Collection(Erp.{})\"/>", child.table);
        }
        out.push_str("</EntityType>");
    }
    for action in actions {
        let _ = write!(out, "<Action Name=\"{action}\">");
        if *action == "GetRows" {
            for definition in definitions {
                let _ = write!(out, "<Parameter Name=\"whereClause{}\" Type=\"Edm.String\"/>", definition.table);
            }
            out.push_str("<Parameter Name=\"pageSize\" Type=\"Edm.Int32\"/>");
            out.push_str("<Parameter Name=\"absolutePage\" Type=\"Edm.Int32\"/>");
        }
        out.push_str("</Action>");
    }
    out.push_str("<EntityContainer Name=\"Container\">");
    for definition in definitions {
        let _ = write!(out, "<EntitySet Name=\"{}\" EntityType=\"Erp.{}\"/>", definition.set, definition.table);
    }
    out.push_str("</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>");
    out
}
