//! From scores to tokens: the likeliest, one after the other, with what keeps Whisper from going astray. Pure: the network is a function here.

use std::collections::BTreeSet;

/// Beyond so many tokens a second nobody speaks; a decoder that writes more makes it up. Quick speech has 4 to 6.
const TOKENS_PER_SECOND: f32 = 10.0;
/// However short it is.
const TOKENS_MIN: usize = 8;
/// How often something is said without a pause before it counts as a loop; longer phrases loop sooner. By how long the phrase may be, in tokens.
const LOOPS: [(usize, usize); 3] = [(1, 5), (7, 3), (40, 2)];
/// `no_speech_threshold` and `logprob_threshold` in openai/whisper's `transcribe.py`: if both are passed, nothing was said.
const NO_SPEECH: f32 = 0.6;
const DOUBT: f32 = -1.0;
/// Less likely than that on average, and it is made up whatever else speaks for it.
const NONSENSE: f32 = -2.0;

/// What may be said, and what is likelier than it seems.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub end: u32,
    pub no_speech: Option<u32>,
    /// Never.
    pub suppressed: Vec<u32>,
    /// Not as the first.
    pub suppressed_first: Vec<u32>,
    /// Spellings that are listened for: while one is being written, its next token is likelier.
    pub favoured: Vec<Vec<u32>>,
    /// Added to such a token's score.
    pub bonus: f32,
}

/// What the network makes of some tokens.
pub struct Step {
    /// `[tokens, vocabulary]`.
    pub logits: Vec<f32>,
    /// Of each token: what it looked at.
    pub attention: Vec<Vec<f32>>,
}

/// What was said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    pub tokens: Vec<u32>,
    /// Natural logarithms of how likely each was.
    pub log_probabilities: Vec<f32>,
    /// What was looked at while each of the tokens was found, and the end.
    pub attention: Vec<Vec<f32>>,
    /// How likely it is that nothing was said.
    pub no_speech: f32,
    /// Cut off, because it went in circles or on without end.
    pub cut: bool,
}

impl Decoded {
    /// Whether it is to be believed at all.
    pub fn is_said(&self) -> bool {
        let mean = self.log_probabilities.iter().sum::<f32>() / self.log_probabilities.len().max(1) as f32;
        !self.tokens.is_empty() && mean > NONSENSE && (self.no_speech < NO_SPEECH || mean > DOUBT)
    }
}

/// Decodes `seconds` of sound. `step` is given tokens and how many of those before them it is to keep. `draft` is what may be said: as far as it
/// is right, it costs one step in all, and it never changes the answer.
///
/// # Errors
/// What `step` fails with.
pub fn decode<E>(
    prompt: &[u32],
    draft: &[u32],
    seconds: f32,
    rules: &Rules,
    mut step: impl FnMut(&[u32], usize) -> Result<Step, E>,
) -> Result<Decoded, E> {
    let most = TOKENS_MIN.max((seconds * TOKENS_PER_SECOND) as usize);
    let mut found = Decoded::default();
    let mut asked = [prompt, draft].concat();
    let mut kept = 0;
    // The prompt's last token is the first after which something is to be found.
    let mut row = prompt.len() - 1;
    loop {
        let Step { logits, mut attention } = step(&asked, kept)?;
        let width = logits.len() / asked.len();
        if let Some(token) = rules.no_speech.filter(|_| kept == 0) {
            found.no_speech = probability(&logits[..width], token);
        }
        loop {
            let (token, log_probability) = rules.likeliest(&logits[row * width..][..width], &found.tokens);
            found.attention.push(std::mem::take(&mut attention[row]));
            if token == rules.end {
                return Ok(found);
            }
            found.tokens.push(token);
            found.log_probabilities.push(log_probability);
            if found.tokens.len() >= most || repeats(&found.tokens) {
                found.cut = true;
                found.leave_loop();
                return Ok(found);
            }
            // The next row is of use only if it followed this token.
            row += 1;
            if asked.get(row) != Some(&token) {
                kept = prompt.len() + found.tokens.len() - 1;
                asked = vec![token];
                row = 0;
                break;
            }
        }
    }
}

impl Decoded {
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
    }
}

impl Rules {
    /// The best token, and the logarithm of how likely it is among those that are allowed.
    fn likeliest(&self, logits: &[f32], before: &[u32]) -> (u32, f32) {
        // Whatever comes after the end is special: a language, a time.
        let mut scores = logits[..logits.len().min(self.end as usize + 1)].to_vec();
        let also = if before.is_empty() { self.suppressed_first.as_slice() } else { &[] };
        for &token in self.suppressed.iter().chain(also) {
            if let Some(score) = scores.get_mut(token as usize) {
                *score = f32::NEG_INFINITY;
            }
        }
        let (mut token, mut best) = (0..)
            .zip(&scores)
            .fold((self.end, f32::NEG_INFINITY), |best, (token, score)| if *score > best.1 { (token, *score) } else { best });
        let all: f32 = scores.iter().map(|score| (score - best).exp()).sum::<f32>().ln() + best;
        for awaited in self.awaited(before) {
            if let Some(score) = scores.get(awaited as usize).filter(|score| **score + self.bonus > best) {
                (token, best) = (awaited, score + self.bonus);
            }
        }
        // How likely it is without the bonus.
        (token, scores.get(token as usize).map_or(f32::NEG_INFINITY, |score| score - all))
    }

    /// The tokens that would begin a spelling or go on with one; each once.
    fn awaited(&self, before: &[u32]) -> BTreeSet<u32> {
        let next = |spelling: &'_ Vec<u32>| {
            let written = (0..spelling.len()).filter(|written| before.ends_with(&spelling[..*written]));
            written.map(|written| spelling[written]).collect::<Vec<_>>()
        };
        self.favoured.iter().flat_map(next).collect()
    }
}

fn probability(logits: &[f32], token: u32) -> f32 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let all: f32 = logits.iter().map(|logit| (logit - most).exp()).sum();
    logits.get(token as usize).map_or(0.0, |logit| (logit - most).exp() / all)
}

/// Whether it ends in a phrase that has been said too often.
fn repeats(tokens: &[u32]) -> bool {
    let mut shorter = 0;
    LOOPS.iter().any(|&(longest, most)| {
        let lengths = shorter + 1..=longest;
        shorter = longest;
        lengths.into_iter().any(|length| said(tokens, length) >= most)
    })
}

/// The length of the shortest phrase at the end that was also said before it.
fn loop_of(tokens: &[u32]) -> Option<usize> {
    (1..=tokens.len() / 2).find(|length| said(tokens, *length) > 1)
}

/// How often the last `length` tokens stand at the end, one after the other.
fn said(tokens: &[u32], length: usize) -> usize {
    let mut phrases = tokens.rchunks_exact(length);
    let Some(last) = phrases.next() else { return 0 };
    1 + phrases.take_while(|phrase| *phrase == last).count()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    const END: u32 = 9;
    const PROMPT: [u32; 2] = [10, 11];

    fn rules() -> Rules {
        Rules { end: END, no_speech: Some(11), ..Rules::default() }
    }

    /// A network that says `speech`, whatever it is asked; counts its steps and the tokens in them.
    fn network<'a>(speech: &'a [u32], cost: &'a mut (usize, usize)) -> impl FnMut(&[u32], usize) -> Result<Step, Infallible> + 'a {
        let mut heard: Vec<u32> = Vec::new();
        move |tokens, kept| {
            heard.truncate(kept);
            *cost = (cost.0 + 1, cost.1 + tokens.len());
            let (mut logits, mut attention) = (Vec::new(), Vec::new());
            for token in tokens {
                heard.push(*token);
                let after = heard.len().checked_sub(PROMPT.len());
                // Off the right way it talks nonsense.
                let right = after.is_some_and(|after| speech.get(..after) == Some(&heard[PROMPT.len()..]));
                let next = after.filter(|_| right).map_or(0, |after| speech.get(after).copied().unwrap_or(END));
                logits.extend((0..12).map(|id| if id == next { 5.0 } else { 0.0 }));
                attention.push(vec![heard.len() as f32]);
            }
            Ok(Step { logits, attention })
        }
    }

    fn decoded(speech: &[u32], draft: &[u32], rules: &Rules) -> (Decoded, (usize, usize)) {
        let mut cost = (0, 0);
        let found = decode(&PROMPT, draft, 3.0, rules, network(speech, &mut cost)).unwrap();
        (found, cost)
    }

    proptest! {
        #[test]
        fn a_draft_changes_the_cost_and_nothing_else(
            speech in prop::collection::vec(0..9_u32, 0..20),
            draft in prop::collection::vec(0..9_u32, 0..20),
            shared in 0..20_usize,
        ) {
            let draft = [&speech[..shared.min(speech.len())], &draft].concat();
            let (plain, cost) = decoded(&speech, &[], &rules());
            let (drafted, less) = decoded(&speech, &draft, &rules());
            prop_assert_eq!(&plain, &drafted);
            prop_assert!(less.0 <= cost.0);
            prop_assert_eq!(plain.attention.len(), plain.tokens.len() + 1);
            prop_assert!(plain.cut || plain.tokens == speech);
        }
    }

    #[test]
    fn a_right_draft_costs_one_step() {
        let speech = [1, 2, 3, 4, 5, 6];
        assert_eq!(decoded(&speech, &[], &rules()).1.0, 7);
        assert_eq!(decoded(&speech, &speech, &rules()).1.0, 1);
        assert_eq!(decoded(&speech, &[1, 2, 3, 7, 5], &rules()).1.0, 4);
    }

    #[test]
    fn loops_are_left_and_one_of_what_was_repeated_stays() {
        let (found, _) = decoded(&[1, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3], &[], &rules());
        assert_eq!((found.tokens.as_slice(), found.cut), (&[1, 2, 3][..], true));
        assert_eq!(found.attention.len(), 4);
        let (found, _) = decoded(&[4; 25], &[], &rules());
        assert_eq!(found.tokens, [4]);
        let (found, _) = decoded(&[1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2], &[], &rules());
        assert_eq!(found.tokens, [1, 2, 3, 4, 5, 6, 7, 8]);
        let (found, _) = decoded(&[4, 4, 4, 4, 5], &[], &rules());
        assert_eq!((found.tokens.as_slice(), found.cut), (&[4, 4, 4, 4, 5][..], false));
    }

    #[test]
    fn there_is_an_end_to_it() {
        let long: Vec<u32> = (0..100).map(|at| (at * at + at / 7) % 9).collect();
        let mut cost = (0, 0);
        let found = decode(&PROMPT, &[], 1.5, &rules(), network(&long, &mut cost)).unwrap();
        assert!(found.cut && found.tokens.len() <= 15);
    }

    #[test]
    fn what_is_suppressed_is_not_said_and_what_is_favoured_may_be() {
        let scores = [1.0, 3.0, 2.0, 2.5, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 9.0, 9.0];
        let mut rules = rules();
        assert_eq!(rules.likeliest(&scores, &[]).0, 1);
        rules.suppressed = vec![1];
        rules.suppressed_first = vec![3];
        assert_eq!((rules.likeliest(&scores, &[]).0, rules.likeliest(&scores, &[5]).0), (2, 3));
        (rules.favoured, rules.bonus) = (vec![vec![0, 4]], 2.0);
        let (token, likely) = rules.likeliest(&scores, &[5]);
        assert!(token == 0 && likely < -1.6 && likely > -2.4, "{likely}");
        rules.bonus = 3.5;
        assert_eq!((rules.likeliest(&scores, &[5]).0, rules.likeliest(&scores, &[5, 0]).0), (0, 0));
        assert_eq!(rules.awaited(&[5, 0]), BTreeSet::from([0, 4]));
    }

    #[test]
    fn silence_and_nonsense_are_not_believed() {
        let of =
            |no_speech, likely: f32| Decoded { tokens: vec![1, 2], log_probabilities: vec![likely; 2], no_speech, ..Decoded::default() };
        assert!(of(0.1, -0.3).is_said() && of(0.9, -0.3).is_said() && of(0.1, -1.5).is_said());
        assert!(!of(0.9, -1.5).is_said() && !of(0.1, -2.5).is_said() && !Decoded::default().is_said());
    }
}
