//! Signs in to Tableau with a personal access token, makes a nested project, lists projects and datasources, and signs out.

use simulators::tableau::TableauSim;
use tableau_rest::Client;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tableau = TableauSim::builder().start().await?;
    tableau.add_datasource_with_upstream("Finance/Payables", "Payables mart");

    let client = Client::builder(tableau.url())
        .site(tableau.site())
        .personal_access_token(tableau.pat_name(), tableau.pat_secret())
        .build()?;

    let server = client.server_info().await?;
    println!("Tableau {} with REST API {}", server.product_version, server.rest_api_version);

    // Signing in by hand is not needed: the first call does it, and a session that ended is renewed.
    let made = client.projects().ensure_path(&["Finance", "Payables", "2026"]).await?;
    println!("project {} is there", made.name);

    let projects = client.projects().list().all().await?;
    for project in &projects {
        println!("project     {}", project.name);
    }
    let datasources = client.datasources().list().all().await?;
    for datasource in &datasources {
        println!("datasource  {}", datasource.name);
    }
    client.sign_out().await?;

    if !projects.iter().any(|project| project.name == "2026") || datasources.is_empty() {
        return Err("something is missing".into());
    }
    println!("ok: {} projects, {} datasources", projects.len(), datasources.len());
    Ok(())
}
