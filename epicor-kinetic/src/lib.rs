#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
mod auth;
mod baq;
mod budget;
mod client;
mod config;
mod draft;
pub mod entities;
mod entity;
mod error;
mod exchange;
mod flows;
mod function;
mod lookup;
mod metadata;
mod paging;
mod query;
mod raw;
mod retry;
mod service;
mod trace;
mod transport;
mod value;
mod xml;

pub use auth::{Credential, OAuth2};
pub use baq::{BaqCheck, BaqFinding};
pub use budget::RetryBudget;
pub use client::{Client, Ping, ServiceItem};
pub use config::{CallSettings, ClientBuilder, License};
pub use draft::{Draft, MethodOutputs, Row, RowEdit, RowMod, Tableset, UpdateExt, UpdateMaster, UpdateMasterOutcome};
pub use entities::Entity;
pub use entity::EntitySet;
pub use error::{Delivery, Error, ErrorDetail, ErrorKind, Result, ServiceError};
pub use flows::{
    ApInvoices, CreatedApInvoice, CreatedPurchaseOrder, FlowError, NewApInvoice, NewApInvoiceLine, NewPurchaseOrder,
    NewPurchaseOrderLine, NewVendor, PurchaseOrders, TaskWatch, Tasks, Vendors,
};
pub use function::{FunctionCall, FunctionOutputs};
pub use lookup::{GetRows, WhereClause};
pub use metadata::{Action, EdmType, EntityType, Metadata, Parameter, Property};
pub use paging::{Continuation, Keyset, KeysetColumns, Page, Pages};
pub use query::{Field, Filter, Literal, Order, Query, field};
pub use raw::{RequestBuilder, Response};
pub use retry::RetryPolicy;
pub use service::{MethodCall, MethodResponse, Service};
pub use transport::{Transport, TransportError, TransportErrorKind};
pub use value::{Decimal, ServerTime};
