//! The columns of a dataset, from the `$metadata` of the tenant itself: types, keys, and what is missing.

use epicor_kinetic::{EdmType, EntityType, Metadata, Property};

use super::lines::of_line;
use crate::mapping::OfferedColumn;
use crate::model::{Column, ColumnType, DatasetSpec, Resolution, Schema, SourceObject, Track};
use crate::nearest::nearest;
use crate::source::{SourceError, SourceErrorKind};

/// Type of decimals whose digits the metadata does not tell.
const ANY_DECIMAL: ColumnType = ColumnType::Decimal { precision: 38, scale: 10 };

/// The columns of an entity, with the types they would land with.
pub(super) fn offered(spec: &DatasetSpec, metadata: &Metadata, set: &str) -> Result<Vec<OfferedColumn>, SourceError> {
    // As they are declared, not as the dataset wants them.
    let declared = DatasetSpec { types: std::collections::BTreeMap::new(), ..spec.clone() };
    let of =
        |property: &Property| OfferedColumn { name: property.name.clone(), kind: kind_of(&declared, property).ok() };
    let offer = Offer::of(spec, metadata, set)?;
    let mut offered: Vec<OfferedColumn> = offer.entity.properties.iter().map(of).collect();
    if let Some((navigation, lines)) = offer.lines {
        offered.extend(
            lines
                .properties
                .iter()
                .map(of)
                .map(|column| OfferedColumn { name: format!("{navigation}/{}", column.name), ..column }),
        );
    }
    Ok(offered)
}

/// The key columns of the headers of lines, and the names of those of the lines.
pub(super) fn header_key<'m>(
    spec: &DatasetSpec,
    metadata: &'m Metadata,
    set: &str,
) -> Result<(Vec<Column>, &'m [String]), SourceError> {
    let offer = Offer::of(spec, metadata, set)?;
    let column = |name: &String| {
        let kind = kind_of(spec, offer.property(spec, name)?)?;
        Ok(Column { name: name.clone(), source: name.clone(), kind, nullable: false, landed: false })
    };
    let key = offer.entity.keys.iter().map(column).collect::<Result<Vec<_>, SourceError>>()?;
    if key.is_empty() {
        let message = format!("the metadata names no key of {set}");
        return Err(config(message, Some("read the lines through a BAQ".to_owned())));
    }
    Ok((key, offer.lines.map_or(&[], |(_, lines)| &lines.keys)))
}

/// What a dataset can be made of: an entity, and the lines below it where it is one of lines.
struct Offer<'m> {
    entity: &'m EntityType,
    lines: Option<(&'m str, &'m EntityType)>,
}

impl<'m> Offer<'m> {
    fn of(spec: &DatasetSpec, metadata: &'m Metadata, set: &str) -> Result<Self, SourceError> {
        let entity = entity(spec, metadata, set)?;
        let SourceObject::Lines { navigation, .. } = &spec.source else { return Ok(Self { entity, lines: None }) };
        let known = entity.navigations.iter().find(|name| *name == navigation);
        // Kinetic names the sets of its lines as it names the way to them.
        let lines = known.and_then(|name| Some((name.as_str(), metadata.entity_type_of(name)?)));
        let lines = lines.ok_or_else(|| {
            let near = nearest(navigation, entity.navigations.iter().map(String::as_str));
            let hint = match near {
                Some(near) => format!("did you mean {near}?"),
                None if entity.navigations.is_empty() => {
                    format!(
                        "the metadata tells of no lines below {set}; read them by a set of their own, or through a BAQ"
                    )
                }
                None => format!("below {set} are {}", entity.navigations.join(", ")),
            };
            config(format!("{set} has no lines named {navigation}"), Some(hint))
        })?;
        Ok(Self { entity, lines: Some(lines) })
    }

    /// The name of a line's column, and the entity it is a column of.
    fn place<'n>(&self, name: &'n str) -> (&'n str, &'m EntityType) {
        let line = self.lines.and_then(|(navigation, lines)| Some((of_line(name, navigation)?, lines)));
        line.unwrap_or((name, self.entity))
    }

    fn property(&self, spec: &DatasetSpec, name: &str) -> Result<&'m Property, SourceError> {
        let (name, entity) = self.place(name);
        property(spec, entity, name)
    }

    /// The name under which a column of a row is asked for: of the line, where the rows are lines.
    fn of_row(&self, name: &str) -> Option<String> {
        match self.lines {
            Some((navigation, lines)) => lines.property(name).map(|_| format!("{navigation}/{name}")),
            None => self.entity.property(name).map(|_| name.to_owned()),
        }
    }
}

pub(super) fn entity<'m>(spec: &DatasetSpec, metadata: &'m Metadata, set: &str) -> Result<&'m EntityType, SourceError> {
    metadata.entity_type_of(set).ok_or_else(|| {
        let message = format!("{} is not offered by this Kinetic", spec.source);
        config(message, nearest(set, metadata.entity_sets()).map(|near| format!("did you mean {near}?")))
    })
}

/// Resolves the columns of a dataset.
pub(super) fn resolve(spec: &DatasetSpec, metadata: &Metadata, set: &str) -> Result<Schema, SourceError> {
    let offer = Offer::of(spec, metadata, set)?;
    let entity = offer.entity;
    let declared: Vec<String> = match offer.lines {
        Some((navigation, lines)) => lines.keys.iter().map(|name| format!("{navigation}/{name}")).collect(),
        None => entity.keys.clone(),
    };
    let keys: &[String] = if spec.key.is_empty() { &declared } else { &spec.key };
    if keys.is_empty() {
        let message = "the metadata names no key".to_owned();
        return Err(config(message, Some("name the columns that tell rows apart in the dataset's `key`".to_owned())));
    }
    if let Some(unknown) = spec.types.keys().find(|name| !spec.select.contains(name) && !keys.contains(name)) {
        let near = nearest(unknown, spec.select.iter().map(String::as_str));
        let message = format!("`types` names {unknown}, which is not selected");
        return Err(config(message, near.map(|near| format!("did you mean {near}?"))));
    }

    let mut columns: Vec<Column> = Vec::new();
    let missing_keys = keys.iter().filter(|key| !spec.select.contains(key));
    for name in missing_keys.chain(&spec.select) {
        if columns.iter().any(|column| column.source == *name) {
            let message = format!("{name} is selected twice");
            return Err(config(message, Some("take one of them out of `select`".to_owned())));
        }
        let property = offer.property(spec, name)?;
        let kind = match spec.types.get(name) {
            Some(kind) => *kind,
            None => kind_of(spec, property)?,
        };
        columns.push(Column {
            name: offer.place(name).0.to_owned(),
            source: name.clone(),
            kind,
            nullable: !keys.contains(name),
            landed: true,
        });
    }
    let key: Vec<usize> =
        keys.iter().filter_map(|name| columns.iter().position(|column| column.source == *name)).collect();
    // Pages are divided by the key of the headers, where there are lines.
    check_keys(spec, entity, if offer.lines.is_some() { &entity.keys } else { keys })?;

    let mut hidden = |name: &str, kind| {
        columns.push(Column { name: name.to_owned(), source: name.to_owned(), kind, nullable: true, landed: false });
        columns.len() - 1
    };
    // Each row's own version, also where changes are found another way.
    let version = offer
        .of_row("SysRevID")
        .filter(|name| offer.property(spec, name).is_ok_and(|property| property.edm_type == EdmType::Int64));
    let version = match &spec.track {
        Track::Revision { column, .. } => {
            check_revision(spec, entity, column)?;
            Some(column.clone())
        }
        _ => version,
    };
    let version = version.map(|name| hidden(&name, ColumnType::Int64));
    let (stamp, stamp_seconds) = match &spec.track {
        Track::Timestamp { column, .. } => {
            check_stamp(spec, entity, column)?;
            (Some(hidden(column, ColumnType::Text)), None)
        }
        Track::DateAndTime { date, seconds, .. } => {
            check_stamp(spec, entity, date)?;
            check_seconds(spec, entity, seconds)?;
            (Some(hidden(date, ColumnType::Text)), Some(hidden(seconds, ColumnType::Int64)))
        }
        Track::Revision { .. } | Track::Snapshot => (None, None),
    };
    let row_id = ["SysRowID", "RowIdent"].into_iter().find_map(|name| offer.of_row(name));
    let row_id = row_id.map(|name| hidden(&name, ColumnType::Text));
    let dimensions = spec.dimensions.iter().map(|name| dimension(spec, &columns, name)).collect::<Result<_, _>>()?;
    Ok(Schema { columns, key, version, row_id, stamp, stamp_seconds, dimensions })
}

fn check_revision(spec: &DatasetSpec, entity: &EntityType, column: &str) -> Result<(), SourceError> {
    let kind = &property(spec, entity, column)?.edm_type;
    if matches!(kind, EdmType::Int64 | EdmType::Int32 | EdmType::Decimal) {
        return Ok(());
    }
    let hint = format!("use track = {{ timestamp = \"{column}\" }} or a dataset with SysRevID");
    Err(config(format!("{column} is {kind}, no revision"), Some(hint)))
}

fn check_stamp(spec: &DatasetSpec, entity: &EntityType, column: &str) -> Result<(), SourceError> {
    let kind = &property(spec, entity, column)?.edm_type;
    if matches!(kind, EdmType::DateTimeOffset | EdmType::Date) {
        return Ok(());
    }
    let hint = format!("use track = {{ revision = \"{column}\" }} or another column");
    Err(config(format!("{column} is {kind}, no date"), Some(hint)))
}

fn check_seconds(spec: &DatasetSpec, entity: &EntityType, column: &str) -> Result<(), SourceError> {
    let kind = &property(spec, entity, column)?.edm_type;
    if matches!(kind, EdmType::Int16 | EdmType::Int32 | EdmType::Int64) {
        return Ok(());
    }
    let hint = "name the column that holds the seconds since midnight, such as ChangeTime".to_owned();
    Err(config(format!("{column} is {kind}, no number of seconds"), Some(hint)))
}

fn dimension(spec: &DatasetSpec, columns: &[Column], name: &str) -> Result<usize, SourceError> {
    let at = columns.iter().position(|column| column.landed && column.source == name);
    at.ok_or_else(|| {
        let near = nearest(name, spec.select.iter().map(String::as_str));
        let hint = near.map_or_else(|| "add it to `select`".to_owned(), |near| format!("did you mean {near}?"));
        let message = format!("`dimensions` names {name}, which is not selected");
        config(message, Some(hint))
    })
}

fn property<'a>(spec: &DatasetSpec, entity: &'a EntityType, name: &str) -> Result<&'a Property, SourceError> {
    entity.property(name).ok_or_else(|| {
        let near = nearest(name, entity.properties.iter().map(|property| property.name.as_str()));
        let message = format!("{} has no column {name}", spec.source);
        let hint = match (near, &spec.source) {
            (Some(near), _) => format!("did you mean {near}? Case matters"),
            (None, SourceObject::EntitySet { .. } | SourceObject::Lines { .. }) => {
                "take it out, or see the service's $metadata for its columns".to_owned()
            }
            (None, SourceObject::Baq { .. }) => "a BAQ's columns are named Table_Field or Calculated_Name".to_owned(),
        };
        config(message, Some(hint))
    })
}

fn kind_of(spec: &DatasetSpec, property: &Property) -> Result<ColumnType, SourceError> {
    if let Some(&kind) = spec.types.get(&property.name) {
        return Ok(kind);
    }
    Ok(match &property.edm_type {
        EdmType::Boolean => ColumnType::Bool,
        EdmType::Byte | EdmType::Int16 => ColumnType::Int16,
        EdmType::Int32 => ColumnType::Int32,
        EdmType::Int64 => ColumnType::Int64,
        EdmType::Decimal => decimal(property),
        EdmType::Single | EdmType::Double => ColumnType::Double,
        EdmType::Date => ColumnType::Date,
        EdmType::DateTimeOffset => moment(spec, &property.name),
        EdmType::String | EdmType::Guid | EdmType::TimeOfDay | EdmType::Duration | EdmType::Binary => ColumnType::Text,
        other => {
            let message = format!("column {} is of type {other}, which cannot land", property.name);
            return Err(config(message, Some("take it out of `select`".to_owned())));
        }
    })
}

fn decimal(property: &Property) -> ColumnType {
    let facet = |facet: Option<u32>| facet.and_then(|digits| u8::try_from(digits).ok());
    match (facet(property.precision), facet(property.scale)) {
        (Some(precision @ 1..=38), Some(scale)) if scale <= precision => ColumnType::Decimal { precision, scale },
        _ => ANY_DECIMAL,
    }
}

/// Kinetic declares calendar dates and moments alike. By name, `…Date` is a calendar date; stamps of the last change may have a time
/// of day.
fn moment(spec: &DatasetSpec, name: &str) -> ColumnType {
    let stamped_by_second =
        matches!(&spec.track, Track::Timestamp { column, resolution: Resolution::Second, .. } if column == name);
    if name.ends_with("Date") && name != "ChangeDate" && name != "CreateDate" && !stamped_by_second {
        ColumnType::Date
    } else {
        ColumnType::Timestamp
    }
}

/// Pages of a dataset that is tracked by a stamp or by snapshots are divided by the key; SQL Server orders guids in a way of its own, and not every
/// server compares them.
fn check_keys(spec: &DatasetSpec, entity: &EntityType, keys: &[String]) -> Result<(), SourceError> {
    if matches!(spec.track, Track::Revision { .. }) {
        return Ok(());
    }
    let guid = |name: &&String| entity.property(name).is_some_and(|property| property.edm_type == EdmType::Guid);
    match keys.iter().find(guid) {
        Some(name) => {
            let message = format!("key column {name} is a guid, which cannot be paged by");
            Err(config(message, Some("track the dataset by revision, or choose another `key`".to_owned())))
        }
        None => Ok(()),
    }
}

fn config(message: String, hint: Option<String>) -> SourceError {
    let failure = SourceError::new(SourceErrorKind::Config, message);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}
