//! The configuration file as a tree of sections that name file, line, section and key in every complaint.
//!
//! The TOML parser's own messages quote the offending line. A line may hold a secret, so here only its number is said.

use std::ops::Range;
use std::path::{Path, PathBuf};

use kinetic_tableau_sync::SecretName;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::nearest::nearest;
use super::secret::SecretRef;
use crate::failure::{Failure, Outcome};

/// The text of the file, for line numbers, and the directory that paths in it start from.
#[derive(Debug)]
pub(super) struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    pub(super) fn read(path: &Path) -> Outcome<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self { path: path.to_owned(), text }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Failure::usage(format!("there is no configuration file {}", path.display())).next(
                    "name one with --config FILE; examples/kinetic-tableau.toml is a commented one to start from",
                ))
            }
            Err(error) => {
                Err(Failure::usage(format!("the configuration file {} cannot be read: {error}", path.display()))
                    .next("it must be a UTF-8 text file that this user may read"))
            }
        }
    }

    #[cfg(test)]
    pub(super) fn of_text(path: &Path, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The whole file as the outermost section.
    pub(super) fn root<'a>(
        &'a self,
        table: &'a Spanned<DeTable<'a>>,
        known: &'static [&'static str],
    ) -> Outcome<Section<'a>> {
        Section { document: self, name: String::new(), table: table.get_ref(), span: table.span() }.knowing(known)
    }

    pub(super) fn parse(&self) -> Outcome<Spanned<DeTable<'_>>> {
        DeTable::parse(&self.text).map_err(|error| {
            self.failure(error.span(), &format!("this is not valid TOML: {}", error.message()))
                .next("texts are written in double quotes, lists in [ ], inline tables in { }")
        })
    }

    /// A path of the file: relative ones start at the file's own directory, so that the working directory does not matter.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    fn failure(&self, span: Option<Range<usize>>, what: &str) -> Failure {
        let line = span
            .and_then(|span| self.text.get(..span.start))
            .map_or_else(String::new, |before| format!(":{}", before.matches('\n').count() + 1));
        Failure::usage(format!("{}{line}: {what}", self.path.display()))
    }
}

/// One table of the file.
#[derive(Debug)]
pub(super) struct Section<'a> {
    document: &'a Document,
    name: String,
    table: &'a DeTable<'a>,
    span: Range<usize>,
}

impl<'a> Section<'a> {
    /// Refuses any key that is not known here, and names the nearest that is.
    fn knowing(self, known: &'static [&'static str]) -> Outcome<Self> {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let close = nearest(name, known.iter().copied());
            let close = close.map(|close| format!("; did you mean '{close}'?")).unwrap_or_default();
            return Err(self
                .document
                .failure(Some(key.span()), &format!("unknown key '{name}' {}{close}", self.place()))
                .next(format!("known here: {}", known.join(", "))));
        }
        Ok(self)
    }

    /// The section as errors name it.
    pub(super) fn title_of(&self) -> &str {
        &self.name
    }

    pub(super) fn document(&self) -> &'a Document {
        self.document
    }

    fn place(&self) -> String {
        if self.name.is_empty() { "at the top of the file".to_owned() } else { format!("in {}", self.name) }
    }

    pub(super) fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Spanned<DeValue<'a>>)> + use<'a> {
        let table = self.table;
        table.iter().map(|(name, value)| (name.get_ref().as_ref(), value))
    }

    /// A complaint about the section as a whole.
    pub(super) fn refuse(&self, why: &str) -> Failure {
        self.document.failure(Some(self.span.clone()), format!("{}: {why}", self.name).trim_start_matches(": "))
    }

    /// A complaint about the value of a key.
    pub(super) fn bad(&self, key: &str, why: &str) -> Failure {
        let span = self.value(key).map_or_else(|| self.span.clone(), Spanned::span);
        self.document.failure(Some(span), format!("{} {key}: {why}", self.name).trim_start())
    }

    pub(super) fn missing(&self, key: &str, example: &str) -> Failure {
        let what = format!("{} has no '{key}'", if self.name.is_empty() { "the file" } else { &self.name });
        self.document.failure(Some(self.span.clone()), &what).next(format!("add {example}"))
    }

    fn wrong_type(&self, key: &str, wanted: &str, found: &DeValue<'_>) -> Failure {
        self.bad(key, &format!("{wanted} is expected here, not {}", article(found)))
    }

    pub(super) fn optional_text(&self, key: &str) -> Outcome<Option<&'a str>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        match value.get_ref().as_str() {
            Some(text) if text.trim().is_empty() => {
                Err(self.bad(key, "the text is empty").next("give a value or remove the key"))
            }
            Some(text) => Ok(Some(text)),
            None => Err(self.wrong_type(key, "a text", value.get_ref())),
        }
    }

    pub(super) fn text(&self, key: &str, example: &str) -> Outcome<&'a str> {
        self.optional_text(key)?.ok_or_else(|| self.missing(key, example))
    }

    /// A text, or a list of texts; empty when the key is missing.
    pub(super) fn one_or_more(&self, key: &str) -> Outcome<Vec<String>> {
        match self.value(key).map(|value| value.get_ref().as_array().is_some()) {
            Some(true) => self.texts(key),
            _ => Ok(self.optional_text(key)?.map(str::to_owned).into_iter().collect()),
        }
    }

    /// A list of texts, empty when the key is missing. A text that is there twice is refused.
    pub(super) fn texts(&self, key: &str) -> Outcome<Vec<String>> {
        let Some(value) = self.value(key) else {
            return Ok(Vec::new());
        };
        let Some(list) = value.get_ref().as_array() else {
            return Err(self.wrong_type(key, "a list of texts", value.get_ref()));
        };
        let mut texts: Vec<String> = Vec::with_capacity(list.len());
        for item in list {
            match item.get_ref().as_str() {
                Some(text) if text.trim().is_empty() => {
                    return Err(self.bad(key, "one of the texts is empty"));
                }
                Some(text) if texts.iter().any(|known| known == text) => {
                    return Err(self.bad(key, &format!("'{text}' is listed twice")).next("remove one of the two"));
                }
                Some(text) => texts.push(text.to_owned()),
                None => return Err(self.wrong_type(key, "a list of texts", item.get_ref())),
            }
        }
        Ok(texts)
    }

    /// True or false, or the value that holds without it.
    pub(super) fn flag(&self, key: &str, otherwise: bool) -> Outcome<bool> {
        match self.value(key).map(|value| value.get_ref().as_bool()) {
            None => Ok(otherwise),
            Some(Some(flag)) => Ok(flag),
            Some(None) => Err(self.bad(key, "it is true or false").next(format!("leave it out for {otherwise}"))),
        }
    }

    pub(super) fn integer<N: std::str::FromStr>(&self, key: &str, wanted: &str) -> Outcome<Option<N>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let Some(number) = value.get_ref().as_integer() else {
            return Err(self.wrong_type(key, wanted, value.get_ref()));
        };
        match number.as_str().parse() {
            Ok(parsed) if number.radix() == 10 => Ok(Some(parsed)),
            _ => Err(self.bad(key, &format!("{wanted} is expected here"))),
        }
    }

    /// A table under a key.
    pub(super) fn section(&self, key: &str, known: &'static [&'static str]) -> Outcome<Option<Section<'a>>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        self.inner(key, value, self.title(key))?.knowing(known).map(Some)
    }

    /// A table under a key whose keys are free, such as column names.
    pub(super) fn open_section(&self, key: &str) -> Outcome<Option<Section<'a>>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        self.inner(key, value, self.title(key)).map(Some)
    }

    fn inner(&self, key: &str, value: &'a Spanned<DeValue<'a>>, name: String) -> Outcome<Section<'a>> {
        match value.get_ref().as_table() {
            Some(table) => Ok(Section { document: self.document, name, table, span: value.span() }),
            None => Err(self.wrong_type(key, "a section", value.get_ref())),
        }
    }

    /// `[kinetic.auth]` for a section below `[kinetic]`, and `[[dataset]] 'x' types` below a dataset.
    fn title(&self, key: &str) -> String {
        match self.name.strip_suffix(']') {
            None if self.name.is_empty() => format!("[{key}]"),
            Some(outer) if !outer.ends_with(']') => format!("{outer}.{key}]"),
            _ => format!("{} {key}", self.name),
        }
    }

    /// The tables of a list under a key. Each is named in errors by its own name or, before it has one, by its number.
    pub(super) fn sections(&self, key: &str, name: &str, known: &'static [&'static str]) -> Outcome<Vec<Section<'a>>> {
        let Some(value) = self.value(key) else {
            return Ok(Vec::new());
        };
        let Some(list) = value.get_ref().as_array() else {
            return Err(self.wrong_type(key, &format!("a list of sections, each written as {name},"), value.get_ref()));
        };
        list.iter()
            .enumerate()
            .map(|(nth, item)| {
                let own =
                    item.get_ref().as_table().and_then(|table| table.iter().find(|(key, _)| key.get_ref() == "name"));
                let title = match own.and_then(|(_, value)| value.get_ref().as_str()) {
                    Some(own) => format!("{name} '{own}'"),
                    None => format!("{name} number {}", nth + 1),
                };
                self.inner(key, item, title)?.knowing(known)
            })
            .collect()
    }

    /// A secret by reference.
    pub(super) fn secret(&self, key: &str) -> Outcome<SecretRef> {
        let forms = format!(
            "{key} = {{ env = \"NAME_OF_A_VARIABLE\" }}, {key} = {{ file = \"PATH\" }} or {key} = {{ secret = \"NAME\" }}"
        );
        let by_reference = format!("write {forms}");
        let Some(value) = self.value(key) else {
            return Err(self.missing(key, &forms));
        };
        // Never echo the value: it may be the secret itself.
        if value.get_ref().as_table().is_none() {
            return Err(self
                .bad(key, "secrets are never written into this file, only a reference to where they are")
                .next(format!("{by_reference}, and change the secret if this file was shared")));
        }
        let place = format!("{} {key}", self.name);
        let Some(reference) = self.section(key, &["env", "file", "secret"])? else {
            return Err(self.missing(key, &by_reference));
        };
        let texts = ["env", "file", "secret"].map(|kind| reference.optional_text(kind));
        let [env, file, secret] = texts;
        match (env?, file?, secret?) {
            (Some(name), None, None) => Ok(SecretRef::environment(place, name)),
            (None, Some(path), None) => Ok(SecretRef::file(place, self.document.resolve(path))),
            (None, None, Some(name)) => match SecretName::new(name) {
                Ok(name) => Ok(SecretRef::named(place, name)),
                Err(error) => Err(reference.bad("secret", &error.to_string()).next(error.hint().unwrap_or_default())),
            },
            _ => Err(self.bad(key, "exactly one of 'env', 'file' and 'secret' is expected here").next(by_reference)),
        }
    }
}

fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}
