//! Files on their way up in blocks (Tableau REST API reference, Initiate and Append File Upload).
//!
//! Blocks with a number (`sequenceID`, interface 3.27 and later) may be sent again. Without one the server appends them in the
//! order of their arrival, and a block that is sent twice corrupts the file silently: then a block whose answer was lost makes the
//! whole upload begin anew.

use std::fmt;
use std::sync::Arc;

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::call::{Call, Scope};
use crate::client::Client;
use crate::error::{Delivery, Error, Result};
use crate::ids::UploadId;
use crate::multipart::{self, FilePart, Multipart};
use crate::source::{FileSource, Reader};
use crate::version::ApiVersion;
use crate::wire;

/// How often an upload begins in all.
const ATTEMPTS: u32 = 3;

/// How far a file has got.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// How many bytes of the file the server has confirmed. Falls back to 0 when an upload has to begin anew.
    pub sent: u64,
    /// How many bytes the file has.
    pub total: u64,
    /// The SHA-256 of the whole file, in hexadecimal digits; known when all of it was sent.
    pub sha256: Option<String>,
}

/// What is told about progress.
#[derive(Clone, Default)]
pub(crate) struct Listener(Option<Arc<dyn Fn(Progress) + Send + Sync>>);

impl Listener {
    pub(crate) fn new(listener: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    /// A hash that is reckoned only where somebody listens.
    pub(crate) fn running(&self) -> Running {
        Running(self.0.as_ref().map(|_| Sha256::new()))
    }

    pub(crate) fn tell(&self, sent: u64, total: u64, digest: &Running) {
        if let Some(listener) = &self.0 {
            listener(Progress { sent, total, sha256: (sent == total).then(|| digest.hex()) });
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Listener" } else { "none" })
    }
}

/// The hash of what was sent so far. None where nobody asks for it: without instructions of the processor for it, it takes longer than
/// sending to a server nearby.
#[derive(Clone)]
pub(crate) struct Running(Option<Sha256>);

impl Running {
    /// For somebody who will ask.
    fn wanted() -> Self {
        Self(Some(Sha256::new()))
    }

    /// Takes in the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        if let Some(digest) = &mut self.0 {
            digest.update(bytes);
        }
    }

    /// In hexadecimal digits.
    fn hex(&self) -> String {
        use fmt::Write as _;
        let Some(digest) = &self.0 else { return String::new() };
        digest.clone().finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// Uploads of a site. [`Datasources::publish`](crate::Datasources::publish) does them by itself; this is for files so large that a
/// restart of the program must not begin them anew.
#[derive(Clone, Debug)]
pub struct Uploads {
    client: Client,
}

impl Uploads {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Begins to upload a file. No block is sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::File`](crate::ErrorKind::File) when the file cannot be read or is empty, and everything that can go wrong
    /// between here and the server.
    pub async fn begin(&self, file: &FileSource) -> Result<Upload> {
        let size = file.size().await?;
        if size == 0 {
            return Err(Error::config("begin upload", "the file is empty; finish writing it before it is sent"));
        }
        self.begin_sized(file, size, Running::wanted()).await
    }

    pub(crate) async fn begin_sized(&self, file: &FileSource, size: u64, digest: Running) -> Result<Upload> {
        let client = self.client.clone();
        let numbered = client.api_version().await? >= ApiVersion::NUMBERED_BLOCKS;
        // A session that nobody uses lapses, so to begin one twice is harmless.
        let begin = Call::post("begin upload", &["fileUploads"])?.idempotent(true);
        let answer = client.run(&begin).await?;
        let value: Value = answer.value()?;
        let id = wire::text(value.get("fileUpload").and_then(|upload| upload.get("uploadSessionId")))
            .ok_or_else(|| answer.unfit("the answer names no upload session"))?;
        let state = UploadState {
            id: UploadId::from(id),
            size,
            sent: 0,
            blocks: 0,
            numbered,
            in_doubt: false,
            sha256: digest.hex(),
        };
        Ok(Upload { client, reader: file.open().await?, state, digest, ready: None })
    }

    /// Goes on with an upload that was begun before, perhaps by another process. What was sent already is read once more
    /// from the file, and must be what it was.
    ///
    /// How long the server keeps an unfinished upload is not documented. When it has forgotten it, the next block fails with
    /// 404015: begin anew then.
    ///
    /// # Errors
    /// [`ErrorKind::File`](crate::ErrorKind::File) when the file is not the same any more, and
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when the last block may have arrived and the server does not
    /// number blocks: it could be there twice then, so that the upload must begin anew.
    pub async fn resume(&self, state: UploadState, file: &FileSource) -> Result<Upload> {
        const OPERATION: &str = "resume upload";
        if state.in_doubt {
            let message = "the last block may have arrived, and this server does not number blocks";
            return Err(Error::config(OPERATION, message)
                .with_kind(crate::error::ErrorKind::Conflict)
                .with_hint("begin a new upload"));
        }
        let mut reader = file.open().await?;
        let mut digest = Running::wanted();
        let mut same = file.size().await? == state.size;
        let mut offset = 0;
        let mut piece = Vec::new();
        while same && offset < state.sent {
            let length = (state.sent - offset).min(1 << 20);
            piece.clear();
            reader.read(offset, usize::try_from(length).unwrap_or(usize::MAX), &mut piece).await?;
            digest.update(&piece);
            offset += length;
        }
        same = same && digest.hex() == state.sha256;
        if !same {
            let cause = std::io::Error::other("its size or the content of the part that was sent differs");
            return Err(Error::file(OPERATION, "the file is not the one that the upload began with", cause)
                .with_hint("begin a new upload"));
        }
        Ok(Upload { client: self.client.clone(), reader, state, digest, ready: None })
    }
}

/// Where an upload stands: a small text that outlives the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadState {
    id: UploadId,
    size: u64,
    sent: u64,
    blocks: u64,
    numbered: bool,
    in_doubt: bool,
    sha256: String,
}

impl UploadState {
    /// How many bytes the file has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes the server has confirmed.
    pub fn sent(&self) -> u64 {
        self.sent
    }
}

/// A file of which all blocks have arrived, to be used up by one publish:
/// [`PublishRequest::uploaded`](crate::PublishRequest::uploaded).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Uploaded {
    /// The upload.
    pub id: UploadId,
    /// How many bytes the file has.
    pub size: u64,
    /// In how many blocks it went.
    pub blocks: u64,
    /// The SHA-256 of the file as it was sent, in hexadecimal digits.
    pub sha256: String,
}

/// An upload under way. Holds up to two blocks: while one is on its way, the next one is read and hashed.
pub struct Upload {
    client: Client,
    reader: Reader,
    state: UploadState,
    digest: Running,
    ready: Option<Block>,
}

/// A block that can be sent.
struct Block {
    offset: u64,
    length: u64,
    body: Multipart,
    /// Of the file up to the end of the block.
    digest: Running,
}

impl Block {
    /// The block at an offset; none at the end of the file.
    async fn read(reader: &mut Reader, before: &Running, offset: u64, chunk: u64, size: u64) -> Result<Option<Self>> {
        let length = chunk.min(size.saturating_sub(offset));
        if length == 0 {
            return Ok(None);
        }
        let whole = usize::try_from(length).map_err(|_| Error::config("upload", "a block does not fit into memory"))?;
        let mut digest = before.clone();
        let part =
            FilePart { name: "tableau_file", file_name: "block", reader, offset, length: whole, digest: &mut digest };
        let body = multipart::assemble("", Some(part)).await?;
        Ok(Some(Self { offset, length, body, digest }))
    }
}

impl Upload {
    /// Where it stands, to be kept by whoever wants to go on after a restart.
    pub fn state(&self) -> &UploadState {
        &self.state
    }

    /// Sends the next block, of the client's chunk size; `false` when there is none left. A block that fails can be sent
    /// again by calling this again, unless the upload is in doubt: see [`Uploads::resume`].
    ///
    /// # Errors
    /// When the file changed while it was read, and everything that can go wrong between here and the server.
    pub async fn next_block(&mut self) -> Result<bool> {
        if self.state.sent >= self.state.size {
            return Ok(false);
        }
        if self.state.in_doubt {
            return Err(Error::config("upload block", "the block before may have arrived; begin a new upload"));
        }
        let (chunk, size) = (self.client.shared.chunk_size as u64, self.state.size);
        let block = match self.ready.take().filter(|ready| ready.offset == self.state.sent) {
            Some(ready) => Some(ready),
            None => Block::read(&mut self.reader, &self.digest, self.state.sent, chunk, size).await?,
        };
        let Some(block) = block else { return Ok(false) };
        let state = &mut self.state;
        let mut call = Call::new("upload block", Method::PUT, Scope::Site, &["fileUploads", state.id.as_str()])?
            .idempotent(state.numbered)
            .body(block.body.kind, block.body.body)
            .long();
        if state.numbered {
            call = call.query("sequenceID", &state.blocks.to_string());
        }
        // In doubt until there is an answer, so that a caller who stops waiting does not send it twice.
        state.in_doubt = !state.numbered;
        let end = block.offset + block.length;
        let next = Block::read(&mut self.reader, &block.digest, end, chunk, size);
        let (sent, next) = futures_util::future::join(self.client.run(&call), next).await;
        if let Err(error) = sent {
            state.in_doubt = !state.numbered && error.delivery() == Delivery::Unknown;
            return Err(error);
        }
        state.in_doubt = false;
        state.sent = end;
        state.blocks += 1;
        state.sha256 = block.digest.hex();
        self.digest = block.digest;
        // A block that could not be read is read again by the next call, which then tells of it.
        self.ready = next.unwrap_or(None);
        Ok(true)
    }

    /// Sends all blocks that are left.
    ///
    /// # Errors
    /// As [`Upload::next_block`].
    pub async fn finish(&mut self) -> Result<Uploaded> {
        while self.next_block().await? {}
        self.uploaded().await
    }

    async fn uploaded(&self) -> Result<Uploaded> {
        self.reader.expect_size(self.state.size).await?;
        let UploadState { id, size, blocks, sha256, .. } = self.state.clone();
        Ok(Uploaded { id, size, blocks, sha256 })
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("state", &self.state).finish_non_exhaustive()
    }
}

/// Uploads a file and answers the session that a publish or update uses up. Begins anew where that is the way out.
pub(crate) async fn upload(
    client: &Client,
    operation: &str,
    file: &FileSource,
    size: u64,
    listener: &Listener,
) -> Result<UploadId> {
    let mut attempt = 1;
    loop {
        match one(client, file, size, listener).await {
            Ok(id) => return Ok(id),
            Err(error) if attempt < ATTEMPTS && is_worth_another(&error) => attempt += 1,
            Err(error) => return Err(error.of_upload(operation)),
        }
    }
}

async fn one(client: &Client, file: &FileSource, size: u64, listener: &Listener) -> Result<UploadId> {
    let mut upload = client.uploads().begin_sized(file, size, listener.running()).await?;
    listener.tell(0, size, &upload.digest);
    while upload.next_block().await? {
        listener.tell(upload.state.sent, size, &upload.digest);
    }
    upload.uploaded().await.map(|uploaded| uploaded.id)
}

/// The session is unknown (404015), or a block may or may not have arrived.
fn is_worth_another(error: &Error) -> bool {
    error.code() == Some("404015") || (error.delivery() == Delivery::Unknown && error.is_transient())
}

/// Whether a request that was to use up an upload may be made again with a new one.
pub(crate) fn may_begin_anew(error: &Error, repeatable: bool, attempt: u32) -> bool {
    if attempt >= ATTEMPTS {
        return false;
    }
    // The session lapsed, or an attempt whose answer was lost has used it up.
    error.code() == Some("404015") || (repeatable && error.delivery() == Delivery::Unknown && error.is_transient())
}
