//! Publishing a large file: how fast, and with how much memory, by our client and by Tableau's official Python client, against the same
//! server in the same run; and by ours once more while the answer to every single block gets lost once.
//!
//! `cargo bench -p simulators --bench publish` takes 1 GiB; `-- --mb 256` another size. Ends with an error when what lands is not the
//! file, or when our process takes more than 64 MiB beside one block (the next one is read while one is sent).

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use sha2::{Digest as _, Sha256};
use simulators::faults::{Effect, Fault};
use simulators::tableau::TableauSim;
use tableau_rest::{Client, FileSource, PublishRequest};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// The client's own default.
const BLOCK_MIB: u64 = 32;
const ROOM_MIB: u64 = 64;

const PEER: &str = r#"
import resource, sys, time
import tableauserverclient as TSC
address, site, name, secret, path, called = sys.argv[1:]
server = TSC.Server(address)
server.use_server_version()
with server.auth.sign_in(TSC.PersonalAccessTokenAuth(name, secret, site_id=site)):
    project = next(project for project in TSC.Pager(server.projects) if project.name == "Default")
    begun = time.monotonic()
    server.datasources.publish(TSC.DatasourceItem(project.id, name=called), path, TSC.Server.PublishMode.CreateNew)
    seconds = time.monotonic() - begun
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"#;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let arguments: Vec<String> = std::env::args().collect();
    let ended = match arguments.get(1).map(String::as_str) {
        Some("ours") => runtime.block_on(ours(arguments.get(2..).unwrap_or_default())),
        _ => runtime.block_on(compare(&arguments)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&*error),
    }
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

/// The process that publishes with our client; prints seconds and the most memory it held, in KiB.
async fn ours(arguments: &[String]) -> Outcome<()> {
    let [address, site, name, secret, path, called] = arguments else { return Err("six arguments are needed".into()) };
    let client = Client::builder(address).site(site).personal_access_token(name, secret).build()?;
    let project = client.projects().find_path(&["Default"]).await?.ok_or("no default project")?;
    let begun = Instant::now();
    client.datasources().publish(PublishRequest::new(project.id, called, FileSource::path(path))).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).and_then(|line| line.split_whitespace().next());
    println!("{seconds} {}", peak.ok_or("the system does not tell the memory of a process")?);
    Ok(())
}

struct Run {
    name: &'static str,
    seconds: f64,
    peak_mib: u64,
}

async fn compare(arguments: &[String]) -> Outcome<()> {
    let size_mib = match arguments.iter().position(|argument| argument == "--mb") {
        Some(at) => arguments.get(at + 1).ok_or("--mb needs a number")?.parse()?,
        None => 1_024_u64,
    };
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("large.hyper");
    let wanted = write(&file, size_mib)?;
    // The server takes any file: it is the way there that counts, and an extract of this size would take minutes to make.
    let sim = TableauSim::builder().switches(|switches| switches.check_extracts = false).start().await?;
    let python = python()?;
    let mut runs = Vec::new();
    let blocks = size_mib.div_ceil(BLOCK_MIB);
    for (name, called) in [("ours", "Ours"), ("ours, each answer lost once", "Lost"), ("tableauserverclient", "Peer")] {
        sim.faults().clear();
        let before = sim.faults().count("PUT /api/");
        if called == "Lost" {
            for nth in 0..blocks {
                // Meets the block of that number first, since they go in order.
                sim.faults().push(Fault::on(format!("sequenceID={nth}"), Effect::DropAfter));
            }
        }
        let mut command = if called == "Peer" {
            let mut command = Command::new(&python);
            command.args(["-c", PEER]);
            command
        } else {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("ours");
            command
        };
        command.args([&sim.url(), &sim.site(), sim.pat_name(), sim.pat_secret()]).arg(&file).arg(called);
        let ran = tokio::task::spawn_blocking(move || command.output()).await??;
        if !ran.status.success() {
            return Err(format!("{name}: {}", String::from_utf8_lossy(&ran.stderr)).into());
        }
        let said = String::from_utf8(ran.stdout)?;
        let (seconds, peak) = said.trim().split_once(' ').ok_or("the process told no figures")?;
        let sent = sim.faults().count("PUT /api/") - before;
        let landed = sim.landed_file("Default", called).ok_or("nothing landed")?;
        if digest(&landed)? != wanted {
            return Err(format!("{name}: what landed is not the file").into());
        }
        println!("{name}: {sent} blocks sent; what landed is the file");
        runs.push(Run { name, seconds: seconds.parse()?, peak_mib: peak.parse::<u64>()?.div_ceil(1_024) });
        std::fs::remove_file(landed)?;
    }
    report(size_mib, &runs)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report(size_mib: u64, runs: &[Run]) -> Outcome<()> {
    let [first, lost, peer] = runs else { return Err("a run is missing".into()) };
    println!("\n{size_mib} MiB            seconds   MiB/s   peak memory (MiB)");
    for run in runs {
        println!("{:<28} {:>6.1} {:>7.0} {:>8}", run.name, run.seconds, size_mib as f64 / run.seconds, run.peak_mib);
    }
    println!(
        "\nthe peer takes {:.1} times as long and {:.1} times as much memory",
        peer.seconds / first.seconds,
        peer.peak_mib as f64 / first.peak_mib as f64
    );
    for run in [first, lost] {
        if run.peak_mib > BLOCK_MIB + ROOM_MIB {
            return Err(format!("{}: {} MiB are more than one block and {ROOM_MIB} MiB", run.name, run.peak_mib).into());
        }
    }
    Ok(())
}

/// A file of bytes that do not repeat; answers its digest.
fn write(path: &Path, size_mib: u64) -> Outcome<[u8; 32]> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let (mut hash, mut state) = (Sha256::new(), 1_u64);
    let mut piece = vec![0_u8; 1 << 20];
    for _ in 0..size_mib {
        for word in piece.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        hash.update(&piece);
        file.write_all(&piece)?;
    }
    file.flush()?;
    Ok(hash.finalize().into())
}

fn digest(path: &Path) -> Outcome<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut file = std::fs::File::open(path)?;
    let mut piece = vec![0_u8; 1 << 20];
    loop {
        match std::io::Read::read(&mut file, &mut piece)? {
            0 => return Ok(hash.finalize().into()),
            read => hash.update(piece.get(..read).unwrap_or_default()),
        }
    }
}

/// An interpreter with the peer in it, made beside the build as the tests make theirs.
fn python() -> Outcome<PathBuf> {
    let bench = std::env::current_exe()?;
    let target = bench.ancestors().nth(3).ok_or("the benchmark lies in no build directory")?;
    let home = target.join("python-for-tests");
    let python = home.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let requirements = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tsc/requirements.txt");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&home))?;
    }
    run(Command::new(&python).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
        requirements,
    ]))?;
    Ok(python)
}

fn run(command: &mut Command) -> Outcome<()> {
    if command.status()?.success() {
        Ok(())
    } else {
        Err(format!("{command:?} failed; Python 3 with venv and pip is needed").into())
    }
}
