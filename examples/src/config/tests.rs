//! Every way in which a configuration file can be wrong, and what is said about it.

mod places;

use std::path::Path;
use std::time::Duration;

use kinetic_tableau_sync::{ColumnType, RefreshTarget, Resolution, Schedule, SourceObject, Track};

use super::*;

/// A value that must never be repeated, whatever is wrong with it.
const CANARY: &str = "canary-7f3a";

const HEAD: &str = r#"
[kinetic]
url = "https://erp.example.com/Kinetic"
company = "EPIC06"
api_key = { env = "KT_TEST_API_KEY" }
[kinetic.auth]
kind = "basic"
user = "sync"
password = { file = "secrets/password" }
[tableau]
url = "https://tableau.example.com"
site = "finance"
[tableau.auth]
kind = "pat"
name = "sync"
secret = { env = "KT_TEST_PAT" }
"#;

const DATASET: &str = r#"
[[dataset]]
name = "vendors"
service = "Erp.BO.VendorSvc"
entity_set = "Vendors"
select = ["VendorNum", "Name"]
project = "Finance/AP"
datasource = "Vendors"
"#;

fn load(text: &str) -> Outcome<Config> {
    Config::of_text(Path::new("/etc/kt/sync.toml"), text)
}

/// The dataset of a section, for tests elsewhere.
pub(crate) fn dataset(section: &str) -> Dataset {
    load(&whole(section)).unwrap().datasets.remove(0)
}

/// A configuration whose only dataset has this name.
pub(crate) fn with_dataset_named(name: &str) -> Config {
    let mut config = load(&whole(DATASET)).unwrap();
    for dataset in &mut config.datasets {
        dataset.spec.id = name.into();
    }
    config
}

fn whole(dataset: &str) -> String {
    format!("{HEAD}{dataset}")
}

/// The complaint about a file, with its hint.
fn complaint(text: &str) -> String {
    let failure = load(text).expect_err("the file was taken");
    assert_eq!(failure.exit(), crate::failure::Exit::Usage);
    assert!(failure.message().starts_with("/etc/kt/sync.toml"), "{} does not name the file", failure.message());
    let text = failure.render(true);
    assert!(!text.contains(CANARY), "the value is repeated: {text}");
    text
}

/// Replaces a line of a good file, and expects the complaint to hold these words and the line's number.
fn after(from: &str, to: &str, words: &[&str]) {
    let good = whole(DATASET);
    assert_eq!(good.matches(from).count(), 1, "{from:?} is not there exactly once");
    let bad = good.replace(from, to);
    let text = complaint(&bad);
    for word in words {
        assert!(text.contains(word), "{text:?} does not say {word:?}");
    }
}

#[test]
fn the_shipped_example_is_read_in_full() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("kinetic-tableau.toml");
    let config = Config::load(&path).unwrap();
    let names: Vec<&str> = config.datasets.iter().map(Dataset::name).collect();
    assert_eq!(names, ["vendors", "ap_invoices", "purchase_orders", "order_lines", "vendor_spend"]);
    let [vendors, invoices, orders, lines, spend] = config.datasets.as_slice() else { panic!("five datasets") };
    assert_eq!((invoices.spec.mapping.derived.len(), invoices.spec.max_rejects), (5, 0));
    assert_eq!(invoices.spec.drift, kinetic_tableau_sync::Drift::default());
    assert!(matches!(&lines.spec.source, SourceObject::Lines { navigation, .. } if navigation == "PODetails"));
    assert_eq!(vendors.spec.track, Track::revision());
    assert_eq!(
        vendors.timing.to_string(),
        "every 15m, or after process Post AP Invoices, not sun 02:00-04:00 in Europe/Zurich"
    );
    assert_eq!(invoices.spec.types["InvoiceAmt"], ColumnType::Decimal { precision: 18, scale: 3 });
    assert_eq!(
        invoices.spec.refresh,
        [RefreshTarget::Workbook { project: "Finance".to_owned(), name: "Payables overview".to_owned() }]
    );
    assert_eq!(orders.spec.track, Track::timestamp("ChangeDate", Resolution::Second));
    assert_eq!(orders.timing.to_string(), "0 6 * * 1-5 in Europe/Zurich");
    assert!(
        matches!(&spend.spec.source, SourceObject::Baq { id, parameters } if id == "KT-VendorSpend" && parameters.len() == 1)
    );
    assert!(spend.timing.is_manual());
    assert!(matches!(&config.store, StoreLocation::Sqlite(file) if file.ends_with("kinetic-tableau.db")));
    let names: Vec<&str> = config.secret_refs().iter().filter_map(|secret| Some(secret.name()?.as_str())).collect();
    assert_eq!(names, ["tableau-pat"]);
    assert!(matches!(config.secrets.place(), Some(SecretStore::Sealed { key: KeyRef::File(_), .. })));
}

#[test]
fn the_configuration_of_the_manifests_for_kubernetes_is_read() {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations/kubernetes.yaml");
    let text = std::fs::read_to_string(manifests).unwrap();
    let (_, configuration) = text.split_once("kinetic-tableau.toml: |\n").unwrap();
    let lines = configuration.lines().map_while(|line| line.strip_prefix("    "));
    let configuration: String = lines.flat_map(|line| [line, "\n"]).collect();
    let config = Config::of_text(Path::new("/etc/kinetic-tableau/kinetic-tableau.toml"), &configuration).unwrap();
    assert_eq!((config.datasets.len(), config.tableau.secrets().len()), (1, 2));
    assert!(matches!(config.store, StoreLocation::Postgres(_)) && config.service.is_some());
}

#[test]
fn every_key_that_the_shipped_example_comments_out_would_be_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("kinetic-tableau.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let line = "key = { file = \"kinetic-tableau.key\" }\n";
    let others: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# ")).filter(|line| line.starts_with("key = {")).collect();
    assert_eq!(others.len(), 3);
    for other in others {
        Config::of_text(&path, &text.replace(line, &format!("{other}\n"))).unwrap();
    }
}

#[test]
fn defaults_are_those_of_the_engine_and_paths_start_at_the_file() {
    let config = load(&whole(DATASET)).unwrap();
    assert_eq!(config.store, StoreLocation::Sqlite("/etc/kt/kinetic-tableau.db".into()));
    assert_eq!(config.spool, Path::new("/etc/kt/kinetic-tableau-spool"));
    let spec = &config.datasets[0].spec;
    assert_eq!(spec.page_size, 5_000);
    assert!(spec.key.is_empty() && spec.refresh.is_empty() && spec.filter.is_none());
    let memory = whole(DATASET).replace("[tableau]", "[state]\nstore = \"memory\"\n[tableau]");
    assert_eq!(load(&memory).unwrap().store, StoreLocation::Memory);
}

#[test]
fn an_unknown_key_is_named_with_line_section_and_nearest_known_key() {
    after(
        "entity_set =",
        "entityset =",
        &["sync.toml:21:", "unknown key 'entityset'", "[[dataset]] 'vendors'", "'entity_set'"],
    );
    after("company =", "compny =", &["'compny' in [kinetic]", "'company'"]);
    after("user =", "usr =", &["'usr' in [kinetic.auth]", "'user'"]);
    after("[tableau.auth]", "[tableau.auht]", &["'auht' in [tableau]", "'auth'"]);
    after("[[dataset]]", "[[datasets]]", &["unknown key 'datasets' at the top of the file", "'dataset'"]);
    after("env = \"KT_TEST_PAT\"", "envv = \"KT_TEST_PAT\"", &["'envv' in [tableau.auth.secret]", "'env'"]);
}

#[test]
fn a_key_of_another_kind_of_sign_in_is_unknown() {
    after("kind = \"basic\"", "kind = \"basic\"\nscope = \"x\"", &["unknown key 'scope' in [kinetic.auth]"]);
    after("kind = \"pat\"", "kind = \"pat\"\ntoken = { env = \"X\" }", &["unknown key 'token' in [tableau.auth]"]);
}

#[test]
fn a_missing_key_is_named_with_its_section_and_an_example() {
    after("company = \"EPIC06\"", "", &["[kinetic] has no 'company'", "next: add company = "]);
    after("name = \"sync\"\nsecret", "secret", &["[tableau.auth] has no 'name'"]);
    after("secret = { env = \"KT_TEST_PAT\" }", "", &["[tableau.auth] has no 'secret'", "env"]);
    after("datasource = \"Vendors\"", "", &["[[dataset]] 'vendors' has no 'datasource'"]);
    after("name = \"vendors\"", "", &["[[dataset]] number 1 has no 'name'"]);
    after("select = [\"VendorNum\", \"Name\"]", "", &["has no 'select'"]);
    after("entity_set = \"Vendors\"", "", &["has no 'entity_set'"]);
    after("service = \"Erp.BO.VendorSvc\"", "", &["has no 'service'"]);
    after("service = \"Erp.BO.VendorSvc\"\nentity_set = \"Vendors\"", "", &["does not say what to read", "baq"]);
    assert!(complaint("").contains("the file has no 'kinetic'"));
    assert!(complaint(HEAD).contains("the file has no 'dataset'"));
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_what_is_expected() {
    after(
        "company = \"EPIC06\"",
        "company = 6",
        &["sync.toml:4:", "[kinetic] company", "a text is expected here, not a whole number"],
    );
    after(
        "select = [\"VendorNum\", \"Name\"]",
        "select = \"*\"",
        &["select: a list of texts is expected here, not a text"],
    );
    after("[\"VendorNum\", \"Name\"]", "[1]", &["a list of texts"]);
    after(
        "datasource = \"Vendors\"",
        "datasource = \"Vendors\"\npage_size = \"many\"",
        &["page_size: a number of rows"],
    );
    after("datasource = \"Vendors\"", "datasource = \"Vendors\"\ntypes = [1]", &["types: a section is expected"]);
    after("url = \"https://erp.example.com/Kinetic\"", "url = \"\"", &["[kinetic] url", "empty"]);
}

#[test]
fn a_secret_in_the_file_is_refused_and_not_repeated() {
    after(
        "{ env = \"KT_TEST_API_KEY\" }",
        &format!("\"{CANARY}\""),
        &["[kinetic] api_key", "never written into this file", "env"],
    );
    after("{ file = \"secrets/password\" }", &format!("\"{CANARY}\""), &["[kinetic.auth] password", "never written"]);
    after("{ env = \"KT_TEST_PAT\" }", &format!("[\"{CANARY}\"]"), &["[tableau.auth] secret", "never written"]);
    after("{ env = \"KT_TEST_PAT\" }", "{ }", &["exactly one of 'env', 'file' and 'secret'"]);
    after("{ env = \"KT_TEST_PAT\" }", "{ env = \"A\", file = \"B\" }", &["exactly one of 'env', 'file' and 'secret'"]);
    // Not even when the file is no TOML at all.
    after("{ env = \"KT_TEST_PAT\" }", CANARY, &["sync.toml:16:", "not valid TOML"]);
    after("{ env = \"KT_TEST_PAT\" }", &format!("\"{CANARY}"), &["sync.toml:16:", "not valid TOML"]);
}

#[tokio::test]
async fn a_secret_that_is_not_where_the_reference_points_is_named_by_its_reference() {
    let config = load(&whole(DATASET)).unwrap();
    let failure = config.kinetic.api_key.resolve(&config.secrets).await.unwrap_err();
    assert!(failure.message().contains("[kinetic] api_key") && failure.message().contains("KT_TEST_API_KEY"));
    let Identity::Basic { password, .. } = &config.kinetic.identity else { panic!("basic") };
    let failure = password.resolve(&config.secrets).await.unwrap_err();
    assert!(failure.message().contains("[kinetic.auth] password"), "{}", failure.message());
    assert!(failure.message().contains("/etc/kt/secrets/password"), "{}", failure.message());
}

#[tokio::test]
async fn a_secret_file_loses_only_its_last_line_break() {
    use secrecy::ExposeSecret as _;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("key"), " with spaces \r\n").unwrap();
    std::fs::write(directory.path().join("empty"), "\n").unwrap();
    let text = whole(DATASET)
        .replace("{ env = \"KT_TEST_API_KEY\" }", "{ file = \"key\" }")
        .replace("{ env = \"KT_TEST_PAT\" }", "{ file = \"empty\" }");
    let config = Config::of_text(&directory.path().join("sync.toml"), &text).unwrap();
    let key = config.kinetic.api_key.resolve(&config.secrets).await.unwrap();
    assert_eq!(key.expose_secret(), " with spaces ");
    let SignIn::Pat { tokens } = &config.tableau.sign_in else { panic!("pat") };
    let secret = &tokens[0].secret;
    assert!(secret.resolve(&config.secrets).await.unwrap_err().message().contains("is empty"));
}

#[test]
fn a_store_of_secrets_is_read_with_its_key_by_reference() {
    let named = whole(DATASET).replace("{ env = \"KT_TEST_PAT\" }", "{ secret = \"tableau-pat\" }");
    let store = |section: &str| {
        let config = load(&named.replace("[tableau]", &format!("[secrets]\n{section}\n[tableau]"))).unwrap();
        config.secrets.place().cloned().unwrap()
    };
    let sealed = |key| SecretStore::Sealed { file: "/etc/kt/a.age".into(), key };
    for (key, read) in [
        ("{ file = \"a.key\" }", KeyRef::File("/etc/kt/a.key".into())),
        ("{ passphrase = { env = \"KT_WORDS\" } }", KeyRef::Passphrase("KT_WORDS".to_owned())),
        ("{ passphrase = \"ask\" }", KeyRef::Ask),
        ("{ keyring = \"a/b\" }", KeyRef::Keyring { service: "a".to_owned(), account: "b".to_owned() }),
    ] {
        assert_eq!(store(&format!("store = \"sealed:a.age\"\nkey = {key}")), sealed(read));
    }
    assert_eq!(store("store = \"directory:secrets\""), SecretStore::Directory("/etc/kt/secrets".into()));
    assert_eq!(store("store = \"environment:KT_\""), SecretStore::Environment("KT_".to_owned()));
    assert_eq!(store("store = \"environment:\""), SecretStore::Environment(String::new()));
}

#[test]
fn a_store_of_secrets_that_cannot_work_is_told_without_repeating_what_is_there() {
    let section =
        |section: &str, words: &[&str]| after("[tableau]", &format!("[secrets]\n{section}\n[tableau]"), words);
    section(&format!("store = \"{CANARY}\""), &["[secrets] store: this is no store", "sealed:FILE"]);
    section("store = \"sealed:\"", &["this is no store"]);
    section("key = { file = \"x\" }", &["[secrets] has no 'store'"]);
    section("store = \"sealed:a\"", &["[secrets] has no 'key'", "passphrase"]);
    section(&format!("store = \"sealed:a\"\nkey = \"{CANARY}\""), &["never written into this file", "make a new key"]);
    let key = |key: &str, words: &[&str]| section(&format!("store = \"sealed:a\"\nkey = {key}"), words);
    key(&format!("{{ passphrase = \"{CANARY}\" }}"), &["a passphrase is never written", "\"ask\""]);
    key("{ file = \"a\", keyring = \"b/c\" }", &["exactly one of 'file', 'passphrase' and 'keyring'"]);
    key("{ keyring = \"only-one\" }", &["SERVICE/ACCOUNT"]);
    key("{ passphrase = { file = \"x\" } }", &["unknown key 'file'", "known here: env"]);
    section("store = \"directory:a\"\nkey = { file = \"x\" }", &["only a sealed file has a key"]);
    section("store = \"sealed:a\"\nkeys = 1", &["unknown key 'keys' in [secrets]", "'key'"]);
    let pat = "{ env = \"KT_TEST_PAT\" }";
    after(pat, "{ secret = \"a\" }", &["[tableau.auth] secret names a secret", "no section [secrets]"]);
    after(pat, &format!("{{ secret = \"{CANARY} \" }}"), &["[tableau.auth.secret] secret", "no name of a secret"]);
}

#[tokio::test]
async fn a_short_secret_and_a_file_that_others_may_read_are_weak() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    std::fs::write(&path, "short").unwrap();
    let text = whole(DATASET).replace("{ env = \"KT_TEST_API_KEY\" }", "{ file = \"key\" }");
    let config = Config::of_text(&directory.path().join("sync.toml"), &text).unwrap();
    let weakness = async || {
        let secret = config.kinetic.api_key.resolve(&config.secrets).await.unwrap();
        config.kinetic.api_key.weakness(&secret)
    };
    assert!(weakness().await.unwrap().contains("too short to be kept out"));
    std::fs::write(&path, "long enough").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(weakness().await.unwrap().contains("others may read"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(weakness().await, None);
}

#[test]
fn comparisons_and_their_limit_are_read_and_checked() {
    let found = dataset(&format!("{DATASET}track = \"snapshot\"\nreconcile = \"every 7d\"\nmax_delete_percent = 25\n"));
    assert_eq!((found.spec.track, found.spec.max_delete_percent), (Track::Snapshot, 25));
    assert_eq!(found.reconcile, Schedule::Every(Duration::from_hours(168)));
    let plain = dataset(DATASET);
    assert_eq!((plain.reconcile, plain.reconcile_after, plain.spec.max_delete_percent), (Schedule::Manual, None, 10));
    for (line, words) in [
        ("max_delete_percent = 101", "0 to 100"),
        ("reconcile_rows = \"yes\"", "true or false"),
        ("reconcile_after = 0", "at least one cycle"),
        ("reconcile = \"often\"", "reconcile"),
        ("track = \"diff\"", "\"snapshot\""),
    ] {
        after("datasource = \"Vendors\"", &format!("datasource = \"Vendors\"\n{line}"), &[words]);
    }
}

#[test]
fn bad_values_are_named_with_what_would_do() {
    for (extra, words) in [
        ("deliver = \"parkuet\"", ["deliver: 'parkuet'", "or \"parquet\""]),
        ("track = \"revison\"", ["track: 'revison'", "\"revision\""]),
        ("track = { timestamp = \"ChangeDate\" }", ["track has no 'resolution'", "\"second\""]),
        ("track = { timestamp = \"C\", resolution = \"hour\" }", ["resolution: 'hour'", "\"day\""]),
        ("track = { timestamp = \"C\", resolution = \"day\", overlap = \"2h\" }", ["overlap", "whole days"]),
        ("track = { timestamp = \"C\", resolution = \"second\", overlap = \"2\" }", ["overlap: '2'", "15m"]),
        ("track = { timestamp = \"C\", revision = \"R\" }", ["track: exactly one", "timestamp"]),
        ("track = { revision = \"R\", resolution = \"day\" }", ["resolution", "remove"]),
        ("track = { revision = \"R\", overlap = -1 }", ["overlap", "a number of revisions"]),
        ("track = { date = \"D\" }", ["track has no 'seconds'", "ChangeTime"]),
        ("track = { date = \"D\", seconds = \"T\", resolution = \"day\" }", ["resolution", "does not go with"]),
        ("schedule = \"sometimes\"", ["schedule: 'sometimes'", "every 15m"]),
        ("schedule = \"0 6 * * * in Zuerich\"", ["'Zuerich' is no time zone", "Europe/Zurich"]),
        ("schedule = [\"every 5m\", \"often\"]", ["schedule: 'often'", "every 15m"]),
        ("reconcile = \"after process X\"", ["reconcile: a comparison", "reconcile_after = 1"]),
        ("jitter = \"soon\"", ["jitter: 'soon'", "15m"]),
        ("blackout = \"at night\"", ["blackout: 'at night'", "22:00-02:00"]),
        ("blackout = [\"00:00-13:00\", \"13:00-24:00\"]", ["blackout: ", "leave none at all"]),
        ("schedule = \"61 * * * *\"", ["schedule: '61 * * * *'", "cron"]),
        ("types = { Amount = \"money\" }", ["types Amount: 'money'", "decimal(precision,scale)"]),
        ("page_size = 0", ["page_size", "5000"]),
        ("dimensions = [\"A\", \"A\"]", ["dimensions: 'A' is listed twice", "remove"]),
        ("refresh = [{ project = \"P\" }]", ["refresh number 1", "exactly one of"]),
        ("refresh = [{ task = \"1\", project = \"P\" }]", ["refresh number 1 project", "task"]),
        ("refresh = [{ task = \"1\" }, { task = \"1\" }]", ["refresh number 2", "listed twice"]),
        ("refresh = { task = \"1\" }", ["refresh", "a list of sections"]),
        ("parameters = { A = \"1\" }", ["parameters: only a BAQ", "filter"]),
        ("baq = \"X\"", ["baq: a dataset reads either", "remove 'baq'"]),
    ] {
        after("datasource = \"Vendors\"", &format!("datasource = \"Vendors\"\n{extra}"), &words);
    }
    after("project = \"Finance/AP\"", "project = \"Finance//AP\"", &["project: ", "empty part"]);
    after("name = \"vendors\"", "name = \"../vendors\"", &["name: a dataset's name is"]);
    after("kind = \"basic\"", "kind = \"bsic\"", &["[kinetic.auth] kind: 'bsic'", "token_resource"]);
    after("kind = \"pat\"", "kind = \"token\"", &["[tableau.auth] kind: 'token'", "\"pat\""]);
    after("company = \"", "concurrency = 17\ncompany = \"", &["[kinetic] concurrency", "1 to 16"]);
    after("company = \"", "most_runs = 0\ncompany = \"", &["[kinetic] most_runs", "1 to 1000"]);
    after("[tableau]", "[worker]\nat_once = 0\n[tableau]", &["[worker] at_once", "1 to 64"]);
    after("[tableau]", "[worker]\ngrace = \"long\"\n[tableau]", &["[worker] grace: 'long'", "15m"]);
    after("[tableau]", "[state]\nstore = \"redis:x\"\n[tableau]", &["[state] store", "sqlite:FILE"]);
}

#[test]
fn a_baq_needs_a_key_and_a_way_to_find_changes() {
    let baq = DATASET.replace("service = \"Erp.BO.VendorSvc\"\nentity_set = \"Vendors\"", "baq = \"KT-Spend\"");
    assert!(complaint(&whole(&baq)).contains("'vendors' has no 'key'"));
    let keyed = baq.replace("project =", "key = [\"Vendor_VendorNum\"]\nproject =");
    assert!(complaint(&whole(&keyed)).contains("'vendors' has no 'track'"));
    let tracked =
        keyed.replace("project =", "track = { timestamp = \"U\", resolution = \"day\", overlap = \"3d\" }\nproject =");
    let config = load(&whole(&tracked)).unwrap();
    assert_eq!(
        config.datasets[0].spec.track,
        Track::Timestamp { column: "U".to_owned(), resolution: Resolution::Day, overlap: Duration::from_hours(72) }
    );
}

#[test]
fn a_stamp_may_stand_in_two_columns() {
    let tracked = "track = { date = \"ChangeDate\", seconds = \"ChangeTime\", overlap = \"5m\" }\nproject =";
    let config = load(&whole(&DATASET.replace("project =", tracked))).unwrap();
    let overlap = Duration::from_mins(5);
    let expected = Track::DateAndTime { date: "ChangeDate".to_owned(), seconds: "ChangeTime".to_owned(), overlap };
    assert_eq!(config.datasets[0].spec.track, expected);
}

#[test]
fn two_datasets_share_neither_name_nor_target() {
    let twice = whole(&format!("{DATASET}{}", DATASET.replace("datasource = \"Vendors\"", "datasource = \"Others\"")));
    assert!(complaint(&twice).contains("two datasets named 'vendors'"));
    let target = DATASET.replace("name = \"vendors\"", "name = \"other\"").replace("\"Finance/AP\"", "\"finance/ap\"");
    assert!(complaint(&whole(&format!("{DATASET}{target}"))).contains("is the target of dataset 'vendors' already"));
}

#[test]
fn datasets_are_named_on_the_command_line_and_the_nearest_is_offered() {
    let config = load(&whole(DATASET)).unwrap();
    assert_eq!(config.named(&[]).unwrap().len(), 1);
    assert_eq!(config.named(&["vendors".to_owned()]).unwrap().len(), 1);
    let failure = config.named(&["vendor".to_owned()]).unwrap_err();
    assert!(failure.message().contains("'vendor'") && failure.hint().unwrap().contains("'vendors'"));
}

#[test]
fn a_file_that_is_not_there_is_said_so() {
    let failure = Config::load(Path::new("/nowhere/kinetic-tableau.toml")).unwrap_err();
    assert!(failure.message().contains("/nowhere/kinetic-tableau.toml"));
    assert!(failure.hint().unwrap().contains("--config"));
}

#[test]
fn a_mapping_is_read_in_full() {
    use kinetic_tableau_sync::{ChangedType, DatePart, Derive, MissingColumn, NewColumn, OnNull};
    let mapped = dataset(&format!(
        "{DATASET}{}",
        r#"
max_rejects = 7
rename = { Name = "Vendor" }
nulls = { Name = "reject", VendorNum = { replace = 0 } }
drift = { new = "add", missing = "null", changed = "reject" }
[[dataset.column]]
name = "Source"
constant = "Kinetic"
[[dataset.column]]
name = "Label"
template = "{VendorNum} {Name}"
[[dataset.column]]
name = "State"
lookup = "Inactive"
values = { true = "closed" }
otherwise = ""
[[dataset.column]]
name = "Month"
month_of = "ChangeDate"
[[dataset.column]]
name = "First"
type = "int32"
coalesce = ["A", "B"]
"#
    ));
    let spec = mapped.spec;
    assert_eq!(spec.max_rejects, 7);
    assert_eq!(spec.mapping.rename.get("Name").map(String::as_str), Some("Vendor"));
    assert_eq!(spec.mapping.nulls.get("Name"), Some(&OnNull::Reject));
    assert_eq!(spec.mapping.nulls.get("VendorNum"), Some(&OnNull::Replace("0".to_owned())));
    assert_eq!(
        (spec.drift.new, spec.drift.missing, spec.drift.changed),
        (NewColumn::Add, MissingColumn::Null, ChangedType::Reject)
    );
    let [source, label, state, month, first] = &spec.mapping.derived[..] else { panic!("{:?}", spec.mapping) };
    assert_eq!((source.kind, &source.from), (ColumnType::Text, &Derive::Constant("Kinetic".to_owned())));
    assert_eq!(label.from, Derive::Template("{VendorNum} {Name}".to_owned()));
    assert!(matches!(&state.from, Derive::Lookup { otherwise: Some(other), .. } if other.is_empty()));
    assert_eq!(month.kind, ColumnType::Int16);
    assert_eq!(month.from, Derive::Part { column: "ChangeDate".to_owned(), part: DatePart::Month });
    assert_eq!((first.kind, &first.name[..]), (ColumnType::Int32, "First"));
}

#[test]
fn a_mapping_that_says_too_much_or_nothing_is_refused() {
    for (text, part) in [
        ("nulls = { Name = \"ignore\" }", "'ignore' is nothing to do with null"),
        ("nulls = { Name = { replace = [] } }", "a text, a number or a boolean is expected here"),
        ("rename = { Name = 7 }", "a text is expected here"),
        ("drift = { new = \"stop\" }", "'stop' is no policy for columns"),
        ("drift = { gone = \"stop\" }", "unknown key 'gone'"),
        ("max_rejects = -1", "a number of rows is expected here"),
        ("[[dataset.column]]\nname = \"A\"", "exactly one of 'constant'"),
        ("[[dataset.column]]\nname = \"A\"\nconstant = 1\ntemplate = \"x\"", "exactly one of 'constant'"),
        ("[[dataset.column]]\nname = \"A\"\nconstant = 1\nvalues = {}", "it belongs to 'lookup'"),
        ("[[dataset.column]]\nname = \"A\"\nlookup = \"B\"", "has no 'values'"),
        ("[[dataset.column]]\nname = \"A\"\ntype = \"number\"\nconstant = 1", "'number' is no column type"),
    ] {
        let said = complaint(&whole(&format!("{DATASET}{text}\n")));
        assert!(said.contains(part), "{text}: {said}");
    }
}

#[test]
fn lines_are_read_below_their_headers_and_compared_as_a_whole() {
    let lines = DATASET.replace("entity_set = \"Vendors\"", "entity_set = \"POes\"\nlines = \"PODetails\"");
    let spec = dataset(&lines).spec;
    assert_eq!(spec.source.to_string(), "Erp.BO.VendorSvc/POes/PODetails");
    assert_eq!(spec.track, Track::Snapshot);
    let said = complaint(&whole(
        &DATASET.replace("service = \"Erp.BO.VendorSvc\"\nentity_set = \"Vendors\"", "baq = \"Q\"\nlines = \"L\""),
    ));
    assert!(said.contains("a BAQ has no lines below it"), "{said}");
}
