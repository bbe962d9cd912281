//! The trail in the forms of other tools: CSV for spreadsheets, `OpenLineage` run events for lineage services.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{AuditEntry, AuditEvent, AuditRecord};

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

/// An event of a run as an `OpenLineage` run event (specification 2-0-2): `START`, `COMPLETE` or `FAIL`. None for events that are not
/// the begin or the end of a run.
///
/// The job is the dataset in the namespace of the company, its input the dataset's object in Kinetic, its output the datasource in
/// Tableau.
#[must_use]
pub fn open_lineage(entry: &AuditEntry) -> Option<Value> {
    let facet = |schema: &str, more: Value| {
        let mut facet = json!({
            "_producer": PRODUCER,
            "_schemaURL": format!("https://openlineage.io/spec/facets/{schema}.json"),
        });
        if let (Some(facet), Value::Object(more)) = (facet.as_object_mut(), more) {
            facet.extend(more);
        }
        facet
    };
    let dataset = entry.dataset.as_str();
    let (kind, run, input, output) = match &entry.event {
        AuditEvent::Started { company, target, .. } => {
            let input = json!({"namespace": format!("kinetic://{company}"), "name": dataset});
            let name = format!("{}/{}", target.project, target.datasource);
            ("START", json!({}), Some(input), Some(json!({"namespace": "tableau", "name": name})))
        }
        AuditEvent::Landed { counts, landed_rows, .. } => {
            let read = facet("1-0-0/InputStatisticsInputDatasetFacet", json!({"rowCount": counts.read}));
            let wrote = facet(
                "1-0-2/OutputStatisticsOutputDatasetFacet",
                json!({"rowCount": counts.inserted + counts.updated}),
            );
            let input = json!({"namespace": "kinetic", "name": dataset, "inputFacets": {"inputStatistics": read}});
            let output = json!({"namespace": "tableau", "name": dataset, "outputFacets": {"outputStatistics": wrote}});
            let run = json!({"landed": {
                "_producer": PRODUCER,
                "_schemaURL": format!("{PRODUCER}#landed"),
                "rows": landed_rows,
                "deleted": counts.deleted,
            }});
            ("COMPLETE", run, Some(input), Some(output))
        }
        AuditEvent::Idle { counts, .. } => {
            let read = facet("1-0-0/InputStatisticsInputDatasetFacet", json!({"rowCount": counts.read}));
            let input = json!({"namespace": "kinetic", "name": dataset, "inputFacets": {"inputStatistics": read}});
            ("COMPLETE", json!({}), Some(input), None)
        }
        AuditEvent::Failed { stage, message } => {
            let error = json!({"message": format!("{stage}: {message}"), "programmingLanguage": "Rust"});
            ("FAIL", json!({"errorMessage": facet("1-0-1/ErrorMessageRunFacet", error)}), None, None)
        }
        AuditEvent::Reconciled { .. } | AuditEvent::Refreshed { .. } => return None,
    };
    Some(json!({
        "eventType": kind,
        "eventTime": entry.at.to_rfc3339(),
        "run": {"runId": entry.run.as_str(), "facets": run},
        "job": {"namespace": "kinetic-tableau-sync", "name": dataset},
        "inputs": input.into_iter().collect::<Vec<_>>(),
        "outputs": output.into_iter().collect::<Vec<_>>(),
        "producer": PRODUCER,
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
    }))
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
        let event = open_lineage(&idle).unwrap();
        assert_eq!((&event["eventType"], &event["run"]["runId"]), (&json!("COMPLETE"), &json!(idle.run.as_str())));
        assert_eq!(event["inputs"][0]["inputFacets"]["inputStatistics"]["rowCount"], 5);
        let failed = entry(AuditEvent::Failed { stage: "read".to_owned(), message: "gone".to_owned() });
        let event = open_lineage(&failed).unwrap();
        assert_eq!(event["eventType"], "FAIL");
        assert_eq!(event["run"]["facets"]["errorMessage"]["message"], "read: gone");
        let found = entry(AuditEvent::Reconciled { findings: crate::Findings::default() });
        assert_eq!(open_lineage(&found), None);
    }
}
