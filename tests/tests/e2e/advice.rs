//! The probe of change tracking.

use kinetic_tableau_sync::{DatasetSpec, KineticSource, Resolution, SourceObject, Target, Track};
use simulators::kinetic::KineticSim;
use simulators::tableau::TableauSim;

use super::support::{World, customers, invoices};

async fn advice(world: &World, spec: &DatasetSpec) -> (Track, String) {
    let advice = KineticSource::new(world.kinetic_client()).advise(spec).await.unwrap();
    (advice.track, advice.reasons.join("; "))
}

fn of(service: &str, set: &str) -> DatasetSpec {
    let source = SourceObject::EntitySet { service: service.to_owned(), set: set.to_owned() };
    let target = Target { project: "P".to_owned(), datasource: set.to_owned() };
    DatasetSpec::new(set.to_lowercase(), source, ["Company"], target)
}

#[tokio::test]
async fn a_probe_chooses_what_the_server_can_do_and_says_why() {
    let world = World::new().await;
    let (track, why) = advice(&world, &invoices()).await;
    assert_eq!(track, Track::revision());
    assert!(why.contains("the server filters and orders by it"), "{why}");
    // What the dataset says does not count.
    assert_eq!(advice(&world, &customers()).await.0, Track::revision());

    // This set answers nothing to a filter, neither by revision nor by stamp.
    let (track, why) = advice(&world, &of("Erp.BO.POSvc", "PODetails")).await;
    assert_eq!(track, Track::Snapshot, "{why}");
    assert!(why.starts_with("the server answers nothing when it is asked for rows by SysRevID"), "{why}");

    let mut lines = of("Erp.BO.POSvc", "POes");
    lines.source = SourceObject::Lines {
        service: "Erp.BO.POSvc".to_owned(),
        set: "POes".to_owned(),
        navigation: "PODetails".to_owned(),
    };
    let (track, why) = advice(&world, &lines).await;
    assert_eq!(track, Track::Snapshot);
    assert!(why.contains("need not touch the header"), "{why}");
}

#[tokio::test]
async fn queries_without_a_row_version_are_tracked_by_their_stamps() {
    let world = World::with(KineticSim::builder(), TableauSim::builder()).await;
    let mut spec = of("", "");
    for (id, column) in [("KT-Invoices", "APInvHed_ChangeDate"), ("KT-VendorSpend", "Calculated_UpdatedOn")] {
        spec.source = SourceObject::Baq { id: id.to_owned(), parameters: Vec::new() };
        let (track, why) = advice(&world, &spec).await;
        assert_eq!(track, Track::timestamp(column, Resolution::Second), "{id}: {why}");
        assert!(why.starts_with("there is no SysRevID") && why.contains("dates with a time of day"), "{id}: {why}");
    }
    // A date, and beside it the second of the day.
    spec.source = SourceObject::Baq { id: "KT-Customers".to_owned(), parameters: Vec::new() };
    let (track, why) = advice(&world, &spec).await;
    assert_eq!(track, Track::date_and_time("Customer_ChangeDate", "Customer_ChangeTime"), "{why}");
    assert!(why.contains("dates only") && why.contains("the second of the day"), "{why}");
}
