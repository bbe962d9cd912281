//! What a service offers in one instance: the `$metadata` document, OData 4 EDMX.
//!
//! Column sets differ between releases and customers (columns of their own end in `_c`), so that types and keys are
//! best taken from here.

use std::fmt;
use std::str::FromStr;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::error::{Error, Result};

/// The entity sets, their row types and the methods of a service.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    sets: Vec<(String, String)>,
    types: Vec<EntityType>,
    actions: Vec<Action>,
}

/// A method of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Action {
    /// The name, for example `GetRows`.
    pub name: String,
    /// The parameters, in the order of the document. Their names are case-sensitive and irregular.
    pub parameters: Vec<Parameter>,
}

/// A parameter of a method.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parameter {
    /// The name.
    pub name: String,
    /// The full name of its type: a primitive one or a tableset.
    pub type_name: String,
}

/// The row type of an entity set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntityType {
    /// The name with its namespace, for example `Erp.Vendor`.
    pub name: String,
    /// The key columns, in the order of the key.
    pub keys: Vec<String>,
    /// The columns, in the order of the document.
    pub properties: Vec<Property>,
    /// What can be expanded.
    pub navigations: Vec<String>,
    base: Option<String>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Property {
    /// The name, case-sensitive.
    pub name: String,
    /// The type.
    pub edm_type: EdmType,
    /// Whether it can be null. OData says yes unless the document says no.
    pub nullable: bool,
    /// How many digits a decimal has, where the document says so.
    pub precision: Option<u32>,
    /// How many of them are behind the point, where the document says so.
    pub scale: Option<u32>,
    /// How many characters a string has at most, where the document says so.
    pub max_length: Option<u32>,
}

macro_rules! edm_types {
    ($($(#[$doc:meta])* $variant:ident = $text:literal),+ $(,)?) => {
        /// A primitive type of OData.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum EdmType {
            $($(#[$doc])* $variant,)+
            /// Any other type, by its full name.
            Other(String),
        }

        impl EdmType {
            /// The full name, for example `Edm.String`.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other(name) => name,
                }
            }
        }

        impl FromStr for EdmType {
            type Err = std::convert::Infallible;

            fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
                Ok(match text {
                    $($text => Self::$variant,)+
                    other => Self::Other(other.to_owned()),
                })
            }
        }
    };
}

edm_types! {
    /// Text.
    String = "Edm.String",
    /// True or false.
    Boolean = "Edm.Boolean",
    /// 8 bits without sign.
    Byte = "Edm.Byte",
    /// 16 bits.
    Int16 = "Edm.Int16",
    /// 32 bits.
    Int32 = "Edm.Int32",
    /// 64 bits.
    Int64 = "Edm.Int64",
    /// An exact decimal number.
    Decimal = "Edm.Decimal",
    /// A floating point number of 32 bits.
    Single = "Edm.Single",
    /// A floating point number of 64 bits.
    Double = "Edm.Double",
    /// A calendar date.
    Date = "Edm.Date",
    /// A date and time with offset; Kinetic uses it for calendar dates too.
    DateTimeOffset = "Edm.DateTimeOffset",
    /// A time of day.
    TimeOfDay = "Edm.TimeOfDay",
    /// A length of time.
    Duration = "Edm.Duration",
    /// A guid.
    Guid = "Edm.Guid",
    /// Bytes.
    Binary = "Edm.Binary",
}

impl fmt::Display for EdmType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl EntityType {
    /// The column of this name.
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|property| property.name == name)
    }

    /// The columns the customer has added, by the ending Epicor gives them.
    pub fn user_defined(&self) -> impl Iterator<Item = &Property> {
        self.properties.iter().filter(|property| property.name.ends_with("_c"))
    }
}

impl Metadata {
    /// The names of the entity sets.
    pub fn entity_sets(&self) -> impl Iterator<Item = &str> {
        self.sets.iter().map(|(name, _)| name.as_str())
    }

    /// The row type of an entity set. The rows of a BAQ are those of the set `Data`.
    pub fn entity_type_of(&self, set: &str) -> Option<&EntityType> {
        let (_, type_name) = self.sets.iter().find(|(name, _)| name == set)?;
        self.entity_type(type_name)
    }

    /// All row types.
    pub fn entity_types(&self) -> &[EntityType] {
        &self.types
    }

    /// The methods, as far as the document lists them.
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// The method of this name.
    pub fn action(&self, name: &str) -> Option<&Action> {
        self.actions.iter().find(|action| action.name == name)
    }

    /// Documents refer to types by namespace or by alias; the last part is what both have in common.
    fn entity_type(&self, name: &str) -> Option<&EntityType> {
        let last = |name: &str| name.rsplit('.').next().map(str::to_owned);
        self.types
            .iter()
            .find(|candidate| candidate.name == name)
            .or_else(|| self.types.iter().find(|candidate| last(&candidate.name) == last(name)))
    }

    pub(crate) fn parse(operation: &str, body: &[u8]) -> Result<Self> {
        let unreadable = || {
            Error::decode(operation.to_owned(), "the answer is no metadata document")
                .with_hint("check service name and root address; a proxy may have answered")
        };
        let text = std::str::from_utf8(body).map_err(|_| unreadable())?.trim_start_matches('\u{feff}');
        let mut metadata = Self::read(text).map_err(|_| unreadable())?.ok_or_else(unreadable)?;
        metadata.inherit();
        Ok(metadata)
    }

    /// `None` when the document is XML, but not EDMX.
    fn read(text: &str) -> Result<Option<Self>, quick_xml::Error> {
        let mut reader = Reader::from_str(text);
        let mut found = Self::default();
        let mut namespace = String::new();
        let mut open: Option<EntityType> = None;
        let mut action: Option<Action> = None;
        let mut is_edmx = false;
        loop {
            let (start, closes) = match reader.read_event()? {
                Event::Start(start) => (start, false),
                Event::Empty(start) => (start, true),
                Event::End(end) => {
                    match end.local_name().as_ref() {
                        "EntityType" => found.types.extend(open.take()),
                        "Action" | "Function" => found.note(action.take()),
                        _ => {}
                    }
                    continue;
                }
                Event::Eof => return Ok(is_edmx.then_some(found)),
                _ => continue,
            };
            match start.local_name().as_ref() {
                "Edmx" => is_edmx = true,
                "Schema" => namespace = attribute(&start, "Namespace")?.unwrap_or_default(),
                "EntityType" => {
                    let name = attribute(&start, "Name")?.unwrap_or_default();
                    let base = attribute(&start, "BaseType")?;
                    let entity = EntityType { name: format!("{namespace}.{name}"), base, ..EntityType::default() };
                    if closes {
                        found.types.push(entity);
                    } else {
                        open = Some(entity);
                    }
                }
                "PropertyRef" => {
                    if let (Some(entity), Some(name)) = (&mut open, attribute(&start, "Name")?) {
                        entity.keys.push(name);
                    }
                }
                "Property" => {
                    if let (Some(entity), Some(property)) = (&mut open, property(&start)?) {
                        entity.properties.push(property);
                    }
                }
                "NavigationProperty" => {
                    if let (Some(entity), Some(name)) = (&mut open, attribute(&start, "Name")?) {
                        entity.navigations.push(name);
                    }
                }
                "EntitySet" => {
                    if let (Some(name), Some(kind)) = (attribute(&start, "Name")?, attribute(&start, "EntityType")?) {
                        found.sets.push((name, kind));
                    }
                }
                "Action" | "Function" => {
                    let name = attribute(&start, "Name")?;
                    action = name.map(|name| Action { name, parameters: Vec::new() });
                    if closes {
                        found.note(action.take());
                    }
                }
                "Parameter" => {
                    let (name, type_name) = (attribute(&start, "Name")?, attribute(&start, "Type")?);
                    if let (Some(action), Some(name)) = (&mut action, name) {
                        action.parameters.push(Parameter { name, type_name: type_name.unwrap_or_default() });
                    }
                }
                _ => {}
            }
        }
    }

    /// Overloads repeat the name; the one with the most parameters is the one to know.
    fn note(&mut self, action: Option<Action>) {
        let Some(action) = action else { return };
        match self.actions.iter_mut().find(|known| known.name == action.name) {
            Some(known) if known.parameters.len() >= action.parameters.len() => {}
            Some(known) => *known = action,
            None => self.actions.push(action),
        }
    }

    /// Gives derived types the keys and columns of their base.
    fn inherit(&mut self) {
        let before = self.clone();
        for entity in &mut self.types {
            let mut base = entity.base.clone();
            // A chain longer than this is a circle.
            for _ in 0..16 {
                let Some(parent) = base.as_deref().and_then(|name| before.entity_type(name)) else {
                    break;
                };
                let mut properties = parent.properties.clone();
                properties.append(&mut entity.properties);
                entity.properties = properties;
                if entity.keys.is_empty() {
                    entity.keys.clone_from(&parent.keys);
                }
                base.clone_from(&parent.base);
            }
        }
    }
}

fn property(start: &BytesStart<'_>) -> Result<Option<Property>, quick_xml::Error> {
    let (Some(name), Some(kind)) = (attribute(start, "Name")?, attribute(start, "Type")?) else {
        return Ok(None);
    };
    // `max` and `variable` are no numbers and mean that there is no limit.
    let number = |name: &str| -> Result<Option<u32>, quick_xml::Error> {
        Ok(attribute(start, name)?.and_then(|text| text.parse().ok()))
    };
    Ok(Some(Property {
        name,
        edm_type: kind.parse().unwrap_or(EdmType::Other(kind)),
        nullable: attribute(start, "Nullable")?.as_deref() != Some("false"),
        precision: number("Precision")?,
        scale: number("Scale")?,
        max_length: number("MaxLength")?,
    }))
}

fn attribute(start: &BytesStart<'_>, name: &str) -> Result<Option<String>, quick_xml::Error> {
    let Some(found) = start.try_get_attribute(name)? else {
        return Ok(None);
    };
    Ok(Some(found.normalized_value(XmlVersion::Implicit1_0)?.into_owned()))
}
