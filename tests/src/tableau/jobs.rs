//! Background work: each job waits its turn, does its work on the files, and ends with a result.

use std::sync::Arc;

use chrono::Utc;

use super::site::{Job, Work, fresh_id};
use super::{Shared, locked};

/// Queues a job and answers its id.
pub(super) fn start(shared: &Arc<Shared>, work: Work) -> String {
    let job = Job { id: fresh_id(), work, created: Utc::now(), started: None, ended: None, cancelled: false };
    let id = job.id.clone();
    locked(&shared.site).jobs.push(job);
    let (shared, running) = (Arc::clone(shared), id.clone());
    tokio::spawn(async move {
        tokio::time::sleep(shared.switches.job_time / 2).await;
        let Some(work) = begin(&shared, &running) else { return };
        tokio::time::sleep(shared.switches.job_time / 2).await;
        let result = perform(&shared, &work).await;
        if let Some(job) = locked(&shared.site).jobs.iter_mut().find(|job| job.id == running && job.ended.is_none()) {
            job.ended = Some((Utc::now(), result.err()));
        }
    });
    id
}

fn begin(shared: &Shared, id: &str) -> Option<Work> {
    let mut site = locked(&shared.site);
    let job = site.jobs.iter_mut().find(|job| job.id == id && job.ended.is_none())?;
    job.started = Some(Utc::now());
    Some(job.work.clone())
}

/// Does the work of a job.
pub(super) async fn perform(shared: &Shared, work: &Work) -> Result<(), String> {
    match work {
        Work::Publish { datasource } => {
            if let Some(file) = datasource.file.as_ref().filter(|_| shared.switches.check_extracts) {
                let checked = shared.extracts.check(file).await;
                if let Err(error) = checked {
                    let _ = std::fs::remove_file(file);
                    return Err(format!("The file is not a valid extract: {error}"));
                }
            }
            let mut site = locked(&shared.site);
            let before = site.named(&datasource.project_id, &datasource.name).map(|found| found.id.clone());
            if let Some(found) = before.and_then(|id| site.datasource_mut(&id)) {
                let old = std::mem::replace(&mut found.file, datasource.file.clone());
                found.kind.clone_from(&datasource.kind);
                found.updated_at = Utc::now();
                match old {
                    Some(old) if shared.switches.keep_revisions => {
                        found.earlier.push((found.revision, old, found.updated_at));
                    }
                    Some(old) => {
                        let _ = std::fs::remove_file(old);
                    }
                    None => {}
                }
                found.revision += 1;
                let id = found.id.clone();
                site.tell("DatasourceUpdated", "DATASOURCE", &id);
            } else {
                site.datasources.push(datasource.as_ref().clone());
                site.tell("DatasourceCreated", "DATASOURCE", &datasource.id);
            }
            Ok(())
        }
        Work::Update { datasource, payload, actions } => {
            let file = locked(&shared.site).datasource(datasource).ok().and_then(|found| found.file.clone());
            let file = file.ok_or("The data source is gone.")?;
            let changed = shared.extracts.update(&file, payload.as_deref(), actions).await;
            if let Some(payload) = payload {
                let _ = std::fs::remove_file(payload);
            }
            changed?;
            if let Some(found) = locked(&shared.site).datasource_mut(datasource) {
                found.updated_at = Utc::now();
            }
            Ok(())
        }
        Work::Refresh { datasource, workbook, .. } => {
            let failure = locked(&shared.failing_refreshes).pop();
            let mut site = locked(&shared.site);
            if let Some(id) = datasource {
                let event = if failure.is_some() { "DatasourceRefreshFailed" } else { "DatasourceRefreshSucceeded" };
                site.tell(event, "EXTRACTS", id);
            }
            if let Some(note) = failure {
                return Err(note);
            }
            if let Some(found) = datasource.as_ref().and_then(|id| site.datasource_mut(id)) {
                found.refreshes += 1;
                found.updated_at = Utc::now();
            }
            if let Some(found) = site.workbooks.iter_mut().find(|found| Some(&found.id) == workbook.as_ref()) {
                found.refreshes += 1;
                found.updated_at = Utc::now();
            }
            Ok(())
        }
    }
}
