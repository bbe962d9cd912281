//! Entity sets: where they live and what their keys are.
//!
//! Services, sets and keys as in the `OpenAPI` documents of a live tenant (observed). The irregular plurals and spellings
//! are Epicor's: `POes`, `PONUM` beside `PONum`, `GLAccount1`.

use std::borrow::Cow;

use crate::error::Result;
use crate::query::check_column;

/// An entity set of a service, for example `Erp.BO.VendorSvc/Vendors`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EntitySet {
    service: Cow<'static, str>,
    name: Cow<'static, str>,
    keys: Keys,
}

#[derive(Clone, Debug)]
enum Keys {
    Known(&'static [&'static str]),
    Given(Vec<String>),
}

impl Keys {
    fn iter(&self) -> impl Iterator<Item = &str> {
        let (known, given): (&[&str], &[String]) = match self {
            Self::Known(known) => (known, &[]),
            Self::Given(given) => (&[], given),
        };
        known.iter().copied().chain(given.iter().map(String::as_str))
    }
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Keys {}

impl std::hash::Hash for Keys {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.iter().for_each(|key| key.hash(state));
    }
}

impl EntitySet {
    /// Any entity set of any service. The metadata of the service names its key columns.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when one of them cannot be such a name.
    pub fn new(service: impl Into<String>, set: impl Into<String>) -> Result<Self> {
        let (service, name) = (service.into(), set.into());
        crate::service::check_service(&service)?;
        check_column(&name)?;
        Ok(Self { service: Cow::Owned(service), name: Cow::Owned(name), keys: Keys::Given(Vec::new()) })
    }

    /// The same set with these key columns, in the order of the key.
    #[must_use]
    pub fn with_keys<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.keys = Keys::Given(keys.into_iter().map(Into::into).collect());
        self
    }

    /// The light list of a service (`GetList` as OData): few columns, nothing to expand, and much faster than the full
    /// rows of wide tables such as parts (observed). Its columns are in the metadata.
    ///
    /// # Errors
    /// As [`EntitySet::new`].
    pub fn list_of(service: impl Into<String>) -> Result<Self> {
        Self::new(service, "List")
    }

    /// The service, for example `Erp.BO.VendorSvc`.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The set, for example `Vendors`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key columns in the order of the key, the company first. Empty when they are not known.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter()
    }

    const fn known(service: &'static str, name: &'static str, keys: &'static [&'static str]) -> Self {
        Self { service: Cow::Borrowed(service), name: Cow::Borrowed(name), keys: Keys::Known(keys) }
    }
}

macro_rules! entity_sets {
    ($($(#[$doc:meta])* $constant:ident = $service:literal / $set:literal [$($key:literal),+];)+) => {
        impl EntitySet {
            $($(#[$doc])* pub const $constant: Self = Self::known($service, $set, &[$($key),+]);)+

            /// All sets that have a constant here.
            pub const ALL: &'static [Self] = &[$(Self::$constant),+];
        }
    };
}

entity_sets! {
    /// Vendors.
    VENDORS = "Erp.BO.VendorSvc" / "Vendors" ["Company", "VendorNum"];
    /// Purchase points of vendors.
    VENDOR_PURCHASE_POINTS = "Erp.BO.VendorSvc" / "VendorPPs" ["Company", "VendorNum", "PurPoint"];
    /// Bank accounts of vendors.
    VENDOR_BANKS = "Erp.BO.VendorSvc" / "VendBanks" ["Company", "VendorNum", "BankID"];
    /// AP invoices (`APInvHed`).
    AP_INVOICES = "Erp.BO.APInvoiceSvc" / "APInvoices" ["Company", "VendorNum", "InvoiceNum"];
    /// Lines of AP invoices (`APInvDtl`).
    AP_INVOICE_LINES = "Erp.BO.APInvoiceSvc" / "APInvDtls" ["Company", "VendorNum", "InvoiceNum", "InvoiceLine"];
    /// Expense distributions of AP invoice lines.
    AP_INVOICE_EXPENSES = "Erp.BO.APInvoiceSvc" / "APInvExps" ["Company", "VendorNum", "InvoiceNum", "InvoiceLine", "InvExpSeq"];
    /// Taxes of AP invoices.
    AP_INVOICE_TAXES = "Erp.BO.APInvoiceSvc" / "APInvTaxes" ["Company", "VendorNum", "InvoiceNum", "TaxCode", "RateCode", "ECAcquisitionSeq"];
    /// Payment schedules of AP invoices.
    AP_INVOICE_SCHEDULES = "Erp.BO.APInvoiceSvc" / "APInvScheds" ["Company", "VendorNum", "InvoiceNum", "PaySeq"];
    /// Groups in which AP invoices are entered.
    AP_INVOICE_GROUPS = "Erp.BO.APInvGrpSvc" / "APInvGrps" ["Company", "GroupID"];
    /// Purchase orders (`POHeader`).
    PURCHASE_ORDERS = "Erp.BO.POSvc" / "POes" ["Company", "PONum"];
    /// Lines of purchase orders (`PODetail`). Filtered by order alone this set has been seen empty although there were
    /// lines; expand them from [`EntitySet::PURCHASE_ORDERS`] or read them by a BAQ if that happens.
    PO_LINES = "Erp.BO.POSvc" / "PODetails" ["Company", "PONUM", "POLine"];
    /// Releases of purchase order lines (`PORel`).
    PO_RELEASES = "Erp.BO.POSvc" / "PORels" ["Company", "PONum", "POLine", "PORelNum"];
    /// Receipts of goods.
    RECEIPTS = "Erp.BO.ReceiptSvc" / "Receipts" ["Company", "VendorNum", "PurPoint", "PackSlip"];
    /// Lines of receipts.
    RECEIPT_LINES = "Erp.BO.ReceiptSvc" / "RcvDtls" ["Company", "VendorNum", "PurPoint", "PackSlip", "PackLine"];
    /// AP payments (`CheckHed`).
    PAYMENTS = "Erp.BO.PaymentEntrySvc" / "PaymentEntries" ["Company", "HeadNum"];
    /// Which invoices AP payments pay (`APTran`).
    AP_TRANSACTIONS = "Erp.BO.PaymentEntrySvc" / "APTrans" ["Company", "HeadNum", "APTranNo", "InvoiceNum", "Voided"];
    /// Customers.
    CUSTOMERS = "Erp.BO.CustomerSvc" / "Customers" ["Company", "CustNum"];
    /// Delivery addresses of customers.
    SHIP_TOS = "Erp.BO.CustomerSvc" / "ShipToes" ["Company", "CustNum", "ShipToNum"];
    /// Parts.
    PARTS = "Erp.BO.PartSvc" / "Parts" ["Company", "PartNum"];
    /// Parts in plants.
    PART_PLANTS = "Erp.BO.PartSvc" / "PartPlants" ["Company", "PartNum", "Plant"];
    /// Accounts of the general ledger.
    GL_ACCOUNTS = "Erp.BO.GLAccountSvc" / "GLAccounts" ["Company", "COACode", "GLAccount1"];
    /// Posted lines of the general ledger.
    GL_JOURNAL_DETAILS = "Erp.BO.GLJrnDtlSvc" / "GLJrnDtls" ["Company", "BookID", "FiscalYear", "FiscalYearSuffix", "JournalCode", "JournalNum", "JournalLine"];
    /// Journal entries that are not posted yet.
    GL_JOURNAL_ENTRIES = "Erp.BO.GLJournalEntrySvc" / "GLJournalEntries" ["Company", "BookID", "FiscalYear", "FiscalYearSuffix", "JournalCode", "JournalNum", "FiscalCalendarID"];
    /// Payment terms.
    PURCHASE_TERMS = "Erp.BO.PurTermsSvc" / "PurTerms" ["Company", "TermsCode"];
    /// Currencies.
    CURRENCIES = "Erp.BO.CurrencySvc" / "Currencies" ["Company", "CurrencyCode"];
    /// Companies. The key column differs from all others, since a column may not be named like its table.
    COMPANIES = "Erp.BO.CompanySvc" / "Companies" ["Company1"];
    /// The company's own bank accounts.
    BANK_ACCOUNTS = "Erp.BO.BankAcctSvc" / "BankAccts" ["Company", "BankAcctID"];
    /// Tasks of the system agent. They belong to no company alone, so that the key has none.
    SYS_TASKS = "Ice.BO.SysTaskSvc" / "SysTasks" ["SysTaskNum"];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn every_constant_is_what_new_would_accept() {
        for set in EntitySet::ALL {
            let again = EntitySet::new(set.service(), set.name()).unwrap().with_keys(set.keys());
            assert_eq!(&again, set);
            let system = set.service().starts_with("Ice.");
            assert!(set.keys().next().is_some_and(|first| first.starts_with("Company") != system));
        }
    }

    #[test]
    fn names_that_would_change_the_address_are_refused() {
        for (service, set) in
            [("", "Vendors"), ("Erp.BO.VendorSvc", ""), ("../x", "Vendors"), ("Erp.BO.VendorSvc", "a?b")]
        {
            assert_eq!(EntitySet::new(service, set).unwrap_err().kind(), ErrorKind::Config);
        }
    }
}
