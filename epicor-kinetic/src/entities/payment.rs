//! AP payments: header (table `CheckHed`) and what they pay (`APTran`).

use super::rows;
use crate::value::{Decimal, ServerTime};

rows! {
    /// An AP payment, without what it pays unless `APTrans` is expanded.
    Payment of PAYMENTS {
        keys {
            company: String = "Company",
            head_num: i32 = "HeadNum",
        }
        columns {
            group_id: String = "GroupID",
            bank_acct_id: String = "BankAcctID",
            check_num: i32 = "CheckNum",
            check_date: ServerTime = "CheckDate",
            fiscal_year: i32 = "FiscalYear",
            fiscal_period: i32 = "FiscalPeriod",
            check_amt: Decimal = "CheckAmt",
            doc_check_amt: Decimal = "DocCheckAmt",
            vendor_num: i32 = "VendorNum",
            name: String = "Name",
            city: String = "City",
            country: String = "Country",
            currency_code: String = "CurrencyCode",
            exchange_rate: Decimal = "ExchangeRate",
            posted: bool = "Posted",
            voided: bool = "Voided",
            cleared_check: bool = "ClearedCheck",
            cleared_amt: Decimal = "ClearedAmt",
            cleared_date: ServerTime = "ClearedDate",
            elec_payment: bool = "ElecPayment",
            entry_person: String = "EntryPerson",
            changed_by: String = "ChangedBy",
            change_date: ServerTime = "ChangeDate",
            /// The row version: rises with every write, over all tables of the database.
            sys_rev_id: i64 = "SysRevID",
            sys_row_id: String = "SysRowID",
        }
        children {
            transactions: ApTransaction = "APTrans",
        }
    }
    /// Which invoice an AP payment pays. Voiding adds a row: `Voided` is part of the key.
    ApTransaction of AP_TRANSACTIONS {
        keys {
            company: String = "Company",
            head_num: i32 = "HeadNum",
            ap_tran_no: i32 = "APTranNo",
            invoice_num: String = "InvoiceNum",
            voided: bool = "Voided",
        }
        columns {
            tran_type: String = "TranType",
            tran_date: ServerTime = "TranDate",
            tran_amt: Decimal = "TranAmt",
            doc_tran_amt: Decimal = "DocTranAmt",
            disc_amt: Decimal = "DiscAmt",
            vendor_num: i32 = "VendorNum",
            bank_acct_id: String = "BankAcctID",
            check_num: i32 = "CheckNum",
            fiscal_year: i32 = "FiscalYear",
            fiscal_period: i32 = "FiscalPeriod",
            posted: bool = "Posted",
            description: String = "Description",
            comment: String = "Comment",
            entry_person: String = "EntryPerson",
            changed_by: String = "ChangedBy",
            change_date: ServerTime = "ChangeDate",
            /// The row version: rises with every write, over all tables of the database.
            sys_rev_id: i64 = "SysRevID",
            sys_row_id: String = "SysRowID",
        }
    }
}
