//! What lies on a site: projects as a tree, workbooks and their views with data, users and groups, runs of flows.

use futures_util::TryStreamExt;
use simulators::tableau::TableauSim;
use tableau_rest::{Client, Direction, Filter, ProjectId, ProjectTree, Sort};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tableau = TableauSim::builder().start().await?;
    tableau.add_workbook("Finance/Payables", "Payables overview", "Invoices");
    tableau.add_workbook("Finance/Receivables", "Receivables overview", "Orders");
    let client = Client::builder(tableau.url())
        .site(tableau.site())
        .personal_access_token(tableau.pat_name(), tableau.pat_secret())
        .build()?;

    let tree = client.projects().tree().await?;
    print(&tree, None, 0);

    let mut read = 0;
    let sorted = client.workbooks().list().sort(Sort::by("name", Direction::Ascending)?);
    let mut workbooks = sorted.stream();
    while let Some(workbook) = workbooks.try_next().await? {
        let path = workbook.project.as_ref().map(|project| tree.path(&project.id).join(" / ")).unwrap_or_default();
        for view in client.views().of_workbook(&workbook.id).await? {
            // Streamed: a view may show millions of rows.
            let mut data = client.views().data(&view.id).await?.body;
            let mut bytes = 0;
            while let Some(piece) = data.try_next().await? {
                bytes += piece.len();
            }
            println!("{path}: {} / {}, {bytes} bytes of CSV", workbook.name, view.name);
            read += 1;
        }
    }

    let ann = client.users().list().filter(Filter::equal("name", "ann")?).all().await?;
    for user in &ann {
        println!("{} is {}", user.name, user.site_role.as_deref().unwrap_or("nothing"));
    }
    for group in client.groups().list().all().await? {
        let members = client.groups().users(&group.id).all().await?;
        println!("group {} has {} users", group.name, members.len());
    }
    for run in client.flows().runs().await? {
        println!("flow run {}: {:?}, {:?} %", run.id, run.status, run.progress);
    }
    client.sign_out().await?;
    if read != 2 || ann.len() != 1 || tree.len() != 4 {
        return Err("something is missing".into());
    }
    println!("ok: read {read} views");
    Ok(())
}

fn print(tree: &ProjectTree, parent: Option<&ProjectId>, depth: usize) {
    for project in tree.children(parent) {
        println!("{:indent$}{}", "", project.name, indent = depth * 2);
        print(tree, Some(&project.id), depth + 1);
    }
}
