//! The Kinetic client against the simulated Kinetic: everything it offers, and what becomes of it when things fail.

mod flows;
mod identity;
mod keys;
mod reads;
mod writes;

use std::time::Duration;

use epicor_kinetic::{Client, ClientBuilder, RetryPolicy};
use simulators::kinetic::{KineticSim, KineticSimBuilder, Seed};

/// A company of a few rows of everything.
async fn company(builder: KineticSimBuilder) -> KineticSim {
    let sim = builder.start().await.unwrap();
    sim.seed(Seed { vendors: 40, ap_invoices: 120, purchase_orders: 30, ..Seed::default() });
    sim
}

fn builder(sim: &KineticSim) -> ClientBuilder {
    let retry = RetryPolicy::default().first_delay(Duration::from_millis(1));
    Client::builder(sim.url()).company("EPIC06").api_key(sim.api_key()).retry(retry)
}

fn client(sim: &KineticSim) -> Client {
    builder(sim).basic(sim.user(), sim.password()).build().unwrap()
}
