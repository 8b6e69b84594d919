//! What one host may take on, and what it has: a pure account that a source is entered into before its first frame and before its
//! delay grows. Nothing is taken on that would not fit, so sources that are served stay served (invariant 2's last line of defence
//! comes before the overload).
//!
//! Always: the sum of what is admitted is within the limits, or was when the limits were last lowered below it; a refusal changes
//! nothing.

use std::collections::BTreeMap;
use std::fmt;

use super::settings::Settings;
use crate::media::frame::{Micros, i420_len};

/// What a host has to give.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Of pictures in all delay lines.
    pub delay_line_bytes: u64,
    /// Captured, measured, covered and published, of all sources.
    pub pixels_per_s: u64,
    /// Seconds of a detector's worker a second: how many workers there are, less what is kept in reserve.
    pub workers: f64,
}

/// What a source asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    pub delay_line_bytes: u64,
    pub pixels_per_s: u64,
    /// Looks a second × seconds a look takes, over all its detectors.
    pub workers: f64,
}

/// A source's pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Format {
    pub width: usize,
    pub height: usize,
    /// At most.
    pub frames_per_s: f64,
}

/// Looks that a source is taken to need, over those of the clock: cuts, moving things and bisection. On webcam clips 20 to 28 of 100
/// frames were looked at, of which the clock asks for 20.
const LOOKS_OVER_CLOCK: f64 = 1.4;

impl Demand {
    /// Of a source with these settings, whose looks take `look_cost` seconds of a worker each, as measured at the warm-up.
    pub fn of(settings: &Settings, format: &Format, look_cost: impl Fn(&str) -> f64) -> Self {
        let frames_per_s = format.frames_per_s.max(0.0);
        // The frames of one delay, the one that comes in and the one that is held.
        let frames = (settings.delay.0 as f64 / 1e6 * frames_per_s).ceil() as u64 + 2;
        let looks_per_s = (LOOKS_OVER_CLOCK * 1e6 / settings.clock().0.max(1) as f64).min(frames_per_s);
        let cost: f64 = settings.detectors.iter().map(|d| look_cost(&d.name).max(0.0)).sum();
        Self {
            delay_line_bytes: frames.saturating_mul(i420_len(format.width, format.height) as u64),
            pixels_per_s: (frames_per_s * (format.width * format.height) as f64).ceil() as u64,
            workers: looks_per_s * cost,
        }
    }
}

/// What ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    DelayLines,
    Pixels,
    Workers,
}

/// A refusal: nothing was changed. Amounts are in the resource's own unit.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("source {source_id} is refused: {}", explain(.resource, *.limit, *.used, *.asked))]
pub struct Refused {
    pub source_id: String,
    pub resource: Resource,
    pub limit: f64,
    /// By the other sources.
    pub used: f64,
    pub asked: f64,
}

fn explain(resource: &Resource, limit: f64, used: f64, asked: f64) -> String {
    let (what, unit, scale, remedy) = match resource {
        Resource::DelayLines => ("delay lines", "MiB", 1024.0 * 1024.0, "shorten the delay, send smaller pictures or fewer frames"),
        Resource::Pixels => ("pixels a second", "Mpixel/s", 1e6, "send smaller pictures or fewer frames"),
        Resource::Workers => ("looks", "workers", 1.0, "enable fewer detectors, allow a longer delay or use a faster execution provider"),
    };
    let [limit, used, asked] = [limit, used, asked].map(|v| v / scale);
    format!(
        "this host holds {limit:.1} {unit} of {what}, {used:.1} are in use and {asked:.1} were asked for; {remedy}, or take it to another host"
    )
}

/// The account of one host.
#[derive(Clone, Debug)]
pub struct Admission {
    limits: Limits,
    admitted: BTreeMap<String, Demand>,
}

/// What is in use of what there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    pub sources: usize,
    pub used: Demand,
    pub limits: Limits,
}

/// A resource, its limit, and what a demand takes of it.
type Row = (Resource, f64, fn(&Demand) -> f64);

impl Admission {
    pub fn new(limits: Limits) -> Self {
        Self { limits, admitted: BTreeMap::new() }
    }

    /// Takes on a source, or changes what one needs (another delay, size or set of detectors).
    ///
    /// # Errors
    /// If more of a resource is asked for than the other sources leave. A source that asks for no more of it than it already has is not
    /// refused for it, so a shorter delay is granted on an overfull host too.
    pub fn admit(&mut self, source_id: &str, demand: Demand) -> Result<(), Refused> {
        let others = self.sum(|id| id != source_id);
        let had = self.admitted.get(source_id);
        let rows: [Row; 3] = [
            (Resource::DelayLines, self.limits.delay_line_bytes as f64, |d| d.delay_line_bytes as f64),
            (Resource::Pixels, self.limits.pixels_per_s as f64, |d| d.pixels_per_s as f64),
            (Resource::Workers, self.limits.workers, |d| d.workers),
        ];
        for (resource, limit, of) in rows {
            let (used, asked) = (of(&others), of(&demand));
            // Written so that a figure that is no number is refused.
            let fits = used + asked <= limit || had.is_some_and(|had| asked <= of(had));
            if !fits {
                return Err(Refused { source_id: source_id.to_owned(), resource, limit, used, asked });
            }
        }
        self.admitted.insert(source_id.to_owned(), demand);
        Ok(())
    }

    /// A source has ended.
    pub fn release(&mut self, source_id: &str) {
        self.admitted.remove(source_id);
    }

    pub fn usage(&self) -> Usage {
        Usage { sources: self.admitted.len(), used: self.sum(|_| true), limits: self.limits }
    }

    fn sum(&self, of: impl Fn(&str) -> bool) -> Demand {
        let none = Demand { delay_line_bytes: 0, pixels_per_s: 0, workers: 0.0 };
        self.admitted.iter().filter(|(id, _)| of(id)).fold(none, |sum, (_, d)| Demand {
            delay_line_bytes: sum.delay_line_bytes.saturating_add(d.delay_line_bytes),
            pixels_per_s: sum.pixels_per_s.saturating_add(d.pixels_per_s),
            workers: sum.workers + d.workers,
        })
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (used, limits) = (&self.used, &self.limits);
        let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
        write!(f, "{} sources; delay lines {:.1} of {:.1} MiB", self.sources, mib(used.delay_line_bytes), mib(limits.delay_line_bytes))?;
        write!(f, ", {:.1} of {:.1} Mpixel/s", used.pixels_per_s as f64 / 1e6, limits.pixels_per_s as f64 / 1e6)?;
        write!(f, ", {:.2} of {:.2} workers", used.workers, limits.workers)
    }
}

/// The longest delay that would be granted to a source, in whole frames; none if not even one frame's.
pub fn longest_delay(limits: &Limits, used: &Demand, format: &Format) -> Option<Micros> {
    let picture = i420_len(format.width, format.height) as u64;
    let left = limits.delay_line_bytes.saturating_sub(used.delay_line_bytes);
    let frames = (left / picture.max(1)).checked_sub(2).filter(|&frames| frames > 0)?;
    (format.frames_per_s > 0.0).then(|| Micros((frames as f64 / format.frames_per_s * 1e6) as u64))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::room::settings::{DetectorSettings, FailMode, LabelSet};
    use crate::vision::sampler::SamplerRule;

    const HD: Format = Format { width: 1280, height: 720, frames_per_s: 30.0 };

    fn settings(delay_ms: u64) -> Settings {
        let look_max = Settings::look_max_for(Micros::from_millis(delay_ms), Micros::from_millis(60), Micros::from_millis(33));
        Settings {
            delay: Micros::from_millis(delay_ms),
            look_max: look_max.unwrap_or_default(),
            hold: Micros::from_millis(800),
            skip_max: Micros::ZERO,
            fail_mode: FailMode::Closed,
            sampler: SamplerRule::Adaptive,
            detectors: vec![DetectorSettings {
                name: Arc::from("nudity"),
                look_budget: Micros::from_millis(60),
                cover: LabelSet::new(["FACE_*"]),
            }],
            patience: Micros::ZERO,
            style: crate::vision::cover::Style::default(),
        }
    }

    fn demand(delay_ms: u64) -> Demand {
        Demand::of(&settings(delay_ms), &HD, |_| 0.015)
    }

    const LIMITS: Limits = Limits { delay_line_bytes: 64 << 20, pixels_per_s: 100_000_000, workers: 2.0 };

    #[test]
    fn a_source_counts_with_its_line_its_pixels_and_its_looks() {
        let d = demand(400);
        assert_eq!(d.delay_line_bytes, 14 * 1_382_400, "12 frames of 400 ms and two more");
        assert_eq!(d.pixels_per_s, 27_648_000);
        assert!((d.workers - 1.4 / 0.1535 * 0.015).abs() < 1e-6, "{}", d.workers);
    }

    #[test]
    fn a_refusal_says_the_limit_what_is_used_and_what_was_asked() {
        let mut admission = Admission::new(LIMITS);
        ["a", "b", "c"].iter().for_each(|id| assert_eq!(admission.admit(id, demand(400)), Ok(())));
        let refused = admission.admit("d", demand(400)).expect_err("a fourth line does not fit");
        let message = refused.to_string();
        for part in ["source d", "64.0 MiB", "55.4 are in use", "18.5 were asked for", "shorten the delay"] {
            assert!(message.contains(part), "{part} in: {message}");
        }
        admission.release("a");
        assert_eq!(admission.admit("d", demand(400)), Ok(()));
    }

    #[test]
    fn a_longer_delay_is_refused_and_the_source_keeps_the_one_it_has() {
        let mut admission = Admission::new(LIMITS);
        ["a", "b", "c"].iter().for_each(|id| assert_eq!(admission.admit(id, demand(400)), Ok(())));
        let before = admission.usage();
        assert_eq!(admission.admit("a", demand(1200)).map_err(|r| r.resource), Err(Resource::DelayLines));
        assert_eq!(admission.usage(), before);
    }

    #[test]
    fn detectors_that_are_too_slow_are_refused_by_name_of_the_resource() {
        let slow = Demand::of(&settings(400), &HD, |_| 0.5);
        let refused = Admission::new(LIMITS).admit("a", slow).expect_err("nine looks a second of half a second");
        assert_eq!(refused.resource, Resource::Workers);
        let unknown = Demand { workers: f64::NAN, ..demand(400) };
        assert!(Admission::new(LIMITS).admit("a", unknown).is_err());
    }

    #[test]
    fn the_longest_delay_is_granted_and_a_longer_one_is_not() {
        let none = Demand { delay_line_bytes: 0, pixels_per_s: 0, workers: 0.0 };
        let longest = longest_delay(&LIMITS, &none, &HD).expect("one line fits");
        let ask = |ms: u64| Admission::new(LIMITS).admit("a", demand(ms));
        assert_eq!(ask(longest.0 / 1000), Ok(()));
        assert!(ask(longest.0 / 1000 + 34).is_err());
    }

    proptest! {
        #[test]
        fn what_is_admitted_is_within_the_limits(
            steps in prop::collection::vec((0u8..6, 0u64..40 << 20, 0u64..60_000_000, 0.0f64..1.5, any::<bool>()), 1..60)
        ) {
            let mut admission = Admission::new(LIMITS);
            for (id, delay_line_bytes, pixels_per_s, workers, leaves) in steps {
                let before = admission.usage();
                let asked = Demand { delay_line_bytes, pixels_per_s, workers };
                if leaves {
                    admission.release(&id.to_string());
                } else if admission.admit(&id.to_string(), asked).is_err() {
                    prop_assert_eq!(admission.usage(), before);
                }
                let used = admission.usage().used;
                prop_assert!(used.delay_line_bytes <= LIMITS.delay_line_bytes);
                prop_assert!(used.pixels_per_s <= LIMITS.pixels_per_s);
                prop_assert!(used.workers <= LIMITS.workers + 1e-9);
            }
        }

        #[test]
        fn a_longer_delay_never_asks_for_less_of_a_line(short in 200u64..2000, more in 1u64..2000) {
            prop_assert!(demand(short + more).delay_line_bytes >= demand(short).delay_line_bytes);
            prop_assert!(demand(short + more).workers <= demand(short).workers);
        }
    }
}
