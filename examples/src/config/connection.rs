//! `[kinetic]` and `[tableau]`: where the two systems are, and as whom to talk to them.

use url::Url;

use super::document::Section;
use super::secret::SecretRef;
use crate::failure::Outcome;

/// `[kinetic]`
#[derive(Debug)]
pub(crate) struct Kinetic {
    /// Root address, such as `https://host/instance`.
    pub(crate) url: String,
    /// Company id.
    pub(crate) company: String,
    /// Key of API Key Maintenance.
    pub(crate) api_key: SecretRef,
    /// `[kinetic.auth]`
    pub(crate) identity: Identity,
    /// Pages of a whole table that are asked for at once.
    pub(crate) concurrency: usize,
    /// Runs that read here at once, of all workers.
    pub(crate) most_runs: Option<u32>,
}

/// `[kinetic.auth]`
#[derive(Debug)]
pub(crate) enum Identity {
    /// User and password with each call.
    Basic { user: String, password: SecretRef },
    /// A token of Kinetic's own token service.
    TokenResource { user: String, password: SecretRef },
    /// A token of an `OAuth2` service, by client credentials.
    OAuth2 { token_url: String, client_id: String, client_secret: SecretRef, scope: Option<String> },
}

impl Kinetic {
    pub(super) fn read(root: &Section<'_>) -> Outcome<Self> {
        let Some(section) =
            root.section("kinetic", &["url", "company", "api_key", "auth", "concurrency", "most_runs"])?
        else {
            return Err(root.missing("kinetic", "a section [kinetic] with url, company and api_key"));
        };
        Ok(Self {
            url: address(&section, "url", "https://host/instance")?,
            company: section.text("company", "company = \"EPIC06\"")?.to_owned(),
            api_key: section.secret("api_key")?,
            identity: Identity::read(&section)?,
            concurrency: concurrency(&section)?,
            most_runs: most_runs(&section)?,
        })
    }
}

impl Kinetic {
    /// The secrets in it, by reference.
    pub(crate) fn secrets(&self) -> Vec<&SecretRef> {
        let identity = match &self.identity {
            Identity::Basic { password, .. } | Identity::TokenResource { password, .. } => password,
            Identity::OAuth2 { client_secret, .. } => client_secret,
        };
        vec![&self.api_key, identity]
    }
}

/// The address of a server. Plain http is for servers on this machine.
fn address(section: &Section<'_>, key: &str, example: &str) -> Outcome<String> {
    let text = section.text(key, &format!("{key} = \"{example}\""))?;
    let like = || format!("write the whole address, such as {key} = \"{example}\"");
    let Ok(url) = Url::parse(text) else {
        return Err(section.bad(key, "this is no address of a server").next(like()));
    };
    match (url.scheme(), url.host_str().filter(|host| !host.is_empty())) {
        ("https", Some(_)) | ("http", Some("localhost" | "127.0.0.1" | "[::1]")) => Ok(text.to_owned()),
        ("http", Some(_)) => Err(section
            .bad(key, "this address is not encrypted, and a secret is sent there")
            .next("use https; plain http is for a server on this machine only")),
        _ => Err(section.bad(key, "this is no address of a web server").next(like())),
    }
}

/// How many pages are asked for at once: more than 16 is nothing that an ERP server should be asked to do.
fn concurrency(section: &Section<'_>) -> Outcome<usize> {
    const DEFAULT: usize = 4;
    const WHAT: &str = "a number of pages from 1 to 16";
    let pages: usize = section.integer("concurrency", WHAT)?.unwrap_or(DEFAULT);
    if (1..=16).contains(&pages) {
        return Ok(pages);
    }
    Err(section.bad("concurrency", WHAT).next("leave it out for 4; 1 reads one page after the other"))
}

/// How many runs there may be at once, of all workers together.
fn most_runs(section: &Section<'_>) -> Outcome<Option<u32>> {
    const WHAT: &str = "a number of runs from 1 to 1000";
    match section.integer("most_runs", WHAT)? {
        Some(0 | 1_001..) => Err(section.bad("most_runs", WHAT).next("leave it out for as many as there are")),
        most => Ok(most),
    }
}

impl Identity {
    fn read(kinetic: &Section<'_>) -> Outcome<Self> {
        const ALL: &[&str] = &["kind", "user", "password", "token_url", "client_id", "client_secret", "scope"];
        let Some(any) = kinetic.section("auth", ALL)? else {
            return Err(kinetic.missing("auth", "a section [kinetic.auth] with kind = \"basic\", user and password"));
        };
        match any.text("kind", "kind = \"basic\"")? {
            kind @ ("basic" | "token_resource") => {
                let basic = kind == "basic";
                let section = only(kinetic, any, &["kind", "user", "password"])?;
                let user = section.text("user", "user = \"NAME\"")?.to_owned();
                let password = section.secret("password")?;
                Ok(if basic { Self::Basic { user, password } } else { Self::TokenResource { user, password } })
            }
            "oauth2" => {
                let section = only(kinetic, any, &["kind", "token_url", "client_id", "client_secret", "scope"])?;
                Ok(Self::OAuth2 {
                    token_url: address(&section, "token_url", "https://login.example.com/TENANT/oauth2/v2.0/token")?,
                    client_id: section.text("client_id", "client_id = \"ID\"")?.to_owned(),
                    client_secret: section.secret("client_secret")?,
                    scope: section.optional_text("scope")?.map(str::to_owned),
                })
            }
            other => Err(any
                .bad("kind", &format!("'{other}' is no way to sign in to Kinetic"))
                .next("use \"basic\", \"token_resource\" or \"oauth2\"")),
        }
    }
}

/// `[tableau]`
#[derive(Debug)]
pub(crate) struct Tableau {
    /// Address of the server.
    pub(crate) url: String,
    /// Content URL of the site; empty is the default site.
    pub(crate) site: String,
    /// `[tableau.auth]`
    pub(crate) sign_in: SignIn,
    /// Runs that land here at once, of all workers.
    pub(crate) most_runs: Option<u32>,
    /// Whether datasources that somebody else has written to are loaded anew.
    pub(crate) watch_target: bool,
}

/// `[tableau.auth]`
#[derive(Debug)]
pub(crate) enum SignIn {
    /// A personal access token, or several: each is good for one session at a time.
    Pat { tokens: Vec<Token> },
    /// A JSON web token that somebody else has made.
    Jwt { token: SecretRef },
    /// User and password.
    Password { user: String, password: SecretRef },
    /// A connected app with direct trust, as a user.
    ConnectedApp { client_id: String, secret_id: String, secret: SecretRef, user: String },
}

/// A personal access token.
#[derive(Debug)]
pub(crate) struct Token {
    /// Its name, as Tableau shows it.
    pub(crate) name: String,
    /// The token itself.
    pub(crate) secret: SecretRef,
}

impl Tableau {
    pub(super) fn read(root: &Section<'_>) -> Outcome<Self> {
        let Some(section) = root.section("tableau", &["url", "site", "auth", "most_runs", "watch_target"])? else {
            return Err(root.missing("tableau", "a section [tableau] with url and site"));
        };
        // An empty site is a meaningful one, so it is read past the check that refuses empty texts.
        let site = match section.value("site").map(|value| value.get_ref().as_str()) {
            Some(Some("")) | None => "",
            _ => section.text("site", "site = \"NAME\"")?,
        };
        Ok(Self {
            url: address(&section, "url", "https://host")?,
            site: site.to_owned(),
            sign_in: SignIn::read(&section)?,
            most_runs: most_runs(&section)?,
            watch_target: section.flag("watch_target", true)?,
        })
    }
}

impl Tableau {
    /// The secrets in it, by reference.
    pub(crate) fn secrets(&self) -> Vec<&SecretRef> {
        match &self.sign_in {
            SignIn::Pat { tokens } => tokens.iter().map(|token| &token.secret).collect(),
            SignIn::ConnectedApp { secret, .. } => vec![secret],
            SignIn::Password { password, .. } => vec![password],
            SignIn::Jwt { token } => vec![token],
        }
    }
}

impl SignIn {
    fn read(tableau: &Section<'_>) -> Outcome<Self> {
        const ALL: &[&str] =
            &["kind", "name", "secret", "tokens", "token", "user", "password", "client_id", "secret_id"];
        let Some(any) = tableau.section("auth", ALL)? else {
            return Err(tableau.missing("auth", "a section [tableau.auth] with kind = \"pat\", name and secret"));
        };
        match any.text("kind", "kind = \"pat\"")? {
            "pat" => Ok(Self::Pat { tokens: tokens(&only(tableau, any, &["kind", "name", "secret", "tokens"])?)? }),
            "jwt" => Ok(Self::Jwt { token: only(tableau, any, &["kind", "token"])?.secret("token")? }),
            "password" => {
                let section = only(tableau, any, &["kind", "user", "password"])?;
                let user = section.text("user", "user = \"NAME\"")?.to_owned();
                Ok(Self::Password { user, password: section.secret("password")? })
            }
            "connected-app" => {
                let section = only(tableau, any, &["kind", "client_id", "secret_id", "secret", "user"])?;
                let text =
                    |name: &str| section.text(name, &format!("{name} = \"AS TABLEAU SHOWS IT\"")).map(str::to_owned);
                Ok(Self::ConnectedApp {
                    client_id: text("client_id")?,
                    secret_id: text("secret_id")?,
                    secret: section.secret("secret")?,
                    user: section.text("user", "user = \"NAME OF THE USER TO ACT AS\"")?.to_owned(),
                })
            }
            other => Err(any
                .bad("kind", &format!("'{other}' is no way to sign in to Tableau"))
                .next("use \"pat\", \"connected-app\", \"jwt\" or \"password\"")),
        }
    }
}

/// One token, or a list of them for as many workers.
fn tokens(section: &Section<'_>) -> Outcome<Vec<Token>> {
    const NAME: &str = "name = \"NAME OF THE TOKEN\"";
    if section.value("tokens").is_none() {
        let name = section.text("name", NAME)?.to_owned();
        return Ok(vec![Token { name, secret: section.secret("secret")? }]);
    }
    for key in ["name", "secret"] {
        if section.value(key).is_some() {
            return Err(section.bad(key, "there is a list of `tokens` already").next("move this token into the list"));
        }
    }
    let mut tokens: Vec<Token> = Vec::new();
    for token in section.sections("tokens", "token", &["name", "secret"])? {
        let name = token.text("name", NAME)?;
        if tokens.iter().any(|other| other.name == name) {
            return Err(token
                .bad("name", &format!("the token '{name}' is in the list twice"))
                .next("each token is good for one session; make another one in Tableau"));
        }
        tokens.push(Token { name: name.to_owned(), secret: token.secret("secret")? });
    }
    if tokens.is_empty() {
        return Err(section.bad("tokens", "this list is empty").next("add { name = \"…\", secret = { env = \"…\" } }"));
    }
    Ok(tokens)
}

/// The same `auth` section, but with only the keys of its kind: a key of another kind is most likely a mistake.
fn only<'a>(outer: &Section<'a>, any: Section<'a>, known: &'static [&'static str]) -> Outcome<Section<'a>> {
    Ok(outer.section("auth", known)?.unwrap_or(any))
}
