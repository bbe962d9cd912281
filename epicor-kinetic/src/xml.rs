//! Reading flat XML: element name to text, as the token service and the error bodies write it.

use quick_xml::events::{BytesRef, Event};
use quick_xml::{Reader, XmlVersion};

/// The leaf elements of a document in order, by local name.
pub(crate) fn leaves(text: &str) -> Result<Vec<(String, String)>, quick_xml::Error> {
    let mut reader = Reader::from_str(text);
    let mut open: Option<(String, String)> = None;
    let mut found = Vec::new();
    loop {
        match reader.read_event()? {
            Event::Start(start) => open = Some((start.local_name().as_ref().to_owned(), String::new())),
            Event::Empty(empty) => {
                open = None;
                found.push((empty.local_name().as_ref().to_owned(), String::new()));
            }
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
                    value.push_str(&resolve(&reference)?);
                }
            }
            Event::End(_) => {
                if let Some((name, value)) = open.take() {
                    found.push((name, value.trim().to_owned()));
                }
            }
            Event::Eof => return Ok(found),
            _ => {}
        }
    }
}

fn resolve(reference: &BytesRef<'_>) -> Result<String, quick_xml::Error> {
    if let Some(character) = reference.resolve_char_ref()? {
        return Ok(character.to_string());
    }
    let name: &str = reference;
    Ok(quick_xml::escape::resolve_predefined_entity(name).unwrap_or_default().to_owned())
}
