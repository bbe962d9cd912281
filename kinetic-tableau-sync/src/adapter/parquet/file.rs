//! A Parquet file in the making, and beside it the hashes of its keys in the order of its rows.
//!
//! A row that is written again while a full load reads is put behind the others, and the place of the older one is remembered; only when
//! there are such places is the file written once more without them, row group by row group. Keys are told apart by 128 bits of hash, as
//! the fingerprints do. Memory holds one row group, the places, and a million hashes.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::TypePtr;

use super::cells::{self, Chunk};
use crate::adapter::spool;
use crate::destination::{DestinationError, DestinationErrorKind, Staged};
use crate::model::Schema;

/// Hashes that are sorted at once when doubled keys are looked for.
const HASHES: u64 = 1 << 20;

/// The file, until it is sealed; dropping it removes it.
pub(super) struct Writing {
    path: PathBuf,
    schema: Arc<Schema>,
    form: TypePtr,
    writer: Option<SerializedFileWriter<File>>,
    keys: BufWriter<File>,
    rows: u64,
    /// Places of rows that others have replaced.
    replaced: HashSet<u64>,
}

impl Writing {
    pub(super) fn create(path: PathBuf, schema: Arc<Schema>) -> Result<Self, DestinationError> {
        let form = cells::schema(&schema).map_err(|error| failed("describe", &path, error))?;
        let writer = writer(&path, &form)?;
        let keys = beside(&path);
        let keys = File::options().read(true).write(true).create(true).truncate(true).open(&keys);
        let keys = BufWriter::new(keys.map_err(|error| failed("create", &path, error))?);
        let writer = Some(writer);
        Ok(Self { path, schema, form, writer, keys, rows: 0, replaced: HashSet::new() })
    }

    /// Adds a row group.
    pub(super) fn write(&mut self, chunks: &[Chunk], hashes: &[u128]) -> Result<(), DestinationError> {
        let writer = self.writer.as_mut();
        let writer = writer.ok_or_else(|| failed("write", &self.path, "it is closed already"))?;
        group(writer, chunks, &self.schema).map_err(|error| failed("write", &self.path, error))?;
        for hash in hashes {
            self.keys.write_all(&hash.to_le_bytes()).map_err(|error| failed("write", &self.path, error))?;
        }
        self.rows += hashes.len() as u64;
        Ok(())
    }

    /// Marks the rows that have one of these keys as replaced; answers how many there were.
    pub(super) fn replace(&mut self, keys: &HashSet<u128>) -> Result<u64, DestinationError> {
        let mut found = Vec::new();
        self.each_key(|place, hash| {
            if keys.contains(&hash) {
                found.push(place);
            }
        })?;
        found.retain(|place| self.replaced.insert(*place));
        Ok(found.len() as u64)
    }

    fn each_key(&mut self, mut see: impl FnMut(u64, u128)) -> Result<(), DestinationError> {
        let path = self.path.clone();
        let io = |error: std::io::Error| failed("read", &path, error);
        self.keys.flush().map_err(io)?;
        let file = self.keys.get_mut();
        file.rewind().map_err(io)?;
        let mut reader = BufReader::with_capacity(1 << 18, &mut *file);
        let mut hash = [0; 16];
        for place in 0..self.rows {
            reader.read_exact(&mut hash).map_err(io)?;
            see(place, u128::from_le_bytes(hash));
        }
        file.seek(std::io::SeekFrom::End(0)).map_err(io)?;
        Ok(())
    }

    /// How many keys more rows than one have.
    fn doubled(&mut self) -> Result<u64, DestinationError> {
        let parts = self.rows.div_ceil(HASHES).max(1);
        let replaced = std::mem::take(&mut self.replaced);
        let mut doubled = 0;
        for part in 0..parts {
            let mut hashes = Vec::new();
            self.each_key(|place, hash| {
                if hash % u128::from(parts) == u128::from(part) && !replaced.contains(&place) {
                    hashes.push(hash);
                }
            })?;
            hashes.sort_unstable();
            doubled += hashes.chunk_by(|one, other| one == other).filter(|same| same.len() > 1).count() as u64;
        }
        self.replaced = replaced;
        Ok(doubled)
    }

    /// Checks that no key is there twice, leaves out what was replaced, and makes the file durable.
    pub(super) fn seal(mut self) -> Result<Staged, DestinationError> {
        let doubled = self.doubled()?;
        if doubled > 0 {
            let message = format!("{doubled} keys belong to more than one row; nothing was published");
            return Err(DestinationError::new(DestinationErrorKind::Value, message)
                .with_hint("name columns in the dataset's `key` that tell all rows apart"));
        }
        self.close()?;
        if !self.replaced.is_empty() {
            self.leave_out()?;
        }
        let rows = self.rows - self.replaced.len() as u64;
        let file = File::open(&self.path).map_err(|error| failed("read", &self.path, error))?;
        let reader = SerializedFileReader::new(file).map_err(|error| failed("read", &self.path, error))?;
        let held = u64::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or_default();
        if held != rows {
            let message = format!("{rows} rows were given, {held} are in the file; it was thrown away");
            return Err(DestinationError::new(DestinationErrorKind::Engine, message)
                .with_hint("run again; if it stays, report it"));
        }
        let staged = spool::settle(&self.path, rows)?;
        // From here on it is not ours to remove.
        self.path = PathBuf::new();
        // What is beside it has served; what cannot be removed only takes space.
        let _ = std::fs::remove_file(beside(&staged.path));
        Ok(staged)
    }

    fn close(&mut self) -> Result<(), DestinationError> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        writer.close().map(|_| ()).map_err(|error| failed("finish", &self.path, error))
    }

    /// Writes the file once more, without the rows that were replaced.
    fn leave_out(&mut self) -> Result<(), DestinationError> {
        let next = self.path.with_extension("next");
        self.copy_to(&next)
            .and_then(|()| std::fs::rename(&next, &self.path).map_err(|error| failed("replace", &self.path, error)))
    }

    fn copy_to(&self, next: &Path) -> Result<(), DestinationError> {
        let wrong = |error: ParquetError| failed("rewrite", &self.path, error);
        let file = File::open(&self.path).map_err(|error| failed("read", &self.path, error))?;
        let reader = SerializedFileReader::new(file).map_err(wrong)?;
        let mut writer = writer(next, &self.form)?;
        let mut first = 0;
        for nth in 0..reader.num_row_groups() {
            let source = reader.get_row_group(nth).map_err(wrong)?;
            let rows = u64::try_from(source.metadata().num_rows()).unwrap_or_default();
            let keep: Vec<bool> = (first..first + rows).map(|place| !self.replaced.contains(&place)).collect();
            first += rows;
            if !keep.contains(&true) {
                continue;
            }
            let chunks =
                (0..source.num_columns()).map(|at| Chunk::read(source.get_column_reader(at)?, keep.len(), &keep));
            let chunks = chunks.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
            group(&mut writer, &chunks, &self.schema).map_err(wrong)?;
        }
        writer.close().map(|_| ()).map_err(wrong)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // Nobody may take a file that was not sealed for a load.
            let _ = std::fs::remove_file(&self.path);
            let _ = std::fs::remove_file(beside(&self.path));
            let _ = std::fs::remove_file(self.path.with_extension("next"));
        }
    }
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("keys")
}

fn writer(path: &Path, form: &TypePtr) -> Result<SerializedFileWriter<File>, DestinationError> {
    let file = File::create(path).map_err(|error| failed("create", path, error))?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    SerializedFileWriter::new(file, Arc::clone(form), Arc::new(properties))
        .map_err(|error| failed("create", path, error))
}

/// One row group.
fn group(writer: &mut SerializedFileWriter<File>, chunks: &[Chunk], schema: &Schema) -> Result<(), ParquetError> {
    let mut group = writer.next_row_group()?;
    for ((at, _), chunk) in schema.landed().zip(chunks) {
        let Some(mut column) = group.next_column()? else { break };
        chunk.write(column.untyped(), schema.key.contains(&at))?;
        column.close()?;
    }
    group.close()?;
    Ok(())
}

fn failed(what: &str, path: &Path, why: impl std::fmt::Display) -> DestinationError {
    let message = format!("cannot {what} the Parquet file {}: {why}", path.display());
    DestinationError::new(DestinationErrorKind::Engine, message)
        .with_hint("check that the spool directory is writable and has space")
}
