#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
mod call;
mod client;
mod config;
mod credentials;
mod datasources;
mod error;
mod filter;
mod ids;
mod jobs;
mod multipart;
mod paging;
mod projects;
mod raw;
mod retry;
mod session;
mod source;
mod tasks;
mod trace;
mod transport;
mod version;
mod wire;
mod workbooks;
mod xml;

pub use client::Client;
pub use config::ClientBuilder;
pub use datasources::{
    Action, Column, Condition, Connection, Constant, Datasource, Datasources, Download, Operand, Owner, ProjectRef,
    PublishRequest, Published, Refresh, Table, UPDATE_DATA_LIMIT, UpdateData, source, target,
};
pub use error::{Delivery, Error, ErrorKind, Result};
pub use filter::{Direction, Filter, Operator, Sort};
pub use ids::{ConnectionId, DatasourceId, JobId, ProjectId, SiteId, TaskId, UploadId, UserId, WorkbookId};
pub use jobs::{FinishCode, JobHandle, JobOutcome, JobState, JobStatus, Jobs, StatusNote, UnknownReason, WaitPolicy};
pub use paging::{Listed, Listing, Page};
pub use projects::{Project, Projects};
pub use raw::{RequestBuilder, Response};
pub use retry::RetryPolicy;
pub use session::Session;
pub use source::{FileSource, FileType};
pub use tasks::{ExtractRefreshTask, Tasks};
pub use transport::{Body, Transport, TransportError, TransportErrorKind};
pub use version::{ApiVersion, ServerInfo};
pub use workbooks::{Workbook, Workbooks};
