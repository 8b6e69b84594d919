//! The bridge between the contract's generated bindings and the SDK's own types. Only in WebAssembly.
//!
//! Everything that comes in is owned already; records are taken apart and put together again by moves, so a thumbnail's planes are
//! copied once, by the canonical ABI itself.

use crate::log::Level;
use crate::types as own;

wit_bindgen::generate!({
    path: "../wit",
    inline: "
        package scrim:sdk;
        world every-slot {
            import scrim:policy/log@0.1.0;
            export scrim:policy/lifecycle@0.1.0;
            export scrim:policy/cascade@0.1.0;
            export scrim:policy/text@0.1.0;
            export scrim:policy/threshold@0.1.0;
        }
    ",
    world: "scrim:sdk/every-slot",
    pub_export_macro: true,
    export_macro_name: "export_every_slot",
    generate_all,
});

pub use exports::scrim::policy::{cascade, lifecycle, text, threshold};
use scrim::policy::types as wit;

/// The worlds, encoded by the build script, as the custom sections of `export!`.
pub const CASCADE_POLICY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/cascade-policy"));
pub const TEXT_POLICY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/text-policy"));
pub const THRESHOLD_POLICY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/threshold-policy"));

/// A section's bytes as the array that a `static` in a section has to be.
pub const fn section<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    let mut i = 0;
    while i < N {
        array[i] = bytes[i];
        i += 1;
    }
    array
}

pub(crate) fn log(level: Level, message: &str) {
    use scrim::policy::log as host;
    let level = match level {
        Level::Debug => host::Level::Debug,
        Level::Info => host::Level::Info,
        Level::Warn => host::Level::Warn,
        Level::Error => host::Level::Error,
    };
    host::log(level, message);
}

fn each<A: Into<B>, B>(items: Vec<A>) -> Vec<B> {
    items.into_iter().map(Into::into).collect()
}

impl From<wit::Source> for own::Source {
    fn from(wit::Source { id, kind, owner }: wit::Source) -> Self {
        let kind = match kind {
            wit::SourceKind::Camera => own::SourceKind::Camera,
            wit::SourceKind::Screen => own::SourceKind::Screen,
            wit::SourceKind::Microphone => own::SourceKind::Microphone,
            wit::SourceKind::Chat => own::SourceKind::Chat,
            wit::SourceKind::Picture => own::SourceKind::Picture,
        };
        Self { id, kind, owner }
    }
}

impl From<wit::Thumbnail> for own::Thumbnail {
    fn from(wit::Thumbnail { width, height, y, cb, cr }: wit::Thumbnail) -> Self {
        Self { width, height, y, cb, cr }
    }
}

impl From<wit::Rect> for own::Rect {
    fn from(wit::Rect { x, y, width, height }: wit::Rect) -> Self {
        Self { x, y, width, height }
    }
}

impl From<own::Rect> for wit::Rect {
    fn from(own::Rect { x, y, width, height }: own::Rect) -> Self {
        Self { x, y, width, height }
    }
}

impl From<wit::Hints> for own::Hints {
    fn from(wit::Hints { scene_cut, change, since_look_us, trails }: wit::Hints) -> Self {
        Self { scene_cut, change, since_look_us, trails: each(trails) }
    }
}

impl From<own::Screening> for wit::Screening {
    fn from(own::Screening { detector, look, areas, reason }: own::Screening) -> Self {
        Self { detector, look, areas: each(areas), reason }
    }
}

impl From<wit::Detection> for own::Detection {
    fn from(wit::Detection { detector, label, confidence, area, trail }: wit::Detection) -> Self {
        Self { detector, label, confidence, area: area.map(Into::into), trail }
    }
}

impl From<own::Verdict> for wit::Verdict {
    fn from(own::Verdict { counts, threshold }: own::Verdict) -> Self {
        Self { counts, threshold }
    }
}

impl From<own::LabelThreshold> for wit::LabelThreshold {
    fn from(own::LabelThreshold { detector, label, threshold }: own::LabelThreshold) -> Self {
        Self { detector, label, threshold }
    }
}

impl From<wit::Word> for own::Word {
    fn from(wit::Word { text, confidence, place }: wit::Word) -> Self {
        let place = match place {
            wit::Place::Nowhere => own::Place::Nowhere,
            wit::Place::Area(area) => own::Place::Area(area.into()),
            wit::Place::Time(wit::TimeSpan { start_us, end_us }) => own::Place::Time(own::TimeSpan { start_us, end_us }),
        };
        Self { text, confidence, place }
    }
}

impl From<wit::Utterance> for own::Utterance {
    fn from(said: wit::Utterance) -> Self {
        let wit::Utterance { id, revision, final_, source, speaker, addressees, reply_to, language, words } = said;
        let (source, words) = (source.into(), each(words));
        Self { id, revision, is_final: final_, source, speaker, addressees, reply_to, language, words }
    }
}

impl From<own::Finding> for wit::Finding {
    fn from(own::Finding { words, category, severity, confidence, reason }: own::Finding) -> Self {
        let words = wit::WordRange { first: words.first, count: words.count };
        let category = match category {
            own::Category::Profanity => wit::Category::Profanity,
            own::Category::Slur => wit::Category::Slur,
            own::Category::Sexual => wit::Category::Sexual,
            own::Category::Threat => wit::Category::Threat,
            own::Category::Harassment => wit::Category::Harassment,
            own::Category::SelfHarm => wit::Category::SelfHarm,
            own::Category::Other(name) => wit::Category::Other(name),
        };
        Self { words, category, severity, confidence, reason }
    }
}

impl From<own::Manifest> for wit::Manifest {
    fn from(own::Manifest { name, version, config_schema }: own::Manifest) -> Self {
        Self { name, version, config_schema }
    }
}

/// Converts a list of answers.
pub fn answers<A: Into<B>, B>(items: Vec<A>) -> Vec<B> {
    each(items)
}

/// The instance, `lifecycle`, and the custom section with the world: what every slot's export has.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_lifecycle {
    ($policy:ty, $world:ident) => {
        struct Guest;

        ::std::thread_local! {
            static INSTANCE: ::std::cell::RefCell<$crate::Instance<$policy>> = ::std::default::Default::default();
        }

        impl $crate::wasm::lifecycle::Guest for Guest {
            fn describe() -> $crate::wasm::lifecycle::Manifest {
                $crate::Instance::<$policy>::describe().into()
            }
            fn configure(_at_us: u64, config: String) -> Result<(), String> {
                INSTANCE.with_borrow_mut(|instance| instance.configure(&config))
            }
            fn snapshot() -> Vec<u8> {
                INSTANCE.with_borrow_mut(|instance| instance.snapshot())
            }
            fn restore(_at_us: u64, from_version: String, state: Vec<u8>) -> Result<(), String> {
                INSTANCE.with_borrow_mut(|instance| instance.restore(&from_version, &state))
            }
            fn source_ended(at_us: u64, source_id: String) {
                INSTANCE.with_borrow_mut(|instance| instance.source_ended(at_us, &source_id))
            }
        }

        $crate::wasm::lifecycle::__export_scrim_policy_lifecycle_0_1_0_cabi!(Guest with_types_in $crate::wasm::lifecycle);

        #[unsafe(link_section = concat!("component-type:scrim:", stringify!($world)))]
        #[used]
        static WORLD: [u8; $crate::wasm::$world.len()] = $crate::wasm::section($crate::wasm::$world);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_cascade {
    ($policy:ty) => {
        const _: () = {
            $crate::__export_lifecycle!($policy, CASCADE_POLICY);

            impl $crate::wasm::cascade::Guest for Guest {
                fn screen(
                    at_us: u64,
                    source: $crate::wasm::cascade::Source,
                    frame: $crate::wasm::cascade::Thumbnail,
                    detectors: Vec<String>,
                    hints: $crate::wasm::cascade::Hints,
                ) -> Vec<$crate::wasm::cascade::Screening> {
                    let (source, frame, hints) = (source.into(), frame.into(), hints.into());
                    let answer = INSTANCE.with_borrow_mut(|instance| instance.screen(at_us, &source, &frame, &detectors, &hints));
                    $crate::wasm::answers(answer)
                }
            }

    $crate::wasm::cascade::__export_scrim_policy_cascade_0_1_0_cabi!(Guest with_types_in $crate::wasm::cascade);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_text {
    ($policy:ty) => {
        const _: () = {
            $crate::__export_lifecycle!($policy, TEXT_POLICY);

            impl $crate::wasm::text::Guest for Guest {
                fn judge(at_us: u64, utterance: $crate::wasm::text::Utterance) -> Vec<$crate::wasm::text::Finding> {
                    let utterance = utterance.into();
                    $crate::wasm::answers(INSTANCE.with_borrow_mut(|instance| instance.judge(at_us, &utterance)))
                }
            }

    $crate::wasm::text::__export_scrim_policy_text_0_1_0_cabi!(Guest with_types_in $crate::wasm::text);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_threshold {
    ($policy:ty) => {
        const _: () = {
            $crate::__export_lifecycle!($policy, THRESHOLD_POLICY);

            impl $crate::wasm::threshold::Guest for Guest {
                fn weigh(
                    at_us: u64,
                    source: $crate::wasm::threshold::Source,
                    found: Vec<$crate::wasm::threshold::Detection>,
                ) -> Vec<$crate::wasm::threshold::Verdict> {
                    let (source, found) = (source.into(), $crate::wasm::answers::<_, $crate::Detection>(found));
                    $crate::wasm::answers(INSTANCE.with_borrow_mut(|instance| instance.weigh(at_us, &source, &found)))
                }
                fn feedback(
                    at_us: u64,
                    event_id: String,
                    reporter: String,
                    found: $crate::wasm::threshold::Detection,
                    correct: bool,
                ) -> Vec<$crate::wasm::threshold::LabelThreshold> {
                    let found = found.into();
                    let answer = INSTANCE.with_borrow_mut(|instance| instance.feedback(at_us, &event_id, &reporter, &found, correct));
                    $crate::wasm::answers(answer)
                }
                fn current(at_us: u64) -> Vec<$crate::wasm::threshold::LabelThreshold> {
                    $crate::wasm::answers(INSTANCE.with_borrow_mut(|instance| instance.current(at_us)))
                }
            }

    $crate::wasm::threshold::__export_scrim_policy_threshold_0_1_0_cabi!(Guest with_types_in $crate::wasm::threshold);
        };
    };
}
