//! The scene of the demo: both simulators, what is in them, and a configuration that names them.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use simulators::kinetic::{KineticSim, Row, Seed, Value};
use simulators::tableau::TableauSim;

use super::compare::TrueRow;
use crate::failure::{Failure, Outcome};

/// Same rows each time, so that two demos can be compared.
const SEED: u64 = 2026;

/// How often somebody edits something while the servers stay up.
const EDITS: Duration = Duration::from_secs(10);

/// One dataset of the demo.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) datasource: &'static str,
    pub(super) set: &'static str,
    pub(super) key: &'static [&'static str],
    /// How many of its rows are inserted and updated between the two cycles, out of a hundred.
    changed_percent: u64,
    settings: &'static str,
}

/// The datasets of the demo, with the columns that land.
pub(super) const PARTS: &[Part] = &[
    Part {
        name: "vendors",
        datasource: "Vendors",
        set: "Vendors",
        key: &["Company", "VendorNum"],
        changed_percent: 5,
        settings: r#"service = "Erp.BO.VendorSvc"
entity_set = "Vendors"
select = ["Company", "VendorNum", "VendorID", "Name", "Address1", "City", "Country", "CurrencyCode", "Inactive"]
dimensions = ["CurrencyCode"]
"#,
    },
    Part {
        name: "ap_invoices",
        datasource: "AP invoices",
        set: "APInvoices",
        key: &["Company", "VendorNum", "InvoiceNum"],
        changed_percent: 3,
        settings: r#"service = "Erp.BO.APInvoiceSvc"
entity_set = "APInvoices"
select = ["Company", "VendorNum", "InvoiceNum", "InvoiceDate", "DueDate", "CurrencyCode", "InvoiceAmt", "InvoiceBal", "Posted", "OpenPayable", "Description"]
dimensions = ["CurrencyCode"]
# The datasource has an upstream of its own, and the workbook reads what has landed.
refresh = [{ datasource = "Payables mart" }, { workbook = "Payables overview" }]
"#,
    },
    Part {
        name: "purchase_orders",
        datasource: "Purchase orders",
        set: "POes",
        key: &["Company", "PONum"],
        changed_percent: 4,
        settings: r#"service = "Erp.BO.POSvc"
entity_set = "POes"
select = ["Company", "PONum", "VendorNum", "OrderDate", "BuyerID", "CurrencyCode", "OpenOrder", "TotalOrder", "ChangeDate"]
# By a stamp instead of the revision.
track = { timestamp = "ChangeDate", resolution = "second", overlap = "2m" }
"#,
    },
    Part {
        name: "gl_accounts",
        datasource: "GL accounts",
        set: "GLAccounts",
        key: &["Company", "COACode", "GLAccount1"],
        changed_percent: 2,
        settings: r#"service = "Erp.BO.GLAccountSvc"
entity_set = "GLAccounts"
select = ["Company", "COACode", "GLAccount1", "AccountDesc", "SegValue1", "SegValue2", "Active", "EffFrom"]
"#,
    },
];

/// Project that everything lands in.
const PROJECT: &str = "Finance/Payables";

/// Both simulators, running until dropped.
#[derive(Debug)]
pub(super) struct Scene {
    kinetic: KineticSim,
    tableau: TableauSim,
}

impl Scene {
    /// Starts both and fills them: about as many vendors, orders and accounts as go with so many invoices.
    pub(super) async fn start(invoices: u64) -> Outcome<Self> {
        let failed = |error: std::io::Error| {
            Failure::of(
                &error,
                Some("check that this machine has a loopback network and space in its temporary directory"),
            )
            .within("starting the simulators")
        };
        let invoices = usize::try_from(invoices).map_err(|error| Failure::of(&error, None))?;
        let kinetic = KineticSim::builder().start().await.map_err(failed)?;
        kinetic.seed(Seed {
            vendors: (invoices / 10).clamp(20, 20_000),
            ap_invoices: invoices,
            purchase_orders: (invoices / 5 * 2).max(20),
            gl_accounts: 300,
            seed: SEED,
            ..Seed::default()
        });
        let tableau = TableauSim::builder().start().await.map_err(failed)?;
        tableau.add_datasource_with_upstream(PROJECT, "Payables mart");
        tableau.add_workbook(PROJECT, "Payables overview", "Payables mart");
        Ok(Self { kinetic, tableau })
    }

    /// Writes a configuration, as an operator would, with the secrets in files beside it.
    pub(super) fn configure(&self, directory: &Path, serve: bool) -> Outcome<()> {
        let secrets = directory.join("secrets");
        create_private(&secrets)?;
        write(&secrets.join("kinetic-api-key"), self.kinetic.api_key())?;
        write(&secrets.join("kinetic-password"), self.kinetic.password())?;
        write(&secrets.join("tableau-token"), self.tableau.pat_secret())?;
        let mut text = format!(
            r#"# Written by `kinetic-tableau demo`. {}
[kinetic]
url = "{}"
company = "EPIC06"
api_key = {{ file = "secrets/kinetic-api-key" }}
[kinetic.auth]
kind = "token_resource"
user = "{}"
password = {{ file = "secrets/kinetic-password" }}

[tableau]
url = "{}"
site = "{}"
[tableau.auth]
kind = "pat"
name = "{}"
secret = {{ file = "secrets/tableau-token" }}

[state]
store = "sqlite:state.db"

[engine]
spool = "spool"
"#,
            if serve {
                "Its servers are up as long as it runs."
            } else {
                "Its servers have ended with it; `status` and `audit` still work."
            },
            self.kinetic.url(),
            self.kinetic.user(),
            self.tableau.url(),
            self.tableau.site(),
            self.tableau.pat_name(),
        );
        for part in PARTS {
            use std::fmt::Write as _;
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "\n[[dataset]]\nname = \"{}\"\nproject = \"{PROJECT}\"\ndatasource = \"{}\"\n{}",
                part.name, part.datasource, part.settings
            );
            if serve {
                text.push_str("schedule = \"every 30s\"\nreconcile = \"every 5m\"\n");
            }
        }
        write(&directory.join("kinetic-tableau.toml"), &text)
    }

    /// Changes and adds some rows of every dataset.
    pub(super) fn change(&self) {
        for (nth, part) in (1..).zip(PARTS) {
            let rows = self.kinetic.truth_count(part.set);
            let few = usize::try_from(part.changed_percent).unwrap_or(1);
            self.kinetic.random_changes(part.set, (rows / 100 * few).max(3), SEED + nth);
        }
    }

    /// Changes a few rows from time to time, as people do who work.
    pub(super) async fn live(&self) {
        for round in 1_u64.. {
            tokio::time::sleep(EDITS).await;
            for (nth, part) in (1..).zip(PARTS) {
                self.kinetic.random_changes(part.set, 2, SEED + 100 * round + nth);
            }
        }
    }

    /// What no cycle can see: rows that are deleted, and orders that are edited without moving their stamp.
    pub(super) fn change_unseen(&self) {
        let mut database = self.kinetic.database();
        for part in PARTS {
            let rows = database.rows(part.set);
            // Every fiftieth row, but never the newest ones.
            for row in rows.iter().take(rows.len() - rows.len() / 4).step_by(50) {
                // The company is not part of the simulator's keys.
                let key: Vec<Value> = part.key.iter().skip(1).filter_map(|column| row.get(column).cloned()).collect();
                database.delete(part.set, &key);
            }
        }
        for row in database.rows("POes").iter().step_by(70) {
            let key = ["Company", "PONum"].into_iter().filter_map(|name| Some((name, row.get(name)?.clone())));
            database.write_unstamped("POes", key.chain([("BuyerID", Value::from("nobody"))]).collect::<Vec<_>>());
        }
    }

    /// Every row of a dataset as it really is.
    pub(super) fn truth(&self, part: &Part) -> Vec<Row> {
        self.kinetic.rows(part.set)
    }

    /// Copies what lies in Tableau now: the engine locks a file that it reads, and the simulator may want it.
    pub(super) fn take_extract(&self, part: &Part, to: &Path) -> Outcome<()> {
        let landed = self.tableau.extract_path(part.datasource).ok_or_else(|| {
            Failure::new(format!("'{}' is not in Tableau", part.datasource)).next("see the failure of its sync above")
        })?;
        std::fs::copy(&landed, to).map(drop).map_err(|error| write_failed(to, &error))
    }
}

impl TrueRow for Row {
    fn text(&self, column: &str) -> Option<String> {
        self.get(column).and_then(Value::to_text)
    }
}

pub(super) fn create_private(directory: &Path) -> Outcome<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(|error| write_failed(directory, &error))
}

/// Some of it is secret, as it would be in earnest.
fn write(path: &Path, text: &str) -> Outcome<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| write_failed(path, &error))
}

fn write_failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{} cannot be written: {error}", path.display()))
        .next("check that its directory is writable and has space; --keep DIR uses another one")
}
