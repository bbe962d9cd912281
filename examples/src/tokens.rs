//! Personal access tokens, of which each is good for one session at a time: a second sign-in with the same one ends the first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kinetic_tableau_sync::worker::{Slot, Slots};
use kinetic_tableau_sync::{Stop, SystemClock};

use crate::config::{Config, SignIn};
use crate::connect;
use crate::failure::{Failure, Outcome};
use crate::output::say;
use crate::store::Store;

/// How often a worker looks whether a token has become free.
const LOOK: Duration = Duration::from_secs(2);

/// What to do when every token is in use by other workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Wait until one is free: whoever works all day can.
    Wait,
    /// Wait for so long, which is enough for the token of a process that has died, and fail then.
    WaitFor(Duration),
}

/// A token for this process: which one, and the slot that keeps others from it. None where sessions do not end one another, and where
/// the store is one file: a slot that is held all day would keep every other process from it. Those that Tableau has refused are passed
/// over.
pub(crate) async fn take(
    config: &Config,
    store: &Store,
    taken: Taken,
    stop: &Stop,
    refused: &[usize],
) -> Outcome<(usize, Option<Slot>)> {
    let (slots, names) = slots(config, store);
    let left: Vec<usize> = (0..names.len()).filter(|nth| !refused.contains(nth)).collect();
    if names.is_empty() || store.state().locks_as_a_whole() {
        return Ok((left.first().copied().unwrap_or_default(), None));
    }
    let places: Vec<String> = left.iter().filter_map(|nth| names.get(*nth)).cloned().collect();
    let began = Instant::now();
    let mut told = false;
    loop {
        if let Some((at, slot)) = slots.take_one_of(&places).await? {
            return Ok((left.get(at).copied().unwrap_or_default(), Some(slot)));
        }
        if let Taken::WaitFor(longest) = taken
            && began.elapsed() >= longest
        {
            let failure = Failure::new(in_use(places.len())).into_busy();
            return Err(failure.next(
                "let the worker do it (`trigger`), or give this process a token of its own in `[tableau.auth] tokens`",
            ));
        }
        if !told {
            told = true;
            say(format_args!(
                "{} {}; this one waits until one is free",
                chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ"),
                in_use(places.len())
            ));
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.stopped() => {
                return Err(Failure::new("stopped while waiting for a personal access token").into_interrupted());
            }
        }
    }
}

fn in_use(tokens: usize) -> String {
    match tokens {
        1 => "the personal access token is in use by another worker".to_owned(),
        tokens => format!("each of the {tokens} personal access tokens is in use by another worker"),
    }
}

/// The tokens that no worker is using, with the slots that keep them so; all of them where nobody can tell.
pub(crate) async fn free(config: &Config, store: Option<&Store>) -> Outcome<Vec<(usize, Option<Slot>)>> {
    let SignIn::Pat { tokens } = &config.tableau.sign_in else { return Ok(vec![(0, None)]) };
    let Some(store) = store.filter(|store| !store.state().locks_as_a_whole()) else {
        return Ok((0..tokens.len()).map(|nth| (nth, None)).collect());
    };
    let (slots, names) = slots(config, store);
    let mut free = Vec::new();
    for (nth, name) in names.into_iter().enumerate() {
        if let Some((_, slot)) = slots.take_one_of(&[name]).await? {
            free.push((nth, Some(slot)));
        }
    }
    Ok(free)
}

/// The slots of a store, and the names of those of the tokens.
fn slots(config: &Config, store: &Store) -> (Slots, Vec<String>) {
    let names = match &config.tableau.sign_in {
        SignIn::Pat { tokens } => {
            let place = format!("tableau-token/{}/{}", config.tableau.url, config.tableau.site);
            tokens.iter().map(|token| format!("{place}/{}", token.name)).collect()
        }
        _ => Vec::new(),
    };
    let slots = Slots::new(store.state(), Arc::new(SystemClock), connect::owner(config)).ttl(config.worker.lease);
    (slots, names)
}
