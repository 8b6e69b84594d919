//! One host: everything that rooms share (models and their batchers, the plugin catalog and its executor), put together from a
//! configuration. Parts are started in the order in which they are fields here, and ready when [`Host::open`] returns.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::{Config, DelayTooShort, Policy};
use crate::infer::InferError;
use crate::infer::alone::Together;
use crate::infer::batcher::{Batcher, BatcherConfig};
use crate::infer::cost::LookCost;
use crate::infer::desk::{Desk, LateDesk};
use crate::infer::hearing::{Hearing, LateHearing};
use crate::infer::model::Weights;
use crate::infer::ocr::{Files, ReaderOptions};
use crate::infer::onnx::{OnnxDetector, SessionOptions};
use crate::infer::provider::{GpuOptions, ProviderReport};
use crate::infer::registry::Registry;
use crate::infer::runtime::Runtime;
use crate::infer::whisper;
use crate::media::frame::Micros;
use crate::plugin::catalog::{Catalog, CatalogError, PluginName};
use crate::plugin::engine::{EngineConfig, EngineError, Engines};
use crate::plugin::executor::{Executor, ExecutorConfig, ExecutorError};
use crate::plugin::instance::Budgets;
use crate::plugin::prepare::Candidate;
use crate::plugin::record::Recorder;
use crate::plugin::slot::SlotConfig;
use crate::plugin::types::{self, Slot};
use crate::room::admission::{Admission, Demand, Format, Limits, Refused, Usage};
use crate::room::judges::{Judges, Lookout};
use crate::room::listening::Speaker;
use crate::room::note::Observer;
use crate::room::policies::Policies;
use crate::room::settings::Settings;
use crate::room::words::Asker;

/// How long the clock's look may wait for a cut that might follow: two frames at 30 frames/s.
pub const PATIENCE: Micros = Micros::from_millis(70);

/// How much less likely a stretch may be with a favoured word than without, as a logarithm, for it to be heard; and how much less likely to a decoder
/// that is not told of them. Chosen by seeds 2 and 3 of `scrim-bench speech` (150 sentences and 12.7 minutes of ordinary speech each): recall is 0.90 clean and 0.82 at 20 dB, and 2 words are made up; with no bonus and no margin, 0.90, 0.78 and 5.
pub const FAVOUR: f32 = 4.0;
pub const MARGIN: f32 = 7.0;

#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error(transparent)]
    Infer(#[from] InferError),
    #[error("the models can't be found: {0}")]
    Assets(#[from] scrim_toolchain::assets::AssetError),
    #[error("text.read: {0}")]
    Reader(InferError),
    #[error("speech.listen: {0}")]
    Hearing(InferError),
    #[error("detectors.{detector}: {source}")]
    Detector { detector: String, source: InferError },
    #[error("detectors.{detector}: no label of {model} matches {glob:?}; it has {}", labels.join(", "))]
    NoSuchLabel { detector: String, model: String, glob: String, labels: Vec<String> },
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    #[error("no folder for the plugin catalog: set data_dir, XDG_DATA_HOME or HOME")]
    NoDataDir,
    #[error("policy.{slot}: {reason}")]
    Policy { slot: Slot, reason: String },
    #[error(transparent)]
    Admission(#[from] Refused),
    #[error("room: {0}")]
    Delay(#[from] DelayTooShort),
}

/// See the module.
pub struct Host {
    pub config: Config,
    pub providers: BTreeMap<Arc<str>, ProviderReport>,
    pub catalog: Arc<Catalog>,
    lookouts: BTreeMap<Arc<str>, Lookout>,
    costs: BTreeMap<Arc<str>, LookCost>,
    executor: Executor,
    admission: Arc<Mutex<Admission>>,
    /// How many were taken since the start.
    seats: AtomicU64,
    desk: LateDesk,
    hearing: LateHearing,
    opening: Mutex<()>,
}

/// The place of somebody whose speech is recognised; given back when it is dropped.
pub struct Seat {
    admission: Arc<Mutex<Admission>>,
    id: String,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner).release(&self.id);
    }
}

impl Host {
    /// Loads and warms up what `config` names.
    ///
    /// # Errors
    /// The first part that can't be had, by its key in the configuration.
    pub fn open(config: Config) -> Result<Self, HostError> {
        let (lookouts, providers, costs) = if config.detectors.is_empty() { Default::default() } else { lookouts(&config)? };
        let catalog = open_catalog(&config)?;
        let executor = Executor::start(&ExecutorConfig::default())?;
        let admission = Arc::new(Mutex::new(Admission::new(Limits {
            delay_line_bytes: u64::from(config.limits.delay_line_mib.get()) << 20,
            pixels_per_s: u64::from(config.limits.megapixels_per_second.get()) * 1_000_000,
            workers: cores() as f64,
            recognisers: f64::from(config.speech.recognisers.get()),
        })));
        Ok(Self {
            config,
            providers,
            catalog,
            lookouts,
            costs,
            executor,
            admission,
            seats: AtomicU64::new(0),
            desk: LateDesk::default(),
            hearing: LateHearing::default(),
            opening: Mutex::default(),
        })
    }

    /// The frame path's settings for frames `frame` apart, by this host's configuration or a room's.
    ///
    /// # Errors
    /// When the delay is too short for the detectors.
    pub fn settings(&self, config: &Config, frame: Micros) -> Result<Settings, HostError> {
        let budget = |model: &str| {
            let of = self.lookouts.values().find(|l| **l.batcher.name() == *model);
            of.map_or(Micros::ZERO, |l| Micros(l.batcher.look_budget().as_micros() as u64))
        };
        let settings = config.settings(budget, frame, PATIENCE)?;
        if settings.text.is_some() {
            self.open_desk()?;
        }
        if config.speech.listen {
            self.open_hearing()?;
        }
        Ok(settings)
    }

    /// Opens the recognisers, unless they are open.
    fn open_hearing(&self) -> Result<(), HostError> {
        let _one_at_a_time = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if self.hearing.get().is_none() {
            let speech = &self.config.speech;
            let asset = scrim_toolchain::assets::path;
            let files = match &speech.model {
                Some(folder) => whisper::Files::optimum(folder),
                None => whisper::Files::tiny_en(&scrim_toolchain::assets::folder()?),
            };
            let favoured = whisper::Favoured {
                words: speech.favour.clone().unwrap_or_else(whisper::Favoured::shipped),
                bonus: FAVOUR,
                margin: MARGIN,
            };
            let threads = speech.recognisers.get() as usize;
            let hearing = Hearing::open(runtime()?, asset("silero-vad.onnx")?, &files, &favoured, threads).map_err(HostError::Hearing)?;
            let _first = self.hearing.set(hearing);
        }
        Ok(())
    }

    /// What hears speech for somebody; nothing hears until a room's settings have asked for it.
    pub fn speaker(
        &self,
        source: types::Source,
        policies: Policies,
        observer: Observer,
        format: crate::speech::Format,
        closed: bool,
    ) -> Speaker {
        let asker = Asker { source: Arc::new(source), policies, observer, transcribes: false };
        Speaker { hearing: self.hearing.clone(), asker, format, closed }
    }

    /// Opens the readers, unless they are open.
    fn open_desk(&self) -> Result<(), HostError> {
        let _one_at_a_time = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if self.desk.get().is_none() {
            let files = Files::of(&scrim_toolchain::assets::folder()?);
            let threads = self.config.text.readers.get() as usize;
            let desk = Desk::open(runtime()?, &files, &ReaderOptions::default(), threads).map_err(HostError::Reader)?;
            let _first = self.desk.set(desk);
        }
        Ok(())
    }

    /// Takes a live source on, or says what it would take too much of.
    ///
    /// # Errors
    /// The limit, what is used of it, and what was asked.
    pub fn admit(&self, source_id: &str, settings: &Settings, format: &Format) -> Result<(), HostError> {
        let demand = self.demand(settings, format);
        Ok(self.admission.lock().unwrap_or_else(PoisonError::into_inner).admit(source_id, demand)?)
    }

    /// Takes on somebody whose live speech is to be recognised, until the seat is dropped.
    ///
    /// # Errors
    /// As [`Host::admit`].
    pub fn seat(&self, speaker: &str) -> Result<Seat, HostError> {
        // A track that is published again may come before the old one has gone.
        let id = format!("{speaker} ({})", self.seats.fetch_add(1, Ordering::Relaxed));
        let demand = Demand::of_speaker(self.speaker_cost());
        self.admission.lock().unwrap_or_else(PoisonError::into_inner).admit(&id, demand)?;
        Ok(Seat { admission: self.admission.clone(), id })
    }

    /// Whether so many live sources of these settings would be taken on, each with somebody's speech where the room `listens`; nothing is changed.
    ///
    /// # Errors
    /// As [`Host::admit`].
    pub fn fits(&self, source_id: &str, settings: &Settings, listens: bool, format: &Format, count: usize) -> Result<(), HostError> {
        let speech = Demand::of_speaker(if listens { self.speaker_cost() } else { 0.0 });
        let demand = self.demand(settings, format).and(speech).of_many(count);
        Ok(self.admission.lock().unwrap_or_else(PoisonError::into_inner).check(source_id, demand)?)
    }

    fn demand(&self, settings: &Settings, format: &Format) -> Demand {
        // The account is kept in cores: a detector with fewer workers than there are takes more of each.
        let cost = |name: &str| {
            let (Some(cost), Some(lookout)) = (self.costs.get(name), self.lookouts.get(name)) else { return 0.0 };
            cost.of(format.width, format.height) * cores() as f64 / lookout.batcher.config().workers.max(1) as f64
        };
        let read = self.desk.get().map_or(0.0, |desk| desk.cost(format.width, format.height));
        Demand::of(settings, format, cost, read * cores() as f64 / f64::from(self.config.text.readers.get()))
    }

    /// Of a recogniser, for somebody who goes on speaking.
    fn speaker_cost(&self) -> f64 {
        self.hearing.get().map_or(0.0, Hearing::cost)
    }

    /// A live source has ended.
    pub fn release(&self, source_id: &str) {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner).release(source_id);
    }

    /// What is taken on of what there is.
    pub fn usage(&self) -> Usage {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner).usage()
    }

    /// Whether each of a configuration's labels is one of its detector's.
    ///
    /// # Errors
    /// The first that is not, and what there is.
    pub fn check_covers(&self, config: &Config) -> Result<(), HostError> {
        for (name, detector) in &config.detectors {
            if let Some(lookout) = self.lookouts.get(name.0.as_str()) {
                check_labels(&name.0, detector, &lookout.batcher)?;
            }
        }
        Ok(())
    }

    /// The detectors, by their names in rooms.
    pub fn lookouts(&self) -> &BTreeMap<Arc<str>, Lookout> {
        &self.lookouts
    }

    /// Rules of a slot.
    pub fn slot_config(&self) -> SlotConfig {
        let limits = &self.config.plugins;
        SlotConfig {
            budgets: budgets(&self.config),
            faults_max: limits.faults_max.get() as usize,
            fault_window: Micros::from_millis(u64::from(limits.fault_window_s.get()) * 1000),
            ..SlotConfig::default()
        }
    }

    /// A room's policies, as configured.
    ///
    /// # Errors
    /// The policy that can't be installed, and why.
    pub fn configured_policies(&self, recorder: Option<Arc<Recorder>>, observer: Observer) -> Result<Policies, HostError> {
        let policies = self.policies(recorder, observer);
        let configured = &self.config.policy;
        for (slot, policy) in
            [(Slot::Cascade, &configured.cascade), (Slot::Text, &configured.text), (Slot::Threshold, &configured.threshold)]
        {
            let Some(policy) = policy else { continue };
            let failed = |reason: String| HostError::Policy { slot, reason };
            let (candidate, config) = self.candidate(policy).map_err(|error| failed(error.to_string()))?;
            policies.install(slot, &candidate, &config, None).map_err(failed)?;
        }
        Ok(policies)
    }

    /// A room's policies, with the host's defaults in all slots.
    pub fn policies(&self, recorder: Option<Arc<Recorder>>, observer: Observer) -> Policies {
        Policies::new(&self.executor, &self.slot_config(), recorder, observer)
    }

    /// The judges of a source: its detectors and its room's policies. `number` is the source's own in this process.
    pub fn judges(&self, number: u64, source: types::Source, policies: Policies, observer: Observer) -> Judges {
        Judges::new(number, source, self.lookouts.clone(), self.desk.clone(), policies, observer)
    }

    /// A configured policy as something that can be put into a slot, with its settings as JSON.
    ///
    /// # Errors
    /// When the name is none.
    pub fn candidate(&self, policy: &Policy) -> Result<(Candidate, String), CatalogError> {
        let name: PluginName = policy.plugin.to_string().parse()?;
        Ok((Candidate::Named(self.catalog.clone(), name), serde_json::Value::Object(policy.config.clone()).to_string()))
    }
}

/// The catalog alone, for the commands that need nothing else.
///
/// # Errors
/// When its folder can't be used or the engine not started.
pub fn open_catalog(config: &Config) -> Result<Arc<Catalog>, HostError> {
    let memory_max = (config.plugins.memory_mib.get() as usize) << 20;
    let engines = Engines::start(&EngineConfig { memory_max, ..EngineConfig::default() })?;
    let folder = config.data_dir().ok_or(HostError::NoDataDir)?.join("plugins");
    Ok(Arc::new(Catalog::open(folder, engines, budgets(config))?))
}

/// CPU time of calls as configured.
pub fn budgets(config: &Config) -> Budgets {
    let call = Duration::from_millis(u64::from(config.plugins.cpu_ms.get()));
    Budgets { cascade: call, threshold: call, ..Budgets::default() }
}

/// The models a configuration can name: the built-in ones and those declared in `models/` of its data folder.
///
/// # Errors
/// Every fault of every declaration.
pub fn registry(config: &Config) -> Result<Registry, HostError> {
    let own = config.data_dir().map(|dir| dir.join("models")).filter(|dir| dir.is_dir());
    Ok(Registry::load(own.as_deref())?)
}

/// The file that holds a model's weights.
///
/// # Errors
/// When the asset is not one that set-up fetches.
pub fn weights(weights: &Weights) -> Result<PathBuf, HostError> {
    match weights {
        Weights::Asset(name) => Ok(scrim_toolchain::assets::path(&format!("{name}.onnx"))?),
        Weights::Path(path) => Ok(path.clone()),
    }
}

/// Loads ONNX Runtime from where set-up puts it.
///
/// # Errors
/// Where it was looked for.
pub fn runtime() -> Result<&'static Runtime, HostError> {
    let asset = scrim_toolchain::assets::path("libonnxruntime.so")?;
    Ok(Runtime::load(&Runtime::locate(None, &[asset])?)?)
}

/// Where TensorRT keeps its engines and timings.
pub fn engine_cache(config: &Config) -> PathBuf {
    config.data_dir().unwrap_or_else(|| Path::new(".").to_owned()).join("engines")
}

fn check_labels(name: &str, detector: &crate::config::Detector, batcher: &Batcher) -> Result<(), HostError> {
    for glob in &detector.cover {
        let pattern = wildmatch::WildMatch::new(&glob.0);
        if !batcher.labels().iter().any(|label| pattern.matches(label)) {
            return Err(HostError::NoSuchLabel {
                detector: name.to_owned(),
                model: detector.model.clone(),
                glob: glob.0.clone(),
                labels: batcher.labels().iter().map(|label| label.to_string()).collect(),
            });
        }
    }
    Ok(())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}

type Lookouts = (BTreeMap<Arc<str>, Lookout>, BTreeMap<Arc<str>, ProviderReport>, BTreeMap<Arc<str>, LookCost>);

fn lookouts(config: &Config) -> Result<Lookouts, HostError> {
    let runtime = runtime()?;
    let registry = registry(config)?;
    let cores = cores();
    let cache = engine_cache(config);
    let (mut lookouts, mut providers, mut costs) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (name, detector) in &config.detectors {
        let failed = |source: InferError| HostError::Detector { detector: name.0.clone(), source };
        let spec = registry.get(&detector.model).map_err(failed)?;
        let file = weights(&spec.weights)?;
        // A worker a core, a thread each: a look does not wait for another one's threads.
        let threads = config.provider.threads.map_or(1, |threads| threads.get() as usize);
        // One that is alone may have all cores, unless the configuration says how many.
        let together = config.provider.threads.is_none().then(|| Together::new(cores)).filter(|together| together.threads > threads);
        let gpu = GpuOptions { device: 0, cache: cache.clone() };
        let options = SessionOptions { provider: config.provider.choice.0, threads, together, gpu };
        let (mut first, report) = OnnxDetector::open(runtime, spec.clone(), &file, &options).map_err(failed)?;
        let workers = (cores / threads).max(1);
        let batching = if first.provider().is_gpu() { BatcherConfig::gpu() } else { BatcherConfig::cpu(workers) };
        let cost = first.look_cost().map_err(failed)?;
        drop(first);
        let model = spec.clone();
        let factory = Arc::new(move || {
            let (detector, _) = OnnxDetector::open(runtime, model.clone(), &file, &options)?;
            Ok(Box::new(detector) as Box<dyn crate::infer::Detector>)
        });
        let batcher = Arc::new(Batcher::start(batching, factory).map_err(failed)?);
        check_labels(&name.0, detector, &batcher)?;
        let mut thresholds = spec.thresholds.clone();
        if let Some(base) = detector.threshold {
            thresholds.set_base(base);
        }
        let name: Arc<str> = name.0.as_str().into();
        providers.insert(name.clone(), report);
        costs.insert(name.clone(), cost);
        lookouts.insert(name, Lookout { batcher, thresholds });
    }
    Ok((lookouts, providers, costs))
}
