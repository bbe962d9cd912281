//! What belongs to a published datasource besides its rows: name, project, certification, tags, permissions, connections, revisions.

use simulators::tableau::TableauSim;
use tableau_rest::{
    Capability, Client, ConnectionUpdate, DatasourceId, DatasourceUpdate, FileSource, FileType, Grantee,
    PermissionRule, PublishRequest, Published,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // This one looks into no file, so that any bytes do for an extract.
    let tableau = TableauSim::builder()
        .switches(|switches| {
            switches.check_extracts = false;
            switches.keep_revisions = true;
        })
        .start()
        .await?;
    let upstream = DatasourceId::from(tableau.add_datasource_with_upstream("Finance", "Ledger"));
    let client = Client::builder(tableau.url())
        .site(tableau.site())
        .personal_access_token(tableau.pat_name(), tableau.pat_secret())
        .build()?;
    let datasources = client.datasources();
    let finance = client.projects().ensure_path(&["Finance"]).await?;
    let archive = client.projects().ensure_path(&["Finance", "Archive"]).await?;

    let mut id = None;
    for content in ["first", "second"] {
        let file = FileSource::bytes(FileType::Hyper, content.as_bytes());
        let request = PublishRequest::new(finance.id.clone(), "Invoices", file).overwrite();
        if let Published::Datasource(published) = datasources.publish(request).await? {
            id = Some(published.id);
        }
    }
    let id = id.ok_or("nothing was published")?;

    let update = DatasourceUpdate::new().name("Invoices 2025").certified("closed and audited").project(&archive.id);
    let now = datasources.update(&id, &update).await?;
    println!("{} is certified: {:?}", now.name, now.certification_note);
    println!("tags: {:?}", datasources.add_tags(&id, &["finance", "year end"]).await?);

    let group = client.groups().list().all().await?.into_iter().next().ok_or("no group")?;
    let rule = PermissionRule::allow(Grantee::Group(group.id), [Capability::Read, Capability::Connect]);
    for rule in datasources.add_permissions(&id, &[rule]).await? {
        println!("{:?} may {:?}", rule.grantee, rule.capabilities);
    }

    let connection = datasources.connections(&upstream).await?.into_iter().next().ok_or("no connection")?;
    let update = ConnectionUpdate::new().user_name("reader").password("a new password", true);
    let connection = datasources.update_connection(&upstream, &connection.id, &update).await?;
    println!("connection to {:?} as {:?}", connection.server_address, connection.user_name);

    let directory = tempfile::tempdir()?;
    let path = directory.path().join("first.hyper");
    let first = datasources.revisions(&id).await?.into_iter().next().ok_or("no revision")?;
    datasources.download_revision(&id, &first.number).await?.save(&path).await?;
    println!("revision {} holds {:?}", first.number, std::fs::read_to_string(&path)?);

    datasources.remove_tag(&id, "finance").await?;
    let read = datasources.get(&id).await?;
    let sound = read.tags == ["year end"]
        && read.project.is_some_and(|project| project.id == archive.id)
        && std::fs::read_to_string(&path)? == "first";
    datasources.delete(&id).await?;
    client.sign_out().await?;
    if !sound {
        return Err("the server holds something else".into());
    }
    println!("ok: all of it is on the server");
    Ok(())
}
