//! A plugin on its own, without a room: what `scrim plugin inspect` and `scrim plugin bench` show.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::catalog::{CatalogError, Digest, Loaded, load_bytes};
use super::engine::Engines;
use super::instance::{Budgets, PolicyInstance};
use super::tenant::{Fresh, PolicySpec};
use super::types::{Hints, Request, Slot, Source, SourceKind, Thumbnail};
use crate::media::frame::Micros;

/// What can be said of a plugin.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    pub name: String,
    pub version: String,
    /// The slot it fills.
    pub world: Slot,
    pub contract: String,
    /// `sandbox` or `wasi`.
    pub class: &'static str,
    pub digest: Digest,
    /// Bytes of the component.
    pub size: usize,
    pub imports: Vec<String>,
    /// JSON Schema of its configuration.
    pub schema: serde_json::Value,
    /// Bytes of linear memory after configuration with the defaults; none where it refuses those.
    pub memory: Option<usize>,
    /// Why the defaults do not work.
    pub defaults_refused: Option<String>,
}

/// Checks, compiles and asks a plugin.
pub fn inspect(engines: &Arc<Engines>, bytes: &[u8], budgets: &Budgets) -> Result<Inspection, CatalogError> {
    let loaded = load_bytes(engines, bytes, budgets)?;
    Ok(inspect_loaded(&loaded, budgets))
}

pub fn inspect_loaded(loaded: &Arc<Loaded>, budgets: &Budgets) -> Inspection {
    let spec = PolicySpec { plugin: loaded.clone(), config: "{}".into() };
    let started = loaded.check_config("{}").and_then(|()| Fresh::start(&spec, Micros::ZERO, budgets).map_err(|error| error.to_string()));
    Inspection {
        name: loaded.name.name().to_owned(),
        version: loaded.name.version().to_string(),
        world: loaded.slot,
        contract: super::bindings::VERSION.to_owned(),
        class: loaded.class().as_str(),
        digest: loaded.digest,
        size: loaded.size,
        imports: loaded.imports.clone(),
        schema: serde_json::from_str(&loaded.manifest.config_schema).unwrap_or_default(),
        memory: started.as_ref().ok().map(|fresh| fresh.instance.memory()),
        defaults_refused: started.err(),
    }
}

/// Times of one operation, in the order of their size.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Times {
    #[serde(skip)]
    sorted: Vec<Duration>,
}

impl Times {
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self { sorted: times }
    }

    /// Runs something `count` times.
    pub fn measure<E>(count: usize, mut run: impl FnMut() -> Result<(), E>) -> Result<Self, E> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let since = Instant::now();
            run()?;
            times.push(since.elapsed());
        }
        Ok(Self::of(times))
    }

    /// The time that `share` (0..=1) of the runs did not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.sorted.len().saturating_sub(1);
        self.sorted.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
    }

    pub fn p50(&self) -> Duration {
        self.quantile(0.5)
    }

    pub fn p95(&self) -> Duration {
        self.quantile(0.95)
    }

    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }
}

/// How a plugin performs on an input of the ordinary kind.
#[derive(Clone, Debug)]
pub struct Bench {
    /// Instantiate and configure.
    pub start: Times,
    /// One call, wall clock, copying in included.
    pub call: Times,
    pub snapshot: Times,
    /// Bytes of linear memory afterwards.
    pub memory: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error("the plugin does not start: {0}")]
    Start(String),
    #[error("in a call: {0}")]
    Call(#[from] super::types::Fault),
}

/// Makes `count` calls of a plugin with the given configuration: a cascade sees a 320 × 180 thumbnail.
pub fn bench(loaded: &Arc<Loaded>, config: &str, count: usize, budgets: &Budgets) -> Result<Bench, BenchError> {
    let requests = [ordinary_request(loaded.slot)];
    bench_with(loaded, config, &requests, count, budgets)
}

/// The same with inputs of the caller's, taken in turn at 30 a second of stream time.
pub fn bench_with(loaded: &Arc<Loaded>, config: &str, requests: &[Request], count: usize, budgets: &Budgets) -> Result<Bench, BenchError> {
    const FRAME: u64 = 33_333;
    loaded.check_config(config).map_err(BenchError::Start)?;
    let spec = PolicySpec { plugin: loaded.clone(), config: config.into() };
    let start = |at| Fresh::start(&spec, at, budgets).map(|fresh| fresh.instance).map_err(|error| BenchError::Start(error.to_string()));
    let starts = Times::measure(count.min(200), || start(Micros::ZERO).map(|_| ()))?;
    let mut instance: PolicyInstance = start(Micros::ZERO)?;
    let mut at = Micros::ZERO;
    let mut turn = requests.iter().cycle();
    let mut call = || -> Result<(), BenchError> {
        let Some(request) = turn.next() else { return Ok(()) };
        at = at + Micros(FRAME);
        instance.call(at, request)?;
        Ok(())
    };
    // The first calls fault pages in.
    Times::measure(count.min(32), &mut call)?;
    let calls = Times::measure(count, &mut call)?;
    let snapshot = Times::measure(count.min(200), || instance.snapshot(at).map(|_| ()))?;
    Ok(Bench { start: starts, call: calls, snapshot, memory: instance.memory() })
}

/// An input of full size for a slot: a thumbnail with gradients and a skin-coloured disc, a sentence, eight detections.
pub fn ordinary_request(slot: Slot) -> Request {
    let request = super::prepare::smoke_request(slot);
    match request {
        Request::Screen { detectors, .. } => Request::Screen {
            source: Arc::new(Source { id: "bench".into(), kind: SourceKind::Camera, owner: "bench".into() }),
            thumbnail: Arc::new(ordinary_thumbnail()),
            detectors,
            hints: Hints { since_look: Some(Micros::from_millis(100)), change: 0.2, ..Hints::default() },
        },
        Request::Weigh { source, found } => Request::Weigh { source, found: found.iter().cycle().take(8).cloned().collect() },
        other => other,
    }
}

fn ordinary_thumbnail() -> Thumbnail {
    const WIDTH: usize = 320;
    const HEIGHT: usize = 180;
    let luma = |i: usize| ((i % WIDTH) * 200 / WIDTH + (i / WIDTH) % 7 * 8) as u8;
    let in_disc = |i: usize| {
        let (x, y) = ((i % (WIDTH / 2)) as i32 - 80, (i / (WIDTH / 2)) as i32 - 45);
        x * x + y * y < 900
    };
    let chroma = |inside: u8| (0..WIDTH * HEIGHT / 4).map(|i| if in_disc(i) { inside } else { 128 }).collect();
    Thumbnail::new(WIDTH as u32, HEIGHT as u32, (0..WIDTH * HEIGHT).map(luma).collect(), chroma(105), chroma(150))
}
