//! What a file that goes up is read from. It can be read again from its beginning, so that an upload can start over.

use std::fmt;
use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use crate::error::{Error, Result};

/// The kinds of files that can be published as a datasource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileType {
    /// An extract.
    Hyper,
    /// A packaged datasource.
    Tdsx,
    /// A datasource description.
    Tds,
    /// A Parquet file, which the server turns into an extract.
    Parquet,
}

impl FileType {
    /// The file extension, which is also Tableau's name of the type.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Hyper => "hyper",
            Self::Tdsx => "tdsx",
            Self::Tds => "tds",
            Self::Parquet => "parquet",
        }
    }

    /// The type by the extension of a path.
    pub fn of_path(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        [Self::Hyper, Self::Tdsx, Self::Tds, Self::Parquet].into_iter().find(|kind| kind.extension() == extension)
    }
}

/// Content that lies neither on disk nor in memory as a whole, for example in an object store. It is read piece by piece, and
/// a piece again when it has to be sent again.
#[async_trait]
pub trait FileContent: fmt::Debug + Send + Sync + 'static {
    /// How many bytes there are.
    ///
    /// # Errors
    /// When that cannot be found out.
    async fn size(&self) -> std::io::Result<u64>;

    /// The bytes from `offset` on, exactly `length` of them.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn read(&self, offset: u64, length: usize) -> std::io::Result<Bytes>;
}

/// A file on disk, in memory, or wherever a [`FileContent`] reads it from.
#[derive(Clone)]
pub struct FileSource {
    from: From,
    kind: Option<FileType>,
}

#[derive(Clone)]
enum From {
    Path(PathBuf),
    Bytes(Bytes),
    Content(Arc<dyn FileContent>),
}

impl FileSource {
    /// A file on disk. Its extension says what it is. It must not change while it is read.
    pub fn path(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let kind = FileType::of_path(&path);
        Self { from: From::Path(path), kind }
    }

    /// A file in memory.
    pub fn bytes(kind: FileType, content: impl Into<Bytes>) -> Self {
        Self { from: From::Bytes(content.into()), kind: Some(kind) }
    }

    /// A file that is read through code of yours.
    pub fn content(kind: FileType, content: Arc<dyn FileContent>) -> Self {
        Self { from: From::Content(content), kind: Some(kind) }
    }

    /// Says what the file is, where its extension does not.
    #[must_use]
    pub fn file_type(mut self, kind: FileType) -> Self {
        self.kind = Some(kind);
        self
    }

    pub(crate) fn kind(&self, operation: &str) -> Result<FileType> {
        self.kind.ok_or_else(|| {
            Error::config(
                operation.to_owned(),
                "the file has none of the extensions .hyper, .tdsx, .tds and .parquet; rename it or set its type",
            )
        })
    }

    /// Its size in bytes.
    ///
    /// # Errors
    /// [`ErrorKind::File`](crate::ErrorKind::File) when it cannot be found.
    pub async fn size(&self) -> Result<u64> {
        match &self.from {
            From::Bytes(content) => Ok(u64::try_from(content.len()).unwrap_or(u64::MAX)),
            From::Content(content) => content.size().await.map_err(no_content),
            From::Path(path) => {
                let found = tokio::fs::metadata(path).await.map_err(|error| unreadable(path, error))?;
                if found.is_file() {
                    return Ok(found.len());
                }
                Err(unreadable(path, std::io::Error::other("it is not a file")))
            }
        }
    }

    pub(crate) async fn open(&self) -> Result<Reader> {
        Ok(match &self.from {
            From::Bytes(content) => Reader { from: Open::Bytes(content.clone()) },
            From::Content(content) => Reader { from: Open::Content(Arc::clone(content)) },
            From::Path(path) => {
                let file = File::open(path).await.map_err(|error| unreadable(path, error))?;
                Reader { from: Open::File(file, path.clone()) }
            }
        })
    }
}

impl fmt::Debug for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("FileSource");
        match &self.from {
            From::Path(path) => out.field("path", path),
            From::Bytes(content) => out.field("bytes", &content.len()),
            From::Content(content) => out.field("content", content),
        };
        out.field("file_type", &self.kind).finish()
    }
}

/// An open file.
pub(crate) struct Reader {
    from: Open,
}

enum Open {
    File(File, PathBuf),
    Bytes(Bytes),
    Content(Arc<dyn FileContent>),
}

impl Reader {
    /// Appends `length` bytes from `offset` on to `buffer`. Fewer are an error: the file has changed.
    pub(crate) async fn read(&mut self, offset: u64, length: usize, buffer: &mut Vec<u8>) -> Result<()> {
        match &mut self.from {
            Open::Bytes(content) => {
                let begin = usize::try_from(offset).unwrap_or(usize::MAX);
                let piece = content.get(begin..begin.saturating_add(length)).ok_or_else(changed)?;
                buffer.extend_from_slice(piece);
            }
            Open::Content(content) => {
                let piece = content.read(offset, length).await.map_err(no_content)?;
                if piece.len() != length {
                    return Err(changed());
                }
                buffer.extend_from_slice(&piece);
            }
            Open::File(file, path) => {
                file.seek(SeekFrom::Start(offset)).await.map_err(|error| unreadable(path, error))?;
                let wanted = u64::try_from(length).unwrap_or(u64::MAX);
                let read = file.take(wanted).read_to_end(buffer).await.map_err(|error| unreadable(path, error))?;
                if read != length {
                    return Err(changed());
                }
            }
        }
        Ok(())
    }

    /// Checks that the file still ends where it ended when it was measured.
    pub(crate) async fn expect_size(&self, size: u64) -> Result<()> {
        match &self.from {
            Open::Bytes(_) => Ok(()),
            Open::Content(content) => {
                if content.size().await.map_err(no_content)? == size {
                    Ok(())
                } else {
                    Err(changed())
                }
            }
            Open::File(file, path) => {
                let now = file.metadata().await.map_err(|error| unreadable(path, error))?.len();
                if now == size { Ok(()) } else { Err(changed()) }
            }
        }
    }
}

fn unreadable(path: &Path, cause: std::io::Error) -> Error {
    let message = format!("the file {} cannot be read", path.display());
    Error::file("read file", message, cause).with_hint("check that it exists and may be read")
}

fn no_content(cause: std::io::Error) -> Error {
    Error::file("read file", "the content cannot be read", cause).with_hint("look at the cause, which its source gave")
}

fn changed() -> Error {
    let cause = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "its size is not what it was");
    Error::file("read file", "the file changed while it was read", cause)
        .with_hint("finish writing it before it is published")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[tokio::test]
    async fn pieces_of_a_file_and_of_memory_are_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.hyper");
        std::fs::write(&path, b"0123456789").unwrap();
        for source in [FileSource::path(&path), FileSource::bytes(FileType::Hyper, &b"0123456789"[..])] {
            assert_eq!(source.size().await.unwrap(), 10);
            let mut reader = source.open().await.unwrap();
            let mut buffer = b"head ".to_vec();
            reader.read(4, 3, &mut buffer).await.unwrap();
            assert_eq!(buffer, b"head 456");
            assert_eq!(reader.read(8, 3, &mut Vec::new()).await.unwrap_err().kind(), ErrorKind::File);
        }
    }

    #[tokio::test]
    async fn a_file_that_grew_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.hyper");
        std::fs::write(&path, b"0123").unwrap();
        let reader = FileSource::path(&path).open().await.unwrap();
        std::fs::write(&path, b"01234").unwrap();
        assert_eq!(reader.expect_size(4).await.unwrap_err().kind(), ErrorKind::File);
    }

    #[test]
    fn the_extension_says_what_it_is() {
        assert_eq!(FileSource::path("x/A.HYPER").kind("t").unwrap(), FileType::Hyper);
        assert!(FileSource::path("x/a.csv").kind("t").is_err());
        assert_eq!(FileSource::path("x/a").file_type(FileType::Tdsx).kind("t").unwrap(), FileType::Tdsx);
    }
}
