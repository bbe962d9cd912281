//! Pages, asked for and decoded.

use std::sync::Arc;

use epicor_kinetic::Query;

use super::failed;
use crate::batch::Batch;
use crate::decode::{LinesDecoder, PageDecoder};
use crate::model::Schema;
use crate::source::{SourceError, SourceErrorKind};

/// How often a page that arrived damaged is asked for in all.
const ATTEMPTS: u32 = 3;

/// Asks for pages and decodes them.
#[derive(Debug)]
pub(super) struct Pages {
    schema: Arc<Schema>,
    decoder: Decoder,
}

#[derive(Debug)]
enum Decoder {
    Rows(PageDecoder),
    Lines(Box<LinesDecoder>),
}

/// One page.
#[derive(Debug)]
pub(super) struct Decoded {
    /// The rows by which pages are divided.
    pub(super) rows: Batch,
    /// The lines below them, where those are what is wanted.
    pub(super) lines: Option<Batch>,
}

impl Pages {
    pub(super) fn new(schema: Arc<Schema>) -> Self {
        Self { schema: Arc::clone(&schema), decoder: Decoder::Rows(PageDecoder::new(schema).lenient()) }
    }

    /// Answers the lines below the rows as well.
    pub(super) fn with_lines(&self, lines: LinesDecoder) -> Self {
        Self { schema: Arc::clone(&self.schema), decoder: Decoder::Lines(Box::new(lines)) }
    }

    pub(super) fn has_lines(&self) -> bool {
        matches!(self.decoder, Decoder::Lines(_))
    }

    pub(super) fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The rows of a query, asked for again when they arrived damaged.
    pub(super) async fn decoded(&mut self, query: &Query) -> Result<Decoded, SourceError> {
        let mut attempt = 1;
        loop {
            let body = query.bytes().await.map_err(failed)?;
            let decoded = match &mut self.decoder {
                Decoder::Rows(decoder) => decoder.decode(&body).map(|page| Decoded { rows: page.batch, lines: None }),
                Decoder::Lines(decoder) => {
                    decoder.decode(&body).map(|(rows, lines)| Decoded { rows, lines: Some(lines) })
                }
            };
            let error = match decoded {
                Ok(decoded) => return Ok(decoded),
                Err(error) => error,
            };
            if error.is_damage() && attempt < ATTEMPTS {
                attempt += 1;
                continue;
            }
            let (kind, hint) = if error.is_damage() {
                let hint = "the page arrived damaged again and again; check what stands between here and Kinetic";
                (SourceErrorKind::Unavailable, Some(hint.to_owned()))
            } else {
                (SourceErrorKind::Decode, error.hint())
            };
            let failure = SourceError::new(kind, format!("Kinetic: {error}")).with_cause(error);
            return Err(match hint {
                Some(hint) => failure.with_hint(hint),
                None => failure,
            });
        }
    }
}
