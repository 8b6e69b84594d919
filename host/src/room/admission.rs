//! What one host may take on, and what it has: a pure account that a source is entered into before its first frame and before its
//! delay grows. Nothing is taken on that would not fit, so sources that are served stay served (invariant 2's last line of defence
//! comes before the overload).
//!
//! Always: the sum of what is admitted is within the limits, or was when the limits were last lowered below it; a refusal changes
//! nothing.

use std::collections::BTreeMap;
use std::fmt;

use super::settings::{DetectorSettings, Settings};
use crate::media::frame::i420_len;

/// What a host has to give.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Of pictures in all delay lines.
    pub delay_line_bytes: u64,
    /// Captured, measured, covered and published, of all sources.
    pub pixels_per_s: u64,
    /// How many looks run at once.
    pub workers: f64,
    /// How many stretches of speech are recognised at once.
    pub recognisers: f64,
}

/// What a source asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    pub delay_line_bytes: u64,
    pub pixels_per_s: u64,
    /// Share of a worker that its looks need for each to be over in time, over all its detectors.
    pub workers: f64,
    /// The same of the one detector that needs most.
    pub workers_widest: f64,
    /// Share of a recogniser that its speech takes.
    pub recognisers: f64,
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
    ///
    /// What a detector needs of a worker is the density of its looks: what one costs, over the time in which it has to be over, its budget, or
    /// over the time until the next one where that is shorter. A look that comes beside those of the clock waits for them, or is left out.
    ///
    /// A read takes `read_cost` seconds of a worker, and one is begun as often as the settings let it: a read is put off, not lost, when it
    /// takes longer, since what is not read stays covered.
    pub fn of(settings: &Settings, format: &Format, look_cost: impl Fn(&str) -> f64, read_cost: f64) -> Self {
        let frames_per_s = format.frames_per_s.max(0.0);
        // The frames of one delay, the one that comes in and the one that is held.
        let frames = (settings.delay.0 as f64 / 1e6 * frames_per_s).ceil() as u64 + 2;
        let looks_per_s = (LOOKS_OVER_CLOCK * 1e6 / settings.clock().0.max(1) as f64).min(frames_per_s);
        let density = |d: &DetectorSettings| {
            let within = f64::from(d.look_budget.as_secs_f32()).min(1.0 / looks_per_s.max(f64::MIN_POSITIVE));
            look_cost(&d.name).max(0.0) / within
        };
        let reads = settings.text.map(|text| (read_cost / f64::from(text.every.as_secs_f32())).min(1.0));
        let densities = || settings.detectors.iter().map(density).chain(reads);
        Self {
            delay_line_bytes: frames.saturating_mul(i420_len(format.width, format.height) as u64),
            pixels_per_s: (frames_per_s * (format.width * format.height) as f64).ceil() as u64,
            workers: densities().sum(),
            workers_widest: densities().fold(0.0, f64::max),
            recognisers: 0.0,
        }
    }
}

impl Demand {
    /// Of somebody whose speech is recognised while it grows, which takes `cost` of a recogniser as long as they speak. Sound itself takes next
    /// to nothing.
    pub const fn of_speaker(cost: f64) -> Self {
        Self { recognisers: cost, ..Self::NONE }
    }

    const NONE: Self = Self { delay_line_bytes: 0, pixels_per_s: 0, workers: 0.0, workers_widest: 0.0, recognisers: 0.0 };

    /// Of both.
    pub fn and(self, other: Self) -> Self {
        Self {
            delay_line_bytes: self.delay_line_bytes.saturating_add(other.delay_line_bytes),
            pixels_per_s: self.pixels_per_s.saturating_add(other.pixels_per_s),
            workers: self.workers + other.workers,
            workers_widest: self.workers_widest.max(other.workers_widest),
            recognisers: self.recognisers + other.recognisers,
        }
    }

    /// Of so many that are alike.
    pub fn of_many(self, count: usize) -> Self {
        Self {
            delay_line_bytes: self.delay_line_bytes.saturating_mul(count as u64),
            pixels_per_s: self.pixels_per_s.saturating_mul(count as u64),
            workers: self.workers * count as f64,
            workers_widest: self.workers_widest,
            recognisers: self.recognisers * count as f64,
        }
    }
}

/// What ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    DelayLines,
    Pixels,
    Workers,
    Recognisers,
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
        Resource::Workers => (
            "looks and reads",
            "workers",
            1.0,
            "enable fewer detectors, read in fewer rooms, allow a longer delay with a larger look_budget_ms or use a faster execution provider",
        ),
        Resource::Recognisers => ("hearing", "recognisers", 1.0, "listen in fewer rooms or allow more by speech.recognisers"),
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

/// What all densities together may be for every look to be over in time where the earliest deadline goes first, the widest of them given:
/// m − (m − 1) × widest on m workers (Goossens, Funk and Baruah, "Priority-driven scheduling of periodic task systems on
/// multiprocessors", Real-Time Systems 25, 2003).
fn workers_limit(workers: f64, widest: f64) -> f64 {
    workers - (workers - 1.0).max(0.0) * widest
}

/// Share of their time that recognisers may be taken for: people begin to speak together, and then wait for each other.
const RECOGNISERS_BUSY: f64 = 0.8;

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
        self.check(source_id, demand)?;
        self.admitted.insert(source_id.to_owned(), demand);
        Ok(())
    }

    /// Whether a source would be taken on; nothing is changed.
    ///
    /// # Errors
    /// As [`Admission::admit`].
    pub fn check(&self, source_id: &str, demand: Demand) -> Result<(), Refused> {
        let others = self.sum(|id| id != source_id);
        let had = self.admitted.get(source_id);
        let workers = workers_limit(self.limits.workers, others.workers_widest.max(demand.workers_widest));
        let rows: [Row; 4] = [
            (Resource::DelayLines, self.limits.delay_line_bytes as f64, |d| d.delay_line_bytes as f64),
            (Resource::Pixels, self.limits.pixels_per_s as f64, |d| d.pixels_per_s as f64),
            (Resource::Workers, workers, |d| d.workers),
            (Resource::Recognisers, self.limits.recognisers * RECOGNISERS_BUSY, |d| d.recognisers),
        ];
        for (resource, limit, of) in rows {
            let (used, asked) = (of(&others), of(&demand));
            // Written so that a figure that is no number is refused.
            let no_more = |had: &Demand| asked <= of(had) && demand.workers_widest <= had.workers_widest;
            let fits = used + asked <= limit || had.is_some_and(no_more);
            if !fits {
                return Err(Refused { source_id: source_id.to_owned(), resource, limit, used, asked });
            }
        }
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
        self.admitted.iter().filter(|(id, _)| of(id)).fold(Demand::NONE, |sum, (_, demand)| sum.and(*demand))
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (used, limits) = (&self.used, &self.limits);
        let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
        write!(f, "{} sources; delay lines {:.1} of {:.1} MiB", self.sources, mib(used.delay_line_bytes), mib(limits.delay_line_bytes))?;
        write!(f, ", {:.1} of {:.1} Mpixel/s", used.pixels_per_s as f64 / 1e6, limits.pixels_per_s as f64 / 1e6)?;
        write!(f, ", {:.2} of {:.2} workers", used.workers, workers_limit(limits.workers, used.workers_widest))?;
        write!(f, ", {:.2} of {:.2} recognisers", used.recognisers, limits.recognisers * RECOGNISERS_BUSY)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::media::frame::Micros;
    use crate::room::settings::{FailMode, LabelSet};
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
            text: None,
            patience: Micros::ZERO,
            style: crate::vision::cover::Style::default(),
        }
    }

    fn demand(delay_ms: u64) -> Demand {
        Demand::of(&settings(delay_ms), &HD, |_| 0.015, 0.0)
    }

    const LIMITS: Limits = Limits { delay_line_bytes: 64 << 20, pixels_per_s: 100_000_000, workers: 2.0, recognisers: 1.0 };

    #[test]
    fn a_source_counts_with_its_line_its_pixels_and_its_looks() {
        let d = demand(400);
        assert_eq!(d.delay_line_bytes, 14 * 1_382_400, "12 frames of 400 ms and two more");
        assert_eq!(d.pixels_per_s, 27_648_000);
        assert!((d.workers - 0.015 / 0.060).abs() < 1e-6, "{}", d.workers);
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
    fn two_workers_take_as_many_looks_as_are_over_in_time_when_all_come_at_once() {
        let limits = Limits { delay_line_bytes: u64::MAX, pixels_per_s: u64::MAX, workers: 2.0, recognisers: 0.0 };
        let taken = |cost: f64| {
            let mut admission = Admission::new(limits);
            (0..99).take_while(|id| admission.admit(&id.to_string(), Demand::of(&settings(400), &HD, |_| cost, 0.0)).is_ok()).count()
        };
        // Seven looks of 14.9 ms take four turns of two and so 59.6 of the 60 ms; elsewhere the bound is more careful.
        assert_eq!([0.0149, 0.018, 0.023, 0.029, 0.045].map(taken), [7, 5, 4, 3, 1]);
    }

    #[test]
    fn a_check_says_what_admitting_would_and_changes_nothing() {
        let mut admission = Admission::new(LIMITS);
        let before = admission.usage();
        assert_eq!(admission.check("three", demand(400).of_many(3)), Ok(()));
        let refused = admission.check("four", demand(400).of_many(4)).expect_err("a fourth line does not fit");
        assert_eq!((refused.resource, admission.usage()), (Resource::DelayLines, before));
        assert_eq!(admission.admit("four", demand(400).of_many(4)), Err(refused));
    }

    #[test]
    fn detectors_that_are_too_slow_are_refused_by_name_of_the_resource() {
        let slow = Demand::of(&settings(400), &HD, |_| 0.5, 0.0);
        let refused = Admission::new(LIMITS).admit("a", slow).expect_err("nine looks a second of half a second");
        assert_eq!(refused.resource, Resource::Workers);
        let unknown = Demand { workers: f64::NAN, ..demand(400) };
        assert!(Admission::new(LIMITS).admit("a", unknown).is_err());
    }

    #[test]
    fn a_speaker_is_refused_where_recognisers_are_taken_and_is_seated_when_one_has_ended() {
        let mut admission = Admission::new(LIMITS);
        let speech = Demand::of_speaker(0.3);
        assert_eq!(admission.admit("look", demand(400)), Ok(()));
        ["ann", "bob"].iter().for_each(|id| assert_eq!(admission.admit(id, speech), Ok(())));
        let refused = admission.admit("cem", speech).expect_err("nine tenths are more than eight");
        assert!(refused.resource == Resource::Recognisers && refused.to_string().contains("speech.recognisers"), "{refused}");
        assert_eq!(admission.check("look", demand(400).and(speech)).map_err(|r| r.resource), Err(Resource::Recognisers));
        admission.release("ann");
        assert_eq!(admission.admit("cem", speech), Ok(()));
    }

    proptest! {
        #[test]
        fn what_is_admitted_is_within_the_limits(
            steps in prop::collection::vec((0u8..6, 0u64..40 << 20, 0u64..60_000_000, (0.0f64..1.5, 0.5f64..1.0), any::<bool>()), 1..60)
        ) {
            let mut admission = Admission::new(LIMITS);
            for (id, delay_line_bytes, pixels_per_s, (workers, share), leaves) in steps {
                let before = admission.usage();
                let asked = Demand { delay_line_bytes, pixels_per_s, workers, workers_widest: workers * share, recognisers: workers / 4.0 };
                if leaves {
                    admission.release(&id.to_string());
                } else if admission.admit(&id.to_string(), asked).is_err() {
                    prop_assert_eq!(admission.usage(), before);
                }
                let used = admission.usage().used;
                prop_assert!(used.delay_line_bytes <= LIMITS.delay_line_bytes);
                prop_assert!(used.pixels_per_s <= LIMITS.pixels_per_s);
                prop_assert!(used.workers <= workers_limit(LIMITS.workers, used.workers_widest) + 1e-9);
                prop_assert!(used.recognisers <= LIMITS.recognisers * RECOGNISERS_BUSY + 1e-9);
            }
        }

        #[test]
        fn a_longer_delay_never_asks_for_less_of_a_line(short in 200u64..2000, more in 1u64..2000) {
            prop_assert!(demand(short + more).delay_line_bytes >= demand(short).delay_line_bytes);
            prop_assert!(demand(short + more).workers <= demand(short).workers);
        }
    }
}
