//! What a terminal is shown of data, and of servers' words, that would command it or forge lines.

use std::process::Output;

use serde_json::Value;
use simulators::faults::{Effect, Fault};
use simulators::kinetic::Value as Cell;

use crate::cli::{World, json, succeeded};

/// Ends its line, tells a landing that never was, clears the screen in two ways, and turns the direction of writing.
const HOSTILE: &str = "x\n2026-11-26 10:00:00Z  ap_invoices  insert  EPIC06|1|FORGED  revision 1  landed\r\u{1b}[2J\u{9b}2J\u{202e}\u{2028}y";

fn text(output: &Output) -> String {
    String::from_utf8([output.stdout.as_slice(), &output.stderr].concat()).unwrap()
}

/// Nothing that was printed commands a terminal or changes the direction, and no line begins with what data made up.
fn shows_everything(printed: &str) {
    let commands = |letter: &char| {
        *letter != '\n' && (letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2028}'))
    };
    assert_eq!(printed.chars().find(commands), None, "{printed:?}");
    assert!(!printed.lines().any(|line| line.starts_with("2026-11-26 10:00:00Z  ap_invoices")), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_data_holds_is_shown_and_neither_forges_lines_nor_commands_the_terminal() {
    let world = World::start(5).await;
    world.configure(|text| {
        text.replace("\"Posted\"]", "\"Posted\", \"Description\"]")
            + "dimensions = [\"Description\"]\nmax_rejects = 3\n"
    });
    let row = |number: &str| {
        [("VendorNum", Cell::Int(1_000)), ("InvoiceNum", number.into()), ("Description", HOSTILE.into())]
    };
    let large = Cell::decimal("1234567890123456789012345678901234567.5");
    world.kinetic.database().write("APInvoices", row(&format!("INV-{HOSTILE}")));
    world.kinetic.database().write("APInvoices", row(HOSTILE).into_iter().chain([("InvoiceAmt", large)]));
    succeeded(&world.run(&["sync"]).await);

    let trail = world.run(&["audit"]).await;
    shows_everything(&text(&trail));
    assert_eq!(text(&trail).matches("Description=\"x⟨U+000A⟩2026-11-26 10:00:00Z  ap_invoices").count(), 2);
    let rejects = world.run(&["rejects"]).await;
    shows_everything(&text(&rejects));
    assert!(text(&rejects).contains("⟨U+009B⟩2J⟨U+202E⟩⟨U+2028⟩y"), "{}", text(&rejects));

    // For machines it is what it is, and a terminal does not mind it either.
    let lines = world.run(&["audit", "--json"]).await;
    shows_everything(&text(&lines));
    let records: Vec<Value> = text(&lines).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = records.iter().filter(|record| record["dimensions"][0][1] == HOSTILE).count();
    assert_eq!(told, 2, "{records:?}");
    let rejected = text(&world.run(&["rejects", "--json"]).await);
    shows_everything(&rejected);
    let rejected: Value = serde_json::from_str(rejected.trim()).unwrap();
    let key: Value = serde_json::from_str(rejected["key"].as_str().unwrap()).unwrap();
    assert_eq!(key[2], HOSTILE);
    // Another program gets the bytes.
    assert!(text(&world.run(&["audit", "--export", "csv"]).await).contains(HOSTILE));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_servers_and_people_say_is_shown_in_failures_checks_progress_and_status() {
    let world = World::start(5).await;
    world.tableau.add_datasource_with_upstream("Finance", "Ledger");
    world.configure(|text| text + "refresh = [{ datasource = \"Ledger\", project = \"Finance\" }]\n");
    let words = format!("no \u{1b}[1A\u{202e}{HOSTILE}");
    let refusal = serde_json::json!({
        "HttpStatus": 400, "ReasonPhrase": "REST API Exception", "ErrorMessage": words,
        "ErrorType": "Ice.Common.BusinessObjectException",
    });
    for command in [&["-vv", "sync"], &["-v", "check"]] {
        let effect = Effect::Status { status: 400, body: refusal.to_string(), retry_after: None };
        world.kinetic.faults().push(Fault::on("Vendors", effect));
        let failed = world.run(command).await;
        assert_eq!(failed.status.code(), Some(1));
        shows_everything(&text(&failed));
        assert!(text(&failed).contains("no ⟨U+001B⟩[1A⟨U+202E⟩x"), "{}", text(&failed));
    }
    world.tableau.fail_next_refresh(words);
    let refreshed = text(&world.run(&["sync"]).await);
    shows_everything(&refreshed);
    assert!(refreshed.contains("no ⟨U+001B⟩[1A⟨U+202E⟩x"), "{refreshed}");
    succeeded(&world.run(&["pause", "ap_invoices", "--reason", HOSTILE]).await);
    let status = text(&world.run(&["status"]).await);
    shows_everything(&status);
    assert!(status.contains("⟨U+001B⟩[2J⟨U+009B⟩2J⟨U+202E⟩ y"), "{status}");
    let paused = json(&world.run(&["status", "--json"]).await);
    assert_eq!(paused["datasets"][0]["paused"]["reason"], HOSTILE, "{paused}");
}
