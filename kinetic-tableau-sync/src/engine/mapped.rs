//! A dataset as its source offers it now.

use std::sync::Arc;

use super::{Cause, Stage, SyncError};
use crate::mapping::{Drift, Mapper, adjust};
use crate::model::{DatasetSpec, Schema};
use crate::source::Source;

/// Adjusts a dataset to the columns that its source has, and resolves its mapping. `landed` is what has landed last.
pub(super) async fn mapped(
    source: &dyn Source,
    dataset: &DatasetSpec,
    landed: Option<&Schema>,
) -> Result<(DatasetSpec, Arc<Mapper>), Cause> {
    let refused = |message, hint| Cause::Mapping { message, hint };
    let (mut spec, mut empty) = (dataset.clone(), Vec::new());
    if dataset.drift != Drift::default() {
        let Some(offered) = source.offered(dataset).await? else {
            let message = "this source does not tell which columns it offers".to_owned();
            return Err(refused(message, Some("leave `drift` out".to_owned())));
        };
        let drifted = adjust(dataset, &offered, landed).map_err(|message| refused(message, None))?;
        empty = drifted.empty_columns().collect();
        spec = drifted.spec;
    }
    let schema = source.schema(&spec).await?;
    let mapper = Mapper::new(&spec.mapping, schema, empty);
    let mapper = mapper.map_err(|error| refused(error.message, error.hint))?;
    Ok((spec, Arc::new(mapper)))
}

/// The columns with which a dataset would land, were it synced for the first time now. Changes nothing.
///
/// # Errors
/// When the source cannot be reached, or dataset, mapping and source do not fit each other.
pub async fn landing_schema(source: &dyn Source, dataset: &DatasetSpec) -> Result<Schema, SyncError> {
    let fitted = mapped(source, dataset, None).await;
    let (_, mapper) = fitted.map_err(|cause| SyncError::new(&dataset.id, None, Stage::Schema, cause))?;
    Ok(Schema::clone(mapper.land()))
}
