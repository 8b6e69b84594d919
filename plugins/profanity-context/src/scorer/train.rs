//! Trains the scorer: logistic regression by stochastic gradients, one thread, no clock and no randomness, so that the same texts give
//! the same bytes anywhere. Even the exponential is made of additions and multiplications.

use std::collections::BTreeMap;

use super::features::{Group, Seen, each};
use super::{BUCKETS, QUANTUM, Scorer};
use crate::judge::{Judge, Said};

/// One labelled text.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    pub words: &'a [&'a str],
    pub offensive: bool,
    /// Texts of one source are weighed together.
    pub source: &'a str,
}

/// How the training goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    pub epochs: u32,
    pub rate: f32,
    /// Pull of every weight to 0, per text and unit of rate.
    pub decay: f32,
    /// Share of the looks at a text in which what the rules found is hidden: no lexicon knows all words, and texts that were not trained
    /// on have more that it does not know.
    pub blind: f32,
}

impl Default for Plan {
    fn default() -> Self {
        Self { epochs: 8, rate: 0.15, decay: 3e-4, blind: 0.1 }
    }
}

/// A text weighs 1 where texts of its source and label are one in so many.
const WEIGHT_KINDS: f32 = 4.0;
/// No text weighs more.
const WEIGHT_MAX: f32 = 12.0;

/// A text as numbers: places and values, the places of a text in the order of its features.
struct Example {
    features: Vec<(u16, f32)>,
    /// The same with what the rules found hidden.
    blind: Vec<(u16, f32)>,
    sign: f32,
    weight: f32,
}

/// Trains a model on `samples`.
pub fn train(samples: &[Sample<'_>], plan: Plan) -> Scorer {
    let judge = Judge::rules_alone();
    let mut kinds: BTreeMap<(&str, bool), usize> = BTreeMap::new();
    for sample in samples {
        *kinds.entry((sample.source, sample.offensive)).or_default() += 1;
    }
    let weigh = |sample: &Sample<'_>| weight(kinds[&(sample.source, sample.offensive)], samples.len());
    let examples: Vec<Example> = samples.iter().map(|sample| example(&judge, sample, weigh(sample))).collect();
    let mut weights = vec![0f32; BUCKETS];
    let mut squares = vec![1e-2f32; BUCKETS];
    let mut sum = vec![0f64; BUCKETS];
    let mut order: Vec<usize> = (0..examples.len()).collect();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    for epoch in 0..plan.epochs {
        shuffle(&mut order, &mut random);
        for &at in &order {
            let example = &examples[at];
            let blind = ((next(&mut random) >> 40) as f32) < plan.blind * (1u64 << 24) as f32;
            let features = if blind { &example.blind } else { &example.features };
            let margin: f32 = features.iter().map(|&(bucket, value)| weights[bucket as usize] * value).sum();
            let pull = example.sign * example.weight * (1.0 - logistic(example.sign * margin));
            for &(bucket, value) in features {
                let bucket = bucket as usize;
                let gradient = pull * value - plan.decay * example.weight * weights[bucket];
                squares[bucket] += gradient * gradient;
                weights[bucket] += plan.rate * gradient / squares[bucket].sqrt();
            }
        }
        if epoch >= plan.epochs / 2 {
            sum.iter_mut().zip(&weights).for_each(|(sum, &weight)| *sum += f64::from(weight));
        }
    }
    let epochs = f64::from(plan.epochs - plan.epochs / 2);
    let bytes = sum.iter().map(|sum| quantised((sum / epochs) as f32)).collect();
    Scorer::from_bytes(bytes).unwrap_or_else(|fault| unreachable!("{fault}"))
}

fn quantised(weight: f32) -> u8 {
    (weight / QUANTUM).round().clamp(-127.0, 127.0) as i8 as u8
}

fn example(judge: &Judge, sample: &Sample<'_>, weight: f32) -> Example {
    let said = Said { words: sample.words, ..Said::default() };
    let (features, blind) = judge.see(said, |seen| (features(&seen, false), features(&seen, true)));
    Example { features, blind, sign: if sample.offensive { 1.0 } else { -1.0 }, weight }
}

fn features(seen: &Seen<'_>, blind: bool) -> Vec<(u16, f32)> {
    let mut places: Vec<(Group, u16)> = Vec::new();
    let mut counts = [0u32; Group::ALL.len()];
    each(seen, |group, bucket, _| {
        counts[group as usize] += 1;
        places.push((group, bucket));
    });
    places
        .into_iter()
        .filter(|(group, _)| !(blind && *group == Group::Rules))
        .map(|(group, bucket)| (bucket, group.value(counts[group as usize])))
        .collect()
}

/// All sources and both labels of each count alike, as far as [`WEIGHT_MAX`] goes.
fn weight(alike: usize, all: usize) -> f32 {
    (all as f32 / (WEIGHT_KINDS * alike as f32)).min(WEIGHT_MAX)
}

fn shuffle(order: &mut [usize], random: &mut u64) {
    for at in (1..order.len()).rev() {
        order.swap(at, (next(random) % (at as u64 + 1)) as usize);
    }
}

/// Xorshift: even enough to shuffle by.
fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

/// `1 / (1 + e^-x)`, within 0.004.
fn logistic(x: f32) -> f32 {
    let mut power = 1.0 - x.clamp(-12.0, 12.0) / 1024.0;
    for _ in 0..10 {
        power *= power;
    }
    1.0 / (1.0 + power)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of two kinds whose words differ, and a few that are labelled against them.
    fn trained() -> Scorer {
        let texts: Vec<(Vec<String>, bool)> = (0..120usize)
            .map(|at| {
                let offensive = at % 3 == 0;
                let kind = if offensive != (at % 17 == 0) { "gruntle" } else { "meadow" };
                (vec![format!("word{}", at % 7), kind.into(), format!("other{}", at % 5), "here".into()], offensive)
            })
            .collect();
        let words: Vec<Vec<&str>> = texts.iter().map(|(words, _)| words.iter().map(String::as_str).collect()).collect();
        let samples: Vec<Sample<'_>> =
            words.iter().zip(&texts).map(|(words, (_, offensive))| Sample { words, offensive: *offensive, source: "made up" }).collect();
        train(&samples, Plan { blind: 0.2, ..Plan::default() })
    }

    #[test]
    fn training_again_gives_the_same_bytes() {
        let scorer = trained();
        assert!(scorer == trained() && scorer.bytes().iter().any(|&byte| byte != 0));
    }

    #[test]
    fn what_was_learnt_holds_for_other_texts() {
        let judge = Judge::with(crate::config::Config::default(), trained(), crate::judge::Layers::Scorer);
        let margin = |words: &[&str]| judge.opinion(Said { words, ..Said::default() }).margin;
        let (bad, good) = (margin(&["a", "gruntle", "there"]), margin(&["a", "meadow", "there"]));
        assert!(bad > 0.5 && good < -0.5, "{bad} {good}");
    }

    #[test]
    fn the_logistic_function_is_near_the_true_one() {
        for x in -120..=120 {
            let x = x as f32 / 10.0;
            assert!((logistic(x) - 1.0 / (1.0 + (-x).exp())).abs() < 4e-3, "{x}");
        }
    }
}
