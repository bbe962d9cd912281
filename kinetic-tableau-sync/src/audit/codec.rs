//! Segments as bytes: what is stored, and what the hash chain covers.
//!
//! A magic, a small JSON head, then the columns one after the other, little endian. Columns without content take one byte.

use serde::{Deserialize, Serialize};

use super::{Action, AuditSegment, Records};
use crate::batch::TextColumn;
use crate::model::{DatasetId, RunId};

const MAGIC: &[u8; 4] = b"KTA1";

#[derive(Serialize, Deserialize)]
struct Head {
    dataset: DatasetId,
    run: RunId,
    at: chrono::DateTime<chrono::Utc>,
    company: String,
    project: String,
    datasource: String,
    request_id: String,
    dimension_names: Vec<String>,
    records: u32,
}

/// The bytes of a segment; none when it is larger than the format allows (4 billion records, 4 GiB of one text column).
pub(crate) fn encode(segment: &AuditSegment) -> Option<Vec<u8>> {
    let records = &segment.records;
    let head = Head {
        dataset: segment.dataset.clone(),
        run: segment.run.clone(),
        at: segment.at,
        company: segment.company.clone(),
        project: segment.project.clone(),
        datasource: segment.datasource.clone(),
        request_id: segment.request_id.clone(),
        dimension_names: segment.dimension_names.clone(),
        records: u32::try_from(records.len()).ok()?,
    };
    let head = serde_json::to_vec(&head).ok()?;
    let mut out = Vec::with_capacity(records.len() * 80 + head.len() + 64);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&u32::try_from(head.len()).ok()?.to_le_bytes());
    out.extend_from_slice(&head);
    out.extend(records.actions.iter().map(|action| action.code()));
    let has_versions = records.versions.iter().any(|version| *version != 0);
    out.push(u8::from(has_versions));
    if has_versions {
        records.versions.iter().for_each(|version| out.extend_from_slice(&version.to_le_bytes()));
    }
    records.hashes.iter().for_each(|hash| out.extend_from_slice(&hash.to_le_bytes()));
    for texts in
        [&records.keys, &records.row_ids, &records.stamps, &records.reasons].into_iter().chain(&records.dimensions)
    {
        write_texts(&mut out, texts)?;
    }
    Some(out)
}

fn write_texts(out: &mut Vec<u8>, texts: &TextColumn) -> Option<()> {
    out.push(u8::from(texts.byte_len() > 0));
    if texts.byte_len() > 0 {
        for row in 0..texts.len() {
            let text = texts.bytes_at(row);
            out.extend_from_slice(&u32::try_from(text.len()).ok()?.to_le_bytes());
            out.extend_from_slice(text);
        }
    }
    Some(())
}

/// The segment of bytes; none when they are not what [`encode`] writes.
pub(crate) fn decode(bytes: &[u8]) -> Option<AuditSegment> {
    let mut reader = Reader(bytes);
    if reader.take(MAGIC.len())? != MAGIC {
        return None;
    }
    let length = reader.length()?;
    let head: Head = serde_json::from_slice(reader.take(length)?).ok()?;
    let count = usize::try_from(head.records).ok()?;
    let actions = reader.take(count)?.iter().map(|&code| Action::from_code(code)).collect::<Option<Vec<_>>>()?;
    let versions = if reader.flag()? { reader.numbers(count, i64::from_le_bytes)? } else { vec![0; count] };
    let hashes = reader.numbers(count, u128::from_le_bytes)?;
    let mut records = Records {
        actions,
        versions,
        hashes,
        keys: reader.texts(count)?,
        row_ids: reader.texts(count)?,
        stamps: reader.texts(count)?,
        reasons: reader.texts(count)?,
        dimensions: Vec::new(),
    };
    for _ in &head.dimension_names {
        records.dimensions.push(reader.texts(count)?);
    }
    if !reader.0.is_empty() {
        return None;
    }
    Some(AuditSegment {
        dataset: head.dataset,
        run: head.run,
        at: head.at,
        company: head.company,
        project: head.project,
        datasource: head.datasource,
        request_id: head.request_id,
        dimension_names: head.dimension_names,
        records,
    })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn length(&mut self) -> Option<usize> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        usize::try_from(u32::from_le_bytes(*bytes)).ok()
    }

    fn flag(&mut self) -> Option<bool> {
        match self.take(1)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    fn numbers<T, const N: usize>(&mut self, count: usize, number: impl Fn([u8; N]) -> T) -> Option<Vec<T>> {
        let (chunks, _) = self.take(count.checked_mul(N)?)?.as_chunks::<N>();
        Some(chunks.iter().map(|chunk| number(*chunk)).collect())
    }

    fn texts(&mut self, count: usize) -> Option<TextColumn> {
        let filled = self.flag()?;
        let mut texts = TextColumn::default();
        for _ in 0..count {
            let text = if filled {
                let length = self.length()?;
                std::str::from_utf8(self.take(length)?).ok()?
            } else {
                ""
            };
            texts.push(text).ok()?;
        }
        Some(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(rows: usize) -> AuditSegment {
        let mut records = Records::with_dimensions(1);
        for row in 0..rows {
            let action = if row % 2 == 0 { Action::Insert } else { Action::Reject };
            let reason = if row % 2 == 0 { "" } else { "größer" };
            let key = format!("[\"E1\",{row}]");
            records
                .push(
                    action,
                    &key,
                    2_226_299_042 + i64::try_from(row).unwrap(),
                    "id",
                    "",
                    u128::MAX - row as u128,
                    reason,
                )
                .unwrap();
            records.dimensions[0].push(&"x".repeat(row % 3)).unwrap();
        }
        AuditSegment {
            dataset: "ap".into(),
            run: RunId::new("r"),
            at: "2026-11-23T10:00:00Z".parse().unwrap(),
            company: "E1".to_owned(),
            project: "Finance".to_owned(),
            datasource: "AP".to_owned(),
            request_id: "q".to_owned(),
            dimension_names: vec!["D".to_owned()],
            records,
        }
    }

    #[test]
    fn a_segment_comes_back_as_it_was() {
        for rows in [0, 1, 7] {
            assert_eq!(decode(&encode(&segment(rows)).unwrap()).unwrap(), segment(rows));
        }
    }

    #[test]
    fn a_record_takes_no_more_than_a_hundred_bytes() {
        let bytes = encode(&segment(1_000)).unwrap().len();
        assert!(bytes < 100_000, "{bytes}");
    }

    #[test]
    fn cut_or_prolonged_bytes_are_refused() {
        let bytes = encode(&segment(3)).unwrap();
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_none(), "cut at {length}");
        }
        assert!(decode(&[&bytes[..], b"\0"].concat()).is_none());
    }

    proptest::proptest! {
        #[test]
        fn whatever_the_bytes_are_nothing_panics(bytes: Vec<u8>) {
            let _ = decode(&[&MAGIC[..], &bytes].concat());
        }

        #[test]
        fn a_flipped_byte_never_panics(at in 0_usize..300, flip in 1_u8..) {
            let mut bytes = encode(&segment(3)).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            let _ = decode(&bytes);
        }
    }
}
