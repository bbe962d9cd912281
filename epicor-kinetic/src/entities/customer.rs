//! Customers (table `Customer`).

use super::rows;
use crate::value::{Decimal, ServerTime};

rows! {
    /// A customer.
    Customer of CUSTOMERS {
        keys {
            company: String = "Company",
            cust_num: i32 = "CustNum",
        }
        columns {
            cust_id: String = "CustID",
            name: String = "Name",
            address1: String = "Address1",
            city: String = "City",
            state: String = "State",
            zip: String = "Zip",
            country: String = "Country",
            terms_code: String = "TermsCode",
            group_code: String = "GroupCode",
            currency_code: String = "CurrencyCode",
            email_address: String = "EMailAddress",
            phone_num: String = "PhoneNum",
            credit_limit: Decimal = "CreditLimit",
            credit_hold: bool = "CreditHold",
            discount_percent: Decimal = "DiscountPercent",
            est_date: ServerTime = "EstDate",
            changed_by: String = "ChangedBy",
            change_date: ServerTime = "ChangeDate",
            /// Seconds since midnight.
            change_time: i32 = "ChangeTime",
            /// The row version: rises with every write, over all tables of the database.
            sys_rev_id: i64 = "SysRevID",
            sys_row_id: String = "SysRowID",
        }
    }
}
