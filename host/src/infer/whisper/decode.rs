//! From scores to tokens: the likeliest, one after the other, and then what is listened for, tried where it may have been said. Pure: the network
//! is a function here.
//!
//! The likeliest next token is not always the beginning of what was said: "slot" may be a little likelier than "slut", and "she type" begins
//! likelier than "shit I" and goes on less likely. So for each place where a favoured spelling could begin or go on, the way that turns off there
//! is walked to its end, and the one of the greatest score stays: how likely all of it is, and a bonus for each favoured word in it. A word
//! that is favoured is thus heard where the whole stretch with it is at most e^bonus times less likely than without.

use super::guard::most;
pub use super::rules::Rules;
pub use super::way::Step;
use super::way::{Hope, Plan, Walker, Way};

/// `no_speech_threshold` and `logprob_threshold` in openai/whisper's `transcribe.py`: if both are passed, nothing was said.
const NO_SPEECH: f32 = 0.6;
const DOUBT: f32 = -1.0;
/// Less likely than that on average, and it is made up whatever else speaks for it.
const NONSENSE: f32 = -2.0;
/// Ways that are tried off one, at most: the likeliest. Noise could be anything.
const TRIED_MAX: usize = 24;
/// So many times what a word costs on average, as a logarithm, is taken off the bonus: where nothing is clear, anything could have been said.
const UNCLEAR: f32 = 4.0;
/// Weight of what was said before against nothing said before, where the two do not agree on what was said.
const TOLD: f32 = 2.0;
/// A favoured word whose tokens are less likely than that on average is not put in, however unlikely the rest is.
const FAINT: f32 = -3.0;
/// Favoured words that are put in, at most.
const FOUND_MAX: usize = 8;
/// A way that writes so many tokens less leaves out what was said, and is likelier for that alone.
const LOST_MAX: usize = 3;

/// What was said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    pub way: Way,
    /// How likely it is that nothing was said.
    pub no_speech: f32,
    /// How much less likely, as a logarithm, it is than the likeliest way, which has not all of what is listened for.
    pub hoped: f32,
}

impl Decoded {
    /// Whether it is to be believed at all.
    pub fn is_said(&self) -> bool {
        let likely = &self.way.log_probabilities;
        let mean = likely.iter().sum::<f32>() / likely.len().max(1) as f32;
        !self.way.tokens.is_empty() && mean > NONSENSE && (self.no_speech < NO_SPEECH || mean > DOUBT)
    }
}

/// Decodes `seconds` of sound. `step` is given tokens and how many of those before them it is to keep. `draft` is what may be said: as far as it
/// is right, it costs one step in all, and beyond the first `settled` of it, which are taken as they are, it never changes the answer.
///
/// # Errors
/// What `step` fails with.
pub fn decode<E>(
    prompt: &[u32],
    draft: &[u32],
    settled: usize,
    seconds: f32,
    rules: &Rules,
    step: impl FnMut(&[u32], usize) -> Result<Step, E>,
) -> Result<Decoded, E> {
    let mut walker = Walker { prompt, rules, most: most(seconds), step, remembered: Vec::new(), start: Some(rules.start), no_speech: 0.0 };
    let mut way = likeliest(&mut walker, draft, settled)?;
    let (spare, mut refuted) = (spare(rules, &way), Vec::new());
    let most_likely = way.likely_from(0);
    for _ in 0..FOUND_MAX {
        match better(&mut walker, &way, spare, &mut refuted)? {
            Some(found) => way = found,
            None => break,
        }
    }
    let hoped = (most_likely - way.likely_from(0)).max(0.0);
    Ok(Decoded { way, no_speech: walker.no_speech, hoped })
}

/// What is left of `decoded` where a decoder that is not told what was said before, and knows no bonus, is asked about it: that one's way, where
/// `decoded` is too much less likely there, what it was less likely here with [`TOLD`] times the weight. What is said before makes some words so likely
/// that they are heard where something else is plainly said; a word that was said is likely either way. `prompt`, `settled` and `step` as in [`decode`].
///
/// # Errors
/// What `step` fails with.
pub fn confirmed<E>(
    decoded: Decoded,
    prompt: &[u32],
    settled: usize,
    seconds: f32,
    rules: &Rules,
    step: impl FnMut(&[u32], usize) -> Result<Step, E>,
) -> Result<Decoded, E> {
    let tokens = &decoded.way.tokens;
    let found = rules.found(tokens).len();
    if found == 0 {
        return Ok(decoded);
    }
    let mut walker = Walker { prompt, rules, most: most(seconds), step, remembered: Vec::new(), start: None, no_speech: 0.0 };
    let plain = likeliest(&mut walker, tokens, settled)?;
    let lost = found.saturating_sub(rules.found(&plain.tokens).len());
    if lost == 0 {
        return Ok(decoded);
    }
    let least = plain.likely_from(0) + TOLD * decoded.hoped - rules.margin * lost as f32;
    let same = walker.walk(Way::default(), Plan { first: vec![tokens], draft: &[], least: Some(least) })?;
    Ok(if same.is_some() { decoded } else { Decoded { way: plain, ..decoded } })
}

/// The likeliest way that begins with the first `settled` of these tokens; the others are what may follow.
fn likeliest<E, F: FnMut(&[u32], usize) -> Result<Step, E>>(walker: &mut Walker<F>, tokens: &[u32], settled: usize) -> Result<Way, E> {
    let (settled, draft) = tokens.split_at(settled.min(tokens.len()));
    let first = if settled.is_empty() { Vec::new() } else { vec![settled] };
    Ok(walker.walk(Way::default(), Plan { first, draft, least: None })?.unwrap_or_default())
}

/// The best of the ways that turn off this one towards what is favoured, if one is better than it. `spare`: what a favoured
/// word may cost. `refuted` has those that were not better: what was written before, and the token.
fn better<E, F: FnMut(&[u32], usize) -> Result<Step, E>>(
    walker: &mut Walker<F>,
    old: &Way,
    spare: f32,
    refuted: &mut Vec<Vec<u32>>,
) -> Result<Option<Way>, E> {
    let rules = walker.rules;
    let mut best: Option<(f32, Way)> = None;
    let least = |hope: &Hope| old.likely_from(hope.at) - spare;
    let found = rules.found(&old.tokens);
    let open = |hope: &&Hope| !found.iter().any(|word| word.contains(&hope.at)) && hope.log_probability >= least(hope);
    let mut hopes: Vec<Hope> = old.hopes.iter().filter(open).copied().collect();
    hopes.sort_unstable_by(|a, b| (b.log_probability - least(b)).total_cmp(&(a.log_probability - least(a))));
    hopes.truncate(TRIED_MAX);
    // From the last to the first: what comes before is remembered.
    hopes.sort_by_key(|hope| std::cmp::Reverse(hope.at));
    for hope in hopes {
        let turned = old.turned(&hope);
        if refuted.contains(&turned.tokens) {
            continue;
        }
        let key = turned.tokens.clone();
        let first = rules.left(&key);
        let draft = &old.tokens[rules.next_word(&old.tokens, hope.at)..];
        let way = walker.walk(turned, Plan { first, draft, least: Some(least(&hope) - hope.log_probability) })?;
        let whole = |way: &Way| (old.cut || !way.cut) && way.tokens.len() + LOST_MAX >= old.tokens.len();
        let clear = |way: &Way| rules.found(&way.tokens).into_iter().any(|word| word.contains(&hope.at) && way.likely_each(word) > FAINT);
        let score = |way: &Way| way.likely_from(0) + spare * rules.found(&way.tokens).len() as f32;
        match way.filter(|way| whole(way) && clear(way)).map(|way| (score(&way), way)).filter(|(gained, _)| *gained > score(old)) {
            Some(way) if best.as_ref().is_none_or(|(gained, _)| way.0 > *gained) => best = Some(way),
            Some(_) => {}
            None => refuted.push(key),
        }
    }
    Ok(best.map(|(_, way)| way))
}

/// The bonus for a word where the others are as clear as here.
fn spare(rules: &Rules, way: &Way) -> f32 {
    let words = way.tokens.iter().filter(|token| rules.begins_word(**token)).count().max(1);
    (rules.bonus + UNCLEAR * way.likely_from(0) / words as f32).max(0.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
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

    fn decoded(speech: &[u32], draft: &[u32], rules: &Rules) -> (Way, (usize, usize)) {
        let mut cost = (0, 0);
        let found = decode(&PROMPT, draft, 0, 3.0, rules, network(speech, &mut cost)).unwrap();
        (found.way, cost)
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
        let found = decode(&PROMPT, &[], 0, 1.5, &rules(), network(&long, &mut cost)).unwrap().way;
        assert!(found.cut && found.tokens.len() <= 15);
    }

    #[test]
    fn what_is_suppressed_is_not_said() {
        let scores = [1.0, 3.0, 2.0, 2.5, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 9.0, 9.0];
        let mut rules = rules();
        assert_eq!(rules.scores(&scores, &[]).best(), 1);
        rules.suppressed = vec![1];
        rules.suppressed_first = vec![3];
        assert_eq!((rules.scores(&scores, &[]).best(), rules.scores(&scores, &[5]).best()), (2, 3));
        assert_eq!(rules.scores(&scores, &[5]).of(1), f32::NEG_INFINITY);
    }

    #[test]
    fn spellings_are_awaited_until_they_are_whole() {
        let rules = Rules { favoured: vec![vec![1, 4, 5], vec![1], vec![2, 3]], ..rules() };
        assert_eq!(rules.awaited(&[7]), BTreeSet::from([1, 2]));
        assert_eq!(rules.awaited(&[7, 2]), BTreeSet::from([1, 2, 3]));
        assert_eq!(rules.awaited(&[1, 4]), BTreeSet::from([1, 2, 5]));
        // One that is whole need not go on.
        assert_eq!(rules.awaited(&[1]), BTreeSet::from([1, 2]));
        assert_eq!(rules.left(&[7, 1]), [&[4, 5][..], &[]]);
        assert_eq!(rules.found(&[2, 3, 1, 4, 1, 4, 5]), [0..2, 2..3, 4..7]);
    }

    /// A network that knows some sentences, and how likely each next token of them is; whatever else is said, it says that it is over.
    fn knowing(sentences: &[&[(u32, f32)]]) -> impl FnMut(&[u32], usize) -> Result<Step, Infallible> {
        knowing_after(PROMPT.len(), sentences)
    }

    /// The same after so many tokens of a prompt.
    fn knowing_after(prompt: usize, sentences: &[&[(u32, f32)]]) -> impl FnMut(&[u32], usize) -> Result<Step, Infallible> {
        let sentences: Vec<Vec<(u32, f32)>> = sentences.iter().map(|sentence| sentence.to_vec()).collect();
        let mut heard: Vec<u32> = Vec::new();
        move |tokens, kept| {
            heard.truncate(kept);
            let (mut logits, mut attention) = (Vec::new(), Vec::new());
            for token in tokens {
                heard.push(*token);
                let before = heard.get(prompt..).unwrap_or_default();
                let mut likely = [1e-9_f32; 12];
                for sentence in &sentences {
                    if sentence.len() > before.len() && sentence.iter().zip(before).all(|((token, _), before)| token == before) {
                        let (token, share) = sentence[before.len()];
                        likely[token as usize] = share;
                    }
                }
                let rest = 1.0 - likely.iter().sum::<f32>();
                likely[END as usize] += rest.max(0.0);
                logits.extend(likely.iter().map(|share| share.ln()));
                attention.push(vec![heard.len() as f32]);
            }
            Ok(Step { logits, attention })
        }
    }

    fn listening(favoured: &[&[u32]], bonus: f32, sentences: &[&[(u32, f32)]]) -> Way {
        let rules =
            Rules { favoured: favoured.iter().map(|spelling| spelling.to_vec()).collect(), bonus, begins: vec![true; 10], ..rules() };
        decode(&PROMPT, &[], 0, 3.0, &rules, knowing(sentences)).unwrap().way
    }

    #[test]
    fn what_is_listened_for_is_heard_where_all_of_it_is_nearly_as_likely() {
        // "she type forgot" and "shit I forgot": the first begins likelier.
        let plain: &[(u32, f32)] = &[(1, 1.0), (2, 0.9), (3, 0.51), (4, 0.9), (5, 1.0)];
        let bad: &[(u32, f32)] = &[(1, 1.0), (6, 0.05), (7, 0.9), (4, 0.95), (5, 1.0)];
        // 0.413 against 0.043: e^2.27; and what is unclear in the first is 4 × 0.88 / 5.
        for (bonus, heard) in [(0.0, [1, 2, 3, 4, 5]), (2.9, [1, 2, 3, 4, 5]), (3.1, [1, 6, 7, 4, 5]), (4.0, [1, 6, 7, 4, 5])] {
            let way = listening(&[&[6]], bonus, &[plain, bad]);
            assert_eq!(way.tokens, heard, "{bonus}");
            assert_eq!((way.attention.len(), way.log_probabilities.len()), (6, 5));
            // How likely it is leaves the bonus out.
            let share = way.log_probabilities.iter().sum::<f32>().exp();
            assert!((share - if heard[1] == 6 { 0.0428 } else { 0.413 }).abs() < 0.001, "{share}");
            let looked: Vec<f32> = way.attention.iter().map(|row| row[0]).collect();
            assert_eq!(looked, [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        }
    }

    #[test]
    fn what_is_faint_is_not_heard_whatever_the_bonus() {
        let plain: &[(u32, f32)] = &[(1, 0.9), (2, 0.9), (3, 0.9)];
        for (share, heard) in [(0.04, [1, 2, 3]), (0.055, [1, 6, 3])] {
            let bad: &[(u32, f32)] = &[(1, 0.9), (6, share), (3, 0.95)];
            assert_eq!(listening(&[&[6]], 99.0, &[plain, bad]).tokens, heard, "{share}");
        }
    }

    #[test]
    fn what_only_a_decoder_that_was_told_of_it_hears_is_not_said() {
        let plain: &[(u32, f32)] = &[(1, 0.9), (2, 0.8), (3, 0.9)];
        let asked = |share: f32, hoped: f32, margin: f32| {
            let bad: &[(u32, f32)] = &[(1, 0.9), (6, share), (3, 0.9)];
            let rules = Rules { favoured: vec![vec![6]], margin, ..rules() };
            let way = Way { tokens: vec![1, 6, 3], log_probabilities: vec![-0.1; 3], ..Way::default() };
            let decoded = Decoded { way, no_speech: 0.5, hoped };
            let found = confirmed(decoded, &PROMPT[..1], 0, 3.0, &rules, knowing_after(1, &[plain, bad])).unwrap();
            assert_eq!(found.no_speech, 0.5);
            found.way.tokens
        };
        // 0.8 against 0.04: e^3; what was hoped counts twice.
        assert_eq!((asked(0.04, 0.0, 2.9), asked(0.04, 0.0, 3.1)), (vec![1, 2, 3], vec![1, 6, 3]));
        assert_eq!((asked(0.04, 0.5, 3.9), asked(0.04, 0.5, 4.1)), (vec![1, 2, 3], vec![1, 6, 3]));
    }

    #[test]
    fn what_is_confirmed_stays_as_it_was_heard() {
        let bad: &[(u32, f32)] = &[(1, 0.9), (6, 0.8), (3, 0.9)];
        let rules = Rules { favoured: vec![vec![6]], margin: -9.0, ..rules() };
        for (tokens, settled) in [(vec![1, 6, 3], 0), (vec![1, 6, 2], 2), (vec![1, 2], 0)] {
            let way = Way { tokens, log_probabilities: vec![-0.1; 3], ..Way::default() };
            let decoded = Decoded { way, no_speech: 0.5, hoped: 2.0 };
            let found = confirmed(decoded.clone(), &PROMPT[..1], settled, 3.0, &rules, knowing_after(1, &[bad])).unwrap();
            assert_eq!(found, decoded);
        }
    }

    #[test]
    fn what_begins_well_and_goes_on_badly_is_not_heard() {
        let plain: &[(u32, f32)] = &[(1, 1.0), (2, 0.6), (3, 0.9), (4, 1.0)];
        let bad: &[(u32, f32)] = &[(1, 1.0), (6, 0.39), (7, 0.001), (4, 1.0)];
        assert_eq!(listening(&[&[6, 7]], 3.0, &[plain, bad]).tokens, [1, 2, 3, 4]);
        // Nor what leaves out the rest.
        let long: &[(u32, f32)] = &[(1, 0.5), (2, 0.5), (3, 0.5), (4, 0.5), (5, 0.5)];
        assert_eq!(listening(&[&[6]], 3.0, &[long, &[(6, 0.4)]]).tokens, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn where_nothing_is_clear_nothing_is_made_of_it() {
        let clear: &[(u32, f32)] = &[(1, 0.9), (2, 0.9), (3, 0.9)];
        let unclear: &[(u32, f32)] = &[(1, 0.52), (2, 0.52), (3, 0.52)];
        for (plain, heard) in [(clear, [6, 2, 3]), (unclear, [1, 2, 3])] {
            let bad: Vec<(u32, f32)> = [&[(6, plain[0].1 / 10.0)], &plain[1..]].concat();
            assert_eq!(listening(&[&[6]], 3.0, &[plain, &bad]).tokens, heard);
        }
    }

    #[test]
    fn two_words_are_heard_and_a_spelling_may_go_on_where_one_is_whole() {
        let plain: &[(u32, f32)] = &[(1, 0.8), (2, 0.9), (3, 0.8), (4, 1.0)];
        let first: &[(u32, f32)] = &[(6, 0.1), (2, 0.9), (3, 0.8), (4, 1.0)];
        let second: &[(u32, f32)] = &[(1, 0.8), (2, 0.9), (7, 0.1), (8, 0.9), (4, 1.0)];
        let both: &[(u32, f32)] = &[(6, 0.1), (2, 0.9), (7, 0.1), (8, 0.9), (4, 1.0)];
        let all = [plain, first, second, both];
        assert_eq!(listening(&[&[6], &[7], &[7, 8]], 3.0, &all).tokens, [6, 2, 7, 8, 4]);
        assert_eq!(listening(&[&[7, 8]], 3.0, &all).tokens, [1, 2, 7, 8, 4]);
        assert_eq!(listening(&[&[7, 5]], 3.0, &all).tokens, [1, 2, 3, 4]);
    }

    #[test]
    fn what_is_settled_is_taken_as_it_is() {
        let plain: &[(u32, f32)] = &[(1, 0.8), (2, 0.9), (3, 0.9)];
        let other: &[(u32, f32)] = &[(4, 0.1), (2, 0.9), (5, 0.9)];
        let rules = Rules { favoured: vec![vec![4]], bonus: 9.0, ..rules() };
        let heard = |draft: &[u32], settled| decode(&PROMPT, draft, settled, 3.0, &rules, knowing(&[plain, other])).unwrap().way.tokens;
        assert_eq!((heard(&[], 0), heard(&[1, 2], 0)), (vec![4, 2, 5], vec![4, 2, 5]));
        assert_eq!((heard(&[1, 2], 1), heard(&[1, 2], 2)), (vec![1, 2, 3], vec![1, 2, 3]));
        assert_eq!(heard(&[4], 9), [4, 2, 5]);
    }

    #[test]
    fn silence_and_nonsense_are_not_believed() {
        let of = |no_speech, likely: f32| {
            let way = Way { tokens: vec![1, 2], log_probabilities: vec![likely; 2], ..Way::default() };
            Decoded { way, no_speech, hoped: 0.0 }
        };
        assert!(of(0.1, -0.3).is_said() && of(0.9, -0.3).is_said() && of(0.1, -1.5).is_said());
        assert!(!of(0.9, -1.5).is_said() && !of(0.1, -2.5).is_said() && !Decoded::default().is_said());
    }
}
