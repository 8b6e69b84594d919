//! What the broadcaster's camera and microphone play: a page whose words' areas are known, and sentences whose words' times are.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use scrim_host::media::ffmpeg;
use scrim_host::media::frame::{Frame, FrameSeq, Matrix, Micros, Range, i420_len};
use scrim_host::vision::color::Rgb;
use scrim_tests::bench::speech::corpus::{Kind, Sentence};
use scrim_tests::bench::speech::voices::{self, Spoken};
use scrim_tests::ribbon;
use scrim_tests::seen;
use scrim_tests::sound::{CHUNK, RATE as SAMPLES, tone};
use scrim_tests::typeset::{Drawn, Style, Typeface};

/// Frames a second, and of the whole page.
pub const RATE: u32 = 10;
const FRAMES: u16 = 200;
/// Light paper, of limited range.
const PAPER: u8 = 200;
const INK: Rgb = Rgb([20, 20, 30]);
/// Frames in which a page is there; in those named last it goes up, by so many pixels a frame.
const FIRST: std::ops::Range<u16> = 10..115;
const SCROLLS: std::ops::Range<u16> = 75..105;
const SCROLL: f32 = 3.0;
const SECOND: std::ops::Range<u16> = 120..192;
/// Where a page begins, its letters' size, and its lines.
const PAGES: [(f32, f32, &[&str]); 2] = [
    (
        180.0,
        28.0,
        &[
            "the train leaves at seven",
            "this fucking printer is broken",
            "bring some bread and butter",
            "my landlord is a cunt",
            "see you at the garden gate",
        ],
    ),
    (
        90.0,
        24.0,
        &[
            "a short walk to the harbour",
            "that bitch took my umbrella",
            "please close the window",
            "they sold us some bullshit",
            "the tickets are on the table",
            "good night everybody",
        ],
    ),
];
/// Lines are so many letters' sizes apart.
const APART: f32 = 1.9;
const BAD: [&str; 4] = ["fucking", "cunt", "bitch", "bullshit"];

/// What is said, the number of the bad word, and by whom.
const SENTENCES: [(&str, Option<usize>, &str, &str); 6] = [
    ("the weather was nice today and we went to the garden", None, "flite", "slt"),
    ("where did i put my fucking keys this time", Some(5), "flite", "rms"),
    ("she said the driver was a complete asshole about it", Some(7), "espeak", "en-us"),
    ("what the fuck is going on over there", Some(2), "festival", "cmu_us_slt_arctic_hts"),
    ("my neighbour called me a bitch because of the noise", Some(5), "flite", "slt"),
    ("that is complete bullshit and you know it", Some(3), "espeak", "en-gb"),
];
/// Chunks of 10 ms: before everything, so that both browsers settle; of the tone before each sentence and after the last; of silence after it.
const BEFORE: usize = 200;
pub const MARK: usize = 12;
const PAUSE: usize = 20;
/// How loud a mark is, and by how much speech is louder than the bench's.
const LEVEL: f64 = 9000.0;
const LOUDER: f32 = 2.0;
/// What a mark's tone is.
pub const MARK_HERTZ: f64 = 2000.0;

/// A bad word that is said: between these samples.
#[derive(Clone, Debug)]
pub struct Said {
    pub word: String,
    pub at: std::ops::Range<usize>,
}

/// What is played, and what is known of it.
pub struct Clip {
    pub frames: Vec<Frame>,
    /// All words of each frame.
    pub words: Vec<Vec<Drawn>>,
    pub sound: Vec<i16>,
    pub said: Vec<Said>,
}

impl Clip {
    /// # Errors
    /// When a synthesiser or the typeface is missing.
    pub fn make() -> Result<Self> {
        let (sound, said) = speech()?;
        Ok(Self { sound, said, ..Self::pages()? })
    }

    /// Without the sound.
    ///
    /// # Errors
    /// When the typeface is missing.
    pub fn pages() -> Result<Self> {
        let face = Typeface::open("DejaVuSans.ttf")?;
        let (frames, words) = (0..FRAMES).map(|number| page(&face, number)).unzip();
        Ok(Self { frames, words, sound: Vec::new(), said: Vec::new() })
    }

    /// For the camera, for the microphone, and both in one file.
    ///
    /// # Errors
    /// When something can't be written.
    pub fn write(&self, camera: &Path, microphone: &Path, both: &Path) -> Result<()> {
        seen::write(&self.frames, RATE, camera)?;
        std::fs::write(microphone, wav(&self.sound)?)?;
        let mut command = Command::new(ffmpeg::find()?);
        command.args(["-v", "error", "-nostdin", "-i"]).arg(camera).arg("-i").arg(microphone).args(["-c:v", "ffv1", "-c:a", "pcm_s16le"]);
        let status = command.arg(both).status()?;
        ensure!(status.success(), "ffmpeg ended with {status}");
        Ok(())
    }
}

pub fn is_bad(word: &Drawn) -> bool {
    BAD.contains(&&*word.text)
}

fn page(face: &Typeface, number: u16) -> (Frame, Vec<Drawn>) {
    let (width, height) = seen::SIZE;
    let mut data = vec![128; i420_len(width, height)];
    data[..width * height].fill(PAPER);
    let at = Micros(u64::from(number) * 1_000_000 / u64::from(RATE));
    let mut frame = Frame::new(FrameSeq(number.into()), at, width, height, Range::Limited, Matrix::Bt601, data);
    let shown = [&FIRST, &SECOND].iter().position(|when| when.contains(&number));
    let scrolled = f32::from(number.clamp(SCROLLS.start, SCROLLS.end) - SCROLLS.start) * SCROLL;
    let mut words = Vec::new();
    if let Some(shown) = shown {
        let (top, size, lines) = PAGES[shown];
        for (row, line) in lines.iter().enumerate() {
            let y = top + row as f32 * size * APART - if shown == 0 { scrolled } else { 0.0 };
            words.extend(face.draw(&mut frame, (40.0, y), line, &Style::new(size, INK)));
        }
    }
    ribbon::draw(frame.planes_mut()[0], width, height, number);
    (frame, words)
}

/// All that is said one after the other, behind marks, and the bad words in it.
fn speech() -> Result<(Vec<i16>, Vec<Said>)> {
    let sentence = |(text, bad, engine, voice): (&str, Option<usize>, &'static str, &'static str)| {
        let kind = if bad.is_some() { Kind::Bad } else { Kind::Ordinary };
        Sentence { text: text.to_owned(), kind, bad, engine, voice, speed: 0.95 }
    };
    let folder = tempfile::tempdir()?;
    let spoken = voices::speak(&SENTENCES.map(sentence), folder.path())?;
    let mark: Vec<i16> = (0..MARK as u64).flat_map(|chunk| tone(chunk, MARK_HERTZ, LEVEL)).chain([0; PAUSE * CHUNK]).collect();
    let (mut sound, mut said) = (vec![0; BEFORE * CHUNK], Vec::new());
    for (Spoken { samples, times }, (text, bad, ..)) in spoken.into_iter().zip(SENTENCES) {
        sound.extend_from_slice(&mark);
        if let Some(bad) = bad {
            let (from, to) = times.get(bad).copied().flatten().with_context(|| format!("when {bad} of {text:?} is said"))?;
            let at = |seconds: f64| sound.len() + (seconds * SAMPLES as f64) as usize;
            said.push(Said { word: text.split(' ').nth(bad).unwrap_or_default().to_owned(), at: at(from)..at(to) });
        }
        // Three samples for one: what the host hears is brought down to these again.
        let between =
            |pair: &[f32]| [0.0, 1.0 / 3.0, 2.0 / 3.0].map(|part| ((pair[0] + (pair[1] - pair[0]) * part) * LOUDER * 32_767.0) as i16);
        sound.extend(samples.windows(2).flat_map(between));
    }
    sound.extend_from_slice(&mark);
    Ok((sound, said))
}

/// Samples of one channel as a file.
fn wav(samples: &[i16]) -> Result<Vec<u8>> {
    let (rate, bytes) = (SAMPLES as u32, u32::try_from(samples.len() * 2)?);
    let mut file = Vec::with_capacity(bytes as usize + 44);
    file.extend(b"RIFF");
    file.extend((bytes + 36).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    [1_u16, 1].iter().for_each(|number| file.extend(number.to_le_bytes()));
    [rate, rate * 2].iter().for_each(|number| file.extend(number.to_le_bytes()));
    [2_u16, 16].iter().for_each(|number| file.extend(number.to_le_bytes()));
    file.extend(b"data");
    file.extend(bytes.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    Ok(file)
}
