//! What the guests can do wrong, told by their settings, so that one module serves many tests.
//!
//! `{"how": "loop", "after": 1}` behaves for one call (the host's smoke call) and then never comes back from one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A way to misbehave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Behaves.
    #[default]
    Steady,
    /// Never comes back from a call.
    Loop,
    /// Panics in a call, and so traps.
    Trap,
    /// Takes memory until there is none, and keeps it.
    Hog,
    /// Writes 10,000 messages of 4 KiB in a call.
    Flood,
    /// Answers with 200,000 items.
    Huge,
    /// Answers with what the contract does not allow: wrong counts, ranges outside, NaN.
    Nonsense,
    /// Refuses its settings.
    Refuse,
    /// Panics when it is configured.
    TrapConfigure,
    /// Never comes back from being configured.
    LoopConfigure,
    /// Panics when a source ends.
    TrapEnded,
    /// Its state outgrows what a snapshot may have.
    Obese,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub how: How,
    /// How many calls it behaves for after it was configured.
    pub after: u64,
    /// It misbehaves in every so many calls after those; 0 and 1 mean in each.
    pub every: u64,
}

/// The calls this plugin has ever answered; a snapshot carries it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub calls: u64,
    pub ballast: Vec<u8>,
}

/// A guest's settings and the calls since it was configured.
pub struct Guest {
    config: Config,
    calls: u64,
    hoard: Vec<Vec<u8>>,
}

/// Items of an answer that is too large.
pub const HUGE: usize = 200_000;

impl Guest {
    pub fn new(config: Config) -> Result<Self, String> {
        match config.how {
            How::Refuse => return Err("refused on purpose".into()),
            How::TrapConfigure => panic!("trap in configure, on purpose"),
            How::LoopConfigure => spin(),
            _ => {}
        }
        Ok(Self { config, calls: 0, hoard: Vec::new() })
    }

    /// Counts a call and does what the settings say. `true`: the answer is to be wrong as well, in the way of [`Guest::how`].
    pub fn call(&mut self, state: &mut State) -> bool {
        state.calls += 1;
        let due = self.calls >= self.config.after && (self.calls - self.config.after).is_multiple_of(self.config.every.max(1));
        self.calls += 1;
        match self.config.how {
            _ if !due => return false,
            How::Loop => spin(),
            How::Trap => panic!("trap in a call, on purpose"),
            How::Hog => loop {
                self.hoard.push(vec![1; 1 << 20]);
            },
            How::Flood => {
                let message = "x".repeat(4096);
                (0..10_000).for_each(|_| scrim_sdk::log::warn(&message));
            }
            How::Obese => state.ballast = vec![7; 2 << 20],
            _ => {}
        }
        matches!(self.config.how, How::Huge | How::Nonsense)
    }

    pub fn how(&self) -> How {
        self.config.how
    }

    pub fn ended(&self) {
        if self.config.how == How::TrapEnded {
            panic!("trap when a source ends, on purpose");
        }
    }
}

/// Never comes back.
pub fn spin() -> ! {
    let mut n = 0u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}
