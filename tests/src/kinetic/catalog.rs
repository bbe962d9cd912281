//! The tables of the simulated company, with names, keys and types as in Epicor's own schema.

use super::table::{ColumnDefinition, Definition};
use super::value::Kind;

/// Columns as text: `name:type`, where the type is t(ext), i(nt32), l(ong), b(ool), d(ate), m(oment), g(uid) or a scale for decimals
/// of 20 digits.
fn table(service: &str, set: &str, table: &str, key: &str, columns: &str) -> Definition {
    let columns = columns.split_whitespace().chain(["SysRevID:l", "SysRowID:g"]).map(|column| {
        let (name, kind) = column.split_once(':').unwrap_or((column, "t"));
        let kind = match kind {
            "i" => Kind::Int32,
            "l" => Kind::Int64,
            "b" => Kind::Bool,
            "d" => Kind::Date,
            "m" => Kind::Moment,
            "g" => Kind::Guid,
            scale => scale.parse().map_or(Kind::Text, |scale| Kind::Decimal(20, scale)),
        };
        ColumnDefinition { name: name.to_owned(), kind }
    });
    Definition {
        service: service.to_owned(),
        set: set.to_owned(),
        table: table.to_owned(),
        key: key.split_whitespace().map(str::to_owned).collect(),
        columns: columns.collect(),
        children: Vec::new(),
    }
}

fn with_children(mut definition: Definition, set: &str, pairs: &[(&str, &str)]) -> Definition {
    let pairs = pairs.iter().map(|(ours, its)| ((*ours).to_owned(), (*its).to_owned())).collect();
    definition.children.push((set.to_owned(), pairs));
    definition
}

/// All tables.
#[expect(clippy::too_many_lines, reason = "a list, one entry a table")]
pub(super) fn tables() -> Vec<Definition> {
    let invoice = [("Company", "Company"), ("VendorNum", "VendorNum"), ("InvoiceNum", "InvoiceNum")];
    vec![
        table(
            "Erp.BO.VendorSvc",
            "Vendors",
            "Vendor",
            "Company VendorNum",
            "Company VendorNum:i VendorID Name Address1 Address2 City State ZIP Country TaxPayerID TermsCode GroupCode \
             CurrencyCode FaxNum PhoneNum EMailAddress VendURL Comment DefaultFOB CountryNum:i Inactive:b PayHold:b \
             Approved:b ElecPayment:b Print1099:b Rating_c:i DueDiligence_c:d",
        ),
        with_children(
            table(
                "Erp.BO.APInvoiceSvc",
                "APInvoices",
                "APInvHed",
                "Company VendorNum InvoiceNum",
                "Company VendorNum:i InvoiceNum InvoiceDate:d DueDate:d DiscountDate:d TermsCode CurrencyCode GroupID \
                 FiscalYear:i FiscalPeriod:i InvoiceAmt:3 DocInvoiceAmt:3 InvoiceBal:3 DocInvoiceBal:3 TaxAmt:3 \
                 DocTaxAmt:3 DiscountAmt:3 ExchangeRate:6 InvoiceComment Description InvoiceRef EntryPerson REFPONum:i \
                 Posted:b OpenPayable:b DebitMemo:b GLPosted:b PayHold:b InvoiceHeld:b TaxRegionCode DocInvoiceVendorAmt:3 \
                 UnpostedBal:3 ChangedBy ChangeDate:m Approval_c",
            ),
            "APInvDtls",
            &invoice,
        ),
        table(
            "Erp.BO.APInvoiceSvc",
            "APInvDtls",
            "APInvDtl",
            "Company VendorNum InvoiceNum InvoiceLine",
            "Company VendorNum:i InvoiceNum InvoiceLine:i LineType PartNum Description PONum:i POLine:i PORelNum:i UnitCost:5 \
             DocUnitCost:5 VendorQty:8 OurQty:8 PUM IUM ExtCost:3 DocExtCost:3 PackSlip ChangedBy ChangeDate:m",
        ),
        table(
            "Erp.BO.APInvGrpSvc",
            "APInvGrps",
            "APInvGrp",
            "Company GroupID",
            "Company GroupID CreatedBy FiscalYear:i FiscalPeriod:i ActiveUserID PostInProcess:b ApplyDate:d BaseTotal:3",
        ),
        with_children(
            with_children(
                table(
                    "Erp.BO.POSvc",
                    "POes",
                    "POHeader",
                    "Company PONum",
                    "Company PONum:i VendorNum:i OrderDate:d DueDate:d BuyerID CurrencyCode TermsCode ShipViaCode FOB \
                     EntryPerson CommentText ShipName ShipCity ShipCountry OpenOrder:b VoidOrder:b Approve:b \
                     ApprovalStatus ApprovedBy ApprovedDate:d ApprovedAmount:3 ExchangeRate:6 TotalOrder:3 DocTotalOrder:3 \
                     PostDate:d VendorRefNum ChangedBy ChangeDate:m",
                ),
                "PODetails",
                &[("Company", "Company"), ("PONum", "PONUM")],
            ),
            "PORels",
            &[("Company", "Company"), ("PONum", "PONum")],
        ),
        table(
            "Erp.BO.POSvc",
            "PODetails",
            "PODetail",
            "Company PONUM POLine",
            "Company PONUM:i POLine:i LineDesc PartNum VenPartNum IUM PUM UnitCost:5 DocUnitCost:5 OrderQty:8 XOrderQty:8 \
             Taxable:b OpenLine:b VoidLine:b VendorNum:i ClassID RevisionNum ChangedBy ChangeDate:m",
        ),
        table(
            "Erp.BO.POSvc",
            "PORels",
            "PORel",
            "Company PONum POLine PORelNum",
            "Company PONum:i POLine:i PORelNum:i DueDate:d XRelQty:8 RelQty:8 ReceivedQty:8 Plant WarehouseCode OpenRelease:b \
             VoidRelease:b Confirmed:b ProjectID",
        ),
        with_children(
            table(
                "Erp.BO.PaymentEntrySvc",
                "PaymentEntries",
                "CheckHed",
                "Company HeadNum",
                "Company HeadNum:i GroupID BankAcctID CheckNum:i CheckDate:d FiscalYear:i FiscalPeriod:i CheckAmt:3 \
                 DocCheckAmt:3 VendorNum:i Name City Country CurrencyCode ExchangeRate:6 Posted:b Voided:b ClearedCheck:b \
                 ClearedAmt:3 ClearedDate:d ElecPayment:b EntryPerson ChangedBy ChangeDate:m",
            ),
            "APTrans",
            &[("Company", "Company"), ("HeadNum", "HeadNum")],
        ),
        table(
            "Erp.BO.PaymentEntrySvc",
            "APTrans",
            "APTran",
            "Company HeadNum APTranNo InvoiceNum Voided",
            "Company HeadNum:i APTranNo:i InvoiceNum Voided:b TranType TranDate:d TranAmt:3 DocTranAmt:3 DiscAmt:3 VendorNum:i \
             BankAcctID CheckNum:i FiscalYear:i FiscalPeriod:i Posted:b Description Comment EntryPerson ChangedBy \
             ChangeDate:m",
        ),
        table(
            "Erp.BO.CustomerSvc",
            "Customers",
            "Customer",
            "Company CustNum",
            "Company CustNum:i CustID Name Address1 City State Zip Country TermsCode GroupCode CurrencyCode EMailAddress \
             PhoneNum CreditLimit:2 CreditHold:b DiscountPercent:2 EstDate:d ChangedBy ChangeDate:d ChangeTime:i",
        ),
        table(
            "Erp.BO.PartSvc",
            "Parts",
            "Part",
            "Company PartNum",
            "Company PartNum SearchWord PartDescription ClassID IUM PUM TypeCode ProdCode UnitPrice:5 InternalUnitPrice:5 \
             PurchasingFactor:7 NonStock:b InActive:b TrackLots:b CostMethod CreatedOn:m ChangedOn:m",
        ),
        table(
            "Erp.BO.GLAccountSvc",
            "GLAccounts",
            "GLAccount",
            "Company COACode GLAccount1",
            "Company COACode GLAccount1 AccountDesc SegValue1 SegValue2 SegValue3 SegValue4 ParentGLAccount Active:b \
             MultiCompany:b EffFrom:d EffTo:d CurrencyAcct:i",
        ),
        table(
            "Erp.BO.GLJrnDtlSvc",
            "GLJrnDtls",
            "GLJrnDtl",
            "Company BookID FiscalYear FiscalYearSuffix JournalCode JournalNum JournalLine",
            "Company BookID FiscalYear:i FiscalYearSuffix JournalCode JournalNum:i JournalLine:i Description JEDate:d \
             FiscalPeriod:i GLAccount BookDebitAmount:3 BookCreditAmount:3 CurrencyCode SourceModule VendorNum:i APInvoiceNum \
             Posted:b PostedBy PostedDate:d",
        ),
        table(
            "Ice.BO.SysTaskSvc",
            "SysTasks",
            "SysTask",
            "SysTaskNum",
            "SysTaskNum:l Company TaskDescription TaskType TaskStatus StartedOn:m EndedOn:m SubmitUser RunProcedure \
             ActivityMsg History:b ProgressPercent:i",
        ),
    ]
}
