//! Purchase orders: header (table `POHeader`), lines (`PODetail`) and releases (`PORel`).

use super::rows;
use crate::value::{Decimal, ServerTime};

rows! {
    /// A purchase order, without its lines unless `PODetails` is expanded.
    PurchaseOrder of PURCHASE_ORDERS {
        keys {
            company: String = "Company",
            po_num: i32 = "PONum",
        }
        columns {
            vendor_num: i32 = "VendorNum",
            order_date: ServerTime = "OrderDate",
            due_date: ServerTime = "DueDate",
            buyer_id: String = "BuyerID",
            currency_code: String = "CurrencyCode",
            terms_code: String = "TermsCode",
            ship_via_code: String = "ShipViaCode",
            fob: String = "FOB",
            entry_person: String = "EntryPerson",
            comment_text: String = "CommentText",
            ship_name: String = "ShipName",
            ship_city: String = "ShipCity",
            ship_country: String = "ShipCountry",
            open_order: bool = "OpenOrder",
            void_order: bool = "VoidOrder",
            approve: bool = "Approve",
            approval_status: String = "ApprovalStatus",
            approved_by: String = "ApprovedBy",
            approved_date: ServerTime = "ApprovedDate",
            approved_amount: Decimal = "ApprovedAmount",
            exchange_rate: Decimal = "ExchangeRate",
            total_order: Decimal = "TotalOrder",
            doc_total_order: Decimal = "DocTotalOrder",
            post_date: ServerTime = "PostDate",
            vendor_ref_num: String = "VendorRefNum",
            changed_by: String = "ChangedBy",
            change_date: ServerTime = "ChangeDate",
            /// The row version: rises with every write, over all tables of the database.
            sys_rev_id: i64 = "SysRevID",
            sys_row_id: String = "SysRowID",
        }
        children {
            details: PurchaseOrderDetail = "PODetails",
            releases: PurchaseOrderRelease = "PORels",
        }
    }
    /// A line of a purchase order. Filtered alone, its set answers nothing on some servers (observed): expand it from the header.
    PurchaseOrderDetail of PO_LINES {
        keys {
            company: String = "Company",
            po_num: i32 = "PONUM",
            po_line: i32 = "POLine",
        }
        columns {
            line_desc: String = "LineDesc",
            part_num: String = "PartNum",
            ven_part_num: String = "VenPartNum",
            ium: String = "IUM",
            pum: String = "PUM",
            unit_cost: Decimal = "UnitCost",
            doc_unit_cost: Decimal = "DocUnitCost",
            order_qty: Decimal = "OrderQty",
            x_order_qty: Decimal = "XOrderQty",
            taxable: bool = "Taxable",
            open_line: bool = "OpenLine",
            void_line: bool = "VoidLine",
            vendor_num: i32 = "VendorNum",
            class_id: String = "ClassID",
            revision_num: String = "RevisionNum",
            changed_by: String = "ChangedBy",
            change_date: ServerTime = "ChangeDate",
            /// The row version: rises with every write, over all tables of the database.
            sys_rev_id: i64 = "SysRevID",
            sys_row_id: String = "SysRowID",
        }
    }
    /// A release of a line. Receipts change it; tracked by `SysRevID` only.
    PurchaseOrderRelease of PO_RELEASES {
        keys {
            company: String = "Company",
            po_num: i32 = "PONum",
            po_line: i32 = "POLine",
            po_rel_num: i32 = "PORelNum",
        }
        columns {
            due_date: ServerTime = "DueDate",
            x_rel_qty: Decimal = "XRelQty",
            rel_qty: Decimal = "RelQty",
            received_qty: Decimal = "ReceivedQty",
            plant: String = "Plant",
            warehouse_code: String = "WarehouseCode",
            open_release: bool = "OpenRelease",
            void_release: bool = "VoidRelease",
            confirmed: bool = "Confirmed",
            project_id: String = "ProjectID",
            /// The row version: rises with every write, over all tables of the database.
            sys_rev_id: i64 = "SysRevID",
            sys_row_id: String = "SysRowID",
        }
    }
}
