//! `secrets`: what is in the store that the configuration names. Values come in, and never go out.

use chrono::{DateTime, Utc};
use kinetic_tableau_sync::credentials::{
    CredentialErrorKind, CredentialStore as _, SealedFile, SecretEntry, SecretName, SecretString,
};
use serde::Serialize;

use crate::args;
use crate::config::{KeyRef, SecretStore};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{self, Table, say};
use crate::secrets::{self, Secrets};
use crate::terminal;

pub(super) async fn run(secrets: &Secrets, command: args::Secrets) -> Outcome<Exit> {
    match command {
        args::Secrets::Init => init(secrets).await?,
        args::Secrets::Set { target, note } => set(secrets, target, note.as_deref()).await?,
        args::Secrets::Rotate { target } => rotate(secrets, target).await?,
        args::Secrets::Remove { name } => remove(secrets, name).await?,
        args::Secrets::List { json } => list(secrets, json).await?,
        args::Secrets::Rekey(new) => rekey(secrets, new).await?,
    }
    Ok(Exit::Done)
}

async fn init(secrets: &Secrets) -> Outcome<()> {
    let Some(SecretStore::Sealed { file, key }) = secrets.place() else { return Err(only_sealed(secrets)) };
    if file.exists() {
        return Err(Failure::usage(format!("{} is there already", file.display()))
            .next("`kinetic-tableau secrets list` tells what is in it"));
    }
    let (key, made) = secrets::new_key(key, None).await?;
    SealedFile::create(file, key).await?;
    if let Some(made) = made {
        say(format_args!("made {made}; keep a copy of it elsewhere: without it nothing opens the secrets"));
    }
    say(format_args!(
        "made the sealed file {}; `kinetic-tableau secrets set NAME` puts secrets into it",
        file.display()
    ));
    Ok(())
}

async fn set(secrets: &Secrets, target: args::SecretTarget, note: Option<&str>) -> Outcome<()> {
    let name = name(target)?;
    let store = secrets.store().await?;
    // Before anybody types anything.
    let there = match store.list().await {
        Ok(entries) => entries.iter().any(|entry| entry.name == name),
        Err(error) if error.kind() == CredentialErrorKind::Unsupported => false,
        Err(error) => return Err(error.into()),
    };
    if there && matches!(secrets.place(), Some(SecretStore::Sealed { .. })) {
        return Err(Failure::usage(format!("there is a secret {name} already"))
            .next(format!("`kinetic-tableau secrets rotate {name}` gives it a new value")));
    }
    if !matches!(secrets.place(), Some(SecretStore::Sealed { .. })) {
        // A store that cannot be written says so without a value, too.
        return Ok(store.set(&name, &SecretString::from(""), note).await?);
    }
    let value = value(&name).await?;
    store.set(&name, &value, note).await?;
    say(format_args!("{name} is set"));
    warn_of_short(&value);
    Ok(())
}

async fn rotate(secrets: &Secrets, target: args::SecretTarget) -> Outcome<()> {
    let name = name(target)?;
    let sealed = sealed(secrets).await?;
    if sealed.get(&name).await?.is_none() {
        return Err(Failure::usage(format!("there is no secret {name}"))
            .next(format!("`kinetic-tableau secrets set {name}` makes it; `secrets list` tells what there is")));
    }
    let value = value(&name).await?;
    sealed.rotate(&name, &value).await?;
    say(format_args!("{name} has a new value; what runs already takes it when it is started again"));
    warn_of_short(&value);
    Ok(())
}

async fn remove(secrets: &Secrets, name: String) -> Outcome<()> {
    let name = SecretName::new(name)?;
    if secrets.store().await?.remove(&name).await? {
        say(format_args!("{name} is removed"));
        return Ok(());
    }
    Err(Failure::usage(format!("there is no secret {name}")).next("`kinetic-tableau secrets list` tells what there is"))
}

/// One line of the list.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    set_at: Option<DateTime<Utc>>,
    previous_at: Option<DateTime<Utc>>,
    note: Option<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    store: String,
    secrets: Vec<Line>,
}

async fn list(secrets: &Secrets, json: bool) -> Outcome<()> {
    let entries = secrets.store().await?.list().await?;
    let line = |SecretEntry { name, set_at, previous_at, note, .. }| Line {
        name: name.to_string(),
        set_at,
        previous_at,
        note,
    };
    let report = Report { store: secrets.describe(), secrets: entries.into_iter().map(line).collect() };
    if json {
        output::say_json(&report);
        return Ok(());
    }
    if report.secrets.is_empty() {
        say(format_args!("there is no secret in {}", report.store));
        return Ok(());
    }
    let moment =
        |at: Option<DateTime<Utc>>| at.map_or_else(|| "-".to_owned(), |at| at.format("%Y-%m-%d %H:%M:%SZ").to_string());
    let mut table = Table::new(["secret", "set", "the one before", "note"]);
    for line in report.secrets {
        table.row([line.name, moment(line.set_at), moment(line.previous_at), line.note.unwrap_or_default()]);
    }
    output::say_lines(table);
    Ok(())
}

async fn rekey(secrets: &Secrets, new: args::Rekey) -> Outcome<()> {
    let Some(SecretStore::Sealed { file, key: old }) = secrets.place() else { return Err(only_sealed(secrets)) };
    let (new, written) = if let Some(path) = new.key_file {
        // As the shell means it: from the working directory.
        let path = std::path::absolute(&path).map_err(|error| Failure::of(&error, None))?;
        let written = format!("{{ file = {:?} }}", path.display().to_string());
        (KeyRef::File(path), written)
    } else if let Some(variable) = new.passphrase_env {
        let written = format!("{{ passphrase = {{ env = {variable:?} }} }}");
        (KeyRef::Passphrase(variable), written)
    } else if let Some(entry) = new.keyring {
        let Some((service, account)) = entry.split_once('/') else {
            return Err(Failure::usage("--keyring names no entry").next("write it as SERVICE/ACCOUNT"));
        };
        let written = format!("{{ keyring = {entry:?} }}");
        (KeyRef::Keyring { service: service.to_owned(), account: account.to_owned() }, written)
    } else {
        (KeyRef::Ask, "{ passphrase = \"ask\" }".to_owned())
    };
    if new != KeyRef::Ask && same(&new, old) {
        return Err(Failure::usage("this is the key that is in use")
            .next("name another file, variable or entry, one that holds the new key"));
    }
    // The old key first: without it nothing is made.
    let sealed = sealed(secrets).await?;
    // Whoever could open it, such as a service, must be able to afterwards.
    let like = if let KeyRef::File(old) = old { old } else { file };
    let (key, made) = secrets::new_key(&new, Some(like)).await?;
    sealed.rekey(key).await?;
    if let Some(made) = made {
        say(format_args!("made {made}; keep a copy of it elsewhere: without it nothing opens the secrets"));
    }
    say(format_args!("{} is sealed for the new key; copies of it are still opened by the old one", secrets.describe()));
    if !same(&new, old) {
        say(format_args!("now write into [secrets]: key = {written}"));
    }
    Ok(())
}

/// Whether both lead to one key, however they are written.
fn same(one: &KeyRef, other: &KeyRef) -> bool {
    match (one, other) {
        (KeyRef::File(one), KeyRef::File(other)) => {
            matches!((std::fs::canonicalize(one), std::fs::canonicalize(other)), (Ok(one), Ok(other)) if one == other)
        }
        _ => one == other,
    }
}

/// The sealed file, for what only it can do.
async fn sealed(secrets: &Secrets) -> Outcome<SealedFile> {
    match secrets.place() {
        Some(SecretStore::Sealed { file, key }) => secrets::open(file, key).await,
        _ => Err(only_sealed(secrets)),
    }
}

fn only_sealed(secrets: &Secrets) -> Failure {
    if secrets.place().is_none() {
        return secrets::no_store();
    }
    Failure::usage(format!("{} is changed where it is kept, not from here", secrets.describe()))
        .next("for a store of our own write store = \"sealed:FILE\" into [secrets]")
}

/// The name, and nothing behind it.
fn name(target: args::SecretTarget) -> Outcome<SecretName> {
    if !target.rest.is_empty() {
        return Err(Failure::usage(
            "a secret is never given as an argument: the list of processes shows it, and shells keep it",
        )
        .next("give only the name, then type the secret or pipe it in; if that was a real one, change it"));
    }
    Ok(SecretName::new(target.name)?)
}

/// The value, from whoever types it or from a pipe.
async fn value(name: &SecretName) -> Outcome<SecretString> {
    let question = format!("value of {name}: ");
    let value = tokio::task::spawn_blocking(move || terminal::value(&question));
    let value = value.await.map_err(|error| Failure::of(&error, None))??;
    output::redactor().add(&value);
    Ok(value)
}

fn warn_of_short(value: &SecretString) {
    if !kinetic_tableau_sync::Redactor::can_mask(value) {
        output::note("it is too short to be kept out of errors and logs: use one of at least 6 characters");
    }
}
