//! The table that rows land in: as it is, and what has to be done to it so that it takes the rows of a load.

use std::collections::BTreeMap;

use tokio_postgres::Client;
use tokio_postgres::types::{Oid, Type};

use super::Deletes;
use super::failure::Trouble;
use super::names::{self, DELETED, SYNCED, Schemas, Wanted, config};
use crate::destination::{DestinationError, DestinationErrorKind, LoadKind};
use crate::store::postgres::quoted;

/// A table as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) oid: Oid,
    /// A table of rows, not a view or anything else.
    is_table: bool,
    /// By name: the type as Postgres spells it, and whether it refuses null.
    columns: BTreeMap<String, (String, bool)>,
    /// The constraint and its columns in order.
    primary: Option<(String, Vec<String>)>,
}

impl Found {
    pub(super) fn has(&self, column: &str) -> bool {
        self.columns.contains_key(column)
    }
}

/// Looks at a table; none when there is nothing of that name.
pub(super) async fn find(client: &Client, schemas: &Schemas, name: &str) -> Result<Option<Found>, Trouble> {
    let names = [(&schemas.tables as _, Type::TEXT), (&name as _, Type::TEXT)];
    let query = "SELECT c.oid, c.relkind IN ('r', 'p') FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2";
    let Some(row) = client.query_typed_opt(query, &names).await? else { return Ok(None) };
    let (oid, is_table): (Oid, bool) = (row.try_get(0)?, row.try_get(1)?);
    let mut found = Found { oid, is_table, ..Found::default() };
    let query = "SELECT attname::text, pg_catalog.format_type(atttypid, atttypmod), attnotnull FROM pg_catalog.pg_attribute \
                 WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped";
    for row in client.query_typed(query, &[(&oid, Type::OID)]).await? {
        found.columns.insert(row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?));
    }
    let query = "SELECT k.conname::text, array_agg(a.attname::text ORDER BY p.place) FROM pg_catalog.pg_constraint k \
                 CROSS JOIN unnest(k.conkey) WITH ORDINALITY AS p(number, place) \
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = p.number \
                 WHERE k.conrelid = $1 AND k.contype = 'p' GROUP BY k.conname";
    if let Some(row) = client.query_typed_opt(query, &[(&oid, Type::OID)]).await? {
        found.primary = Some((row.try_get(0)?, row.try_get(1)?));
    }
    Ok(Some(found))
}

/// Somebody else's table, which nothing may land in.
pub(super) fn foreign(schemas: &Schemas, name: &str) -> DestinationError {
    let table = schemas.table(name);
    config(format!("there is a {table} that was not made by this program"))
        .with_hint("land under another `datasource`, or rename or drop what is there")
}

/// What has to be done to a table, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) statements: Vec<String>,
    /// Columns of ours that are mapped no more: they stay, and hold null.
    pub(super) retired: Vec<String>,
}

/// What a load needs of its table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need<'a> {
    pub(super) columns: &'a [Wanted],
    /// The key columns in order.
    pub(super) keys: &'a [&'a str],
    pub(super) kind: LoadKind,
    pub(super) deletes: Deletes,
}

/// What has to be done to a table so that it takes these rows. `made` are the columns that we have ever made there.
///
/// Only what loses nothing is done to a table with rows. Where that is not enough a full load replaces all of them, unless deletes are
/// soft: then the table holds rows that nobody could bring back.
pub(super) fn change(
    schemas: &Schemas,
    name: &str,
    found: Option<&Found>,
    made: &[String],
    need: Need<'_>,
) -> Result<Change, DestinationError> {
    let Need { columns: wanted, keys, kind, deletes } = need;
    let table = schemas.table(name);
    let key_list = keys.iter().map(|key| quoted(key)).collect::<Vec<_>>().join(", ");
    let Some(found) = found else {
        let mut columns: Vec<String> = wanted.iter().map(definition).collect();
        columns.push(format!("{} timestamptz NOT NULL", quoted(SYNCED)));
        if deletes == Deletes::Soft {
            columns.push(format!("{} timestamptz", quoted(DELETED)));
        }
        columns.push(format!("PRIMARY KEY ({key_list})"));
        let create = format!("CREATE TABLE {table} ({})", columns.join(", "));
        return Ok(Change { statements: vec![create], retired: Vec::new() });
    };
    if !found.is_table {
        return Err(foreign(schemas, name));
    }
    let mut change = Change::default();
    let mut rebuilt: Vec<String> = Vec::new();
    let mut unfit: Vec<String> = Vec::new();
    let mut alter = |what: String| change.statements.push(format!("ALTER TABLE {table} {what}"));
    let own_key = found.primary.as_ref().is_some_and(|(_, columns)| columns.iter().eq(keys));
    if !own_key {
        unfit.push("its primary key".to_owned());
        if let Some((constraint, _)) = &found.primary {
            rebuilt.push(format!("DROP CONSTRAINT {}", quoted(constraint)));
        }
    }
    for column in wanted {
        let name = quoted(&column.name);
        let Some((spelled, required)) = found.columns.get(&column.name) else {
            let add = format!("ADD COLUMN {}", definition(column));
            if column.key {
                rebuilt.push(add);
            } else {
                alter(add);
            }
            continue;
        };
        if *required && !column.key {
            // It was part of the key once.
            let drop = format!("ALTER COLUMN {name} DROP NOT NULL");
            if own_key { alter(drop) } else { rebuilt.push(drop) }
        }
        let kind = names::spelled(column.kind);
        if *spelled == kind {
            continue;
        }
        if names::read(spelled).is_some_and(|held| names::widens(held, column.kind)) {
            alter(format!("ALTER COLUMN {name} TYPE {kind}"));
        } else {
            unfit.push(format!("{} ({spelled}, not {kind})", column.name));
            rebuilt.push(format!("ALTER COLUMN {name} TYPE {kind} USING NULL"));
        }
    }
    for column in made.iter().filter(|made| found.has(made) && !wanted.iter().any(|wanted| wanted.name == **made)) {
        change.retired.push(column.clone());
        if found.columns.get(column).is_some_and(|(_, required)| *required) {
            rebuilt.push(format!("ALTER COLUMN {} DROP NOT NULL", quoted(column)));
        }
    }
    if !own_key {
        rebuilt.push(format!("ADD PRIMARY KEY ({key_list})"));
    }
    let mut alter = |what: String| change.statements.push(format!("ALTER TABLE {table} {what}"));
    if !found.has(SYNCED) {
        alter(format!("ADD COLUMN {} timestamptz NOT NULL DEFAULT now()", quoted(SYNCED)));
        alter(format!("ALTER COLUMN {} DROP DEFAULT", quoted(SYNCED)));
    }
    if deletes == Deletes::Soft && !found.has(DELETED) {
        alter(format!("ADD COLUMN {} timestamptz", quoted(DELETED)));
    }
    if unfit.is_empty() {
        rebuilt.into_iter().for_each(alter);
    } else if kind == LoadKind::Delta {
        let message = format!("staging: {table} is not as it was left: {}", unfit.join(", "));
        return Err(DestinationError::new(DestinationErrorKind::Rejected, message)
            .with_hint("run again: a full load follows, which puts it right"));
    } else if deletes == Deletes::Soft {
        let why =
            format!("{table} keeps deleted rows, and cannot be made to fit without losing them: {}", unfit.join(", "));
        return Err(config(why).with_hint("rename the table or drop it; the next run makes it anew"));
    } else {
        change.statements.insert(0, format!("DELETE FROM {table}"));
        change.statements.extend(rebuilt.into_iter().map(|what| format!("ALTER TABLE {table} {what}")));
    }
    Ok(change)
}

fn definition(column: &Wanted) -> String {
    let required = if column.key { " NOT NULL" } else { "" };
    format!("{} {}{required}", quoted(&column.name), names::spelled(column.kind))
}
