#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
mod auth;
mod client;
mod config;
mod entity;
mod error;
mod exchange;
mod metadata;
mod paging;
mod query;
mod raw;
mod retry;
mod service;
mod trace;
mod transport;
mod xml;

pub use auth::{Credential, OAuth2};
pub use client::{Client, Ping};
pub use config::{ClientBuilder, License};
pub use entity::EntitySet;
pub use error::{Delivery, Error, ErrorDetail, ErrorKind, Result, ServiceError};
pub use metadata::{EdmType, EntityType, Metadata, Property};
pub use paging::{Continuation, Keyset, KeysetColumns, Page, Pages};
pub use query::{Field, Filter, Literal, Order, Query, field};
pub use raw::{RequestBuilder, Response};
pub use retry::RetryPolicy;
pub use service::{MethodCall, MethodResponse, Service};
pub use transport::{Transport, TransportError, TransportErrorKind};
