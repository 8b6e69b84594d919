//! The contract's functions as wasmtime's typed functions, and the conversion from and to the host's own types.
//!
//! Written by hand instead of by `bindgen!`, whose borrowing mode cannot follow a `use` of types into an exported interface and whose
//! owning mode would copy each thumbnail once more. Parameters are lowered from borrowed data: the planes of a thumbnail go
//! into the guest's memory in one copy. The names and shapes below are checked against each component when its functions are looked up.

use std::sync::Arc;

use wasmtime::component::{ComponentType, Func, Lift, Linker, Lower, TypedFunc};
use wasmtime::{AsContext, AsContextMut, Store, StoreContextMut};

use super::guest::HostState;
use super::types::{Category, Finding, Hints, LabelThreshold, Manifest, Place, Screening, Source, SourceKind, Thumbnail, Utterance, Word};
use crate::geometry::Rect;
use crate::media::frame::Micros;
use crate::vision::detection::{Detection, Verdict};

pub const PACKAGE: &str = "scrim:policy";
pub const VERSION: &str = "0.1.0";
pub const LOG: &str = "scrim:policy/log@0.1.0";
pub const TYPES: &str = "scrim:policy/types@0.1.0";
pub const LIFECYCLE: &str = "scrim:policy/lifecycle@0.1.0";
pub const CASCADE: &str = "scrim:policy/cascade@0.1.0";
pub const TEXT: &str = "scrim:policy/text@0.1.0";
pub const THRESHOLD: &str = "scrim:policy/threshold@0.1.0";

#[expect(dead_code, reason = "lifting makes them from the guest's discriminant")]
#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
enum LevelIn {
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

/// Links the only import of the contract.
pub fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.instance(TYPES)?;
    let log = |mut store: StoreContextMut<'_, HostState>, (level, message): (LevelIn, String)| {
        let level = match level {
            LevelIn::Debug => tracing::Level::DEBUG,
            LevelIn::Info => tracing::Level::INFO,
            LevelIn::Warn => tracing::Level::WARN,
            LevelIn::Error => tracing::Level::ERROR,
        };
        let state = store.data_mut();
        let at = state.clock.at();
        state.log.log(at, level, &message);
        Ok(())
    };
    linker.instance(LOG)?.func_wrap("log", log)
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
enum SourceKindIn {
    #[component(name = "camera")]
    Camera,
    #[component(name = "screen")]
    Screen,
    #[component(name = "microphone")]
    Microphone,
    #[component(name = "chat")]
    Chat,
    #[component(name = "picture")]
    Picture,
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
struct SourceIn<'a> {
    id: &'a str,
    kind: SourceKindIn,
    owner: &'a str,
}

impl<'a> From<&'a Source> for SourceIn<'a> {
    fn from(source: &'a Source) -> Self {
        let kind = match source.kind {
            SourceKind::Camera => SourceKindIn::Camera,
            SourceKind::Screen => SourceKindIn::Screen,
            SourceKind::Microphone => SourceKindIn::Microphone,
            SourceKind::Chat => SourceKindIn::Chat,
            SourceKind::Picture => SourceKindIn::Picture,
        };
        Self { id: &source.id, kind, owner: &source.owner }
    }
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
struct ThumbnailIn<'a> {
    width: u32,
    height: u32,
    y: &'a [u8],
    cb: &'a [u8],
    cr: &'a [u8],
}

#[derive(Clone, Copy, ComponentType, Lower, Lift)]
#[component(record)]
struct RectBoth {
    x: f32,
    y: f32,
    width: f32,
    height: f32,
}

impl From<Rect> for RectBoth {
    fn from(rect: Rect) -> Self {
        Self { x: rect.x, y: rect.y, width: rect.width, height: rect.height }
    }
}

impl From<RectBoth> for Rect {
    fn from(rect: RectBoth) -> Self {
        Rect::new(rect.x, rect.y, rect.width, rect.height)
    }
}

#[derive(Clone, ComponentType, Lower)]
#[component(record)]
struct HintsIn<'a> {
    #[component(name = "scene-cut")]
    scene_cut: bool,
    change: f32,
    #[component(name = "since-look-us")]
    since_look_us: Option<u64>,
    trails: &'a [RectBoth],
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct ScreeningOut {
    detector: String,
    look: bool,
    areas: Vec<RectBoth>,
    reason: String,
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
struct DetectionIn<'a> {
    detector: &'a str,
    label: &'a str,
    confidence: f32,
    area: Option<RectBoth>,
    trail: Option<u32>,
}

impl<'a> From<&'a Detection> for DetectionIn<'a> {
    fn from(found: &'a Detection) -> Self {
        let area = found.area.map(RectBoth::from);
        Self { detector: &found.detector, label: &found.label, confidence: found.confidence, area, trail: found.trail }
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct VerdictOut {
    counts: bool,
    threshold: f32,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct LabelThresholdOut {
    detector: String,
    label: String,
    threshold: f32,
}

impl From<LabelThresholdOut> for LabelThreshold {
    fn from(out: LabelThresholdOut) -> Self {
        Self { detector: out.detector, label: out.label, threshold: out.threshold }
    }
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
struct TimeSpanIn {
    #[component(name = "start-us")]
    start_us: u64,
    #[component(name = "end-us")]
    end_us: u64,
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(variant)]
enum PlaceIn {
    #[component(name = "nowhere")]
    Nowhere,
    #[component(name = "area")]
    Area(RectBoth),
    #[component(name = "time")]
    Time(TimeSpanIn),
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
struct WordIn<'a> {
    text: &'a str,
    confidence: f32,
    place: PlaceIn,
}

impl<'a> From<&'a Word> for WordIn<'a> {
    fn from(word: &'a Word) -> Self {
        let place = match word.place {
            Place::Nowhere => PlaceIn::Nowhere,
            Place::Area(area) => PlaceIn::Area(area.into()),
            Place::Time { start, end } => PlaceIn::Time(TimeSpanIn { start_us: start.0, end_us: end.0 }),
        };
        Self { text: &word.text, confidence: word.confidence, place }
    }
}

#[derive(Clone, ComponentType, Lower)]
#[component(record)]
struct UtteranceIn<'a> {
    id: &'a str,
    revision: u32,
    #[component(name = "final")]
    is_final: bool,
    source: SourceIn<'a>,
    speaker: &'a str,
    addressees: &'a [String],
    #[component(name = "reply-to")]
    reply_to: Option<&'a str>,
    language: Option<&'a str>,
    words: &'a [WordIn<'a>],
}

#[derive(ComponentType, Lift)]
#[component(variant)]
enum CategoryOut {
    #[component(name = "profanity")]
    Profanity,
    #[component(name = "slur")]
    Slur,
    #[component(name = "sexual")]
    Sexual,
    #[component(name = "threat")]
    Threat,
    #[component(name = "harassment")]
    Harassment,
    #[component(name = "self-harm")]
    SelfHarm,
    #[component(name = "other")]
    Other(String),
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct WordRangeOut {
    first: u32,
    count: u32,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct FindingOut {
    words: WordRangeOut,
    category: CategoryOut,
    severity: f32,
    confidence: f32,
    reason: String,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct ManifestOut {
    name: String,
    version: String,
    #[component(name = "config-schema")]
    config_schema: String,
}

type Outcome = Result<(), String>;
type Describe = TypedFunc<(), (ManifestOut,)>;
type Configure<'a> = TypedFunc<(u64, &'a str), (Outcome,)>;
type Snapshot = TypedFunc<(), (Vec<u8>,)>;
type Restore<'a> = TypedFunc<(u64, &'a str, &'a [u8]), (Outcome,)>;
type SourceEnded<'a> = TypedFunc<(u64, &'a str), ()>;
type Screen<'a> = TypedFunc<(u64, SourceIn<'a>, ThumbnailIn<'a>, &'a [Arc<str>], HintsIn<'a>), (Vec<ScreeningOut>,)>;
type Judge<'a> = TypedFunc<(u64, UtteranceIn<'a>), (Vec<FindingOut>,)>;
type Weigh<'a> = TypedFunc<(u64, SourceIn<'a>, &'a [DetectionIn<'a>]), (Vec<VerdictOut>,)>;
type Feedback<'a> = TypedFunc<(u64, &'a str, &'a str, DetectionIn<'a>, bool), (Vec<LabelThresholdOut>,)>;
type Current = TypedFunc<(u64,), (Vec<LabelThresholdOut>,)>;

/// Where to find an export; from the component, once.
pub type Index = wasmtime::component::ComponentExportIndex;

/// The functions of one instance, with types already checked.
pub struct Functions {
    describe: Func,
    configure: Func,
    snapshot: Func,
    restore: Func,
    source_ended: Func,
    pub(super) own: Own,
}

/// The functions of the slot's own interface.
pub enum Own {
    Cascade { screen: Func },
    Text { judge: Func },
    Threshold { weigh: Func, feedback: Func, current: Func },
}

/// Positions of the exports of a component, looked up before any instance exists.
pub struct Exports {
    lifecycle: [Index; 5],
    own: OwnExports,
}

enum OwnExports {
    Cascade([Index; 1]),
    Text([Index; 1]),
    Threshold([Index; 3]),
}

/// Names of the functions of an interface, in the order of their indices.
const LIFECYCLE_FUNCTIONS: [&str; 5] = ["describe", "configure", "snapshot", "restore", "source-ended"];

fn indices<const N: usize>(component: &wasmtime::component::Component, interface: &str, names: [&str; N]) -> Result<[Index; N], String> {
    let instance = component.get_export_index(None, interface).ok_or_else(|| format!("it does not export `{interface}`"))?;
    let mut found = Vec::with_capacity(N);
    for name in names {
        found.push(component.get_export_index(Some(&instance), name).ok_or_else(|| format!("`{interface}` has no function `{name}`"))?);
    }
    found.try_into().map_err(|_| format!("`{interface}` is not whole"))
}

impl Exports {
    /// The error says which export is missing.
    pub fn find(component: &wasmtime::component::Component, slot: super::types::Slot) -> Result<Self, String> {
        use super::types::Slot;
        let own = match slot {
            Slot::Cascade => OwnExports::Cascade(indices(component, CASCADE, ["screen"])?),
            Slot::Text => OwnExports::Text(indices(component, TEXT, ["judge"])?),
            Slot::Threshold => OwnExports::Threshold(indices(component, THRESHOLD, ["weigh", "feedback", "current"])?),
        };
        Ok(Self { lifecycle: indices(component, LIFECYCLE, LIFECYCLE_FUNCTIONS)?, own })
    }

    /// Looks the functions up in an instance and checks their types.
    pub fn bind(&self, store: &mut Store<HostState>, instance: &wasmtime::component::Instance) -> wasmtime::Result<Functions> {
        let mut func = |index: &Index| {
            instance.get_func(&mut *store, index).ok_or_else(|| wasmtime::Error::msg("an export of the contract is no function"))
        };
        let [describe, configure, snapshot, restore, source_ended] = &self.lifecycle;
        let functions = Functions {
            describe: func(describe)?,
            configure: func(configure)?,
            snapshot: func(snapshot)?,
            restore: func(restore)?,
            source_ended: func(source_ended)?,
            own: match &self.own {
                OwnExports::Cascade([screen]) => Own::Cascade { screen: func(screen)? },
                OwnExports::Text([judge]) => Own::Text { judge: func(judge)? },
                OwnExports::Threshold([weigh, feedback, current]) => {
                    Own::Threshold { weigh: func(weigh)?, feedback: func(feedback)?, current: func(current)? }
                }
            },
        };
        functions.check(&*store)?;
        Ok(functions)
    }
}

/// A function of a type that [`Functions::check`] has checked.
fn typed<P, R>(func: Func) -> TypedFunc<P, R>
where
    P: wasmtime::component::ComponentNamedList + Lower,
    R: wasmtime::component::ComponentNamedList + Lift,
{
    // SAFETY: `Functions` is only made by `Exports::bind`, which checks each function against the same alias of this
    // module (with another lifetime, which the component's types know nothing of).
    unsafe { TypedFunc::new_unchecked(func) }
}

impl Functions {
    fn check(&self, store: impl AsContext) -> wasmtime::Result<()> {
        let store = store.as_context();
        let _: Describe = self.describe.typed(&store)?;
        let _: Configure<'_> = self.configure.typed(&store)?;
        let _: Snapshot = self.snapshot.typed(&store)?;
        let _: Restore<'_> = self.restore.typed(&store)?;
        let _: SourceEnded<'_> = self.source_ended.typed(&store)?;
        match &self.own {
            Own::Cascade { screen } => {
                let _: Screen<'_> = screen.typed(&store)?;
            }
            Own::Text { judge } => {
                let _: Judge<'_> = judge.typed(&store)?;
            }
            Own::Threshold { weigh, feedback, current } => {
                let _: Weigh<'_> = weigh.typed(&store)?;
                let _: Feedback<'_> = feedback.typed(&store)?;
                let _: Current = current.typed(&store)?;
            }
        }
        Ok(())
    }

    pub fn describe(&self, store: impl AsContextMut) -> wasmtime::Result<Manifest> {
        let (out,) = (typed(self.describe) as Describe).call(store, ())?;
        Ok(Manifest { name: out.name, version: out.version, config_schema: out.config_schema })
    }

    pub fn configure(&self, store: impl AsContextMut, at: Micros, config: &str) -> wasmtime::Result<Outcome> {
        let (out,) = (typed(self.configure) as Configure<'_>).call(store, (at.0, config))?;
        Ok(out)
    }

    pub fn snapshot(&self, store: impl AsContextMut) -> wasmtime::Result<Vec<u8>> {
        let (out,) = (typed(self.snapshot) as Snapshot).call(store, ())?;
        Ok(out)
    }

    pub fn restore(&self, store: impl AsContextMut, at: Micros, from_version: &str, state: &[u8]) -> wasmtime::Result<Outcome> {
        let (out,) = (typed(self.restore) as Restore<'_>).call(store, (at.0, from_version, state))?;
        Ok(out)
    }

    pub fn source_ended(&self, store: impl AsContextMut, at: Micros, source_id: &str) -> wasmtime::Result<()> {
        (typed(self.source_ended) as SourceEnded<'_>).call(store, (at.0, source_id))
    }
}

/// The parameters of `screen` beside the time.
pub struct ScreenParams<'a> {
    pub source: &'a Source,
    pub thumbnail: &'a Thumbnail,
    pub detectors: &'a [Arc<str>],
    pub hints: &'a Hints,
}

pub fn screen(screen: Func, store: impl AsContextMut, at: Micros, params: ScreenParams<'_>) -> wasmtime::Result<Vec<Screening>> {
    let [y, cb, cr] = params.thumbnail.planes();
    let frame = ThumbnailIn { width: params.thumbnail.width(), height: params.thumbnail.height(), y, cb, cr };
    let trails: Vec<RectBoth> = params.hints.trails.iter().copied().map(RectBoth::from).collect();
    let hints = HintsIn {
        scene_cut: params.hints.scene_cut,
        change: params.hints.change,
        since_look_us: params.hints.since_look.map(|since| since.0),
        trails: &trails,
    };
    let (out,) = (typed(screen) as Screen<'_>).call(store, (at.0, params.source.into(), frame, params.detectors, hints))?;
    let screening = |out: ScreeningOut| Screening {
        detector: out.detector,
        look: out.look,
        areas: out.areas.into_iter().map(Rect::from).collect(),
        reason: out.reason,
    };
    Ok(out.into_iter().map(screening).collect())
}

pub fn judge(judge: Func, store: impl AsContextMut, at: Micros, utterance: &Utterance) -> wasmtime::Result<Vec<Finding>> {
    let words: Vec<WordIn<'_>> = utterance.words.iter().map(WordIn::from).collect();
    let param = UtteranceIn {
        id: &utterance.id,
        revision: utterance.revision,
        is_final: utterance.is_final,
        source: (&utterance.source).into(),
        speaker: &utterance.speaker,
        addressees: &utterance.addressees,
        reply_to: utterance.reply_to.as_deref(),
        language: utterance.language.as_deref(),
        words: &words,
    };
    let (out,) = (typed(judge) as Judge<'_>).call(store, (at.0, param))?;
    Ok(out.into_iter().map(Finding::from).collect())
}

impl From<FindingOut> for Finding {
    fn from(out: FindingOut) -> Self {
        let category = match out.category {
            CategoryOut::Profanity => Category::Profanity,
            CategoryOut::Slur => Category::Slur,
            CategoryOut::Sexual => Category::Sexual,
            CategoryOut::Threat => Category::Threat,
            CategoryOut::Harassment => Category::Harassment,
            CategoryOut::SelfHarm => Category::SelfHarm,
            CategoryOut::Other(own) => Category::Other(own),
        };
        let WordRangeOut { first, count } = out.words;
        Self { first, count, category, severity: out.severity, confidence: out.confidence, reason: out.reason }
    }
}

pub fn weigh(weigh: Func, store: impl AsContextMut, at: Micros, source: &Source, found: &[Detection]) -> wasmtime::Result<Vec<Verdict>> {
    let found: Vec<DetectionIn<'_>> = found.iter().map(DetectionIn::from).collect();
    let (out,) = (typed(weigh) as Weigh<'_>).call(store, (at.0, source.into(), &found[..]))?;
    Ok(out.into_iter().map(|out| Verdict { counts: out.counts, threshold: out.threshold }).collect())
}

pub fn feedback(
    feedback: Func,
    store: impl AsContextMut,
    at: Micros,
    (event_id, reporter): (&str, &str),
    found: &Detection,
    correct: bool,
) -> wasmtime::Result<Vec<LabelThreshold>> {
    let (out,) = (typed(feedback) as Feedback<'_>).call(store, (at.0, event_id, reporter, found.into(), correct))?;
    Ok(out.into_iter().map(LabelThreshold::from).collect())
}

pub fn current(current: Func, store: impl AsContextMut, at: Micros) -> wasmtime::Result<Vec<LabelThreshold>> {
    let (out,) = (typed(current) as Current).call(store, (at.0,))?;
    Ok(out.into_iter().map(LabelThreshold::from).collect())
}
