//! The program with datasets of all kinds in one configuration.

use simulators::postgres::Database;

use super::{database, text, texts};
use crate::cli::{World, json, succeeded};

/// The dataset of the configuration once more, delivered in another way.
fn dataset(name: &str, deliver: &str) -> String {
    format!(
        "[[dataset]]\nname = \"{name}\"\nservice = \"Erp.BO.APInvoiceSvc\"\nentity_set = \"APInvoices\"\n\
         select = [\"Company\", \"VendorNum\", \"InvoiceNum\", \"InvoiceAmt\"]\npage_size = 100\nproject = \"Finance\"\n\
         datasource = \"Invoices by {deliver}\"\ndeliver = \"{deliver}\"\n"
    )
}

const STAGING: &str = "[staging]\nurl = { env = \"KT_STAGING\" }\nschema = \"bi\"\ndeletes = \"soft\"\n[state]";

async fn run(world: &World, database: &Database, arguments: &[&str]) -> std::process::Output {
    let mut command = world.command(arguments).await;
    command.env("KT_STAGING", database.url());
    let output = command.output().await.unwrap();
    let all = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!all.contains(database.password()), "the password was printed");
    output
}

#[tokio::test(flavor = "multi_thread")]
async fn one_run_delivers_datasets_as_extract_as_table_and_as_parquet() {
    let (world, database) = (World::start(300).await, database().await);
    world.tableau.add_datasource_with_upstream("Finance", "Invoices live");
    world.configure(|text| {
        let refreshed = "refresh = [{ datasource = \"Invoices live\" }]\n";
        let more = [dataset("as_table", "postgres"), refreshed.to_owned(), dataset("as_parquet", "parquet")].concat();
        text.replace("[state]", STAGING) + &more
    });
    let checked = run(&world, &database, &["check", "--json"]).await;
    succeeded(&checked);
    let checks = json(&checked)["checks"].to_string();
    for words in [
        "rows can be staged at 127.0.0.1",
        "schemas bi and bi_loads",
        "delivered as an extract: nothing there yet",
        "delivered to the table \\\"Invoices by postgres\\\" of [staging], 1 in Tableau refreshed behind it",
        "delivered as Parquet: the whole table is read and published anew each time, there are no deltas",
    ] {
        assert!(checks.contains(words), "'{words}' is missing in {checks}");
    }
    let client = database.connect().await.unwrap();
    let made = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'bi%'";
    assert_eq!(text(&client, made).await, "0", "a check changes nothing");
    for round in 0..2 {
        let synced = run(&world, &database, &["sync", "--json"]).await;
        succeeded(&synced);
        let runs = json(&synced);
        let kinds: Vec<_> = (0..3).map(|at| runs["datasets"][at]["run"]["kind"].as_str().unwrap().to_owned()).collect();
        let changed = if round == 0 { "full" } else { "delta" };
        assert_eq!(kinds, [changed, changed, "full"]);
        assert_eq!(runs["datasets"][1]["run"]["refreshes"].as_array().unwrap().len(), 1, "{runs}");
        let landed = texts(
            &client,
            "SELECT \"InvoiceNum\", \"InvoiceAmt\" FROM bi.\"Invoices by postgres\" ORDER BY \"VendorNum\", 1",
        )
        .await;
        let mut truth: Vec<_> = world
            .kinetic
            .rows("APInvoices")
            .iter()
            .map(|row| vec![row.text("InvoiceNum"), row.text("InvoiceAmt")])
            .collect();
        let sorted = |mut rows: Vec<Vec<Option<String>>>| {
            rows.sort();
            rows
        };
        assert_eq!(sorted(landed), sorted(std::mem::take(&mut truth)));
        assert!(world.tableau.extract_path("Invoices by parquet").is_some());
        let with_staging = |command: &mut tokio::process::Command| {
            command.env("KT_STAGING", database.url());
        };
        world.is_equal_with(with_staging).await;
        world.kinetic.random_changes("APInvoices", 12, round);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_goes_to_tables_neither_the_engine_nor_tableau_is_needed() {
    let (world, database) = (World::start(120).await, database().await);
    world.configure(|text| {
        let head = text.split("[[dataset]]").next().unwrap().replace("[state]", STAGING);
        // Nobody listens there.
        head.replace(&world.tableau.url(), "http://127.0.0.1:9") + &dataset("as_table", "postgres")
    });
    for arguments in [["check", "--json"], ["sync", "--json"]] {
        let mut command = world.command(&arguments).await;
        command.env("KT_STAGING", database.url()).env("HYPERD_PATH", "/nowhere/hyperd");
        succeeded(&command.output().await.unwrap());
    }
    let client = database.connect().await.unwrap();
    let count = text(&client, "SELECT count(*) FROM bi.\"Invoices by postgres\"").await;
    assert_eq!(count, world.kinetic.rows("APInvoices").len().to_string());
    // A server that is away is told by `check`, with the next step.
    let mut command = world.command(&["check"]).await;
    command.env("KT_STAGING", database.url_at("127.0.0.1", 9));
    let output = command.output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        !output.status.success() && told.contains("✗ staging: ") && told.contains("check that the server runs"),
        "{told}"
    );
}
