//! SHA-256 of files, in hex.

use std::fmt::Write as _;
#[cfg(any(feature = "hyper", all(feature = "tableau", feature = "parquet")))]
use std::fs::File;
#[cfg(any(feature = "hyper", all(feature = "tableau", feature = "parquet")))]
use std::io::{self, Read as _};

#[cfg(any(feature = "hyper", all(feature = "tableau", feature = "parquet")))]
use sha2::{Digest as _, Sha256};

/// Length of a file in bytes, and its hash.
#[cfg(any(feature = "hyper", all(feature = "tableau", feature = "parquet")))]
pub(crate) fn of_file(file: &mut File) -> io::Result<(u64, String)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        let count = file.read(&mut buffer)?;
        let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else {
            break;
        };
        hasher.update(read);
        bytes += count as u64;
    }
    Ok((bytes, hex(&hasher.finalize())))
}

/// Bytes as hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
