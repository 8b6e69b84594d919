//! What an admin can set, and which base threshold belongs to a label.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// No threshold is ever higher: a detector that is all but certain always counts.
pub const THRESHOLD_MAX: f32 = 0.99;

/// Settings of adaptive-threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "Adaptive threshold")]
pub struct Config {
    /// Base thresholds by label, or by `detector/label`. `*` stands for any characters, as in `FACE_*`.
    /// Of several that fit, the one with the most literal characters holds.
    #[schemars(title = "Base thresholds", inner(range(min = 0.0, max = 0.99)))]
    pub bases: BTreeMap<String, f32>,
    /// Base of the labels that no pattern fits.
    #[schemars(title = "Default base", range(min = 0.0, max = 0.99))]
    pub default_base: f32,
    /// Minutes in which half of what reports added is forgotten.
    #[schemars(title = "Half-life (minutes)", range(min = 1, max = 525_600))]
    pub half_life_minutes: u32,
    /// How many reports may raise one label's threshold in an hour, all reporters together.
    #[schemars(title = "Raises an hour and label", range(min = 0, max = 1000))]
    pub raises_per_hour: u32,
    /// How many of one reporter's reports count in an hour, all labels together.
    #[schemars(title = "Reports an hour and reporter", range(min = 0, max = 1000))]
    pub reports_per_reporter_and_hour: u32,
    /// How far below the threshold a trail that already counts may fall and still count.
    #[schemars(title = "Margin for trails that count", range(min = 0.0, max = 0.2))]
    pub trail_margin: f32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bases: BTreeMap::new(),
            default_base: 0.25,
            half_life_minutes: 24 * 60,
            raises_per_hour: 5,
            reports_per_reporter_and_hour: 3,
            trail_margin: 0.05,
        }
    }
}

impl Config {
    /// Checks what the schema can't say by itself, so that a native caller is as safe as one behind the host.
    ///
    /// # Errors
    /// Names every value that is not a number or out of its range, in one message.
    pub fn validate(&self) -> Result<(), String> {
        let mut faults = Vec::new();
        let mut check = |name: String, value: f32, max: f32| {
            if !(0.0..=max).contains(&value) {
                faults.push(format!("{name} is {value}, it must lie in 0..={max}"));
            }
        };
        check("default_base".into(), self.default_base, THRESHOLD_MAX);
        check("trail_margin".into(), self.trail_margin, 0.2);
        for (pattern, base) in &self.bases {
            check(format!("bases.{pattern}"), *base, THRESHOLD_MAX);
        }
        if self.half_life_minutes == 0 {
            faults.push("half_life_minutes is 0, it must be at least 1".into());
        }
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }

    /// The base threshold of a label, 0..=[`THRESHOLD_MAX`].
    pub fn base(&self, detector: &str, label: &str) -> f32 {
        let fits = |pattern: &str| match pattern.split_once('/') {
            Some((by_detector, by_label)) => glob(by_detector, detector) && glob(by_label, label),
            None => glob(pattern, label),
        };
        let literals = |pattern: &str| pattern.chars().filter(|&c| c != '*').count();
        // The map is ordered, so equals are decided alike on every machine: the later pattern holds.
        let best = self.bases.iter().filter(|(pattern, _)| fits(pattern)).max_by_key(|(pattern, _)| literals(pattern));
        best.map_or(self.default_base, |(_, base)| *base).clamp(0.0, THRESHOLD_MAX)
    }

    pub(crate) fn half_life_us(&self) -> u64 {
        u64::from(self.half_life_minutes) * 60_000_000
    }
}

/// Whether `text` is what `pattern` describes, `*` standing for any run of characters. Time is at most the product of the lengths.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            retry = Some((p, t));
            p += 1;
        } else if p < pattern.len() && pattern[p] == text[t] {
            p += 1;
            t += 1;
        } else if let Some((star, taken)) = retry {
            retry = Some((star, taken + 1));
            p = star + 1;
            t = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_literal_pattern_holds() {
        let bases = [("FACE_*", 0.4), ("*", 0.6), ("nudenet/*", 0.5), ("nudenet/FACE_FEMALE", 0.3)]
            .map(|(p, b)| (p.to_owned(), b))
            .into_iter()
            .collect();
        let config = Config { bases, ..Config::default() };
        assert_eq!(config.base("nudenet", "FACE_FEMALE"), 0.3);
        assert_eq!(config.base("nudenet", "FACE_MALE"), 0.5);
        assert_eq!(config.base("other", "FACE_MALE"), 0.4);
        assert_eq!(config.base("other", "NSFW"), 0.6);
        assert_eq!(Config::default().base("nudenet", "ANUS_EXPOSED"), 0.25);
    }

    #[test]
    fn globs() {
        assert!(glob("*_EXPOSED", "ANUS_EXPOSED") && glob("a*b*c", "aXbYbc") && glob("", "") && glob("**", ""));
        assert!(!glob("FACE_*", "XFACE_A") && !glob("a", "") && !glob("a*b", "ac"));
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let config = Config { default_base: f32::NAN, half_life_minutes: 0, bases: [("X".to_owned(), 1.0)].into(), ..Config::default() };
        let message = config.validate().unwrap_err();
        assert!(message.contains("default_base") && message.contains("half_life_minutes") && message.contains("bases.X"), "{message}");
        assert_eq!(Config::default().validate(), Ok(()));
    }
}
