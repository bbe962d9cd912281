//! The ways to sign in to Tableau, what becomes of a session that the server ends, and another site with the same session.

use simulators::tableau::TableauSim;
use tableau_rest::{Client, ConnectedApp, ErrorKind};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tableau = TableauSim::builder().start().await?;
    let builder = || Client::builder(tableau.url()).site(tableau.site());
    let (id, key, secret, user) = tableau.connected_app();
    let app = ConnectedApp::new(id, key, secret, user).scopes(ConnectedApp::PUBLISHING_SCOPES.iter().copied());
    let ways = [
        ("personal access token", builder().personal_access_token(tableau.pat_name(), tableau.pat_secret())),
        ("user and password", builder().password(tableau.user(), tableau.password())),
        ("connected app", builder().connected_app(app)),
    ];
    for (name, builder) in ways {
        let client = builder.build()?;
        let before = client.check_session().await?;
        // The server restarts. The next call signs in again by itself, once.
        tableau.expire_sessions();
        let after = client.check_session().await?;
        println!("{name}: user {after}, still the same one: {}", before == after);
        client.sign_out().await?;
    }

    let wrong = builder().personal_access_token("another", "wrong").build()?;
    match wrong.sign_in().await {
        Err(error) if error.kind() == ErrorKind::Auth => println!("wrong secret: {error}"),
        other => return Err(format!("a wrong secret was taken: {other:?}").into()),
    }
    // It is not tried again by the next call: that would lock the account.
    let tried = tableau.faults().count("signin");
    let refused = wrong.check_session().await.is_err();
    if !refused || tableau.faults().count("signin") != tried {
        return Err("the wrong secret was tried again".into());
    }

    let client = builder().personal_access_token(tableau.pat_name(), tableau.pat_secret()).build()?;
    let info = client.server_info().await?;
    println!("server {}, interface {} of {}", info.product_version, client.api_version().await?, info.rest_api_version);
    let other = client.switch_site("other").await?;
    println!("now at the site {:?}", other.session().await?.site_content_url);
    let back = other.switch_site(&tableau.site()).await?;
    let here = back.sites().current().await?.content_url;
    back.sign_out().await?;
    if here != tableau.site() {
        return Err(format!("came back to {here}").into());
    }
    println!("ok: every way in works");
    Ok(())
}
