//! What a store of notes promises.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a suite for tests: a broken promise is a panic")]

use std::sync::Arc;

use crate::store::{NoteStore, StateErrorKind};

/// Runs the suite.
pub async fn note_store<S: NoteStore>(make: impl Fn() -> Arc<S>) {
    let store = make();
    assert_eq!(store.note("a/1").await.unwrap(), None);
    let first = store.write_note("a/1", None, "{\"Łódź\":\"\\\" '%_\"}").await.unwrap();
    let found = store.note("a/1").await.unwrap().unwrap();
    assert_eq!(
        (found.version, found.body.as_str()),
        (first, "{\"Łódź\":\"\\\" '%_\"}"),
        "a note comes back as written"
    );
    let stale = |error: crate::StateError| assert_eq!(error.kind(), StateErrorKind::Stale);
    stale(store.write_note("a/1", None, "").await.unwrap_err());
    let second = store.write_note("a/1", Some(first), "").await.unwrap();
    assert!(second > first, "versions grow");
    stale(store.write_note("a/1", Some(first), "late").await.unwrap_err());
    stale(store.write_note("a/2", Some(first), "not there").await.unwrap_err());
    stale(store.remove_note("a/1", first).await.unwrap_err());
    assert_eq!(store.note("a/1").await.unwrap().unwrap().body, "", "a refused write changes nothing");

    // Names are told apart by their bytes, whatever they hold.
    for name in ["a/%", "a/_", "A/1", "a", "b/1", "a/é", "a0"] {
        store.write_note(name, None, name).await.unwrap();
    }
    let names =
        |found: Vec<(String, crate::store::Note)>| -> Vec<String> { found.into_iter().map(|(name, _)| name).collect() };
    assert_eq!(names(store.notes("a/").await.unwrap()), ["a/%", "a/1", "a/_", "a/é"]);
    assert_eq!(names(store.notes("a/%").await.unwrap()), ["a/%"], "a prefix is no pattern");
    assert_eq!(names(store.notes("a/_").await.unwrap()), ["a/_"]);
    assert_eq!(names(store.notes("c").await.unwrap()), Vec::<String>::new());
    assert_eq!(store.notes("").await.unwrap().len(), 8);

    // A note that comes back is another one.
    store.remove_note("a/1", second).await.unwrap();
    assert_eq!(store.note("a/1").await.unwrap(), None);
    stale(store.remove_note("a/1", second).await.unwrap_err());
    let third = store.write_note("a/1", None, "again").await.unwrap();
    assert!(third > second, "a version is never given twice");
    stale(store.write_note("a/1", Some(second), "by an old version").await.unwrap_err());
}
