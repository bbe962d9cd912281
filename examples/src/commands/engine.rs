//! `engine`: find or install Tableau's extract engine.

use kinetic_tableau_sync::hyper::{EngineLocation, InstallOptions, install};

use crate::args::Engine;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::say;

pub(super) async fn run(command: &Engine) -> Outcome<Exit> {
    match command {
        Engine::Where => {
            let location = EngineLocation::find()?;
            say(format_args!("{} ({})", location.hyperd.display(), location.origin));
        }
        Engine::Install => {
            let location = fetch().await?;
            say(format_args!("installed: {}", location.hyperd.display()));
        }
    }
    Ok(Exit::Done)
}

/// Fetches the engine. Pip runs in a blocking call.
pub(super) async fn fetch() -> Outcome<EngineLocation> {
    tokio::task::spawn_blocking(|| install(&InstallOptions::default()))
        .await
        .map_err(|error| Failure::of(&error, None).within("engine install"))?
        .map_err(Failure::from)
}
