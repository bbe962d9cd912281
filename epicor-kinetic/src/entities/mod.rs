//! Typed rows of the common entity sets.
//!
//! Columns as in the schema of a live tenant (observed). Key columns must be there; all others are `None` when they were
//! not asked for or are null, since columns differ between releases. What has no field of its own, columns that end in
//! `_c` among it, is kept in `extra` with the text it came in.
//!
//! ```no_run
//! # async fn demo(client: epicor_kinetic::Client) -> epicor_kinetic::Result<()> {
//! use epicor_kinetic::entities::Vendor;
//! use epicor_kinetic::field;
//! let page = client.query::<Vendor>().filter(field("Inactive").eq(false)).send::<Vendor>().await?;
//! for vendor in page.items {
//!     println!("{} {}", vendor.vendor_num, vendor.name.as_deref().unwrap_or_default());
//! }
//! # Ok(())
//! # }
//! ```

mod ap_invoice;
mod customer;
mod general_ledger;
mod part;
mod payment;
mod purchase_order;
mod task;
mod vendor;

#[cfg(test)]
mod tests;

use serde::de::DeserializeOwned;

pub use ap_invoice::{ApInvoice, ApInvoiceGroup, ApInvoiceLine};
pub use customer::Customer;
pub use general_ledger::{GlAccount, GlJournalDetail};
pub use part::Part;
pub use payment::{ApTransaction, Payment};
pub use purchase_order::{PurchaseOrder, PurchaseOrderDetail, PurchaseOrderRelease};
pub use task::{SysTask, TaskStatus};
pub use vendor::Vendor;

use crate::client::Client;
use crate::entity::EntitySet;
use crate::query::Query;

/// A row type that knows its entity set and its columns. Implement it for types of your own to use them with
/// [`Client::query`].
pub trait Entity: DeserializeOwned {
    /// Where the rows are.
    const SET: EntitySet;
    /// The columns to ask for; none means all that the server has.
    const COLUMNS: &'static [&'static str];
}

impl Client {
    /// Begins a query of the rows of this type: its set, with its columns selected. Add columns of your own with
    /// [`Query::also_select`]; they arrive in `extra`.
    pub fn query<E: Entity>(&self) -> Query {
        self.entity_set(E::SET).select(E::COLUMNS.iter().copied())
    }
}

/// Writes a row type with its reading and writing, so that numbers never pass through a value tree.
macro_rules! rows {
    ($(
        $(#[$doc:meta])*
        $name:ident of $set:ident {
            keys { $($key:ident: $key_type:ty = $key_column:literal,)+ }
            columns { $($(#[$field_doc:meta])* $field:ident: $field_type:ty = $column:literal,)* }
            $(children { $($(#[$child_doc:meta])* $child:ident: $child_type:ty = $property:literal,)+ })?
        }
    )+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            $(#[doc = concat!("Key column `", $key_column, "`.")] pub $key: $key_type,)+
            $(#[doc = concat!("Column `", $column, "`.")] $(#[$field_doc])* pub $field: Option<$field_type>,)*
            $($(#[doc = concat!("What `", $property, "` brings when it is expanded.")] $(#[$child_doc])* pub $child: Vec<$child_type>,)+)?
            /// All columns without a field of their own, with the text they came in.
            pub extra: crate::draft::Row,
        }

        impl super::Entity for $name {
            const SET: crate::entity::EntitySet = crate::entity::EntitySet::$set;
            const COLUMNS: &'static [&'static str] = &[$($key_column,)+ $($column,)*];
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Columns;
                impl<'de> serde::de::Visitor<'de> for Columns {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("a row of ", stringify!($name)))
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        $(let mut $key: Option<$key_type> = None;)+
                        $(let mut $field: Option<$field_type> = None;)*
                        $($(let mut $child: Option<Vec<$child_type>> = None;)+)?
                        let mut extra = crate::draft::Row::new();
                        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                            match name.as_ref() {
                                $($key_column => $key = Some(map.next_value()?),)+
                                $($column => $field = map.next_value()?,)*
                                $($($property => $child = map.next_value()?,)+)?
                                // Notes about the row, no columns of it.
                                other if other.starts_with('@') || other.contains("@odata.") => {
                                    map.next_value::<serde::de::IgnoredAny>()?;
                                }
                                other => extra.push_raw(other, map.next_value()?),
                            }
                        }
                        let missing = <A::Error as serde::de::Error>::missing_field;
                        Ok($name {
                            $($key: $key.ok_or_else(|| missing($key_column))?,)+
                            $($field,)*
                            $($($child: $child.unwrap_or_default(),)+)?
                            extra,
                        })
                    }
                }
                deserializer.deserialize_map(Columns)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap;
                let mut map = serializer.serialize_map(None)?;
                $(map.serialize_entry($key_column, &self.$key)?;)+
                $(if let Some(value) = &self.$field {
                    map.serialize_entry($column, value)?;
                })*
                $($(if !self.$child.is_empty() {
                    map.serialize_entry($property, &self.$child)?;
                })+)?
                for (name, value) in self.extra.raw_columns() {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    )+};
}
pub(crate) use rows;
