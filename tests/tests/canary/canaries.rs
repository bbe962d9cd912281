//! The canaries, the spellings in which they are said, and the search for them. Shares no code with what is tested.

use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use memchr::memmem;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// A secret that is surely nowhere by chance.
#[derive(Clone, Debug)]
pub(super) struct Canary {
    pub(super) name: &'static str,
    /// The secret itself.
    pub(super) secret: String,
    /// Its middle: letters only, so that it is the same in most spellings. What is searched for.
    core: String,
}

impl Canary {
    /// A secret of letters with signs around them that every spelling writes differently.
    fn of(name: &'static str) -> Self {
        let core = core(name);
        Self { name, secret: format!("k\"<&'+{core}/%=>z"), core }
    }

    /// A secret of a form of its own around the letters.
    fn formed(name: &'static str, form: impl FnOnce(&str) -> String) -> Self {
        let core = core(name);
        Self { name, secret: form(&core), core }
    }
}

/// Letters that are in no word.
fn core(name: &str) -> String {
    let letters: String = name.chars().filter(char::is_ascii_alphabetic).collect();
    format!("qzcanary{}xjq", letters.to_ascii_lowercase())
}

/// Every secret of a scene.
#[derive(Clone, Debug)]
pub(super) struct Canaries {
    pub(super) api_key: Canary,
    pub(super) password: Canary,
    pub(super) client_secret: Canary,
    /// Handed out by the simulator of Kinetic.
    pub(super) bearer: Canary,
    pub(super) pat: Canary,
    pub(super) tableau_password: Canary,
    pub(super) app_secret: Canary,
    /// Handed out by the simulator of Tableau.
    pub(super) session: Canary,
    pub(super) database: Canary,
    pub(super) passphrase: Canary,
    /// In the sealed file, and used by nobody.
    pub(super) sealed: Canary,
}

impl Canaries {
    pub(super) fn new() -> Self {
        Self {
            api_key: Canary::of("api-key"),
            password: Canary::of("kinetic-password"),
            client_secret: Canary::of("client-secret"),
            bearer: Canary::formed("bearer-token", |core| format!("eyJ0.{core}.signature-of-it")),
            pat: Canary::formed("pat-secret", |core| format!("k+{core}==:part-of-it+/=")),
            tableau_password: Canary::of("tableau-password"),
            app_secret: Canary::of("app-secret"),
            session: Canary::formed("session-token", |core| format!("{core}-1|{core}-2")),
            database: Canary::formed("connection-string", |core| {
                format!("postgres://sync:p%22{core}%2F@db.example.com:5432/state")
            }),
            passphrase: Canary::of("passphrase"),
            sealed: Canary::of("sealed-value"),
        }
    }

    pub(super) fn all(&self) -> [&Canary; 11] {
        [
            &self.api_key,
            &self.password,
            &self.client_secret,
            &self.bearer,
            &self.pat,
            &self.tableau_password,
            &self.app_secret,
            &self.session,
            &self.database,
            &self.passphrase,
            &self.sealed,
        ]
    }

    /// Those that somebody has configured. The others are handed out by the servers.
    pub(super) fn configured(&self) -> impl Iterator<Item = &Canary> {
        self.all().into_iter().filter(|canary| !["bearer-token", "session-token"].contains(&canary.name))
    }
}

/// A secret as careless programs put it into what they say: one line.
pub(super) fn said(secret: &str) -> String {
    let json = serde_json::to_string(secret).unwrap();
    let forms = [
        secret.to_owned(),
        secret.to_ascii_uppercase(),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string().to_lowercase(),
        json.clone(),
        serde_json::to_string(&json).unwrap(),
        format!("{secret:?}"),
        secret.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;"),
        BASE64_STANDARD.encode(secret),
        format!("Basic {}", BASE64_STANDARD.encode(format!("demo:{secret}"))),
        format!("Basic {}", BASE64_STANDARD.encode(format!("some-user:{secret}"))),
        format!("postgres://user:{}@host", utf8_percent_encode(secret, NON_ALPHANUMERIC)),
    ];
    forms.join(" | ")
}

/// Where canaries are in some bytes: name and spelling of each.
pub(super) fn hits<'a>(bytes: &[u8], canaries: impl IntoIterator<Item = &'a Canary>) -> Vec<String> {
    let lower = bytes.to_ascii_lowercase();
    let mut hits = Vec::new();
    for canary in canaries {
        for (spelling, needle, folded) in spellings(&canary.core) {
            if memmem::find(if folded { &lower } else { bytes }, &needle).is_some() {
                hits.push(format!("{} ({spelling})", canary.name));
            }
        }
    }
    hits
}

/// The letters of a core in every spelling; whether case does not count.
fn spellings(core: &str) -> Vec<(&'static str, Vec<u8>, bool)> {
    let mut all = vec![("letters", core.as_bytes().to_vec(), true)];
    // Whatever stands before it: no byte, one or two of a group of three. The letters of base64 at the ends depend on the neighbours.
    for before in 0..3 {
        let encoded = BASE64_STANDARD_NO_PAD.encode(format!("{}{core}", "x".repeat(before)));
        let from = (before * 8).div_ceil(6);
        let to = (before + core.len()) * 8 / 6;
        all.push(("base64", encoded.as_bytes()[from..to].to_vec(), false));
    }
    let each = |form: fn(u8) -> String| core.bytes().map(form).collect::<String>().into_bytes();
    all.push(("hex", each(|byte| format!("{byte:02x}")), true));
    all.push(("percent", each(|byte| format!("%{byte:02x}")), true));
    all.push(("JSON units", each(|byte| format!("\\u{byte:04x}")), true));
    all.push((
        "decimal bytes",
        core.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ").into_bytes(),
        true,
    ));
    all.push(("UTF-16", core.encode_utf16().flat_map(u16::to_le_bytes).collect(), true));
    all
}

/// What a scene has left, to be searched: each place with its bytes.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    places: Vec<(String, Vec<u8>)>,
}

impl Evidence {
    pub(super) fn add(&mut self, place: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.places.push((place.into(), bytes.into()));
    }

    /// All files below a directory, but for those whose name ends so.
    pub(super) fn add_files(&mut self, directory: &Path, but: &[&str]) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                self.add_files(&path, but);
            } else if !but.iter().any(|end| name.ends_with(end)) {
                self.add(format!("file {name}"), std::fs::read(&path).unwrap());
            }
        }
    }

    /// Every canary that is anywhere, with the place.
    pub(super) fn hits<'a>(&self, canaries: impl IntoIterator<Item = &'a Canary>) -> Vec<String> {
        let canaries: Vec<&Canary> = canaries.into_iter().collect();
        let in_place = |(place, bytes): &(String, Vec<u8>)| {
            hits(bytes, canaries.iter().copied()).into_iter().map(|hit| format!("{place}: {hit}")).collect::<Vec<_>>()
        };
        self.places.iter().flat_map(in_place).collect()
    }

    /// Whether some words are in a place whose name begins so.
    pub(super) fn holds(&self, place: &str, words: &str) -> bool {
        self.places
            .iter()
            .any(|(name, bytes)| name.starts_with(place) && memmem::find(bytes, words.as_bytes()).is_some())
    }

    /// Everything of the places whose names begin so, as text.
    pub(super) fn text(&self, place: &str) -> String {
        let mut text = String::new();
        for (_, bytes) in self.places.iter().filter(|(name, _)| name.starts_with(place)) {
            writeln!(text, "{}", String::from_utf8_lossy(bytes)).unwrap();
        }
        text
    }
}

#[test]
fn the_search_finds_a_canary_in_every_spelling_in_which_it_is_said() {
    let canaries = Canaries::new();
    for canary in canaries.all() {
        for form in said(&canary.secret).split(" | ") {
            assert!(!hits(form.as_bytes(), [canary]).is_empty(), "{} in {form}", canary.name);
        }
        let hex = canary.secret.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02X}"));
        let utf16: Vec<u8> = canary.secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let debug = format!("{:?}", canary.secret.as_bytes());
        for form in [hex.as_bytes(), &utf16, debug.as_bytes()] {
            assert!(!hits(form, [canary]).is_empty(), "{}", canary.name);
        }
        assert!(hits(b"nothing of the kind: canary", [canary]).is_empty());
    }
}
