//! Credentials kept sealed: one file in the `age` format, opened by a key file; and what a redactor does with what it knows.

use epicor_kinetic::Client;
use kinetic_tableau_sync::Redactor;
use kinetic_tableau_sync::credentials::{
    CredentialStore as _, ExposeSecret as _, SealKey, SealedFile, SecretName, SecretString,
};
use simulators::kinetic::KineticSim;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let simulator = KineticSim::builder().start().await?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("credentials.age");

    // Once: a key that only its owner may read, and a file that only this key opens. `SealKey::passphrase` takes words instead,
    // `SealKey::create_in_keyring` (feature `keyring`) keeps the key with the operating system.
    let key = SealKey::create_file(directory.path().join("credentials.key"))?;
    let sealed = SealedFile::create(&path, key).await?;
    let (api_key, password) = (SecretName::new("kinetic-api-key")?, SecretName::new("kinetic-password")?);
    sealed.set(&api_key, &SecretString::from(simulator.api_key()), Some("scope: payables")).await?;
    sealed.set(&password, &SecretString::from("an old password"), None).await?;
    sealed.rotate(&password, &SecretString::from(simulator.password())).await?;

    // Later, in another process: names and times can be listed, values only taken one by one.
    let key = SealKey::read_file(directory.path().join("credentials.key"))?;
    let sealed = SealedFile::open(&path, key).await?;
    for entry in sealed.list().await? {
        let replaced = if entry.previous_at.is_some() { ", rotated since" } else { "" };
        println!("{}{replaced}; {}", entry.name, entry.note.as_deref().unwrap_or("no note"));
    }
    let api_key = sealed.get(&api_key).await?.ok_or("the API key is not there")?;
    let password = sealed.get(&password).await?.ok_or("the password is not there")?;

    // What is taken out is made known, so that no text of ours repeats it: pass it to `Syncer::builder(…).redactor(&redactor)` as well.
    let redactor = Redactor::new();
    redactor.add(&api_key);
    redactor.add(&password);
    redactor.hook_panics();
    println!("{}", redactor.clean(&format!("the server said: no user {}", password.expose_secret())));

    let client = Client::builder(simulator.url())
        .company("EPIC06")
        .api_key(api_key.expose_secret())
        .basic(simulator.user(), password.expose_secret())
        .build()?;
    let ping = client.ping().await?;
    println!("ok: signed in with what was sealed, in {} ms", ping.elapsed.as_millis());
    Ok(())
}
