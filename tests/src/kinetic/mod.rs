//! A stateful Kinetic: REST v2 over a small company, with the habits of the real one.
//!
//! It shares no code with the clients, so that a mistake in them is not made here as well. Where nobody outside Epicor knows how the
//! real server behaves (the form of dates, the largest page), there is a switch.

mod answer;
mod auth;
mod baq;
mod catalog;
mod changes;
mod database;
mod filter;
mod methods;
mod odata;
mod rows;
mod seed;
mod table;
mod value;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response};
use percent_encoding::percent_decode_str;
use serde_json::{Value as Json, json};
use tokio::task::JoinHandle;

use self::answer::{Answer, Failure, ok};
use self::auth::{Secrets, Tokens};
use self::odata::{Options, Reading};
use crate::faults::{self, Faults, plain};

pub use self::database::{COMPANY, Database};
pub use self::seed::Seed;
pub use self::table::{ColumnDefinition, Definition, Row};
pub use self::value::{DateForm, Kind, Value};

/// What differs between servers, or is not known of the real ones.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Switches {
    /// What stands behind dates in answers.
    pub date_form: DateForm,
    /// Whether dates in filters need an offset.
    pub strict_dates: bool,
    /// The most rows of a page, whatever `$top` asks for. Silent.
    pub cap: Option<usize>,
    /// Whether rows come in another order each time when none is asked for.
    pub shuffle: bool,
    /// Whether long answers end with a link to the next page.
    pub next_links: bool,
    /// Whether the metadata says how many digits decimals have.
    pub facets: bool,
    /// Whether next links carry a token of the server's own instead of a number of rows.
    pub skip_tokens: bool,
    /// Whether a slash in the key of an address makes the row unreachable, however it is encoded (observed).
    pub slash_breaks_keys: bool,
    /// Whether `absolutePage` counts from 0; otherwise 0 and 1 are both the first page.
    pub pages_from_zero: bool,
    /// The status with which calls without a `License` header are told that no licence is free; none lets them through.
    pub no_default_licence: Option<u16>,
    /// How long each request takes.
    pub latency: Duration,
    /// Whether `PODetails` answers nothing to a filter (observed on a real server).
    pub empty_details: bool,
    /// Whether what is expanded can be asked for with some columns alone.
    pub nested_select: bool,
    /// What every token is; a new one each time when none.
    pub token: Option<String>,
    /// How long tokens last.
    pub token_life: Duration,
    /// For how many requests tokens are good.
    pub token_uses: u64,
    /// Whether `UpdateMaster` asks the user something instead of saving.
    pub update_master_asks: bool,
    /// Services outside of the key's scope.
    pub forbidden: Vec<String>,
    /// The status for them: 401 or 403 (both were observed).
    pub forbidden_status: u16,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            date_form: DateForm::Bare,
            strict_dates: false,
            cap: None,
            shuffle: true,
            next_links: false,
            skip_tokens: false,
            slash_breaks_keys: true,
            pages_from_zero: false,
            no_default_licence: None,
            latency: Duration::ZERO,
            facets: true,
            empty_details: true,
            nested_select: true,
            token: None,
            token_life: auth::TOKEN_LIFE,
            token_uses: u64::MAX,
            update_master_asks: false,
            forbidden: Vec::new(),
            forbidden_status: 401,
        }
    }
}

type Hook = Box<dyn FnMut(&mut Database, u64) + Send>;

struct Shared {
    database: Mutex<Database>,
    tokens: Mutex<Tokens>,
    secrets: Secrets,
    switches: Switches,
    faults: Faults,
    /// Called behind each page of rows, with their number so far.
    hook: Mutex<Option<Hook>>,
    pages: Mutex<u64>,
    /// Requests under way, and the most there ever were.
    at_once: Mutex<(usize, usize)>,
    /// The `CallSettings` headers so far.
    settings: Mutex<Vec<String>>,
    root: String,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running simulator. Dropping it stops it.
pub struct KineticSim {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for KineticSim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KineticSim").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Builds a [`KineticSim`].
#[derive(Debug)]
#[must_use]
pub struct KineticSimBuilder {
    secrets: Secrets,
    switches: Switches,
}

impl KineticSimBuilder {
    /// The API key that is right.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.secrets.api_key = key.into();
        self
    }

    /// The user that is right.
    pub fn user(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        (self.secrets.user, self.secrets.password) = (user.into(), password.into());
        self
    }

    /// The client that is right at the token endpoint.
    pub fn client(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        (self.secrets.client_id, self.secrets.client_secret) = (id.into(), secret.into());
        self
    }

    /// What every token is that is handed out, instead of a new one each time: so that it can be looked for.
    pub fn bearer_token(mut self, token: impl Into<String>) -> Self {
        self.switches.token = Some(token.into());
        self
    }

    /// Sets switches.
    pub fn switches(mut self, change: impl FnOnce(&mut Switches)) -> Self {
        change(&mut self.switches);
        self
    }

    /// Without a network: requests come through [`KineticSim::call`].
    pub fn offline(self) -> KineticSim {
        let address = SocketAddr::from(([127, 0, 0, 1], 9));
        KineticSim { shared: self.shared(address), address, task: None }
    }

    fn shared(self, address: SocketAddr) -> Arc<Shared> {
        Arc::new(Shared {
            database: Mutex::new(Database::new()),
            tokens: Mutex::default(),
            secrets: self.secrets,
            switches: self.switches,
            faults: Faults::default(),
            hook: Mutex::new(None),
            pages: Mutex::new(0),
            at_once: Mutex::new((0, 0)),
            settings: Mutex::default(),
            root: format!("http://{address}/SaaS1"),
        })
    }

    /// Starts it on a free port of this machine.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start(self) -> io::Result<KineticSim> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = self.shared(address);
        let app = axum::Router::new().fallback(serve).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            // It ends with the simulator.
            let _ = axum::serve(listener, app).await;
        });
        Ok(KineticSim { shared, address, task: Some(task) })
    }
}

impl KineticSim {
    /// A simulator with demo credentials and default switches.
    pub fn builder() -> KineticSimBuilder {
        let secrets = Secrets {
            api_key: "demo-kinetic-api-key-7f3a".to_owned(),
            user: "demo".to_owned(),
            password: "demo-kinetic-password-51c9".to_owned(),
            client_id: "demo-client".to_owned(),
            client_secret: "demo-client-secret-0be2".to_owned(),
        };
        KineticSimBuilder { secrets, switches: Switches::default() }
    }

    /// Its root address.
    pub fn url(&self) -> &str {
        &self.shared.root
    }

    /// The address of its token endpoint for client credentials.
    pub fn oauth2_url(&self) -> String {
        format!("http://{}/connect/token", self.address)
    }

    /// The API key.
    pub fn api_key(&self) -> &str {
        &self.shared.secrets.api_key
    }

    /// The user.
    pub fn user(&self) -> &str {
        &self.shared.secrets.user
    }

    /// The user's password.
    pub fn password(&self) -> &str {
        &self.shared.secrets.password
    }

    /// Client id and secret for [`oauth2_url`](KineticSim::oauth2_url).
    pub fn client_credentials(&self) -> (&str, &str) {
        (&self.shared.secrets.client_id, &self.shared.secrets.client_secret)
    }

    /// The faults to come and the requests so far.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Fills the tables.
    #[expect(clippy::needless_pass_by_value, reason = "it is written where it is used")]
    pub fn seed(&self, seed: Seed) {
        seed::fill(&mut self.database(), &seed);
    }

    /// Changes rows of a set, one of five new. Answers how many are new.
    pub fn random_changes(&self, set: &str, count: usize, seed: u64) -> usize {
        seed::change(&mut self.database(), set, count, seed)
    }

    /// The database, to look into it and to change it. Requests wait meanwhile.
    pub fn database(&self) -> MutexGuard<'_, Database> {
        locked(&self.shared.database)
    }

    /// The visible rows of a set: the truth.
    pub fn rows(&self, set: &str) -> Vec<Row> {
        self.database().rows(set)
    }

    /// How many rows of a set are visible.
    pub fn truth_count(&self, set: &str) -> usize {
        self.rows(set).len()
    }

    /// Answers one request, as the server would that is running or not.
    pub async fn call(&self, request: Request) -> Response<Body> {
        serve(State(Arc::clone(&self.shared)), request).await
    }

    /// Calls `hook` behind each page of rows, with the number of pages so far.
    pub fn on_page(&self, hook: impl FnMut(&mut Database, u64) + Send + 'static) {
        *locked(&self.shared.hook) = Some(Box::new(hook));
    }

    /// The most requests that were under way at the same time; counted where answers take their time (`Switches::latency`).
    pub fn most_at_once(&self) -> usize {
        locked(&self.shared.at_once).1
    }

    /// The `CallSettings` headers so far.
    pub fn call_settings(&self) -> Vec<String> {
        locked(&self.shared.settings).clone()
    }

    /// Ends all tokens now.
    pub fn expire_tokens(&self) {
        locked(&self.shared.tokens).expire();
    }
}

impl Drop for KineticSim {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Names and values of a query, decoded.
fn pairs(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let effect = shared.faults.meet(&format!("{} {target}", head.method));
    if let Some(response) = effect.as_ref().and_then(faults::instead) {
        return response;
    }
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap_or_default();
    if let Some(response) = faults::echo(effect.as_ref(), &head, &body) {
        return response;
    }
    if !shared.switches.latency.is_zero() {
        let _under_way = UnderWay::begin(&shared);
        tokio::time::sleep(shared.switches.latency).await;
    }
    let answer =
        shared.answer(&head.method, head.uri.path(), head.uri.query().unwrap_or_default(), &head.headers, &body);
    faults::spoil(effect, answer.unwrap_or_else(|failure| failure.response())).await
}

/// Counts a request for as long as it takes.
struct UnderWay<'a>(&'a Shared);

impl<'a> UnderWay<'a> {
    fn begin(shared: &'a Shared) -> Self {
        let mut at_once = locked(&shared.at_once);
        at_once.0 += 1;
        at_once.1 = at_once.1.max(at_once.0);
        Self(shared)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        locked(&self.0.at_once).0 -= 1;
    }
}

impl Shared {
    fn answer(&self, method: &Method, path: &str, query: &str, headers: &HeaderMap, body: &Bytes) -> Answer {
        let segments: Vec<String> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let rest = match segments.as_slice() {
            ["connect", "token"] => {
                return Ok(auth::client_credentials(body, &self.secrets, &mut locked(&self.tokens), &self.switches));
            }
            ["SaaS1", "TokenResource.svc"] => {
                return auth::token_resource(headers, &self.secrets, &mut locked(&self.tokens), &self.switches);
            }
            ["SaaS1", "api", "v2", rest @ ..] => rest,
            _ => return Ok(plain(404, "text/html", "<html><body>404 - File or directory not found.</body></html>")),
        };
        auth::check(headers, &self.secrets, &mut locked(&self.tokens))?;
        if let (Some(status), None) = (self.switches.no_default_licence, headers.get("license")) {
            let message = "Maximum users exceeded on license type: DefaultUser assigned to company: EPIC06";
            return Err(Failure::new(status, "Ice.Common.BusinessObjectException", message));
        }
        if let Some(settings) = headers.get("callsettings").and_then(|settings| settings.to_str().ok()) {
            locked(&self.settings).push(settings.to_owned());
        }
        // The server in front of the application decodes the address before it looks for the row.
        if self.switches.slash_breaks_keys && path.to_ascii_lowercase().contains("%2f") {
            return Err(Failure::unknown(path));
        }
        let (company, rest) = match rest {
            ["odata", company, rest @ ..] => (*company, rest),
            ["efx", "staging", company, library, function] => {
                return Self::function(company, library, function, true, body);
            }
            ["efx", company, library, function] => return Self::function(company, library, function, false, body),
            _ => return Err(Failure::unknown(path)),
        };
        if company != COMPANY {
            return Err(Failure::business(format!("Company {company} is not valid for this user.")));
        }
        if let Some(service) = rest.first()
            && self.switches.forbidden.iter().any(|forbidden| forbidden == service)
        {
            let message = format!("Access denied ({service}.GetRows).");
            return Err(Failure::unauthorized(self.switches.forbidden_status, message));
        }
        let options = Options::read(&pairs(query))?;
        match (method.as_str(), rest) {
            ("GET", ["BaqSvc", id, "$metadata"]) => self.baq_metadata(id),
            ("GET", ["BaqSvc", id, "Data"]) => self.baq(id, query, &options),
            ("GET", ["BaqSvc", id]) if baq::IDS.contains(id) => {
                Ok(ok(&json!({"value": [{"name": "Data", "kind": "EntitySet", "url": "Data"}]})))
            }
            ("GET", [service]) => self.service_document(service),
            ("GET", [service, "$metadata"]) => self.metadata(service),
            ("GET", [service, set]) => self.read(service, set, query, &options),
            ("POST", [service, name]) => self.call(service, name, body),
            _ => Err(Failure::unknown(path)),
        }
    }

    /// `Echo` answers its inputs but leaves out what is null, `Refuse` throws, and `Draft` is not published.
    fn function(company: &str, library: &str, function: &str, staging: bool, body: &Bytes) -> Answer {
        if company != COMPANY || library != "KtLib" {
            return Err(Failure::unknown(library));
        }
        let input: serde_json::Map<String, Json> =
            serde_json::from_slice(body).map_err(|_| Failure::business("The body is no JSON."))?;
        match (function, staging) {
            ("Echo", _) | ("Draft", true) => {
                let told: serde_json::Map<String, Json> =
                    input.into_iter().filter(|(_, value)| !value.is_null()).collect();
                Ok(ok(&json!({"echo": told})))
            }
            ("Refuse", _) => Err(Failure::business("The function refuses.")),
            _ => Err(Failure::unknown(function)),
        }
    }

    /// The exact name of a service that was written in any case.
    fn service(database: &Database, service: &str) -> Result<String, Failure> {
        let found = database.tables().iter().map(|table| &table.definition.service);
        let found = found.into_iter().find(|known| known.eq_ignore_ascii_case(service));
        found.cloned().ok_or_else(|| Failure::unknown(service))
    }

    fn service_document(&self, service: &str) -> Answer {
        let database = locked(&self.database);
        let service = Self::service(&database, service)?;
        let sets = database.tables().iter().filter(|table| table.definition.service == service);
        let sets: Vec<Json> = sets
            .map(|table| json!({"name": table.definition.set, "kind": "EntitySet", "url": table.definition.set}))
            .collect();
        Ok(ok(&json!({"value": sets})))
    }

    fn metadata(&self, service: &str) -> Answer {
        let database = locked(&self.database);
        let service = Self::service(&database, service)?;
        let definitions: Vec<&Definition> = database
            .tables()
            .iter()
            .map(|table| table.definition.as_ref())
            .filter(|definition| definition.service == service)
            .collect();
        let edmx = odata::metadata(&definitions, &methods::names(&service), self.switches.facets);
        Ok(plain(200, "application/xml", edmx))
    }

    fn baq_metadata(&self, id: &str) -> Answer {
        let table = baq::run(id, &locked(&self.database), &[]).ok_or_else(|| Failure::unknown(id))?;
        Ok(plain(200, "application/xml", odata::metadata(&[&table.definition], &[], self.switches.facets)))
    }

    fn baq(&self, id: &str, query: &str, options: &Options) -> Answer {
        let mut database = locked(&self.database);
        let table = baq::run(id, &database, &options.parameters).ok_or_else(|| Failure::unknown(id))?;
        let turn = self.turn();
        let answer = self.reading(&database, turn, query).page(&table, options)?;
        self.after_page(&mut database, turn);
        Ok(answer)
    }

    fn read(&self, service: &str, set: &str, query: &str, options: &Options) -> Answer {
        let mut database = locked(&self.database);
        let service = Self::service(&database, service)?;
        let (name, key) = match set.split_once('(') {
            Some((name, key)) => (name, Some(positional(key.trim_end_matches(')'))?)),
            None => (set, None),
        };
        let turn = self.turn();
        let answer = {
            let table = database.table(name).filter(|table| table.definition.service == service);
            let table = table.ok_or_else(|| Failure::unknown(name))?;
            let reading = self.reading(&database, turn, query);
            match &key {
                Some(key) => reading.single(table, key, options)?,
                None => reading.page(table, options)?,
            }
        };
        if key.is_none() {
            self.after_page(&mut database, turn);
        }
        Ok(answer)
    }

    fn call(&self, service: &str, name: &str, body: &Bytes) -> Answer {
        let body: Json = if body.is_empty() {
            json!({})
        } else {
            serde_json::from_slice(body).map_err(|_| Failure::business("The body is no JSON."))?
        };
        let mut database = locked(&self.database);
        let service = Self::service(&database, service)?;
        let called = methods::call(&mut database, &self.switches, &self.secrets.user, (&service, name), &body);
        called.unwrap_or_else(|| Err(Failure::unknown(name)))
    }

    fn turn(&self) -> u64 {
        let mut pages = locked(&self.pages);
        *pages += 1;
        *pages
    }

    fn reading<'a>(&'a self, database: &'a Database, turn: u64, query: &str) -> Reading<'a> {
        let kept = query.split('&').filter(|part| {
            let paging = ["$top=", "$skip=", "$skiptoken="].iter().any(|name| part.starts_with(name));
            !part.is_empty() && !paging
        });
        let kept = kept.fold(String::new(), |kept, part| kept + part + "&");
        Reading { database, switches: &self.switches, turn, root: &self.root, kept }
    }

    fn after_page(&self, database: &mut Database, turn: u64) {
        if let Some(hook) = locked(&self.hook).as_mut() {
            hook(database, turn);
        }
    }
}

/// The parts of a positional key: `'EPIC06',1042,'O''Hara'`.
fn positional(key: &str) -> Result<Vec<String>, Failure> {
    let mut parts = Vec::new();
    let mut rest = key;
    loop {
        if let Some(quoted) = rest.strip_prefix('\'') {
            let mut text = String::new();
            let mut letters = quoted.char_indices().peekable();
            let end = loop {
                match letters.next() {
                    Some((_, '\'')) if letters.peek().is_some_and(|(_, next)| *next == '\'') => {
                        letters.next();
                        text.push('\'');
                    }
                    Some((at, '\'')) => break at,
                    Some((_, other)) => text.push(other),
                    None => return Err(Failure::query("There is an unterminated string literal in the key.")),
                }
            };
            parts.push(text);
            rest = quoted.get(end + 1..).unwrap_or_default();
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (part, behind) = rest.split_at(end);
            parts.push(part.to_owned());
            rest = behind;
        }
        match rest.strip_prefix(',') {
            Some(behind) => rest = behind,
            None if rest.is_empty() => return Ok(parts),
            None => return Err(Failure::query("The key cannot be read.")),
        }
    }
}
