//! What is said: sentences with one bad word in each, and sentences without any but with words that sound like one. A seed fixes which sentence is
//! said by which voice, at which speed, and what is heard beside it.

use fastrand::Rng;
use scrim_host::infer::whisper::Favoured;

/// By the kind of place they take in a sentence.
const PEOPLE: [&str; 12] =
    ["bitch", "asshole", "bastard", "cunt", "dickhead", "whore", "slut", "faggot", "retard", "motherfucker", "wanker", "prick"];
const QUALITIES: [&str; 4] = ["fucking", "shitty", "fucked up", "motherfucking"];
const THINGS: [&str; 3] = ["shit", "bullshit", "fuck"];
const ABOUT_PEOPLE: [&str; 12] = [
    "i told you that he is a * and nobody listened to me",
    "you are such a * when you lose a game",
    "my neighbour called me a * because of the noise",
    "that * took my parking space again this morning",
    "do not be a * and give the ball back to them",
    "she said the driver was a complete * about it",
    "what a * he thinks he can win every time",
    "come on you * show us what you can do",
    "only a * would leave the team before the final",
    "the referee is a * and everybody knows it",
    "he acted like a * in front of the whole class",
    "listen you little * this is my channel",
];
const ABOUT_QUALITIES: [&str; 8] = [
    "this * game crashed again after the update",
    "where did i put my * keys this time",
    "we waited three hours for that * train",
    "it was the most * thing i have ever seen",
    "nobody wants to hear your * story again",
    "turn off the * music while i am talking",
    "they gave me a * microphone for the show",
    "this is a * disaster and you know it",
];
const ABOUT_THINGS: [&str; 6] = [
    "i do not give a * about the final score",
    "what the * is going on over there",
    "that is complete * and you know it",
    "oh * i forgot to save my work",
    "stop talking * about my friends please",
    "who the * told you to come here today",
];
/// Beginnings and ends of ordinary sentences.
const BEGINNINGS: [&str; 12] = [
    "the assistant in our class",
    "her parrot and the other birds",
    "our bank and the big tower",
    "a brick wall near the harbour",
    "the passengers on the night train",
    "the old song on the radio",
    "a letter from the town hall",
    "the children with their new bicycles",
    "mister dickens and his uncle",
    "the flowers and the garden tools",
    "seven chairs and a wooden table",
    "the tickets for the next match",
];
/// Beginnings with a word that sounds like a bad one.
const ALIKE: [&str; 12] = [
    "the ducks on the lake",
    "my truck and the old ship",
    "a sheet of paper on the beach",
    "the witch with her pitch black hat",
    "the peacock and its count",
    "the bass player in the band",
    "all the shuttle buses in town",
    "the ditch behind the shed",
    "the cook with his wok",
    "the funky tune he likes",
    "the fact that he shut the door",
    "the bunker and the horse",
];
const ENDS: [&str; 14] = [
    "can be seen from the top of the hill",
    "were painted by a friend of my sister",
    "will be ready for the concert on friday",
    "reminded me of the summer when we met",
    "cost more than we had expected at first",
    "got stuck in the mud after the rain",
    "should be sold before the end of the month",
    "made everybody laugh at the dinner table",
    "are part of a story that i read last week",
    "belong to the man who fixed our bucket",
    "must be shipped to the coast by tuesday",
    "stood there for a hundred years or so",
    "have been mentioned in the morning news",
    "gave us a good reason to stay at home",
];
/// Engine and voice.
pub const VOICES: [(&str, &str); 12] = [
    ("flite", "rms"),
    ("flite", "slt"),
    ("flite", "awb"),
    ("flite", "kal16"),
    ("festival", "kal_diphone"),
    ("festival", "cmu_us_slt_arctic_hts"),
    ("espeak", "en-us"),
    ("espeak", "en-gb"),
    ("espeak", "en-us+f3"),
    ("espeak", "en-gb-scotland"),
    ("espeak", "en-us+m3"),
    ("espeak", "en-gb-x-rp+f2"),
];

/// A sentence of the list.
#[derive(Clone, Debug)]
pub struct Sentence {
    pub text: String,
    pub kind: Kind,
    /// The number of the bad word among its words, if there is one.
    pub bad: Option<usize>,
    pub engine: &'static str,
    pub voice: &'static str,
    /// Of the voice's own speed.
    pub speed: f64,
}

/// What a sentence holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bad,
    Ordinary,
    /// A word that sounds like a bad one.
    Alike,
}

/// So many sentences of each kind, one kind after the other, always the same for a seed.
pub fn sentences(seed: u64, each: usize) -> Vec<Sentence> {
    let mut rng = Rng::with_seed(seed);
    let mut sentences = Vec::new();
    for (kind, number) in [Kind::Bad, Kind::Ordinary, Kind::Alike].into_iter().flat_map(|kind| (0..each).map(move |number| (kind, number)))
    {
        let (text, word) = match kind {
            Kind::Bad => bad_text(&mut rng),
            Kind::Ordinary => (format!("{} {}", pick(&mut rng, &BEGINNINGS), pick(&mut rng, &ENDS)), None),
            Kind::Alike => (format!("{} {}", pick(&mut rng, &ALIKE), pick(&mut rng, &ENDS)), None),
        };
        let (engine, voice) = VOICES[number % VOICES.len()];
        sentences.push(Sentence { text, kind, bad: word, engine, voice, speed: *pick(&mut rng, &[0.85, 1.0, 1.15]) });
    }
    sentences
}

fn bad_text(rng: &mut Rng) -> (String, Option<usize>) {
    let (words, places): (&[&str], &[&str]) = match rng.u8(0..10) {
        0..5 => (&PEOPLE, &ABOUT_PEOPLE),
        5..8 => (&QUALITIES, &ABOUT_QUALITIES),
        _ => (&THINGS, &ABOUT_THINGS),
    };
    let (word, place) = (pick(rng, words), pick(rng, places));
    let at = place.split(' ').position(|word| word == "*");
    (place.replace('*', word), at)
}

fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[rng.usize(..from.len())]
}

/// Whether a word that was heard is one of them, whatever signs stand at it.
pub fn is_bad(heard: &str) -> bool {
    let letters = |text: &str| text.chars().filter(|letter| letter.is_alphabetic()).flat_map(char::to_lowercase).collect::<String>();
    heard.split('-').map(letters).chain([letters(heard)]).any(|part| part.contains("fuck") || Favoured::shipped().contains(&part))
}
