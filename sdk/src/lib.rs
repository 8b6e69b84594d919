//! What a Scrim policy author compiles with.
//!
//! Write one type that implements one trait ([`Cascade`], [`Text`] or [`Threshold`]) and one [`export!`] line. The smallest plugin:
//!
//! ```
//! use scrim_sdk::{Category, Finding, NoConfig, NoState, Text, Utterance, WordRange};
//!
//! struct NoShouting;
//!
//! impl Text for NoShouting {
//!     type Config = NoConfig;
//!     type State = NoState;
//!     fn new(_: NoConfig) -> Result<Self, String> { Ok(Self) }
//!     fn judge(&mut self, _: &mut NoState, _at_us: u64, said: &Utterance) -> Vec<Finding> {
//!         let words = WordRange { first: 0, count: said.words.len() as u32 };
//!         let shouted = said.text().chars().all(|c| !c.is_lowercase()) && words.count > 2;
//!         let finding = Finding { words, category: Category::Harassment, severity: 0.2, confidence: 1.0, reason: "all capitals".into() };
//!         if shouted { vec![finding] } else { vec![] }
//!     }
//! }
//! scrim_sdk::export!(text: NoShouting);
//!
//! let mut policy = scrim_sdk::testing::Harness::<NoShouting>::new("{}");
//! assert_eq!(policy.judge(0, &Utterance::typed("ann", "GO AWAY NOW")).len(), 1);
//! assert_eq!(policy.judge(0, &Utterance::typed("ann", "go away now")), []);
//! ```
//!
//! Built for `wasm32-unknown-unknown` (`scrim plugin build`) the same type becomes a component that imports `log` and nothing else. There is no
//! clock and no randomness: time is an argument of every call, so a recorded decision replays to the same bytes on any machine. A
//! panic is logged and then traps: the host answers for the plugin and starts it anew from its last snapshot.

mod instance;
pub mod log;
mod policy;
pub mod state;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod types;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod wasm;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[doc(hidden)]
pub use instance::{CascadeSlot, Exported, Instance, TextSlot, ThresholdSlot};
pub use policy::{Cascade, Text, Threshold};
pub use types::{
    Category, Detection, Finding, Hints, LabelThreshold, Manifest, Place, Rect, Screening, Source, SourceKind, Thumbnail, TimeSpan,
    Utterance, Verdict, Word, WordRange,
};

/// Settings of a policy that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// State of a policy that learns nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoState {}

/// Makes a plugin of a policy: `export!(cascade: MyPolicy)`, `export!(text: …)` or `export!(threshold: …)`.
///
/// Its name and version are the crate's; `export!(cascade: MyPolicy, name = "my-policy", version = "2.0.0")` says otherwise. A crate built for
/// WebAssembly exports one policy.
#[macro_export]
macro_rules! export {
    ($slot:ident: $policy:ty) => {
        $crate::export!($slot: $policy, name = env!("CARGO_PKG_NAME"), version = env!("CARGO_PKG_VERSION"));
    };
    ($slot:ident: $policy:ty, version = $version:expr) => {
        $crate::export!($slot: $policy, name = env!("CARGO_PKG_NAME"), version = $version);
    };
    (cascade: $policy:ty, name = $name:expr, version = $version:expr) => {
        $crate::__exported!($policy, CascadeSlot, $name, $version);
        #[cfg(target_arch = "wasm32")]
        $crate::__export_cascade!($policy);
    };
    (text: $policy:ty, name = $name:expr, version = $version:expr) => {
        $crate::__exported!($policy, TextSlot, $name, $version);
        #[cfg(target_arch = "wasm32")]
        $crate::__export_text!($policy);
    };
    (threshold: $policy:ty, name = $name:expr, version = $version:expr) => {
        $crate::__exported!($policy, ThresholdSlot, $name, $version);
        #[cfg(target_arch = "wasm32")]
        $crate::__export_threshold!($policy);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __exported {
    ($policy:ty, $slot:ident, $name:expr, $version:expr) => {
        impl $crate::Exported for $policy {
            const NAME: &'static str = $name;
            const VERSION: &'static str = $version;
            type Slot = $crate::$slot<$policy>;
        }
    };
}
