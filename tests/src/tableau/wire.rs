//! Both languages of the interface: one tree of elements, written as XML or JSON, and requests read from either.

use std::fmt::Write as _;

use axum::body::Body;
use axum::http::{HeaderMap, Response, header};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value as Json};

use crate::faults::plain;

/// An element of an answer. Attributes become members of text in JSON.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Node {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    children: Vec<Node>,
    /// Whether its children are entries of a list.
    list: bool,
    text: Option<String>,
}

impl Node {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    /// A list of entries.
    pub(crate) fn list(name: &'static str, entries: impl IntoIterator<Item = Self>) -> Self {
        Self { name, children: entries.into_iter().collect(), list: true, ..Self::default() }
    }

    /// An element with a text; in JSON the text is its member `value`, or the whole of it without attributes.
    pub(crate) fn text(name: &'static str, text: &str) -> Self {
        Self { name, text: Some(text.to_owned()), ..Self::default() }
    }

    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts alike, where they are written")]
    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.attributes.push((name, value.to_string()));
        self
    }

    pub(crate) fn maybe(self, name: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub(crate) fn child(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    fn xml(&self, out: &mut String) {
        let _ = write!(out, "<{}", self.name);
        for (name, value) in &self.attributes {
            let _ = write!(out, " {name}=\"{}\"", escaped(value));
        }
        if self.children.is_empty() && self.text.is_none() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        if let Some(text) = &self.text {
            out.push_str(&escaped(text));
        }
        self.children.iter().for_each(|child| child.xml(out));
        let _ = write!(out, "</{}>", self.name);
    }

    fn json(&self, messy: bool) -> Json {
        if self.list {
            let mut entries: Vec<Json> = self.children.iter().map(|child| child.json(messy)).collect();
            let Some(name) = self.children.first().map(|child| child.name) else { return Json::Object(Map::new()) };
            let alone = if messy && entries.len() == 1 { entries.pop() } else { None };
            let mut list = Map::new();
            list.insert(name.to_owned(), alone.unwrap_or(Json::Array(entries)));
            return Json::Object(list);
        }
        let mut members = Map::new();
        if let Some(text) = &self.text {
            if self.attributes.is_empty() {
                return Json::from(text.as_str());
            }
            members.insert("value".to_owned(), Json::from(text.as_str()));
        }
        for (name, value) in &self.attributes {
            let value = match value.as_str() {
                "true" if messy => "True",
                "false" if messy => "FALSE",
                other => other,
            };
            members.insert((*name).to_owned(), Json::from(value));
        }
        for child in &self.children {
            members.insert(child.name.to_owned(), child.json(messy));
        }
        Json::Object(members)
    }
}

fn escaped(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

/// The language of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Json { messy: bool },
    Xml,
}

impl Language {
    /// By `Accept`; without it, as the request is written.
    pub(crate) fn of(headers: &HeaderMap, messy: bool) -> Self {
        let text =
            |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (accept, sent) = (text(header::ACCEPT), text(header::CONTENT_TYPE));
        let json = if accept.is_empty() { sent.contains("json") } else { accept.contains("json") };
        if json { Self::Json { messy } } else { Self::Xml }
    }

    /// An answer of top-level elements.
    pub(crate) fn answer(self, status: u16, nodes: &[Node]) -> Response<Body> {
        match self {
            Self::Json { messy } => {
                let members = nodes.iter().map(|node| (node.name.to_owned(), node.json(messy)));
                plain(status, "application/json;charset=utf-8", Json::Object(members.collect()).to_string())
            }
            Self::Xml => {
                let mut out =
                    String::from("<?xml version='1.0' encoding='UTF-8'?><tsResponse xmlns=\"http://tableau.com/api\">");
                for node in nodes {
                    node.xml(&mut out);
                }
                out.push_str("</tsResponse>");
                plain(status, "application/xml;charset=utf-8", out)
            }
        }
    }
}

/// A refusal in Tableau's own form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) detail: String,
}

impl Failure {
    pub(crate) fn new(code: &'static str, summary: &'static str, detail: impl Into<String>) -> Self {
        Self { code, summary, detail: detail.into() }
    }

    pub(crate) fn not_found(code: &'static str, what: &str) -> Self {
        Self::new(code, "Resource Not Found", format!("The {what} could not be found."))
    }

    pub(crate) fn response(&self, language: Language) -> Response<Body> {
        // The first three digits of a code are its status.
        let status = self.code.get(..3).and_then(|status| status.parse().ok()).unwrap_or(500);
        if let Language::Json { .. } = language {
            let error =
                serde_json::json!({"error": {"summary": self.summary, "detail": self.detail, "code": self.code}});
            return plain(status, "application/json;charset=utf-8", error.to_string());
        }
        let error = Node::new("error")
            .with("code", self.code)
            .child(Node::text("summary", self.summary))
            .child(Node::text("detail", &self.detail));
        language.answer(status, &[error])
    }
}

/// A request's body as a tree, whichever language it was written in.
pub(crate) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Json, Failure> {
    let malformed = || Failure::new("400000", "Bad Request", "The content of the request body is malformed.");
    if body.trim_ascii().is_empty() {
        return Ok(Json::Object(Map::new()));
    }
    let json =
        headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(|kind| kind.contains("json"));
    if json {
        return serde_json::from_slice(body).map_err(|_| malformed());
    }
    xml(std::str::from_utf8(body).map_err(|_| malformed())?).ok_or_else(malformed)
}

/// Attributes and elements as members; elements of the same name as a list, and those that hold a text alone as that. The outermost
/// element is left out.
pub(crate) fn xml(text: &str) -> Option<Json> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<(String, Map<String, Json>, String)> = Vec::new();
    loop {
        let (name, members, text) = match reader.read_event().ok()? {
            Event::Start(start) => {
                let (name, members) = element(&start)?;
                open.push((name, members, String::new()));
                continue;
            }
            Event::Text(text) => {
                if let Some((_, _, held)) = open.last_mut() {
                    held.push_str(text.xml_content(quick_xml::XmlVersion::Implicit1_0).trim());
                }
                continue;
            }
            Event::Empty(start) => {
                let (name, members) = element(&start)?;
                (name, members, String::new())
            }
            Event::End(_) => open.pop()?,
            Event::Eof => return None,
            _ => continue,
        };
        let value = if members.is_empty() && !text.is_empty() { Json::from(text) } else { Json::Object(members) };
        let Some((_, parent, _)) = open.last_mut() else { return Some(value) };
        match parent.get_mut(&name) {
            Some(Json::Array(several)) => several.push(value),
            Some(one) => *one = Json::Array(vec![one.take(), value]),
            None => {
                parent.insert(name, value);
            }
        }
    }
}

/// The entries of a list in a tree, one alone without a list as well.
pub(crate) fn entries<'a>(tree: &'a Json, path: &[&str]) -> Vec<&'a Json> {
    match path.iter().try_fold(tree, |tree, name| tree.get(name)) {
        Some(Json::Array(entries)) => entries.iter().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    }
}

/// The truth value at a path of a tree.
pub(crate) fn truth(tree: &Json, path: &[&str]) -> Option<bool> {
    match path.iter().try_fold(tree, |tree, name| tree.get(name))? {
        Json::Bool(truth) => Some(*truth),
        Json::String(text) => text.to_ascii_lowercase().parse().ok(),
        _ => None,
    }
}

fn element(start: &BytesStart<'_>) -> Option<(String, Map<String, Json>)> {
    let name = start.local_name().as_ref().to_owned();
    let mut members = Map::new();
    for attribute in start.attributes() {
        let attribute = attribute.ok()?;
        let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).ok()?;
        members.insert(attribute.key.local_name().as_ref().to_owned(), Json::from(value.as_ref()));
    }
    Some((name, members))
}

/// The text at a path of a tree.
pub(crate) fn text<'a>(tree: &'a Json, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(tree, |tree, name| tree.get(name)).and_then(Json::as_str)
}

/// One part of a multipart body.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) file_name: String,
    pub(crate) content: Vec<u8>,
}

/// The parts of a `multipart/mixed` body.
pub(crate) fn parts(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Part>, Failure> {
    let malformed =
        |why: &str| Failure::new("400019", "Bad Request", format!("The multipart body is malformed: {why}."));
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let boundary = kind.split("boundary=").nth(1).and_then(|rest| rest.split(';').next()).map(str::trim);
    let boundary = boundary.filter(|boundary| !boundary.is_empty()).ok_or_else(|| malformed("no boundary"))?;
    if !kind.starts_with("multipart/mixed") {
        return Err(malformed("it is not multipart/mixed"));
    }
    if boundary.contains('"') {
        return Err(malformed("the boundary is quoted"));
    }
    let delimiter = format!("--{boundary}");
    let mut found = Vec::new();
    let mut pieces = split(body, delimiter.as_bytes()).into_iter().skip(1);
    loop {
        let piece = pieces.next().ok_or_else(|| malformed("its end is missing"))?;
        if piece.starts_with(b"--") {
            return Ok(found);
        }
        let piece = piece.strip_prefix(b"\r\n").ok_or_else(|| malformed("no line break behind the boundary"))?;
        let at = position(piece, b"\r\n\r\n").ok_or_else(|| malformed("a part has no blank line"))?;
        let (head, content) = piece.split_at(at);
        // An empty part still has an empty line of content.
        let content = content.get(4..).and_then(|content| content.strip_suffix(b"\r\n"));
        let content = content.ok_or_else(|| malformed("a part does not end with a line break"))?;
        let head = String::from_utf8_lossy(head);
        let field = |name: &str| {
            let (_, rest) = head.split_once(&format!("{name}=\""))?;
            rest.split('"').next().map(str::to_owned)
        };
        // `filename="` ends like `name="`, so the disposition is looked at in its order.
        let name = field(" name").or_else(|| field(";name")).unwrap_or_default();
        found.push(Part { name, file_name: field("filename").unwrap_or_default(), content: content.to_vec() });
    }
}

fn position(text: &[u8], wanted: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, wanted)
}

fn split<'a>(text: &'a [u8], delimiter: &[u8]) -> Vec<&'a [u8]> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = position(rest, delimiter) {
        let (before, behind) = rest.split_at(at);
        found.push(before);
        rest = behind.get(delimiter.len()..).unwrap_or_default();
    }
    found.push(rest);
    found
}
