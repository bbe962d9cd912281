//! The two-part bodies of publishes and upload blocks (Tableau REST API reference, Publishing Resources).
//!
//! The body is one buffer: the server wants to know the length in advance, and a block that failed must go out again
//! unchanged. The part names and their order are fixed; file names are ASCII, since some versions break on others.

use bytes::Bytes;
use http::HeaderValue;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::source::Reader;
use crate::uploads::Running;

/// A body and its content type.
pub(crate) struct Multipart {
    pub(crate) kind: HeaderValue,
    pub(crate) body: Bytes,
}

/// The part that carries the file.
pub(crate) struct FilePart<'a> {
    pub(crate) name: &'static str,
    pub(crate) file_name: &'a str,
    pub(crate) reader: &'a mut Reader,
    pub(crate) offset: u64,
    pub(crate) length: usize,
    /// Takes in the bytes of the file on their way.
    pub(crate) digest: &'a mut Running,
}

/// A body of the payload part and, where there is one, the file part.
pub(crate) async fn assemble(payload: &str, file: Option<FilePart<'_>>) -> Result<Multipart> {
    let boundary = Uuid::new_v4().simple().to_string();
    let kind = HeaderValue::from_str(&format!("multipart/mixed; boundary={boundary}"))
        .map_err(|_| Error::config("publish", "the boundary of the parts cannot be sent"))?;
    let room = payload.len() + 512 + file.as_ref().map_or(0, |file| file.length);
    let mut body = Vec::with_capacity(room);
    // An empty payload still is a part: header, blank line, empty line.
    body.extend_from_slice(
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"request_payload\"\r\n\
             Content-Type: text/xml\r\n\r\n{payload}\r\n"
        )
        .as_bytes(),
    );
    if let Some(file) = file {
        body.extend_from_slice(
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"{}\"\r\n\
                 Content-Type: application/octet-stream\r\n\r\n",
                file.name, file.file_name
            )
            .as_bytes(),
        );
        let begin = body.len();
        file.reader.read(file.offset, file.length, &mut body).await?;
        file.digest.update(body.get(begin..).unwrap_or_default());
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok(Multipart { kind, body: Bytes::from(body) })
}
