//! Parts (table `Part`).

use super::rows;
use crate::value::{Decimal, ServerTime};

rows! {
    /// A part.
    Part of PARTS {
        keys {
            company: String = "Company",
            part_num: String = "PartNum",
        }
        columns {
            search_word: String = "SearchWord",
            part_description: String = "PartDescription",
            class_id: String = "ClassID",
            ium: String = "IUM",
            pum: String = "PUM",
            type_code: String = "TypeCode",
            prod_code: String = "ProdCode",
            unit_price: Decimal = "UnitPrice",
            internal_unit_price: Decimal = "InternalUnitPrice",
            purchasing_factor: Decimal = "PurchasingFactor",
            non_stock: bool = "NonStock",
            in_active: bool = "InActive",
            track_lots: bool = "TrackLots",
            cost_method: String = "CostMethod",
            created_on: ServerTime = "CreatedOn",
            changed_on: ServerTime = "ChangedOn",
            /// The row version: rises with every write, over all tables of the database.
            sys_rev_id: i64 = "SysRevID",
            sys_row_id: String = "SysRowID",
        }
    }
}
