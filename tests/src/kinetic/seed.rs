//! Rows that look like a company's: many names, many alphabets, exact amounts, awkward keys.

use chrono::{Duration, NaiveDate};

use super::database::Database;
use super::table::Row;
use super::value::Value;

/// How many rows of each kind there are at first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Vendors.
    pub vendors: usize,
    /// AP invoices.
    pub ap_invoices: usize,
    /// Lines of each AP invoice.
    pub invoice_lines: usize,
    /// Lines of the general journal.
    pub journal_lines: usize,
    /// Purchase orders, each with two lines and as many releases.
    pub purchase_orders: usize,
    /// GL accounts.
    pub gl_accounts: usize,
    /// Customers.
    pub customers: usize,
    /// Parts.
    pub parts: usize,
    /// Payments, each with one transaction.
    pub payments: usize,
    /// The same number makes the same rows.
    pub seed: u64,
}

impl Default for Seed {
    fn default() -> Self {
        Self {
            vendors: 50,
            ap_invoices: 500,
            invoice_lines: 0,
            journal_lines: 0,
            purchase_orders: 100,
            gl_accounts: 60,
            customers: 30,
            parts: 40,
            payments: 40,
            seed: 1,
        }
    }
}

/// Numbers that look random (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a limit.
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        u32::try_from(self.next() % u64::from(limit.max(1))).unwrap_or_default()
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        let at = self.below(u32::try_from(choices.len()).unwrap_or(1));
        choices.get(at as usize).copied().unwrap_or_default()
    }

    /// An amount with so many digits behind the point; some negative, some huge, some zero.
    fn amount(&mut self, scale: u8) -> Value {
        let digits = i128::from(self.next() % 10_u64.pow(4 + self.below(9)));
        let sign = if self.below(9) == 0 { -1 } else { 1 };
        match self.below(40) {
            0 => Value::Decimal(0, scale),
            1 => Value::Decimal(sign * 5, scale),
            2 => Value::Decimal(sign * 99_999_999_999_999_999, scale),
            _ => Value::Decimal(sign * digits, scale),
        }
    }

    fn date(&mut self) -> Value {
        let base = NaiveDate::from_ymd_opt(2024, 2, 29).unwrap_or_default();
        match self.below(60) {
            0 => Value::Null,
            1 => Value::Date(NaiveDate::from_ymd_opt(9999, 12, 31).unwrap_or_default()),
            2 => Value::Date(NaiveDate::from_ymd_opt(1, 1, 1).unwrap_or_default()),
            _ => Value::Date(base + Duration::days(i64::from(self.below(1_000)))),
        }
    }
}

const NAMES: [&str; 12] = [
    "Müller & Söhne GmbH",
    "O'Hara Tools",
    "東京部品株式会社",
    "Acme \"Best\" Supply",
    "Łódź Stal",
    "Ωmega Foundry",
    "Žižkov s.r.o.",
    "مصنع النور",
    "Smith\\Jones",
    "Fjällräven Parts 🚚",
    "Plain Vendor",
    "Ünïcödé ﷽ Ltd",
];
const CITIES: [&str; 6] = ["Zürich", "Málaga", "大阪", "Austin", "Kraków", ""];
const CURRENCIES: [&str; 4] = ["USD", "EUR", "CHF", "JPY"];
const TERMS: [&str; 3] = ["N30", "2/10", ""];

pub(super) fn fill(database: &mut Database, seed: &Seed) {
    let mut random = Random(seed.seed);
    let upto = |count: usize| 0..u32::try_from(count).unwrap_or(u32::MAX);
    let vendors = upto(seed.vendors).end;
    for num in upto(seed.vendors) {
        vendor(database, &mut random, i64::from(num) + 1_000);
    }
    for num in upto(seed.ap_invoices) {
        invoice(database, &mut random, num, vendors);
    }
    for num in upto(seed.purchase_orders) {
        order(database, &mut random, i64::from(num) + 3_000, vendors);
    }
    for num in upto(seed.gl_accounts) {
        account(database, &mut random, num);
    }
    for num in upto(seed.customers) {
        let name = format!("{} {num}", random.one_of(&NAMES));
        let limit = random.amount(2);
        database.write(
            "Customers",
            [
                ("CustNum", i64::from(num).into()),
                ("CustID", format!("C{num:05}").into()),
                ("Name", name.into()),
                ("City", random.one_of(&CITIES).into()),
                ("CreditLimit", limit),
                ("CurrencyCode", random.one_of(&CURRENCIES).into()),
                ("EstDate", random.date()),
            ],
        );
    }
    for num in upto(seed.parts) {
        let part = match num % 4 {
            0 => format!("P/{num}"),
            1 => format!("P'{num}"),
            2 => format!("P {num}%"),
            _ => format!("P-{num}"),
        };
        let price = random.amount(5);
        database.write(
            "Parts",
            [
                ("PartNum", part.into()),
                ("PartDescription", random.one_of(&NAMES).into()),
                ("UnitPrice", price),
                ("ClassID", "RAW".into()),
            ],
        );
    }
    for num in upto(seed.payments) {
        payment(database, &mut random, i64::from(num) + 1, vendors);
    }
    if seed.invoice_lines > 0 {
        for row in database.rows("APInvoices") {
            invoice_lines(database, &mut random, &row, seed.invoice_lines);
        }
    }
    for num in upto(seed.journal_lines) {
        journal_line(database, &mut random, num);
    }
}

fn vendor(database: &mut Database, random: &mut Random, num: i64) {
    let name = format!("{} {num}", random.one_of(&NAMES));
    database.write(
        "Vendors",
        [
            ("VendorNum", num.into()),
            ("VendorID", format!("V{num}").into()),
            ("Name", name.into()),
            ("City", random.one_of(&CITIES).into()),
            ("Country", "CH".into()),
            ("CurrencyCode", random.one_of(&CURRENCIES).into()),
            ("TermsCode", random.one_of(&TERMS).into()),
            ("Comment", "line one\nline two\ttab".into()),
            ("Inactive", (random.below(10) == 0).into()),
            ("Approved", true.into()),
            ("Rating_c", i64::from(random.below(6)).into()),
            ("DueDiligence_c", random.date()),
        ],
    );
}

fn invoice(database: &mut Database, random: &mut Random, num: u32, vendors: u32) {
    let number = match num % 7 {
        0 => format!("INV/{num}"),
        1 => format!("R'{num}"),
        2 => format!("RÉ-{num} & Co"),
        _ => format!("INV-{num}"),
    };
    let vendor = i64::from(random.below(vendors)) + 1_000;
    let (amount, balance, tax) = (random.amount(3), random.amount(3), random.amount(3));
    database.write(
        "APInvoices",
        [
            ("VendorNum", vendor.into()),
            ("InvoiceNum", number.into()),
            ("InvoiceDate", random.date()),
            ("DueDate", random.date()),
            ("CurrencyCode", random.one_of(&CURRENCIES).into()),
            ("TermsCode", random.one_of(&TERMS).into()),
            ("DocInvoiceAmt", amount.clone()),
            ("InvoiceAmt", amount),
            ("InvoiceBal", balance),
            ("TaxAmt", tax),
            ("ExchangeRate", Value::Decimal(1_000_000 + i128::from(random.below(999_999)), 6)),
            ("FiscalYear", 2026.into()),
            ("FiscalPeriod", i64::from(random.below(12) + 1).into()),
            ("Description", random.one_of(&NAMES).into()),
            ("Posted", (random.below(4) > 0).into()),
            ("OpenPayable", (random.below(2) == 0).into()),
        ],
    );
}

fn invoice_lines(database: &mut Database, random: &mut Random, of: &Row, lines: usize) {
    let key = |column| of.get(column).cloned().unwrap_or(Value::Null);
    for line in (1..).take(lines) {
        let (cost, extended) = (random.amount(5), random.amount(3));
        database.write(
            "APInvDtls",
            [
                ("VendorNum", key("VendorNum")),
                ("InvoiceNum", key("InvoiceNum")),
                ("InvoiceLine", Value::Int(line)),
                ("Description", random.one_of(&NAMES).into()),
                ("DocUnitCost", cost.clone()),
                ("UnitCost", cost),
                ("DocExtCost", extended.clone()),
                ("ExtCost", extended),
                ("VendorQty", Value::Decimal(i128::from(random.below(10_000)) * 12_345, 8)),
                ("PUM", "EA".into()),
            ],
        );
    }
}

fn journal_line(database: &mut Database, random: &mut Random, num: u32) {
    let amount = random.amount(3);
    let side = if num.is_multiple_of(2) { "BookDebitAmount" } else { "BookCreditAmount" };
    database.write(
        "GLJrnDtls",
        [
            ("BookID", "MAIN".into()),
            ("FiscalYear", 2026.into()),
            ("FiscalYearSuffix", "".into()),
            ("JournalCode", random.one_of(&["PJ", "GJ", "CR"]).into()),
            ("JournalNum", i64::from(num / 4 + 1).into()),
            ("JournalLine", i64::from(num + 1).into()),
            ("Description", random.one_of(&NAMES).into()),
            ("JEDate", random.date()),
            ("FiscalPeriod", i64::from(random.below(12) + 1).into()),
            ("GLAccount", format!("{}|00|CH", 1_000 + random.below(60)).into()),
            (side, amount),
            ("CurrencyCode", random.one_of(&CURRENCIES).into()),
            ("Posted", (random.below(3) > 0).into()),
        ],
    );
}

fn order(database: &mut Database, random: &mut Random, num: i64, vendors: u32) {
    let total = random.amount(3);
    database.write(
        "POes",
        [
            ("PONum", num.into()),
            ("VendorNum", (i64::from(random.below(vendors)) + 1_000).into()),
            ("OrderDate", random.date()),
            ("BuyerID", random.one_of(&["ANNA", "BJÖRN", "李"]).into()),
            ("CurrencyCode", random.one_of(&CURRENCIES).into()),
            ("OpenOrder", (random.below(3) > 0).into()),
            ("TotalOrder", total),
            ("CommentText", random.one_of(&NAMES).into()),
        ],
    );
    for line in 1..=2_i64 {
        let (cost, quantity) = (random.amount(5), random.amount(8));
        database.write(
            "PODetails",
            [
                ("PONUM", num.into()),
                ("POLine", line.into()),
                ("LineDesc", random.one_of(&NAMES).into()),
                ("UnitCost", cost),
                ("OrderQty", quantity.clone()),
                ("OpenLine", true.into()),
            ],
        );
        database.write(
            "PORels",
            [
                ("PONum", num.into()),
                ("POLine", line.into()),
                ("PORelNum", 1.into()),
                ("RelQty", quantity),
                ("DueDate", random.date()),
                ("OpenRelease", true.into()),
            ],
        );
    }
}

fn account(database: &mut Database, random: &mut Random, num: u32) {
    let account = format!("{}-{:02}-00", 1_000 + num, num % 7);
    database.write(
        "GLAccounts",
        [
            ("COACode", "MAIN".into()),
            ("GLAccount1", account.into()),
            ("AccountDesc", random.one_of(&NAMES).into()),
            ("SegValue1", (1_000 + num).to_string().into()),
            ("Active", (random.below(8) > 0).into()),
            ("EffFrom", random.date()),
        ],
    );
}

fn payment(database: &mut Database, random: &mut Random, num: i64, vendors: u32) {
    let amount = random.amount(3);
    let vendor = i64::from(random.below(vendors)) + 1_000;
    database.write(
        "PaymentEntries",
        [
            ("HeadNum", num.into()),
            ("VendorNum", vendor.into()),
            ("CheckDate", random.date()),
            ("CheckAmt", amount.clone()),
            ("CurrencyCode", random.one_of(&CURRENCIES).into()),
            ("Posted", true.into()),
        ],
    );
    let voided: &[bool] = if num % 5 == 0 { &[false, true] } else { &[false] };
    for voided in voided {
        database.write(
            "APTrans",
            [
                ("HeadNum", num.into()),
                ("APTranNo", 1.into()),
                ("InvoiceNum", format!("INV-{num}").into()),
                ("Voided", (*voided).into()),
                ("TranAmt", amount.clone()),
                ("TranDate", random.date()),
            ],
        );
    }
}

/// Changes `count` rows of a set: four of five are changed, one is new. Answers how many are new.
pub(super) fn change(database: &mut Database, set: &str, count: usize, seed: u64) -> usize {
    let mut random = Random(seed);
    let mut added = 0;
    let vendors = u32::try_from(database.table("Vendors").map_or(1, super::table::Table::len)).unwrap_or(1);
    for nth in 0..u32::try_from(count).unwrap_or(u32::MAX) {
        let rows = u32::try_from(database.table(set).map_or(0, super::table::Table::len)).unwrap_or(u32::MAX);
        if nth % 5 == 4 || rows == 0 {
            added += 1;
            let fresh = 500_000 + u32::try_from(seed % 1_000).unwrap_or_default() * 1_000 + nth;
            match set {
                "Vendors" => vendor(database, &mut random, i64::from(fresh)),
                "APInvoices" => invoice(database, &mut random, fresh, vendors),
                "POes" => order(database, &mut random, i64::from(fresh), vendors),
                "GLAccounts" => account(database, &mut random, fresh),
                _ => added -= 1,
            }
            continue;
        }
        let at = random.below(rows) as usize;
        let Some(key) = database.table(set).and_then(|table| table.nth_key(at)) else { continue };
        let names: Vec<String> = database.table(set).map(|table| table.definition.key.clone()).unwrap_or_default();
        let row = database.table(set).and_then(|table| table.values(table.find(&key)?)).map(<[Value]>::to_vec);
        let (Some(row), Some(table)) = (row, database.table(set)) else { continue };
        let mut columns: Vec<(&str, Value)> = names
            .iter()
            .filter_map(|name| Some((name.as_str(), row.get(table.definition.at(name)?)?.clone())))
            .collect();
        let text = format!("changed {} {}", random.one_of(&NAMES), random.below(1_000));
        match set {
            "Vendors" | "Customers" => columns.push(("Name", text.into())),
            "APInvoices" => columns.extend([("InvoiceBal", random.amount(3)), ("Description", text.into())]),
            "POes" => columns.extend([("TotalOrder", random.amount(3)), ("CommentText", text.into())]),
            "GLAccounts" => columns.push(("AccountDesc", text.into())),
            "Parts" => columns.push(("PartDescription", text.into())),
            "PaymentEntries" => columns.push(("CheckAmt", random.amount(3))),
            "APTrans" => columns.push(("TranAmt", random.amount(3))),
            _ => {}
        }
        database.write(set, columns);
    }
    added
}
