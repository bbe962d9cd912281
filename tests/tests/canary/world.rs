//! Both simulators with canaries for secrets, a directory with a configuration, and the real program in it.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use kinetic_tableau_sync::credentials::{CredentialStore as _, SealKey, SealedFile, SecretName, SecretString};
use simulators::kinetic::{KineticSim, Seed};
use simulators::tableau::TableauSim;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::canaries::{Canaries, Canary, Evidence};
use crate::cli::binary;

/// How to sign in to Kinetic.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kinetic {
    Basic,
    TokenResource,
    OAuth2,
}

/// How to sign in to Tableau.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tableau {
    Pat,
    Password,
    App,
}

pub(super) struct World {
    pub(super) canaries: Canaries,
    pub(super) kinetic: KineticSim,
    pub(super) tableau: TableauSim,
    /// Where the program works. All of it is searched, but the key file.
    pub(super) directory: TempDir,
    /// What holds secrets because it is made for it: the files of `{ file = … }`.
    outside: TempDir,
    pub(super) evidence: Evidence,
    /// More variables of the environment.
    pub(super) variables: Vec<(&'static str, String)>,
}

/// The name of the key file, whose content opens the sealed file.
const KEY: &str = "seal.key";

impl World {
    pub(super) async fn new(kinetic: Kinetic, tableau: Tableau) -> Self {
        let canaries = Canaries::new();
        let kinetic_sim = KineticSim::builder()
            .api_key(&canaries.api_key.secret)
            .user("demo", &canaries.password.secret)
            .client("demo-client", &canaries.client_secret.secret)
            .bearer_token(&canaries.bearer.secret)
            .start()
            .await
            .unwrap();
        kinetic_sim.seed(Seed { vendors: 5, ap_invoices: 8, ..Seed::default() });
        let tableau_sim = TableauSim::builder()
            .token("kinetic-sync", &canaries.pat.secret)
            .user("demo", &canaries.tableau_password.secret)
            .app_secret(&canaries.app_secret.secret)
            .session_token(&canaries.session.secret)
            .start()
            .await
            .unwrap();
        let world = Self {
            canaries,
            kinetic: kinetic_sim,
            tableau: tableau_sim,
            directory: tempfile::tempdir().unwrap(),
            outside: tempfile::tempdir().unwrap(),
            evidence: Evidence::default(),
            variables: Vec::new(),
        };
        world.write_outside("client-secret", &world.canaries.client_secret);
        world.write_outside("app-secret", &world.canaries.app_secret);
        world.seal().await;
        world.configure(kinetic, tableau, |text| text);
        world
    }

    fn write_outside(&self, file: &str, canary: &Canary) {
        std::fs::write(self.outside.path().join(file), format!("{}\n", canary.secret)).unwrap();
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// Makes the sealed file, with what is taken from it and a secret that nobody takes.
    async fn seal(&self) {
        let key = SealKey::create_file(self.path(KEY)).unwrap();
        let sealed = SealedFile::create(self.path("sealed.age"), key).await.unwrap();
        let Canaries { api_key, pat, sealed: unused, .. } = &self.canaries;
        for (name, canary) in [("kinetic-api-key", api_key), ("tableau-pat", pat), ("unused", unused)] {
            let value = SecretString::from(canary.secret.as_str());
            sealed.set(&SecretName::new(name).unwrap(), &value, Some("a note")).await.unwrap();
        }
    }

    /// Writes the configuration, after a change.
    pub(super) fn configure(&self, kinetic: Kinetic, tableau: Tableau, change: impl FnOnce(String) -> String) {
        let outside = |file: &str| self.outside.path().join(file).display().to_string();
        let kinetic_auth = match kinetic {
            Kinetic::Basic => "kind = \"basic\"\nuser = \"demo\"\npassword = { env = \"KT_PASSWORD\" }".to_owned(),
            Kinetic::TokenResource => {
                "kind = \"token_resource\"\nuser = \"demo\"\npassword = { env = \"KT_PASSWORD\" }".to_owned()
            }
            Kinetic::OAuth2 => format!(
                "kind = \"oauth2\"\ntoken_url = \"{}\"\nclient_id = \"demo-client\"\nclient_secret = {{ file = \"{}\" }}",
                self.kinetic.oauth2_url(),
                outside("client-secret")
            ),
        };
        let (app, app_key, _, user) = self.tableau.connected_app();
        let tableau_auth = match tableau {
            Tableau::Pat => "kind = \"pat\"\nname = \"kinetic-sync\"\nsecret = { secret = \"tableau-pat\" }".to_owned(),
            Tableau::Password => {
                "kind = \"password\"\nuser = \"demo\"\npassword = { env = \"KT_TABLEAU_PASSWORD\" }".to_owned()
            }
            Tableau::App => format!(
                "kind = \"connected-app\"\nclient_id = \"{app}\"\nsecret_id = \"{app_key}\"\nuser = \"{user}\"\n\
                 secret = {{ file = \"{}\" }}",
                outside("app-secret")
            ),
        };
        let text = format!(
            r#"
[kinetic]
url = "{}"
company = "EPIC06"
api_key = {{ secret = "kinetic-api-key" }}
[kinetic.auth]
{kinetic_auth}
[tableau]
url = "{}"
site = "{}"
[tableau.auth]
{tableau_auth}
[secrets]
store = "sealed:sealed.age"
key = {{ file = "{KEY}" }}
[state]
store = "sqlite:state.db"
[engine]
spool = "spool"
[[dataset]]
name = "ap_invoices"
service = "Erp.BO.APInvoiceSvc"
entity_set = "APInvoices"
select = ["Company", "VendorNum", "InvoiceNum", "InvoiceDate", "InvoiceAmt", "CurrencyCode", "Posted"]
page_size = 5
project = "Finance"
datasource = "AP invoices"
"#,
            self.kinetic.url(),
            self.tableau.url(),
            self.tableau.site(),
        );
        std::fs::write(self.path("kinetic-tableau.toml"), change(text)).unwrap();
    }

    pub(super) async fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary().await);
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("KT_PASSWORD", &self.canaries.password.secret)
            .env("KT_TABLEAU_PASSWORD", &self.canaries.tableau_password.secret)
            .env("KT_PASSPHRASE", &self.canaries.passphrase.secret)
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "1")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs the program with these words in its standard input, at the finest level of its log, and keeps what it prints.
    pub(super) async fn run_with(&mut self, arguments: &[&str], input: &str) -> Output {
        let mut child = self.command(arguments).await.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // It may have ended without reading.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        let name = arguments.join(" ");
        self.evidence.add(format!("stdout of {name}"), output.stdout.clone());
        self.evidence.add(format!("stderr of {name}"), output.stderr.clone());
        output
    }

    pub(super) async fn run(&mut self, arguments: &[&str]) -> Output {
        self.run_with(arguments, "").await
    }

    /// Asks for everything that is told of what has happened.
    pub(super) async fn look_back(&mut self) {
        for arguments in [
            &["status"][..],
            &["status", "--json"],
            &["audit", "--limit", "0"],
            &["audit", "--json"],
            &["audit", "--verify", "--json"],
            &["audit", "--export", "csv"],
            &["audit", "--export", "jsonl"],
            &["audit", "--export", "openlineage"],
            &["rejects", "--json"],
            &["report", "--out", "-", "--since", "2000-01-01"],
        ] {
            self.run(arguments).await;
        }
    }

    /// Searches everything that was printed, and every file that was written.
    pub(super) fn is_clean(&mut self, what: &str) {
        self.evidence.add_files(self.directory.path(), &[KEY]);
        assert_eq!(self.evidence.hits(self.canaries.all()), [""; 0], "{what}");
    }
}

pub(super) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub(super) fn ended(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", text(output));
}

/// Changes one byte in the middle of a file.
pub(super) fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}
