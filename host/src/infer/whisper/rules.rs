//! What may be said, and what is listened for. Pure.

use std::collections::BTreeSet;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub end: u32,
    /// How likely this is after the prompt's `start`-th token says whether nothing was said.
    pub no_speech: Option<u32>,
    pub start: usize,
    /// Never.
    pub suppressed: Vec<u32>,
    /// Not as the first.
    pub suppressed_first: Vec<u32>,
    /// By token: it begins a word.
    pub begins: Vec<bool>,
    /// Spellings that are listened for.
    pub favoured: Vec<Vec<u32>>,
    /// What each of them adds to the score of what is said, where that is clear.
    pub bonus: f32,
    /// So much less likely, as a logarithm, each of them may be where nothing speaks for it but the sound.
    pub margin: f32,
}

/// How likely each token is to follow, as natural logarithms.
pub struct Scores {
    logits: Vec<f32>,
    all: f32,
    best: u32,
}

impl Rules {
    /// Of those that are allowed after `before`.
    pub fn scores(&self, logits: &[f32], before: &[u32]) -> Scores {
        // Whatever comes after the end is special: a language, a time.
        let mut logits = logits[..logits.len().min(self.end as usize + 1)].to_vec();
        let also = if before.is_empty() { self.suppressed_first.as_slice() } else { &[] };
        for &token in self.suppressed.iter().chain(also) {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
        let (best, most) = (0..)
            .zip(&logits)
            .fold((self.end, f32::NEG_INFINITY), |best, (token, logit)| if *logit > best.1 { (token, *logit) } else { best });
        let all = logits.iter().map(|logit| (logit - most).exp()).sum::<f32>().ln() + most;
        Scores { logits, all, best }
    }

    /// The tokens that would begin a spelling or go on with one that is not whole yet; each once.
    pub fn awaited(&self, before: &[u32]) -> BTreeSet<u32> {
        let next = |spelling: &'_ Vec<u32>| {
            let written = (0..spelling.len()).filter(|written| before.ends_with(&spelling[..*written]));
            let begun = written.filter(|written| !self.favoured.iter().any(|whole| whole[..] == spelling[..*written]));
            begun.map(|written| spelling[written]).collect::<Vec<_>>()
        };
        self.favoured.iter().flat_map(next).collect()
    }

    /// What is left to be written of the spellings that have come as far as the last of these tokens.
    pub fn left(&self, tokens: &[u32]) -> Vec<&[u32]> {
        let left = |spelling: &'_ Vec<u32>| (1..=spelling.len()).filter(|written| tokens.ends_with(&spelling[..*written])).max();
        self.favoured.iter().filter_map(|spelling| left(spelling).map(|written| &spelling[written..])).collect()
    }

    /// Where spellings stand, in order.
    pub fn found(&self, tokens: &[u32]) -> Vec<std::ops::Range<usize>> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let here = self.favoured.iter().filter(|spelling| tokens[at..].starts_with(spelling)).map(Vec::len).max().unwrap_or(0);
            if here > 0 {
                found.push(at..at + here);
            }
            at += here.max(1);
        }
        found
    }

    pub fn begins_word(&self, token: u32) -> bool {
        self.begins.get(token as usize).copied().unwrap_or(true)
    }

    /// The first token after `at` that begins a word.
    pub fn next_word(&self, tokens: &[u32], at: usize) -> usize {
        tokens.iter().skip(at + 1).position(|token| self.begins_word(*token)).map_or(tokens.len(), |after| at + 1 + after)
    }
}

impl Scores {
    pub fn of(&self, token: u32) -> f32 {
        self.logits.get(token as usize).map_or(f32::NEG_INFINITY, |logit| logit - self.all)
    }

    pub fn best(&self) -> u32 {
        self.best
    }
}

/// How likely `token` is among all, special ones too.
pub fn probability(logits: &[f32], token: u32) -> f32 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let all: f32 = logits.iter().map(|logit| (logit - most).exp()).sum();
    logits.get(token as usize).map_or(0.0, |logit| (logit - most).exp() / all)
}
