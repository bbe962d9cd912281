//! A credential store of one's own: 20 lines between a vault that speaks HTTP and whoever needs its secrets.

use async_trait::async_trait;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use kinetic_tableau_sync::credentials::{
    CredentialError, CredentialErrorKind as Kind, CredentialStore, ExposeSecret as _, SecretName, SecretString,
};

/// The vault's address, and the token of this service.
#[derive(Debug)]
struct Vault {
    address: String,
    token: SecretString,
    http: reqwest::Client,
}

#[async_trait]
impl CredentialStore for Vault {
    async fn get(&self, name: &SecretName) -> Result<Option<SecretString>, CredentialError> {
        // The library's error names the address and never the token.
        let down = |error: reqwest::Error| {
            CredentialError::new(Kind::Unreachable, "the vault does not answer").with_cause(error.without_url())
        };
        let request = self.http.get(format!("{}/{name}", self.address)).bearer_auth(self.token.expose_secret());
        let answer = request.send().await.map_err(down)?;
        match answer.status() {
            StatusCode::OK => Ok(Some(SecretString::from(answer.text().await.map_err(down)?))),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(CredentialError::new(Kind::Other, format!("the vault refuses: {status}"))
                .with_hint("check the token of this service and what it may read")),
        }
    }
}

/// Stands for a real vault.
async fn serve(Path(name): Path<String>, headers: HeaderMap) -> (StatusCode, &'static str) {
    match (headers.get("authorization").and_then(|value| value.to_str().ok()), name.as_str()) {
        (Some("Bearer demo-vault-token"), "kinetic-api-key") => (StatusCode::OK, "demo-kinetic-api-key-7f3a"),
        (Some("Bearer demo-vault-token"), _) => (StatusCode::NOT_FOUND, ""),
        _ => (StatusCode::FORBIDDEN, ""),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().route("/{name}", get(serve))).await });

    let vault =
        Vault { address, token: SecretString::from("demo-vault-token"), http: reqwest::Client::builder().build()? };
    let store: Box<dyn CredentialStore> = Box::new(vault);
    for name in ["kinetic-api-key", "tableau-pat"] {
        match store.get(&SecretName::new(name)?).await? {
            Some(secret) => println!("{name}: {} characters", secret.expose_secret().len()),
            None => println!("{name}: not there"),
        }
    }
    // What a store does not offer it says, with what to do instead.
    if let Err(error) = store.list().await {
        println!("ok: {error}; {}", error.hint().unwrap_or_default());
    }
    Ok(())
}
