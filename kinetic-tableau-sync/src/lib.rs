#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod adapter;
mod audit;
mod batch;
mod checkpoint;
mod clock;
#[cfg(feature = "test-util")]
pub mod conformance;
pub mod credentials;
pub mod decode;
mod destination;
mod digest;
mod engine;
#[cfg(feature = "hyper")]
pub mod hyper;
mod mapping;
mod model;
mod nearest;
mod redact;
#[cfg(feature = "test-util")]
pub mod remedy;
#[cfg(not(feature = "test-util"))]
mod remedy;
mod schedule;
#[cfg(feature = "axum")]
pub mod service;
mod source;
pub mod store;
pub mod worker;

#[cfg(all(feature = "tableau", feature = "parquet"))]
pub use self::adapter::ParquetDestination;
#[cfg(feature = "kinetic")]
pub use self::adapter::{Advice, KineticProcesses, KineticSource};
#[cfg(feature = "postgres")]
pub use self::adapter::{Deletes, PostgresDestination, StagingOptions};
#[cfg(all(feature = "tableau", feature = "hyper"))]
pub use self::adapter::{HyperOptions, TableauDestination};
#[cfg(feature = "tableau")]
pub use self::adapter::{TableauEvents, TableauRefresher};
pub use self::audit::export;
pub use self::audit::{
    Action, AuditEntry, AuditError, AuditEvent, AuditFilter, AuditRecord, AuditSegment, AuditStore, Records,
    Verification,
};
pub use self::batch::{Batch, BatchFull, ColumnData, RowReject, TextColumn, Values};
pub use self::checkpoint::{Checkpoint, Counts, Findings, Intent, Landed, Reconciled, RunSummary};
pub use self::clock::{Clock, SystemClock};
pub use self::credentials::{CredentialError, CredentialErrorKind, CredentialStore, SecretName};
pub use self::destination::{
    Destination, DestinationError, DestinationErrorKind, Load, LoadKind, LoadPlan, Receipt, RefreshOutcome,
    RefreshReport, Refresher, Staged, TargetState,
};
pub use self::engine::{
    Cause, Disposition, FullReason, NoProgress, Progress, ProgressEvent, Stage, Stop, SyncError, Syncer, SyncerBuilder,
    landing_schema,
};
pub use self::mapping::{
    ChangedType, DatePart, Derive, DerivedColumn, Drift, Mapping, MissingColumn, NewColumn, OfferedColumn, OnNull,
};
pub use self::model::{
    Column, ColumnType, Cursor, DatasetId, DatasetSpec, RefreshTarget, Resolution, RunId, Schema, SourceObject, Target,
    Track,
};
pub use self::redact::Redactor;
pub use self::schedule::*;
pub use self::source::{Source, SourceError, SourceErrorKind, Window};
pub use self::store::{FingerprintStore, Note, NoteStore, Reject, RejectStore, StateError, StateErrorKind, StateStore};
