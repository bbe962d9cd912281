//! Business-object methods: the few that integrations live on, with the envelopes of the real ones.
//!
//! A group of invoices is locked by one user at a time; nobody else writes into it until it is unlocked.

use axum::body::Body;
use axum::http::Response;
use serde_json::{Map, Value as Json, json};

use super::Switches;
use super::answer::{Answer, Failure, ok};
use super::changes;
use super::database::{Database, Refusal};
use super::rows;
use super::table::{Table, set};
use super::value::Value;

/// The methods that a service lists.
pub(crate) fn names(service: &str) -> Vec<&'static str> {
    let mut names = vec!["GetByID", "GetRows", "GetList", "Update", "UpdateExt", "DeleteByID"];
    names.extend(match service {
        "Erp.BO.VendorSvc" => &["GetNewVendor", "GetByVendID"][..],
        "Erp.BO.APInvoiceSvc" => &[
            "GetNewAPInvHedInvoice",
            "GetNewAPInvDtlMiscellaneous",
            "ChangeVendorID",
            "ChangeInvoiceDateEx",
            "ChangeInvoiceVendorAmt",
            "UpdateMaster",
        ][..],
        "Erp.BO.POSvc" => &[
            "GetNewPOHeader",
            "GetNewPODetail",
            "ChangeVendor",
            "ChangeDetailPartNum",
            "ChangeDetailCalcOurQty",
            "ChangeUnitPrice",
            "ChangeApproveSwitch",
        ][..],
        "Erp.BO.APInvGrpSvc" => &["GetNewAPInvGrpNoLock", "LockAPGroup", "UnlockAPGroup", "UnlockGroup"][..],
        _ => &[][..],
    });
    names
}

/// Calls a method; none when the service has no such one.
pub(crate) fn call(
    database: &mut Database,
    switches: &Switches,
    user: &str,
    (service, method): (&str, &str),
    body: &Json,
) -> Option<Answer> {
    if !names(service).contains(&method) {
        return None;
    }
    let sets: Vec<String> = database
        .tables()
        .iter()
        .filter(|table| table.definition.service == service)
        .map(|table| table.definition.set.clone())
        .collect();
    let service = Service { sets, switches, user };
    Some(match method {
        "GetByID" => service.get_by_id(database, body),
        "GetByVendID" => service.get_by_vendor_id(database, body),
        change if change.starts_with("Change") => changes::change(database, change, body),
        "GetRows" | "GetList" => rows::get_rows(database, switches, &service.sets, body, method == "GetList"),
        "DeleteByID" => service.delete_by_id(database, body),
        "LockAPGroup" => service.lock_group(database, body, user),
        "UnlockAPGroup" | "UnlockGroup" => service.lock_group(database, body, ""),
        "Update" => service.update(database, body, Missing::Blank).map(|ds| ok(&json!({"parameters": {"ds": ds}}))),
        "UpdateExt" => Ok(service.update_ext(database, body)),
        "UpdateMaster" => service.update_master(database, body),
        fresh => service.get_new(database, fresh, body),
    })
}

struct Service<'a> {
    /// The service's sets, the main one first.
    sets: Vec<String>,
    switches: &'a Switches,
    /// Who asks.
    user: &'a str,
}

/// What becomes of the columns that a changed row does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    /// They are emptied: `Update` wants whole rows.
    Blank,
    /// They stay: `UpdateExt` takes the key and what changes.
    Keep,
}

/// A row as methods send it.
pub(crate) fn row_json(switches: &Switches, table: &Table, row: &[Value]) -> Json {
    let members = table.definition.columns.iter().zip(row).map(|(column, value)| {
        let mut text = String::new();
        value.write_json(&mut text, switches.date_form);
        (column.name.clone(), serde_json::from_str(&text).unwrap_or(Json::Null))
    });
    let mut members: Map<String, Json> = members.collect();
    members.insert("RowMod".to_owned(), "".into());
    Json::Object(members)
}

impl Service<'_> {
    fn main<'d>(&self, database: &'d Database) -> Result<&'d Table, Failure> {
        self.sets.first().and_then(|set| database.table(set)).ok_or_else(|| Failure::unknown("the service"))
    }

    fn json(&self, table: &Table, row: &[Value]) -> Json {
        row_json(self.switches, table, row)
    }

    /// The key that a call's parameters name, in whatever case they are written.
    fn key(table: &Table, body: &Json) -> Result<String, Failure> {
        let members = body.as_object().ok_or_else(|| Failure::business("Parameters are missing."))?;
        let mut parts = vec![super::COMPANY.to_owned()];
        for name in table.definition.key.iter().skip(1) {
            let plain = name.trim_end_matches('1').to_lowercase();
            let given = members.iter().find(|(given, _)| {
                let given = given.to_lowercase();
                given == plain || given == name.to_lowercase()
            });
            let (_, value) =
                given.ok_or_else(|| Failure::business(format!("Parameter {name} not found in input object")))?;
            parts.push(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        Ok(parts.join("\u{1f}"))
    }

    fn get_by_id(&self, database: &Database, body: &Json) -> Answer {
        let table = self.main(database)?;
        let key = Self::key(table, body)?;
        let row = table.find(&key).and_then(|at| table.values(at)).ok_or_else(Failure::record_not_found)?;
        let mut tableset = Map::new();
        tableset.insert(table.definition.table.clone(), Json::Array(vec![self.json(table, row)]));
        for (set, pairs) in &table.definition.children {
            let Some(children) = database.table(set) else { continue };
            let pairs: Vec<(usize, usize)> = pairs
                .iter()
                .filter_map(|(ours, its)| Some((table.definition.at(ours)?, children.definition.at(its)?)))
                .collect();
            let rows = children
                .all()
                .filter(|(_, child)| pairs.iter().all(|(ours, its)| row.get(*ours) == child.get(*its)))
                .map(|(_, child)| self.json(children, child))
                .collect();
            tableset.insert(children.definition.table.clone(), Json::Array(rows));
        }
        Ok(ok(&json!({"returnObj": tableset})))
    }

    /// As `GetByID`, by the id that users see.
    fn get_by_vendor_id(&self, database: &Database, body: &Json) -> Answer {
        let id = body.get("vendorID").and_then(Json::as_str);
        let id = id.ok_or_else(|| Failure::business("Parameter vendorID not found in input object"))?;
        let number = changes::vendor(database, id).ok_or_else(Failure::record_not_found)?;
        self.get_by_id(database, &json!({ "vendorNum": number }))
    }

    fn delete_by_id(&self, database: &mut Database, body: &Json) -> Answer {
        let table = self.main(database)?;
        let (key, set) = (Self::key(table, body)?, table.definition.set.clone());
        let children: Vec<String> = table.definition.children.iter().map(|(child, _)| child.clone()).collect();
        if !database.remove(&set, &key) {
            return Err(Failure::record_not_found());
        }
        // What is below a record goes with it; keys of children begin with that of their parent.
        for child in children {
            database.remove_below(&child, &format!("{key}\u{1f}"));
        }
        Ok(ok(&json!({})))
    }

    /// A blank row beside those that were sent, marked as new.
    fn get_new(&self, database: &Database, method: &str, body: &Json) -> Answer {
        let set = match method {
            "GetNewAPInvDtlMiscellaneous" => "APInvDtls",
            "GetNewPODetail" => "PODetails",
            _ => self.sets.first().map_or("", String::as_str),
        };
        let table = database.table(set).ok_or_else(|| Failure::unknown(method))?;
        let mut row = self.json(table, &table.blank());
        if let Some(members) = row.as_object_mut() {
            members.insert("RowMod".to_owned(), "A".into());
            members.insert("Company".to_owned(), super::COMPANY.into());
            let given = [
                ("cGroupID", "GroupID"),
                ("iVendorNum", "VendorNum"),
                ("cInvoiceNum", "InvoiceNum"),
                ("poNUM", "PONUM"),
            ];
            for (parameter, column) in given {
                if let (Some(value), true) = (body.get(parameter), members.contains_key(column)) {
                    members.insert(column.to_owned(), value.clone());
                }
            }
        }
        let mut ds = body.get("ds").cloned().unwrap_or_else(|| json!({}));
        if let Some(ds) = ds.as_object_mut()
            && let Some(rows) = ds.entry(table.definition.table.clone()).or_insert(json!([])).as_array_mut()
        {
            rows.push(row);
        }
        Ok(ok(&json!({"parameters": {"ds": ds}})))
    }

    /// Saves the marked rows of a tableset, all of them or none, and answers it with what was saved.
    fn update(&self, database: &mut Database, body: &Json, missing: Missing) -> Result<Json, Failure> {
        let ds = body
            .get("ds")
            .and_then(Json::as_object)
            .ok_or_else(|| Failure::business("Parameter ds not found in input object"))?;
        let mut next = database.clone();
        let mut answer = Map::new();
        for (name, rows) in ds {
            let set = self.sets.iter().find(|set| next.table(set).is_some_and(|table| table.definition.table == *name));
            let Some(set) = set.cloned() else { continue };
            let mut saved = Vec::new();
            for row in rows.as_array().into_iter().flatten() {
                match row.get("RowMod").and_then(Json::as_str).unwrap_or_default() {
                    "" => {}
                    "D" => {
                        let table = next.table(&set).ok_or_else(Failure::record_not_found)?;
                        let key = table.key_of(&sent(table, row, None)?);
                        if !next.remove(&set, &key) {
                            return Err(Failure::record_not_found());
                        }
                    }
                    mark => {
                        if ["APInvoices", "APInvGrps"].contains(&set.as_str()) {
                            self.refuse_locked(&next, row)?;
                        }
                        if set == "Vendors" && row.get("VendorID").and_then(Json::as_str) == Some("") {
                            return Err(Failure::business("Supplier ID is required."));
                        }
                        saved.push(self.save(&mut next, &set, row, (mark == "A", missing))?);
                    }
                }
            }
            answer.insert(name.clone(), Json::Array(saved));
        }
        *database = next;
        Ok(Json::Object(answer))
    }

    fn save(
        &self,
        database: &mut Database,
        set_name: &str,
        row: &Json,
        (adds, missing): (bool, Missing),
    ) -> Result<Json, Failure> {
        let assigned = [("Vendors", "VendorNum"), ("POes", "PONum")].into_iter().find(|(set, _)| *set == set_name);
        let number = assigned.map(|(set, column)| (column, database.largest(set, column) + 1));
        let table = database.table(set_name).ok_or_else(Failure::record_not_found)?;
        let mut values = sent(table, row, None)?;
        if let (false, Missing::Keep) = (adds, missing) {
            let before = table.find(&table.key_of(&values)).and_then(|at| table.values(at));
            values = sent(table, row, Some(before.ok_or_else(Failure::record_not_found)?))?;
        }
        if let (true, Some((column, number))) = (adds, number)
            && let Some(at) = table.definition.at(column)
            && values.get(at) == Some(&Value::Int(0))
        {
            set(&mut values, at, Value::Int(number));
        }
        if adds {
            changes::number_line(database, set_name, &mut values);
        }
        let read = row.get("SysRevID").and_then(Json::as_i64).filter(|_| !adds);
        let saved = database.save(set_name, values, adds, read).map_err(|refusal| match refusal {
            Refusal::Exists => Failure::new(409, "Ice.Common.DuplicateRecordException", "A duplicate record exists."),
            Refusal::UnknownRow | Refusal::UnknownColumn(_) => Failure::record_not_found(),
            Refusal::Stale => Failure::business("Row has been modified by another user and couldn't be updated."),
        })?;
        if adds {
            changes::release(database, set_name, &saved);
        }
        let table = database.table(set_name).ok_or_else(Failure::record_not_found)?;
        Ok(self.json(table, &saved))
    }

    /// Takes or gives up the group that the call names, unless it is somebody else's.
    fn lock_group(&self, database: &mut Database, body: &Json, holder: &str) -> Answer {
        let name = ["groupID", "InGroupID"].into_iter().find_map(|name| body.get(name)?.as_str());
        let name = name.ok_or_else(|| Failure::business("Parameter groupID not found in input object"))?;
        self.refuse_locked(database, &json!({"GroupID": name}))?;
        let key = format!("{}\u{1f}{name}", super::COMPANY);
        if database.table("APInvGrps").and_then(|table| table.find(&key)).is_none() {
            return Err(Failure::record_not_found());
        }
        let columns = [("GroupID", Value::from(name)), ("ActiveUserID", holder.into())];
        database.try_write("APInvGrps", columns, false).map_err(|_| Failure::record_not_found())?;
        let table = database.table("APInvGrps").ok_or_else(Failure::record_not_found)?;
        let group = table.find(&key).and_then(|at| table.values(at)).map(|row| self.json(table, row));
        Ok(ok(&json!({"parameters": {"ds": {"APInvGrp": [group]}}})))
    }

    /// Refuses a row whose group is locked by somebody else.
    fn refuse_locked(&self, database: &Database, row: &Json) -> Result<(), Failure> {
        let name = row.get("GroupID").and_then(Json::as_str).unwrap_or_default();
        let Some(table) = database.table("APInvGrps") else { return Ok(()) };
        let group = table.find(&format!("{}\u{1f}{name}", super::COMPANY)).and_then(|at| table.values(at));
        let holder = group.and_then(|group| group.get(table.definition.at("ActiveUserID")?));
        match holder {
            Some(Value::Text(holder)) if !holder.is_empty() && holder != self.user => {
                Err(Failure::business(format!("Group {name} is locked by user {holder}.")))
            }
            _ => Ok(()),
        }
    }

    /// As Update, but a refusal comes inside of an answer that looks like a success.
    fn update_ext(&self, database: &mut Database, body: &Json) -> Response<Body> {
        match self.update(database, body, Missing::Keep) {
            Ok(ds) => ok(&json!({"returnObj": {"BOUpdError": []}, "parameters": {"ds": ds, "errorsOccurred": false}})),
            Err(failure) => {
                let table = self.main(database).map(|table| table.definition.table.clone()).unwrap_or_default();
                let error = json!({"TableName": table, "ErrorLevel": "Error", "ErrorType": "BLException", "ErrorText": failure.message});
                ok(&json!({
                    "returnObj": {"BOUpdError": [error]},
                    "parameters": {"ds": body.get("ds"), "errorsOccurred": true},
                }))
            }
        }
    }

    /// Seven inputs, nine outputs. Two of these say that nothing was saved, whatever the status.
    fn update_master(&self, database: &mut Database, body: &Json) -> Answer {
        const INPUTS: [&str; 7] =
            ["ds", "cGroupID", "cTableName", "runChkCPay", "runChkBankRef", "runChkRevChrg", "suppressUserPrompts"];
        if let Some(missing) = INPUTS.iter().find(|name| body.get(**name).is_none()) {
            return Err(Failure::business(format!("Parameter {missing} not found in input object")));
        }
        let asks = self.switches.update_master_asks && body.get("suppressUserPrompts") != Some(&Json::Bool(true));
        let ds = if asks {
            body.get("ds").cloned().unwrap_or_default()
        } else {
            self.update(database, body, Missing::Blank)?
        };
        let message = if asks { "The invoice has a question for you." } else { "" };
        Ok(ok(&json!({"parameters": {
            "ds": ds, "grpTotalInvAmt": changes::group_total(database, body), "requiresUserInput": asks, "opMessage": message, "opMsgChkBankRef": "",
            "opChkRevMsg": "", "lEnableGenLegalNum": false, "lUpdateRan": !asks, "opDUAMsg": "",
        }})))
    }
}

/// The values of a row as it was sent. What is missing is as before, or empty.
fn sent(table: &Table, row: &Json, before: Option<&[Value]>) -> Result<Vec<Value>, Failure> {
    table
        .definition
        .columns
        .iter()
        .enumerate()
        .map(|(at, column)| match changes::screen_column(row, &column.name).or_else(|| row.get(&column.name)) {
            Some(value) => Value::from_json(value, column.kind)
                .ok_or_else(|| Failure::business(format!("Column {} cannot hold that value.", column.name))),
            None if column.name == "Company" => Ok(super::COMPANY.into()),
            None => Ok(before.and_then(|row| row.get(at)).cloned().unwrap_or_else(|| Value::empty(column.kind))),
        })
        .collect()
}
