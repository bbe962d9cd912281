//! Each identity, with tokens that end in the middle of reading.

use std::time::Duration;

use epicor_kinetic::entities::ApInvoice;
use epicor_kinetic::{ClientBuilder, KeysetColumns, OAuth2};
use futures_util::TryStreamExt;
use simulators::kinetic::KineticSim;

use super::{builder, company};

async fn everything_arrives(sim: &KineticSim, builder: ClientBuilder, token_request: &str) {
    let client = builder.build().unwrap();
    for ahead in [0, 3] {
        let before = sim.faults().requests().len();
        let query = client.query::<ApInvoice>().page_size(10);
        let columns = KeysetColumns::new().integer("SysRevID");
        let rows: Vec<ApInvoice> = query.keyset(columns).prefetch(ahead).into_stream().try_collect().await.unwrap();
        assert_eq!(rows.len(), 120);
        let requests = sim.faults().requests().split_off(before);
        let pages = requests.iter().filter(|request| request.contains("APInvoices")).count();
        let fetched = requests.iter().filter(|request| request.contains(token_request)).count();
        // Thirteen pages; each token is good for four requests, and the fifth is refused and sent again.
        assert!((13..=17).contains(&pages), "{pages} pages");
        assert!(fetched <= 5, "{fetched} tokens");
    }
    let rows: Vec<ApInvoice> = client.query::<ApInvoice>().page_size(10).stream().try_collect().await.unwrap();
    assert_eq!(rows.len(), 120);
}

fn short_lived() -> simulators::kinetic::KineticSimBuilder {
    KineticSim::builder().switches(|switches| switches.token_uses = 4)
}

#[tokio::test]
async fn tokens_of_the_token_service_are_renewed_in_the_middle_of_reading() {
    let sim = company(short_lived()).await;
    let identity = builder(&sim).token_resource(sim.user(), sim.password());
    everything_arrives(&sim, identity, "TokenResource").await;
}

#[tokio::test]
async fn tokens_of_client_credentials_are_renewed_in_the_middle_of_reading() {
    let sim = company(short_lived()).await;
    let (id, secret) = sim.client_credentials();
    let identity = builder(&sim).oauth2(OAuth2::client_credentials(sim.oauth2_url(), id, secret).scope("epicor_erp"));
    everything_arrives(&sim, identity, "connect/token").await;
}

#[tokio::test]
async fn basic_needs_no_token() {
    let sim = company(short_lived()).await;
    let identity = builder(&sim).basic(sim.user(), sim.password());
    everything_arrives(&sim, identity, "oken").await;
    assert_eq!(sim.faults().count("TokenResource") + sim.faults().count("connect/token"), 0);
}

#[tokio::test]
async fn tokens_are_renewed_before_they_end_so_that_none_is_refused() {
    let sim = company(KineticSim::builder().switches(|switches| switches.token_life = Duration::from_secs(2))).await;
    let client = builder(&sim).token_resource(sim.user(), sim.password()).build().unwrap();
    let begun = std::time::Instant::now();
    let mut calls = 0;
    while begun.elapsed() < Duration::from_secs(4) {
        client.ping().await.unwrap();
        calls += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // A refused call would have been sent twice.
    assert_eq!(sim.faults().count("Vendors"), calls);
    assert!((2..=4).contains(&sim.faults().count("TokenResource")));
}

#[tokio::test]
async fn a_write_refused_for_an_old_token_is_sent_once_more_and_saved_once() {
    let sim = company(KineticSim::builder()).await;
    let client = builder(&sim).token_resource(sim.user(), sim.password()).build().unwrap();
    client.ping().await.unwrap();
    sim.expire_tokens();
    let vendor = client.vendors().create(&epicor_kinetic::NewVendor::new("ONCE", "Once")).await.unwrap();
    assert_eq!(sim.rows("Vendors").iter().filter(|row| row.text("VendorID").as_deref() == Some("ONCE")).count(), 1);
    sim.expire_tokens();
    client.vendors().delete(vendor.vendor_num).await.unwrap();
}
