//! The simulated company as a model and rows for CAP.

use std::fmt::Write as _;

use epicor_kinetic::{Client, EdmType, EntitySet, EntityType};
use futures_util::TryStreamExt;
use serde_json::{Map, Value, json};

/// The model in CDS, and the rows: what the simulated Kinetic says of itself, in the other server's words.
pub(super) async fn of(kinetic: &Client) -> (String, Value) {
    let mut model = String::new();
    let mut rows = Map::new();
    for (service, sets) in [
        ("Erp.BO.VendorSvc", vec![(EntitySet::VENDORS, vec!["Company", "VendorNum"])]),
        (
            "Erp.BO.APInvoiceSvc",
            vec![
                (EntitySet::AP_INVOICES, vec!["Company", "VendorNum", "InvoiceNum"]),
                (EntitySet::AP_INVOICE_LINES, vec!["Company", "VendorNum", "InvoiceNum", "InvoiceLine"]),
            ],
        ),
        // Keys of one column, since only these may be written without the column's name in standard OData.
        ("Erp.BO.PartSvc", vec![(EntitySet::PARTS, vec!["PartNum"])]),
        ("Erp.BO.GLAccountSvc", vec![(EntitySet::GL_ACCOUNTS, vec!["SysRowID"])]),
        ("Erp.BO.CustomerSvc", vec![(EntitySet::CUSTOMERS, vec!["CustNum"])]),
    ] {
        let metadata = kinetic.metadata(service).await.unwrap();
        let name = service.replace('.', "_");
        writeln!(model, "@path: '/inst/api/v2/odata/EPIC06/{service}'\nservice {name} {{").unwrap();
        for (set, keys) in sets {
            let entity = metadata.entity_type_of(set.name()).unwrap();
            writeln!(model, "  entity {} {{", set.name()).unwrap();
            for property in &entity.properties {
                let key = if keys.contains(&property.name.as_str()) { "key " } else { "" };
                writeln!(model, "    {key}{}: {};", property.name, cds(&property.name, entity)).unwrap();
            }
            if set == EntitySet::AP_INVOICES {
                model += "    APInvDtls: Association to many APInvDtls on APInvDtls.VendorNum = VendorNum\n      \
                          and APInvDtls.InvoiceNum = InvoiceNum and APInvDtls.Company = Company;\n";
            }
            model += "  }\n";
            let found: Vec<Map<String, Value>> = kinetic.entity_set(set.clone()).stream().try_collect().await.unwrap();
            let found = found.into_iter().map(|row| there(row, entity)).collect();
            rows.insert(format!("{name}.{}", set.name()), Value::Array(found));
        }
        model += "}\n";
    }
    (model, Value::Object(rows))
}

fn cds(column: &str, entity: &EntityType) -> String {
    let property = entity.property(column).unwrap();
    match &property.edm_type {
        EdmType::Int32 => "Integer".to_owned(),
        EdmType::Int64 => "Int64".to_owned(),
        EdmType::Boolean => "Boolean".to_owned(),
        EdmType::Guid => "UUID".to_owned(),
        EdmType::Decimal => {
            format!("Decimal({}, {})", property.precision.unwrap_or(20), property.scale.unwrap_or(5))
        }
        EdmType::DateTimeOffset if is_day(column) => "Date".to_owned(),
        EdmType::DateTimeOffset => "Timestamp".to_owned(),
        _ => "String(1000)".to_owned(),
    }
}

/// Kinetic calls calendar days moments too; the other server knows the difference.
fn is_day(column: &str) -> bool {
    column.ends_with("Date") && column != "ChangeDate"
}

/// A row in the other server's spelling.
fn there(row: Map<String, Value>, entity: &EntityType) -> Value {
    let row = row.into_iter().filter_map(|(column, value)| {
        let property = entity.property(&column)?;
        let value = match (&property.edm_type, value) {
            (EdmType::DateTimeOffset, Value::String(text)) if is_day(&column) => json!(text.get(..10)?),
            (EdmType::DateTimeOffset, Value::String(text)) if !text.ends_with('Z') => json!(format!("{text}Z")),
            (_, value) => value,
        };
        Some((column, value))
    });
    Value::Object(row.collect())
}
