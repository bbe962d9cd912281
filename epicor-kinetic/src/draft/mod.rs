//! Writing the Kinetic way: a tableset from the server, changed row by row, and given back with marks.
//!
//! `GetNew…` or `GetByID` bring the rows, `Change…` methods let the server work out what depends on a change, and
//! `Update`, `UpdateMaster` or `UpdateExt` save. Every call is a transaction of its own, and none is sent again once
//! its answer is unknown.

mod outcome;
mod tableset;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

pub use outcome::{MethodOutputs, UpdateExt, UpdateMaster, UpdateMasterOutcome};
pub use tableset::{Row, RowMod, Tableset};

use crate::error::{Delivery, Error, ErrorKind, Fate, Result};
use crate::service::{MethodResponse, Service};

/// A tableset in the making. Made by [`Service::get_new`], [`Service::get_by_id`] and [`Service::draft`].
///
/// Rows are marked by what is done to them: [`Draft::edit`] marks `U` and keeps what the row was before, which `Update`
/// sends along; rows from [`Draft::get_new`] are marked `A` by the server; [`Draft::remove`] marks `D`.
///
/// After a save the draft holds what the server has saved, with the new `SysRevID`s, and can be changed further. After
/// a refusal nothing was saved and the draft is as it was, to be corrected. When the answer was lost, nobody knows;
/// then the draft refuses further saves until [`Draft::known_unsaved`] says that somebody has looked.
#[derive(Clone)]
#[must_use = "a draft changes nothing until it is saved"]
pub struct Draft {
    service: Service,
    tables: Vec<Table>,
    state: State,
    before_images: bool,
}

#[derive(Clone)]
struct Table {
    name: Box<str>,
    entries: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    row: Row,
    before: Option<Row>,
    mark: RowMod,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// What is here is what the server has, and what was changed since.
    Known,
    /// A save was sent and its answer was lost.
    InDoubt,
    /// Something was saved, but not all of it came back.
    Outdated,
}

/// A row of a [`Draft`] in the making. Made by [`Draft::edit`].
#[derive(Debug)]
pub struct RowEdit<'a> {
    entry: &'a mut Entry,
}

impl Service {
    /// Calls a `GetNew…` method: a draft with one new row, filled by the server with what it presets. Nothing is saved.
    ///
    /// # Errors
    /// As [`MethodCall::send`](crate::MethodCall::send).
    pub async fn get_new(&self, method: &str, parameters: &(impl Serialize + Sync + ?Sized)) -> Result<Draft> {
        let mut draft = self.draft(Tableset::new());
        draft.get_new(method, parameters).await?;
        Ok(draft)
    }

    /// Calls `GetByID`: a draft with the rows of one record. Parameters are the keys by their names in the method, for
    /// example `vendorNum`; the company is that of the client.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such record, also when the server answers with empty tables; otherwise
    /// as [`MethodCall::send`](crate::MethodCall::send).
    pub async fn get_by_id(&self, keys: &(impl Serialize + Sync + ?Sized)) -> Result<Draft> {
        self.get_by("GetByID", keys).await
    }

    /// Calls another method that answers one record, such as `GetByVendID`, `GetByCustID` or `GetBySysRowID`.
    ///
    /// # Errors
    /// As [`Service::get_by_id`].
    pub async fn get_by(&self, method: &str, keys: &(impl Serialize + Sync + ?Sized)) -> Result<Draft> {
        let response = self.read(method, keys).await?;
        let tableset: Tableset = response.return_obj_as::<Option<Tableset>>()?.unwrap_or_default();
        if tableset.is_empty() {
            return Err(Error::new(
                ErrorKind::NotFound,
                Delivery::Answered,
                format!("call {}.{method}", self.name()),
                "no such record",
            )
            .with_hint("check the key values")
            .with_fate(Fate::Final));
        }
        Ok(self.draft(tableset))
    }

    /// A draft over rows of the caller's own, with the marks that they have.
    pub fn draft(&self, tableset: Tableset) -> Draft {
        let mut draft = Draft { service: self.clone(), tables: Vec::new(), state: State::Known, before_images: true };
        draft.absorb(tableset);
        draft
    }

    /// Calls `UpdateExt` with rows of the caller's own: key columns, what changes, and the mark. Answers the rows as
    /// they were saved. Never sent again once its answer is unknown.
    ///
    /// # Errors
    /// As [`Draft::update_ext`].
    pub async fn update_ext(&self, rows: &Tableset, options: &UpdateExt) -> Result<Tableset> {
        let response = self.method("UpdateExt").raw_parameters(options.body(rows)?).send().await?;
        Ok(response.parameter_as::<Option<Tableset>>("ds")?.unwrap_or_default())
    }

    /// Calls `DeleteByID`. Parameters are the keys by their names in the method. Never sent again once its answer is
    /// unknown.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such record, [`ErrorKind::Rejected`] when a business rule keeps it.
    pub async fn delete_by_id(&self, keys: &(impl Serialize + Sync + ?Sized)) -> Result<()> {
        self.call("DeleteByID", keys).await.map(drop)
    }
}

impl Draft {
    /// Whether `Update` and `Change…` methods get what changed rows were before, beside what they are now; as Kinetic's
    /// own client sends them, since some rules compare the two. On unless switched off.
    pub fn before_images(mut self, send: bool) -> Self {
        self.before_images = send;
        self
    }

    /// The names of the tables.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().map(|table| table.name.as_ref())
    }

    /// The rows of a table that are not to be deleted.
    pub fn rows<'a>(&'a self, table: &str) -> impl Iterator<Item = &'a Row> {
        let entries = self.tables.iter().find(|candidate| *candidate.name == *table);
        let entries = entries.into_iter().flat_map(|table| &table.entries);
        entries.filter(|entry| entry.mark != RowMod::Deleted).map(|entry| &entry.row)
    }

    /// The `nth` row of a table, counted from zero.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when there is none.
    pub fn row(&self, table: &str, nth: usize) -> Result<&Row> {
        self.rows(table).nth(nth).ok_or_else(|| self.no_row(table, nth))
    }

    /// The `nth` row of a table as `T`, for example one of the typed rows of this crate.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when there is none, [`ErrorKind::Decode`] when it does not fit.
    pub fn row_as<T: DeserializeOwned>(&self, table: &str, nth: usize) -> Result<T> {
        self.row(table, nth)?.decode()
    }

    /// The `nth` row of a table to be changed.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when there is none.
    pub fn edit(&mut self, table: &str, nth: usize) -> Result<RowEdit<'_>> {
        if self.row(table, nth).is_err() {
            return Err(self.no_row(table, nth));
        }
        let entries = self.tables.iter_mut().find(|candidate| *candidate.name == *table);
        let entry = entries
            .into_iter()
            .flat_map(|table| &mut table.entries)
            .filter(|entry| entry.mark != RowMod::Deleted)
            .nth(nth)
            .ok_or_else(|| Error::config("edit draft", "there is no such row"))?;
        Ok(RowEdit { entry })
    }

    /// Marks the `nth` row of a table for deletion; a row that was never saved just goes.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when there is none.
    pub fn remove(&mut self, table: &str, nth: usize) -> Result<()> {
        let missing = self.no_row(table, nth);
        let table = self.tables.iter_mut().find(|candidate| *candidate.name == *table);
        let Some(table) = table else { return Err(missing) };
        let at = table.entries.iter().enumerate().filter(|(_, entry)| entry.mark != RowMod::Deleted).nth(nth);
        let Some((at, entry)) = at else { return Err(missing) };
        if entry.mark == RowMod::Added {
            table.entries.remove(at);
        } else if let Some(entry) = table.entries.get_mut(at) {
            // What is deleted is the row as it was read.
            if let Some(before) = entry.before.take() {
                entry.row = before;
            }
            entry.mark = RowMod::Deleted;
        }
        Ok(())
    }

    /// Whether there is anything to save.
    pub fn is_changed(&self) -> bool {
        self.entries().any(|entry| entry.mark != RowMod::Unchanged)
    }

    /// Whether a save was sent whose answer was lost.
    pub fn is_in_doubt(&self) -> bool {
        self.state == State::InDoubt
    }

    /// Says that the lost save has not happened, so that the draft may be saved again. Look first: read the record
    /// again by its key, or search a new one by what it is known by, such as `VendorID` or vendor and `InvoiceNum`.
    pub fn known_unsaved(&mut self) {
        if self.state == State::InDoubt {
            self.state = State::Known;
        }
    }

    /// The rows as `Update` would get them.
    pub fn tableset(&self) -> Tableset {
        let table = |table: &Table| {
            let rows = table.entries.iter().flat_map(|entry| {
                let before = entry.before.as_ref().filter(|_| self.before_images && entry.mark == RowMod::Updated);
                let before = before.map(|row| row.clone().marked(RowMod::Unchanged));
                before.into_iter().chain([entry.row.clone().marked(entry.mark)])
            });
            (table.name.clone(), rows.collect())
        };
        Tableset::of_tables(self.tables.iter().map(table).collect())
    }

    /// The changed rows, each once, as `UpdateExt` would get them.
    pub fn changes(&self) -> Tableset {
        let mut changes = Tableset::new();
        for table in &self.tables {
            for entry in table.entries.iter().filter(|entry| entry.mark != RowMod::Unchanged) {
                changes.push(&table.name, entry.row.clone().marked(entry.mark));
            }
        }
        changes
    }

    /// Calls another `GetNew…` method with the rows so far: the server adds one, marked as new. Nothing is saved.
    ///
    /// # Errors
    /// As [`MethodCall::send`](crate::MethodCall::send).
    pub async fn get_new(
        &mut self,
        method: &str,
        parameters: &(impl Serialize + Sync + ?Sized),
    ) -> Result<MethodOutputs> {
        self.exchange(method, parameters, true).await
    }

    /// Calls a `Change…` or `OnChange…` method with the rows so far: the server works out what depends on the change.
    /// Nothing is saved, so that it is sent again when its answer was lost. Skipping these methods saves other rows
    /// than the screen would.
    ///
    /// Such a method may ask something instead of failing; see [`MethodOutputs::messages`].
    ///
    /// # Errors
    /// As [`MethodCall::send`](crate::MethodCall::send).
    pub async fn change(
        &mut self,
        method: &str,
        parameters: &(impl Serialize + Sync + ?Sized),
    ) -> Result<MethodOutputs> {
        self.exchange(method, parameters, true).await
    }

    /// Calls any other method with the rows so far. It may save something: it is never sent again once its answer is
    /// unknown.
    ///
    /// # Errors
    /// As [`MethodCall::send`](crate::MethodCall::send).
    pub async fn call(&mut self, method: &str, parameters: &(impl Serialize + Sync + ?Sized)) -> Result<MethodOutputs> {
        self.may_save()?;
        self.state = State::InDoubt;
        let outputs = self.exchange(method, parameters, false).await;
        self.state = State::Known;
        if let Err(error) = &outputs {
            self.note(error);
        }
        outputs
    }

    /// Calls `Update`: saves the marked rows. Never sent again once its answer is unknown.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when somebody else has changed a row since it was read: read it again and repeat the
    /// change. [`ErrorKind::Rejected`] when a business rule refused; the draft can be corrected and saved again.
    /// [`ErrorKind::Config`] when there is nothing to save, or when an earlier save is in doubt.
    pub async fn update(&mut self) -> Result<()> {
        let body = parameters_with(&self.tableset(), &())?;
        self.save("Update", body).await.map(drop)
    }

    /// Calls `UpdateExt`: saves the marked rows, each sent once and without what it was before.
    ///
    /// # Errors
    /// As [`Draft::update`]. When the server was told to go on after errors, some rows may have been saved although
    /// this is an error; the draft refuses further saves then.
    pub async fn update_ext(&mut self, options: &UpdateExt) -> Result<()> {
        let body = options.body(&self.changes())?;
        let saved = self.save("UpdateExt", body).await;
        if saved.as_ref().is_err_and(|error| error.kind() == ErrorKind::Rejected) && options.continues() {
            self.state = State::Outdated;
        }
        saved.map(drop)
    }

    /// Calls `UpdateMaster`, the save of AP invoices.
    ///
    /// # Errors
    /// As [`Draft::update`]; [`ErrorKind::Rejected`] also when the server asks something instead of saving.
    pub async fn update_master(&mut self, inputs: &UpdateMaster) -> Result<UpdateMasterOutcome> {
        let body = inputs.body(&self.tableset())?;
        Ok(UpdateMasterOutcome::read(&self.save("UpdateMaster", body).await?))
    }

    async fn save(&mut self, method: &str, body: Vec<u8>) -> Result<MethodResponse> {
        self.may_save()?;
        if !self.is_changed() {
            return Err(Error::config(
                format!("call {}.{method}", self.service.name()),
                "no row of the draft is changed; edit one, or leave the call out",
            ));
        }
        // Until an answer is there it is in doubt, also when the caller drops the future in between.
        self.state = State::InDoubt;
        let sent = self.service.method(method).raw_parameters(body).send().await;
        let response = match sent {
            Ok(response) => response,
            Err(error) => {
                self.state = State::Known;
                self.note(&error);
                return Err(if error.delivery() == Delivery::Unknown { self.tell_how(error) } else { error });
            }
        };
        self.state = State::Outdated;
        if let Some(saved) = response.parameter_as::<Option<Tableset>>("ds")? {
            self.settle(saved);
            self.state = State::Known;
        }
        Ok(response)
    }

    async fn exchange(
        &mut self,
        method: &str,
        parameters: &(impl Serialize + Sync + ?Sized),
        harmless: bool,
    ) -> Result<MethodOutputs> {
        let body = parameters_with(&self.tableset(), parameters)?;
        let mut call = self.service.method(method).raw_parameters(body);
        if harmless {
            call = call.idempotent();
        }
        let response = call.send().await?;
        if let Some(tableset) = response.parameter_as::<Option<Tableset>>("ds")? {
            self.absorb(tableset);
        }
        Ok(MethodOutputs::read(response))
    }

    fn may_save(&self) -> Result<()> {
        let why = match self.state {
            State::Known => return Ok(()),
            State::InDoubt => {
                "the answer to an earlier save was lost, and it may have been saved; look, and then read it again, or \
                 say known_unsaved"
            }
            State::Outdated => "an earlier save did not bring all rows back; read the record again",
        };
        Err(Error::config(format!("save with {}", self.service.name()), why))
    }

    fn note(&mut self, error: &Error) {
        if error.delivery() == Delivery::Unknown {
            self.state = State::InDoubt;
        }
    }

    /// Names the columns by which the record can be found; their values are business data and stay out.
    fn tell_how(&self, error: Error) -> Error {
        const KNOWN_BY: [&str; 9] =
            ["VendorID", "VendorNum", "InvoiceNum", "PONum", "CustID", "PartNum", "GroupID", "HeadNum", "GLAccount1"];
        let mut changed = self.entries().filter(|entry| entry.mark != RowMod::Unchanged);
        let Some(entry) = changed.next() else { return error };
        let known: Vec<&str> = KNOWN_BY
            .into_iter()
            .filter(|name| {
                let text = entry.row.raw(name).map_or("null", RawValue::get);
                !matches!(text, "null" | "0" | "\"\"")
            })
            .collect();
        let by = if known.is_empty() { "its key".to_owned() } else { known.join(" and ") };
        error.with_hint(format!(
            "the change may have been made: look for the record by {by}; go on from there if it is, or call \
             known_unsaved and save again if it is not"
        ))
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.tables.iter().flat_map(|table| &table.entries)
    }

    fn no_row(&self, table: &str, nth: usize) -> Error {
        let held = self.rows(table).count();
        let mut names: Vec<&str> = self.tables().collect();
        names.sort_unstable();
        Error::config(
            "edit draft",
            format!("there is no row {nth} in table {table}, which has {held}; the draft has {}", names.join(", ")),
        )
    }

    /// Takes over what a method answered: the rows it worked on, and marks with them.
    fn absorb(&mut self, tableset: Tableset) {
        for (name, rows) in tableset.into_tables() {
            let old = self.tables.iter_mut().find(|table| table.name == name);
            let mut known: Vec<Entry> = match old {
                Some(table) => std::mem::take(&mut table.entries),
                None => Vec::new(),
            };
            let mut befores: Vec<(String, Row)> = Vec::new();
            let mut entries: Vec<Entry> = Vec::new();
            let changed: Vec<String> =
                rows.iter().filter(|row| row.row_mod() == RowMod::Updated).filter_map(Row::id).collect();
            for row in rows {
                let (mark, id) = (row.row_mod(), row.id());
                if let (RowMod::Unchanged, Some(id)) = (mark, &id)
                    && changed.contains(id)
                {
                    befores.push((id.clone(), row));
                    continue;
                }
                entries.push(Entry { row, before: None, mark });
            }
            for entry in entries.iter_mut().filter(|entry| entry.mark == RowMod::Updated) {
                let Some(id) = entry.row.id() else { continue };
                // What the row was before is best known from the first time it was read.
                let remembered = known.iter_mut().find(|known| known.row.id().as_ref() == Some(&id));
                let remembered = remembered.and_then(|known| match known.mark {
                    RowMod::Unchanged => Some(known.row.clone()),
                    _ => known.before.take(),
                });
                let at = befores.iter().position(|(candidate, _)| *candidate == id);
                entry.before = remembered.or_else(|| at.map(|at| befores.swap_remove(at).1));
            }
            match self.tables.iter_mut().find(|table| table.name == name) {
                Some(table) => table.entries = entries,
                None => self.tables.push(Table { name, entries }),
            }
        }
    }

    /// Takes over what was saved: saved rows replace ours, nothing is marked any more.
    fn settle(&mut self, saved: Tableset) {
        for table in &mut self.tables {
            table.entries.retain(|entry| !matches!(entry.mark, RowMod::Added | RowMod::Deleted));
            for entry in &mut table.entries {
                entry.mark = RowMod::Unchanged;
                entry.before = None;
            }
        }
        for (name, rows) in saved.into_tables() {
            if !self.tables.iter().any(|table| table.name == name) {
                self.tables.push(Table { name: name.clone(), entries: Vec::new() });
            }
            let Some(table) = self.tables.iter_mut().find(|table| table.name == name) else { continue };
            for row in rows.into_iter().filter(|row| row.row_mod() != RowMod::Deleted) {
                let id = row.id();
                let row = row.marked(RowMod::Unchanged);
                // Of a row that comes twice, as before and after, the later one is what was saved.
                match table.entries.iter_mut().find(|entry| id.is_some() && entry.row.id() == id) {
                    Some(entry) => entry.row = row,
                    None => table.entries.push(Entry { row, before: None, mark: RowMod::Unchanged }),
                }
            }
        }
    }
}

impl RowEdit<'_> {
    /// Sets a column. A row that was read is marked as changed, unless the value is the one it had.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the row has no such column, which the server would silently ignore, or when the value
    /// cannot be written as JSON. See [`RowEdit::insert`].
    pub fn set(&mut self, column: &str, value: impl Serialize) -> Result<&mut Self> {
        if !self.entry.row.has(column) {
            let near = self.entry.row.columns().find(|name| name.eq_ignore_ascii_case(column));
            let hint = near.map_or(String::new(), |near| format!(" (there is {near})"));
            return Err(Error::config(
                "edit draft",
                format!("the row has no column {column}{hint}; names are case-sensitive and differ by release"),
            ));
        }
        self.insert(column, value)
    }

    /// Sets a column, whether the row has it or not.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an impossible name, for `RowMod`, which the draft sets itself, and when the value
    /// cannot be written as JSON.
    pub fn insert(&mut self, column: &str, value: impl Serialize) -> Result<&mut Self> {
        if column == "RowMod" {
            return Err(Error::config("edit draft", "RowMod is set by the draft; leave it out"));
        }
        let before = (self.entry.mark == RowMod::Unchanged).then(|| self.entry.row.clone());
        if self.entry.row.set(column, value)? && before.is_some() {
            self.entry.before = before;
            self.entry.mark = RowMod::Updated;
        }
        Ok(self)
    }

    /// The row as it is now.
    pub fn row(&self) -> &Row {
        &self.entry.row
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("mark", &self.mark).finish_non_exhaustive()
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<(&str, usize)> = self.tables.iter().map(|table| (&*table.name, table.entries.len())).collect();
        f.debug_struct("Draft")
            .field("service", &self.service.name())
            .field("rows", &rows)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// `{"ds": …, other parameters}`, without a detour that would change numbers.
fn parameters_with(tableset: &Tableset, others: &(impl Serialize + ?Sized)) -> Result<Vec<u8>> {
    let unfit = |error: &serde_json::Error| {
        let why = crate::raw::describe(error);
        Error::config("write parameters", format!("the parameters cannot be written as JSON: {why}; check their type"))
    };
    let tableset = serde_json::to_string(tableset).map_err(|error| unfit(&error))?;
    let others = serde_json::to_string(others).map_err(|error| unfit(&error))?;
    let mut body = format!("{{\"ds\":{tableset}");
    match others.strip_prefix('{').map(str::trim_start) {
        Some("}") => body.push('}'),
        Some(rest) => {
            let named: Row = serde_json::from_str(&others).map_err(|error| unfit(&error))?;
            if named.has("ds") {
                return Err(Error::config("write parameters", "the draft itself is `ds`; leave it out"));
            }
            body.push(',');
            body.push_str(rest);
        }
        None if others == "null" => body.push('}'),
        None => {
            return Err(Error::config("write parameters", "the parameters are no JSON object; give a map or a struct"));
        }
    }
    Ok(body.into_bytes())
}
