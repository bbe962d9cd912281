//! `[staging]`: the database of datasets with `deliver = "postgres"`.

use std::path::PathBuf;

use kinetic_tableau_sync::Deletes;

use super::document::Section;
use super::secret::SecretRef;
use super::state::{PostgresAddress, address};
use crate::failure::Outcome;

/// `[staging]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Staging {
    pub(crate) address: PostgresAddress,
    pub(crate) schema: Option<String>,
    pub(crate) deletes: Deletes,
    pub(crate) ca_file: Option<PathBuf>,
}

impl Staging {
    pub(super) fn read(root: &Section<'_>) -> Outcome<Option<Self>> {
        let Some(section) = root.section("staging", &["url", "password", "schema", "deletes", "ca_file"])? else {
            return Ok(None);
        };
        let address = if section.value("url").is_some_and(|value| value.get_ref().as_table().is_some()) {
            if section.value("password").is_some() {
                return Err(section
                    .bad("password", "the connection string that `url` refers to has the password in it")
                    .next("leave `password` out"));
            }
            PostgresAddress::Secret(section.secret("url")?)
        } else {
            let text = section.text("url", "url = \"postgres://USER@HOST/DATABASE\", or { env = \"NAME\" }")?;
            address(&section, "url", text)?
        };
        let deletes = match section.optional_text("deletes")? {
            None | Some("hard") => Deletes::Hard,
            Some("soft") => Deletes::Soft,
            Some(other) => {
                return Err(section
                    .bad("deletes", &format!("'{other}' is no way to delete"))
                    .next("use \"hard\", or \"soft\" to keep rows and mark them in the column _deleted_at"));
            }
        };
        Ok(Some(Self {
            address,
            schema: section.optional_text("schema")?.map(str::to_owned),
            deletes,
            ca_file: section.optional_text("ca_file")?.map(|path| section.document().resolve(path)),
        }))
    }

    /// The secret in it, by reference.
    pub(crate) fn secret(&self) -> Option<&SecretRef> {
        self.address.secret()
    }
}
