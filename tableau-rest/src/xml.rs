//! The little XML that is left: error bodies in, and the payload part of a publish out.
//!
//! Tableau answers in XML where a request did not get as far as its `Accept` header (Tableau REST API reference,
//! Handling Errors).

use quick_xml::events::{BytesRef, Event};
use quick_xml::{Reader, XmlVersion};

/// Code, summary and detail of the first `error` element.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct XmlError {
    pub(crate) code: Option<String>,
    pub(crate) summary: Option<String>,
    pub(crate) detail: Option<String>,
}

/// Reads an error body. `None` when it is no such document.
pub(crate) fn error(text: &str) -> Option<XmlError> {
    let mut reader = Reader::from_str(text);
    let mut found: Option<XmlError> = None;
    let mut open: Option<(String, String)> = None;
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) | Event::Empty(start) if start.local_name().as_ref() == "error" => {
                let code = start.try_get_attribute("code").ok()?;
                let code = code.and_then(|code| code.normalized_value(XmlVersion::Implicit1_0).ok());
                found = Some(XmlError { code: code.map(std::borrow::Cow::into_owned), ..XmlError::default() });
            }
            Event::Start(start) => open = Some((start.local_name().as_ref().to_owned(), String::new())),
            Event::Text(piece) => {
                if let Some((_, value)) = &mut open {
                    value.push_str(&piece.xml_content(XmlVersion::Implicit1_0));
                }
            }
            Event::CData(piece) => {
                if let Some((_, value)) = &mut open {
                    value.push_str(&piece.xml_content(XmlVersion::Implicit1_0));
                }
            }
            Event::GeneralRef(reference) => {
                if let Some((_, value)) = &mut open {
                    value.push_str(&resolve(&reference));
                }
            }
            Event::End(end) => {
                if let (Some((name, value)), Some(error)) = (open.take(), found.as_mut()) {
                    match name.as_str() {
                        "summary" => error.summary = Some(value),
                        "detail" => error.detail = Some(value),
                        _ => {}
                    }
                }
                if end.local_name().as_ref() == "error" {
                    return found;
                }
            }
            Event::Eof => return found,
            _ => {}
        }
    }
}

/// Text made safe for an attribute or an element. Characters that XML cannot hold are left out.
pub(crate) fn escape(text: &str) -> String {
    let allowed: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\t' | '\n' | '\r')).collect();
    quick_xml::escape::escape(allowed).into_owned()
}

fn resolve(reference: &BytesRef<'_>) -> String {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return character.to_string();
    }
    let name: &str = reference;
    quick_xml::escape::resolve_predefined_entity(name).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_body_is_read_with_its_entities() {
        let text = r#"<?xml version='1.0' encoding='UTF-8'?><tsResponse xmlns="http://tableau.com/api">
            <error code="404004"><summary>Resource Not Found</summary><detail>no &quot;A &amp; B&quot; &#x2713;</detail></error></tsResponse>"#;
        let error = error(text).unwrap();
        assert_eq!(error.code.as_deref(), Some("404004"));
        assert_eq!(error.summary.as_deref(), Some("Resource Not Found"));
        assert_eq!(error.detail.as_deref(), Some("no \"A & B\" \u{2713}"));
    }

    #[test]
    fn other_documents_are_not_taken_for_an_error() {
        assert_eq!(error("<html><body>error</body></html>"), None);
        assert_eq!(error("<tsResponse><sites/></tsResponse>"), None);
    }

    #[test]
    fn names_cannot_break_out_of_an_attribute() {
        assert_eq!(escape("a\"<&>\u{0}b"), "a&quot;&lt;&amp;&gt;b");
    }
}
