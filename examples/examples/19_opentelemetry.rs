//! Spans of a sync in OpenTelemetry: one for each run, and within it one for each call to Kinetic and Tableau.
//!
//! Here they are kept in memory and printed. To send them to a collector, hand `with_batch_exporter` an exporter of the crate
//! `opentelemetry-otlp` instead: `SpanExporter::builder().with_http().build()`.

use std::collections::BTreeMap;
use std::sync::Arc;

use kinetic_tableau_sync::hyper::{InstallOptions, find_or_install};
use kinetic_tableau_sync::store::MemoryStore;
use kinetic_tableau_sync::{
    DatasetSpec, HyperOptions, KineticSource, SourceObject, Syncer, TableauDestination, Target,
};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use simulators::kinetic::{KineticSim, Seed};
use simulators::tableau::TableauSim;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    // Ours only: HTTP libraries tell much more, and nobody has looked whether that holds secrets.
    let ours = EnvFilter::new("kinetic_tableau_sync=info,epicor_kinetic=debug,tableau_rest=debug");
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("kinetic-tableau")).with_filter(ours);
    tracing_subscriber::registry().with(layer).init();

    let kinetic = KineticSim::builder().start().await?;
    kinetic.seed(Seed { vendors: 300, ..Seed::default() });
    let tableau = TableauSim::builder().start().await?;
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
    let options = HyperOptions { spool: spool.path().join("spool"), engine };
    let destination = Arc::new(TableauDestination::new(destination, options));
    let syncer =
        Syncer::builder(Arc::new(KineticSource::new(source)), destination, Arc::new(MemoryStore::new())).build();
    let vendors = DatasetSpec::new(
        "vendors",
        SourceObject::EntitySet { service: "Erp.BO.VendorSvc".to_owned(), set: "Vendors".to_owned() },
        ["VendorNum", "VendorID", "Name"],
        Target { project: "Finance".to_owned(), datasource: "Vendors".to_owned() },
    );
    for _ in 0..2 {
        syncer.run(&vendors).await?;
        kinetic.random_changes("Vendors", 20, 7);
    }
    provider.force_flush()?;

    let spans = exporter.get_finished_spans()?;
    let runs: Vec<_> = spans.iter().filter(|span| span.name == "sync.run").collect();
    for run in &runs {
        let mut within: BTreeMap<&str, usize> = BTreeMap::new();
        for span in spans.iter().filter(|span| span.span_context.trace_id() == run.span_context.trace_id()) {
            *within.entry(&span.name).or_default() += 1;
        }
        println!("run {}: {within:?}", run.span_context.trace_id());
        if !["kinetic.call", "tableau.call"].iter().all(|name| within.contains_key(name)) {
            return Err("calls are missing in the trace of a run".into());
        }
    }
    let all = format!("{spans:?}");
    let secrets = [kinetic.api_key(), kinetic.password(), tableau.pat_secret()];
    if runs.len() != 2 || secrets.iter().any(|secret| all.contains(secret)) {
        return Err(format!("{} runs were traced", runs.len()).into());
    }
    println!("ok: {} runs, {} spans, no secret in them", runs.len(), spans.len());
    Ok(())
}
