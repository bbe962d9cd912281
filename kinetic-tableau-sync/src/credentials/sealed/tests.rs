//! A sealed file from its making to its end, and each way in which it can be wrong.

use std::path::Path;

use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use super::*;

fn name(text: &str) -> SecretName {
    SecretName::new(text).unwrap()
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

fn passphrase(text: &str) -> SealKey {
    SealKey::passphrase(secret(text)).unwrap().work_factor(2)
}

fn new_key(directory: &TempDir, file: &str) -> SealKey {
    SealKey::create_file(directory.path().join(file)).unwrap()
}

async fn get(store: &SealedFile, secret: &str) -> Option<String> {
    store.get(&name(secret)).await.unwrap().map(|found| found.expose_secret().to_owned())
}

fn said(error: &CredentialError, path: &Path) -> CredentialErrorKind {
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()) && !text.contains('\n'), "{text}");
    assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{text}");
    error.kind()
}

#[tokio::test]
async fn secrets_are_kept_changed_and_removed_by_either_kind_of_key() {
    let directory = tempfile::tempdir().unwrap();
    for (file, key) in [("a.age", new_key(&directory, "a.key")), ("b.age", passphrase("some words"))] {
        let path = directory.path().join(file);
        let store = SealedFile::create(&path, key.clone()).await.unwrap();
        assert_eq!(get(&store, "api-key").await, None);
        store.set(&name("api-key"), &secret("one"), Some("of the test company")).await.unwrap();
        store.set(&name("password"), &secret("\"two\"\n\u{1F512}"), None).await.unwrap();
        store.rotate(&name("api-key"), &secret("three")).await.unwrap();

        let again = SealedFile::open(&path, key).await.unwrap();
        assert_eq!(get(&again, "api-key").await.as_deref(), Some("three"));
        assert_eq!(get(&again, "password").await.as_deref(), Some("\"two\"\n\u{1F512}"));
        let listed = again.list().await.unwrap();
        let names: Vec<&str> = listed.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["api-key", "password"]);
        assert_eq!(listed[0].note.as_deref(), Some("of the test company"));
        assert!(listed[0].previous_at <= listed[0].set_at && listed[0].previous_at.is_some());
        assert!(again.remove(&name("password")).await.unwrap() && !again.remove(&name("password")).await.unwrap());
        // The first one sees what the other has written.
        assert_eq!(get(&store, "password").await, None);
        assert!(!format!("{again:?} {listed:?}").contains("three"));
    }
}

#[tokio::test]
async fn what_is_no_value_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = SealedFile::create(directory.path().join("a.age"), passphrase("p")).await.unwrap();
    for value in ["", " \n", &"x".repeat(private::LONGEST + 1)] {
        let error = store.set(&name("a"), &secret(value), None).await.unwrap_err();
        assert_eq!(error.kind(), CredentialErrorKind::Invalid);
    }
    assert_eq!(store.rotate(&name("a"), &secret("x")).await.unwrap_err().kind(), CredentialErrorKind::Unknown);
}

#[tokio::test]
async fn a_file_is_never_made_over_another_one_and_a_missing_one_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.age");
    let missing = SealedFile::open(&path, passphrase("p")).await.unwrap_err();
    assert_eq!(said(&missing, &path), CredentialErrorKind::Missing);
    SealedFile::create(&path, passphrase("p")).await.unwrap();
    let before = std::fs::read(&path).unwrap();
    let exists = SealedFile::create(&path, passphrase("q")).await.unwrap_err();
    assert_eq!(said(&exists, &path), CredentialErrorKind::Exists);
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_key_that_does_not_fit_is_told_by_what_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let (right, wrong) = (new_key(&directory, "right"), new_key(&directory, "wrong"));
    let (by_key, by_words) = (directory.path().join("k.age"), directory.path().join("p.age"));
    SealedFile::create(&by_key, right.clone()).await.unwrap();
    SealedFile::create(&by_words, passphrase("right canary words")).await.unwrap();
    for (path, key, words) in [
        (&by_key, wrong, "the key file "),
        (&by_words, passphrase("wrong canary words"), "the passphrase does not open"),
        (&by_key, passphrase("right canary words"), "opened by a key, not by a passphrase"),
        (&by_words, right, "opened by a passphrase, not by a key"),
    ] {
        let error = SealedFile::open(path, key).await.unwrap_err();
        assert_eq!(said(&error, path), CredentialErrorKind::WrongKey);
        assert!(error.to_string().contains(words), "{error}");
        assert!(!format!("{error:?}").contains("canary"));
    }
}

/// Bytes of a sealed file with one secret.
async fn sealed(directory: &TempDir, key: &SealKey) -> Vec<u8> {
    let path = directory.path().join("sealed.age");
    let store = SealedFile::create(&path, key.clone()).await.unwrap();
    store.set(&name("api-key"), &secret("canary"), None).await.unwrap();
    std::fs::read(&path).unwrap()
}

/// Where the header of the format ends in the textual form.
fn header_end(bytes: &[u8]) -> usize {
    use base64::Engine as _;
    let text = std::str::from_utf8(bytes).unwrap();
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let binary = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
    let at = binary.windows(5).position(|window| window == b"\n--- ").unwrap();
    // In lines of 64 letters, behind the first one.
    let letters = at.div_ceil(3) * 4;
    35 + letters + letters / 64
}

/// Places in a file: all in its header and at its end, and some between.
fn places(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let (header, length) = (header_end(bytes) + 70, bytes.len());
    (0..length).filter(move |at| *at < header || *at + 50 > length || at % 2_999 == 0)
}

#[tokio::test]
async fn a_flipped_byte_anywhere_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = Path::new("/some/sealed.age");
    for key in [new_key(&directory, "key"), passphrase("some words")] {
        let bytes = sealed(&directory, &key).await;
        std::fs::remove_file(directory.path().join("sealed.age")).unwrap();
        envelope::open(&bytes, &key, path).unwrap();
        let (mut wrong_key, mut version) = (Vec::new(), Vec::new());
        for at in places(&bytes) {
            let mut flipped = bytes.clone();
            flipped[at] ^= [0x01, 0x20, 0x80, 0xff][at % 4];
            let error = envelope::open(&flipped, &key, path).expect_err("it opened");
            match said(&error, path) {
                CredentialErrorKind::Damaged => {}
                // Nobody can tell a damaged salt from a wrong passphrase; the hint says so.
                CredentialErrorKind::WrongKey => {
                    assert!(error.hint().unwrap().contains("damaged"), "{error}");
                    wrong_key.push(at);
                }
                // Nor a damaged version from another one.
                CredentialErrorKind::Newer => {
                    assert!(error.hint().unwrap().contains("damaged"), "{error}");
                    version.push(at);
                }
                other => panic!("byte {at} is {other:?}: {error}"),
            }
        }
        // Only where the file's own key is wrapped.
        let end = header_end(&bytes);
        assert!(wrong_key.iter().all(|at| (60..end).contains(at)), "{wrong_key:?} {end}");
        assert!(version.iter().all(|at| (60..70).contains(at)), "{version:?}");
    }
}

#[tokio::test]
async fn a_file_that_was_cut_anywhere_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = Path::new("/some/sealed.age");
    let key = new_key(&directory, "key");
    let bytes = sealed(&directory, &key).await;
    // Without its last line break it is whole.
    envelope::open(&bytes[..bytes.len() - 1], &key, path).unwrap();
    for at in places(&bytes).take_while(|at| *at < bytes.len() - 1) {
        let error = envelope::open(&bytes[..at], &key, path).expect_err("it opened");
        assert_eq!(said(&error, path), CredentialErrorKind::Truncated, "cut at {at}: {error}");
    }
}

/// Seals any text, as a program of another version would.
fn seal_text(text: &str, key: &SealKey) -> Vec<u8> {
    use std::io::Write as _;
    let recipient = key.recipient();
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&*recipient)).unwrap();
    let mut bytes = Vec::new();
    let mut writer = encryptor.wrap_output(&mut bytes).unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    writer.finish().unwrap();
    bytes
}

#[test]
fn another_version_of_the_document_or_of_the_format_is_told() {
    let (key, path) = (passphrase("p"), Path::new("/some/sealed.age"));
    // In the binary form, as the format's own tool writes it unless told otherwise.
    let ours = seal_text(
        r#"{"format":"kinetic-tableau-credentials","version":1,"secrets":{"a":{"value":"b","set_at":"2026-11-26T10:00:00Z"}}}"#,
        &key,
    );
    assert_eq!(envelope::open(&ours, &key, path).unwrap().get(&name("a")).unwrap().expose_secret(), "b");
    let cut = envelope::open(&ours[..60], &key, path).unwrap_err();
    assert_eq!(cut.kind(), CredentialErrorKind::Truncated);
    for (bytes, kind) in [
        (seal_text(r#"{"format":"kinetic-tableau-credentials","version":9}"#, &key), CredentialErrorKind::Newer),
        (seal_text("canary: a file of somebody else", &key), CredentialErrorKind::Invalid),
        (b"age-encryption.org/v7\n-> X25519 abc\n--- def\n".to_vec(), CredentialErrorKind::Newer),
        (b"canary: no sealed file at all, but a text of some length".to_vec(), CredentialErrorKind::Damaged),
        (b"garbage".to_vec(), CredentialErrorKind::Damaged),
        (Vec::new(), CredentialErrorKind::Truncated),
    ] {
        let error = envelope::open(&bytes, &key, path).unwrap_err();
        assert_eq!(said(&error, path), kind, "{error}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}

#[tokio::test]
async fn after_a_change_of_the_key_only_the_new_one_opens_it() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (new_key(&directory, "old"), passphrase("new words"));
    let path = directory.path().join("sealed.age");
    let store = SealedFile::create(&path, old.clone()).await.unwrap();
    store.set(&name("a"), &secret("canary"), None).await.unwrap();
    store.rekey(new.clone()).await.unwrap();
    assert_eq!(get(&store, "a").await.as_deref(), Some("canary"));
    store.set(&name("b"), &secret("written with the new key"), None).await.unwrap();
    let refused = SealedFile::open(&path, old.clone()).await.unwrap_err();
    assert_eq!(refused.kind(), CredentialErrorKind::WrongKey);
    let opened = SealedFile::open(&path, new).await.unwrap();
    assert_eq!(get(&opened, "b").await.as_deref(), Some("written with the new key"));

    // A change of the key that cannot be written leaves the old one in force.
    let stuck = file::Lock::take(&path).unwrap();
    let busy = opened.rekey(old.clone()).await.unwrap_err();
    assert_eq!(said(&busy, &path), CredentialErrorKind::Busy);
    drop(stuck);
    assert_eq!(get(&opened, "a").await.as_deref(), Some("canary"));
    assert!(SealedFile::open(&path, old).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_write_at_once_nobody_undoes_the_work_of_another() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sealed.age");
    let key = new_key(&directory, "key");
    SealedFile::create(&path, key.clone()).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for nth in 0..8 {
        let (path, key) = (path.clone(), key.clone());
        writers.spawn(async move {
            // A handle of its own, as another process has.
            let store = SealedFile::open(&path, key).await.unwrap();
            let (name, value) = (name(&format!("n{nth}")), secret("value"));
            loop {
                match store.set(&name, &value, None).await {
                    Err(error) if error.kind() == CredentialErrorKind::Busy => {}
                    ended => break ended.unwrap(),
                }
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    let store = SealedFile::open(&path, key).await.unwrap();
    assert_eq!(store.list().await.unwrap().len(), 8);
}

#[tokio::test]
async fn nothing_lies_in_clear_beside_it_and_its_size_tells_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sealed.age");
    let store = SealedFile::create(&path, passphrase("canary words")).await.unwrap();
    let empty = std::fs::metadata(&path).unwrap().len();
    for nth in 0..5 {
        store
            .set(&name(&format!("n{nth}")), &secret("canary-value-of-some-length"), Some("canary-note"))
            .await
            .unwrap();
    }
    assert_eq!(std::fs::metadata(&path).unwrap().len(), empty);
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"canary"));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_to_the_file_stays_a_link() {
    let directory = tempfile::tempdir().unwrap();
    let (path, link) = (directory.path().join("sealed.age"), directory.path().join("link.age"));
    SealedFile::create(&path, passphrase("p")).await.unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let store = SealedFile::open(&link, passphrase("p")).await.unwrap();
    store.set(&name("a"), &secret("b"), None).await.unwrap();
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert_eq!(get(&SealedFile::open(&path, passphrase("p")).await.unwrap(), "a").await.as_deref(), Some("b"));
}
