//! File uploads in blocks (Tableau REST API reference, Initiate and Append File Upload).
//!
//! Blocks with a number (`sequenceID`, interface 3.27 and later) may be sent again. Without one the server appends them in the
//! order of their arrival, and a block that is sent twice corrupts the file silently: then a block whose answer was lost makes the
//! whole upload begin anew.

use http::Method;
use serde_json::Value;

use crate::call::{Call, Scope};
use crate::client::Client;
use crate::error::{Delivery, Error, Result};
use crate::ids::UploadId;
use crate::multipart::{self, FilePart};
use crate::source::{FileSource, Reader};
use crate::version::ApiVersion;
use crate::wire;

/// How often an upload begins in all.
const ATTEMPTS: u32 = 3;

/// Uploads a file and answers the session that a publish or update uses up.
pub(super) async fn upload(client: &Client, operation: &str, file: &FileSource, size: u64) -> Result<UploadId> {
    let numbered = client.api_version().await.map_err(|error| error.before(operation))? >= ApiVersion::NUMBERED_BLOCKS;
    let mut attempt = 1;
    loop {
        match one(client, file, size, numbered).await {
            Ok(id) => return Ok(id),
            Err(error) if attempt < ATTEMPTS && is_worth_another(&error) => attempt += 1,
            Err(error) => return Err(error.of_upload(operation)),
        }
    }
}

/// The session is unknown (404015), or a block may or may not have arrived.
fn is_worth_another(error: &Error) -> bool {
    error.code() == Some("404015") || (error.delivery() == Delivery::Unknown && error.is_transient())
}

async fn one(client: &Client, file: &FileSource, size: u64, numbered: bool) -> Result<UploadId> {
    // A session that nobody uses lapses, so to begin one twice is harmless.
    let begin = Call::post("begin upload", &["fileUploads"])?.idempotent(true);
    let answer = client.run(&begin).await?;
    let value: Value = answer.value()?;
    let id = wire::text(value.get("fileUpload").and_then(|upload| upload.get("uploadSessionId")))
        .ok_or_else(|| answer.unfit("the answer names no upload session"))?;
    let id = UploadId::from(id);
    let mut reader = file.open().await?;
    let chunk = client.shared.chunk_size as u64;
    let (mut offset, mut number) = (0, 0_u64);
    while offset < size {
        let length = chunk.min(size - offset);
        append(client, &id, &mut reader, offset, length, numbered.then_some(number)).await?;
        offset += length;
        number += 1;
    }
    reader.expect_size(size).await?;
    Ok(id)
}

async fn append(
    client: &Client,
    id: &UploadId,
    reader: &mut Reader,
    offset: u64,
    length: u64,
    number: Option<u64>,
) -> Result<()> {
    let length = usize::try_from(length).map_err(|_| Error::config("upload", "a block does not fit into memory"))?;
    let part = FilePart { name: "tableau_file", file_name: "block", reader, offset, length };
    let body = multipart::assemble("", Some(part)).await?;
    let mut call = Call::new("upload block", Method::PUT, Scope::Site, &["fileUploads", id.as_str()])?
        .idempotent(number.is_some())
        .body(body.kind, body.body)
        .long();
    if let Some(number) = number {
        call = call.query("sequenceID", &number.to_string());
    }
    client.run(&call).await.map(|_| ())
}

/// Whether a request that was to use up an upload may be made again with a new one.
pub(super) fn may_begin_anew(error: &Error, repeatable: bool, attempt: u32) -> bool {
    if attempt >= ATTEMPTS {
        return false;
    }
    // The session lapsed, or an attempt whose answer was lost has used it up.
    error.code() == Some("404015") || (repeatable && error.delivery() == Delivery::Unknown && error.is_transient())
}
