//! Columns that have come, gone or changed in the source since the last landing.

use super::{ChangedType, Derive, DerivedColumn, MissingColumn, NewColumn, OfferedColumn};
use crate::model::{Column, ColumnType, DatasetSpec, Schema, SourceObject};

/// What the policies make of a dataset.
#[derive(Debug)]
pub(crate) struct Drifted {
    /// The dataset as it is to be read.
    pub(crate) spec: DatasetSpec,
    /// Names of columns that land as null, with their types.
    pub(crate) nulls: Vec<(String, ColumnType)>,
}

/// Adjusts a dataset to what its source offers now. `landed` is the schema of the last landing.
///
/// Answers a message when the policies say to stop.
pub(crate) fn adjust(
    spec: &DatasetSpec,
    offered: &[OfferedColumn],
    landed: Option<&Schema>,
) -> Result<Drifted, String> {
    let mut adjusted = spec.clone();
    let mut nulls = Vec::new();
    let has = |name: &str| offered.iter().any(|column| column.name == name);
    let landed_name = |name: &str| match (spec.mapping.rename.get(name), &spec.source) {
        (Some(renamed), _) => renamed.clone(),
        (None, SourceObject::Lines { navigation, .. }) => {
            let of_line = name.strip_prefix(navigation.as_str()).and_then(|name| name.strip_prefix('/'));
            of_line.unwrap_or(name).to_owned()
        }
        (None, _) => name.to_owned(),
    };
    // A column that has landed empty comes from none of the source.
    let is_of = |column: &Column, name: &str| {
        column.landed && (column.source == name || (column.source.is_empty() && column.name == landed_name(name)))
    };
    let landed_type = |name: &str| landed?.columns.iter().find(|column| is_of(column, name)).map(|column| column.kind);

    for name in spec.select.iter().filter(|name| !has(name)) {
        match spec.drift.missing {
            // The source says so itself, and knows which name is near.
            MissingColumn::Stop => {}
            MissingColumn::Drop | MissingColumn::Null if spec.key.contains(name) => {
                return Err(format!("key column {name} is gone from the source"));
            }
            policy => {
                adjusted.select.retain(|selected| selected != name);
                adjusted.dimensions.retain(|selected| selected != name);
                let kind = spec.types.get(name).copied().or_else(|| landed_type(name)).unwrap_or(ColumnType::Text);
                adjusted.types.remove(name);
                adjusted.mapping.nulls.remove(name);
                adjusted.mapping.rename.remove(name);
                if policy == MissingColumn::Null {
                    nulls.push((landed_name(name), kind));
                }
            }
        }
    }
    if spec.drift.new == NewColumn::Add {
        let tracked = spec.track.column();
        let new = offered.iter().filter(|column| column.kind.is_some() && Some(column.name.as_str()) != tracked);
        // Of lines, theirs: columns of the headers are joined by choice.
        let lines = matches!(spec.source, SourceObject::Lines { .. });
        for column in new.filter(|column| !lines || column.name.contains('/')) {
            let inner = is_inner(column.name.rsplit('/').next().unwrap_or_default());
            if !adjusted.select.contains(&column.name) && !inner {
                adjusted.select.push(column.name.clone());
            }
        }
    }
    if spec.drift.changed != ChangedType::Accept {
        for name in &adjusted.select {
            let now = offered.iter().find(|column| column.name == *name).and_then(|column| column.kind);
            let (Some(before), Some(now)) = (landed_type(name), now) else { continue };
            if before == now || adjusted.types.contains_key(name) {
                continue;
            }
            if spec.drift.changed == ChangedType::Stop {
                return Err(format!("column {name} was {before} and is {now} now"));
            }
            adjusted.types.insert(name.clone(), before);
        }
    }
    Ok(Drifted { spec: adjusted, nulls })
}

/// Columns that every row has for the server's own use.
fn is_inner(name: &str) -> bool {
    matches!(name, "SysRevID" | "SysRowID" | "RowIdent" | "RowMod" | "BitFlag")
}

impl Drifted {
    /// The columns that hold nothing any more, as derived ones.
    pub(crate) fn empty_columns(&self) -> impl Iterator<Item = DerivedColumn> {
        self.nulls.iter().map(|(name, kind)| DerivedColumn { name: name.clone(), kind: *kind, from: Derive::Null })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::Drift;
    use crate::model::Target;

    fn spec(drift: Drift) -> DatasetSpec {
        let source = SourceObject::Baq { id: "b".to_owned(), parameters: Vec::new() };
        let target = Target { project: "P".to_owned(), datasource: "D".to_owned() };
        let mut spec = DatasetSpec::new("d", source, ["K", "A"], target);
        spec.key = vec!["K".to_owned()];
        spec.drift = drift;
        spec
    }

    fn offered(columns: &[(&str, ColumnType)]) -> Vec<OfferedColumn> {
        columns.iter().map(|(name, kind)| OfferedColumn { name: (*name).to_owned(), kind: Some(*kind) }).collect()
    }

    fn landed(kind: ColumnType) -> Schema {
        let column = |name: &str, kind| Column {
            name: name.to_owned(),
            source: name.to_owned(),
            kind,
            nullable: true,
            landed: true,
        };
        Schema {
            columns: vec![column("K", ColumnType::Int32), column("A", kind)],
            key: vec![0],
            version: None,
            row_id: None,
            stamp: None,
            stamp_seconds: None,
            dimensions: Vec::new(),
        }
    }

    #[test]
    fn new_columns_land_only_when_told_to() {
        let now = offered(&[
            ("K", ColumnType::Int32),
            ("A", ColumnType::Text),
            ("B", ColumnType::Date),
            ("SysRowID", ColumnType::Text),
        ]);
        assert_eq!(adjust(&spec(Drift::default()), &now, None).unwrap().spec.select, ["K", "A"]);
        let add = spec(Drift { new: NewColumn::Add, ..Drift::default() });
        assert_eq!(adjust(&add, &now, None).unwrap().spec.select, ["K", "A", "B"]);
    }

    #[test]
    fn missing_columns_go_or_stay_empty_but_never_a_key() {
        let now = offered(&[("K", ColumnType::Int32)]);
        let of = |missing| spec(Drift { missing, ..Drift::default() });
        assert_eq!(adjust(&of(MissingColumn::Stop), &now, None).unwrap().spec.select, ["K", "A"]);
        assert_eq!(adjust(&of(MissingColumn::Drop), &now, None).unwrap().spec.select, ["K"]);
        let empty = adjust(&of(MissingColumn::Null), &now, Some(&landed(ColumnType::Date))).unwrap();
        assert_eq!((empty.spec.select, empty.nulls), (vec!["K".to_owned()], vec![("A".to_owned(), ColumnType::Date)]));
        let no_key = offered(&[("A", ColumnType::Text)]);
        assert!(adjust(&of(MissingColumn::Null), &no_key, None).unwrap_err().contains("key column K"));
    }

    #[test]
    fn an_empty_column_keeps_its_landed_name_and_type_from_run_to_run() {
        let now = offered(&[("K", ColumnType::Int32)]);
        let mut spec = spec(Drift { missing: MissingColumn::Null, ..Drift::default() });
        let mut landed = landed(ColumnType::Date);
        for source in ["A", ""] {
            // The second time it has landed empty, from no column of the source.
            landed.columns[1].source = source.to_owned();
            let empty = adjust(&spec, &now, Some(&landed)).unwrap();
            assert_eq!(empty.nulls, [("A".to_owned(), ColumnType::Date)], "from '{source}'");
        }
        spec.mapping.rename.insert("A".to_owned(), "On".to_owned());
        landed.columns[1].name = "On".to_owned();
        assert_eq!(adjust(&spec, &now, Some(&landed)).unwrap().nulls, [("On".to_owned(), ColumnType::Date)]);
        // A column of lines lands without the way to them.
        spec.source = SourceObject::Lines { service: "S".to_owned(), set: "T".to_owned(), navigation: "Ls".to_owned() };
        spec.select = vec!["K".to_owned(), "Ls/A".to_owned()];
        spec.mapping.rename.clear();
        landed.columns[1].name = "A".to_owned();
        assert_eq!(adjust(&spec, &now, Some(&landed)).unwrap().nulls, [("A".to_owned(), ColumnType::Date)]);
    }

    #[test]
    fn a_changed_type_is_kept_or_stops_the_run() {
        let now = offered(&[("K", ColumnType::Int32), ("A", ColumnType::Text)]);
        let before = landed(ColumnType::Int32);
        let of = |changed| spec(Drift { changed, ..Drift::default() });
        assert!(adjust(&of(ChangedType::Accept), &now, Some(&before)).unwrap().spec.types.is_empty());
        let kept = adjust(&of(ChangedType::Reject), &now, Some(&before)).unwrap();
        assert_eq!(kept.spec.types.get("A"), Some(&ColumnType::Int32));
        let stop = adjust(&of(ChangedType::Stop), &now, Some(&before)).unwrap_err();
        assert!(stop.contains("was int32 and is text now"), "{stop}");
    }
}
