//! `check`: could a sync work? Looks at everything a sync needs, one after the other, and changes nothing.

use std::path::Path;
use std::time::Instant;

use kinetic_tableau_sync::hyper::{Engine, EngineLocation};
use kinetic_tableau_sync::worker::Slot;
use kinetic_tableau_sync::{KineticSource, RefreshTarget, Resolution, TargetState, Track};
use serde::Serialize;

use crate::config::{Config, Dataset, Deliver, SecretRef, Service, SignIn, StoreLocation};
use crate::connect;
use crate::deliver::Destinations;
use crate::failure::{Exit, Failure, Outcome, one_line};
use crate::output::{self, say};
use crate::service;
use crate::store::Store;
use crate::tokens;

#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    checks: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct Finding {
    check: String,
    ok: bool,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// What lies behind a failure, for those who ask (`--verbose`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    because: Vec<String>,
}

/// Collects what was found, and shows it at once.
#[derive(Debug)]
struct Findings {
    json: bool,
    verbose: bool,
    all: Vec<Finding>,
}

impl Findings {
    /// Notes an outcome; answers what was found, if it was good.
    fn note<T>(&mut self, check: impl Into<String>, outcome: Outcome<(T, String)>) -> Option<T> {
        let check = check.into();
        let (good, finding) = match outcome {
            Ok((good, message)) => (Some(good), Finding { check, ok: true, message, next: None, because: Vec::new() }),
            Err(failure) => {
                let next = failure.hint().map(one_line);
                let because = if self.verbose { failure.causes().collect() } else { Vec::new() };
                let message = once(&check, &one_line(failure.message())).to_owned();
                (None, Finding { check, ok: false, message, next, because })
            }
        };
        if !self.json {
            say(format_args!("{} {}: {}", if finding.ok { '✓' } else { '✗' }, finding.check, finding.message));
            if let Some(next) = &finding.next {
                say(format_args!("    next: {next}"));
            }
            for cause in &finding.because {
                say(format_args!("    because: {cause}"));
            }
        }
        self.all.push(finding);
        good
    }
}

/// What failed, without the place in front that the name of the check says already: a section, a dataset, a system.
fn once<'a>(check: &str, message: &'a str) -> &'a str {
    let mut rest = message;
    loop {
        if let Some((place, behind)) = rest.split_once(": ") {
            let bare = place.replace(['[', ']'], "");
            let is_named = check == bare
                || check.strip_suffix(place).is_some_and(|before| before.ends_with(' '))
                // The step at which a dataset failed: of those a check has one.
                || place.strip_prefix(check).is_some_and(|step| step.starts_with(','))
                || (check == "state" && place == "[state] store");
            if is_named {
                rest = behind;
                continue;
            }
        }
        let section = rest.strip_prefix('[').and_then(|rest| rest.strip_prefix(check)?.strip_prefix("] "));
        let Some(key) = section else { break };
        rest = key;
    }
    // The address is not said yet.
    match rest.split_once(" at ") {
        Some((system, address)) if system.eq_ignore_ascii_case(check) => address,
        _ => rest,
    }
}

pub(super) async fn run(config: &Config, json: bool, verbose: bool) -> Outcome<Exit> {
    let mut findings = Findings { json, verbose, all: Vec::new() };
    for reference in config.secret_refs() {
        findings.note(format!("secret {}", reference.place()), secret(config, reference).await);
    }
    // Without an extract nobody asks for it.
    let engine = if config.delivers(Deliver::Tableau) { findings.note("engine", engine().await) } else { None };
    let store = findings.note("state", state(config).await).flatten();
    if let Some(options) = &config.service {
        findings.note("service", service(config, options).await);
    }
    if config.delivers(Deliver::Tableau) || config.delivers(Deliver::Parquet) {
        findings.note("spool", spool(config));
    }
    if let Some(kinetic) = findings.note("kinetic", kinetic(config).await) {
        let source = KineticSource::new(kinetic);
        for dataset in &config.datasets {
            findings.note(format!("dataset {}", dataset.name()), columns(&source, dataset).await);
        }
    }
    let tableau = if config.needs_tableau() { findings.note("tableau", tableau(config).await).flatten() } else { None };
    let client = match &tableau {
        Some(client) => Ok(client.clone()),
        // Nothing is asked of it: tables can be looked at while Tableau is away.
        None => connect::tableau(config, 0).await,
    };
    if let Ok(client) = client {
        let landed = Landed { store: store.as_ref() };
        targets(config, &mut findings, (&client, tableau.is_some()), engine, landed).await;
    }
    if let Some(tableau) = &tableau {
        connect::sign_out(tableau).await;
    }
    let failed = findings.all.iter().filter(|finding| !finding.ok).count();
    let ok = failed == 0;
    if json {
        output::say_json(&Report { ok, checks: findings.all });
    } else if ok {
        say("all is well; `kinetic-tableau sync` can run");
    }
    if ok {
        return Ok(Exit::Done);
    }
    let first = if failed == 1 { "1 check failed".to_owned() } else { format!("{failed} checks failed") };
    Err(Failure::new(first).next(if json {
        "see the entries with \"ok\": false"
    } else {
        "see the lines with ✗ above"
    }))
}

/// Looks at where each dataset is delivered.
async fn targets(
    config: &Config,
    findings: &mut Findings,
    (client, is_signed_in): (&tableau_rest::Client, bool),
    engine: Option<EngineLocation>,
    landed: Landed<'_>,
) {
    // Looking at a target never starts the engine, but a destination is made with one: any file will do here.
    let engine = engine.or_else(|| EngineLocation::at(std::env::current_exe().ok()?).ok());
    let made = Destinations::new(config, client, engine, None).await;
    let destinations = match made {
        Ok(destinations) => destinations,
        Err(failure) => {
            findings.note::<()>("staging", Err(failure));
            return;
        }
    };
    let mut staging = None;
    if let Some(postgres) = destinations.postgres() {
        let checked = postgres.check().await.map_err(Failure::from);
        staging = findings.note("staging", checked.map(|place| ((), format!("rows can be staged at {place}"))));
    }
    for dataset in &config.datasets {
        let can_be_asked = if dataset.deliver == Deliver::Postgres { staging.is_some() } else { is_signed_in };
        if let (true, Some(destination)) = (can_be_asked, destinations.of(dataset.deliver)) {
            let target = &dataset.spec.target;
            let state = destination.inspect(target).await.map_err(Failure::from);
            let check = format!("target '{}' in '{}'", target.datasource, target.project);
            let ours = landed.has(dataset).await;
            findings.note(check, state.map(|state| ((), delivery(dataset, &state, ours))));
        }
    }
    if is_signed_in {
        let mut asked = Vec::new();
        for target in config.datasets.iter().flat_map(|dataset| &dataset.spec.refresh) {
            if !asked.contains(&target) {
                asked.push(target);
                findings.note(format!("refresh of {target}"), refreshable(client, target).await);
            }
        }
    }
}

/// Whether what is to be refreshed is there. Nothing is refreshed.
async fn refreshable(client: &tableau_rest::Client, target: &RefreshTarget) -> Outcome<((), String)> {
    let failed = |error| connect::at_tableau(client, error);
    let missing = || {
        Failure::new(format!("{target} is not there, or not visible to this user"))
            .next("check its name and project in `refresh`, and the rights of the Tableau user")
    };
    let project = async |project: &str| {
        let path: Vec<&str> = project.split('/').map(str::trim).collect();
        client.projects().find_path(&path).await.map_err(failed)?.ok_or_else(missing)
    };
    let found = match target {
        RefreshTarget::Datasource { project: path, name } => {
            let project = project(path).await?;
            client.datasources().find_by_name(&project.id, name).await.map_err(failed)?.len()
        }
        RefreshTarget::Workbook { project: path, name } => {
            let project = project(path).await?;
            client.workbooks().find_by_name(&project.id, name).await.map_err(failed)?.len()
        }
        RefreshTarget::Task { id } => {
            client.tasks().get(&id.as_str().into()).await.map_err(failed)?;
            1
        }
        _ => 1,
    };
    match found {
        0 => Err(missing()),
        _ => Ok(((), "there; it is refreshed behind each landing".to_owned())),
    }
}

/// Whether loads can be staged where the configuration says.
fn spool(config: &Config) -> Outcome<((), String)> {
    let place = &config.spool;
    // A directory that is not there yet is made by the first sync, in one that is.
    let there = place.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    if !there.is_dir() {
        return Err(Failure::new(format!("{} is no directory", there.display())).next("correct `[engine] spool`"));
    }
    writable(there, "[engine] spool")?;
    Ok(((), format!("{} can be written to", place.display())))
}

/// How a dataset is delivered, and what is there.
fn delivery(dataset: &Dataset, state: &TargetState, ours: bool) -> String {
    let name = &dataset.spec.target.datasource;
    match dataset.deliver {
        Deliver::Tableau => format!("delivered as an extract: {}", describe(state, ours)),
        Deliver::Parquet => {
            let there = if *state == TargetState::Absent { "nothing there yet; " } else { "" };
            format!(
                "{there}delivered as Parquet: the whole table is read and published anew each time, there are no deltas"
            )
        }
        Deliver::Postgres => {
            let refreshed = match dataset.spec.refresh.len() {
                0 => "nothing in Tableau is refreshed behind it (`refresh` names nothing)".to_owned(),
                count => format!("{count} in Tableau refreshed behind it"),
            };
            format!("delivered to the table \"{name}\" of [staging], {refreshed}: {}", describe(state, ours))
        }
    }
}

/// The engine, started once to see that it runs here.
async fn engine() -> Outcome<(EngineLocation, String)> {
    let location = EngineLocation::find()?;
    let began = Instant::now();
    drop(Engine::start(&location).await?);
    let took = began.elapsed().as_millis();
    let message = format!("{} ({}) starts in {took} ms", location.hyperd.display(), location.origin);
    Ok((location, message))
}

/// Whether a reference leads to a secret, without a word of what it is.
async fn secret(config: &Config, reference: &SecretRef) -> Outcome<((), String)> {
    let secret = reference.resolve(&config.secrets).await?;
    let place = match reference.name() {
        Some(_) => format!("{} in {}", reference.source(), config.secrets.describe()),
        None => reference.source(),
    };
    let weakness = reference.weakness(&secret).map(|why| format!("; {why}")).unwrap_or_default();
    Ok(((), format!("found: {place}{weakness}")))
}

/// What the store knows, if there is one yet.
#[derive(Clone, Copy)]
struct Landed<'a> {
    store: Option<&'a Store>,
}

impl Landed<'_> {
    /// Whether it has noted that rows of this dataset have landed.
    async fn has(self, dataset: &Dataset) -> bool {
        let Some(store) = self.store else { return false };
        // A store that cannot be read has been told of already.
        let known = store.state().load(&dataset.spec.id).await.ok().flatten();
        known.is_some_and(|known| known.checkpoint.landed.is_some())
    }
}

/// Opens the store if it is there; making it is for the first sync.
async fn state(config: &Config) -> Outcome<(Option<Store>, String)> {
    if matches!(config.store, StoreLocation::Memory) {
        return Ok((None, "in memory: each start begins with a full load".to_owned()));
    }
    let store = Store::open_for_reading(config).await?;
    let message = match (&config.store, &store) {
        (StoreLocation::Sqlite(path), Some(_)) => format!("{} can be opened", path.display()),
        (StoreLocation::Sqlite(path), None) => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if !parent.is_dir() {
                return Err(Failure::new(format!("the directory of {} is not there", path.display()))
                    .next("create it, or correct `[state] store`"));
            }
            writable(parent, "[state] store")?;
            format!("{} is made by the first sync", path.display())
        }
        (_, Some(_)) => "the database can be reached, and has our tables".to_owned(),
        (_, None) => "the database can be reached; our tables are made by the first sync".to_owned(),
    };
    Ok((store, message))
}

/// Tries to write into a directory, without leaving anything there.
fn writable(directory: &Path, setting: &str) -> Outcome<()> {
    tempfile::tempfile_in(directory).map(drop).map_err(|error| {
        Failure::new(format!("nothing can be written to {}: {error}", directory.display()))
            .next(format!("let this user write there, or correct `{setting}`"))
    })
}

/// Whether the web service could be started. Nothing is served.
async fn service(config: &Config, options: &Service) -> Outcome<((), String)> {
    let webhooks = if service::receiver(config, options).await?.is_some() { ", and takes webhooks" } else { "" };
    // In use it may be by the very worker that it is meant for.
    let message = match service::listen(options).await {
        Ok(_) => format!("{} is free{webhooks}", options.listen),
        Err(failure) if failure.may_pass() => {
            format!("{} is in use, as it is while a worker runs here{webhooks}", options.listen)
        }
        Err(failure) => return Err(failure),
    };
    Ok(((), message))
}

async fn kinetic(config: &Config) -> Outcome<(epicor_kinetic::Client, String)> {
    let client = connect::kinetic(config).await?;
    let ping = connect::ping(&client, config).await.map_err(|error| connect::at_kinetic(&client, error))?;
    let mut message = format!(
        "{} answers for company {}, key and identity are accepted ({} ms)",
        client.root(),
        client.company(),
        ping.elapsed.as_millis()
    );
    if let Some(hint) = ping.hint() {
        message = format!("{message}; {hint}");
    }
    Ok((client, message))
}

async fn columns(source: &KineticSource, dataset: &Dataset) -> Outcome<((), String)> {
    let schema = kinetic_tableau_sync::landing_schema(source, &dataset.spec).await?;
    let key: Vec<&str> = schema.key_columns().map(|column| column.name.as_str()).collect();
    let advice = source.advise(&dataset.spec).await?;
    let same = match (&advice.track, &dataset.spec.track) {
        (Track::Revision { .. }, Track::Revision { .. }) | (Track::Snapshot, Track::Snapshot) => true,
        (Track::Timestamp { column, resolution, .. }, Track::Timestamp { column: ours, resolution: as_fine, .. }) => {
            column == ours && resolution == as_fine
        }
        (Track::DateAndTime { date, seconds, .. }, Track::DateAndTime { date: ours, seconds: beside, .. }) => {
            date == ours && seconds == beside
        }
        _ => false,
    };
    let why = advice.reasons.join("; ");
    let probe = if same {
        format!("as a probe would choose: {why}")
    } else {
        format!("a probe would choose track = {}: {why}", spelled(&advice.track))
    };
    Ok((
        (),
        format!(
            "{}: {} columns, key {}, changes by {} ({probe}), due {}",
            dataset.spec.source,
            schema.landed().count(),
            key.join("+"),
            dataset.spec.track.column().unwrap_or("comparing all rows"),
            dataset.timing
        ),
    ))
}

/// As it is written in a configuration.
fn spelled(track: &Track) -> String {
    match track {
        Track::Revision { .. } => "\"revision\"".to_owned(),
        Track::Timestamp { column, resolution, .. } => {
            let resolution = if *resolution == Resolution::Day { "day" } else { "second" };
            format!("{{ timestamp = \"{column}\", resolution = \"{resolution}\" }}")
        }
        Track::DateAndTime { date, seconds, .. } => format!("{{ date = \"{date}\", seconds = \"{seconds}\" }}"),
        _ => "\"snapshot\"".to_owned(),
    }
}

/// Signs in, with each token where there are several. Answers the client of the first one.
async fn tableau(config: &Config) -> Outcome<(Option<tableau_rest::Client>, String)> {
    // A second sign-in with a token ends the session of the worker that is using it.
    let store = match config.store {
        StoreLocation::Postgres(_) => match Store::open_for_reading(config).await {
            Ok(Some(_)) => Store::open(config).await.ok(),
            _ => None,
        },
        _ => None,
    };
    let free = tokens::free(config, store.as_ref()).await?;
    let signed_in = with_each(config, &free).await;
    for slot in free.into_iter().filter_map(|(_, slot)| slot) {
        slot.release().await;
    }
    signed_in
}

/// Signs in with each of these tokens.
async fn with_each(config: &Config, free: &[(usize, Option<Slot>)]) -> Outcome<(Option<tableau_rest::Client>, String)> {
    let first = free.first().map_or(0, |(nth, _)| *nth);
    let client = connect::tableau(config, first).await?;
    let began = Instant::now();
    let server = client.server_info().await.map_err(|error| connect::at_tableau(&client, error))?;
    if free.is_empty() {
        let message = format!(
            "{} is Tableau {} with REST API {}; not signed in, which would end the session of a worker, since workers are using each token: \
             what lies there is not looked at",
            config.tableau.url, server.product_version, server.rest_api_version,
        );
        return Ok((None, message));
    }
    client.sign_in().await.map_err(|error| connect::at_tableau(&client, error))?;
    let took = began.elapsed().as_millis();
    let mut tokens = String::new();
    if let SignIn::Pat { tokens: all } = &config.tableau.sign_in
        && all.len() > 1
    {
        for (nth, token) in free.iter().skip(1).filter_map(|(nth, _)| Some((*nth, all.get(*nth)?))) {
            let other = connect::tableau(config, nth).await?;
            let signed_in = other.sign_in().await.map_err(|error| connect::at_tableau(&other, error));
            signed_in.map_err(|failure| failure.within(&format!("token '{}'", token.name)))?;
            connect::sign_out(&other).await;
        }
        tokens = match all.len() - free.len() {
            0 => format!(", with each of {} tokens", all.len()),
            used => format!(", with each of {} tokens but {used} that workers are using", all.len()),
        };
    }
    let site = if config.tableau.site.is_empty() { "the default site" } else { &config.tableau.site };
    let message = format!(
        "{} is Tableau {} with REST API {}, signed in to {site}{tokens} ({took} ms)",
        config.tableau.url, server.product_version, server.rest_api_version,
    );
    Ok((Some(client), message))
}

fn describe(state: &TargetState, ours: bool) -> &'static str {
    match state {
        TargetState::Absent => "nothing there yet; the first sync creates it",
        TargetState::Present { .. } if !ours => {
            "there, but not from what `[state] store` knows of; the first sync replaces all of its rows"
        }
        TargetState::Present { .. } => "there, and takes changes",
        TargetState::Foreign { .. } => "there, but of a form that takes no changes; the first sync replaces it",
        _ => "there",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_the_check_names_is_not_said_twice() {
        for (check, message, said) in [
            ("dataset ap_invoices", "ap_invoices: no column X", "no column X"),
            ("dataset ap_invoices", "dataset ap_invoices, schema: no column X", "no column X"),
            ("staging", "[staging]: the host is not known", "the host is not known"),
            ("state", "[state] store: connection refused", "connection refused"),
            ("tableau", "Tableau at https://t.example.com: sign in: 401", "https://t.example.com: sign in: 401"),
            ("kinetic", "[kinetic]: Kinetic at http://k: ping: no", "http://k: ping: no"),
            ("secret [kinetic] api_key", "[kinetic] api_key: the variable X is not set", "the variable X is not set"),
            ("kinetic", "[kinetic] api_key: the variable X is not set", "api_key: the variable X is not set"),
            // What only looks alike, and what nobody has said yet.
            (
                "tableau",
                "[tableau.auth] secret: the variable X is not set",
                "[tableau.auth] secret: the variable X is not set",
            ),
            ("dataset ap_invoices", "dataset ap: none", "dataset ap: none"),
            ("dataset ap_invoices", "invoices: none", "invoices: none"),
            ("tableau", "token 'two': sign in: 401", "token 'two': sign in: 401"),
            ("tableau", "Kinetic at http://k: no", "Kinetic at http://k: no"),
            ("state", "statement: failed", "statement: failed"),
            ("engine", "no engine was found", "no engine was found"),
        ] {
            assert_eq!(once(check, message), said);
        }
    }
}
