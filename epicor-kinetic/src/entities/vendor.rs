//! Vendors (table `Vendor`).

use super::rows;

rows! {
    /// A vendor. Tracked by `SysRevID` only; `VendorID` can be renamed, `VendorNum` cannot.
    Vendor of VENDORS {
        keys {
            company: String = "Company",
            vendor_num: i32 = "VendorNum",
        }
        columns {
            vendor_id: String = "VendorID",
            name: String = "Name",
            address1: String = "Address1",
            address2: String = "Address2",
            city: String = "City",
            state: String = "State",
            zip: String = "ZIP",
            country: String = "Country",
            tax_payer_id: String = "TaxPayerID",
            terms_code: String = "TermsCode",
            group_code: String = "GroupCode",
            currency_code: String = "CurrencyCode",
            fax_num: String = "FaxNum",
            phone_num: String = "PhoneNum",
            email_address: String = "EMailAddress",
            vend_url: String = "VendURL",
            comment: String = "Comment",
            default_fob: String = "DefaultFOB",
            country_num: i32 = "CountryNum",
            inactive: bool = "Inactive",
            pay_hold: bool = "PayHold",
            approved: bool = "Approved",
            elec_payment: bool = "ElecPayment",
            print_1099: bool = "Print1099",
            /// The row version: rises with every write, over all tables of the database.
            sys_rev_id: i64 = "SysRevID",
            sys_row_id: String = "SysRowID",
        }
    }
}
