//! AP invoices: header (table `APInvHed`), lines (`APInvDtl`) and groups (`APInvGrp`).

use super::rows;
use crate::value::{Decimal, ServerTime};

rows! {
    /// An AP invoice, without its lines unless `APInvDtls` is expanded.
    ApInvoice of AP_INVOICES {
        keys {
            company: String = "Company",
            vendor_num: i32 = "VendorNum",
            invoice_num: String = "InvoiceNum",
        }
        columns {
            invoice_date: ServerTime = "InvoiceDate",
            due_date: ServerTime = "DueDate",
            discount_date: ServerTime = "DiscountDate",
            terms_code: String = "TermsCode",
            currency_code: String = "CurrencyCode",
            group_id: String = "GroupID",
            fiscal_year: i32 = "FiscalYear",
            fiscal_period: i32 = "FiscalPeriod",
            invoice_amt: Decimal = "InvoiceAmt",
            doc_invoice_amt: Decimal = "DocInvoiceAmt",
            invoice_bal: Decimal = "InvoiceBal",
            doc_invoice_bal: Decimal = "DocInvoiceBal",
            tax_amt: Decimal = "TaxAmt",
            doc_tax_amt: Decimal = "DocTaxAmt",
            discount_amt: Decimal = "DiscountAmt",
            exchange_rate: Decimal = "ExchangeRate",
            invoice_comment: String = "InvoiceComment",
            description: String = "Description",
            invoice_ref: String = "InvoiceRef",
            entry_person: String = "EntryPerson",
            ref_po_num: i32 = "REFPONum",
            posted: bool = "Posted",
            open_payable: bool = "OpenPayable",
            debit_memo: bool = "DebitMemo",
            gl_posted: bool = "GLPosted",
            pay_hold: bool = "PayHold",
            invoice_held: bool = "InvoiceHeld",
            tax_region_code: String = "TaxRegionCode",
            doc_invoice_vendor_amt: Decimal = "DocInvoiceVendorAmt",
            unposted_bal: Decimal = "UnpostedBal",
            changed_by: String = "ChangedBy",
            change_date: ServerTime = "ChangeDate",
            /// The row version: rises with every write, over all tables of the database.
            sys_rev_id: i64 = "SysRevID",
            sys_row_id: String = "SysRowID",
        }
        children {
            lines: ApInvoiceLine = "APInvDtls",
        }
    }
    /// A line of an AP invoice.
    ApInvoiceLine of AP_INVOICE_LINES {
        keys {
            company: String = "Company",
            vendor_num: i32 = "VendorNum",
            invoice_num: String = "InvoiceNum",
            invoice_line: i32 = "InvoiceLine",
        }
        columns {
            line_type: String = "LineType",
            part_num: String = "PartNum",
            description: String = "Description",
            po_num: i32 = "PONum",
            po_line: i32 = "POLine",
            po_rel_num: i32 = "PORelNum",
            unit_cost: Decimal = "UnitCost",
            doc_unit_cost: Decimal = "DocUnitCost",
            vendor_qty: Decimal = "VendorQty",
            our_qty: Decimal = "OurQty",
            pum: String = "PUM",
            ium: String = "IUM",
            ext_cost: Decimal = "ExtCost",
            doc_ext_cost: Decimal = "DocExtCost",
            pack_slip: String = "PackSlip",
            changed_by: String = "ChangedBy",
            change_date: ServerTime = "ChangeDate",
            /// The row version: rises with every write, over all tables of the database.
            sys_rev_id: i64 = "SysRevID",
            sys_row_id: String = "SysRowID",
        }
    }
    /// A group in which AP invoices are entered. Locked by one user at a time, see `ActiveUserID`.
    ApInvoiceGroup of AP_INVOICE_GROUPS {
        keys {
            company: String = "Company",
            group_id: String = "GroupID",
        }
        columns {
            created_by: String = "CreatedBy",
            fiscal_year: i32 = "FiscalYear",
            fiscal_period: i32 = "FiscalPeriod",
            active_user_id: String = "ActiveUserID",
            post_in_process: bool = "PostInProcess",
            apply_date: ServerTime = "ApplyDate",
            base_total: Decimal = "BaseTotal",
            /// The row version: rises with every write, over all tables of the database.
            sys_rev_id: i64 = "SysRevID",
            sys_row_id: String = "SysRowID",
        }
    }
}
