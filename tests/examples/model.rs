//! The model test on demand: `cargo run --release --package simulators --example model -- --seeds 20000`.
//!
//! - `--seeds N` runs so many schedules, `--from N` begins with another one, and prints how many ran per second;
//! - `--remedies` leaves out one remedy after the other, and says after how many seeds that was noticed; it fails for one that is not
//!   noticed within its limit;
//! - `--cuts N` cuts the pages of a seed at every byte;
//! - `--seed N` runs one. With `MODEL_TRACE=1` in the environment it tells everything that happens.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "it is a test: what is not as it must be ends it"
)]

#[path = "../tests/model/mod.rs"]
mod model;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use model::{Without, cut_everywhere, run};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    if arguments.iter().any(|argument| argument == "--remedies") {
        return remedies();
    }
    if let Some(seed) = number("--cuts") {
        let (offsets, violations) = cut_everywhere(seed);
        println!("pages were cut at {offsets} offsets; {violations:#?}");
        return if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if let Some(seed) = number("--seed") {
        let outcome = run(seed, Without::Nothing);
        println!("seed {seed}: {outcome:#?}");
        return if outcome.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let (from, seeds) = (number("--from").unwrap_or(0), number("--seeds").unwrap_or(1_000));
    let begun = Instant::now();
    let total = Mutex::new(Total::default());
    on_all_cores(seeds, |nth| {
        let seed = from + nth;
        let outcome = run(seed, Without::Nothing);
        let mut total = total.lock().unwrap();
        total.effects += outcome.effects;
        total.cycles += outcome.cycles;
        // In whatever order the seeds end.
        total.course ^= outcome.trace.wrapping_mul(seed.wrapping_mul(2).wrapping_add(1));
        if !outcome.violations.is_empty() {
            total.failed += 1;
            println!("seed {seed}: {}", outcome.violations.join("\n    "));
        }
    });
    let Total { effects, cycles, course, failed } = total.into_inner().unwrap();
    let took = begun.elapsed().as_secs_f64();
    println!(
        "{seeds} schedules, {cycles} runs that ended well, {effects} effects in {took:.1} s: {:.0} schedules a second; \
         course {course:016x}; {failed} failed",
        f64::from(u32::try_from(seeds).unwrap_or(u32::MAX)) / took
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What all seeds came to.
#[derive(Debug, Default)]
struct Total {
    effects: u64,
    cycles: u64,
    course: u64,
    failed: u64,
}

/// Works through so many numbers, on each core one at a time.
fn on_all_cores(count: u64, work: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= count {
                        return;
                    }
                    work(nth);
                }
            });
        }
    });
}

/// Leaves out one remedy after the other.
fn remedies() -> ExitCode {
    let needless = AtomicU64::new(0);
    on_all_cores(Without::ALL.len() as u64, |nth| {
        let (without, limit) = Without::ALL[usize::try_from(nth).unwrap()];
        let found = (0..limit).find_map(|seed| {
            let outcome = run(seed, without);
            outcome.violations.first().map(|first| (seed, first.clone()))
        });
        if let Some((seed, first)) = found {
            println!("without {without:?}: noticed by seed {seed} (limit {limit}): {first}");
        } else {
            needless.fetch_add(1, Ordering::Relaxed);
            println!("without {without:?}: NOT NOTICED within {limit} seeds");
        }
    });
    if needless.into_inner() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
