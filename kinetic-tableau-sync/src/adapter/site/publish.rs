//! Publishing whole files.

use tableau_rest::{Datasource, DatasourceId, FileSource, PublishRequest, Published};

use super::failure::failed;
use super::{JobEnd, Site, path};
use crate::destination::{DestinationError, DestinationErrorKind, Staged};
use crate::model::Target;

impl Site {
    /// The extract that rows of a target land in; none when there is nothing yet.
    pub(in crate::adapter) async fn look(&self, target: &Target) -> Result<Option<Datasource>, DestinationError> {
        let Some(found) = self.find(&target.project, &target.datasource).await? else {
            return Ok(None);
        };
        let connections = self.client.datasources().connections(&found.id).await.map_err(failed)?;
        let ours = connections.len() == 1
            && connections
                .iter()
                .all(|connection| connection.kind.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("hyper")));
        if ours {
            return Ok(Some(found));
        }
        // To overwrite it would destroy somebody's connection for good.
        let message = format!(
            "Tableau: '{}' in '{}' is a datasource with a connection of its own, no extract that rows can land in",
            target.datasource, target.project
        );
        Err(DestinationError::new(DestinationErrorKind::Config, message)
            .with_hint("land under another name; to refresh this one after landing, name it in `refresh`"))
    }

    /// Publishes a whole file in place of what is there, and answers the datasource's id and the job.
    pub(in crate::adapter) async fn publish(
        &self,
        target: &Target,
        staged: &Staged,
    ) -> Result<(DatasourceId, Option<String>), DestinationError> {
        let Target { project, datasource } = target;
        let parent = self.client.projects().ensure_path(&path(project)?).await.map_err(failed)?;
        let request = || {
            let file = FileSource::path(&staged.path);
            PublishRequest::new(parent.id.clone(), datasource.as_str(), file).overwrite()
        };
        let job = match self.client.datasources().publish(request().as_job()).await.map_err(failed)? {
            Published::Datasource(published) => return Ok((published.id, None)),
            Published::Job(job) => job,
        };
        let job_id = job.id().to_string();
        match self.end_of(&job, None).await? {
            JobEnd::Succeeded => {}
            // Without leave to ask after jobs, only a publish that answers itself tells how it ended.
            JobEnd::Hidden(_) => {
                if let Published::Datasource(published) =
                    self.client.datasources().publish(request()).await.map_err(failed)?
                {
                    return Ok((published.id, None));
                }
            }
            JobEnd::Failed(note) => {
                return Err(refused(&format!("publishing '{datasource}' failed: {note}")));
            }
        }
        // The job does not name what it has published.
        let published = self.find_in(&parent.id, project, datasource).await?;
        let published = published.ok_or_else(|| {
            let message = format!("Tableau: '{datasource}' was published, but is not listed in '{project}'");
            DestinationError::new(DestinationErrorKind::Unknown, message)
                .with_hint("run again; listings of Tableau lag behind for a while")
        })?;
        Ok((published.id, Some(job_id)))
    }
}

pub(in crate::adapter) fn refused(message: &str) -> DestinationError {
    DestinationError::new(DestinationErrorKind::Rejected, format!("Tableau: {message}"))
        .with_hint("run again: a full load replaces the datasource")
}
