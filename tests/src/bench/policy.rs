//! `scrim-bench cascade | swap | rooms [--short]`: what policies cost, with this repository's own plugins.
//!
//! The plugins are those that `cargo xtask plugin build` has made: in `$SCRIM_PLUGINS`, or in the target folder's `plugins`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use scrim_host::media::frame::Micros;
use scrim_host::plugin::catalog::{Catalog, Loaded, PluginName};
use scrim_host::plugin::engine::{EngineConfig, Engines};
use scrim_host::plugin::events::PolicyEvent;
use scrim_host::plugin::executor::{Call, Deliver, Executor, ExecutorConfig, Output, SlotHandle};
use scrim_host::plugin::instance::Budgets;
use scrim_host::plugin::prepare::Candidate;
use scrim_host::plugin::slot::SlotConfig;
use scrim_host::plugin::tools::{Times, bench_with, ordinary_request};
use scrim_host::plugin::types::{CallId, Hints, Request, Slot, Thumbnail};
use scrim_sdk::testing::Harness;

use crate::memory::resident_bytes;

/// A frame at 30 a second.
const FRAME: Micros = Micros(33_333);
/// A stop that only a broken run reaches.
const PATIENCE: Duration = Duration::from_secs(120);

fn plugin_folder() -> Result<PathBuf> {
    let target = || {
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")), PathBuf::from)
    };
    let folder = std::env::var_os("SCRIM_PLUGINS").map_or_else(|| target().join("plugins"), PathBuf::from);
    if folder.is_dir() { Ok(folder) } else { bail!("no plugins in {}: run `cargo xtask plugin build`", folder.display()) }
}

/// Every built plugin, in a catalog of its own.
pub(crate) fn catalog(rooms: u32) -> Result<(tempfile::TempDir, Arc<Catalog>, Vec<Arc<Loaded>>)> {
    let engines = Engines::start(&EngineConfig { rooms, ..EngineConfig::default() })?;
    // The figures are of calls, not of deadlines: a machine that stalls must not end the run.
    let slack = Duration::from_secs(1);
    let budgets = Budgets { cascade: slack, text: slack, threshold: slack, start: slack };
    let root = tempfile::tempdir()?;
    let catalog = Catalog::open(root.path(), engines, budgets)?;
    let mut loaded = add_built(&catalog)?;
    loaded.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((root, Arc::new(catalog), loaded))
}

/// Adds every built plugin to a catalog.
///
/// # Errors
/// When they are not built, or one is refused.
pub fn add_built(catalog: &Catalog) -> Result<Vec<Arc<Loaded>>> {
    let mut loaded = Vec::new();
    for entry in std::fs::read_dir(plugin_folder()?)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            loaded.push(catalog.add(&std::fs::read(&path)?, None).with_context(|| path.display().to_string())?);
        }
    }
    Ok(loaded)
}

fn newest(plugins: &[Arc<Loaded>], slot: Slot) -> Result<Arc<Loaded>> {
    plugins.iter().rfind(|plugin| plugin.slot == slot).cloned().with_context(|| format!("no {slot} plugin among those built"))
}

/// The ordinary picture, moved a little further in each of eight frames, so that what looks at motion has some.
fn moving_requests() -> Result<Vec<Request>> {
    let Request::Screen { source, thumbnail, detectors, .. } = ordinary_request(Slot::Cascade) else {
        bail!("a cascade is asked to screen")
    };
    let shifted = |plane: &[u8], width: usize, by: usize| -> Vec<u8> {
        plane.chunks(width).flat_map(|row| row[by..].iter().chain(&row[..by]).copied()).collect()
    };
    let (width, [y, cb, cr]) = (thumbnail.width() as usize, thumbnail.planes());
    let request = |frame: usize| Request::Screen {
        source: source.clone(),
        thumbnail: Arc::new(Thumbnail::new(
            thumbnail.width(),
            thumbnail.height(),
            shifted(y, width, 4 * frame),
            shifted(cb, width / 2, 2 * frame),
            shifted(cr, width / 2, 2 * frame),
        )),
        detectors: detectors.clone(),
        hints: Hints { since_look: Some(Micros::from_millis(100)), change: 0.2, ..Hints::default() },
    };
    Ok((0..8).map(request).collect())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn line(what: &str, times: &Times) {
    println!("{what:<44} p50 {:>9.1} us   p95 {:>9.1} us   of {}", micros(times.p50()), micros(times.p95()), times.len());
}

/// A cascade call on 320 × 180, copy in included, beside the native build of the same code.
///
/// # Errors
/// When the plugins are not built or one fails.
pub fn cascade(arguments: &[String]) -> Result<()> {
    let calls = if is_short(arguments) { 300 } else { 10_000 };
    let (_root, catalog, plugins) = catalog(2)?;
    let requests = moving_requests()?;
    for plugin in plugins.iter().filter(|plugin| plugin.slot == Slot::Cascade) {
        let wasm = bench_with(plugin, "{}", &requests, calls, catalog.budgets())?;
        line(&format!("{}, in WebAssembly", plugin.name), &wasm.call);
        let native = match plugin.name.to_string().as_str() {
            "skin-cascade@1.0.0" => native::<skin_cascade::classic::Classic>(&requests, calls),
            "skin-cascade@2.0.0" => native::<skin_cascade::v2::Regions>(&requests, calls),
            other => bail!("no native build of {other} is known to this bench"),
        };
        line(&format!("{}, native", plugin.name), &native);
        println!(
            "  ratio of the medians {:.2}; start p50 {:.0} us; {} KiB of linear memory",
            ratio(&wasm.call, &native),
            micros(wasm.start.p50()),
            wasm.memory >> 10
        );
    }
    Ok(())
}

fn ratio(a: &Times, b: &Times) -> f64 {
    a.p50().as_secs_f64() / b.p50().as_secs_f64().max(f64::MIN_POSITIVE)
}

/// The same code and inputs without the sandbox, in the same release profile (128-bit SIMD either way).
fn native<P>(requests: &[Request], calls: usize) -> Times
where
    P: scrim_sdk::Exported<Slot = scrim_sdk::CascadeSlot<P>> + scrim_sdk::Cascade,
{
    let inputs: Vec<_> = requests.iter().filter_map(native_input).collect();
    let mut harness = Harness::<P>::new("{}");
    let mut at = 0;
    let mut turn = inputs.iter().cycle();
    let mut call = || -> Result<(), std::convert::Infallible> {
        if let Some((source, frame, detectors, hints)) = turn.next() {
            at += FRAME.0;
            std::hint::black_box(harness.screen(at, source, frame, detectors, hints));
        }
        Ok(())
    };
    // As many to warm up as the plugin gets.
    let Ok(_) = Times::measure(32, &mut call);
    let Ok(times) = Times::measure(calls, &mut call);
    times
}

type NativeInput = (scrim_sdk::Source, scrim_sdk::Thumbnail, Vec<String>, scrim_sdk::Hints);

fn native_input(request: &Request) -> Option<NativeInput> {
    let Request::Screen { source, thumbnail, detectors, hints } = request else { return None };
    let [y, cb, cr] = thumbnail.planes().map(<[u8]>::to_vec);
    let source = scrim_sdk::Source { id: source.id.clone(), kind: scrim_sdk::SourceKind::Camera, owner: source.owner.clone() };
    let frame = scrim_sdk::Thumbnail { width: thumbnail.width(), height: thumbnail.height(), y, cb, cr };
    let detectors = detectors.iter().map(|name| name.to_string()).collect();
    let hints = scrim_sdk::Hints {
        scene_cut: false,
        change: hints.change,
        since_look_us: hints.since_look.map(|since| since.0),
        trails: Vec::new(),
    };
    Some((source, frame, detectors, hints))
}

fn is_short(arguments: &[String]) -> bool {
    arguments.iter().any(|argument| argument == "--short")
}

/// A slot whose answers and events are waited for.
struct Driven {
    slot: SlotHandle,
    outputs: Receiver<Output>,
    at: Micros,
}

impl Driven {
    fn new(executor: &Executor, slot: Slot, budgets: Budgets) -> Self {
        let (sender, outputs) = channel();
        let deliver: Deliver = Arc::new(move |output| {
            // The bench is over when nobody listens.
            let _ = sender.send(output);
        });
        let config = SlotConfig { budgets, ..SlotConfig::default() };
        Self { slot: executor.slot(slot, config, None, deliver), outputs, at: Micros::ZERO }
    }

    fn next(&self) -> Result<Output> {
        self.outputs.recv_timeout(PATIENCE).context("the slot says nothing")
    }

    fn post(&mut self, request: &Request) -> Result<()> {
        self.at = self.at + FRAME;
        self.slot.call(Call { id: CallId(self.at.0), at: self.at, expires: None, request: request.clone() })?;
        Ok(())
    }

    fn answered(&self) -> Result<()> {
        loop {
            match self.next()? {
                Output::Answer(answer) => return answer.result.map(|_| ()).map_err(Into::into),
                Output::Event(PolicyEvent::Refused { reason, .. }) => bail!(reason),
                _ => {}
            }
        }
    }

    /// Commits what was asked for with `prepare`; returns how long the slot's calls were held.
    fn commit(&mut self) -> Result<Duration> {
        loop {
            match self.next()? {
                Output::Prepared(prepared) => {
                    self.at = self.at + FRAME;
                    self.slot.commit(prepared, self.at);
                }
                Output::Event(PolicyEvent::Committed { held_us, .. }) => {
                    // Nobody asks about anything captured before any more.
                    self.slot.retire_before(self.at + Micros(1));
                    return Ok(Duration::from_micros(held_us));
                }
                Output::Event(PolicyEvent::Refused { reason, .. }) => bail!(reason),
                _ => {}
            }
        }
    }
}

/// A whole swap with the compiled code in the cache on disk, and its commit alone, slot by slot.
///
/// # Errors
/// When the plugins are not built or one fails.
pub fn swap(arguments: &[String]) -> Result<()> {
    let swaps = if is_short(arguments) { 20 } else { 500 };
    let (_root, catalog, plugins) = catalog(2)?;
    let names: Vec<(Slot, PluginName)> = plugins.iter().map(|plugin| (plugin.slot, plugin.name.clone())).collect();
    // Nobody holds the code in memory: each swap reads it from the cache.
    drop(plugins);
    let executor = Executor::start(&ExecutorConfig::default())?;
    for slot in Slot::ALL {
        let versions: Vec<&PluginName> = names.iter().filter(|(at, _)| *at == slot).map(|(_, name)| name).collect();
        let Some(first) = versions.first() else { bail!("no {slot} plugin among those built") };
        let mut room = Driven::new(&executor, slot, *catalog.budgets());
        room.slot.install(&Candidate::Named(catalog.clone(), (*first).clone()), "{}", Micros::ZERO, None).map_err(anyhow::Error::msg)?;
        let request = ordinary_request(slot);
        let (mut totals, mut commits) = (Vec::new(), Vec::new());
        for number in 0..swaps {
            room.post(&request)?;
            room.answered()?;
            let name = versions[(number + 1) % versions.len()];
            let since = Instant::now();
            room.slot.prepare(Candidate::Named(catalog.clone(), name.clone()), "{}", room.at);
            commits.push(room.commit()?);
            totals.push(since.elapsed());
        }
        line(&format!("{slot}: swap, warm cache"), &Times::of(totals));
        line(&format!("{slot}: commit, calls held"), &Times::of(commits));
    }
    Ok(())
}

/// 500 rooms with three plugins each after a hundred inputs: memory a room, and the time to swap all of them.
///
/// # Errors
/// When the plugins are not built or one fails.
pub fn rooms(arguments: &[String]) -> Result<()> {
    let (rooms, inputs) = if is_short(arguments) { (20, 10) } else { (500, 100) };
    let (_root, catalog, plugins) = catalog(rooms)?;
    let chosen: Vec<Arc<Loaded>> = Slot::ALL.into_iter().map(|slot| newest(&plugins, slot)).collect::<Result<_>>()?;
    let executor = Executor::start(&ExecutorConfig::default())?;
    let moving = moving_requests()?;
    let input =
        |slot: Slot, number: usize| if slot == Slot::Cascade { moving[number % moving.len()].clone() } else { ordinary_request(slot) };
    let before = resident_bytes()?;
    let mut slots = Vec::new();
    for _ in 0..rooms {
        for plugin in &chosen {
            let room = Driven::new(&executor, plugin.slot, *catalog.budgets());
            room.slot.install(&Candidate::Loaded(plugin.clone()), "{}", Micros::ZERO, None).map_err(anyhow::Error::msg)?;
            slots.push(room);
        }
    }
    let since = Instant::now();
    for number in 0..inputs {
        for room in &mut slots {
            room.post(&input(room.slot.slot(), number))?;
        }
        slots.iter().try_for_each(Driven::answered)?;
    }
    let busy = since.elapsed();
    let after = resident_bytes()?;
    println!("{rooms} rooms x 3 plugins, {inputs} inputs each: {:.1} s", busy.as_secs_f64());
    let a_room = after.saturating_sub(before) as f64 / f64::from(rooms) / 1024.0;
    println!("resident memory a room, without frames       {a_room:.0} KiB ({:.1} MiB in all)", after as f64 / 1048576.0);

    let since = Instant::now();
    for room in &slots {
        let plugin = chosen.iter().find(|plugin| plugin.slot == room.slot.slot()).context("every slot has a plugin")?;
        room.slot.prepare(Candidate::Loaded(plugin.clone()), "{}", room.at);
    }
    let commits = slots.iter_mut().map(Driven::commit).collect::<Result<Vec<_>>>()?;
    println!("all {} slots swapped in                     {:.2} s", slots.len(), since.elapsed().as_secs_f64());
    line("a commit among them", &Times::of(commits));
    let settled = resident_bytes()?;
    println!(
        "resident memory afterwards                   {:.1} MiB; {} instances",
        settled as f64 / 1048576.0,
        catalog.engines().live_instances()
    );
    Ok(())
}
