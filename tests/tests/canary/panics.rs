//! A source of one's own that panics with secrets in its message, in a process of its own: what it prints is searched.

use std::process::Stdio;
use std::sync::Arc;

use kinetic_tableau_sync::credentials::SecretString;
use kinetic_tableau_sync::store::MemoryStore;
use kinetic_tableau_sync::{Redactor, Syncer};
use tokio::process::Command;

use super::canaries::{Canaries, hits, said};
use super::library::{confess, dataset};
use super::own::{At, Talker};

/// Says in the child what it is to do.
const ROLE: &str = "KT_CANARY_PANIC";

/// The child: a run whose source panics.
async fn panic(hooked: bool, canaries: &Canaries) {
    let redactor = Redactor::new();
    for canary in canaries.all() {
        redactor.add(&SecretString::from(canary.secret.as_str()));
    }
    if hooked {
        redactor.hook_panics();
    }
    let words = canaries.all().map(|canary| said(&canary.secret)).join(" | ");
    let talker = Arc::new(Talker { at: At::Panic, words });
    let store = Arc::new(MemoryStore::new());
    let syncer = Syncer::builder(Arc::clone(&talker) as _, talker, store).redactor(&redactor).build();
    let error = syncer.run(&dataset()).await.unwrap_err();
    eprintln!("the run ended: {}", confess(&error));
}

#[tokio::test]
async fn a_panic_prints_no_secret_once_the_hook_is_set() {
    let canaries = Canaries::new();
    if let Ok(role) = std::env::var(ROLE).as_deref() {
        return panic(role == "hooked", &canaries).await;
    }
    for (role, clean) in [("hooked", true), ("plain", false)] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "canary::panics::a_panic_prints_no_secret_once_the_hook_is_set", "--nocapture"])
            .env(ROLE, role)
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        // The run survives it, and says so.
        assert!(text.contains("panicked at") && text.contains("the run ended: dataset talk, read"), "{text}");
        let found = hits(&output.stderr, canaries.all());
        assert_eq!(found.is_empty(), clean, "{role}: {found:?}");
        assert!(hits(&output.stdout, canaries.all()).is_empty());
    }
}
