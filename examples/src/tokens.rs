//! Personal access tokens, of which each is good for one session at a time: a second sign-in with the same one ends the first.

use std::sync::Arc;
use std::time::Duration;

use kinetic_tableau_sync::worker::{Slot, Slots};
use kinetic_tableau_sync::{Stop, SystemClock};

use crate::config::{Config, SignIn};
use crate::connect;
use crate::failure::Outcome;
use crate::output::say;
use crate::store::Store;

/// How often a worker looks whether a token has become free.
const LOOK: Duration = Duration::from_secs(5);

/// What to do when every token is in use by other workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Wait until one is free: whoever works all day can.
    Wait,
    /// Use the first one nevertheless. Its session ends, and the worker that had it signs in again when it needs to.
    Share,
}

/// A token for this process: which one, and the slot that keeps others from it. None where sessions do not end one another.
pub(crate) async fn take(config: &Config, store: &Store, taken: Taken, stop: &Stop) -> Outcome<(usize, Option<Slot>)> {
    let SignIn::Pat { tokens } = &config.tableau.sign_in else { return Ok((0, None)) };
    let place = format!("tableau-token/{}/{}", config.tableau.url, config.tableau.site);
    let names: Vec<String> = tokens.iter().map(|token| format!("{place}/{}", token.name)).collect();
    let slots = Slots::new(store.state(), Arc::new(SystemClock), connect::owner(config));
    let mut told = false;
    loop {
        if let Some((nth, slot)) = slots.take_one_of(&names).await? {
            return Ok((nth, Some(slot)));
        }
        if taken == Taken::Share {
            return Ok((0, None));
        }
        if !told {
            told = true;
            say(format_args!(
                "{} each of the {} personal access tokens is in use by another worker; this one waits until one is free",
                chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ"),
                tokens.len()
            ));
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.stopped() => return Ok((0, None)),
        }
    }
}
