//! `demo`: the whole way on simulators, through the same code as `sync`.
//!
//! Full sync, changes, incremental sync; then deletes and edits that no stamp tells of, and a reconcile. After each of them, what has landed is taken out of Tableau and compared with the source,
//! cell by cell.

mod compare;
mod report;
mod scene;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use kinetic_tableau_sync::hyper::{Engine, EngineLocation, HyperErrorKind};
use kinetic_tableau_sync::{RunSummary, Stop};
use tempfile::TempDir;

use self::compare::{Comparison, compare};
use self::report::Report;
use self::scene::{PARTS, Scene};
use super::sync::{self, Doing};
use crate::args;
use crate::config::{Config, Dataset};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{self, Reporter, grouped};

/// One cycle or reconcile of all datasets, with the proof of it; both in the order of [`PARTS`].
#[derive(Debug)]
struct Cycle {
    runs: Vec<RunSummary>,
    found: Vec<Comparison>,
}

/// Shows it, and keeps the servers up where that was asked for.
pub(super) async fn run(options: &args::Demo) -> Outcome<Exit> {
    let shown = tokio::select! {
        shown = show(options) => shown?,
        () = super::interrupted() => return Ok(Exit::Interrupted),
    };
    if !options.serve {
        return Ok(Exit::Done);
    }
    let place = options.keep.as_deref().unwrap_or(Path::new("."));
    output::say_lines(format_args!(
        "\nBoth servers stay up until Ctrl-C, and rows change all the time. In another terminal, for instance\n  \
         kinetic-tableau --config {0} check\n  kinetic-tableau --config {0} run\n  kinetic-tableau --config {0} status",
        place.join("kinetic-tableau.toml").display()
    ));
    tokio::select! {
        () = shown.live() => {}
        () = super::interrupted() => {}
    }
    Ok(Exit::Done)
}

/// Answers the scene once all is shown and was found to be right.
async fn show(options: &args::Demo) -> Outcome<Scene> {
    let began = Instant::now();
    let tell = |line: String| {
        if !options.json {
            output::say_lines(line);
        }
    };
    let place = Place::new(options.keep.as_deref())?;
    let directory = place.directory.as_path();
    let location = engine().await?;
    let scene = Scene::start(options.rows).await?;
    scene.configure(directory, options.serve)?;
    let config = Config::load(&directory.join("kinetic-tableau.toml"))?;
    // Dropped at the end: it must outlive both comparisons.
    let engine = Engine::start(&location).await?;

    tell(format!("Kinetic and Tableau are simulated here; {} AP invoices", grouped(options.rows)));
    tell("\n1. Full sync".to_owned());
    let full = cycle(&scene, &config, &engine, directory, Doing::Cycle, options.json).await?;
    tell(format!("   {}", report::verdict(&full.found)));
    scene.change();
    tell("\n2. Some rows change in Kinetic, then an incremental sync".to_owned());
    let incremental = cycle(&scene, &config, &engine, directory, Doing::Cycle, options.json).await?;
    tell(format!("   {}", report::verdict(&incremental.found)));
    scene.change_unseen();
    tell("\n3. Rows are deleted, and edited without a stamp; then a sync, and a reconcile behind it".to_owned());
    let reconciled = cycle(&scene, &config, &engine, directory, Doing::Reconcile, options.json).await?;
    tell(format!("   {}", report::verdict(&reconciled.found)));

    let page = directory.join("kinetic-tableau-report.html");
    super::report::to_file(&config, &page).await?;
    let report = Report::new(&full, &incremental, &reconciled, directory, page, began.elapsed());
    if options.json {
        output::say_json(&report);
    } else {
        output::say_lines(format_args!("\n{report}"));
    }
    place.settle();
    if report.matches() {
        return Ok(scene);
    }
    let mut failure = Failure::new("what has landed is not what is in the source")
        .next("compare the extract that the report names with the source; this is a defect, please report it");
    if let Some(first) =
        full.found.iter().chain(&incremental.found).chain(&reconciled.found).flat_map(|found| &found.named).next()
    {
        failure = failure.within(first);
    }
    Err(failure)
}

/// The directory of the demo.
#[derive(Debug)]
struct Place {
    directory: PathBuf,
    /// Removed with everything in it, unless the demo comes to its end.
    temporary: Option<TempDir>,
}

impl Place {
    /// The directory that was named, which must be empty, or a new one in the system's temporary directory.
    fn new(named: Option<&Path>) -> Outcome<Self> {
        let Some(directory) = named else {
            let made = tempfile::Builder::new().prefix("kinetic-tableau-demo-").tempdir().map_err(|error| {
                Failure::new(format!("no temporary directory can be made: {error}"))
                    .next("name a directory with --keep DIR")
            })?;
            return Ok(Self { directory: made.path().to_owned(), temporary: Some(made) });
        };
        if std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some()) {
            // It may hold a real configuration and a real state.
            return Err(Failure::usage(format!("{} is not empty", directory.display()))
                .next("name a new directory with --keep"));
        }
        scene::create_private(directory)?;
        let directory = std::path::absolute(directory).map_err(|error| Failure::of(&error, None).within("--keep"))?;
        Ok(Self { directory, temporary: None })
    }

    /// At the end: of a temporary directory only the extracts and the page stay, which the report names.
    fn settle(self) {
        let Some(temporary) = self.temporary else { return };
        // What cannot be removed only takes space.
        for entry in std::fs::read_dir(temporary.keep()).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                let _ = std::fs::remove_dir_all(&path);
            } else if path.extension().is_none_or(|kind| kind != "hyper" && kind != "html") {
                let _ = std::fs::remove_file(&path);
            }
        }
    }
}

/// Finds the engine, or fetches it: the demo works on a machine with only Rust and pip.
async fn engine() -> Outcome<EngineLocation> {
    match EngineLocation::find() {
        Ok(found) => Ok(found),
        // A wrong HYPERD_PATH is not mended by a download.
        Err(error) if error.kind() == HyperErrorKind::NotFound && std::env::var_os("HYPERD_PATH").is_none() => {
            output::note(
                "Tableau's extract engine is not on this machine yet: fetching it with pip (about 90 MB, once)",
            );
            super::engine::fetch().await
        }
        Err(error) => Err(error.into()),
    }
}

async fn cycle(
    scene: &Scene,
    config: &Config,
    engine: &Engine,
    place: &Path,
    doing: Doing,
    json: bool,
) -> Outcome<Cycle> {
    let datasets: Vec<&Dataset> = config.datasets.iter().collect();
    let mut failed = None;
    let cycles =
        sync::all(config, &datasets, doing, Arc::new(Reporter::new(json).brief()), &Stop::new(), |ended| match ended {
            Ok(cycle) => {
                if let Some(run) = cycle.run.as_ref().filter(|_| !json) {
                    output::say(format_args!("   {}", output::summary(cycle.name(), run)));
                }
            }
            Err((_, failure)) => failed = failed.take().or_else(|| Some(failure.clone())),
        })
        .await?;
    if let Some(failure) = failed {
        return Err(failure);
    }
    let runs: Vec<RunSummary> = cycles.into_iter().filter_map(|cycle| cycle.run).collect();
    if let Some(failure) = runs.iter().find_map(sync::unsettled) {
        return Err(failure);
    }
    let mut found = Vec::with_capacity(PARTS.len());
    for part in PARTS {
        let extract = place.join(format!("{}.hyper", part.name));
        scene.take_extract(part, &extract)?;
        found.push(compare(engine, &extract, part.key, &scene.truth(part)).await?);
    }
    Ok(Cycle { runs, found })
}
