//! What `check` says of what is wrong: where it is, once.

use simulators::faults::{Effect, Fault};

use crate::cli::World;

/// A configuration in which the database of state and staging cannot be reached.
fn without_databases(text: &str) -> String {
    // Nobody listens on port 1.
    let staged = "[staging]\nurl = \"postgres://kinetic@127.0.0.1:1/bi\"\npassword = { env = \"KT_PAT\" }\n[[dataset]]";
    text.replace("\"sqlite:state.db\"", "{ env = \"KT_STATE\" }").replace("[[dataset]]", staged)
        + "deliver = \"postgres\"\ntrack = \"snapshot\"\n"
}

/// What every line that tells a failure says, by the name of its check.
async fn failures(world: &World) -> Vec<(String, String)> {
    let mut check = world.command(&["check"]).await;
    check.env("KT_STATE", "postgres://kinetic:qz-canary-of-check@127.0.0.1:1/state");
    let output = check.output().await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let failures = text.lines().filter_map(|line| line.strip_prefix("✗ ")?.split_once(": "));
    failures.map(|(check, message)| (check.to_owned(), message.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_of_a_check_says_twice_where_something_is_wrong() {
    let world = World::start(5).await;
    let mut all = Vec::new();
    let changes: [fn(&str) -> String; 5] = [
        without_databases,
        |text| text.replace("\"InvoiceAmt\"", "\"InvoiceAmnt\""),
        |text| text.replace("KT_API_KEY", "KT_NO_KEY"),
        |text| text.replace("KT_PAT", "KT_NO_PAT"),
        |text| text.replace("EPIC06", "EPIC99"),
    ];
    for change in changes {
        world.configure(|text| change(&text));
        all.extend(failures(&world).await);
    }
    world.configure(|text| text);
    let answer = |status| Effect::Status { status, body: "{}".to_owned(), retry_after: None };
    world.tableau.faults().push(Fault::on("auth/signin", answer(401)).times(9));
    all.extend(failures(&world).await);
    world.kinetic.faults().push(Fault::on("$metadata", answer(403)).times(9));
    all.extend(failures(&world).await);
    for (check, message) in &all {
        // A section below it, such as [tableau.auth], is another place.
        let (name, start) = (check.rsplit(' ').next().unwrap(), message.to_lowercase().replace('[', ""));
        let behind = start.strip_prefix("dataset ").unwrap_or(&start).strip_prefix(name);
        assert!(behind.is_none_or(|behind| behind.starts_with('.')), "{check}: {message}");
    }
    for part in ["state", "staging", "dataset ap_invoices", "kinetic", "tableau", "secret "] {
        assert!(all.iter().any(|(check, _)| check.starts_with(part)), "nothing was wrong with {part}: {all:?}");
    }
}
