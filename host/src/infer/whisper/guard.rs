//! What keeps a decoder from going on without end. Pure.

/// Beyond so many tokens a second nobody speaks; a decoder that writes more makes it up. Quick speech has 4 to 6.
const TOKENS_PER_SECOND: f32 = 10.0;
/// However short it is.
const TOKENS_MIN: usize = 8;
/// How often something is said without a pause before it counts as a loop; longer phrases loop sooner. By how long the phrase may be, in tokens.
const LOOPS: [(usize, usize); 3] = [(1, 5), (7, 3), (40, 2)];

/// The most tokens that so much sound can hold.
pub fn most(seconds: f32) -> usize {
    TOKENS_MIN.max((seconds * TOKENS_PER_SECOND) as usize)
}

/// Whether it ends in a phrase that has been said too often.
pub fn repeats(tokens: &[u32]) -> bool {
    let mut shorter = 0;
    LOOPS.iter().any(|&(longest, most)| {
        let lengths = shorter + 1..=longest;
        shorter = longest;
        lengths.into_iter().any(|length| said(tokens, length) >= most)
    })
}

/// The length of the shortest phrase at the end that was also said before it.
pub fn loop_of(tokens: &[u32]) -> Option<usize> {
    (1..=tokens.len() / 2).find(|length| said(tokens, *length) > 1)
}

/// How often the last `length` tokens stand at the end, one after the other.
fn said(tokens: &[u32], length: usize) -> usize {
    let mut phrases = tokens.rchunks_exact(length);
    let Some(last) = phrases.next() else { return 0 };
    1 + phrases.take_while(|phrase| *phrase == last).count()
}
