//! What the server does with extracts, by Tableau's own engine: checking a file, and changing its rows.

use std::path::Path;

use kinetic_tableau_sync::hyper::{Connection, Engine, FileVersion, InstallOptions, find_or_install};
use serde_json::Value as Json;
use tokio::sync::OnceCell;
use tokio_postgres::SimpleQueryMessage;
use uuid::Uuid;

/// The engine, started with the first file.
#[derive(Debug, Default)]
pub(crate) struct Extracts {
    engine: OnceCell<Engine>,
}

/// The table of an extract: its schema, its name, its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    schema: String,
    table: String,
    columns: Vec<String>,
}

impl Found {
    fn in_database(&self, alias: &str) -> String {
        format!("{}.{}.{}", quoted(alias), quoted(&self.schema), quoted(&self.table))
    }
}

impl Extracts {
    async fn engine(&self) -> Result<&Engine, String> {
        let start = || async {
            let found = tokio::task::spawn_blocking(|| find_or_install(&InstallOptions::default())).await;
            let location = found.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            Engine::start(&location).await.map_err(|error| error.to_string())
        };
        self.engine.get_or_try_init(start).await
    }

    async fn connect(&self) -> Result<Connection, String> {
        self.engine().await?.connect().await.map_err(|error| error.to_string())
    }

    /// Says what is wrong with a file as an extract.
    pub(crate) async fn check(&self, path: &Path) -> Result<(), String> {
        let connection = self.connect().await?;
        connection.attach(path, "checked").await.map_err(|error| error.to_string())?;
        let found = look(&connection, "checked").await;
        connection.detach("checked").await.map_err(|error| error.to_string())?;
        found.map(|_| ())
    }

    /// Makes an extract of a Parquet file.
    pub(crate) async fn convert(&self, parquet: &Path, extract: &Path) -> Result<(), String> {
        let connection = self.connect().await?;
        let literal = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', "''"));
        connection.create_database(extract, FileVersion::V3).await.map_err(|error| error.to_string())?;
        connection.attach(extract, "made").await.map_err(|error| error.to_string())?;
        run(&connection, "CREATE SCHEMA \"made\".\"Extract\"").await?;
        let made = run(
            &connection,
            &format!(
                "CREATE TABLE \"made\".\"Extract\".\"Extract\" AS (SELECT * FROM external({}, format => 'parquet'))",
                literal(parquet)
            ),
        )
        .await;
        connection.detach("made").await.map_err(|error| error.to_string())?;
        made
    }

    /// Applies actions to an extract, all of them or none.
    pub(crate) async fn update(&self, extract: &Path, payload: Option<&Path>, actions: &[Json]) -> Result<(), String> {
        let copy = extract.with_extension(format!("{}.new", Uuid::new_v4().simple()));
        std::fs::copy(extract, &copy).map_err(|error| error.to_string())?;
        let changed = self.change(&copy, payload, actions).await;
        match changed {
            Ok(()) => std::fs::rename(&copy, extract).map_err(|error| error.to_string()),
            Err(error) => {
                let _ = std::fs::remove_file(&copy);
                Err(error)
            }
        }
    }

    async fn change(&self, copy: &Path, payload: Option<&Path>, actions: &[Json]) -> Result<(), String> {
        let connection = self.connect().await?;
        connection.attach(copy, "t").await.map_err(|error| error.to_string())?;
        let target = look(&connection, "t").await?;
        let source = match payload {
            Some(path) => {
                connection.attach(path, "s").await.map_err(|error| error.to_string())?;
                tables(&connection, "s").await?
            }
            None => Vec::new(),
        };
        run(&connection, "BEGIN").await?;
        for action in actions {
            for statement in statements(action, &target, &source)? {
                run(&connection, &statement).await?;
            }
        }
        run(&connection, "COMMIT").await?;
        if !source.is_empty() {
            connection.detach("s").await.map_err(|error| error.to_string())?;
        }
        connection.detach("t").await.map_err(|error| error.to_string())
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

async fn run(connection: &Connection, statement: &str) -> Result<(), String> {
    connection
        .client()
        .simple_query(statement)
        .await
        .map(|_| ())
        .map_err(|error| error.as_db_error().map_or_else(|| error.to_string(), |refusal| refusal.message().to_owned()))
}

async fn query(connection: &Connection, text: &str) -> Result<Vec<Vec<String>>, String> {
    let answers = connection.client().simple_query(text).await.map_err(|error| error.to_string())?;
    Ok(answers
        .iter()
        .filter_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|at| row.get(at).unwrap_or_default().to_owned()).collect())
            }
            _ => None,
        })
        .collect())
}

/// The only table of an attached extract.
async fn look(connection: &Connection, alias: &str) -> Result<Found, String> {
    let mut tables = tables(connection, alias).await?;
    match (tables.pop(), tables.len()) {
        (Some(only), 0) => Ok(only),
        (found, more) => Err(format!("The file has {} tables instead of one.", more + usize::from(found.is_some()))),
    }
}

/// All tables of an attached extract.
async fn tables(connection: &Connection, alias: &str) -> Result<Vec<Found>, String> {
    let alias = quoted(alias);
    let tables = query(
        connection,
        &format!(
            "SELECT n.nspname, c.relname FROM {alias}.pg_catalog.pg_class c JOIN {alias}.pg_catalog.pg_namespace n \
             ON c.relnamespace = n.oid WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg_%'"
        ),
    )
    .await?;
    let mut found = Vec::with_capacity(tables.len());
    for names in &tables {
        let [schema, table] = names.as_slice() else { return Err("A table has no name.".to_owned()) };
        found.push(described(connection, &alias, schema, table).await?);
    }
    Ok(found)
}

async fn described(connection: &Connection, alias: &str, schema: &str, table: &str) -> Result<Found, String> {
    let columns = query(
        connection,
        &format!(
            "SELECT a.attname FROM {alias}.pg_catalog.pg_attribute a JOIN {alias}.pg_catalog.pg_class c \
             ON a.attrelid = c.oid WHERE c.relname = '{}' AND a.attnum > 0 ORDER BY a.attnum",
            table.replace('\'', "''")
        ),
    )
    .await?;
    let columns = columns.into_iter().filter_map(|row| row.into_iter().next()).collect();
    Ok(Found { schema: schema.to_owned(), table: table.to_owned(), columns })
}

/// One action as SQL.
fn statements(action: &Json, target: &Found, sources: &[Found]) -> Result<Vec<String>, String> {
    let text = |name: &str| action.get(name).and_then(Json::as_str);
    let verb = text("action").ok_or("An action has no name.")?;
    let named = |tables: &[Found], side: &str| -> Result<Option<usize>, String> {
        let Some(table) = text(&format!("{side}-table")) else { return Ok(None) };
        let schema = text(&format!("{side}-schema"));
        let fits = |found: &Found| found.table == table && schema.is_none_or(|schema| schema == found.schema);
        let missing = || {
            let schema = schema.map(|schema| format!("\"{schema}\".")).unwrap_or_default();
            format!("410012 Specified table does not exist: {schema}\"{table}\".")
        };
        tables.iter().position(fits).map(Some).ok_or_else(missing)
    };
    named(std::slice::from_ref(target), "target")?.ok_or("The target-table is missing.")?;
    let source = named(sources, "source")?.and_then(|at| sources.get(at));
    let into = target.in_database("t");
    let condition = action.get("condition").map(|condition| sql(condition, target, source)).transpose()?;
    let wanted = || condition.clone().ok_or_else(|| format!("The action {verb} needs a condition."));
    if verb == "delete" && text("source-table").is_none() {
        return Ok(vec![format!("DELETE FROM {into} AS t WHERE {}", wanted()?)]);
    }
    let source = match source {
        Some(source) => source,
        None if sources.is_empty() => return Err("The action needs an upload.".to_owned()),
        None => return Err("The source-table is missing.".to_owned()),
    };
    let from = source.in_database("s");
    let unknown = source.columns.iter().find(|column| !target.columns.contains(column));
    if let Some(unknown) = unknown.filter(|_| verb != "delete") {
        return Err(format!("The column {unknown} does not exist in the target table."));
    }
    let columns: Vec<String> = source.columns.iter().map(|column| quoted(column)).collect();
    let columns = columns.join(", ");
    let insert = format!("INSERT INTO {into} ({columns}) SELECT {columns} FROM {from} AS s");
    let sets: Vec<String> = source.columns.iter().map(|column| format!("{0} = s.{0}", quoted(column))).collect();
    let update =
        |condition: &str| format!("UPDATE {into} AS t SET {} FROM {from} AS s WHERE {condition}", sets.join(", "));
    Ok(match verb {
        "insert" => vec![insert],
        "update" => vec![update(&wanted()?)],
        "upsert" => {
            let condition = wanted()?;
            let missing = format!("{insert} WHERE NOT EXISTS (SELECT 1 FROM {into} AS t WHERE {condition})");
            vec![update(&condition), missing]
        }
        "delete" => vec![format!("DELETE FROM {into} AS t USING {from} AS s WHERE {}", wanted()?)],
        "replace" => vec![format!("DELETE FROM {into}"), insert],
        other => return Err(format!("The action {other} is not known.")),
    })
}

/// A condition as SQL.
fn sql(condition: &Json, target: &Found, source: Option<&Found>) -> Result<String, String> {
    if condition.as_bool() == Some(true) {
        return Ok("true".to_owned());
    }
    let operator = condition.get("op").and_then(Json::as_str).ok_or("A condition has no operator.")?;
    if let "and" | "or" = operator {
        let parts = condition.get("args").and_then(Json::as_array).filter(|parts| !parts.is_empty());
        let parts = parts.ok_or("A condition joins nothing.")?;
        let parts = parts.iter().map(|part| sql(part, target, source)).collect::<Result<Vec<_>, _>>()?;
        return Ok(format!("({})", parts.join(&format!(" {operator} "))));
    }
    let column = |member: &str, alias: &str, found: Option<&Found>| -> Option<Result<String, String>> {
        let name = condition.get(member)?.as_str()?;
        let known = found.is_some_and(|found| found.columns.iter().any(|column| column == name));
        Some(if known {
            Ok(format!("{alias}.{}", quoted(name)))
        } else {
            Err(format!("The column {name} does not exist."))
        })
    };
    let constant = condition.get("const").map(literal);
    let sides = [column("target-col", "t", Some(target)), column("source-col", "s", source), constant];
    let sides = sides.into_iter().flatten().collect::<Result<Vec<_>, _>>()?;
    let [one, two] = sides.as_slice() else { return Err("A comparison needs two sides.".to_owned()) };
    Ok(match operator {
        "eq" => format!("{one} = {two}"),
        "neq" => format!("{one} <> {two}"),
        "gt" => format!("{one} > {two}"),
        "gte" => format!("{one} >= {two}"),
        "lt" => format!("{one} < {two}"),
        "lte" => format!("{one} <= {two}"),
        "is" => format!("{one} IS NOT DISTINCT FROM {two}"),
        "has" => format!("strpos({one}, {two}) > 0"),
        other => return Err(format!("The operator {other} is not known.")),
    })
}

fn literal(constant: &Json) -> Result<String, String> {
    let kind = constant.get("type").and_then(Json::as_str).ok_or("A constant has no type.")?;
    let value = constant.get("v").unwrap_or(&Json::Null);
    let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Ok(match kind {
        _ if value.is_null() => "NULL".to_owned(),
        "string" => format!("'{}'", plain.replace('\'', "''")),
        "datetime" => format!("TIMESTAMP '{}'", plain.replace('\'', "''")),
        "boolean" | "integer" | "double" if plain.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) => {
            plain
        }
        _ => return Err("A constant cannot be read.".to_owned()),
    })
}
