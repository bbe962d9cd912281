//! The commands that keep secrets: in by a pipe or a terminal, and never out.

use std::process::Stdio;

use tokio::process::Command;

use super::canaries::Evidence;
use super::world::{Kinetic, Tableau, World, damage, ended, text};
use crate::cli::binary;

#[tokio::test(flavor = "multi_thread")]
async fn secrets_come_in_by_a_pipe_and_never_out() {
    let mut world = World::new(Kinetic::Basic, Tableau::Pat).await;
    let secret = world.canaries.database.secret.clone();
    ended(&world.run_with(&["secrets", "set", "database", "--note", "of the state"], &format!("{secret}\n")).await, 0);
    ended(&world.run_with(&["-vv", "secrets", "set", "database"], &secret).await, 2);
    ended(&world.run_with(&["secrets", "rotate", "database"], &secret).await, 2);
    let rotated = world.canaries.sealed.secret.clone();
    ended(&world.run_with(&["-vv", "secrets", "rotate", "database"], &rotated).await, 0);
    let listed = world.run(&["secrets", "list", "--json"]).await;
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let names: Vec<&str> =
        listed["secrets"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["database", "kinetic-api-key", "tableau-pat", "unused"]);
    assert!(listed["secrets"][0]["previous_at"].is_string() && listed["secrets"][1]["previous_at"].is_null());
    assert_eq!(listed["secrets"][0]["note"], "of the state");
    ended(&world.run(&["secrets", "list"]).await, 0);
    ended(&world.run(&["secrets", "init"]).await, 2);
    ended(&world.run(&["secrets", "remove", "database"]).await, 0);
    ended(&world.run(&["secrets", "remove", "database"]).await, 2);
    for (arguments, input) in [
        (&["secrets", "set", "again", &secret][..], ""),
        (&["secrets", "set", "again", "--", &secret], ""),
        (&["secrets", "rotate", "unused", "--value", &secret], ""),
        (&["secrets", "set", &secret], ""),
        (&["secrets", "set", "again"], " \n"),
        (&["secrets", "rotate", "nowhere"], &*secret),
    ] {
        // Not the name of the evidence, which holds the arguments.
        let mut child = world.command(arguments).await.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await;
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        ended(&output, 2);
        assert!(text(&output).contains("error: ") && text(&output).contains("next: "), "{}", text(&output));
        world.evidence.add("wrong use", text(&output));
    }
    world.is_clean("secrets were kept");
    assert!(world.evidence.text("wrong use").contains("never given as an argument"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_file_that_cannot_be_opened_is_told_by_every_command() {
    let mut world = World::new(Kinetic::Basic, Tableau::Pat).await;
    let (file, key) = (world.path("sealed.age"), world.path("seal.key"));
    let whole = std::fs::read(&file).unwrap();
    let commands = [&["check"][..], &["check", "--json"], &["-vv", "sync"], &["-vv", "secrets", "list"]];

    let mut wrong = Vec::new();
    damage(&file);
    wrong.push(("is damaged", commands));
    for (words, commands) in wrong {
        for arguments in commands {
            let output = world.run(arguments).await;
            assert!(!output.status.success() && text(&output).contains(words), "{}", text(&output));
        }
    }
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    for arguments in commands {
        assert!(text(&world.run(arguments).await).contains("was cut off"));
    }
    std::fs::remove_file(&file).unwrap();
    for arguments in commands {
        assert!(text(&world.run(arguments).await).contains("is not there"));
    }
    std::fs::write(&file, &whole).unwrap();

    // The passphrase is a canary, and wrong.
    world.configure(Kinetic::Basic, Tableau::Pat, |text| {
        text.replace("key = { file = \"seal.key\" }", "key = { passphrase = { env = \"KT_PASSPHRASE\" } }")
    });
    for arguments in commands {
        assert!(text(&world.run(arguments).await).contains("opened by a key, not by a passphrase"));
    }
    world.configure(Kinetic::Basic, Tableau::Pat, |text| text);
    ended(&world.run(&["secrets", "rekey", "--passphrase-env", "KT_PASSPHRASE"]).await, 0);
    for arguments in commands {
        assert!(text(&world.run(arguments).await).contains("opened by a passphrase, not by a key"));
    }
    world.configure(Kinetic::Basic, Tableau::Pat, |text| {
        text.replace("key = { file = \"seal.key\" }", "key = { passphrase = { env = \"KT_PASSPHRASE\" } }")
    });
    ended(&world.run(&["-vv", "sync"]).await, 0);
    world.variables = vec![("KT_PASSPHRASE", world.canaries.database.secret.clone())];
    for arguments in commands {
        assert!(text(&world.run(arguments).await).contains("the passphrase does not open"));
    }
    world.variables.clear();
    world.configure(Kinetic::Basic, Tableau::Pat, |text| {
        text.replace("{ secret = \"tableau-pat\" }", "{ secret = \"nope\" }")
    });
    ended(&world.run(&["secrets", "rekey", "--passphrase-env", "KT_PASSPHRASE"]).await, 2);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        for arguments in commands {
            assert!(text(&world.run(arguments).await).contains("others may read"));
        }
    }
    let _ = key;
    world.look_back().await;
    world.is_clean("the sealed file could not be opened");
}

/// Types on a terminal: answers each question that comes, and prints all that the terminal shows.
const TYPIST: &str = r#"
import json, os, pty, select, sys, time
steps = json.loads(sys.stdin.read())
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
shown, end = b"", time.time() + 60
def more():
    global shown
    if time.time() > end:
        sys.exit("no end: %r" % shown)
    if select.select([terminal], [], [], 0.2)[0]:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            return False
        shown += piece
        return bool(piece)
    return True
for question, answer in steps:
    seen = len(shown)
    while question.encode() not in shown[seen:]:
        if not more():
            sys.exit("it ended without asking %r: %r" % (question, shown))
    time.sleep(0.1)
    os.write(terminal, answer.encode())
while more():
    pass
_, status = os.waitpid(pid, 0)
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(status))
"#;

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_shows_no_letter_of_what_is_typed() {
    use tokio::io::AsyncWriteExt as _;
    let mut world = World::new(Kinetic::Basic, Tableau::Pat).await;
    world.configure(Kinetic::Basic, Tableau::Pat, |text| {
        text.replace("sealed:sealed.age", "sealed:typed.age")
            .replace("key = { file = \"seal.key\" }", "key = { passphrase = \"ask\" }")
    });
    let (passphrase, value) =
        (format!("{}\n", world.canaries.passphrase.secret), format!("{}\n", world.canaries.sealed.secret));
    let words = "passphrase of the sealed secrets: ";
    let mut shown = Evidence::default();
    for (arguments, steps, code) in [
        (&["init"][..], vec![("new passphrase: ", &passphrase), ("once more: ", &value)], 2),
        (&["init"], vec![("new passphrase: ", &passphrase), ("once more: ", &passphrase)], 0),
        (&["set", "typed"], vec![(words, &passphrase), ("value of typed: ", &value)], 0),
        (&["list"], vec![(words, &value)], 2),
        (&["list"], vec![(words, &passphrase)], 0),
        (&["list"], vec![(words, &"\u{3}".to_owned())], 130),
    ] {
        let mut typist = Command::new("python3")
            .args(["-c", TYPIST])
            .arg(binary().await)
            .arg("secrets")
            .args(arguments)
            .current_dir(world.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = typist.stdin.take().unwrap();
        stdin.write_all(serde_json::to_string(&steps).unwrap().as_bytes()).await.unwrap();
        drop(stdin);
        let output = typist.wait_with_output().await.unwrap();
        ended(&output, code);
        shown.add("terminal", text(&output));
    }
    assert!(shown.text("terminal").contains("typed is set"));
    assert_eq!(shown.hits(world.canaries.all()), [""; 0]);
    world.is_clean("it was typed");
}
