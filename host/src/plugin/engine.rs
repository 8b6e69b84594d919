//! The two wasmtime engines and the ticker that bounds their guests' CPU time.
//!
//! *Sandbox* class: plugins whose only import is the log; many, small. *Wasi* class: components of other toolchains that import
//! WASI preview 2, linked to an empty context; few, large, in a pool of their own so that they cannot take the others' places.
//! What always holds: decisions are deterministic (NaNs canonical, no relaxed SIMD, no threads), and no guest runs unless the
//! ticker does, since without it a deadline is void.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use wasmtime::component::Linker;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use super::guest::HostState;
use super::{bindings, wasi};

/// How often the epoch advances by itself: also the grain of CPU budgets.
pub const TICK: Duration = Duration::from_millis(1);

/// Without a tick for this long no call is made. Far above any pause of a loaded machine, far below what a watcher would miss.
pub const TICK_AGE_MAX: Duration = Duration::from_secs(2);

/// Slots per room in the pool: three in force, and as many again for generations that retire, candidates and shadows.
const INSTANCES_PER_ROOM: u32 = 6;
/// For previews, benches and smoke calls.
const INSTANCES_SPARE: u32 = 64;
/// The module itself, wit-component's shim and fix-up, and one to spare.
const CORE_INSTANCES_PER_PLUGIN: u32 = 4;

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the {class} plugin engine does not start: {source}; is address space limited (`ulimit -v`)?")]
    Engine { class: &'static str, source: wasmtime::Error },
    #[error("the epoch ticker's thread does not start: {0}")]
    Ticker(#[source] std::io::Error),
    #[error("the epoch ticker made no tick within {0:?}, so no plugin could be stopped")]
    NoTick(Duration),
}

/// Who advances the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TickerMode {
    /// A thread, every [`TICK`]; budgets are the calling thread's CPU time.
    Automatic,
    /// Nobody but [`Engines::step`]; budgets are counted in steps. For tests.
    ByHand,
}

#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Rooms to hold places for.
    pub rooms: u32,
    /// Memory cap of one sandbox instance, bytes.
    pub memory_max: usize,
    /// Components of the wasi class alive at once.
    pub wasi_instances: u32,
    /// Memory cap of one instance of the wasi class, bytes. An interpreter such as Python's needs some 30 MiB before it does anything.
    pub wasi_memory_max: usize,
    pub ticker: TickerMode,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { rooms: 500, memory_max: 16 << 20, wasi_instances: 64, wasi_memory_max: 256 << 20, ticker: TickerMode::Automatic }
    }
}

/// Which engine a component runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClassName {
    Sandbox,
    Wasi,
}

impl ClassName {
    pub const fn as_str(self) -> &'static str {
        match self {
            ClassName::Sandbox => "sandbox",
            ClassName::Wasi => "wasi",
        }
    }
}

/// One engine with its linker and limits.
pub struct Class {
    pub name: ClassName,
    pub engine: Engine,
    pub linker: Linker<HostState>,
    pub memory_max: usize,
    /// SHA-256 over everything that compiled code depends on: version, settings, CPU features.
    pub fingerprint: [u8; 32],
    live: Arc<AtomicUsize>,
}

impl Class {
    /// Instances that exist now.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    pub(super) fn count_one(&self) -> Counted {
        self.live.fetch_add(1, Ordering::Relaxed);
        metrics::gauge!(super::meter::INSTANCES, "class" => self.name.as_str()).increment(1.0);
        Counted { live: self.live.clone(), class: self.name }
    }
}

/// Counts one instance for as long as it lives.
pub(super) struct Counted {
    live: Arc<AtomicUsize>,
    class: ClassName,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!(super::meter::INSTANCES, "class" => self.class.as_str()).decrement(1.0);
    }
}

/// Both engines. Shared by every room.
pub struct Engines {
    pub sandbox: Class,
    pub wasi: Class,
    ticker: Ticker,
}

/// How the ticker is.
#[derive(Clone, Copy, Debug)]
pub struct TickerHealth {
    pub ticks: u64,
    pub last_tick_ago: Duration,
    pub running: bool,
}

impl Engines {
    /// Starts both engines and the ticker, and returns when the ticker has been seen to tick.
    pub fn start(config: &EngineConfig) -> Result<Arc<Self>, EngineError> {
        let sandbox = sandbox_class(config).map_err(|source| EngineError::Engine { class: "sandbox", source })?;
        let wasi = wasi_class(config).map_err(|source| EngineError::Engine { class: "wasi", source })?;
        let ticker = Ticker::start(config.ticker, [sandbox.engine.clone(), wasi.engine.clone()])?;
        Ok(Arc::new(Self { sandbox, wasi, ticker }))
    }

    pub fn class(&self, name: ClassName) -> &Class {
        match name {
            ClassName::Sandbox => &self.sandbox,
            ClassName::Wasi => &self.wasi,
        }
    }

    pub fn ticker_mode(&self) -> TickerMode {
        self.ticker.mode
    }

    pub fn health(&self) -> TickerHealth {
        self.ticker.health()
    }

    /// Advances the epoch by hand.
    pub fn step(&self, ticks: u64) {
        for _ in 0..ticks {
            self.ticker.clock.tick();
        }
    }

    /// Stops the ticker's thread, as a fault would. For tests: afterwards every call is refused.
    pub fn stop_ticker(&self) {
        self.ticker.stop.store(true, Ordering::Relaxed);
    }

    /// Whether a deadline would be kept now.
    pub fn deadlines_hold(&self) -> bool {
        self.ticker.mode == TickerMode::ByHand || self.ticker.health().running
    }

    pub fn live_instances(&self) -> usize {
        self.sandbox.live() + self.wasi.live()
    }
}

fn common_config(pool: PoolingAllocationConfig) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_simd(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .cranelift_nan_canonicalization(true)
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .concurrency_support(false)
        // wasmtime is built without its `threads` and `gc` features, so those proposals are refused already.
        .shared_memory(false)
        // A swap must not take the cores from live calls: the preparing thread compiles alone.
        .parallel_compilation(false)
        .native_unwind_info(false)
        .generate_address_map(false)
        .memory_init_cow(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

fn sandbox_class(config: &EngineConfig) -> wasmtime::Result<Class> {
    let instances = config.rooms * INSTANCES_PER_ROOM + INSTANCES_SPARE;
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances)
        .total_core_instances(instances * CORE_INSTANCES_PER_PLUGIN)
        .max_core_instances_per_component(CORE_INSTANCES_PER_PLUGIN)
        .total_memories(instances)
        .max_memories_per_component(1)
        .max_memories_per_module(1)
        .total_tables(instances * 3)
        .max_tables_per_component(3)
        .table_elements(10_000)
        .max_memory_size(config.memory_max)
        .total_stacks(1)
        // A place that held an instance gives its pages back at once: rooms come and go.
        .linear_memory_keep_resident(0)
        .table_keep_resident(0);
    let engine = Engine::new(&common_config(pool))?;
    let mut linker = Linker::new(&engine);
    bindings::link(&mut linker)?;
    Ok(class(ClassName::Sandbox, engine, linker, config.memory_max))
}

fn wasi_class(config: &EngineConfig) -> wasmtime::Result<Class> {
    let instances = config.wasi_instances;
    let mut pool = PoolingAllocationConfig::default();
    // componentize-py links some thirty core modules with as many tables into one component.
    pool.total_component_instances(instances)
        .total_core_instances(instances * 64)
        .max_core_instances_per_component(64)
        .total_memories(instances * 2)
        .max_memories_per_component(4)
        .total_tables(instances * 32)
        .max_tables_per_component(64)
        .table_elements(100_000)
        .max_core_instance_size(4 << 20)
        .max_component_instance_size(4 << 20)
        .max_memory_size(config.wasi_memory_max)
        .total_stacks(1)
        .linear_memory_keep_resident(0)
        .table_keep_resident(0);
    let engine = Engine::new(&common_config(pool))?;
    let mut linker = Linker::new(&engine);
    bindings::link(&mut linker)?;
    wasi::link(&mut linker)?;
    Ok(class(ClassName::Wasi, engine, linker, config.wasi_memory_max))
}

fn class(name: ClassName, engine: Engine, linker: Linker<HostState>, memory_max: usize) -> Class {
    let mut hasher = Sha256Hasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.write(env!("CARGO_PKG_VERSION").as_bytes());
    hasher.write(std::env::consts::ARCH.as_bytes());
    let fingerprint = hasher.0.finalize().into();
    Class { name, engine, linker, memory_max, fingerprint, live: Arc::default() }
}

/// `Hash` fed into SHA-256, so that a fingerprint is the same in every process.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        u64::from_le_bytes([digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7]])
    }
}

struct EpochClock {
    engines: [Engine; 2],
    start: Instant,
    ticks: AtomicU64,
    /// Microseconds from `start`.
    last: AtomicU64,
}

impl EpochClock {
    fn tick(&self) {
        for engine in &self.engines {
            engine.increment_epoch();
        }
        self.last.store(self.start.elapsed().as_micros() as u64, Ordering::Relaxed);
        self.ticks.fetch_add(1, Ordering::Release);
    }
}

struct Ticker {
    mode: TickerMode,
    clock: Arc<EpochClock>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(mode: TickerMode, engines: [Engine; 2]) -> Result<Self, EngineError> {
        let clock = Arc::new(EpochClock { engines, start: Instant::now(), ticks: AtomicU64::new(0), last: AtomicU64::new(0) });
        let stop = Arc::new(AtomicBool::new(false));
        let mut ticker = Self { mode, clock: clock.clone(), stop: stop.clone(), thread: None };
        if mode == TickerMode::ByHand {
            return Ok(ticker);
        }
        let run = move || {
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(TICK);
                clock.tick();
            }
        };
        ticker.thread = Some(std::thread::Builder::new().name("scrim-ticker".into()).spawn(run).map_err(EngineError::Ticker)?);
        let since = Instant::now();
        while ticker.clock.ticks.load(Ordering::Acquire) == 0 {
            if since.elapsed() > TICK_AGE_MAX {
                return Err(EngineError::NoTick(TICK_AGE_MAX));
            }
            std::thread::sleep(TICK / 4);
        }
        Ok(ticker)
    }

    fn health(&self) -> TickerHealth {
        let last = Duration::from_micros(self.clock.last.load(Ordering::Relaxed));
        let last_tick_ago = self.clock.start.elapsed().saturating_sub(last);
        let stopped = self.stop.load(Ordering::Relaxed);
        let running = self.mode == TickerMode::Automatic && !stopped && last_tick_ago <= TICK_AGE_MAX;
        TickerHealth { ticks: self.clock.ticks.load(Ordering::Acquire), last_tick_ago, running }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panicked ticker has nothing left to say.
            let _ = thread.join();
        }
    }
}
