//! Where rows come from.

use std::sync::Arc;

use async_trait::async_trait;
use futures_core::stream::BoxStream;

use crate::batch::Batch;
use crate::mapping::OfferedColumn;
use crate::model::{Cursor, DatasetSpec, Schema};

/// A range of the source's order.
///
/// The engine reads `(after - overlap, through]` in the terms of the source: the source applies the overlap of the dataset's
/// [`Track`](crate::Track) where `overlap` says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The range begins behind this position; the beginning of everything when none.
    pub after: Option<Cursor>,
    /// Whether the dataset's overlap is read again before `after`.
    pub overlap: bool,
    /// The range ends with this position, which is included.
    pub through: Cursor,
}

/// A source of rows.
///
/// # Contract
/// - [`head`](Source::head) answers the newest position that is visible now. Rows that become visible later, or change later, sort
///   behind it, but for commits that lag, which the overlap covers.
/// - [`read`](Source::read) yields every row of the window that is visible throughout the read at least once, whatever moves
///   meanwhile. It ends with an error, never early, when a page is cut, refused or out of order.
/// - Read from the beginning (`after` is none), it yields no key twice. The engine does not trust that: a load that holds a key
///   twice is refused before anything is published.
#[async_trait]
pub trait Source: std::fmt::Debug + Send + Sync + 'static {
    /// Resolves the columns of a dataset against what the source itself declares.
    ///
    /// # Errors
    /// When the source cannot be reached, or a column of the dataset does not exist.
    async fn schema(&self, dataset: &DatasetSpec) -> Result<Schema, SourceError>;

    /// The columns that the source offers for a dataset, selected or not; none when it cannot tell. Needed for the policies of
    /// [`Drift`](crate::Drift).
    ///
    /// # Errors
    /// As [`schema`](Source::schema).
    async fn offered(&self, dataset: &DatasetSpec) -> Result<Option<Vec<OfferedColumn>>, SourceError> {
        let _ = dataset;
        Ok(None)
    }

    /// The newest position visible now; none when there is no row.
    ///
    /// # Errors
    /// When the source cannot be reached or refuses.
    async fn head(&self, dataset: &DatasetSpec, schema: &Schema) -> Result<Option<Cursor>, SourceError>;

    /// Reads the rows of a window in batches.
    fn read<'a>(
        &'a self,
        dataset: &'a DatasetSpec,
        schema: Arc<Schema>,
        window: Window,
    ) -> BoxStream<'a, Result<Batch, SourceError>>;

    /// Looks rows up by their keys, however many there are; those that are not there (or do not meet the dataset's filter) are left
    /// out. `keys` holds the key columns alone ([`Schema::key_only`]), the answer the columns of `schema`.
    ///
    /// A reconcile needs it: a row that is missing in a listing is deleted only when it is not found by its key either. By default it
    /// is an error, and a dataset of such a source is never reconciled.
    fn fetch<'a>(
        &'a self,
        dataset: &'a DatasetSpec,
        schema: Arc<Schema>,
        keys: Batch,
    ) -> BoxStream<'a, Result<Batch, SourceError>> {
        let _ = (dataset, schema, keys);
        let error = SourceError::new(SourceErrorKind::Config, "this source does not look rows up by key")
            .with_hint("reconcile needs a source that implements `Source::fetch`");
        Box::pin(futures_util::stream::iter([Err(error)]))
    }

    /// Whether `later` is behind `earlier` in the source's order. A checkpoint that lies behind the source's head the wrong way
    /// round tells that the source was restored from a copy.
    ///
    /// # Errors
    /// When one of them is no position of this source.
    fn is_after(&self, dataset: &DatasetSpec, later: &Cursor, earlier: &Cursor) -> Result<bool, SourceError>;

    /// A position before `head` behind which alone rows may still become visible at positions that lie before it, where the source
    /// knows one: a full load reads up to there first, and looks for rows that it has read already only behind it. None by default.
    fn settled(&self, dataset: &DatasetSpec, head: &Cursor) -> Option<Cursor> {
        let _ = (dataset, head);
        None
    }

    /// Whether [`read`](Source::read) yields the rows of a dataset in the order of their positions, which are their versions
    /// ([`Schema::version`]) as text. Only then can many changes be landed in several loads. False by default.
    fn is_ordered(&self, dataset: &DatasetSpec) -> bool {
        let _ = dataset;
        false
    }

    /// Name of the company or tenant that the rows belong to, for the audit.
    fn company(&self) -> &str;
}

/// Why a source failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SourceErrorKind {
    /// The configuration does not fit the source: an unknown column, a missing key.
    Config,
    /// Credentials or rights were refused.
    Auth,
    /// The source could not be reached or answered with a passing fault. Another run may succeed.
    Unavailable,
    /// Pages were not in the promised order, or repeated.
    Order,
    /// A row or page could not be decoded.
    Decode,
    /// Anything else.
    Other,
}

/// A failure of a [`Source`].
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    kind: SourceErrorKind,
    message: String,
    hint: Option<String>,
    #[source]
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl SourceError {
    /// A failure with a one-line message that names cause and place, never a secret or a row's content.
    pub fn new(kind: SourceErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, cause: None }
    }

    /// Adds what the operator should do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    pub(crate) fn redact(&mut self, redactor: &crate::Redactor) {
        redactor.clean_error(&mut self.message, self.hint.as_mut(), &mut self.cause);
    }

    /// The kind.
    pub fn kind(&self) -> SourceErrorKind {
        self.kind
    }

    /// What the operator should do next.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}
