//! Looks through the memory of this process for a secret that should be gone.

use std::fs::File;
use std::io::{BufRead as _, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};

use super::super::CredentialStore as _;
use super::document::Document;
use super::{SealKey, SealedFile, SecretName, envelope};

/// Looks for a secret, and leaves no copy of it by that. All memory it needs is taken beforehand: what it took later might overwrite what it
/// looks for.
struct Search {
    masked: Vec<u8>,
    maps: String,
    memory: File,
    buffer: Vec<u8>,
}

const MASK: u8 = 0xa5;

impl Search {
    fn of(secret: &SecretString) -> Self {
        Self {
            masked: secret.expose_secret().bytes().filter(|byte| *byte != b'"').map(|byte| byte ^ MASK).collect(),
            maps: String::with_capacity(1 << 20),
            memory: File::open("/proc/self/mem").unwrap(),
            buffer: vec![0; 1 << 20],
        }
    }

    /// How often it is in the writable memory of this process.
    fn count(&mut self) -> usize {
        let Self { masked, maps, memory, buffer } = self;
        maps.clear();
        File::open("/proc/self/maps").unwrap().read_to_string(maps).unwrap();
        let mut found = 0;
        for line in maps.lines().filter(|line| line.contains(" rw") && !line.contains("[v")) {
            let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let (mut at, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
            while at < to {
                let length = usize::try_from(to - at).unwrap().min(buffer.len());
                // What another thread has given back meanwhile is no memory of ours any more.
                let Ok(read @ 1..) = memory.read_at(&mut buffer[..length], at) else { break };
                // Jumping from first letter to first letter is what the standard library is fast at.
                let mut rest = &buffer[..read];
                while rest.skip_until(masked[0] ^ MASK).unwrap() > 0 {
                    let same = rest.iter().zip(&masked[1..]).all(|(one, other)| one ^ MASK == *other);
                    found += usize::from(same && rest.len() + 1 >= masked.len());
                }
                // Pieces overlap by less than the length of what is looked for.
                at += u64::try_from((read + 1).saturating_sub(masked.len()).max(1)).unwrap();
                buffer.fill(0);
            }
        }
        found
    }
}

/// A value that is in no program and no file.
fn fresh() -> SecretString {
    let mut text = String::with_capacity(64);
    for byte in uuid::Uuid::new_v4().as_bytes().iter().chain(uuid::Uuid::new_v4().as_bytes()) {
        text.push(char::from(b'a' + byte % 26));
    }
    // A letter that JSON escapes, which is not looked for.
    text.push('"');
    SecretString::from(text)
}

/// Makes room in the middle of the heap, so that what is freed stays there, instead of going back to the operating system, which
/// overwrites it. Keep what it answers.
fn room() -> Vec<u8> {
    let hole: Vec<Vec<u8>> = (0..40).map(|_| vec![1; 100_000]).collect();
    let above = vec![1; 100_000];
    drop(hole);
    above
}

fn sealed(name: &str, value: SecretString, key: &SealKey) -> Vec<u8> {
    let mut document = Document::default();
    document.set(SecretName::new(name).unwrap(), value, None, chrono::Utc::now());
    envelope::seal(&document, key).unwrap()
}

#[test]
fn neither_sealing_nor_opening_leaves_a_copy_of_a_secret_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let key = SealKey::create_file(directory.path().join("key")).unwrap();
    let _above = room();
    let secret = fresh();
    let mut search = Search::of(&secret);
    assert!(search.count() > 0, "the search finds nothing");
    let bytes = sealed("a", secret, &key);
    assert_eq!(search.count(), 0, "behind sealing");
    let document = envelope::open(&bytes, &key, Path::new("sealed.age")).unwrap();
    assert!(search.count() > 0, "the search finds nothing");
    drop(document);
    assert_eq!(search.count(), 0, "behind opening");
}

#[tokio::test]
async fn once_everything_is_dropped_no_copy_of_a_secret_is_left_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sealed.age");
    let key = SealKey::create_file(directory.path().join("key")).unwrap();
    let (first, second) = (fresh(), fresh());
    let mut searches = [Search::of(&first), Search::of(&second)];
    let (name, other) = (SecretName::new("a").unwrap(), SecretName::new("b").unwrap());
    let writer = SealedFile::create(&path, key.clone()).await.unwrap();
    writer.set(&name, &first, None).await.unwrap();
    writer.set(&other, &second, None).await.unwrap();
    let reader = SealedFile::open(&path, key).await.unwrap();
    let found = reader.get(&name).await.unwrap().unwrap();
    assert!(searches.iter_mut().all(|search| search.count() > 0), "the search finds nothing");
    drop((first, second, writer, reader, found));
    assert_eq!(searches.each_mut().map(Search::count), [0, 0]);
}
