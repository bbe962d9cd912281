//! Reading an extract back, to show and to compare it.

use std::path::Path;

use tokio_postgres::SimpleQueryMessage;

use super::engine::{Connection, Engine};
use super::error::{HyperError, HyperErrorKind};
use super::quoted;

/// Name under which the file is open in the engine.
const ALIAS: &str = "read";

/// A column of an extract.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExtractColumn {
    /// Its name.
    pub name: String,
    /// Its type in the engine's words, for instance `numeric(18,3)`.
    pub kind: String,
    /// Whether it can be null.
    pub nullable: bool,
}

/// Reads the only table of an extract.
///
/// The engine locks the file while it is open: read a copy where somebody else may want it.
#[derive(Debug)]
pub struct ExtractReader {
    connection: Connection,
    table: String,
    columns: Vec<ExtractColumn>,
}

impl ExtractReader {
    /// Opens an extract.
    ///
    /// # Errors
    /// [`HyperErrorKind::Sql`] when it is no extract, [`HyperErrorKind::Count`] when it has not exactly one table.
    pub async fn open(engine: &Engine, path: impl AsRef<Path>) -> Result<Self, HyperError> {
        let connection = engine.connect().await?;
        connection.attach(path.as_ref(), ALIAS).await?;
        let tables = texts(
            &connection,
            &format!(
                "SELECT n.nspname, c.relname FROM {0}.pg_catalog.pg_class c \
                 JOIN {0}.pg_catalog.pg_namespace n ON c.relnamespace = n.oid \
                 WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg_%' AND n.nspname <> 'information_schema'",
                quoted(ALIAS)
            ),
        )
        .await?;
        let [only] = tables.as_slice() else {
            let message = format!("the extract has {} tables instead of one", tables.len());
            return Err(HyperError::new(HyperErrorKind::Count, message));
        };
        let name = |at: usize| only.get(at).cloned().flatten().unwrap_or_default();
        let (schema, table) = (name(0), name(1));
        let columns = texts(
            &connection,
            &format!(
                "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text \
                 FROM {0}.pg_catalog.pg_attribute a JOIN {0}.pg_catalog.pg_class c ON a.attrelid = c.oid \
                 WHERE c.relname = '{1}' AND a.attnum > 0 ORDER BY a.attnum",
                quoted(ALIAS),
                table.replace('\'', "''")
            ),
        )
        .await?;
        let columns = columns
            .into_iter()
            .filter_map(|row| match <[Option<String>; 3]>::try_from(row) {
                Ok([Some(name), Some(kind), required]) => {
                    Some(ExtractColumn { name, kind, nullable: required.as_deref() != Some("true") })
                }
                _ => None,
            })
            .collect();
        let table = format!("{}.{}.{}", quoted(ALIAS), quoted(&schema), quoted(&table));
        Ok(Self { connection, table, columns })
    }

    /// Its columns, in their order.
    pub fn columns(&self) -> &[ExtractColumn] {
        &self.columns
    }

    /// How many rows it has.
    ///
    /// # Errors
    /// When the engine has died.
    pub async fn row_count(&self) -> Result<u64, HyperError> {
        let rows = texts(&self.connection, &format!("SELECT count(*) FROM {}", self.table)).await?;
        let count =
            rows.first().and_then(|row| row.first()).and_then(Option::as_deref).and_then(|text| text.parse().ok());
        count.ok_or_else(|| HyperError::new(HyperErrorKind::Sql, "the extract engine gave no number"))
    }

    /// All rows as text, ordered by the given columns: decimals with all digits of their scale, dates as `2024-05-22`, timestamps as
    /// `2024-05-22 08:00:00.5`, truth values as `true` and `false`. They are all in memory at once.
    ///
    /// # Errors
    /// [`HyperErrorKind::Sql`] when a column does not exist.
    pub async fn rows_as_text(&self, order_by: &[&str]) -> Result<Vec<Vec<Option<String>>>, HyperError> {
        let list: Vec<String> = self.columns.iter().map(|column| format!("{}::text", quoted(&column.name))).collect();
        let mut query = format!("SELECT {} FROM {}", list.join(", "), self.table);
        if !order_by.is_empty() {
            let order: Vec<String> = order_by.iter().map(|name| quoted(name)).collect();
            query = format!("{query} ORDER BY {}", order.join(", "));
        }
        texts(&self.connection, &query).await
    }

    /// Closes the extract.
    ///
    /// # Errors
    /// When the engine has died.
    pub async fn close(self) -> Result<(), HyperError> {
        self.connection.detach(ALIAS).await
    }
}

async fn texts(connection: &Connection, query: &str) -> Result<Vec<Vec<Option<String>>>, HyperError> {
    let answers =
        connection.client().simple_query(query).await.map_err(|error| HyperError::sql("reading the extract", error))?;
    Ok(answers
        .iter()
        .filter_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(ToOwned::to_owned)).collect()),
            _ => None,
        })
        .collect())
}
