//! Purchase orders: header first, which gives the number, then line by line, then perhaps the approval.

use chrono::NaiveDate;
use serde::Serialize;
use serde_json::json;

use super::{Columns, FlowError, collect};
use crate::client::Client;
use crate::draft::{Draft, RowMod};
use crate::entities::PurchaseOrder;
use crate::entity::EntitySet;
use crate::error::{Error, Result};
use crate::query::Literal;
use crate::service::Service;
use crate::value::{Decimal, ServerTime};

const HEADER: &str = "POHeader";
const LINE: &str = "PODetail";

/// Purchase orders of a company. Made by [`Client::purchase_orders`].
#[derive(Clone, Debug)]
pub struct PurchaseOrders {
    client: Client,
}

/// A purchase order to be made.
#[derive(Clone, Debug)]
#[must_use = "an order is made by PurchaseOrders::create"]
pub struct NewPurchaseOrder {
    vendor_id: String,
    columns: Columns,
    lines: Vec<NewPurchaseOrderLine>,
    approve: bool,
    keep_partial: bool,
}

/// A line of a purchase order to be made.
#[derive(Clone, Debug)]
#[must_use = "a line belongs to a NewPurchaseOrder"]
pub struct NewPurchaseOrderLine {
    part_num: String,
    quantity: Decimal,
    unit_cost: Option<Decimal>,
    due: Option<NaiveDate>,
    columns: Columns,
}

/// A purchase order that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreatedPurchaseOrder {
    /// Its number, given by the server.
    pub po_num: i32,
    /// The numbers of its lines, in the order they were given.
    pub lines: Vec<i32>,
    /// Whether it is approved.
    pub approved: bool,
    /// What the server said on the way without failing; a screen would have shown it.
    pub notices: Vec<String>,
}

impl NewPurchaseOrder {
    /// An order from a vendor (by `VendorID`).
    pub fn new(vendor_id: impl Into<String>) -> Self {
        Self {
            vendor_id: vendor_id.into(),
            columns: Columns::default(),
            lines: Vec::new(),
            approve: false,
            keep_partial: false,
        }
    }

    /// Sets any other column of the header, for example `BuyerID` or `CommentText`.
    pub fn column(mut self, column: impl Into<String>, value: impl Serialize) -> Self {
        self.columns.add(column, value);
        self
    }

    /// Adds a line.
    pub fn line(mut self, line: NewPurchaseOrderLine) -> Self {
        self.lines.push(line);
        self
    }

    /// Whether the order is approved at the end. No unless set.
    pub fn approve(mut self, approve: bool) -> Self {
        self.approve = approve;
        self
    }

    /// Whether an order stays when one of its lines is refused. It is taken back unless set.
    pub fn keep_partial(mut self, keep: bool) -> Self {
        self.keep_partial = keep;
        self
    }
}

impl NewPurchaseOrderLine {
    /// A quantity of a part, in our unit of measure. The server presets the rest.
    pub fn new(part_num: impl Into<String>, quantity: impl Into<Decimal>) -> Self {
        Self {
            part_num: part_num.into(),
            quantity: quantity.into(),
            unit_cost: None,
            due: None,
            columns: Columns::default(),
        }
    }

    /// The cost of one, in the currency of the order, instead of the preset one.
    pub fn unit_cost(mut self, cost: impl Into<Decimal>) -> Self {
        self.unit_cost = Some(cost.into());
        self
    }

    /// When it is due.
    pub fn due(mut self, date: NaiveDate) -> Self {
        self.due = Some(date);
        self
    }

    /// Sets any other column of the line, for example `LineDesc`.
    pub fn column(mut self, column: impl Into<String>, value: impl Serialize) -> Self {
        self.columns.add(column, value);
        self
    }
}

impl Client {
    /// Purchase orders: found, made, approved.
    pub fn purchase_orders(&self) -> PurchaseOrders {
        PurchaseOrders { client: self.clone() }
    }
}

impl PurchaseOrders {
    fn service(&self) -> Service {
        self.client.service(EntitySet::PURCHASE_ORDERS.service())
    }

    /// Reads an order with its lines and releases. They are expanded from the header, since the set of lines answers
    /// nothing to filters on some servers (observed).
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is none.
    pub async fn get(&self, po_num: i32) -> Result<PurchaseOrder> {
        let key = [Literal::from(self.client.company()), po_num.into()];
        self.client.query::<PurchaseOrder>().expand("PODetails").expand("PORels").get(key).await
    }

    /// The order as a draft, to change what this flow does not know.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is none.
    pub async fn draft(&self, po_num: i32) -> Result<Draft> {
        self.service().get_by_id(&json!({ "poNum": po_num })).await
    }

    /// Makes an order. Each step is a call and a transaction of its own:
    ///
    /// 1. `make header`: `GetNewPOHeader`, `ChangeVendor`
    /// 2. `save header`: `Update`, which gives the number
    /// 3. `make line`, for each line: `GetNewPODetail`, `ChangeDetailPartNum`, `ChangeDetailCalcOurQty`, and
    ///    `ChangeUnitPrice` when it has a cost
    /// 4. `save line`: `Update`, which makes the release too
    /// 5. `approve`, if asked for: `ChangeApproveSwitch`, `Update`
    ///
    /// # Errors
    /// A [`FlowError`] with the step. When a line was refused, the order is taken back by `DeleteByID` unless
    /// [`NewPurchaseOrder::keep_partial`] says otherwise. When the answer to `save header` was lost, the order may
    /// exist under a number that nobody has seen: look for the newest orders of the vendor.
    pub async fn create(&self, order: &NewPurchaseOrder) -> Result<CreatedPurchaseOrder, Box<FlowError>> {
        let mut created = CreatedPurchaseOrder { po_num: 0, lines: Vec::new(), approved: false, notices: Vec::new() };
        let mut step = "make header";
        let Err(error) = self.make(order, &mut created, &mut step).await else { return Ok(created) };
        let mut saved = Vec::new();
        if created.po_num != 0 {
            saved.push(format!("order {}", created.po_num));
        }
        saved.extend(created.lines.iter().map(|line| format!("line {line}")));
        let mut failure = Box::new(FlowError { error, step, saved, undone: false, cleanup: Vec::new() });
        if created.po_num != 0 && !order.keep_partial {
            match self.service().delete_by_id(&json!({ "poNum": created.po_num })).await {
                Ok(()) => failure.undone = true,
                Err(error) => failure.cleanup.push(error),
            }
        }
        Err(failure)
    }

    async fn make(
        &self,
        order: &NewPurchaseOrder,
        created: &mut CreatedPurchaseOrder,
        step: &mut &'static str,
    ) -> Result<()> {
        let notices = &mut created.notices;
        let mut draft = self.service().get_new("GetNewPOHeader", &json!({})).await?;
        collect(notices, &draft.change("ChangeVendor", &json!({ "VendID": order.vendor_id })).await?);
        order.columns.apply(&mut draft.edit(HEADER, 0)?)?;
        *step = "save header";
        draft.update().await?;
        created.po_num = draft.row(HEADER, 0)?.get("PONum")?;
        if created.po_num == 0 {
            return Err(Error::decode("make purchase order", "the server gave the order no number")
                .with_hint("look for the newest orders of the vendor"));
        }
        for line in &order.lines {
            *step = "make line";
            let before = numbers(&draft)?;
            self.line(&mut draft, created.po_num, line, notices).await?;
            *step = "save line";
            draft.update().await?;
            let number = numbers(&draft)?.into_iter().find(|number| !before.contains(number));
            created.lines.push(number.ok_or_else(|| {
                Error::decode("make purchase order", "a line was saved, but did not come back")
                    .with_hint("read the order and look at its lines")
            })?);
        }
        if order.approve {
            *step = "approve";
            collect(notices, &draft.change("ChangeApproveSwitch", &json!({ "ApproveValue": true })).await?);
            draft.update().await?;
            created.approved = draft.row(HEADER, 0)?.get("Approve")?;
        }
        Ok(())
    }

    async fn line(
        &self,
        draft: &mut Draft,
        po_num: i32,
        line: &NewPurchaseOrderLine,
        notices: &mut Vec<String>,
    ) -> Result<()> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Quantity<'a> {
            new_calc_our_qty: &'a Decimal,
        }
        collect(notices, &draft.get_new("GetNewPODetail", &json!({ "poNUM": po_num })).await?);
        let part = json!({ "NewPartNum": line.part_num, "SysRowID": "00000000-0000-0000-0000-000000000000",
            "rowType": "", "isSubstitute": false });
        let outputs = draft.change("ChangeDetailPartNum", &part).await?;
        if outputs.get::<Option<bool>>("multipleMatch")? == Some(true) {
            return Err(Error::config(
                "make purchase order",
                "several parts match the part number; give the exact one",
            ));
        }
        collect(notices, &outputs);
        let quantity = Quantity { new_calc_our_qty: &line.quantity };
        collect(notices, &draft.change("ChangeDetailCalcOurQty", &quantity).await?);
        let at = draft.rows(LINE).position(|row| row.row_mod() == RowMod::Added);
        let at = at.ok_or_else(|| Error::decode("make purchase order", "the server added no line"))?;
        if let Some(cost) = &line.unit_cost {
            draft.edit(LINE, at)?.insert("DocUnitCost", cost)?;
            collect(notices, &draft.change("ChangeUnitPrice", &json!({})).await?);
        }
        let mut row = draft.edit(LINE, at)?;
        if let Some(due) = line.due {
            row.insert("DueDate", ServerTime::from(due))?;
        }
        line.columns.apply(&mut row)
    }
}

/// The numbers of the lines that are saved.
fn numbers(draft: &Draft) -> Result<Vec<i32>> {
    draft.rows(LINE).filter(|row| row.row_mod() != RowMod::Added).map(|row| row.get("POLine")).collect()
}
