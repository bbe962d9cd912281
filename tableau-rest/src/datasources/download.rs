//! Files on their way down.

use std::path::Path;

use futures_util::StreamExt as _;
use http::HeaderValue;
use tokio::io::AsyncWriteExt as _;

use crate::call::Call;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::transport::{Body, TransportError, TransportErrorKind};

impl Download {
    /// Begins a download; its content is handed on as it arrives.
    pub(crate) async fn begin(client: &Client, call: Call) -> Result<Self> {
        let mut call = call.long();
        call.streamed = true;
        call.accept = HeaderValue::from_static("*/*");
        let answer = client.run(&call).await?;
        let header = |name| answer.head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let file_name = header(http::header::CONTENT_DISPOSITION).and_then(file_name_of);
        let size = header(http::header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let body = answer.stream.unwrap_or_else(|| Body::from(answer.body));
        Ok(Self { file_name, size, body })
    }
}

/// The last part of a file name in a `Content-Disposition`: never a path.
fn file_name_of(disposition: &str) -> Option<String> {
    let (_, rest) = disposition.split_once("filename=")?;
    let quoted = rest.trim().trim_start_matches('"');
    let name = quoted.split(['"', ';']).next()?.rsplit(['/', '\\']).next()?.trim();
    (!name.is_empty() && name != "." && name != "..").then(|| name.to_owned())
}

/// A file that is being downloaded.
#[derive(Debug)]
#[non_exhaustive]
pub struct Download {
    /// Its name as the server gives it, without any path.
    pub file_name: Option<String>,
    /// Its size in bytes, where the server says it.
    pub size: Option<u64>,
    /// Its content.
    pub body: Body,
}

impl Download {
    /// Writes it to a file, which is there whole or not at all.
    ///
    /// # Errors
    /// [`ErrorKind::File`](crate::ErrorKind::File) when it cannot be written, [`ErrorKind::Transport`](crate::ErrorKind::Transport) when the download breaks off.
    pub async fn save(mut self, path: impl AsRef<Path>) -> Result<u64> {
        let path = path.as_ref();
        let mut partial = path.as_os_str().to_owned();
        partial.push(".part");
        let saved = self.write(Path::new(&partial)).await;
        let saved = match saved {
            Ok(bytes) => {
                tokio::fs::rename(&partial, path).await.map(|()| bytes).map_err(|error| unwritable(path, error))
            }
            Err(error) => Err(error),
        };
        if saved.is_err() {
            // The failure that led here is what counts.
            let _ = tokio::fs::remove_file(&partial).await;
        }
        saved
    }

    async fn write(&mut self, path: &Path) -> Result<u64> {
        let mut file = tokio::fs::File::create(path).await.map_err(|error| unwritable(path, error))?;
        let broken = |error| Error::transport("download datasource", error);
        let mut bytes = 0_u64;
        while let Some(piece) = self.body.next().await.transpose().map_err(broken)? {
            file.write_all(&piece).await.map_err(|error| unwritable(path, error))?;
            bytes += piece.len() as u64;
        }
        file.flush().await.map_err(|error| unwritable(path, error))?;
        match self.size {
            Some(size) if size != bytes => Err(broken(TransportError::new(TransportErrorKind::Truncated))),
            _ => Ok(bytes),
        }
    }
}

fn unwritable(path: &Path, cause: std::io::Error) -> Error {
    Error::file("download datasource", format!("the file {} cannot be written", path.display()), cause)
        .with_hint("check that its directory exists, is writable and has space")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_never_a_path() {
        let name = |text: &str| file_name_of(text);
        assert_eq!(
            name(r#"name="tableau_datasource"; filename="AP invoices.hyper""#).as_deref(),
            Some("AP invoices.hyper")
        );
        assert_eq!(name(r#"attachment; filename="../../etc/passwd""#).as_deref(), Some("passwd"));
        assert_eq!(name("attachment; filename=a.hyper; x=y").as_deref(), Some("a.hyper"));
        assert_eq!(name(r#"attachment; filename="..""#), None);
        assert_eq!(name("attachment"), None);
    }
}
