//! What the configuration says of servers, databases and whoever is told.

use super::*;

#[test]
fn a_pool_of_tokens_is_a_list_in_which_each_is_there_once() {
    let one = "name = \"sync\"\nsecret = { env = \"KT_TEST_PAT\" }";
    let pool = |list: &str| whole(DATASET).replace(one, list);
    assert_ne!(pool(""), whole(DATASET), "the sample still has its token");
    let a = "{ name = \"a\", secret = { env = \"KT_A\" } }";
    let config = load(&pool(&format!("tokens = [{a}, {{ name = \"b\", secret = {{ file = \"b\" }} }}]"))).unwrap();
    let SignIn::Pat { tokens } = &config.tableau.sign_in else { panic!("pat") };
    assert_eq!(tokens.iter().map(|token| token.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(config.tableau.secrets().len(), 2);
    let refused = |list: &str, words: &[&str]| after(one, list, words);
    refused(&format!("tokens = [{a}, {a}]"), &["the token 'a' is in the list twice", "good for one session"]);
    refused("tokens = []", &["tokens: this list is empty"]);
    refused(&format!("tokens = [{a}]\nname = \"x\""), &["name: there is a list of `tokens` already"]);
    refused(&format!("tokens = [{{ name = \"a\", secret = \"{CANARY}\" }}]"), &["never written into this file"]);
}

#[test]
fn an_address_that_is_none_is_told_with_its_key_and_an_example() {
    let kinetic = |url: &str, words: &[&str]| {
        let line = whole(DATASET)
            .lines()
            .find(|line| line.starts_with("url = \"https://") && !line.contains("tableau"))
            .unwrap()
            .to_owned();
        after(&line, &format!("url = \"{url}\""), words);
    };
    kinetic("erp.example.com", &["[kinetic] url: this is no address", "url = \"https://host/instance\""]);
    kinetic("ftp://erp.example.com", &["[kinetic] url: this is no address of a web server"]);
    kinetic("http://erp.example.com/x", &["[kinetic] url: this address is not encrypted", "use https"]);
    after("https://tableau.example.com", "tableau.example.com", &["[tableau] url: this is no address"]);
}

#[test]
fn a_service_and_alerts_are_read_and_checked() {
    let with = |text: &str| load(&whole(DATASET).replace("[tableau]", &format!("{text}\n[tableau]")));
    assert!(load(&whole(DATASET)).unwrap().service.is_none());
    let config = with("[service]\nlisten = \"127.0.0.1:8700\"\nwebhook_secret = { env = \"KT_HOOK\" }\n[alerts]\nwebhook = { env = \"KT_CHAT\" }").unwrap();
    assert_eq!(config.service.as_ref().unwrap().listen.port(), 8_700);
    assert_eq!(config.alerts.as_ref().unwrap().after, 3);
    let places: Vec<&str> = config.secret_refs().iter().map(|secret| secret.place()).collect();
    assert!(places.contains(&"[service] webhook_secret") && places.contains(&"[alerts] webhook"), "{places:?}");
    let refused = |text: &str, words: &[&str]| after("[tableau]", &format!("{text}\n[tableau]"), words);
    refused("[service]\nlisten = \"here\"", &["[service] listen", "127.0.0.1:8700"]);
    refused("[service]\nlisten = \"127.0.0.1:1\"\nport = 1", &["unknown key 'port'"]);
    refused(&format!("[alerts]\nwebhook = \"https://chat.example.com/{CANARY}\""), &["never written into this file"]);
    refused("[alerts]\nwebhook = { env = \"X\" }\nafter = 0", &["[alerts] after", "from 1 to 1000"]);
}

#[test]
fn a_store_in_postgres_is_an_address_and_a_password_by_reference_or_one_secret() {
    let state = |state: &str| whole(DATASET).replace("[tableau]", &format!("[state]\n{state}\n[tableau]"));
    let store = |text: &str| match load(&state(text)).unwrap().store {
        StoreLocation::Postgres(location) => *location,
        other => panic!("{other:?}"),
    };
    let plain = store("store = \"postgres://kt@db.example/kt\"");
    assert!(matches!(&plain.address, PostgresAddress::Url { url, password: None } if url.path() == "/kt"));
    assert_eq!((plain.schema, plain.connections, plain.ca_file), (None, None, None));
    let whole = store(
        "store = \"postgresql://kt@db.example/kt\"\npassword = { env = \"KT_DB\" }\nschema = \"sync\"\nconnections = 4\nca_file = \"ca.pem\"",
    );
    assert!(matches!(&whole.address, PostgresAddress::Url { password: Some(_), .. }));
    assert_eq!((whole.schema.as_deref(), whole.connections), (Some("sync"), Some(4)));
    assert_eq!(whole.ca_file.as_deref(), Some(Path::new("/etc/kt/ca.pem")));
    assert!(matches!(store("store = { env = \"DATABASE_URL\" }").address, PostgresAddress::Secret(_)));
    let config = load(&state("store = { env = \"DATABASE_URL\" }")).unwrap();
    assert!(config.secret_refs().iter().any(|secret| secret.place() == "[state] store"));

    let refused = |text: &str, words: &[&str]| after("[tableau]", &format!("[state]\n{text}\n[tableau]"), words);
    refused(
        &format!("store = \"postgres://user:{CANARY}@host/db\""),
        &["[state] store: there is a password in this address", "password = { env"],
    );
    refused(&format!("store = \"postgres://host/db?password={CANARY}\""), &["there is a password in this address"]);
    refused("store = \"postgres:db\"", &["[state] store", "postgres://USER@HOST:PORT/DATABASE"]);
    refused("store = \"postgres://host\"", &["[state] store", "postgres://USER@HOST:PORT/DATABASE"]);
    refused(&format!("store = \"postgres://host/db\"\npassword = \"{CANARY}\""), &["never written into this file"]);
    refused("store = \"postgres://host/db\"\nconnections = 0", &["connections", "from 1 to 100"]);
    refused("store = \"memory\"\nschema = \"x\"", &["[state] schema", "Postgres only"]);
    refused("store = { env = \"A\" }\npassword = { env = \"B\" }", &["[state] password", "leave `password` out"]);
}

#[test]
fn rows_are_delivered_as_extracts_as_tables_or_as_parquet() {
    let deliver = |word: &str| {
        let dataset =
            DATASET.replace("datasource = \"Vendors\"", &format!("datasource = \"Vendors\"\ndeliver = \"{word}\""));
        format!("{HEAD}[staging]\nurl = \"postgres://kt@db.example/bi\"\n{dataset}")
    };
    for (word, wanted) in [
        ("tableau", Deliver::Tableau),
        ("hyper", Deliver::Tableau),
        ("postgres", Deliver::Postgres),
        ("parquet", Deliver::Parquet),
    ] {
        let config = load(&deliver(word)).unwrap();
        assert_eq!(config.datasets[0].deliver, wanted);
        assert!(config.delivers(wanted) && config.needs_tableau() == (wanted != Deliver::Postgres), "{word}");
    }
    let refreshed = deliver("postgres") + "refresh = [{ datasource = \"Vendors live\" }]\n";
    assert!(load(&refreshed).unwrap().needs_tableau());
    after(
        "datasource = \"Vendors\"",
        "datasource = \"Vendors\"\ndeliver = \"postgres\"",
        &["dataset 'vendors' is delivered to Postgres, but there is no section [staging]", "add [staging]"],
    );
    // Tables know no projects.
    let second = DATASET.replace("name = \"vendors\"", "name = \"others\"").replace("Finance/AP", "Elsewhere");
    let second = second.replace("datasource = \"Vendors\"", "datasource = \"Vendors\"\ndeliver = \"postgres\"");
    let told = complaint(&format!("{}{second}", deliver("postgres")));
    assert!(told.contains("the table 'Vendors' is that of dataset 'vendors' already"), "{told}");
    assert!(load(&format!("{}{second}", deliver("parquet"))).is_ok());
}

#[test]
fn the_staging_database_is_an_address_and_a_password_by_reference_or_one_secret() {
    let staging = |text: &str| whole(DATASET).replace("[tableau]", &format!("[staging]\n{text}\n[tableau]"));
    let of = |text: &str| load(&staging(text)).unwrap().staging.unwrap();
    let plain = of("url = \"postgres://kt@db.example/bi\"");
    assert_eq!((plain.schema.as_deref(), plain.deletes), (None, kinetic_tableau_sync::Deletes::Hard));
    let soft = of("url = { env = \"STAGING_URL\" }\nschema = \"bi\"\ndeletes = \"soft\"\nca_file = \"ca.pem\"");
    assert_eq!((soft.schema.as_deref(), soft.deletes), (Some("bi"), kinetic_tableau_sync::Deletes::Soft));
    let config = load(&staging("url = \"postgres://kt@db.example/bi\"\npassword = { env = \"KT_BI\" }")).unwrap();
    assert!(config.secret_refs().iter().any(|secret| secret.place() == "[staging] password"));
    let refused = |text: &str, words: &[&str]| after("[tableau]", &format!("[staging]\n{text}\n[tableau]"), words);
    refused(&format!("url = \"postgres://kt:{CANARY}@db.example/bi\""), &["[staging] url", "there is a password"]);
    refused("url = \"mysql://kt@db.example\"", &["[staging] url", "no address of a Postgres database"]);
    refused("schema = \"x\"", &["[staging] has no 'url'"]);
    refused("url = \"postgres://kt@db.example/bi\"\ndeletes = \"never\"", &["deletes: 'never'", "\"soft\""]);
    let named = "url = \"postgres://kt@db.example/bi\"\npassword = { secret = \"bi\" }";
    refused(named, &["[staging] password names a secret", "[secrets]"]);
}
