use proptest::prelude::*;

use super::*;

/// A speaker: words of 320 ms each from a time on, one after the other, and what recognises them: perfectly, but that a word at whose end the
/// sound ends may be wrong, otherwise each time.
struct Speaker {
    stream: Stream,
    /// When each begins, and the word.
    words: Vec<(u64, String)>,
    told: Vec<Revision>,
    heard_to: Micros,
    /// Words that had not to be heard anew.
    settled: usize,
}

const WORD_MS: u64 = 320;

impl Speaker {
    fn new(words: Vec<(u64, String)>) -> Self {
        Self { stream: Stream::new(STEP), words, told: Vec::new(), heard_to: Micros::ZERO, settled: 0 }
    }

    /// The words as a recogniser has them.
    fn numbers(words: &[HeardWord]) -> Vec<u32> {
        words.iter().map(|word| word.text.bytes().map(u32::from).sum()).collect()
    }

    /// The sound says of itself when it was made.
    fn chunk(at: u64) -> [f32; CHUNK] {
        std::array::from_fn(|place| (at * CHUNK as u64 + place as u64) as f32)
    }

    fn speaks(&self, ms: u64) -> bool {
        self.words.iter().any(|(from, _)| (*from..from + WORD_MS).contains(&ms))
    }

    fn note(&mut self, told: Option<Revision>) {
        self.told.extend(told);
        assert!(self.stream.heard_to() >= self.heard_to, "it went back");
        self.heard_to = self.stream.heard_to();
    }

    /// `answers` says, for each chunk, whether what recognises is ready by then, and whether its last word is wrong.
    fn speak(&mut self, ms: u64, mut answers: impl FnMut(u64) -> (bool, bool)) {
        let mut out: Option<Question> = None;
        for at in 0..ms / 32 {
            let speech = if self.speaks(at * 32) { 0.9 } else { 0.02 };
            let told = self.stream.hear(&Self::chunk(at), speech);
            self.note(told);
            let (ready, wrong) = answers(at);
            if ready && let Some(question) = out.take() {
                let words = self.recognised(&question, wrong);
                // What is settled is what would be heard now.
                let settled = &question.draft.tokens[..question.draft.settled];
                assert!(Self::numbers(&words).starts_with(settled), "{settled:?} of {words:?}");
                self.settled += settled.len();
                let numbers = Self::numbers(&words);
                let ends = (1..=words.len()).collect();
                let told = self.stream.answer(words, Draft { tokens: numbers, ends, settled: 0 });
                self.note(told);
            }
            if out.is_none() {
                out = self.stream.ask();
            }
        }
        let told = self.stream.finish();
        self.note(told);
        while let Some(question) = out.take().or_else(|| self.stream.ask()) {
            let words = self.recognised(&question, false);
            let told = self.stream.answer(words, Draft::default());
            self.note(told);
        }
    }

    fn recognised(&self, question: &Question, wrong: bool) -> Vec<HeardWord> {
        let Some(first) = question.samples.first() else { return Vec::new() };
        let (from, to) = (*first as u64 / 16, *first as u64 / 16 + question.samples.len() as u64 / 16);
        let whole = self.words.iter().filter(|(at, _)| *at >= from && at + WORD_MS <= to);
        let word = |(at, text): &(u64, String)| HeardWord {
            text: text.clone(),
            confidence: 1.0,
            from: Micros::from_millis(at - from),
            to: Micros::from_millis(at + WORD_MS - from),
        };
        let mut words: Vec<HeardWord> = whole.map(word).collect();
        let end = Micros::from_millis(to - from);
        if let Some(last) = words.last_mut().filter(|word| wrong && end.saturating_sub(word.to) < Micros::from_millis(150)) {
            last.text.push_str(&format!("-{to}"));
        }
        words
    }

    fn last_words(&self) -> Vec<String> {
        self.told.iter().filter(|told| told.is_final).flat_map(|told| &told.words).map(|word| word.text.clone()).collect()
    }
}

/// Nobody speaks for 15 s without a pause.
fn spoken(pauses: &[u64]) -> Vec<(u64, String)> {
    let mut at = 500;
    let word = |(number, pause): (usize, &u64)| {
        let from = at;
        at += WORD_MS + if number % 20 == 19 { 640 } else { *pause };
        (from, format!("w{number}"))
    };
    pauses.iter().enumerate().map(word).collect()
}

#[test]
fn words_are_told_before_the_sentence_ends_and_are_sure_when_two_agree() {
    let mut speaker = Speaker::new(spoken(&[0; 10]));
    speaker.speak(6000, |_| (true, false));
    let first = &speaker.told[0];
    assert!((first.id, first.revision, first.is_final, first.sure) == (0, 0, false, 0) && !first.words.is_empty(), "{first:?}");
    let second = &speaker.told[1];
    assert!(second.sure == first.words.len() && second.words.len() > second.sure && second.revision == 1, "{second:?}");
    let last = speaker.told.last().unwrap();
    assert!(last.is_final && last.sure == 10 && last.words.len() == 10, "{last:?}");
    assert!(speaker.settled >= 10, "{}", speaker.settled);
    assert!(last.words.iter().zip(&speaker.words).all(|(told, (from, _))| told.from.0.abs_diff(from * 1000) <= 1000));
}

#[test]
fn a_guess_that_is_not_repeated_is_not_sure() {
    let mut speaker = Speaker::new(spoken(&[0; 10]));
    speaker.speak(6000, |_| (true, true));
    assert!(speaker.told.iter().all(|told| told.words[..told.sure].iter().all(|word| !word.text.contains('-'))));
    assert!(speaker.told.iter().any(|told| told.words.last().is_some_and(|word| word.text.contains('-'))));
    assert_eq!(speaker.last_words().len(), 10);
}

#[test]
fn silence_is_heard_at_once_and_speech_only_when_it_is_sure() {
    let mut stream = Stream::new(STEP);
    for at in 0..100 {
        assert_eq!(stream.hear(&Speaker::chunk(at), 0.01), None);
    }
    assert!(stream.now() == Micros::from_millis(3200) && stream.heard_to() >= Micros::from_millis(3000) && stream.samples.len() < 16 * 300);
    (100..200).for_each(|at| assert_eq!(stream.hear(&Speaker::chunk(at), 0.9), None));
    let begun = stream.heard_to();
    assert!(begun < Micros::from_millis(3200));
    assert!(stream.ask().is_some());
    assert_eq!((stream.ask(), stream.answer(Vec::new(), Draft::default()), stream.heard_to()), (None, None, begun));
}

#[test]
fn a_click_ends_what_it_began() {
    let mut stream = Stream::new(Micros::from_millis(32));
    let told: Vec<_> = (0..60)
        .filter_map(|at| {
            let told = stream.hear(&Speaker::chunk(at), if at == 20 { 0.9 } else { 0.0 });
            let word = HeardWord { text: "tick".into(), confidence: 0.2, from: Micros(0), to: Micros(1000) };
            told.or_else(|| stream.ask().and_then(|_| stream.answer(vec![word], Draft::default())))
        })
        .collect();
    let last = told.last().unwrap();
    assert!(last.is_final && !told[0].is_final && told.len() >= 2, "{told:?}");
    assert!(stream.heard_to() > Micros::from_millis(1500) && stream.stretches.is_empty());
}

#[test]
fn who_never_answers_loses_the_oldest_and_memory_has_a_bound() {
    let mut stream = Stream::new(STEP);
    assert!((0..200).all(|at| stream.hear(&Speaker::chunk(at), 0.9).is_none()));
    assert!(stream.ask().is_some());
    for at in 200..10_000 {
        stream.hear(&Speaker::chunk(at), 0.9);
        assert!(stream.ask().is_none() && time(stream.samples.len() as u64) <= KEPT_MAX + Micros::from_millis(32));
    }
    assert!(stream.lost() > 10);
    // The answer that comes at last is to nothing that is known still.
    assert_eq!(stream.answer(Vec::new(), Draft::default()), None);
    assert!(stream.ask().is_some());
}

proptest! {
    #[test]
    fn however_slow_and_unsure_every_word_is_told_once_and_in_time(
        pauses in prop::collection::vec(prop::sample::select(vec![0, 0, 0, 96, 192, 640, 2000]), 1..60),
        answers in prop::collection::vec((1..60_u64, any::<bool>()), 8),
    ) {
        let mut speaker = Speaker::new(spoken(&pauses));
        let end = pauses.iter().map(|pause| pause + WORD_MS).sum::<u64>() + 4000;
        speaker.speak(end, |at| {
            let (slow, wrong) = answers[at as usize / 8 % answers.len()];
            (at % slow == 0, wrong)
        });
        let words: Vec<String> = speaker.words.iter().map(|(_, word)| word.clone()).collect();
        prop_assert_eq!(speaker.last_words(), words);
        prop_assert_eq!(speaker.stream.lost(), 0);
        for pair in speaker.told.windows(2) {
            let (before, now) = (&pair[0], &pair[1]);
            if before.id == now.id {
                prop_assert!(now.revision == before.revision + 1 && !before.is_final && now.sure >= before.sure);
                prop_assert_eq!(&now.words[..before.sure], &before.words[..before.sure]);
            } else {
                prop_assert!(before.is_final && now.revision == 0 && now.id > before.id);
            }
        }
    }
}
