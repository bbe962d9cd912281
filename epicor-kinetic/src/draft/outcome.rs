//! What the saving methods take beside the rows, and what they answer beside them.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Tableset, parameters_with};
use crate::error::{Error, Result};
use crate::service::MethodResponse;
use crate::value::Decimal;

/// Output parameters of a method, without the rows.
#[derive(Clone)]
pub struct MethodOutputs {
    response: MethodResponse,
}

impl MethodOutputs {
    pub(super) fn read(response: MethodResponse) -> Self {
        Self { response }
    }

    /// An output parameter as `T`.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode) when it is missing or does not fit.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        self.response.parameter_as(name)
    }

    /// What the method says or asks without failing, by the name of the parameter: `confirmMsg`, `cMessageText` and
    /// their like. A screen would show it; nobody answers it here.
    pub fn messages(&self) -> Vec<(&str, &str)> {
        messages(&self.response.parameters)
    }
}

impl std::fmt::Debug for MethodOutputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MethodOutputs")
            .field("parameters", &self.response.parameters.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// Texts among the output parameters that are meant for people, by the names that such parameters have.
fn messages(parameters: &Map<String, Value>) -> Vec<(&str, &str)> {
    parameters
        .iter()
        .filter(|(name, _)| {
            let name = name.to_ascii_lowercase();
            name.contains("msg") || name.contains("message") || name.contains("question")
        })
        .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
        .filter(|(_, text)| !text.trim().is_empty())
        .collect()
}

/// The switches of `UpdateExt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateExt {
    continue_on_error: bool,
    rollback_parent: bool,
}

impl Default for UpdateExt {
    /// All rows or none: stop at the first error, and undo the parent of a refused child.
    fn default() -> Self {
        Self { continue_on_error: false, rollback_parent: true }
    }
}

impl UpdateExt {
    /// Whether rows behind a refused one are saved nevertheless (`continueProcessingOnError`).
    #[must_use]
    pub fn continue_processing_on_error(mut self, go_on: bool) -> Self {
        self.continue_on_error = go_on;
        self
    }

    /// Whether a refused child undoes its parent (`rollbackParentOnChildError`).
    #[must_use]
    pub fn rollback_parent_on_child_error(mut self, undo: bool) -> Self {
        self.rollback_parent = undo;
        self
    }

    pub(super) fn continues(self) -> bool {
        self.continue_on_error
    }

    pub(super) fn body(self, rows: &Tableset) -> Result<Vec<u8>> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Others {
            continue_processing_on_error: bool,
            rollback_parent_on_child_error: bool,
        }
        if rows.is_empty() {
            return Err(Error::config("call UpdateExt", "there are no rows to save; mark what changes"));
        }
        parameters_with(
            rows,
            &Others {
                continue_processing_on_error: self.continue_on_error,
                rollback_parent_on_child_error: self.rollback_parent,
            },
        )
    }
}

/// The inputs of `APInvoice.UpdateMaster` beside the rows: with them there are seven.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are the inputs of the method")]
pub struct UpdateMaster {
    group_id: String,
    table: String,
    check_cpay: bool,
    check_bank_reference: bool,
    check_reverse_charge: bool,
    suppress_prompts: bool,
}

impl UpdateMaster {
    /// For a group (`cGroupID`) and the table that is saved (`cTableName`): `APInvHed`, `APInvDtl`, `APIHAPInvMsc`. All
    /// checks run, and a question of the server is an error.
    pub fn new(group_id: impl Into<String>, table: impl Into<String>) -> Self {
        Self {
            group_id: group_id.into(),
            table: table.into(),
            check_cpay: true,
            check_bank_reference: true,
            check_reverse_charge: true,
            suppress_prompts: false,
        }
    }

    /// Whether central payment is checked (`runChkCPay`).
    #[must_use]
    pub fn check_cpay(mut self, check: bool) -> Self {
        self.check_cpay = check;
        self
    }

    /// Whether the bank reference is checked (`runChkBankRef`).
    #[must_use]
    pub fn check_bank_reference(mut self, check: bool) -> Self {
        self.check_bank_reference = check;
        self
    }

    /// Whether the reverse charge is checked (`runChkRevChrg`).
    #[must_use]
    pub fn check_reverse_charge(mut self, check: bool) -> Self {
        self.check_reverse_charge = check;
        self
    }

    /// Whether the server answers its questions itself instead of not saving (`suppressUserPrompts`).
    #[must_use]
    pub fn suppress_user_prompts(mut self, suppress: bool) -> Self {
        self.suppress_prompts = suppress;
        self
    }

    pub(super) fn body(&self, rows: &Tableset) -> Result<Vec<u8>> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        #[expect(clippy::struct_excessive_bools, reason = "they are the inputs of the method")]
        struct Others<'a> {
            #[serde(rename = "cGroupID")]
            group_id: &'a str,
            c_table_name: &'a str,
            #[serde(rename = "runChkCPay")]
            run_chk_cpay: bool,
            run_chk_bank_ref: bool,
            run_chk_rev_chrg: bool,
            suppress_user_prompts: bool,
        }
        parameters_with(
            rows,
            &Others {
                group_id: &self.group_id,
                c_table_name: &self.table,
                run_chk_cpay: self.check_cpay,
                run_chk_bank_ref: self.check_bank_reference,
                run_chk_rev_chrg: self.check_reverse_charge,
                suppress_user_prompts: self.suppress_prompts,
            },
        )
    }
}

/// The outputs of `APInvoice.UpdateMaster` beside the rows: with them there are nine.
///
/// `requiresUserInput` and a false `lUpdateRan` never get here: they are errors.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpdateMasterOutcome {
    /// `grpTotalInvAmt`: what all invoices of the group come to. `None` when the server did not say.
    pub group_total: Option<Decimal>,
    /// `requiresUserInput`.
    pub requires_user_input: bool,
    /// `lUpdateRan`.
    pub update_ran: bool,
    /// `lEnableGenLegalNum`: whether a legal number can be made.
    pub enable_legal_number: bool,
    /// `opMessage`.
    pub message: String,
    /// `opMsgChkBankRef`: about the bank reference.
    pub bank_reference_message: String,
    /// `opChkRevMsg`: about the reverse charge.
    pub reverse_charge_message: String,
    /// `opDUAMsg`: about the import document.
    pub dua_message: String,
}

impl UpdateMasterOutcome {
    pub(super) fn read(response: &MethodResponse) -> Self {
        let flag = |name: &str| response.parameters.get(name).and_then(Value::as_bool);
        let text = |name: &str| response.parameters.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self {
            // It is saved by now; an odd total is no reason to say otherwise.
            group_total: response.parameter_as::<Option<Decimal>>("grpTotalInvAmt").ok().flatten(),
            requires_user_input: flag("requiresUserInput").unwrap_or(false),
            update_ran: flag("lUpdateRan").unwrap_or(true),
            enable_legal_number: flag("lEnableGenLegalNum").unwrap_or(false),
            message: text("opMessage"),
            bank_reference_message: text("opMsgChkBankRef"),
            reverse_charge_message: text("opChkRevMsg"),
            dua_message: text("opDUAMsg"),
        }
    }
}
