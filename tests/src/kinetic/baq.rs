//! BAQs: queries that somebody has made in Epicor, read through `BaqSvc/{id}/Data`.

use std::collections::HashMap;

use uuid::Uuid;

use super::database::{COMPANY, Database};
use super::table::{ColumnDefinition, Definition, Table};
use super::value::{Kind, Value};

/// The ids of the queries that there are.
pub(crate) const IDS: [&str; 4] = ["KT-VendorSpend", "KT-Invoices", "KT-VendorInvoices", "KT-Customers"];

fn definition(id: &str, columns: &[(&str, Kind)]) -> Definition {
    let columns = columns
        .iter()
        .chain(&[("RowIdent", Kind::Guid)])
        .map(|(name, kind)| ColumnDefinition { name: (*name).to_owned(), kind: *kind })
        .collect();
    Definition {
        service: id.to_owned(),
        set: "Data".to_owned(),
        table: id.replace('-', "_"),
        key: vec!["RowIdent".to_owned()],
        columns,
        children: Vec::new(),
    }
}

/// The rows of a query, made anew for each page, as Epicor does. None when there is no such query.
pub(crate) fn run(id: &str, database: &Database, parameters: &[(String, String)]) -> Option<Table> {
    match id {
        "KT-VendorSpend" => Some(vendor_spend(id, database, parameters)),
        "KT-Invoices" => Some(invoices(id, database)),
        "KT-Customers" => Some(customers(id, database)),
        "KT-VendorInvoices" => Some(vendor_invoices(id, database)),
        _ => None,
    }
}

/// A guid that stands for a row as long as its key does.
fn ident(key: &str) -> Value {
    let mut bytes = [0_u8; 16];
    for (nth, byte) in key.bytes().enumerate() {
        if let Some(slot) = bytes.get_mut(nth % 16) {
            *slot = slot.wrapping_mul(31).wrapping_add(byte);
        }
    }
    Value::Guid(Uuid::from_bytes(bytes))
}

/// One row a vendor: what was invoiced in all, and when that last changed. The parameter `MinRating` leaves out vendors below it.
fn vendor_spend(id: &str, database: &Database, parameters: &[(String, String)]) -> Table {
    let least =
        parameters.iter().find(|(name, _)| name == "MinRating").and_then(|(_, value)| value.parse::<i64>().ok());
    let mut table = Table::new(definition(
        id,
        &[
            ("Vendor_Company", Kind::Text),
            ("Vendor_VendorID", Kind::Text),
            ("Vendor_Name", Kind::Text),
            ("Calculated_Invoices", Kind::Int32),
            ("Calculated_Spend", Kind::Decimal(20, 3)),
            ("Calculated_UpdatedOn", Kind::Moment),
        ],
    ));
    let mut spent: HashMap<String, (i64, i128, Value)> = HashMap::new();
    for invoice in database.rows("APInvoices") {
        let vendor = invoice.text("VendorNum").unwrap_or_default();
        let entry = spent.entry(vendor).or_insert((0, 0, Value::Null));
        entry.0 += 1;
        if let Some(Value::Decimal(amount, _)) = invoice.get("InvoiceAmt") {
            entry.1 += amount;
        }
        if let Some(changed) = invoice.get("ChangeDate")
            && changed.compare(&entry.2).is_some_and(std::cmp::Ordering::is_gt)
        {
            entry.2 = changed.clone();
        }
    }
    for (nth, vendor) in database.rows("Vendors").into_iter().enumerate() {
        if let (Some(least), Some(Value::Int(rating))) = (least, vendor.get("Rating_c"))
            && *rating < least
        {
            continue;
        }
        let number = vendor.text("VendorNum").unwrap_or_default();
        let (count, amount, changed) = spent.remove(&number).unwrap_or((0, 0, Value::Null));
        let values = vec![
            COMPANY.into(),
            vendor.get("VendorID").cloned().unwrap_or(Value::Null),
            vendor.get("Name").cloned().unwrap_or(Value::Null),
            count.into(),
            Value::Decimal(amount, 3),
            changed,
            ident(&number),
        ];
        insert(&mut table, values, nth);
    }
    table
}

/// Invoices with their row version, as a query made for an integration has it.
fn invoices(id: &str, database: &Database) -> Table {
    let taken = [
        ("Company", Kind::Text),
        ("VendorNum", Kind::Int32),
        ("InvoiceNum", Kind::Text),
        ("InvoiceAmt", Kind::Decimal(20, 3)),
        ("ChangeDate", Kind::Moment),
        ("SysRevID", Kind::Int64),
    ];
    plain(id, database, ("APInvoices", "APInvHed"), 3, &taken)
}

/// Customers with the date and the time of their last change, and nothing else that tells of it.
fn customers(id: &str, database: &Database) -> Table {
    let taken = [
        ("Company", Kind::Text),
        ("CustNum", Kind::Int32),
        ("Name", Kind::Text),
        ("ChangeDate", Kind::Date),
        ("ChangeTime", Kind::Int32),
    ];
    plain(id, database, ("Customers", "Customer"), 2, &taken)
}

/// Some columns of a set, named as a query names them after their table. The first ones are the key.
fn plain(id: &str, database: &Database, (set, table): (&str, &str), key: usize, taken: &[(&str, Kind)]) -> Table {
    let names: Vec<String> = taken.iter().map(|(name, _)| format!("{table}_{name}")).collect();
    let columns: Vec<(&str, Kind)> = names.iter().zip(taken).map(|(name, (_, kind))| (name.as_str(), *kind)).collect();
    let mut table = Table::new(definition(id, &columns));
    for (nth, row) in database.rows(set).into_iter().enumerate() {
        let mut values: Vec<Value> =
            taken.iter().map(|(name, _)| row.get(name).cloned().unwrap_or(Value::Null)).collect();
        let key: Vec<String> = values.iter().take(key).map(ToString::to_string).collect();
        values.push(ident(&key.join("|")));
        insert(&mut table, values, nth);
    }
    table
}

/// Vendors with their invoices by an outer join: vendors repeat, and those without invoices have nothing there.
fn vendor_invoices(id: &str, database: &Database) -> Table {
    let mut table = Table::new(definition(
        id,
        &[
            ("Vendor_VendorNum", Kind::Int32),
            ("Vendor_Name", Kind::Text),
            ("APInvHed_InvoiceNum", Kind::Text),
            ("APInvHed_DueDate", Kind::Date),
        ],
    ));
    let invoices = database.rows("APInvoices");
    let mut nth = 0;
    for vendor in database.rows("Vendors") {
        let of = |column: &str, row: &super::table::Row| row.get(column).cloned().unwrap_or(Value::Null);
        let mut pairs: Vec<(Value, Value)> = invoices
            .iter()
            .filter(|invoice| invoice.get("VendorNum") == vendor.get("VendorNum"))
            .map(|invoice| (of("InvoiceNum", invoice), of("DueDate", invoice)))
            .collect();
        if pairs.is_empty() {
            pairs.push((Value::Null, Value::Null));
        }
        for (number, due) in pairs {
            let key = format!("{}|{number}", of("VendorNum", &vendor));
            insert(&mut table, vec![of("VendorNum", &vendor), of("Name", &vendor), number, due, ident(&key)], nth);
            nth += 1;
        }
    }
    table
}

fn insert(table: &mut Table, values: Vec<Value>, nth: usize) {
    table.push_plain(values, i64::try_from(nth).unwrap_or(i64::MAX));
}
