//! `Change…` methods: what the server works out while a record is entered, without saving anything.

use serde_json::{Map, Value as Json, json};

use super::answer::{Answer, Failure, ok};
use super::database::{COMPANY, Database};
use super::table::set;
use super::value::Value;

/// The number of a vendor by the id that users see.
pub(crate) fn vendor(database: &Database, id: &str) -> Option<i64> {
    let table = database.table("Vendors")?;
    let (number, name) = (table.definition.at("VendorNum")?, table.definition.at("VendorID")?);
    let (_, row) = table.all().find(|(_, row)| matches!(row.get(name), Some(Value::Text(text)) if text == id))?;
    match row.get(number)? {
        Value::Int(number) => Some(*number),
        _ => None,
    }
}

/// Calls a `Change…` method on the rows that are being entered.
pub(crate) fn change(database: &Database, method: &str, body: &Json) -> Answer {
    let missing = |name: &str| Failure::business(format!("Parameter {name} not found in input object"));
    let given = |name: &str| body.get(name).cloned().ok_or_else(|| missing(name));
    let mut ds = body.get("ds").and_then(Json::as_object).cloned().ok_or_else(|| missing("ds"))?;
    let mut outputs = Map::new();
    match method {
        "ChangeVendorID" | "ChangeVendor" => {
            let (parameter, table) =
                if method == "ChangeVendor" { ("VendID", "POHeader") } else { ("ProposedVendorID", "APInvHed") };
            let id = given(parameter)?;
            let id = id.as_str().unwrap_or_default();
            let number = vendor(database, id).ok_or_else(|| Failure::business("Supplier is not valid."))?;
            edit(&mut ds, table, &[("VendorNum", number.into()), ("VendorNumVendorID", id.into())])?;
            if method == "ChangeVendorID" {
                outputs.insert("confirmMsg".to_owned(), "".into());
            }
        }
        "ChangeInvoiceDateEx" => {
            let date = given("ProposedInvoiceDate")?;
            edit(&mut ds, "APInvHed", &[("InvoiceDate", date.clone()), ("DueDate", date)])?;
            outputs.insert("cMessageText".to_owned(), "Check the fiscal period.".into());
        }
        "ChangeInvoiceVendorAmt" => {
            let amount = given("ProposedInvoiceVendorAmt")?;
            edit(&mut ds, "APInvHed", &[("DocInvoiceVendorAmt", amount.clone()), ("DocInvoiceAmt", amount)])?;
        }
        "ChangeDetailPartNum" => {
            let part = given("NewPartNum")?;
            edit(&mut ds, "PODetail", &[("PartNum", part.clone()), ("LineDesc", part.clone())])?;
            outputs.insert("NewPartNum".to_owned(), part);
            outputs.insert("multipleMatch".to_owned(), false.into());
        }
        "ChangeDetailCalcOurQty" => {
            let quantity = given("newCalcOurQty")?;
            if quantity.as_f64().is_some_and(|quantity| quantity < 0.0) {
                return Err(Failure::business("Quantity must not be negative."));
            }
            edit(&mut ds, "PODetail", &[("OrderQty", quantity.clone()), ("XOrderQty", quantity)])?;
        }
        "ChangeUnitPrice" => {
            let price = entered(&ds, "PODetail").and_then(|row| row.get("DocUnitCost").cloned());
            edit(&mut ds, "PODetail", &[("UnitCost", price.unwrap_or_else(|| 0.into()))])?;
        }
        "ChangeApproveSwitch" => {
            let approve = given("ApproveValue")?;
            let status = if approve == Json::Bool(true) { "A" } else { "U" };
            edit(&mut ds, "POHeader", &[("Approve", approve), ("ApprovalStatus", status.into())])?;
            outputs.insert("ViolationMsg".to_owned(), "".into());
        }
        _ => return Err(Failure::unknown(method)),
    }
    outputs.insert("ds".to_owned(), Json::Object(ds));
    Ok(ok(&json!({ "parameters": outputs })))
}

fn is_marked(row: &Json) -> bool {
    row.get("RowMod").and_then(Json::as_str).is_some_and(|mark| !mark.is_empty())
}

/// The row that is being entered: the marked one, or else the only one.
fn entered<'a>(ds: &'a Map<String, Json>, table: &str) -> Option<&'a Json> {
    let rows = ds.get(table)?.as_array()?;
    rows.iter().find(|row| is_marked(row)).or_else(|| rows.last())
}

/// Sets columns of that row. A row that was only read is marked as changed, and what it was stays beside it.
fn edit(ds: &mut Map<String, Json>, table: &str, columns: &[(&str, Json)]) -> Result<(), Failure> {
    let none = || Failure::business(format!("There is no row in {table}."));
    let rows = ds.get_mut(table).and_then(Json::as_array_mut).ok_or_else(none)?;
    let at = rows.iter().position(is_marked).or_else(|| rows.len().checked_sub(1)).ok_or_else(none)?;
    let before = rows.get(at).cloned().ok_or_else(none)?;
    let row = rows.get_mut(at).and_then(Json::as_object_mut).ok_or_else(none)?;
    for (name, value) in columns {
        row.insert((*name).to_owned(), value.clone());
    }
    if !is_marked(&before) {
        row.insert("RowMod".to_owned(), "U".into());
        rows.insert(at, before);
    }
    Ok(())
}

/// Columns that exist on the screen only and stand for one of the table.
pub(crate) fn screen_column<'a>(row: &'a Json, column: &str) -> Option<&'a Json> {
    let name = match column {
        "VendorQty" => "ScrVendorQty",
        "DocInvoiceVendorAmt" => "ScrDocInvoiceVendorAmt",
        _ => return None,
    };
    row.get(name)
}

/// Gives a line without a number the next one of its record.
pub(crate) fn number_line(database: &Database, set_name: &str, values: &mut [Value]) {
    let (line, parents) = match set_name {
        "APInvDtls" => ("InvoiceLine", &["VendorNum", "InvoiceNum"][..]),
        "PODetails" => ("POLine", &["PONUM"][..]),
        _ => return,
    };
    let Some(table) = database.table(set_name) else { return };
    let Some(at) = table.definition.at(line) else { return };
    if values.get(at) != Some(&Value::Int(0)) {
        return;
    }
    let parents: Vec<usize> = parents.iter().filter_map(|name| table.definition.at(name)).collect();
    let siblings = table.all().filter(|(_, row)| parents.iter().all(|at| row.get(*at) == values.get(*at)));
    let number = |row: &[Value]| if let Some(Value::Int(number)) = row.get(at) { *number } else { 0 };
    let last = siblings.map(|(_, row)| number(row)).max().unwrap_or_default();
    set(values, at, Value::Int(last + 1));
}

/// A saved order line gets its first release.
pub(crate) fn release(database: &mut Database, set_name: &str, saved: &[Value]) {
    if set_name != "PODetails" {
        return;
    }
    let of = |name: &str| {
        let table = database.table(set_name)?;
        saved.get(table.definition.at(name)?).cloned()
    };
    let (Some(order), Some(line), Some(quantity)) = (of("PONUM"), of("POLine"), of("OrderQty")) else { return };
    let columns = [
        ("PONum", order),
        ("POLine", line),
        ("PORelNum", 1.into()),
        ("RelQty", quantity),
        ("OpenRelease", true.into()),
    ];
    // The columns are those of the catalogue.
    let _ = database.try_write("PORels", columns, false);
}

/// What the invoices of the group that a call names come to, as a JSON number.
pub(crate) fn group_total(database: &Database, body: &Json) -> Json {
    let group = body.get("cGroupID").and_then(Json::as_str).unwrap_or_default();
    let total: i128 = database
        .rows("APInvoices")
        .iter()
        .filter(|row| row.text("GroupID").as_deref() == Some(group) && row.text("Company").as_deref() == Some(COMPANY))
        .filter_map(|row| match row.get("DocInvoiceAmt") {
            Some(Value::Decimal(amount, 3)) => Some(*amount),
            _ => None,
        })
        .sum();
    let text = Value::Decimal(total, 3).to_string();
    serde_json::from_str(&text).unwrap_or(Json::Null)
}
