//! Whole pieces of work, each a known sequence of calls: vendors, AP invoices, purchase orders, tasks of the agent.
//!
//! Kinetic has no transaction over several calls. So a flow that fails half way says in its [`FlowError`] at which step,
//! what had been saved by then and what it took back; the sequences themselves are documented step by step, so that
//! they can be done by hand through a [`Draft`](crate::Draft) where a company works differently.

mod ap_invoices;
mod purchase_orders;
mod tasks;
mod unlock;
mod vendors;

use std::fmt;

use serde::Serialize;
use serde_json::value::RawValue;

pub use ap_invoices::{ApInvoices, CreatedApInvoice, NewApInvoice, NewApInvoiceLine};
pub use purchase_orders::{CreatedPurchaseOrder, NewPurchaseOrder, NewPurchaseOrderLine, PurchaseOrders};
pub use tasks::{TaskWatch, Tasks};
pub use vendors::{NewVendor, Vendors};

use crate::draft::{MethodOutputs, RowEdit};
use crate::error::{Delivery, Error, Result};

/// A flow that failed half way.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FlowError {
    /// What failed.
    pub error: Error,
    /// At which step, in the words of the flow's documentation.
    pub step: &'static str,
    /// What had been saved before, in order, for example `invoice header`.
    pub saved: Vec<String>,
    /// Whether what was saved was taken back afterwards.
    pub undone: bool,
    /// What failed while cleaning up, and therefore needs a person: a lock that stayed, a record that was not taken
    /// back.
    pub cleanup: Vec<Error>,
}

impl FlowError {
    /// Whether something of this flow is left in Kinetic, or may be.
    pub fn is_partial(&self) -> bool {
        self.error.delivery() == Delivery::Unknown || (!self.saved.is_empty() && !self.undone)
    }
}

impl fmt::Display for FlowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step '{}' failed: {}", self.step, self.error)?;
        match (self.saved.is_empty(), self.undone) {
            (true, _) => write!(f, "; nothing was saved before")?,
            (false, true) => write!(f, "; saved before and taken back: {}", self.saved.join(", "))?,
            (false, false) => write!(f, "; saved before and still there: {}", self.saved.join(", "))?,
        }
        for error in &self.cleanup {
            write!(f, "; while cleaning up: {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for FlowError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<FlowError> for Error {
    /// What failed, with the step in its message.
    fn from(flow: FlowError) -> Self {
        let told = format!("step '{}': {}", flow.step, flow.error.message());
        flow.error.with_message(told)
    }
}

/// The columns that a caller sets beside those that a flow knows, with the text of their values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns(Vec<(String, Result<Box<RawValue>, String>)>);

impl Columns {
    pub(crate) fn add(&mut self, column: impl Into<String>, value: impl Serialize) {
        let value = serde_json::value::to_raw_value(&value).map_err(|error| crate::raw::describe(&error));
        self.0.push((column.into(), value));
    }

    /// Sets them in a row, each of which it must have.
    pub(crate) fn apply(&self, row: &mut RowEdit<'_>) -> Result<()> {
        for (column, value) in &self.0 {
            let value = value.as_ref().map_err(|why| {
                Error::config("change row", format!("the value for column {column} cannot be written as JSON: {why}"))
            })?;
            row.set(column, value)?;
        }
        Ok(())
    }
}

/// What methods said without failing.
pub(crate) fn collect(notices: &mut Vec<String>, outputs: &MethodOutputs) {
    notices.extend(outputs.messages().into_iter().map(|(_, text)| text.to_owned()));
}
