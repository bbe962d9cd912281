//! The page that `report` makes, as a browser shows it: its figures are those of the trail, it fits, and it asks for nothing.

mod browser;

use std::collections::HashSet;
use std::path::Path;

use kinetic_tableau_sync::store::SqliteStore;
use kinetic_tableau_sync::{AuditEntry, AuditEvent, AuditFilter, AuditStore as _, Counts, Findings, StateStore as _};
use serde_json::{Value, json};
use simulators::kinetic::Value as Cell;

use self::browser::Browser;
use super::cli::{World, succeeded};

/// Part of a key in Kinetic that would be code in a page.
const HOSTILE: &str = "</script><img src=x onerror=window.hit=1>\"'";

/// Everything that is compared, as texts of the page.
const READ: &str = r##"
const text = (place) => place ? place.textContent.trim() : null;
const all = (from, what) => [...from.querySelectorAll(what)];
const cells = (row) => [...row.children].map((cell) => cell.firstChild ? cell.firstChild.textContent.trim() : "");
const sum = (name) => text(document.querySelector(`.sum-${name} b`));
return {
  state: text(document.querySelector("#overview tbody .badge")),
  rows: text(document.querySelector("#overview td.rows")),
  sums: ["runs", "inserted", "updated", "deleted", "unchanged", "failed"].map(sum),
  runs: all(document, ".runs tbody tr").map((row) => [row.id, ...cells(row)]),
  titles: all(document.querySelector("figure.chart"), ".mark title").map(text),
  caught: ["missed", "silent", "gone", "late"].map((name) => text(document.querySelector(`.caught-${name} dd`).firstChild)),
  comparisons: all(document, "#comparisons tbody tr").map(cells),
  failures: all(document, ".failures li").map((item) => ["what", "message", "hint"].map((part) => text(item.querySelector("." + part)))),
  rejected: all(document, "#rejected tbody tr").map(cells),
  records: all(document, "details.record").map((record) =>
    [text(record.querySelector(".key")), ...all(record, "tbody tr").map((row) =>
      [...cells(row).slice(1, 4), (row.querySelector("a") || {hash: ""}).hash])]),
  proof: ["entries", "records", "pruned", "head"].map((name) => text(document.querySelector(`#proof dd.${name}`))),
  hit: window.hit === undefined ? "no" : "yes",
};
"##;

fn number(text: &Value) -> u64 {
    let text = text.as_str().unwrap_or_else(|| panic!("{text} is no text")).replace(',', "");
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

fn numbers(texts: &Value) -> Vec<u64> {
    texts.as_array().unwrap().iter().map(number).collect()
}

/// Columns of an invoice that tell which one it is.
fn invoice(number: &str) -> [(&'static str, Cell); 3] {
    [("Company", "EPIC06".into()), ("VendorNum", Cell::Int(1_000)), ("InvoiceNum", number.into())]
}

/// An overlap that leaves something to find for a comparison.
fn settings(text: String) -> String {
    text + "max_rejects = 3\nreconcile_rows = true\ntrack = { revision = \"SysRevID\", overlap = 3 }\n"
}

/// A store in which everything has happened: loads, a failure, a comparison that found something, a row that cannot land.
async fn eventful() -> World {
    let world = World::start(150).await;
    world.configure(settings);
    succeeded(&world.run(&["sync"]).await);

    world.kinetic.random_changes("APInvoices", 12, 1);
    world.kinetic.database().write("APInvoices", invoice(HOSTILE).into_iter().chain([("CurrencyCode", "CHF".into())]));
    succeeded(&world.run(&["sync"]).await);
    world.kinetic.database().write("APInvoices", invoice(HOSTILE).into_iter().chain([("CurrencyCode", "SEK".into())]));
    succeeded(&world.run(&["sync"]).await);

    world.configure(|text| text.replace("\"InvoiceAmt\"", "\"InvoiceAmnt\""));
    for _ in 0..2 {
        assert_eq!(world.run(&["sync"]).await.status.code(), Some(1));
    }
    let status = String::from_utf8(world.run(&["status"]).await.stdout).unwrap();
    assert!(
        status.contains("its schedule is manual, so nothing tries again by itself; `sync ap_invoices`"),
        "{status}"
    );
    world.configure(settings);

    let large = Cell::decimal("1234567890123456789012345678901234567.5");
    world.kinetic.database().write("APInvoices", invoice("TOO LARGE").into_iter().chain([("InvoiceAmt", large)]));
    {
        let mut database = world.kinetic.database();
        let rows = database.rows("APInvoices");
        let key = |row: &simulators::kinetic::Row, names: &[&str]| -> Vec<Cell> {
            names.iter().map(|name| row.get(name).unwrap().clone()).collect()
        };
        for row in rows.iter().take(4) {
            assert!(database.delete("APInvoices", &key(row, &["VendorNum", "InvoiceNum"])));
        }
        for row in rows.iter().skip(10).take(3) {
            let names = ["Company", "VendorNum", "InvoiceNum"];
            let known = names.into_iter().zip(key(row, &names));
            database.write_silently("APInvoices", known.chain([("CurrencyCode", "XXX".into())]).collect::<Vec<_>>());
        }
    }
    succeeded(&world.run(&["sync", "--reconcile"]).await);
    world
}

/// What the trail says of a run, as the page is to show it: read, inserted, updated, unchanged, superseded, rejected, deleted, late.
fn run_of(entry: &AuditEntry) -> Option<(String, Counts)> {
    match &entry.event {
        AuditEvent::Landed { counts, .. } | AuditEvent::Idle { counts, .. } => Some((entry.run.to_string(), *counts)),
        AuditEvent::Failed { .. } => Some((entry.run.to_string(), Counts::default())),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_the_figures_of_the_trail_fits_and_asks_for_nothing() {
    let world = eventful().await;
    let said = world.run(&["report", "--key", HOSTILE, "--records", "20"]).await;
    succeeded(&said);
    assert!(String::from_utf8_lossy(&said.stdout).starts_with("kinetic-tableau-report.html ("));
    let file = world.directory.path().join("kinetic-tableau-report.html");
    let url = format!("file://{}", file.display());
    let browser = Browser::start().await;

    browser.look(1280, "light", "screen").await;
    browser.open(&url).await;
    let page = browser.ask(READ).await;
    let store = SqliteStore::open_read_only(world.directory.path().join("state.db")).unwrap();
    figures_are_those_of_the_trail(&page, &store).await;
    record_is_told_as_in_the_trail(&page, &store).await;
    assert_eq!(page["hit"], "no", "data became code");
    searching_and_reading_works(&browser, page["records"].as_array().unwrap().len()).await;

    for width in [1280, 360] {
        for scheme in ["light", "dark"] {
            browser.look(width, scheme, "screen").await;
            browser.open(&url).await;
            fits(&browser, width, scheme).await;
        }
    }
    // Paper is white, whatever the screen is.
    browser.look(720, "dark", "print").await;
    browser.open(&url).await;
    fits(&browser, 720, "light").await;
    let requests = browser.requests(&url).await;
    assert!(requests.len() >= 5 && requests.iter().all(|asked| *asked == url), "{requests:?}");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    // And it could not if something in it wanted to.
    browser.ask("const image = document.createElement('img'); image.src = 'http://127.0.0.1:1/x'; document.body.append(image);").await;
    browser.ask("const code = document.createElement('script'); code.textContent = 'window.hit = 1'; document.body.append(code);").await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(browser.ask("return window.hit === undefined").await, true);
    let refused = browser.complaints().await;
    let image = refused.iter().find(|line| line.contains("127.0.0.1:1/x"));
    assert!(image.is_some_and(|line| line.contains("Content Security Policy")), "{refused:?}");
    drop(browser);
    nothing_is_shown_of_secrets(&world, &file);
}

async fn figures_are_those_of_the_trail(page: &Value, store: &SqliteStore) {
    let events = store.events(&AuditFilter::default()).await.unwrap();
    let runs: Vec<(String, Counts)> = events.iter().filter_map(run_of).collect();
    let total = runs.iter().fold(Counts::default(), |sum, (_, counts)| sum.and(*counts));
    let failed = events.iter().filter(|entry| matches!(entry.event, AuditEvent::Failed { .. })).count() as u64;
    // The row that cannot land was read by the cycle and by the comparison.
    assert_eq!((failed, total.deleted, total.rejected), (2, 4, 2), "this is what has happened");
    let sums = [runs.len() as u64, total.inserted, total.updated, total.deleted, total.unchanged, failed];
    assert_eq!(numbers(&page["sums"]), sums);

    let known = store.load(&"ap_invoices".into()).await.unwrap().unwrap().checkpoint;
    assert_eq!((page["state"].as_str(), number(&page["rows"])), (Some("well"), known.landed.unwrap().rows));

    // Newest first; behind id, begin, kind and end stand eight counts.
    let shown = page["runs"].as_array().unwrap();
    assert_eq!(shown.len(), runs.len());
    for (row, (id, counts)) in shown.iter().zip(runs.iter().rev()) {
        assert_eq!(row[0], format!("run-{id}"));
        let expected = [
            counts.read,
            counts.inserted,
            counts.updated,
            counts.unchanged,
            counts.superseded,
            counts.rejected,
            counts.deleted,
            counts.late,
        ];
        assert_eq!(numbers(&row.as_array().unwrap()[4..12].into()), expected, "{row}");
    }
    assert_eq!(shown.last().unwrap()[2], "full load: the first load");
    let titles = page["titles"].as_array().unwrap();
    assert_eq!(titles.len(), runs.len());
    for (title, (_, counts)) in titles.iter().zip(&runs) {
        let words = format!("{} inserted, {} updated, {} deleted", counts.inserted, counts.updated, counts.deleted);
        assert!(title.as_str().unwrap().contains(&words), "{title}: {words}");
    }

    let found: Vec<&Findings> = events
        .iter()
        .filter_map(|entry| match &entry.event {
            AuditEvent::Reconciled { findings } => Some(findings),
            _ => None,
        })
        .collect();
    let [found] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((found.silent, found.deleted), (3, 4), "{found:?}");
    assert_eq!(numbers(&page["caught"]), [found.missed, found.silent, found.deleted, total.late]);
    let comparison = page["comparisons"][0].as_array().unwrap();
    assert_eq!(
        numbers(&comparison[2..7].into()),
        [found.listed, found.missed, found.silent, found.gone, found.deleted]
    );

    let [failure] = page["failures"].as_array().unwrap().as_slice() else { panic!("{}", page["failures"]) };
    let [what, message, hint] = [0, 1, 2].map(|part| failure[part].as_str().unwrap_or_default());
    assert!(what.contains("ap_invoices") && what.contains("2 times"), "{what}");
    assert!(message.contains("no column InvoiceAmnt") && hint.starts_with("Next: "), "{message} {hint}");
    let [reject] = page["rejected"].as_array().unwrap().as_slice() else { panic!("{}", page["rejected"]) };
    assert_eq!((reject[1].as_str(), number(&reject[3])), (Some("InvoiceAmt"), 1), "{reject}");

    let proof = store.verify().await.unwrap();
    assert_eq!((proof.first_broken, page["proof"][3].as_str()), (None, Some(proof.head.as_str())));
    assert_eq!(numbers(&page["proof"].as_array().unwrap()[..3].into()), [proof.entries, proof.records, proof.pruned]);
}

async fn record_is_told_as_in_the_trail(page: &Value, store: &SqliteStore) {
    let key = serde_json::to_string(&json!(["EPIC06", 1_000, HOSTILE])).unwrap();
    let filter = AuditFilter { key: Some(key.clone()), ..AuditFilter::default() };
    let records = store.records(&filter).await.unwrap();
    assert_eq!(records.len(), 2, "it was inserted and updated");
    let expected: Vec<Value> = records
        .iter()
        .rev()
        .map(|record| {
            let done = if record.action.as_str() == "insert" { "inserted" } else { "updated" };
            json!([done, "yes", record.version.to_string(), format!("#run-{}", record.run)])
        })
        .collect();
    let shown = page["records"].as_array().unwrap();
    let newest = AuditFilter { limit: Some(20), ..AuditFilter::default() };
    let newest = store.records(&newest).await.unwrap();
    let keys: HashSet<&str> = newest.iter().map(|record| record.key.as_str()).chain([key.as_str()]).collect();
    assert_eq!(shown.len(), keys.len(), "the one that was asked for, and those of the newest twenty entries");
    assert!(shown.iter().all(|record| keys.contains(record[0].as_str().unwrap())));
    let of_key = shown.iter().find(|record| record[0] == key.as_str()).unwrap_or_else(|| panic!("{shown:?}"));
    assert_eq!(of_key.as_array().unwrap()[1..], expected);
}

/// The script finds records, opens what a link points into, and reads a chart out by keys.
async fn searching_and_reading_works(browser: &Browser, records: usize) {
    let found = browser
        .ask(
            "const field = document.querySelector('.search input'); field.value = 'ONERROR';
             field.dispatchEvent(new Event('input', {bubbles: true}));
             const seen = [...document.querySelectorAll('details.record')].filter((one) => one.checkVisibility());
             return [seen.length, document.querySelector('.search output').textContent];",
        )
        .await;
    assert_eq!(found, json!([1, format!("1 of {records} records")]));
    // Browsers that do so by themselves are few.
    let open = browser
        .ask(
            "location.hash = document.querySelector('details.record a').hash;
             const runs = document.querySelector(location.hash).closest('details');
             runs.open = false; dispatchEvent(new HashChangeEvent('hashchange')); return runs.open;",
        )
        .await;
    assert_eq!(open, true);
    let said = browser
        .ask(
            "const chart = document.querySelector('figure.chart'); chart.focus();
             for (const key of ['ArrowRight', 'ArrowLeft', 'ArrowRight']) chart.dispatchEvent(new KeyboardEvent('keydown', {key}));
             return [chart.querySelector('output').textContent, [...chart.querySelectorAll('.mark title')].pop().textContent];",
        )
        .await;
    assert!(said[0] == said[1] && said[0].as_str().unwrap().contains("inserted"), "{said}");
}

/// Nothing of the page, with everything in it open, is wider than the window; texts can be told from what they stand on.
async fn fits(browser: &Browser, width: u32, scheme: &str) {
    let measured = browser
        .ask(
            "document.querySelectorAll('details').forEach((place) => place.open = true);
             const root = document.documentElement;
             const wide = [...document.querySelectorAll('body *')].filter((place) => !place.closest('.scroll') && !place.closest('svg')
               && place.getBoundingClientRect().right > root.clientWidth + 1).map((place) => place.outerHTML.slice(0, 120));
             const light = (colour) => { const [r, g, b] = colour.match(/[0-9.]+/g).map((part) => { const c = part / 255;
               return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
             const ground = (place) => { for (; place; place = place.parentElement) { const colour = getComputedStyle(place).backgroundColor;
               if (colour !== 'rgba(0, 0, 0, 0)') return colour; } };
             const faint = [...document.querySelectorAll('p, td, th, dt, dd, a, small, summary, h1, h2, h3, code, .badge, li, b')].filter((place) => {
               const [one, other] = [light(getComputedStyle(place).color), light(ground(place))].sort((a, b) => b - a);
               return place.textContent.trim() && (one + 0.05) / (other + 0.05) < 4.5; }).map((place) => place.outerHTML.slice(0, 120));
             return [root.scrollWidth, root.clientWidth, wide.slice(0, 3), faint.slice(0, 3), getComputedStyle(document.body).backgroundColor];",
        )
        .await;
    assert!(measured[0].as_u64() <= measured[1].as_u64(), "{width} {scheme}: it scrolls sideways: {measured}");
    assert!(measured[1].as_u64().is_some_and(|inner| inner <= u64::from(width)), "{width} {scheme}: {measured}");
    assert_eq!((&measured[2], &measured[3]), (&json!([]), &json!([])), "{width} {scheme}: {measured}");
    let ground = measured[4].as_str().unwrap();
    assert_eq!(ground.starts_with("rgb(2"), scheme == "light", "{scheme}: {ground}");
}

fn nothing_is_shown_of_secrets(world: &World, file: &Path) {
    let page = std::fs::read_to_string(file).unwrap();
    for secret in [world.kinetic.api_key(), world.kinetic.password(), world.tableau.pat_secret()] {
        assert!(!page.contains(secret), "a secret is on the page");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_an_altered_trail_or_of_nothing_says_so() {
    let world = World::start(20).await;
    let nothing = world.run(&["report"]).await;
    assert_eq!(nothing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("nothing has been synced yet"));
    succeeded(&world.run(&["sync"]).await);
    let page = world.run(&["report", "--out", "-"]).await;
    succeeded(&page);
    let text = String::from_utf8(page.stdout).unwrap();
    assert!(text.starts_with("<!doctype html>") && text.trim_end().ends_with("</html>"), "{text}");
    assert!(text.contains("The audit trail is whole."));
    {
        let database = rusqlite::Connection::open(world.directory.path().join("state.db")).unwrap();
        let changed = database.execute("UPDATE audit SET body = CAST(body || x'20' AS BLOB) WHERE kind = 2", []);
        assert!(changed.unwrap() > 0);
    }
    let altered = world.run(&["report", "--out", "-"]).await;
    assert_eq!(altered.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&altered.stderr).contains("the audit trail was altered"));
    assert!(String::from_utf8(altered.stdout).unwrap().contains("The audit trail was altered at entry"));
}
