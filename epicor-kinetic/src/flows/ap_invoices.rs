//! AP invoices: entered into a group, header first, then line by line.

use chrono::NaiveDate;
use serde::Serialize;
use serde_json::json;

use super::unlock::GroupLock;
use super::{Columns, FlowError, collect};
use crate::client::Client;
use crate::draft::{Draft, UpdateMaster};
use crate::entities::ApInvoice;
use crate::entity::EntitySet;
use crate::error::{Error, ErrorKind, Result};
use crate::query::Literal;
use crate::service::Service;
use crate::value::{Decimal, ServerTime};

const HEADER: &str = "APInvHed";
const LINE: &str = "APInvDtl";
const GROUP: &str = "APInvGrp";

/// AP invoices of a company. Made by [`Client::ap_invoices`].
#[derive(Clone, Debug)]
pub struct ApInvoices {
    client: Client,
}

/// An AP invoice to be entered.
#[derive(Clone, Debug)]
#[must_use = "an invoice is entered by ApInvoices::create"]
pub struct NewApInvoice {
    group_id: String,
    vendor_id: String,
    invoice_num: String,
    date: NaiveDate,
    amount: Decimal,
    columns: Columns,
    lines: Vec<NewApInvoiceLine>,
    suppress_prompts: bool,
    keep_partial: bool,
}

/// A line of an AP invoice to be entered, without a purchase order behind it.
#[derive(Clone, Debug)]
#[must_use = "a line belongs to a NewApInvoice"]
pub struct NewApInvoiceLine {
    description: String,
    quantity: Decimal,
    unit_cost: Decimal,
    columns: Columns,
}

/// An AP invoice that was entered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreatedApInvoice {
    /// The group that it is in; not posted yet.
    pub group_id: String,
    /// The vendor's number.
    pub vendor_num: i32,
    /// The number of the invoice, as the server keeps it.
    pub invoice_num: String,
    /// The numbers of its lines, in the order they were given.
    pub lines: Vec<i32>,
    /// What all invoices of the group come to, when the server said.
    pub group_total: Option<Decimal>,
    /// What the server said on the way without failing; a screen would have shown it.
    pub notices: Vec<String>,
}

impl NewApInvoice {
    /// An invoice of a vendor (by `VendorID`) over an amount in its currency, to be entered into a group. Ids of groups
    /// have at most 9 characters, numbers of invoices 50.
    pub fn new(
        group_id: impl Into<String>,
        vendor_id: impl Into<String>,
        invoice_num: impl Into<String>,
        date: NaiveDate,
        amount: impl Into<Decimal>,
    ) -> Self {
        Self {
            group_id: group_id.into(),
            vendor_id: vendor_id.into(),
            invoice_num: invoice_num.into(),
            date,
            amount: amount.into(),
            columns: Columns::default(),
            lines: Vec::new(),
            suppress_prompts: false,
            keep_partial: false,
        }
    }

    /// Sets any other column of the header, for example `TermsCode` or `Description`.
    pub fn column(mut self, column: impl Into<String>, value: impl Serialize) -> Self {
        self.columns.add(column, value);
        self
    }

    /// Adds a line.
    pub fn line(mut self, line: NewApInvoiceLine) -> Self {
        self.lines.push(line);
        self
    }

    /// Whether the server answers its own questions instead of refusing to save (`suppressUserPrompts`). No unless set.
    pub fn suppress_user_prompts(mut self, suppress: bool) -> Self {
        self.suppress_prompts = suppress;
        self
    }

    /// Whether an invoice stays in its group when one of its lines is refused. It is taken back unless set.
    pub fn keep_partial(mut self, keep: bool) -> Self {
        self.keep_partial = keep;
        self
    }

    fn check(&self) -> Result<()> {
        let refuse = |why: &str| Err(Error::config("enter AP invoice", why.to_owned()));
        match () {
            () if self.group_id.is_empty() || self.group_id.chars().count() > 9 => {
                refuse("the id of a group has 1 to 9 characters; choose another")
            }
            () if self.vendor_id.is_empty() => refuse("the vendor is missing; give its VendorID"),
            () if self.invoice_num.is_empty() || self.invoice_num.chars().count() > 50 => {
                refuse("the number of an invoice has 1 to 50 characters; two cut numbers could be the same")
            }
            () => Ok(()),
        }
    }
}

impl NewApInvoiceLine {
    /// A line over a quantity at a cost each, in the currency of the invoice.
    pub fn new(description: impl Into<String>, quantity: impl Into<Decimal>, unit_cost: impl Into<Decimal>) -> Self {
        Self {
            description: description.into(),
            quantity: quantity.into(),
            unit_cost: unit_cost.into(),
            columns: Columns::default(),
        }
    }

    /// Sets any other column of the line, for example `PartNum`.
    pub fn column(mut self, column: impl Into<String>, value: impl Serialize) -> Self {
        self.columns.add(column, value);
        self
    }
}

impl Client {
    /// AP invoices: found, entered into groups.
    pub fn ap_invoices(&self) -> ApInvoices {
        ApInvoices { client: self.clone() }
    }
}

/// How far it has come.
struct Progress {
    step: &'static str,
    saved: Vec<String>,
    /// Vendor and number, once the header is ours for certain.
    header: Option<(i32, String)>,
}

impl ApInvoices {
    fn service(&self) -> Service {
        self.client.service(EntitySet::AP_INVOICES.service())
    }

    fn groups(&self) -> Service {
        self.client.service(EntitySet::AP_INVOICE_GROUPS.service())
    }

    /// Reads an invoice with its lines, by the vendor's number and the invoice's.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none.
    pub async fn get(&self, vendor_num: i32, invoice_num: &str) -> Result<ApInvoice> {
        let key = [Literal::from(self.client.company()), vendor_num.into(), invoice_num.into()];
        self.client.query::<ApInvoice>().expand("APInvDtls").get(key).await
    }

    /// The invoice as a draft, to change what this flow does not know.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none.
    pub async fn draft(&self, vendor_num: i32, invoice_num: &str) -> Result<Draft> {
        self.service().get_by_id(&json!({ "vendorNum": vendor_num, "invoiceNum": invoice_num })).await
    }

    /// Unlocks a group, for example one that a broken program has left locked.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when somebody else holds it.
    pub async fn unlock_group(&self, group_id: &str) -> Result<()> {
        self.groups().read("UnlockGroup", &json!({ "InGroupID": group_id })).await.map(drop)
    }

    /// Enters an invoice; it is not posted. Each step is a call and a transaction of its own:
    ///
    /// 1. `find or make group`: `APInvGrp.GetByID`, and if there is none `GetNewAPInvGrpNoLock` and `Update`
    /// 2. `lock group`: `LockAPGroup`, so that nobody posts or changes it meanwhile
    /// 3. `make header`: `GetNewAPInvHedInvoice`, `ChangeVendorID`, `ChangeInvoiceDateEx`, `ChangeInvoiceVendorAmt`
    /// 4. `save header`: `Update`
    /// 5. `make line`, `save line`, for each line: `GetNewAPInvDtlMiscellaneous`, then `UpdateMaster`
    /// 6. `unlock group`: `UnlockGroup`, always, also after an error and when the future is dropped
    ///
    /// # Errors
    /// A [`FlowError`] with the step. When a line was refused, the invoice is taken back by `DeleteByID` unless
    /// [`NewApInvoice::keep_partial`] says otherwise; never when it is not certain that it is ours. A group that was
    /// made stays, as it does no harm. [`ErrorKind::Conflict`] when the vendor has an invoice of that number.
    pub async fn create(&self, invoice: &NewApInvoice) -> Result<CreatedApInvoice, Box<FlowError>> {
        let mut progress = Progress { step: "check", saved: Vec::new(), header: None };
        let failed = |progress: Progress, error: Error| {
            Box::new(FlowError {
                error,
                step: progress.step,
                saved: progress.saved,
                undone: false,
                cleanup: Vec::new(),
            })
        };
        if let Err(error) = invoice.check() {
            return Err(failed(progress, error));
        }
        progress.step = "find or make group";
        if let Err(error) = self.ensure_group(&invoice.group_id).await {
            return Err(failed(progress, error));
        }
        progress.step = "lock group";
        let lock = match GroupLock::take(&self.client, &invoice.group_id).await {
            Ok(lock) => lock,
            Err(error) => return Err(failed(progress, error)),
        };
        let entered = self.enter(invoice, &mut progress).await;
        let undo = match (&entered, &progress.header) {
            (Err(_), Some((vendor, number))) if !invoice.keep_partial => {
                let keys = json!({ "vendorNum": vendor, "invoiceNum": number });
                Some(self.service().delete_by_id(&keys).await)
            }
            _ => None,
        };
        let released = lock.release().await;
        match entered {
            Ok(created) => match released {
                Ok(()) => Ok(created),
                Err(error) => {
                    progress.step = "unlock group";
                    Err(failed(progress, error))
                }
            },
            Err(error) => {
                let mut failure = failed(progress, error);
                match undo {
                    Some(Ok(())) => failure.undone = true,
                    Some(Err(error)) => failure.cleanup.push(error),
                    None => {}
                }
                failure.cleanup.extend(released.err());
                Err(failure)
            }
        }
    }

    async fn ensure_group(&self, group_id: &str) -> Result<()> {
        match self.groups().get_by_id(&json!({ "groupID": group_id })).await {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut draft = self.groups().get_new("GetNewAPInvGrpNoLock", &json!({})).await?;
        draft.edit(GROUP, 0)?.set("GroupID", group_id)?;
        match draft.update().await {
            // Somebody else made it in between, which is as good.
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            other => other,
        }
    }

    async fn enter(&self, invoice: &NewApInvoice, progress: &mut Progress) -> Result<CreatedApInvoice> {
        let mut notices = Vec::new();
        progress.step = "make header";
        let mut draft = self.header(invoice, &mut notices).await?;
        progress.step = "save header";
        draft.update().await?;
        let vendor_num: i32 = draft.row(HEADER, 0)?.get("VendorNum")?;
        let invoice_num: String = draft.row(HEADER, 0)?.get("InvoiceNum")?;
        progress.saved.push("invoice header".to_owned());
        progress.header = Some((vendor_num, invoice_num.clone()));
        let (mut lines, mut group_total) = (Vec::new(), None);
        for (nth, line) in invoice.lines.iter().enumerate() {
            progress.step = "make line";
            let before: Vec<i32> = numbers(&draft)?;
            let parameters = json!({ "iVendorNum": vendor_num, "cInvoiceNum": invoice_num });
            collect(&mut notices, &draft.get_new("GetNewAPInvDtlMiscellaneous", &parameters).await?);
            let at = draft.rows(LINE).position(|row| row.row_mod() == crate::RowMod::Added);
            let at = at.ok_or_else(|| Error::decode("enter AP invoice", "the server added no line"))?;
            let mut row = draft.edit(LINE, at)?;
            row.insert("DocUnitCost", &line.unit_cost)?
                .insert("ScrVendorQty", &line.quantity)?
                .insert("Description", &line.description)?;
            line.columns.apply(&mut row)?;
            progress.step = "save line";
            let inputs = UpdateMaster::new(&invoice.group_id, LINE).suppress_user_prompts(invoice.suppress_prompts);
            let outcome = draft.update_master(&inputs).await?;
            notices.extend(Some(outcome.message).filter(|message| !message.trim().is_empty()));
            group_total = outcome.group_total.or(group_total);
            let number = numbers(&draft)?.into_iter().find(|number| !before.contains(number));
            let number = number.ok_or_else(|| {
                Error::decode("enter AP invoice", format!("line {} was saved, but did not come back", nth + 1))
                    .with_hint("read the invoice and look at its lines")
            })?;
            lines.push(number);
            progress.saved.push(format!("line {number}"));
        }
        let group_id = invoice.group_id.clone();
        Ok(CreatedApInvoice { group_id, vendor_num, invoice_num, lines, group_total, notices })
    }

    async fn header(&self, invoice: &NewApInvoice, notices: &mut Vec<String>) -> Result<Draft> {
        #[derive(Serialize)]
        struct Amount<'a> {
            #[serde(rename = "ProposedInvoiceVendorAmt")]
            amount: &'a Decimal,
        }
        let mut draft =
            self.service().get_new("GetNewAPInvHedInvoice", &json!({ "cGroupID": invoice.group_id })).await?;
        draft.edit(HEADER, 0)?.set("InvoiceNum", &invoice.invoice_num)?;
        let vendor = json!({ "ProposedVendorID": invoice.vendor_id, "confirmCheck": false });
        collect(notices, &draft.change("ChangeVendorID", &vendor).await?);
        let date = json!({ "ProposedInvoiceDate": ServerTime::from(invoice.date), "recalcAmts": "" });
        collect(notices, &draft.change("ChangeInvoiceDateEx", &date).await?);
        let amount = Amount { amount: &invoice.amount };
        collect(notices, &draft.change("ChangeInvoiceVendorAmt", &amount).await?);
        invoice.columns.apply(&mut draft.edit(HEADER, 0)?)?;
        Ok(draft)
    }
}

/// The numbers of the lines that are saved.
fn numbers(draft: &Draft) -> Result<Vec<i32>> {
    draft.rows(LINE).filter(|row| row.row_mod() != crate::RowMod::Added).map(|row| row.get("InvoiceLine")).collect()
}
