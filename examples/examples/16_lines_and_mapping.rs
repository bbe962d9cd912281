//! Lines of purchase orders with columns of their headers, renamed, with a column of their own; and a row that cannot be mapped.

use std::sync::Arc;

use kinetic_tableau_sync::hyper::{InstallOptions, find_or_install};
use kinetic_tableau_sync::store::MemoryStore;
use kinetic_tableau_sync::{
    ColumnType, DatasetSpec, Derive, DerivedColumn, HyperOptions, KineticSource, RejectStore as _, SourceObject,
    Syncer, TableauDestination, Target, Track, landing_schema,
};
use simulators::kinetic::{KineticSim, Seed};
use simulators::tableau::TableauSim;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kinetic = KineticSim::builder().start().await?;
    kinetic.seed(Seed { purchase_orders: 200, ..Seed::default() });
    let tableau = TableauSim::builder().start().await?;
    let engine = tokio::task::spawn_blocking(|| find_or_install(&InstallOptions::default())).await??;
    let spool = tempfile::tempdir()?;

    let source = epicor_kinetic::Client::builder(kinetic.url())
        .company("EPIC06")
        .api_key(kinetic.api_key())
        .basic(kinetic.user(), kinetic.password())
        .build()?;
    let source = Arc::new(KineticSource::new(source));
    let destination = tableau_rest::Client::builder(tableau.url())
        .site(tableau.site())
        .personal_access_token(tableau.pat_name(), tableau.pat_secret())
        .build()?;

    // This server answers nothing when its set of lines is filtered, so they are read by expanding the orders.
    let mut lines = DatasetSpec::new(
        "order_lines",
        SourceObject::Lines {
            service: "Erp.BO.POSvc".to_owned(),
            set: "POes".to_owned(),
            navigation: "PODetails".to_owned(),
        },
        ["PODetails/LineDesc", "PODetails/OrderQty", "PODetails/UnitCost", "BuyerID", "OrderDate"],
        Target { project: "Procurement".to_owned(), datasource: "Order lines".to_owned() },
    );
    let advice = source.advise(&lines).await?;
    println!("changes are best found by {:?}: {}", advice.track, advice.reasons.join("; "));
    lines.track = Track::Snapshot;
    lines.mapping.rename.insert("BuyerID".to_owned(), "Buyer".to_owned());
    lines.mapping.derived.push(DerivedColumn {
        name: "Label".to_owned(),
        kind: ColumnType::Text,
        from: Derive::Template("{PODetails/PONUM}/{PODetails/POLine}".to_owned()),
    });
    // Not every unit cost has two decimal places: rows with more are kept with the reason, none is rounded.
    lines.mapping.derived.push(DerivedColumn {
        name: "Cost to the cent".to_owned(),
        kind: ColumnType::Decimal { precision: 12, scale: 2 },
        from: Derive::Coalesce(vec!["PODetails/UnitCost".to_owned()]),
    });
    lines.max_rejects = 1_000;
    let schema = landing_schema(&*source, &lines).await?;
    let names: Vec<&str> = schema.landed().map(|(_, column)| column.name.as_str()).collect();
    println!("columns in Tableau: {}", names.join(", "));

    let store = Arc::new(MemoryStore::new());
    let options = HyperOptions { spool: spool.path().join("spool"), engine };
    let landing = Arc::new(TableauDestination::new(destination.clone(), options));
    let syncer = Syncer::builder(source, landing, Arc::clone(&store)).build();
    let full = syncer.run(&lines).await?;
    println!("{} lines landed, {} rejected", full.counts.inserted, full.counts.rejected);
    if let Some(first) = store.rejects(&lines.id, None, 1).await?.first() {
        println!("for instance {}: {}: {}", first.key, first.column, first.reason);
    }

    // Another mapping is a full load, in which every line fits.
    lines.mapping.derived.pop();
    let mended = syncer.run(&lines).await?;
    destination.sign_out().await?;
    let (rows, left) = (kinetic.truth_count("PODetails"), store.count_rejects(&lines.id).await?);
    if mended.landed_rows != u64::try_from(rows)? || left > 0 {
        return Err(format!("{rows} lines in Kinetic, {} in Tableau, {left} rejected", mended.landed_rows).into());
    }
    println!("ok: {rows} lines in Kinetic and in Tableau");
    Ok(())
}
