//! A headless Chromium, driven through its `WebDriver` (`chromedriver`): found, or fetched where that is allowed.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::python;

/// What to do where there is no browser.
const NEEDED: &str = "install Chromium and its driver (Debian: chromium and chromium-driver), or name them with CHROMIUM and CHROMEDRIVER";

/// The page is ours, so that a sandbox would protect from nothing; and it needs rights that containers do not give.
const ARGUMENTS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// A browser with one page. Ends with the value.
#[derive(Debug)]
pub(super) struct Browser {
    driver: Child,
    /// Address of the session.
    session: String,
    client: reqwest::Client,
    _home: tempfile::TempDir,
}

impl Browser {
    /// Starts it.
    ///
    /// # Panics
    /// When there is none, and none can be installed; says what is needed.
    pub(super) async fn start() -> Self {
        let (browser, driver) = tokio::task::spawn_blocking(programs).await.expect("the search ends").clone();
        let mut command = tokio::process::Command::new(&driver);
        command
            .args(["--port=0", "--log-level=SEVERE"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{}: {error}; {NEEDED}", driver.display()));
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let port = tokio::time::timeout(Duration::from_mins(1), async {
            while let Some(line) = lines.next_line().await.expect("it is text") {
                if let Some((_, rest)) = line.split_once("successfully on port ") {
                    return rest.trim_end_matches('.').to_owned();
                }
            }
            panic!("{} ended without a port; {NEEDED}", driver.display());
        });
        let port = port.await.expect("the driver says its port");
        let home = tempfile::tempdir().expect("a directory for the browser");
        let profile = format!("--user-data-dir={}", home.path().display());
        let arguments: Vec<&str> = ARGUMENTS.into_iter().chain([profile.as_str()]).collect();
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"binary": browser, "args": arguments},
            "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"},
        }}});
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let root = format!("http://127.0.0.1:{port}/session");
        let mut browser = Self { driver: process, session: root, client, _home: home };
        let made = browser.call("", &wanted).await;
        browser.session = format!("{}/{}", browser.session, made["sessionId"].as_str().expect("a session"));
        browser
    }

    async fn call(&self, path: &str, body: &Value) -> Value {
        let answer =
            self.client.post(format!("{}{path}", self.session)).json(body).send().await.expect("the driver answers");
        let well = answer.status().is_success();
        let mut said: Value = answer.json().await.expect("the driver answers JSON");
        assert!(well, "{path}: {said}");
        said["value"].take()
    }

    /// A command of the browser's own protocol.
    async fn command(&self, name: &str, parameters: Value) {
        self.call("/goog/cdp/execute", &json!({"cmd": name, "params": parameters})).await;
    }

    /// Shows pages in this width and in this scheme of colours from now on, as on a screen or as on paper.
    pub(super) async fn look(&self, width: u32, scheme: &str, medium: &str) {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600});
        self.command("Emulation.setDeviceMetricsOverride", size).await;
        let features = json!({"media": medium, "features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.command("Emulation.setEmulatedMedia", features).await;
    }

    pub(super) async fn open(&self, url: &str) {
        self.call("/url", &json!({"url": url})).await;
    }

    /// Runs a script in the page. Answers what it returns.
    pub(super) async fn ask(&self, script: &str) -> Value {
        self.call("/execute/sync", &json!({"script": script, "args": []})).await
    }

    /// Everything that a page has asked for since the last time, by its address. The browser's own first page is another one.
    pub(super) async fn requests(&self, page: &str) -> Vec<String> {
        let log = self.call("/se/log", &json!({"type": "performance"})).await;
        let messages = log.as_array().expect("a list").iter().filter_map(|entry| entry["message"].as_str());
        let events = messages.filter_map(|text| serde_json::from_str::<Value>(text).ok());
        let sent = events.filter(|event| event["message"]["method"] == "Network.requestWillBeSent");
        let of_page = sent.filter(|event| event["message"]["params"]["documentURL"] == page);
        of_page.filter_map(|event| Some(event["message"]["params"]["request"]["url"].as_str()?.to_owned())).collect()
    }

    /// What the browser has complained of since the last time.
    pub(super) async fn complaints(&self) -> Vec<String> {
        let log = self.call("/se/log", &json!({"type": "browser"})).await;
        log.as_array().expect("a list").iter().map(|entry| entry["message"].to_string()).collect()
    }
}

impl Drop for Browser {
    /// Ends the browser through its driver, also where a test has failed: it would outlive a driver that is killed.
    fn drop(&mut self) {
        let Some((host, path)) = self.session.strip_prefix("http://").and_then(|rest| rest.split_once('/')) else {
            return;
        };
        let Ok(mut connection) = std::net::TcpStream::connect(host) else { return };
        let _ = connection.set_read_timeout(Some(Duration::from_secs(10)));
        let request = format!("DELETE /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        if connection.write_all(request.as_bytes()).is_ok() {
            let _ = connection.read_to_end(&mut Vec::new());
        }
        let _ = self.driver.start_kill();
    }
}

/// The browser and its driver.
fn programs() -> &'static (PathBuf, PathBuf) {
    static FOUND: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    FOUND.get_or_init(|| {
        if let Some(found) = find() {
            return found;
        }
        install();
        find().unwrap_or_else(|| panic!("there is no Chromium; {NEEDED}"))
    })
}

fn find() -> Option<(PathBuf, PathBuf)> {
    let named = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let browsers = ["chromium", "chromium-browser", "google-chrome"];
    let browser = named("CHROMIUM").or_else(|| browsers.into_iter().find_map(on_path))?;
    let driver = named("CHROMEDRIVER").or_else(|| on_path("chromedriver"))?;
    Some((browser, driver))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// With the packages of the system, as root or where `sudo` asks for no password.
fn install() {
    std::fs::create_dir_all(python::build_directory()).expect("the build directory can be written");
    // Other test processes may want the same at the same time.
    let lock = std::fs::File::create(python::build_directory().join("chromium.lock"));
    let lock = lock.expect("the build directory can be written");
    lock.lock().expect("the lock of the installation");
    if find().is_some() {
        return;
    }
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|said| said.stdout.trim_ascii() == b"0");
    let apt = |arguments: &[&str]| {
        let mut command = if is_root { Command::new("apt-get") } else { Command::new("sudo") };
        if !is_root {
            command.args(["-n", "apt-get"]);
        }
        let ran = command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).output();
        let ran =
            ran.unwrap_or_else(|error| panic!("there is no Chromium, and apt-get cannot be run: {error}; {NEEDED}"));
        let words = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "there is no Chromium, and it cannot be installed; {NEEDED}\n{words}");
    };
    apt(&["update", "-qq"]);
    apt(&["install", "-y", "-qq", "--no-install-recommends", "chromium", "chromium-driver"]);
}
