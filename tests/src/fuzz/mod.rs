//! Fuzzing: real seeds, mutated, against everything that takes bytes from outside. A case is made from one number, so a failure is replayed
//! by it, and proptest shrinks it to what is wrong.
//!
//! What must hold for every case: no panic, no answer that blames the host, and memory that does not grow.

mod json;
mod mutate;
mod targets;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::memory::resident_bytes;

/// Of a whole soak, and of the short form.
const MINUTES: u64 = 10;
const SHORT: Duration = Duration::from_secs(3);
/// What a soak may leave behind: allocators keep some, and caches fill.
const GROWTH_MAX: usize = 192 << 20;
/// Cases after which memory is what it will be.
const WARM_CASES: u64 = 200;
const PROGRESS_EVERY: Duration = Duration::from_secs(30);

/// Cases, and how many of them were taken for good.
#[derive(Default)]
pub struct Counts {
    cases: AtomicU64,
    taken: AtomicU64,
}

impl Counts {
    fn took(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }
}

/// Tries one case, and counts what came of it; the error says what broke.
type Run<V> = Box<dyn Fn(V, &Counts) -> Result<(), String>>;

/// One way in: where cases come from, and what is done with one.
struct Fuzz<S: Strategy> {
    name: &'static str,
    cases: S,
    /// An error, or a panic, is a failure.
    run: Run<S::Value>,
}

/// For how long, or which one case.
struct Plan {
    until: Duration,
    seed: u64,
    one: bool,
}

/// `TARGET [MINUTES] [--short] [--seed N | --from N]`; without a target all of them. `--seed` runs that case alone, `--from` it and those after.
///
/// # Errors
/// With the first case that fails, shrunk.
pub fn soak(arguments: &[String]) -> Result<()> {
    let short = arguments.iter().any(|word| word == "--short");
    let number = |name: &str| match arguments.iter().position(|word| word == name) {
        Some(at) => {
            arguments.get(at + 1).and_then(|word| word.parse::<u64>().ok()).map(Some).with_context(|| format!("{name} takes a number"))
        }
        None => Ok(None),
    };
    let (one, from) = (number("--seed")?, number("--from")?);
    let is_value = |at: usize| at > 0 && ["--seed", "--from"].contains(&arguments[at - 1].as_str());
    let mut words = arguments.iter().enumerate().filter(|(at, word)| !word.starts_with("--") && !is_value(*at));
    let target = words.next().map_or("all", |(_, word)| word.as_str());
    let minutes: f64 = match words.next() {
        Some((_, word)) => word.parse().with_context(|| format!("{word:?} is no number of minutes"))?,
        None => MINUTES as f64,
    };
    let until = if short { SHORT } else { Duration::from_secs_f64(minutes * 60.0) };
    // Another place each time, and told.
    let plan = Plan { until, seed: one.or(from).unwrap_or_else(|| fastrand::u64(..) >> 16), one: one.is_some() };
    // The host catches panics of the libraries that look at plugins; one that it does not catch is told as the failure that it is.
    std::panic::set_hook(Box::new(|_| {}));
    let known = ["jpeg", "png", "wire", "plugin", "config", "json"];
    let chosen: Vec<&str> = if target == "all" { known.to_vec() } else { vec![target] };
    for name in chosen {
        match name {
            "jpeg" => run(targets::jpeg()?, &plan)?,
            "png" => run(targets::png()?, &plan)?,
            "wire" => run(targets::wire()?, &plan)?,
            "plugin" => run(targets::plugin()?, &plan)?,
            "config" => run(targets::config()?, &plan)?,
            "json" => run(json::bodies()?, &plan)?,
            other => bail!("nothing to fuzz is called \"{other}\"; there are {}, and all", known.join(", ")),
        }
    }
    Ok(())
}

fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

fn run<S: Strategy>(fuzz: Fuzz<S>, plan: &Plan) -> Result<()>
where
    S::Value: std::panic::UnwindSafe,
{
    let Fuzz { name, cases, run } = fuzz;
    println!("{name}: from seed {}", plan.seed);
    let counts = Arc::new(Counts::default());
    let (since, mut told, mut warm) = (Instant::now(), Instant::now(), 0);
    let mut seed = plan.seed;
    // What ends the process (a stack that overflows) can't be caught; its seed is left here.
    let last = std::env::temp_dir().join(format!("scrim-fuzz-{name}.seed"));
    println!("{name}: the case under way is in {}", last.display());
    while since.elapsed() < plan.until {
        let mut runner = runner(seed);
        std::fs::write(&last, seed.to_string())?;
        let case = cases.new_tree(&mut runner).map_err(|error| anyhow::anyhow!("{name}: no case from seed {seed}: {error}"))?;
        let ran = runner.run_one(case, |case| run(case, &counts).map_err(TestCaseError::fail));
        match ran {
            Ok(_) => {}
            Err(TestError::Fail(why, case)) => {
                let case = format!("{case:?}");
                let shown: String = case.chars().take(4000).collect();
                bail!("{name}: {why}\nreplay: scrim-soak fuzz {name} --seed {seed}\nshrunk to: {shown}");
            }
            Err(TestError::Abort(why)) => bail!("{name}: seed {seed} was given up: {why}"),
        }
        let done = counts.cases.fetch_add(1, Ordering::Relaxed) + 1;
        if done == WARM_CASES {
            warm = resident_bytes()?;
        }
        if told.elapsed() > PROGRESS_EVERY {
            told = Instant::now();
            println!("{name}: {done} cases, {} taken, {} MiB", counts.taken.load(Ordering::Relaxed), resident_bytes()? >> 20);
        }
        if plan.one {
            break;
        }
        seed += 1;
    }
    let (done, taken, now) = (counts.cases.load(Ordering::Relaxed), counts.taken.load(Ordering::Relaxed), resident_bytes()?);
    println!("{name}: {done} cases in {:.0} s, {taken} taken, none failed; {} MiB resident", since.elapsed().as_secs_f64(), now >> 20);
    let grown = now.saturating_sub(warm);
    ensure!(done <= WARM_CASES || grown < GROWTH_MAX, "{name}: memory has grown by {} MiB over {done} cases", grown >> 20);
    Ok(())
}
