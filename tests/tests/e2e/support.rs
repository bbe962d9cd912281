//! Both simulators, a syncer between them, and the comparison.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kinetic_tableau_sync::hyper::{Engine, EngineLocation, ExtractReader, InstallOptions, find_or_install};
use kinetic_tableau_sync::store::SqliteStore;
use kinetic_tableau_sync::{
    AuditFilter, AuditStore, DatasetSpec, Destination as _, FingerprintStore, HyperOptions, KineticSource, RejectStore,
    Resolution, RunSummary, SourceObject, StateStore, SyncError, Syncer, TableauDestination, Target, Track,
};
use simulators::kinetic::{KineticSim, KineticSimBuilder, Seed};
use simulators::tableau::{TableauSim, TableauSimBuilder};
use tableau_rest::WaitPolicy;
use tempfile::TempDir;

pub(crate) const INVOICES: &str = "ap_invoices";

pub(crate) fn location() -> EngineLocation {
    find_or_install(&InstallOptions::default()).expect("the extract engine is needed for this test")
}

pub(crate) struct World<S = SqliteStore> {
    pub(crate) kinetic: KineticSim,
    pub(crate) tableau: TableauSim,
    pub(crate) store: Arc<S>,
    pub(crate) directory: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(KineticSim::builder(), TableauSim::builder()).await
    }

    pub(crate) async fn with(kinetic: KineticSimBuilder, tableau: TableauSimBuilder) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(directory.path().join("state.db")).unwrap());
        Self { directory, ..Self::on(store, kinetic, tableau).await }
    }
}

impl<S: StateStore + AuditStore + FingerprintStore + RejectStore> World<S> {
    /// On a store of any kind.
    pub(crate) async fn on(store: Arc<S>, kinetic: KineticSimBuilder, tableau: TableauSimBuilder) -> Self {
        let (kinetic, tableau) = (kinetic.start().await.unwrap(), tableau.start().await.unwrap());
        kinetic.seed(Seed::default());
        Self { kinetic, tableau, store, directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn kinetic_client(&self) -> epicor_kinetic::Client {
        let retry = epicor_kinetic::RetryPolicy::default()
            .first_delay(Duration::from_millis(1))
            .longest_delay(Duration::from_millis(5));
        epicor_kinetic::Client::builder(self.kinetic.url())
            .company("EPIC06")
            .api_key(self.kinetic.api_key())
            .token_resource(self.kinetic.user(), self.kinetic.password())
            .retry(retry)
            .build()
            .unwrap()
    }

    pub(crate) fn tableau_client(&self) -> tableau_rest::Client {
        tableau_rest::Client::builder(self.tableau.url())
            .site(self.tableau.site())
            .personal_access_token(self.tableau.pat_name(), self.tableau.pat_secret())
            .retry(
                tableau_rest::RetryPolicy::default()
                    .first_delay(Duration::from_millis(1))
                    .longest_delay(Duration::from_millis(5)),
            )
            .build()
            .unwrap()
    }

    pub(crate) fn destination(&self) -> TableauDestination {
        let options = HyperOptions { spool: self.directory.path().join("spool"), engine: location() };
        let wait = WaitPolicy::new(Duration::from_secs(30))
            .first_poll(Duration::from_millis(10))
            .longest_poll(Duration::from_millis(40));
        TableauDestination::new(self.tableau_client(), options).wait_policy(wait)
    }

    pub(crate) fn syncer(&self) -> Syncer {
        self.syncer_on(Arc::clone(&self.store), "worker")
    }

    /// A worker of this name.
    pub(crate) fn syncer_on(&self, store: Arc<S>, owner: &str) -> Syncer {
        let source = KineticSource::new(self.kinetic_client());
        Syncer::builder(Arc::new(source), Arc::new(self.destination()), store).owner(owner).build()
    }

    pub(crate) async fn run(&self, spec: &DatasetSpec) -> Result<RunSummary, SyncError> {
        self.syncer().run(spec).await
    }

    /// A copy of what has landed, since the engine locks what it reads.
    pub(crate) fn landed_copy(&self, spec: &DatasetSpec) -> PathBuf {
        let file = self.tableau.landed_file(&spec.target.project, &spec.target.datasource).expect("it has landed");
        let copy = self.directory.path().join(format!("{}-copy.hyper", spec.id));
        std::fs::copy(file, &copy).unwrap();
        copy
    }

    /// Compares every cell that has landed with the source.
    pub(crate) async fn assert_landed(&self, spec: &DatasetSpec) {
        let engine = Engine::start(&location()).await.unwrap();
        let reader = ExtractReader::open(&engine, self.landed_copy(spec)).await.unwrap();
        let columns: Vec<String> = reader.columns().iter().map(|column| column.name.clone()).collect();
        let mut landed = reader.rows_as_text(&[]).await.unwrap();
        let SourceObject::EntitySet { set, .. } = &spec.source else { panic!("only entity sets are compared here") };
        let mut truth: Vec<Vec<Option<String>>> =
            self.kinetic.rows(set).iter().map(|row| columns.iter().map(|column| row.text(column)).collect()).collect();
        landed.sort();
        truth.sort();
        assert_eq!(landed.len(), truth.len(), "{}: rows", spec.id);
        for (landed, truth) in landed.iter().zip(&truth) {
            assert_eq!(landed, truth, "{}: {columns:?}", spec.id);
        }
    }

    /// How many records have landed, and that the trail is whole.
    pub(crate) async fn audited(&self, spec: &DatasetSpec) -> usize {
        assert_eq!(self.store.verify().await.unwrap().first_broken, None);
        let filter = AuditFilter { dataset: Some(spec.id.clone()), ..AuditFilter::default() };
        self.store.records(&filter).await.unwrap().iter().filter(|record| record.landed).count()
    }

    pub(crate) async fn target_is_there(&self, spec: &DatasetSpec) -> bool {
        !matches!(self.destination().inspect(&spec.target).await.unwrap(), kinetic_tableau_sync::TargetState::Absent)
    }
}

fn spec(id: &str, service: &str, set: &str, select: &[&str], datasource: &str) -> DatasetSpec {
    let object = SourceObject::EntitySet { service: service.to_owned(), set: set.to_owned() };
    let target = Target { project: "Finance/Payables".to_owned(), datasource: datasource.to_owned() };
    let mut spec = DatasetSpec::new(id, object, select.iter().copied(), target);
    spec.page_size = 100;
    spec
}

pub(crate) fn vendors() -> DatasetSpec {
    let columns = ["VendorID", "Name", "City", "Comment", "Inactive", "Rating_c", "DueDiligence_c"];
    let mut spec = spec("vendors", "Erp.BO.VendorSvc", "Vendors", &columns, "Vendors");
    spec.types.insert("DueDiligence_c".to_owned(), kinetic_tableau_sync::ColumnType::Date);
    spec
}

pub(crate) fn invoices() -> DatasetSpec {
    let columns = [
        "InvoiceDate",
        "DueDate",
        "InvoiceAmt",
        "InvoiceBal",
        "ExchangeRate",
        "Description",
        "Posted",
        "SysRevID",
        "ChangeDate",
    ];
    let mut spec = spec(INVOICES, "Erp.BO.APInvoiceSvc", "APInvoices", &columns, "AP invoices");
    spec.dimensions = vec!["InvoiceDate".to_owned(), "InvoiceAmt".to_owned()];
    spec
}

pub(crate) fn orders() -> DatasetSpec {
    let columns = ["VendorNum", "OrderDate", "BuyerID", "TotalOrder", "CommentText", "OpenOrder", "ChangeDate"];
    let mut spec = spec("purchase_orders", "Erp.BO.POSvc", "POes", &columns, "Purchase orders");
    spec.track = Track::timestamp("ChangeDate", Resolution::Second);
    spec
}

/// By a stamp that is a date only, with a boolean in the key and another one beside it.
pub(crate) fn transactions() -> DatasetSpec {
    let columns = ["TranAmt", "TranDate", "ChangeDate"];
    let mut spec = spec("ap_transactions", "Erp.BO.PaymentEntrySvc", "APTrans", &columns, "AP transactions");
    spec.track = Track::timestamp("ChangeDate", Resolution::Second);
    spec.page_size = 7;
    spec
}

pub(crate) fn customers() -> DatasetSpec {
    let mut spec =
        spec("customers", "Erp.BO.CustomerSvc", "Customers", &["Name", "CreditLimit", "EstDate"], "Customers");
    spec.track = Track::timestamp("ChangeDate", Resolution::Day);
    spec.page_size = 7;
    spec
}

pub(crate) fn accounts() -> DatasetSpec {
    let columns = ["AccountDesc", "Active", "EffFrom"];
    let mut spec = spec("gl_accounts", "Erp.BO.GLAccountSvc", "GLAccounts", &columns, "GL accounts");
    spec.types.insert("EffFrom".to_owned(), kinetic_tableau_sync::ColumnType::Date);
    spec
}
