//! `scrim.toml`: what an operator may set, every default with its reason, and the relations between the settings.
//!
//! Owns the file's shape, its JSON Schema (derived from the types here) and its checks. [`Config::parse`] either returns a
//! configuration that can work or every fault at once, each with its key path, what is wrong and what to do. An unknown key is a
//! fault. Nothing else in the host reads the file.

mod faults;
mod livekit;
mod reference;
mod room;
mod serve;
mod values;
mod words;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::media::frame::Micros;
use crate::room::settings::{DetectorSettings, FailMode, LabelSet, Settings};
use crate::vision::color::Rgb;
use crate::vision::cover::Style;
use crate::vision::sampler::SamplerRule;
pub use faults::{ConfigError, Fault, schema};
pub use livekit::{LiveKit, VideoCodec};
pub use reference::markdown;
pub use room::RoomSettings;
pub use serve::Serve;
pub use values::{
    AttributeName, BadValue, BindAddress, Color, DetectorName, IngestSuffix, LabelGlob, Millis, PluginName, PluginVersion, ProviderName,
    Sampler, ServerUrl,
};
pub use words::{Speech, Text};

/// A frame's length where none is known yet, ms: 30 frames/s. A source of another rate is held to its own when it is admitted.
pub const FRAME_MS_NOMINAL: Millis = Millis(33);
/// How long a look may take where neither the configuration nor the model says, ms: 4 × NudeNet 320n at 192×320 on one CPU thread.
pub const LOOK_BUDGET_MS_NOMINAL: Millis = Millis(60);

/// The whole file. Every key is optional.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of what is kept between runs: the plugin catalog (`plugins/`) and the operator's own model declarations (`models/*.toml`). Absent: `scrim` under the user's data directory (`$XDG_DATA_HOME`, or `~/.local/share`).
    pub data_dir: Option<PathBuf>,
    /// How a room treats its frames.
    pub room: Room,
    /// What a covered area looks like.
    pub cover: Cover,
    /// What looks at the frames, by name. Absent: one, `nudity`, with NudeNet 320n. An empty table: nothing is looked for, and every frame passes.
    pub detectors: BTreeMap<DetectorName, Detector>,
    /// Text in the picture.
    pub text: Text,
    /// What is said.
    pub speech: Speech,
    /// Which plugin decides in which slot. A slot without one has the host's own default.
    pub policy: Policies,
    /// What a plugin may use, and when it is taken out of service.
    pub plugins: PluginLimits,
    /// What runs the models.
    pub provider: Provider,
    /// What one process takes on.
    pub limits: Limits,
    /// What `scrim serve` listens on, whom it lets in, and what it keeps.
    pub serve: Serve,
    /// The LiveKit server whose rooms are moderated. Its API key and secret are read from `LIVEKIT_API_KEY` and `LIVEKIT_API_SECRET`, never from this file.
    pub livekit: LiveKit,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: None,
            room: Room::default(),
            cover: Cover::default(),
            detectors: BTreeMap::from([(DetectorName::nudity(), Detector::of("nudenet-320n"))]),
            text: Text::default(),
            speech: Speech::default(),
            policy: Policies::default(),
            plugins: PluginLimits::default(),
            provider: Provider::default(),
            limits: Limits::default(),
            serve: Serve::default(),
            livekit: LiveKit::default(),
        }
    }
}

/// How a room treats its frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Room {
    /// What becomes of a frame that could not be judged in time: `closed` covers it whole, `open` lets it pass with every mask that is known or held.
    pub fail_mode: FailMode,
    /// How far viewers are behind the camera, ms. The time in which looks may be taken and taken again.
    #[schemars(range(min = 67, max = 10_000))]
    pub delay_ms: Millis,
    /// How long a mask stays after what it covers was last seen, ms, or to the next cut.
    #[schemars(range(max = 60_000))]
    pub hold_ms: Millis,
    /// The longest time between two looks of a detector that judge the frames between them, ms. Absent: the longest that the delay allows, `delay_ms` less the largest `look_budget_ms` less one frame.
    #[schemars(range(min = 33, max = 10_000))]
    pub look_max_ms: Option<Millis>,
    /// For how long a cascade's "skip" counts as a look, ms. Each millisecond above 0 is risk taken to save inferences: a frame may then pass that no detector judged.
    #[schemars(range(max = 10_000))]
    pub skip_max_ms: Millis,
    /// Which frames are looked at beyond those that the host requires: `adaptive` follows the uncertainty of what is being followed, `prototype` the share of recent frames with a detection, `fixed:N` takes every Nth.
    pub sampler: Sampler,
    /// What becomes of a chat message in which the text policy finds something: `mask` lets it pass with what was found masked, `refuse` keeps it back. One that could not be judged goes by `fail_mode`.
    pub chat: ChatMode,
    /// Whether a judge is needed for sound: `pass` lets it pass, with the mutes that are asked for; with `judged` it leaves only as far as a judge has said that it has heard it, and what is beyond goes by `fail_mode`: `closed` is silence, `open` lets it pass.
    pub sound: SoundMode,
    /// What is heard where sound is muted: `silence` or a `tone`.
    pub mute_with: MuteWith,
    /// For how long events keep what was said, typed or shown and found bad, hours; 0: not at all. Whoever may read the room's events may read it.
    #[schemars(range(max = 720))]
    pub keep_text_h: u32,
}

/// Whether a judge is needed for sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum SoundMode {
    #[default]
    Pass,
    Judged,
}

/// What is heard where sound is muted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum MuteWith {
    #[default]
    Silence,
    Tone,
}

/// What becomes of a chat message in which something is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum ChatMode {
    #[default]
    Mask,
    Refuse,
}

impl Room {
    /// The longest time between two looks, for a source whose frames are `frame` apart and whose slowest look takes `budget`.
    pub fn look_max(&self, budget: Micros, frame: Micros) -> Result<Micros, DelayTooShort> {
        let longest = Settings::look_max_for(self.delay_ms.micros(), budget, frame).unwrap_or(Micros::ZERO);
        // Less than a frame between looks would ask for more looks than there are frames.
        let asked = self.look_max_ms.map_or(frame, Millis::micros);
        if asked > longest || longest < frame {
            return Err(DelayTooShort { longest: Millis::floor(longest), least: Millis::ceil(asked.max(frame) + budget + frame) });
        }
        Ok(self.look_max_ms.map_or(longest, Millis::micros))
    }
}

impl Default for Room {
    fn default() -> Self {
        Self {
            // What was never judged is never shown: the safe side is the default.
            fail_mode: FailMode::Closed,
            // Room for two looks in a row (a look and the look that halves the gap) on one CPU thread, and still live to a viewer.
            delay_ms: Millis(400),
            // A detector that misses a face for half a second while it turns away is usual; 800 ms rides over it.
            hold_ms: Millis(800),
            look_max_ms: None,
            // A skip is a guess by a plugin, not a judgement.
            skip_max_ms: Millis(0),
            sampler: Sampler(SamplerRule::Adaptive),
            // What is said beside a bad word is worth reading.
            chat: ChatMode::Mask,
            // Nothing judges sound by itself yet: a room that needs a judge must have one.
            sound: SoundMode::Pass,
            // Nobody is startled by it.
            mute_with: MuteWith::Silence,
            // What people said is theirs.
            keep_text_h: 0,
        }
    }
}

/// What a covered area looks like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cover {
    /// `solid` fills with `color`, `pixelate` makes a few large blocks, `blur` smears beyond restoring.
    pub style: CoverStyle,
    /// The fill of `solid` and of frames covered whole, `#rrggbb`.
    pub color: Color,
}

impl Default for Cover {
    fn default() -> Self {
        // Nothing of the picture is left in a solid fill, so nothing can be recovered from it.
        Self { style: CoverStyle::Solid, color: Color { r: 0, g: 0, b: 0 } }
    }
}

/// How an area is covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum CoverStyle {
    Solid,
    Pixelate,
    Blur,
}

/// One detector of a room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Detector {
    /// A model that `scrim models` lists.
    #[schemars(length(min = 1))]
    pub model: String,
    /// How long one look may take from capture to verdict, ms; admission holds the host to it. Absent: what the model's declaration says.
    #[serde(default)]
    #[schemars(range(min = 1, max = 5_000))]
    pub look_budget_ms: Option<Millis>,
    /// A detection counts from this confidence on, unless a threshold plugin says otherwise. Lower covers more. Absent: what the model's declaration says.
    #[serde(default)]
    #[schemars(range(min = 0.01, max = 1.0))]
    pub threshold: Option<f32>,
    /// Labels to cover; `*` stands for any run of characters, `?` for one. Each has to match a label of the model.
    #[serde(default = "default_cover")]
    #[schemars(length(min = 1))]
    pub cover: Vec<LabelGlob>,
}

/// What NudeNet calls bare; its other labels name what is decent.
fn default_cover() -> Vec<LabelGlob> {
    vec![LabelGlob::exposed()]
}

impl Detector {
    /// A detector with `model` and the defaults.
    pub fn of(model: &str) -> Self {
        Self { model: model.to_owned(), look_budget_ms: None, threshold: None, cover: default_cover() }
    }
}

/// A room's delay cannot hold a look of one of its detectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the delay leaves {longest} between two looks; the least delay that would work is {least}")]
pub struct DelayTooShort {
    pub longest: Millis,
    pub least: Millis,
}

/// One plugin a slot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policies {
    /// Which detectors look at a sampled frame. Absent: all of them at every one.
    #[schemars(with = "Policy")]
    pub cascade: Option<Policy>,
    /// Which words are found, and how bad they are.
    #[schemars(with = "Policy")]
    pub text: Option<Policy>,
    /// Which detections count. Absent: those at or above the detector's `threshold`.
    #[schemars(with = "Policy")]
    pub threshold: Option<Policy>,
}

/// A plugin of the catalog and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// `NAME@VERSION` as `scrim plugin list` prints it.
    pub plugin: PluginVersion,
    /// The plugin's own settings, checked against its schema when it is loaded. Absent: its defaults.
    #[serde(default)]
    pub config: serde_json::Map<String, serde_json::Value>,
}

/// What a plugin may use, and when it is taken out of service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PluginLimits {
    /// Processor time of one call of a cascade or threshold policy, ms. A plugin that takes more loses its instance; the host's default answers for it.
    #[schemars(range(max = 1_000))]
    pub cpu_ms: NonZeroU32,
    /// Memory of one instance, MiB.
    #[schemars(range(max = 1_024))]
    pub memory_mib: NonZeroU32,
    /// After this many faults within `fault_window_s` the last good version comes back by itself.
    #[schemars(range(max = 1_000))]
    pub faults_max: NonZeroU32,
    /// The window in which faults are counted, s.
    #[schemars(range(max = 86_400))]
    pub fault_window_s: NonZeroU32,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            // A quarter of a frame at 30 frames/s, more than 100 × what the shipped plugins take.
            cpu_ms: nz(8),
            // Ten times what the shipped plugins use; 500 rooms × 3 plugins that fill it still fit into 24 GiB.
            memory_mib: nz(16),
            // One fault is bad luck, two may be; at three a viewer would notice the host's stand-in.
            faults_max: nz(3),
            fault_window_s: nz(60),
        }
    }
}

const fn nz(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("a constant above 0")
}

/// What runs the models.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Provider {
    /// `auto` takes the first that works of TensorRT, CUDA, CPU; a named one that does not work is an error.
    pub choice: ProviderName,
    /// Threads of one inference on the CPU. Absent: one, and as many as the machine has cores for an inference that runs alone.
    #[schemars(range(max = 256))]
    pub threads: Option<NonZeroU32>,
}

/// What one process takes on; a source beyond it is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory of all delay lines together, MiB. A 1080p source at 30 frames/s with the default delay takes 36.
    #[schemars(range(max = 1_048_576))]
    pub delay_line_mib: NonZeroU32,
    /// Pixels a second of all sources together, in millions. 1080p at 30 frames/s takes 62.
    #[schemars(range(max = 1_000_000))]
    pub megapixels_per_second: NonZeroU32,
    /// Share of the processors' time, in percent, up to which broadcasters of LiveKit rooms are taken on. The time is measured, other processes' included; a further broadcaster is reckoned with as much as those that are here take. 100: none is refused for it.
    #[schemars(range(max = 100))]
    pub load_percent: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // One 4K source at 60 frames/s (285 MiB) and some more; far below what a machine that runs the models has.
            delay_line_mib: nz(512),
            // 4K at 60 frames/s is 498; measuring change on every frame costs about 1 ns a pixel and thread.
            megapixels_per_second: nz(500),
            // What is left lets a busy second pass, and one broadcaster that sends larger pictures than the others.
            load_percent: nz(85),
        }
    }
}

impl Config {
    /// Reads and checks `path`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|faults| ConfigError::Faults { path: path.to_owned(), faults })
    }

    /// The configuration in `text`, or all that is wrong with it, in the order of the key paths.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        faults::parse(text)
    }

    /// How far viewers are behind.
    pub fn delay(&self) -> Millis {
        let asked = [(self.text.read, self.text.delay_ms), (self.speech.listen, self.speech.delay_ms)];
        asked.into_iter().filter(|(on, _)| *on).map(|(_, delay)| delay).fold(self.room.delay_ms, Millis::max)
    }

    /// The frame path's settings for a source whose frames are `frame` apart. `budget_of` gives a model's declared look budget;
    /// see [`Settings::patience`] for the last.
    ///
    /// # Errors
    /// When the delay cannot hold a look of the slowest detector; the error names the least delay that could.
    pub fn settings(&self, budget_of: impl Fn(&str) -> Micros, frame: Micros, patience: Micros) -> Result<Settings, DelayTooShort> {
        let settings = |(name, detector): (&DetectorName, &Detector)| DetectorSettings {
            name: name.0.as_str().into(),
            look_budget: detector.look_budget_ms.map_or_else(|| budget_of(&detector.model), Millis::micros),
            cover: LabelSet::new(detector.cover.iter().map(|glob| glob.0.as_str())),
        };
        let detectors: Vec<_> = self.detectors.iter().map(settings).collect();
        let slowest = detectors.iter().map(|detector| detector.look_budget).max();
        Ok(Settings {
            delay: self.delay().micros(),
            // Without a detector there are no looks to be apart.
            look_max: slowest.map_or(Ok(self.room.delay_ms.micros()), |budget| self.room.look_max(budget, frame))?,
            hold: self.room.hold_ms.micros(),
            skip_max: self.room.skip_max_ms.micros(),
            fail_mode: self.room.fail_mode,
            sampler: self.room.sampler.0,
            detectors,
            text: self.text.settings(),
            patience,
            style: self.style(),
        })
    }

    /// Relations between settings that each are fine.
    fn relations(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.text.read && self.text.budget_ms >= self.delay() {
            let (delay, budget) = (self.delay(), self.text.budget_ms);
            faults.push(Fault::relating(
                &["text", "budget_ms"],
                format!("a read ({budget}) does not fit into the delay, {}: every new text would leave covered", delay.0),
                format!("set text.delay_ms to more than {}, better {}", budget.0, budget.0 + self.text.every_ms.0),
                &[&["room", "delay_ms"], &["text", "delay_ms"], &["text", "read"]],
            ));
        }
        faults.extend(self.look_relations());
        faults
    }

    fn look_relations(&self) -> Vec<Fault> {
        let budget = |detector: &Detector| detector.look_budget_ms.unwrap_or(LOOK_BUDGET_MS_NOMINAL);
        let Some((name, slowest)) = self.detectors.iter().max_by_key(|(_, detector)| budget(detector)) else { return Vec::new() };
        let Err(short) = self.room.look_max(budget(slowest).micros(), FRAME_MS_NOMINAL.micros()) else { return Vec::new() };
        let delay = self.room.delay_ms.0;
        let (key, wrong, or) = match self.room.look_max_ms {
            Some(asked) => {
                let or = if short.longest >= FRAME_MS_NOMINAL {
                    format!(", or look_max_ms to at most {}", short.longest.0)
                } else {
                    String::new()
                };
                ("look_max_ms", format!("{asked} between two looks is more than room.delay_ms = {delay} allows"), or)
            }
            None => ("delay_ms", format!("a look of detectors.{name} ({}) does not fit into {delay} ms", budget(slowest)), String::new()),
        };
        vec![Fault::relating(
            &["room", key],
            wrong,
            format!(
                "set room.delay_ms to at least {}{or} (at {} frames/s; a slower source needs more)",
                short.least.0,
                1000 / FRAME_MS_NOMINAL.0
            ),
            &[&["room", "delay_ms"], &["detectors", &name.0, "look_budget_ms"]],
        )]
    }

    /// This configuration as one room has it, or every fault of the room's own settings by its key there.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn for_room(&self, room: &RoomSettings) -> Result<Self, Vec<Fault>> {
        faults::overlaid(self, room)
    }

    /// How covered areas look.
    pub fn style(&self) -> Style {
        let Color { r, g, b } = self.cover.color;
        match self.cover.style {
            CoverStyle::Solid => Style::Solid(Rgb([r, g, b])),
            CoverStyle::Pixelate => Style::Pixelate,
            CoverStyle::Blur => Style::Blur,
        }
    }

    /// [`Config::data_dir`], or its default. `None`: neither is set and the user has no home.
    pub fn data_dir(&self) -> Option<PathBuf> {
        let under = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = || under("XDG_DATA_HOME").or_else(|| Some(under("HOME")?.join(".local/share")));
        self.data_dir.clone().or_else(|| Some(base()?.join("scrim")))
    }
}

#[cfg(test)]
mod tests;
