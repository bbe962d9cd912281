//! The ways to be somebody for Kinetic, one's own among them; several companies over one connection; and what travels with each call.

use std::sync::Arc;

use async_trait::async_trait;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use epicor_kinetic::{CallSettings, Client, Credential, ErrorKind, License, OAuth2, Result};
use serde_json::Value;
use simulators::kinetic::{KineticSim, Seed};

/// A header that, say, a vault hands out.
#[derive(Debug)]
struct FromVault(String);

#[async_trait]
impl Credential for FromVault {
    async fn apply(&self, request: &mut http::Request<bytes::Bytes>) -> Result<()> {
        let mut value =
            http::HeaderValue::try_from(&self.0).map_err(|_| epicor_kinetic::Error::credential("no header"))?;
        // So that it is not printed anywhere.
        value.set_sensitive(true);
        request.headers_mut().insert(http::header::AUTHORIZATION, value);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let kinetic = KineticSim::builder().start().await?;
    kinetic.seed(Seed { vendors: 5, ..Seed::default() });
    let builder = || Client::builder(kinetic.url()).company("EPIC06").api_key(kinetic.api_key());
    let (id, secret) = kinetic.client_credentials();
    let oauth2 = OAuth2::client_credentials(kinetic.oauth2_url(), id, secret).scope("epicor_erp");
    // What Basic is, made by hand, since the simulator knows no vault.
    let header = format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", kinetic.user(), kinetic.password())));

    let identities = [
        ("Basic", builder().basic(kinetic.user(), kinetic.password())),
        ("bearer from the token service", builder().token_resource(kinetic.user(), kinetic.password())),
        ("OAuth2 client credentials", builder().oauth2(oauth2)),
        ("one's own", builder().credential(Arc::new(FromVault(header)))),
    ];
    for (name, builder) in identities {
        let ping = builder.build()?.ping().await?;
        println!("{name}: answered after {} ms", ping.elapsed.as_millis());
    }

    let wrong = builder().basic(kinetic.user(), "wrong").build()?.ping().await;
    match wrong {
        Err(error) if error.kind() == ErrorKind::Auth => println!("wrong password: {error}"),
        other => return Err(format!("a wrong password was taken: {other:?}").into()),
    }

    let client = builder().basic(kinetic.user(), kinetic.password()).license(License::WebService).build()?;
    let elsewhere = client.for_company("EPIC07")?;
    let refused = elsewhere.ping().await.err().map(|error| error.to_string());
    println!("another company over the same connection: {}", refused.unwrap_or_default());
    client.with_call_settings(CallSettings::new().plant("MfgSys").language("de")).ping().await?;
    let sent: Value = serde_json::from_str(kinetic.call_settings().last().map_or("", String::as_str))?;
    if sent.get("Plant").and_then(Value::as_str) != Some("MfgSys") {
        return Err(format!("the plant did not travel: {sent}").into());
    }
    println!("ok: {sent}");
    Ok(())
}
