//! Publishing, uploads, and changing rows.

use std::path::PathBuf;
use std::sync::Arc;

use axum::http::HeaderMap;
use serde_json::Value as Json;

use super::site::{Datasource, Upload, Work, fresh_id};
use super::wire::{self, Failure, Node};
use super::{Query, Reply, Shared, jobs, locked};

/// The largest block of an upload.
const LARGEST_BLOCK: usize = 64 << 20;
/// The largest file of an update.
const LARGEST_UPDATE: u64 = 100 << 20;

pub(super) fn begin_upload(shared: &Shared) -> (u16, Vec<Node>) {
    // As on real servers, the id has colons.
    let id = format!("{}:{}:0", locked(&shared.site).uploads.len(), fresh_id().replace('-', ""));
    locked(&shared.site).uploads.insert(id.clone(), Upload::default());
    (201, vec![Node::new("fileUpload").with("uploadSessionId", id).with("fileSize", 0)])
}

pub(super) fn append(shared: &Shared, id: &str, query: &Query, headers: &HeaderMap, body: &[u8]) -> Reply {
    let parts = wire::parts(headers, body)?;
    let payload = parts.iter().find(|part| part.name == "request_payload");
    if payload.is_none_or(|payload| !payload.content.trim_ascii().is_empty()) {
        return Err(Failure::new("400019", "Bad Request", "The request_payload part must be there and empty."));
    }
    let file = parts.into_iter().find(|part| part.name == "tableau_file");
    let file = file.ok_or_else(|| Failure::new("400020", "Bad Request", "The part tableau_file is missing."))?;
    if file.content.len() > LARGEST_BLOCK {
        return Err(Failure::new("400016", "Bad Request", "A block must not be larger than 64 MB."));
    }
    if !locked(&shared.site).uploads.contains_key(id) {
        return Err(Failure::not_found("404015", "upload session"));
    }
    let block = (keep(shared, "block", &file.content)?, file.content.len() as u64);
    let mut site = locked(&shared.site);
    let upload = site.uploads.get_mut(id).ok_or_else(|| Failure::not_found("404015", "upload session"))?;
    let numbered = query.get("sequenceID").and_then(|number| number.parse::<u64>().ok());
    // Without a number blocks are put behind each other as they come, so that one that is sent twice is there twice.
    let number = numbered.unwrap_or(upload.blocks.len() as u64);
    if let Some((replaced, _)) = upload.blocks.insert(number, block) {
        let _ = std::fs::remove_file(replaced);
    }
    Ok((200, vec![Node::new("fileUpload").with("uploadSessionId", id).with("fileSize", upload.size())]))
}

/// The file of an upload, which is used up by that.
fn take_upload(shared: &Shared, id: &str, kind: &str) -> Result<PathBuf, Failure> {
    let upload = locked(&shared.site).uploads.remove(id);
    let upload = upload.ok_or_else(|| Failure::not_found("404015", "upload session"))?;
    let path = shared.directory.path().join(format!("{}.{kind}", fresh_id()));
    let mut blocks = upload.blocks.into_values().map(|(block, _)| block);
    let join = || -> std::io::Result<()> {
        let Some(first) = blocks.next() else { return std::fs::write(&path, b"") };
        // The first block becomes the file.
        std::fs::rename(first, &path)?;
        let mut whole = std::fs::OpenOptions::new().append(true).open(&path)?;
        for block in blocks {
            std::io::copy(&mut std::fs::File::open(&block)?, &mut whole)?;
            std::fs::remove_file(block)?;
        }
        Ok(())
    };
    let failed = |error: std::io::Error| Failure::new("500000", "Internal Server Error", error.to_string());
    join().map_err(failed)?;
    Ok(path)
}

fn keep(shared: &Shared, kind: &str, content: &[u8]) -> Result<PathBuf, Failure> {
    let path = shared.directory.path().join(format!("{}.{kind}", fresh_id()));
    std::fs::write(&path, content)
        .map_err(|error| Failure::new("500000", "Internal Server Error", error.to_string()))?;
    Ok(path)
}

pub(super) async fn publish(shared: &Arc<Shared>, query: &Query, headers: &HeaderMap, body: &[u8]) -> Reply {
    let parts = wire::parts(headers, body)?;
    let bad = |code, detail: &str| Failure::new(code, "Bad Request", detail);
    let payload = parts.iter().find(|part| part.name == "request_payload");
    let payload = payload.ok_or_else(|| bad("400019", "The part request_payload is missing."))?;
    let text = String::from_utf8_lossy(&payload.content);
    let request = wire::xml(&text).or_else(|| serde_json::from_str(&text).ok());
    let request = request.ok_or_else(|| bad("400000", "The payload is malformed."))?;
    let name = wire::text(&request, &["datasource", "name"]).unwrap_or_default().to_owned();
    if name.trim().is_empty() {
        return Err(bad("400008", "The data source has no name."));
    }
    let file = parts.iter().find(|part| part.name == "tableau_datasource");
    let (kind, file) = match (query.get("uploadSessionId"), file) {
        (Some(id), None) => {
            let kind = query.get("datasourceType").ok_or_else(|| bad("400010", "datasourceType is missing."))?;
            (kind.clone(), take_upload(shared, id, kind)?)
        }
        (None, Some(file)) => {
            let kind = file.file_name.rsplit('.').next().unwrap_or_default().to_owned();
            let path = keep(shared, &kind, &file.content)?;
            (kind, path)
        }
        _ => return Err(bad("400010", "A file is needed, either attached or uploaded.")),
    };
    let file = match kind.as_str() {
        "hyper" => file,
        // The server makes an extract of it, of which the datasource is then one like any other.
        "parquet" => {
            let extract = shared.directory.path().join(format!("{}.hyper", fresh_id()));
            shared.extracts.convert(&file, &extract).await.map_err(|error| bad("400011", &error))?;
            let _ = std::fs::remove_file(file);
            extract
        }
        _ => return Err(bad("400010", "This simulator takes .hyper and .parquet files only.")),
    };
    let (project, taken) = {
        let site = locked(&shared.site);
        let project = match wire::text(&request, &["datasource", "project", "id"]) {
            Some(id) => site.project(id)?.id.clone(),
            None => site.projects.first().map(|project| project.id.clone()).unwrap_or_default(),
        };
        let taken = site.named(&project, &name).is_some();
        (project, taken)
    };
    // Tableau's own client writes `True`.
    let wanted = |name: &str| query.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if wanted("append") {
        if wanted("overwrite") {
            return Err(bad("400055", "Overwriting and appending exclude each other."));
        }
        return append_rows(shared, &project, &name, file, wanted("asJob")).await;
    }
    if taken && !wanted("overwrite") {
        return Err(Failure::new("403007", "Forbidden", "You do not have permission to overwrite this data source."));
    }
    let mut datasource = Datasource::new(&name, &project, "hyper");
    datasource.file = Some(file);
    datasource.description = wire::text(&request, &["datasource", "description"]).unwrap_or_default().to_owned();
    let work = Work::Publish { datasource: Box::new(datasource) };
    if wanted("asJob") {
        let id = jobs::start(shared, work);
        return Ok((202, vec![shared.job(&id)?]));
    }
    jobs::perform(shared, &work).await.map_err(|error| bad("400011", &error))?;
    let site = locked(&shared.site);
    let published = site.named(&project, &name).ok_or_else(|| Failure::not_found("404004", "data source"))?;
    Ok((201, vec![site.datasource_node(published)]))
}

/// Adds the rows of a file to a datasource.
async fn append_rows(shared: &Arc<Shared>, project: &str, name: &str, file: PathBuf, as_job: bool) -> Reply {
    let id = {
        let site = locked(&shared.site);
        let found = site.named(project, name).ok_or_else(|| Failure::not_found("404004", "data source"))?;
        if found.kind != "hyper" {
            return Err(Failure::new("400054", "Bad Request", "Only extracts can be appended to."));
        }
        found.id.clone()
    };
    let table =
        |side: &str| [(format!("{side}-schema"), "Extract".into()), (format!("{side}-table"), "Extract".into())];
    let mut insert: serde_json::Map<String, Json> = table("source").into_iter().chain(table("target")).collect();
    insert.insert("action".to_owned(), "insert".into());
    let work = Work::Update { datasource: id.clone(), payload: Some(file), actions: vec![Json::Object(insert)] };
    if as_job {
        let job = jobs::start(shared, work);
        return Ok((202, vec![shared.job(&job)?]));
    }
    jobs::perform(shared, &work).await.map_err(|error| Failure::new("400011", "Bad Request", error))?;
    let site = locked(&shared.site);
    Ok((201, vec![site.datasource_node(site.datasource(&id)?)]))
}

/// Update Data in Hyper.
pub(super) fn update(shared: &Arc<Shared>, id: &str, query: &Query, headers: &HeaderMap, request: &Json) -> Reply {
    let bad = |detail: &str| Failure::new("400000", "Bad Request", detail);
    let request_id = headers.get("requestid").and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    let request_id = request_id.ok_or_else(|| bad("The header RequestID is missing."))?.to_owned();
    {
        let site = locked(&shared.site);
        let found = site.datasource(id)?;
        if found.kind != "hyper" || found.file.is_none() {
            return Err(Failure::new("404008", "Resource Not Found", "The data source is not live to Hyper."));
        }
        // The same request runs once, whatever becomes of it.
        if let Some(job) = site.requests.get(&request_id) {
            let job = site.jobs.iter().find(|known| known.id == *job).ok_or_else(|| bad("The job is gone."))?;
            return Ok((202, vec![site.job_node(job)]));
        }
        if site.jobs.iter().any(|job| job.ended.is_none() && job.work.is_update_of(id)) {
            return Err(Failure::new(
                "409094",
                "Resource Conflict",
                "Another update of the data source is queued or running.",
            ));
        }
    }
    let actions = request.get("actions").and_then(Json::as_array).filter(|actions| !actions.is_empty());
    let actions = actions.ok_or_else(|| bad("The request has no actions."))?.clone();
    let payload = match query.get("uploadSessionId") {
        Some(upload) => {
            let large = locked(&shared.site).uploads.get(upload).is_some_and(|found| found.bytes() > LARGEST_UPDATE);
            let path = take_upload(shared, upload, "payload.hyper")?;
            if large {
                let _ = std::fs::remove_file(path);
                return Err(Failure::new("413000", "Payload Too Large", "The upload is larger than 100 MB."));
            }
            Some(path)
        }
        None => None,
    };
    let job = jobs::start(shared, Work::Update { datasource: id.to_owned(), payload, actions });
    locked(&shared.site).requests.insert(request_id, job.clone());
    Ok((202, vec![shared.job(&job)?]))
}
