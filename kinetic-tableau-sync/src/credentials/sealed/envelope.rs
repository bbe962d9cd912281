//! Encryption and decryption of a document, and what each way of failing means.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::{DecryptError, Decryptor, EncryptError, Encryptor};
use zeroize::Zeroizing;

use super::document::{Document, Unfit, VERSION};
use super::{CredentialError, CredentialErrorKind, SealKey, damaged};

const BEGIN: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";
const END: &[u8] = b"-----END AGE ENCRYPTED FILE-----";
/// What either form of the format has somewhere.
const SIGNS: [&[u8]; 4] = [b"AGE ENC", b"TED FILE", b"age-enc", b"\n-> "];

/// The format is encrypted in pieces of this size.
const PIECE: usize = 64 * 1024;

/// Seals a document.
///
/// Blanks follow it up to the end of a piece, and for as long again as it may be. The library's buffer, which it does not overwrite when
/// it goes, holds nothing but blanks then. And the size of the file does not tell how much is in it.
pub(super) fn seal(document: &Document, key: &SealKey) -> Result<Vec<u8>, CredentialError> {
    /// The second blanks are as many as a multiple of this.
    const STEP: usize = 4 * 1024;
    let padded = |length: usize| length.next_multiple_of(PIECE) + length.min(PIECE).next_multiple_of(STEP);
    let cannot = |why: String| {
        CredentialError::new(CredentialErrorKind::Other, format!("the secrets cannot be sealed: {why}"))
            .with_hint("nothing was written; run again, and when it stays, report it")
    };
    let json = document.to_json(padded);
    let mut text = json.map_err(|error| cannot(format!("no JSON ({:?})", error.classify())))?;
    let length = padded(text.len());
    text.resize(length, b' ');

    let failed = |error: io::Error| cannot(error.to_string());
    let recipient = key.recipient();
    let encryptor = Encryptor::with_recipients(std::iter::once(&*recipient)).map_err(|error| match error {
        EncryptError::Io(error) => cannot(error.to_string()),
        _ => cannot("the key cannot be used".to_owned()),
    })?;
    let mut bytes = Vec::with_capacity(text.len() * 3 / 2);
    let armor = ArmoredWriter::wrap_output(&mut bytes, Format::AsciiArmor).map_err(failed)?;
    let mut writer = encryptor.wrap_output(armor).map_err(failed)?;
    writer.write_all(&text).map_err(failed)?;
    writer.finish().and_then(ArmoredWriter::finish).map_err(failed)?;
    Ok(bytes)
}

/// Opens what was sealed.
pub(super) fn open(bytes: &[u8], key: &SealKey, path: &Path) -> Result<Document, CredentialError> {
    let armored = look_at_ends(bytes, path)?;
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(bytes)).map_err(|error| match error {
        // Also said of a header that cannot be read otherwise.
        DecryptError::UnknownFormat if !begins_as_ours(bytes) => newer(path, "is of a later version of the age format"),
        // The textual form has an end of its own, so that what is missing inside of it was not cut off.
        DecryptError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof && !armored => truncated(path),
        _ => damaged(path, "its beginning cannot be read"),
    })?;
    let by_passphrase =
        sealed_by_passphrase(bytes).ok_or_else(|| damaged(path, "its beginning names no kind of key"))?;
    if by_passphrase != key.is_passphrase() {
        let (one, other) = ("a passphrase", "a key");
        let (sealed, given) = if by_passphrase { (one, other) } else { (other, one) };
        let message = format!("the sealed file {} is opened by {sealed}, not by {given}", path.display());
        return Err(CredentialError::new(CredentialErrorKind::WrongKey, message)
            .with_hint(format!("give {sealed}; after a change of the key the old one opens it no more")));
    }
    let identity = key.identity();
    let mut reader = decryptor.decrypt(std::iter::once(&*identity)).map_err(|error| match error {
        DecryptError::NoMatchingKeys | DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed => {
            CredentialError::new(
                CredentialErrorKind::WrongKey,
                format!("{} does not open the sealed file {}", key.origin(), path.display()),
            )
            .with_hint(format!(
                "give the right {}; if it surely is the right one, the beginning of the file is damaged: restore it from a copy",
                if by_passphrase { "passphrase" } else { "key" }
            ))
        }
        DecryptError::ExcessiveWork { required, .. } => {
            damaged(path, &format!("it asks for more work than we ever do (2^{required})"))
        }
        _ => damaged(path, "its beginning is not what was written"),
    })?;
    // The clear text is shorter than what it was sealed in, so that its memory never moves.
    let mut text = Zeroizing::new(Vec::with_capacity(bytes.len()));
    reader.read_to_end(&mut text).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof if !armored => truncated(path),
        _ => damaged(path, "its content is not what was written"),
    })?;
    Document::of_json(&text).map_err(|unfit| match unfit {
        Unfit::Newer(version) => {
            newer(path, &format!("is of version {version}, and this program knows up to {VERSION}"))
        }
        Unfit::Foreign => CredentialError::invalid(format!("{} holds no secrets of ours", path.display()))
            .with_hint("name the file that `SealedFile::create` has made"),
    })
}

/// Whether the first line is that of the version of the format that we know.
fn begins_as_ours(bytes: &[u8]) -> bool {
    const LINE: &[u8] = b"age-encryption.org/v1\n";
    let mut line = [0; LINE.len()];
    ArmoredReader::new(bytes).read_exact(&mut line).is_ok() && line == LINE
}

/// Whether the header names a passphrase or a key; none when it names neither.
fn sealed_by_passphrase(bytes: &[u8]) -> Option<bool> {
    /// Our headers have some hundred bytes.
    const LOOK: u64 = 8 * 1024;
    let mut header = Vec::new();
    // What cannot be read is noticed by whoever reads all of it.
    let _ = ArmoredReader::new(bytes).take(LOOK).read_to_end(&mut header);
    let names = |kind: &[u8]| header.windows(kind.len()).any(|window| window == kind);
    match (names(b"\n-> scrypt "), names(b"\n-> X25519 ")) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

/// What can be told without a key. Answers whether it is the textual form.
fn look_at_ends(bytes: &[u8], path: &Path) -> Result<bool, CredentialError> {
    if BEGIN.starts_with(bytes) {
        return Err(truncated(path));
    }
    let Some(behind) = bytes.strip_prefix(BEGIN) else {
        // Of a file that was damaged something is left to know it by.
        let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        if !SIGNS.iter().any(|sign| holds(sign)) {
            return Err(damaged(path, "nothing in it is of the age format, so it is another file, or was overwritten"));
        }
        return Ok(false);
    };
    let text = behind.strip_suffix(b"\n").unwrap_or(behind);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let last = text.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    if last.ends_with(END) {
        return Ok(true);
    }
    // What was cut within its last line ends without a line break; a flipped byte leaves one half of that line as it was.
    let cut = END.starts_with(last) && (last.is_empty() || text.len() == behind.len());
    let holds = |part: &[u8]| last.windows(part.len()).any(|window| window == part);
    if !cut && (holds(b"-----END ") || holds(b" FILE-----")) {
        return Err(damaged(path, "its end is not what was written"));
    }
    Err(truncated(path))
}

fn truncated(path: &Path) -> CredentialError {
    let message = format!("the sealed file {} was cut off: its end is missing", path.display());
    CredentialError::new(CredentialErrorKind::Truncated, message)
        .with_hint("restore it from a copy, and check that its disk has space")
}

fn newer(path: &Path, what: &str) -> CredentialError {
    CredentialError::new(CredentialErrorKind::Newer, format!("the sealed file {} {what}", path.display()))
        .with_hint("update this program; a damaged beginning can look the same")
}
