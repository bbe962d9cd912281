//! The trail in the forms of other tools: CSV for spreadsheets, `OpenLineage` run events for lineage services.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{AuditEntry, AuditEvent, AuditRecord};
use crate::model::{DatasetId, Target};

/// Who makes the events.
const PRODUCER: &str = "https://github.com/kinetic-tableau/kinetic-tableau";

/// The first line of the CSV form, without a line end. Behind these columns come the dimensions, as `name=value` pairs in one column.
pub const CSV_HEADER: &str = "at,dataset,run,action,landed,key,version,row_id,stamp,hash,company,project,datasource,request_id,\
                              job_id,reason,dimensions";

/// One record as a line of CSV (RFC 4180), without a line end. Texts that a spreadsheet would take for a formula get an apostrophe in
/// front.
#[must_use]
pub fn csv_line(record: &AuditRecord) -> String {
    let dimensions: Vec<String> = record.dimensions.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut line = String::new();
    let cells: [&str; 17] = [
        &record.at.to_rfc3339(),
        record.dataset.as_str(),
        record.run.as_str(),
        record.action.as_str(),
        if record.landed { "true" } else { "false" },
        &record.key,
        &record.version.to_string(),
        &record.row_id,
        &record.stamp,
        &record.hash,
        &record.company,
        &record.project,
        &record.datasource,
        &record.request_id,
        record.job_id.as_deref().unwrap_or_default(),
        &record.reason,
        &dimensions.join("; "),
    ];
    for (nth, cell) in cells.iter().enumerate() {
        if nth > 0 {
            line.push(',');
        }
        let number = cell.parse::<i64>().is_ok();
        let formula = !number && cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
        let mark = if formula { "'" } else { "" };
        if formula || cell.contains([',', '"', '\n', '\r']) {
            // Writing to a String cannot fail.
            let _ = write!(line, "\"{mark}{}\"", cell.replace('"', "\"\""));
        } else {
            line.push_str(cell);
        }
    }
    line
}

/// Turns events of runs into `OpenLineage` run events (specification 2-0-2), oldest first.
///
/// The job is the dataset, its input the dataset in the namespace of its company in Kinetic, its output the datasource in Tableau, under
/// the same names in all events. They are told by the begin of a run: so hand in the trail from its beginning, and use what comes of the part
/// that is wanted.
#[derive(Clone, Debug, Default)]
pub struct OpenLineage {
    /// By dataset its company, and where it lands.
    known: HashMap<DatasetId, (String, Target)>,
}

impl OpenLineage {
    /// One that knows of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An event as `START`, `COMPLETE` or `FAIL`; none for events that are not the begin or the end of a run.
    pub fn event(&mut self, entry: &AuditEntry) -> Option<Value> {
        if let AuditEvent::Started { company, target, .. } = &entry.event {
            self.known.insert(entry.dataset.clone(), (company.clone(), target.clone()));
        }
        let name = entry.dataset.as_str();
        let known = self.known.get(&entry.dataset);
        let input = known.map(|(company, _)| json!({"namespace": format!("kinetic://{company}"), "name": name}));
        let output = known.map(
            |(_, target)| json!({"namespace": "tableau", "name": format!("{}/{}", target.project, target.datasource)}),
        );
        let (kind, run, input, output) = match &entry.event {
            AuditEvent::Started { .. } => ("START", json!({}), input, output),
            AuditEvent::Landed { counts, landed_rows, .. } => {
                let read = facet("1-0-0/InputStatisticsInputDatasetFacet", json!({"rowCount": counts.read}));
                let wrote = facet(
                    "1-0-2/OutputStatisticsOutputDatasetFacet",
                    json!({"rowCount": counts.inserted + counts.updated}),
                );
                let run = json!({"landed": {
                    "_producer": PRODUCER,
                    "_schemaURL": format!("{PRODUCER}#landed"),
                    "rows": landed_rows,
                    "deleted": counts.deleted,
                }});
                let input = input.map(|input| with(input, "inputFacets", json!({"inputStatistics": read})));
                let output = output.map(|output| with(output, "outputFacets", json!({"outputStatistics": wrote})));
                ("COMPLETE", run, input, output)
            }
            AuditEvent::Idle { counts, .. } => {
                let read = facet("1-0-0/InputStatisticsInputDatasetFacet", json!({"rowCount": counts.read}));
                let input = input.map(|input| with(input, "inputFacets", json!({"inputStatistics": read})));
                // Nothing was written.
                ("COMPLETE", json!({}), input, None)
            }
            AuditEvent::Failed { stage, message, .. } => {
                let error = json!({"message": format!("{stage}: {message}"), "programmingLanguage": "Rust"});
                ("FAIL", json!({"errorMessage": facet("1-0-1/ErrorMessageRunFacet", error)}), input, output)
            }
            AuditEvent::Reconciled { .. } | AuditEvent::Refreshed { .. } | AuditEvent::Told { .. } => return None,
        };
        Some(json!({
            "eventType": kind,
            "eventTime": entry.at.to_rfc3339(),
            "run": {"runId": entry.run.as_str(), "facets": run},
            "job": {"namespace": "kinetic-tableau-sync", "name": name},
            "inputs": input.into_iter().collect::<Vec<_>>(),
            "outputs": output.into_iter().collect::<Vec<_>>(),
            "producer": PRODUCER,
            "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        }))
    }
}

fn facet(schema: &str, more: Value) -> Value {
    let facet = json!({
        "_producer": PRODUCER,
        "_schemaURL": format!("https://openlineage.io/spec/facets/{schema}.json"),
    });
    match more {
        Value::Object(more) => more.into_iter().fold(facet, |facet, (name, value)| with(facet, &name, value)),
        _ => facet,
    }
}

/// An object with one more member.
fn with(mut object: Value, name: &str, value: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Action;
    use crate::checkpoint::Counts;

    fn record() -> AuditRecord {
        AuditRecord {
            dataset: "ap".into(),
            run: "r".into(),
            at: chrono::DateTime::UNIX_EPOCH,
            company: "E1".to_owned(),
            project: "Finance".to_owned(),
            datasource: "AP, all".to_owned(),
            request_id: "q".to_owned(),
            job_id: None,
            landed: true,
            action: Action::Delete,
            key: r#"["E1","=1+1"]"#.to_owned(),
            version: -7,
            row_id: String::new(),
            stamp: String::new(),
            hash: "00".to_owned(),
            reason: "@gone".to_owned(),
            dimensions: vec![("City".to_owned(), "Bern\n\"x\"".to_owned())],
        }
    }

    #[test]
    fn a_line_of_csv_has_as_many_cells_as_its_header_and_no_formula() {
        let line = csv_line(&record());
        assert_eq!(
            line,
            "1970-01-01T00:00:00+00:00,ap,r,delete,true,\"[\"\"E1\"\",\"\"=1+1\"\"]\",-7,,,00,E1,Finance,\"AP, all\",q,,\
             \"'@gone\",\"City=Bern\n\"\"x\"\"\""
        );
        let mut quoted = false;
        let commas = line.chars().filter(|c| {
            quoted ^= *c == '"';
            *c == ',' && !quoted
        });
        assert_eq!(commas.count(), CSV_HEADER.matches(',').count());
    }

    #[test]
    fn begin_and_end_of_a_run_become_run_events() {
        let entry = |event| AuditEntry {
            dataset: "ap".into(),
            run: "5a1d2c3e-0000-4000-8000-000000000001".into(),
            at: chrono::DateTime::UNIX_EPOCH,
            event,
        };
        let idle =
            entry(AuditEvent::Idle { counts: Counts { read: 5, unchanged: 5, ..Counts::default() }, through: None });
        let mut lineage = OpenLineage::new();
        let target = Target { project: "Finance".to_owned(), datasource: "AP".to_owned() };
        let started = AuditEvent::Started {
            kind: crate::LoadKind::Delta,
            reason: None,
            company: "E1".to_owned(),
            after: None,
            target,
        };
        let begun = lineage.event(&entry(started)).unwrap();
        assert_eq!(begun["eventType"], "START");
        assert_eq!(begun["outputs"][0], json!({"namespace": "tableau", "name": "Finance/AP"}));
        let event = lineage.event(&idle).unwrap();
        for part in ["namespace", "name"] {
            assert_eq!(event["inputs"][0][part], begun["inputs"][0][part], "one dataset has one name");
        }
        assert_eq!(begun["inputs"][0]["namespace"], "kinetic://E1");
        assert_eq!((&event["eventType"], &event["run"]["runId"]), (&json!("COMPLETE"), &json!(idle.run.as_str())));
        assert_eq!(event["inputs"][0]["inputFacets"]["inputStatistics"]["rowCount"], 5);
        let failed = entry(AuditEvent::Failed { stage: "read".to_owned(), message: "gone".to_owned(), hint: None });
        let event = lineage.event(&failed).unwrap();
        assert_eq!(event["eventType"], "FAIL");
        assert_eq!(event["run"]["facets"]["errorMessage"]["message"], "read: gone");
        let found = entry(AuditEvent::Reconciled { findings: crate::Findings::default() });
        assert_eq!(lineage.event(&found), None);
    }
}
