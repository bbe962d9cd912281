//! Publishing a file as a datasource (Tableau REST API reference, Publish Data Source).

use std::time::Duration;

use super::{Datasource, Datasources};
use crate::call::{Answer, Call};
use crate::error::{Delivery, Error, ErrorKind, Fate, Result};
use crate::filter::Filter;
use crate::ids::{ProjectId, UploadId};
use crate::jobs::JobHandle;
use crate::multipart::{self, FilePart};
use crate::source::{FileSource, FileType};
use crate::uploads::{self, Listener, Progress, Uploaded};
use crate::xml::escape;

/// How long to wait before each look for a datasource whose publish was not answered.
const LOOKS: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// What is to be published, and where.
#[derive(Clone, Debug)]
#[must_use]
pub struct PublishRequest {
    project: ProjectId,
    name: String,
    file: File,
    description: Option<String>,
    mode: Mode,
    as_job: bool,
    listener: Listener,
}

#[derive(Clone, Debug)]
enum File {
    Source(FileSource),
    Uploaded(Uploaded, FileType),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Create,
    Overwrite,
    Append,
}

impl PublishRequest {
    /// Publishes `file` under a name in a project. A datasource of that name there is an error, unless it is to be overwritten.
    pub fn new(project: ProjectId, name: impl Into<String>, file: FileSource) -> Self {
        Self::of(project, name.into(), File::Source(file))
    }

    /// Publishes what was uploaded before; see [`Uploads`](crate::Uploads). An upload is used up by the attempt.
    pub fn uploaded(project: ProjectId, name: impl Into<String>, kind: FileType, upload: Uploaded) -> Self {
        Self::of(project, name.into(), File::Uploaded(upload, kind))
    }

    fn of(project: ProjectId, name: String, file: File) -> Self {
        let listener = Listener::default();
        Self { project, name, file, description: None, mode: Mode::Create, as_job: false, listener }
    }

    /// Replaces a datasource of the same name in the project; its id stays. Repeating such a publish has no second effect.
    pub fn overwrite(mut self) -> Self {
        self.mode = Mode::Overwrite;
        self
    }

    /// Appends the rows to a datasource of the same name in the project, which must be an extract of one table with the same
    /// columns. Not repeated when an answer was lost, since the rows could be there twice.
    pub fn append(mut self) -> Self {
        self.mode = Mode::Append;
        self
    }

    /// Calls `listener` as the file goes up, for each block and at the end.
    pub fn on_progress(mut self, listener: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.listener = Listener::new(listener);
        self
    }

    /// Lets the server work on it as a job, instead of keeping the answer back until it is done. Gateways give up on long answers.
    pub fn as_job(mut self) -> Self {
        self.as_job = true;
        self
    }

    /// A description for people.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    fn payload(&self) -> String {
        let description =
            self.description.as_deref().map_or_else(String::new, |text| format!(" description=\"{}\"", escape(text)));
        format!(
            "<tsRequest><datasource name=\"{}\"{description}><project id=\"{}\"/></datasource></tsRequest>",
            escape(&self.name),
            escape(self.project.as_str())
        )
    }
}

/// What became of a publish.
#[derive(Clone, Debug)]
pub enum Published {
    /// It is done.
    Datasource(Box<Datasource>),
    /// It goes on as this job. When it has ended, find the datasource by name and project: the job does not name it.
    Job(JobHandle),
}

impl Datasources {
    /// Publishes a file: in one request when it is no larger than the client's chunk size, else in blocks. At most one block is in
    /// memory at a time.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`](crate::ErrorKind::Forbidden) when the name is taken and not to be overwritten, or the user may not
    /// publish there (403007 stands for both), [`ErrorKind::File`](crate::ErrorKind::File) when the file cannot be read, and
    /// everything that can go wrong between here and the server; [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists)
    /// when a datasource of the name is seen before anything is sent.
    ///
    /// An answer that gets lost: with [`overwrite`](PublishRequest::overwrite) the publish is repeated. A new datasource is looked
    /// for instead, by name, project and owner, and is the answer when it is there now (even where a job was asked for). Where it
    /// is not found, and with [`append`](PublishRequest::append), the error has delivery [`Unknown`](crate::Delivery::Unknown): it
    /// may have been published.
    pub async fn publish(&self, request: PublishRequest) -> Result<Published> {
        const OPERATION: &str = "publish datasource";
        if request.name.trim().is_empty() || request.name.chars().count() > 255 {
            return Err(Error::config(OPERATION, "the name is empty or longer than 255 characters"));
        }
        if let File::Source(file) = &request.file {
            file.kind(OPERATION)?;
            if file.size().await? == 0 {
                return Err(Error::config(OPERATION, "the file is empty; finish writing it before it is published"));
            }
        }
        if request.mode != Mode::Create {
            return self.publish_now(&request).await;
        }
        // Who may publish may not always list; then it goes without.
        let before = self.seen(&request.project, &request.name).await;
        if before.as_ref().is_ok_and(|found| !found.is_empty()) {
            let message = "the project has a datasource of this name already";
            return Err(Error::new(ErrorKind::AlreadyExists, Delivery::NotSent, OPERATION, message)
                .with_hint("overwrite it or append to it, if that is meant, or choose another name")
                .with_fate(Fate::Final));
        }
        match self.publish_now(&request).await {
            Err(error) if before.is_ok() && error.delivery() == Delivery::Unknown => {
                self.find_published(&request).await.map(|found| Published::Datasource(Box::new(found))).ok_or(error)
            }
            ended => ended,
        }
    }

    /// What a filter finds of a name in a project. Listings lag behind, and filters regard case: nothing found proves nothing.
    async fn seen(&self, project: &ProjectId, name: &str) -> Result<Vec<Datasource>> {
        let listing = self.list();
        let listing = if Filter::can_hold(name) { listing.filter(Filter::equal("name", name)?) } else { listing };
        let mut found = listing.all().await?;
        found.retain(|found| found.name == name && found.project.as_ref().is_some_and(|of| of.id == *project));
        Ok(found)
    }

    /// Looks for the new datasource after the answer to its publish was lost. It was not there before.
    async fn find_published(&self, request: &PublishRequest) -> Option<Datasource> {
        let me = self.client.session().await.ok()?.user_id;
        for pause in LOOKS {
            tokio::time::sleep(pause).await;
            let found = self.seen(&request.project, &request.name).await.unwrap_or_default();
            let mut ours = found.into_iter().filter(|found| found.owner.as_ref().is_none_or(|owner| owner.id == me));
            if let (Some(found), None) = (ours.next(), ours.next()) {
                return Some(found);
            }
        }
        None
    }

    async fn publish_now(&self, request: &PublishRequest) -> Result<Published> {
        const OPERATION: &str = "publish datasource";
        let payload = request.payload();
        let repeatable = request.mode == Mode::Overwrite;
        let mut call = Call::post(OPERATION, &["datasources"])?.idempotent(repeatable).long();
        let flags = [("overwrite", repeatable), ("append", request.mode == Mode::Append), ("asJob", request.as_job)];
        for (name, wanted) in flags {
            if wanted {
                call = call.query(name, "true");
            }
        }
        let client = &self.client;
        let file = match &request.file {
            File::Source(file) => file,
            File::Uploaded(upload, kind) => {
                // The first attempt uses the upload up, so that there is nothing to repeat.
                let commit = commit_of(call.idempotent(false), &upload.id, kind.extension(), &payload).await?;
                return self.published(&client.run(&commit).await?, request.as_job);
            }
        };
        let kind = file.kind(OPERATION)?.extension();
        let size = file.size().await?;
        if size == 0 {
            return Err(Error::config(OPERATION, "the file is empty; finish writing it before it is published"));
        }
        let answer = match usize::try_from(size).ok().filter(|&size| size <= client.shared.chunk_size) {
            Some(length) => {
                let file_name = format!("datasource.{kind}");
                let mut reader = file.open().await?;
                reader.expect_size(size).await?;
                let mut digest = request.listener.running();
                let part = FilePart {
                    name: "tableau_datasource",
                    file_name: &file_name,
                    reader: &mut reader,
                    offset: 0,
                    length,
                    digest: &mut digest,
                };
                let body = multipart::assemble(&payload, Some(part)).await?;
                request.listener.tell(0, size, &digest);
                let answer = client.run(&call.body(body.kind, body.body)).await?;
                request.listener.tell(size, size, &digest);
                answer
            }
            None => self.commit(call, file, size, kind, &payload, &request.listener).await?,
        };
        self.published(&answer, request.as_job)
    }

    /// Uploads the file and publishes the upload. An upload is used up by the attempt that commits it, so each attempt of ours has
    /// one of its own.
    async fn commit(
        &self,
        call: Call,
        file: &FileSource,
        size: u64,
        kind: &str,
        payload: &str,
        listener: &Listener,
    ) -> Result<Answer> {
        let repeatable = call.idempotent;
        let call = call.idempotent(false);
        let (mut attempt, mut lost) = (1, false);
        loop {
            let id = uploads::upload(&self.client, &call.operation, file, size, listener).await;
            let id = id.map_err(|error| error.after_lost(lost))?;
            let commit = commit_of(call.clone(), &id, kind, payload).await?;
            match self.client.run(&commit).await {
                Err(error) if uploads::may_begin_anew(&error, repeatable, attempt) => {
                    attempt += 1;
                    lost |= error.delivery() == Delivery::Unknown;
                }
                ended => return ended.map_err(|error| error.after_lost(lost)),
            }
        }
    }

    fn published(&self, answer: &Answer, as_job: bool) -> Result<Published> {
        if as_job && let Ok(job) = JobHandle::of_answer(&self.client, answer) {
            return Ok(Published::Job(job));
        }
        answer.member("datasource").map(|found| Published::Datasource(Box::new(found)))
    }
}

/// The request that publishes an upload.
async fn commit_of(call: Call, id: &UploadId, kind: &str, payload: &str) -> Result<Call> {
    let body = multipart::assemble(payload, None).await?;
    Ok(call.query("uploadSessionId", id.as_str()).query("datasourceType", kind).body(body.kind, body.body))
}
