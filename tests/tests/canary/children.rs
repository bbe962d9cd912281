//! The processes that we start: neither their arguments nor their environment hold a secret, though ours does.

#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use simulators::faults::{Effect, Fault};

use super::canaries::{Evidence, hits};
use super::world::{Kinetic, Tableau, World, ended};

fn read(process: &Path, file: &str) -> Vec<u8> {
    std::fs::read(process.join(file)).unwrap_or_default()
}

/// The processes whose parent is this one.
fn children_of(parent: u32) -> Vec<PathBuf> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let is_child = |process: &PathBuf| {
        let stat = String::from_utf8_lossy(&read(process, "stat")).into_owned();
        // Behind the name, which may hold anything: state and parent.
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok()) == Some(parent)
    };
    processes.filter(is_child).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_extract_engine_is_told_no_secret() {
    let world = World::new(Kinetic::Basic, Tableau::Password).await;
    // While the load is being published, the engine runs.
    for request in ["POST /api/3.29/sites", "PUT /api/3.29/sites"] {
        world.tableau.faults().push(Fault::on(request, Effect::Delay(Duration::from_secs(2))));
    }
    let mut sync = world.command(&["sync"]).await.spawn().unwrap();
    let parent = sync.id().unwrap();
    let mut seen = Evidence::default();
    while sync.try_wait().unwrap().is_none() {
        for child in children_of(parent) {
            seen.add("arguments", read(&child, "cmdline"));
            seen.add("environment", read(&child, "environ"));
        }
        seen.add("our arguments", read(Path::new(&format!("/proc/{parent}")), "cmdline"));
        let ours = read(Path::new(&format!("/proc/{parent}")), "environ");
        // The search would find them: the operator has put them into our own environment.
        if !ours.is_empty() {
            assert!(!hits(&ours, world.canaries.all()).is_empty());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(seen.holds("arguments", "hyperd") && seen.holds("environment", "PATH="), "the engine was not seen");
    assert_eq!(seen.hits(world.canaries.all()), [""; 0]);
    let output = sync.wait_with_output().await.unwrap();
    ended(&output, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pip_is_told_no_secret() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut world = World::new(Kinetic::Basic, Tableau::Pat).await;
    let programs = tempfile::tempdir().unwrap();
    let told = programs.path().join("told");
    // Writes down what it was told, and fails.
    let script = format!("#!/bin/sh\n{{ echo \"pip: $*\"; cat /proc/self/environ; }} >>{}\nexit 1\n", told.display());
    for name in ["python3", "python", "pip3", "pip"] {
        let path = programs.path().join(name);
        std::fs::write(&path, &script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    world.variables = vec![
        ("PATH", format!("{}:/usr/bin:/bin", programs.path().display())),
        ("XDG_CACHE_HOME", world.path("cache").display().to_string()),
    ];
    ended(&world.run(&["-vv", "engine", "install"]).await, 1);
    ended(&world.run(&["-vv", "engine", "where"]).await, 1);
    world.evidence.add("told", std::fs::read(&told).unwrap());
    assert!(world.evidence.holds("told", "pip: -m pip download") && world.evidence.holds("told", "pip: -c import"));
    assert!(world.evidence.holds("told", "XDG_CACHE_HOME="), "nothing of the environment was seen");
    world.is_clean("pip was called");
}
