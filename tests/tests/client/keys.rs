//! Keys of every type and every sign: what is written into an address is what arrives.

use epicor_kinetic::{EntitySet, Literal};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use simulators::kinetic::KineticSim;

use super::client;

/// Signs that mean something in addresses, in keys or to proxies, beside all others.
fn text() -> impl Strategy<Value = String> {
    let awkward = r#"['"/\\%&?#+ ,()=;:@$!*~|<>^`{}\[\]-]{1,6}"#;
    prop_oneof![
        awkward,
        "[%][0-9A-F]{2}",
        r"\PC{1,12}",
        "[a-z][.]{1,3}",
        Just("..".to_owned()),
        Just("null".to_owned())
    ]
}

#[test]
fn a_row_is_found_by_any_key() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sim = runtime.block_on(KineticSim::builder().start()).unwrap();
    let client = client(&sim);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(400));
    runner
        .run(&text(), |number| {
            sim.database().write("Parts", [("PartNum", number.as_str().into()), ("SearchWord", "here".into())]);
            let key = [Literal::from("EPIC06"), Literal::from(number.as_str())];
            let found: Result<Value, _> = runtime.block_on(client.entity_set(EntitySet::PARTS).get(key));
            let found = found.map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(found["PartNum"].as_str(), Some(number.as_str()));
            Ok(())
        })
        .unwrap();
}

#[test]
fn whole_numbers_are_keys_up_to_their_limits() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sim = runtime.block_on(KineticSim::builder().start()).unwrap();
    let client = client(&sim);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(100));
    runner
        .run(&prop_oneof![any::<i32>(), Just(i32::MIN), Just(i32::MAX), Just(0)], |number| {
            sim.database().write("Vendors", [("VendorNum", i64::from(number).into()), ("Name", "here".into())]);
            let key = [Literal::from("EPIC06"), Literal::from(number)];
            let found: Result<Value, _> = runtime.block_on(client.entity_set(EntitySet::VENDORS).get(key));
            let found = found.map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(found["VendorNum"].as_i64(), Some(i64::from(number)));
            Ok(())
        })
        .unwrap();
}
