//! One way through what the network says: what is given first, then the likeliest, token after token. Pure: the network is a function here.

use std::ops::Range;

use super::guard::{loop_of, repeats};
use super::rules::{Rules, probability};

/// So many tokens of a draft may be left out where it was wrong.
const REACH: usize = 6;

/// What the network makes of some tokens.
pub struct Step {
    /// `[tokens, vocabulary]`.
    pub logits: Vec<f32>,
    /// Of each token: what it looked at.
    pub attention: Vec<Vec<f32>>,
}

/// A token that would write what is listened for, and is not the likeliest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hope {
    /// In place of this one.
    pub at: usize,
    pub token: u32,
    pub log_probability: f32,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Way {
    pub tokens: Vec<u32>,
    /// Natural logarithms of how likely each was.
    pub log_probabilities: Vec<f32>,
    /// What was looked at while each of the tokens was found, and the end.
    pub attention: Vec<Vec<f32>>,
    /// Where it might have gone on otherwise.
    pub hopes: Vec<Hope>,
    /// How likely it was to end there.
    pub end: f32,
    /// Cut off, because it went in circles or on without end.
    pub cut: bool,
}

/// How a way goes on.
#[derive(Clone, Debug, Default)]
pub struct Plan<'a> {
    /// One of these is written first.
    pub first: Vec<&'a [u32]>,
    /// What may follow. As far as it is right it costs one step in all, and it never changes the answer.
    pub draft: &'a [u32],
    /// What is written may not be less likely than that.
    pub least: Option<f32>,
}

/// Asks the network, which remembers the tokens that it was asked about last.
pub struct Walker<'a, F> {
    pub prompt: &'a [u32],
    pub rules: &'a Rules,
    /// Tokens that a way has at most.
    pub most: usize,
    /// Given tokens and how many of those before them it is to keep.
    pub step: F,
    pub remembered: Vec<u32>,
    /// The place in the prompt after which the network says how likely it is that nothing was said, if that is asked.
    pub start: Option<usize>,
    /// How likely it is that nothing was said.
    pub no_speech: f32,
}

impl<E, F: FnMut(&[u32], usize) -> Result<Step, E>> Walker<'_, F> {
    /// Goes on with a way up to its end; none, if it turns out to be too unlikely.
    ///
    /// # Errors
    /// What the network fails with.
    pub fn walk(&mut self, mut way: Way, plan: Plan) -> Result<Option<Way>, E> {
        let Plan { mut first, draft, least } = plan;
        let (rules, mut gone, mut offer) = (self.rules, 0.0, Offer { draft, agrees: true });
        loop {
            let known = self.prompt.len() + way.tokens.len();
            let certain = if let [only] = first[..] { only } else { &[] };
            let whole = |first: &[&[u32]]| first.is_empty() || first.iter().any(|rest| rest.is_empty());
            // After what is not certain the draft would be out of step.
            let drafted = if offer.agrees && (first.len() == 1 || whole(&first)) { offer.draft } else { &[] };
            let all = [self.prompt, &way.tokens, certain, drafted].concat();
            let kept = self.remembered.iter().zip(&all).take_while(|(before, now)| before == now).count().min(known - 1);
            let Step { logits, mut attention } = (self.step)(&all[kept..], kept)?;
            let width = logits.len() / (all.len() - kept);
            if let (0, Some(token), Some(start)) = (kept, rules.no_speech, self.start) {
                self.no_speech = probability(&logits[start * width..][..width], token);
            }
            for at in known - 1..all.len() {
                let row = at - kept;
                let scores = rules.scores(&logits[row * width..][..width], &way.tokens);
                way.attention.push(std::mem::take(&mut attention[row]));
                let next = first.iter().filter_map(|rest| rest.first().copied()).max_by(|a, b| scores.of(*a).total_cmp(&scores.of(*b)));
                let token = next.filter(|_| !whole(&first)).unwrap_or(scores.best());
                if token == rules.end {
                    way.end = scores.of(token);
                    gone += way.end;
                    break;
                }
                if first.is_empty() {
                    let awaited = rules.awaited(&way.tokens).into_iter().filter(|awaited| *awaited != token);
                    let hope = |token| Hope { at: way.tokens.len(), token, log_probability: scores.of(token) };
                    let near = |hope: &Hope| hope.log_probability > scores.of(token) - rules.bonus;
                    way.hopes.extend(awaited.map(hope).filter(near));
                }
                way.log_probabilities.push(scores.of(token));
                gone += scores.of(token);
                way.tokens.push(token);
                first.retain_mut(|rest| rest.split_off_first().is_some_and(|next| *next == token));
                if first.is_empty() {
                    offer.follow(token);
                }
                if way.tokens.len() >= self.most || repeats(&way.tokens) {
                    way.cut = true;
                    way.leave_loop();
                    break;
                }
                if least.is_some_and(|least| gone < least) || all.get(at + 1) != Some(&token) {
                    break;
                }
            }
            self.remembered = all;
            if least.is_some_and(|least| gone < least) {
                return Ok(None);
            }
            if way.cut || way.attention.len() > way.tokens.len() {
                return Ok(Some(way));
            }
        }
    }
}

impl Way {
    /// As far as before the hope's token, and that.
    pub fn turned(&self, hope: &Hope) -> Self {
        let at = hope.at;
        Self {
            tokens: [&self.tokens[..at], &[hope.token]].concat(),
            log_probabilities: [&self.log_probabilities[..at], &[hope.log_probability]].concat(),
            attention: self.attention[..=at].to_vec(),
            hopes: self.hopes.iter().filter(|other| other.at < at).copied().collect(),
            end: 0.0,
            cut: false,
        }
    }

    /// How likely what comes from there on is.
    pub fn likely_from(&self, at: usize) -> f32 {
        self.log_probabilities.iter().skip(at).sum::<f32>() + self.end
    }

    /// How likely each of these tokens is, on average.
    pub fn likely_each(&self, tokens: Range<usize>) -> f32 {
        let likely = &self.log_probabilities[tokens];
        likely.iter().sum::<f32>() / likely.len().max(1) as f32
    }

    /// Of what was repeated, one stays.
    fn leave_loop(&mut self) {
        while let Some(length) = loop_of(&self.tokens) {
            let keep = self.tokens.len() - length;
            self.tokens.truncate(keep);
            self.log_probabilities.truncate(keep);
        }
        // The attention of the token that follows stands for the end.
        self.attention.truncate(self.tokens.len() + 1);
        if self.attention.len() == self.tokens.len() {
            let last = self.attention.last().cloned().unwrap_or_default();
            self.attention.push(last);
        }
        self.hopes.retain(|hope| hope.at < self.tokens.len());
    }
}

/// What may follow: a draft is offered while what is written agrees with it.
struct Offer<'a> {
    draft: &'a [u32],
    agrees: bool,
}

impl Offer<'_> {
    /// Of the next few drafted tokens one may be written again after something else was.
    fn follow(&mut self, token: u32) {
        let found = self.draft.iter().take(REACH).position(|drafted| *drafted == token);
        self.agrees = found.is_some();
        self.draft = &self.draft[found.map_or(0, |at| at + 1)..];
    }
}
