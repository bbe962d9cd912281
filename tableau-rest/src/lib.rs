#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
mod call;
mod client;
mod config;
#[cfg(feature = "connected-app")]
mod connected_app;
mod content;
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
mod recurrence;
mod retry;
mod schedules;
mod session;
mod source;
mod tasks;
mod trace;
mod transport;
mod uploads;
mod version;
mod webhooks;
mod wire;
mod workbooks;
mod xml;

pub use client::Client;
pub use config::ClientBuilder;
#[cfg(feature = "connected-app")]
pub use connected_app::ConnectedApp;
pub use content::{
    Flow, FlowRun, Flows, Group, Groups, ProjectTree, Site, Sites, User, Users, View, Views, WorkbookRef,
};
pub use credentials::JwtSource;
pub use datasources::{
    Action, Capability, Column, Condition, Connection, ConnectionUpdate, Constant, Datasource, DatasourceUpdate,
    Datasources, Download, Grantee, Operand, Owner, PermissionMode, PermissionRule, ProjectRef, PublishRequest,
    Published, Refresh, Revision, Table, UPDATE_DATA_LIMIT, UpdateData, source, target,
};
pub use error::{Delivery, Error, ErrorKind, Result};
pub use filter::{Direction, Filter, Operator, Sort};
pub use ids::{
    ConnectionId, DatasourceId, FlowId, FlowRunId, GroupId, JobId, ProjectId, ScheduleId, SiteId, TaskId, UploadId,
    UserId, ViewId, WebhookId, WorkbookId,
};
pub use jobs::{
    BackgroundJob, FinishCode, JobHandle, JobOutcome, JobState, JobStatus, Jobs, StatusNote, UnknownReason, WaitPolicy,
};
pub use paging::{Listed, Listing, Page};
pub use projects::{Project, Projects};
pub use raw::{RequestBuilder, Response};
pub use recurrence::{MonthDay, Recurrence, Weekday};
pub use retry::RetryPolicy;
pub use schedules::{Schedule, Schedules};
pub use session::Session;
pub use source::{FileContent, FileSource, FileType};
pub use tasks::{ExtractRefreshTask, RefreshKind, RefreshTargetId, Tasks};
pub use transport::{Body, Transport, TransportError, TransportErrorKind};
pub use uploads::{Progress, Upload, UploadState, Uploaded, Uploads};
pub use version::{ApiVersion, ServerInfo};
pub use webhooks::{NewWebhook, Webhook, WebhookEvent, WebhookPayload, WebhookTest, Webhooks};
#[cfg(feature = "webhook-receiver")]
pub use webhooks::{Received, Receiver, ReceiverError};
pub use workbooks::{Workbook, Workbooks};
