//! Which times of a microphone are muted. What was asked to be muted is wholly silent: the ramps at both edges lie outside of it.
//!
//! Spans of the host's clock go in, in any order; they are kept apart, sorted and few. What holds: no sample between `from` and `to` of any span that
//! was asked for, and is not forgotten, has a gain above 0, however many there are.

use std::f64::consts::TAU;

use crate::media::frame::Micros;

/// How long the sound fades before a span, and after it.
pub const RAMP: Micros = Micros::from_millis(5);
/// Spans that are kept. With more, the two that are nearest to each other become one: that mutes more, never less.
pub const SPANS_MAX: usize = 256;

/// What is heard instead.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Replacement {
    #[default]
    Silence,
    /// `level` of the loudest there can be, from 0 to 1.
    Tone { hertz: f32, level: f32 },
}

impl Replacement {
    /// Its sample at a place of the sound that goes out, so that its phase goes on over every edge.
    pub fn sample(&self, frame: u64, rate: u32) -> f32 {
        match *self {
            Self::Silence => 0.0,
            Self::Tone { hertz, level } => {
                let phase = (frame as f64 * f64::from(hertz) / f64::from(rate)).fract();
                (f64::from(level.clamp(0.0, 1.0)) * f64::from(i16::MAX) * (phase * TAU).sin()) as f32
            }
        }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct MuteTimeline {
    /// From (in) to (out), sorted, with something between them.
    spans: Vec<(Micros, Micros)>,
}

impl MuteTimeline {
    /// Mutes what lies between the two; nothing if the second is not later.
    pub fn mute(&mut self, from: Micros, to: Micros) {
        if from >= to {
            return;
        }
        let first = self.spans.partition_point(|span| span.1 < from);
        let after = self.spans.partition_point(|span| span.0 <= to);
        let united = self.spans[first..after].iter().fold((from, to), |one, span| (one.0.min(span.0), one.1.max(span.1)));
        self.spans.splice(first..after, [united]);
        if self.spans.len() > SPANS_MAX {
            let gap = |at: &usize| self.spans[at + 1].0.saturating_sub(self.spans[*at].1);
            if let Some(at) = (0..self.spans.len() - 1).min_by_key(gap) {
                self.spans[at].1 = self.spans[at + 1].1;
                self.spans.remove(at + 1);
            }
        }
    }

    /// Forgets what is over at this time, with its ramp.
    pub fn forget_before(&mut self, at: Micros) {
        let over = self.spans.partition_point(|span| span.1 + RAMP < at);
        self.spans.drain(..over);
    }

    /// How loud this time is, from 0 (muted) to 1.
    pub fn gain(&self, at: Micros) -> f32 {
        self.gain_at_nanos(u128::from(at.0) * 1000)
    }

    /// The same, as finely as samples lie.
    pub fn gain_at_nanos(&self, at: u128) -> f32 {
        let nanos = |at: Micros| u128::from(at.0) * 1000;
        let ramp = nanos(RAMP);
        // Only the last that has begun and the next one can be near: others lie behind them.
        let next = self.spans.partition_point(|span| nanos(span.0) <= at);
        let near = self.spans[next.saturating_sub(1)..].iter().take(2).map(|span| {
            let away = if at < nanos(span.0) { nanos(span.0) - at } else { at.saturating_sub(nanos(span.1)) };
            away.min(ramp) as f32 / ramp as f32
        });
        near.fold(1.0, f32::min)
    }

    /// Whether anything between the two is less loud than it came.
    pub fn touches(&self, from: Micros, to: Micros) -> bool {
        let first = self.spans.partition_point(|span| span.1 + RAMP < from);
        self.spans.get(first).is_some_and(|span| span.0 <= to + RAMP)
    }

    /// Spans that are kept.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn timeline(spans: &[(u64, u64)]) -> MuteTimeline {
        let mut timeline = MuteTimeline::default();
        spans.iter().for_each(|&(from, to)| timeline.mute(Micros(from), Micros(to)));
        timeline
    }

    #[test]
    fn ramps_lie_outside_of_what_was_asked() {
        let timeline = timeline(&[(100_000, 200_000)]);
        let gains = [0, 94_999, 95_000, 97_500, 99_999, 100_000, 150_000, 200_000, 202_500, 205_000, 300_000];
        let gains = gains.map(|at| timeline.gain(Micros(at)));
        assert_eq!(gains, [1.0, 1.0, 1.0, 0.5, 0.0002, 0.0, 0.0, 0.0, 0.5, 1.0, 1.0]);
    }

    #[test]
    fn spans_that_touch_are_one_and_those_that_are_over_go() {
        let mut timeline = timeline(&[(100, 200), (300, 400), (200, 300), (1000, 1000), (900, 800)]);
        assert_eq!(timeline.spans, [(Micros(100), Micros(400))]);
        timeline.mute(Micros(0), Micros::MAX);
        assert_eq!((timeline.len(), timeline.gain(Micros(u64::MAX - 1))), (1, 0.0));
        let mut timeline = self::timeline(&[(100, 200), (6000, 7000)]);
        timeline.forget_before(Micros(5200));
        assert_eq!(timeline.len(), 2);
        timeline.forget_before(Micros(5201));
        assert_eq!(timeline.spans, [(Micros(6000), Micros(7000))]);
    }

    #[test]
    fn too_many_mute_more_and_never_less() {
        let mut timeline = MuteTimeline::default();
        for span in 0..1000_u64 {
            timeline.mute(Micros(span * 100_000), Micros(span * 100_000 + 1000));
        }
        assert_eq!(timeline.len(), SPANS_MAX);
        assert!((0..1000).all(|span| timeline.gain(Micros(span * 100_000 + 500)) == 0.0));
    }

    proptest! {
        #[test]
        fn it_is_the_nearest_span_that_counts(
            spans in prop::collection::vec((0..200_000_u64, 0..20_000_u64), 0..40),
            times in prop::collection::vec(0..230_000_u64, 50),
        ) {
            let spans: Vec<(u64, u64)> = spans.into_iter().map(|(from, length)| (from, from + length)).collect();
            let timeline = timeline(&spans);
            for at in times {
                let away = spans.iter().filter(|span| span.0 < span.1).map(|&(from, to)| from.saturating_sub(at).max(at.saturating_sub(to)));
                let away = away.min().unwrap_or(u64::MAX).min(RAMP.0);
                prop_assert_eq!(timeline.gain(Micros(at)), (away * 1000) as f32 / (RAMP.0 * 1000) as f32);
                prop_assert!(away == RAMP.0 || timeline.touches(Micros(at), Micros(at)));
            }
            prop_assert!(timeline.spans.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
    }
}
