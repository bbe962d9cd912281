//! Vendors: found, made, changed.

use serde::Serialize;
use serde_json::json;

use super::Columns;
use crate::client::Client;
use crate::draft::{Draft, RowEdit};
use crate::entities::Vendor;
use crate::entity::EntitySet;
use crate::error::{Error, Result};
use crate::query::{Literal, field};
use crate::service::Service;

const TABLE: &str = "Vendor";

/// Vendors of a company. Made by [`Client::vendors`].
#[derive(Clone, Debug)]
pub struct Vendors {
    client: Client,
}

/// A vendor to be made.
#[derive(Clone, Debug)]
#[must_use = "a vendor is made by Vendors::create"]
pub struct NewVendor {
    vendor_id: String,
    name: String,
    columns: Columns,
}

impl NewVendor {
    /// A vendor by the id that users see and its name. Its number is given by the server.
    pub fn new(vendor_id: impl Into<String>, name: impl Into<String>) -> Self {
        Self { vendor_id: vendor_id.into(), name: name.into(), columns: Columns::default() }
    }

    /// Sets any other column, for example `TermsCode`, `CurrencyCode` or one of your own.
    pub fn column(mut self, column: impl Into<String>, value: impl Serialize) -> Self {
        self.columns.add(column, value);
        self
    }
}

impl Client {
    /// Vendors: found, made, changed.
    pub fn vendors(&self) -> Vendors {
        Vendors { client: self.clone() }
    }
}

impl Vendors {
    fn service(&self) -> Service {
        self.client.service(EntitySet::VENDORS.service())
    }

    /// Reads a vendor by its number.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is none.
    pub async fn get(&self, vendor_num: i32) -> Result<Vendor> {
        let key = [Literal::from(self.client.company()), vendor_num.into()];
        self.client.query::<Vendor>().get(key).await
    }

    /// Finds a vendor by the id that users see. Ids can be given to others, numbers cannot.
    ///
    /// # Errors
    /// As [`Query::send`](crate::Query::send).
    pub async fn find(&self, vendor_id: &str) -> Result<Option<Vendor>> {
        let found = field("VendorID").eq(vendor_id);
        let page = self.client.query::<Vendor>().filter(found).top(2).send::<Vendor>().await?;
        let mut items = page.items.into_iter();
        match (items.next(), items.next()) {
            (found, None) => Ok(found),
            _ => Err(Error::decode("find vendor", "several vendors have this id")
                .with_hint("choose one by its number, in a query of your own")),
        }
    }

    /// The vendor as a draft, to change what this flow does not know, such as its bank accounts or contacts.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is none.
    pub async fn draft(&self, vendor_num: i32) -> Result<Draft> {
        self.service().get_by_id(&json!({ "vendorNum": vendor_num })).await
    }

    /// Makes a vendor: 1. `GetNewVendor`, 2. the columns are set, 3. `Update`. Answers it as saved, with its number.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when there is one with that id,
    /// [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when a rule refused. After
    /// [`Delivery::Unknown`](crate::Delivery::Unknown) it may have been made: look with [`Vendors::find`] before you
    /// try again, since a second one would get another number.
    pub async fn create(&self, vendor: &NewVendor) -> Result<Vendor> {
        let mut draft = self.service().get_new("GetNewVendor", &json!({})).await?;
        let mut row = draft.edit(TABLE, 0)?;
        row.set("VendorID", &vendor.vendor_id)?.set("Name", &vendor.name)?;
        vendor.columns.apply(&mut row)?;
        draft.update().await?;
        draft.row_as(TABLE, 0)
    }

    /// Changes a vendor: 1. `GetByID`, 2. `change` sets columns, 3. `Update` with the row as it was and as it is.
    /// Nothing is sent when nothing changes.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when somebody else changed it in between; call again, which
    /// reads it anew. What `change` returns as an error is returned.
    pub async fn update<F>(&self, vendor_num: i32, change: F) -> Result<Vendor>
    where
        F: FnOnce(&mut RowEdit<'_>) -> Result<()> + Send,
    {
        let mut draft = self.draft(vendor_num).await?;
        change(&mut draft.edit(TABLE, 0)?)?;
        if draft.is_changed() {
            draft.update().await?;
        }
        draft.row_as(TABLE, 0)
    }

    /// Deletes a vendor that nothing refers to.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is none,
    /// [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when something refers to it.
    pub async fn delete(&self, vendor_num: i32) -> Result<()> {
        self.service().delete_by_id(&json!({ "vendorNum": vendor_num })).await
    }
}
