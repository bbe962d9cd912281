//! The general ledger: accounts (table `GLAccount`) and posted lines (`GLJrnDtl`).

use super::rows;
use crate::value::{Decimal, ServerTime};

rows! {
    /// An account of the general ledger. Tracked by `SysRevID` only.
    GlAccount of GL_ACCOUNTS {
        keys {
            company: String = "Company",
            coa_code: String = "COACode",
            gl_account: String = "GLAccount1",
        }
        columns {
            account_desc: String = "AccountDesc",
            seg_value1: String = "SegValue1",
            seg_value2: String = "SegValue2",
            seg_value3: String = "SegValue3",
            seg_value4: String = "SegValue4",
            parent_gl_account: String = "ParentGLAccount",
            active: bool = "Active",
            multi_company: bool = "MultiCompany",
            eff_from: ServerTime = "EffFrom",
            eff_to: ServerTime = "EffTo",
            /// The row version: rises with every write, over all tables of the database.
            sys_rev_id: i64 = "SysRevID",
            sys_row_id: String = "SysRowID",
        }
    }
    /// A posted line of the general ledger.
    GlJournalDetail of GL_JOURNAL_DETAILS {
        keys {
            company: String = "Company",
            book_id: String = "BookID",
            fiscal_year: i32 = "FiscalYear",
            fiscal_year_suffix: String = "FiscalYearSuffix",
            journal_code: String = "JournalCode",
            journal_num: i32 = "JournalNum",
            journal_line: i32 = "JournalLine",
        }
        columns {
            description: String = "Description",
            je_date: ServerTime = "JEDate",
            fiscal_period: i32 = "FiscalPeriod",
            gl_account: String = "GLAccount",
            book_debit_amount: Decimal = "BookDebitAmount",
            book_credit_amount: Decimal = "BookCreditAmount",
            currency_code: String = "CurrencyCode",
            source_module: String = "SourceModule",
            vendor_num: i32 = "VendorNum",
            ap_invoice_num: String = "APInvoiceNum",
            posted: bool = "Posted",
            posted_by: String = "PostedBy",
            posted_date: ServerTime = "PostedDate",
            /// The row version: rises with every write, over all tables of the database.
            sys_rev_id: i64 = "SysRevID",
            sys_row_id: String = "SysRowID",
        }
    }
}
