//! What a viewer heard of the clip: laid over it by the marks between the sentences, and held against it in pieces of 10 ms.

use std::cmp::Reverse;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use scrim_host::media::frame::Micros;
use scrim_tests::sound::{CHUNK, RATE};

use super::clip::{MARK, MARK_HERTZ, Said};

/// Marks are looked for in steps of a millisecond.
const STEP: usize = RATE / 1000;
/// Share of a window's power that the tone has in a mark, and how loud that is at least.
const PURE: f64 = 0.7;
const MARK_LEVEL: f64 = 500.0;
/// Marks that belong together lie no farther than this from where the others say, samples: what two browsers stretch or leave out.
const OFF_MAX: i64 = RATE as i64 * 3 / 4;
/// Softer pieces hold nothing that could be heard or lost: of 16 bits.
const LOUD: f64 = 300.0;
/// A piece that is softer than this share of what was said is not heard: −16 dB.
const SILENT: f64 = 0.16;
/// One is as it was between these.
const INTACT: Range<f64> = 0.4..2.5;
/// What is softer is alike, of 16 bits.
const SOFT: f64 = 100.0;
/// A piece is looked for by so many on each side, a word by so many on either; in so many steps of 5 ms to each side.
const CONTEXT: usize = 60;
const AROUND: usize = 100;
const LAGS: i64 = 100;
const LAG_STEP: i64 = 5 * STEP as i64;
/// Where what lies before a word and what lies behind it are farther apart than they were by more than this, sound is missing or too much in it.
const TORN: i64 = 8 * LAG_STEP;
/// So many pieces on each side of a bad word belong to it.
const BESIDE: usize = 25;

/// The pieces that a script has written, one behind the other.
///
/// # Errors
/// When the file is cut short, or of another rate.
pub fn read(path: &Path) -> Result<Vec<i16>> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let (mut rest, mut samples) = (&bytes[..], Vec::new());
    let (mut gaps, mut expected) = (0.0, None);
    while let Some((length, more)) = rest.split_first_chunk::<4>() {
        let (piece, more) = more.split_at_checked(u32::from_le_bytes(*length) as usize).context("it is cut short")?;
        let (rate, piece) = piece.split_first_chunk::<8>().context("a piece has a rate")?;
        let (at, piece) = piece.split_first_chunk::<8>().context("a piece has a time")?;
        let (rate, at) = (f64::from_le_bytes(*rate), f64::from_le_bytes(*at));
        ensure!(rate == RATE as f64, "sound of {rate} Hz");
        if let Some(expected) = expected.filter(|expected| at - expected > 5000.0) {
            gaps += at - expected;
        }
        samples.extend(piece.chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])));
        expected = Some(at + (piece.len() / 2) as f64 * 1e6 / rate);
        rest = more;
    }
    ensure!(rest.is_empty(), "{} is cut short", path.display());
    println!(
        "{:.1} s of sound were heard, with gaps of {:.0} ms by the browser's clock",
        samples.len() as f64 / RATE as f64,
        gaps / 1000.0
    );
    Ok(samples)
}

/// The middles of the marks.
pub fn marks(samples: &[i16]) -> Vec<usize> {
    let angle = std::f64::consts::TAU * MARK_HERTZ / RATE as f64;
    let wave: Vec<(f64, f64)> = (0..CHUNK).map(|number| (angle * number as f64).sin_cos()).collect();
    let is_mark = |window: &[i16]| {
        let (mut real, mut imaginary, mut all, mut level) = (0.0, 0.0, 1.0, 0.0);
        for (sample, (sin, cos)) in window.iter().map(|&sample| f64::from(sample)).zip(&wave) {
            real += sample * cos;
            imaginary += sample * sin;
            all += sample * sample;
            level += sample.abs();
        }
        level > MARK_LEVEL * CHUNK as f64 && (real * real + imaginary * imaginary) * 2.0 / CHUNK as f64 / all > PURE
    };
    let windows = (0..samples.len().saturating_sub(CHUNK)).step_by(STEP);
    let marked: Vec<bool> = windows.map(|at| is_mark(&samples[at..at + CHUNK])).collect();
    let (mut marks, mut begin) = (Vec::new(), None);
    for (number, marked) in marked.iter().chain([&false]).enumerate() {
        match (begin, marked) {
            (None, true) => begin = Some(number),
            (Some(from), false) => {
                begin = None;
                if number - from >= MARK * 10 / 2 {
                    marks.push((from + number) * STEP / 2 + CHUNK / 2);
                }
            }
            _ => {}
        }
    }
    marks
}

/// Where each moment of one sound is in another.
pub struct Laid(Vec<(usize, usize)>);

impl Laid {
    /// By their marks: as many as lie as far apart in both, a few of which may be missing in the other.
    ///
    /// # Errors
    /// When fewer than two do.
    pub fn over(of: &[usize], heard: &[usize]) -> Result<Self> {
        let pairs = |by: i64| {
            let off = |mark: usize, heard: usize| (heard as i64 - mark as i64 - by).abs();
            let nearest = |mark: usize| heard.iter().copied().min_by_key(|heard| off(mark, *heard));
            let near = |mark: usize| nearest(mark).filter(|heard| off(mark, *heard) <= OFF_MAX);
            let pairs: Vec<(usize, usize)> = of.iter().filter_map(|&mark| Some((mark, near(mark)?))).collect();
            let all: i64 = pairs.iter().map(|&(mark, heard)| off(mark, heard)).sum();
            (pairs, all)
        };
        let apart = of.iter().flat_map(|mark| heard.iter().map(|heard| *heard as i64 - *mark as i64));
        let (laid, _) = apart.map(pairs).max_by_key(|(pairs, off)| (pairs.len(), Reverse(*off))).unwrap_or_default();
        ensure!(laid.len() >= 2, "of {} marks {} are heard: {heard:?}", of.len(), laid.len());
        Ok(Self(laid))
    }

    pub fn marks(&self) -> usize {
        self.0.len()
    }

    /// By how much the other sound grew or shrank between one mark and the next, at most, in milliseconds.
    pub fn stretched(&self) -> f64 {
        let by = |pair: &[(usize, usize)]| (pair[1].1 - pair[0].1).abs_diff(pair[1].0 - pair[0].0) as f64 * 1000.0 / RATE as f64;
        self.0.windows(2).map(by).fold(0.0, f64::max)
    }

    fn place(&self, at: usize) -> usize {
        let after = self.0.iter().position(|(mark, _)| *mark > at).unwrap_or(self.0.len());
        let (from, to) = match after {
            0 => return (self.0[0].1 + at).saturating_sub(self.0[0].0),
            after if after == self.0.len() => return at - self.0[after - 1].0 + self.0[after - 1].1,
            after => (self.0[after - 1], self.0[after]),
        };
        from.1 + ((at - from.0) as f64 * (to.1 - from.1) as f64 / (to.0 - from.0) as f64) as usize
    }
}

/// What became of a bad word: of its pieces that can be heard, how many are silent.
#[derive(Debug)]
pub struct Word {
    pub word: String,
    /// Share of its time that the pass over the whole clip mutes.
    pub found: f64,
    pub pieces: usize,
    pub silent: usize,
    /// Sound got lost or was put in right there, so that it is not sure which piece is which: those count that fit it best.
    pub torn: bool,
}

impl Word {
    pub fn share(&self) -> f64 {
        self.silent as f64 / self.pieces.max(1) as f64
    }
}

/// What was heard, counted in pieces of 10 ms.
#[derive(Debug)]
pub struct Heard {
    pub words: Vec<Word>,
    /// Loud pieces away from bad words, and those of them that are as loud as they were.
    pub rest: usize,
    pub intact: usize,
}

/// How loud a sound is about any of its samples.
struct Levels(Vec<f64>);

impl Levels {
    fn of(samples: &[i16]) -> Self {
        let sums = samples.iter().scan(0.0, |sum, &sample| {
            *sum += f64::from(sample).powi(2);
            Some(*sum)
        });
        Self(std::iter::once(0.0).chain(sums).collect())
    }

    /// Of a piece that begins there; nothing is where nothing was recorded.
    fn at(&self, place: i64) -> f64 {
        let within = |at: i64| self.0[at.clamp(0, self.0.len() as i64 - 1) as usize];
        ((within(place + CHUNK as i64) - within(place)) / CHUNK as f64).max(0.0).sqrt()
    }
}

/// Both sounds, piece by piece.
struct Pair<'a> {
    laid: &'a Laid,
    /// How loud each piece was.
    was: Vec<f64>,
    /// Whether a piece is of a bad word, or beside one.
    beside: Vec<bool>,
    heard: Levels,
}

impl Pair<'_> {
    fn place(&self, number: usize) -> i64 {
        self.laid.place(number * CHUNK) as i64
    }

    /// By how much the pieces near a place come later than the marks say: where they are most like what was said.
    fn lag(&self, near: Range<usize>) -> i64 {
        let near: Vec<(f64, i64)> = (near.start..near.end.min(self.was.len()))
            .filter(|number| !self.beside[*number])
            .map(|number| (self.was[number], self.place(number)))
            .collect();
        let unlike = |lag: i64| near.iter().map(|(was, at)| ((was + SOFT) / (self.heard.at(at + lag) + SOFT)).ln().abs()).sum::<f64>();
        let lags = (-LAGS..=LAGS).map(|steps| (unlike(steps * LAG_STEP), steps * LAG_STEP));
        // Of those that are as good, the least.
        lags.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.abs().cmp(&b.1.abs()))).map_or(0, |(_, lag)| lag)
    }

    /// How loud a piece is to what it was.
    fn ratio(&self, number: usize, lag: i64) -> f64 {
        self.heard.at(self.place(number) + lag) / self.was[number]
    }

    /// Of some pieces, those that are silent, and whether it is not sure which are which.
    fn silent(&self, word: &Range<usize>, loud: &[usize], gain: f64) -> (usize, bool) {
        let count = |lag: i64| loud.iter().filter(|number| self.ratio(**number, lag) < SILENT * gain).count();
        let (begin, end) = (word.start.saturating_sub(BESIDE), word.end + BESIDE);
        let before = self.lag(begin.saturating_sub(AROUND)..begin);
        let behind = self.lag(end..end + AROUND);
        let (least, most) = (before.min(behind), before.max(behind));
        if most - least > TORN {
            let lags = (0..=(most - least) / LAG_STEP).map(|steps| least + steps * LAG_STEP);
            return (lags.map(count).max().unwrap_or_default(), true);
        }
        (count((before + behind) / 2), false)
    }
}

/// Holds what was heard against what was said, and against what is muted of the whole clip.
///
/// Browsers stretch and shrink what they play, and a busy machine loses some of it, so each piece is looked for about its place.
pub fn judge(sound: &[i16], said: &[Said], mutes: &[(Micros, Micros)], heard: &[i16], laid: &Laid) -> Heard {
    let end = sound.len() / CHUNK;
    let of = |word: &Said| word.at.start.div_ceil(CHUNK)..(word.at.end / CHUNK).min(end);
    let by = |number: usize| said.iter().map(of).any(|word| (word.start.saturating_sub(BESIDE)..word.end + BESIDE).contains(&number));
    let raw = Levels::of(sound);
    let was: Vec<f64> = (0..end).map(|number| raw.at((number * CHUNK) as i64)).collect();
    let pair = Pair { laid, was, beside: (0..end).map(by).collect(), heard: Levels::of(heard) };
    let is_loud = |number: &usize| pair.was[*number] > LOUD;
    let rest = (0..end).filter(is_loud).filter(|number| !pair.beside[*number]);
    let mut ratios: Vec<f64> = rest.map(|number| pair.ratio(number, pair.lag(number.saturating_sub(CONTEXT)..number + CONTEXT))).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    // As loud as most of it is.
    let gain = ratios.get(ratios.len() / 2).copied().unwrap_or(1.0).max(0.05);
    let word = |said: &Said| {
        let loud: Vec<usize> = of(said).filter(is_loud).collect();
        let (silent, torn) = pair.silent(&of(said), &loud, gain);
        Word { word: said.word.clone(), found: muted(said, mutes), pieces: loud.len(), silent, torn }
    };
    let intact = ratios.iter().filter(|ratio| INTACT.contains(&(**ratio / gain))).count();
    Heard { words: said.iter().map(word).collect(), rest: ratios.len(), intact }
}

/// The share of a word's time that lies in a mute.
fn muted(word: &Said, mutes: &[(Micros, Micros)]) -> f64 {
    let at = |sample: usize| Micros(sample as u64 * 1_000_000 / RATE as u64);
    let times: Vec<Micros> = word.at.clone().step_by(STEP).map(at).collect();
    times.iter().filter(|time| mutes.iter().any(|(from, to)| (from..to).contains(time))).count() as f64 / times.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use scrim_tests::sound::tone;

    use super::*;

    /// Five seconds with a mark in each, and something else to hear behind it, now louder and now softer.
    fn sound() -> Vec<i16> {
        let mut random = fastrand::Rng::with_seed(1);
        let second = |_: u64| {
            let mark = (0..MARK as u64).flat_map(|chunk| tone(chunk, MARK_HERTZ, 9000.0));
            let speech = (MARK as u64..90).flat_map(|chunk| tone(chunk, 440.0, random.f64() * 7000.0 + 1000.0));
            mark.chain(speech).chain([0; 10 * CHUNK]).collect::<Vec<i16>>()
        };
        (0..5).flat_map(second).collect()
    }

    #[test]
    fn a_sound_is_found_in_another_that_begins_later_is_softer_and_misses_a_mark() -> Result<()> {
        let sound = sound();
        let mut heard: Vec<i16> = [vec![0; 12_345], sound.iter().map(|sample| sample / 2).collect()].concat();
        heard[12_345..12_345 + RATE / 4].fill(0);
        let laid = Laid::over(&marks(&sound), &marks(&heard))?;
        assert_eq!(laid.marks(), 4);
        assert!(laid.stretched() <= 1.0);
        assert!(laid.place(RATE).abs_diff(RATE + 12_345) <= STEP, "{}", laid.place(RATE));
        assert!(laid.place(0).abs_diff(12_345) <= STEP && laid.place(sound.len()).abs_diff(sound.len() + 12_345) <= STEP);
        Ok(())
    }

    #[test]
    fn what_is_muted_is_silent_and_what_leaks_or_is_lost_is_counted() -> Result<()> {
        let sound = sound();
        let word = |second: usize| Said { word: "word".into(), at: second * RATE + RATE / 2..second * RATE + RATE * 7 / 10 };
        let said = [word(1), word(2)];
        let mut heard = sound.clone();
        heard[said[0].at.clone()].fill(0);
        heard[said[1].at.start..said[1].at.start + RATE / 10].fill(0);
        heard[3 * RATE + RATE / 2..3 * RATE + RATE * 6 / 10].fill(0);
        let mute = (Micros::from_millis(1400), Micros::from_millis(1600));
        let laid = Laid::over(&marks(&sound), &marks(&heard))?;
        let told = judge(&sound, &said, &[mute], &heard, &laid);
        assert!((told.words[0].found - 0.5).abs() < 0.02 && told.words[1].found == 0.0, "{told:?}");
        assert!(told.words[0].share() == 1.0 && (told.words[1].share() - 0.5).abs() < 0.06, "{told:?}");
        assert!(told.rest > 300 && (9..=11).contains(&(told.rest - told.intact)), "{told:?}");
        Ok(())
    }
}
