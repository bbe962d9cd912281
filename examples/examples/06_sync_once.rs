//! The engine as a library: vendors from Kinetic into a Tableau extract, twice. The second cycle lands only what changed.

use std::sync::Arc;

use kinetic_tableau_sync::hyper::{InstallOptions, find_or_install};
use kinetic_tableau_sync::store::MemoryStore;
use kinetic_tableau_sync::{
    Action, AuditFilter, AuditStore as _, DatasetSpec, HyperOptions, KineticSource, SourceObject, Syncer,
    TableauDestination, Target,
};
use simulators::kinetic::{KineticSim, Seed};
use simulators::tableau::TableauSim;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kinetic = KineticSim::builder().start().await?;
    kinetic.seed(Seed { vendors: 500, ..Seed::default() });
    let tableau = TableauSim::builder().start().await?;
    // Fetched with pip when it is not on this machine.
    let engine = tokio::task::spawn_blocking(|| find_or_install(&InstallOptions::default())).await??;
    let spool = tempfile::tempdir()?;

    let source = epicor_kinetic::Client::builder(kinetic.url())
        .company("EPIC06")
        .api_key(kinetic.api_key())
        .basic(kinetic.user(), kinetic.password())
        .build()?;
    let destination = tableau_rest::Client::builder(tableau.url())
        .site(tableau.site())
        .personal_access_token(tableau.pat_name(), tableau.pat_secret())
        .build()?;
    // State, audit and fingerprints; `SqliteStore` keeps them in a file.
    let store = Arc::new(MemoryStore::new());
    let syncer = Syncer::builder(
        Arc::new(KineticSource::new(source)),
        Arc::new(TableauDestination::new(
            destination.clone(),
            HyperOptions { spool: spool.path().join("spool"), engine },
        )),
        Arc::clone(&store),
    )
    .build();

    let vendors = DatasetSpec::new(
        "vendors",
        SourceObject::EntitySet { service: "Erp.BO.VendorSvc".to_owned(), set: "Vendors".to_owned() },
        ["VendorNum", "VendorID", "Name", "CurrencyCode"],
        Target { project: "Finance".to_owned(), datasource: "Vendors".to_owned() },
    );
    let full = syncer.run(&vendors).await?;
    println!("first cycle: {} rows landed", full.counts.inserted);

    kinetic.random_changes("Vendors", 20, 7);
    let delta = syncer.run(&vendors).await?;
    println!("second cycle: {} new, {} changed", delta.counts.inserted, delta.counts.updated);
    destination.sign_out().await?;

    // Every record that landed is in the audit trail.
    let filter = AuditFilter { action: Some(Action::Insert), ..AuditFilter::default() };
    let inserted = store.records(&filter).await?.len();
    let verification = store.verify().await?;
    let rows = kinetic.truth_count("Vendors");
    if delta.landed_rows != u64::try_from(rows)? || inserted != rows || verification.first_broken.is_some() {
        return Err(format!("{rows} rows in Kinetic, {} in Tableau, {inserted} audited", delta.landed_rows).into());
    }
    println!("ok: {rows} rows in Kinetic, in Tableau and in the audit trail");
    Ok(())
}
