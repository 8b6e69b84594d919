//! The reader: both networks' sessions, and the way from a frame to its words.

use std::path::{Path, PathBuf};

use ort::session::Session;

use super::kept::{Kept, Known, Look};
use super::recognise::{Alphabet, Reading, read};
use super::scan::{self, Tile};
use super::window::{Window, fill};
use super::{Block, Line, ReadWord, Run, detect, lines};
use crate::geometry::Rect;
use crate::infer::InferError;
use crate::infer::onnx::{check_digest, run_plain, session_builder};
use crate::infer::runtime::Runtime;
use crate::media::frame::Frame;

/// Rows of the recognition network's input.
const ROWS: usize = 48;
/// Columns of the recognition network's input are a multiple of this, so that few shapes occur.
const COLUMNS_STEP: usize = 32;
/// Columns that the recognition network sees at least: it was trained on lines padded to 320.
const COLUMNS_MIN: usize = 96;
/// Longer lines are read as if they were narrower: what a screen's width of 12 px letters comes to.
const COLUMNS_MAX: usize = 3200;
/// Least confidence of a line that is told; below, rapidocr 3.10.0 calls it no text either.
const CONFIDENCE_MIN: f32 = 0.5;
/// A line that is read at least this well is not tried another way, unless another line of the frame reads best in the mirror.
const CONFIDENCE_GOOD: f32 = 0.95;
/// A window this many times as high as long may hold text that runs across it, as rapidocr 3.10.0 has it.
const TALL: f32 = 1.5;

/// Where the two networks lie, and what each has to be.
#[derive(Clone, Debug)]
pub struct Files {
    pub detection: PathBuf,
    pub recognition: PathBuf,
}

impl Files {
    /// Asset names of PP-OCRv6 small, as set-up fetches them, with their SHA-256.
    const DETECTION: (&str, &str) = ("ppocr-v6-det-small.onnx", "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f");
    const RECOGNITION: (&str, &str) = ("ppocr-v6-rec-small.onnx", "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884");

    /// In the folder that set-up fills.
    pub fn of(folder: &Path) -> Self {
        Self { detection: folder.join(Self::DETECTION.0), recognition: folder.join(Self::RECOGNITION.0) }
    }
}

#[derive(Clone, Debug)]
pub struct ReaderOptions {
    /// Threads one run may use.
    pub threads: usize,
    /// Pixels that the detection network sees of a frame, or of each part that was asked for, at most; larger ones are shrunk to it.
    pub scan_pixels: usize,
    /// Tries every line in the mirror too, not only those that read badly.
    pub mirrored: bool,
}

impl Default for ReaderOptions {
    /// One thread; 1280×720, at which text of 12 px is still found.
    fn default() -> Self {
        Self { threads: 1, scan_pixels: 1280 * 720, mirrored: false }
    }
}

/// Reads frames, of one source or of several. It is used by one thread at a time.
pub struct Reader {
    detection: Network,
    recognition: Network,
    alphabet: Alphabet,
    options: ReaderOptions,
    kept: Kept,
    /// Input of either network, reused.
    tensor: Vec<f32>,
}

impl Reader {
    /// Opens both networks on the CPU.
    ///
    /// # Errors
    /// When a file is missing or is not the one that was tried, or ONNX Runtime can't use it.
    pub fn open(runtime: &Runtime, files: &Files, options: ReaderOptions) -> Result<Self, InferError> {
        let detection = Network::open(runtime, &files.detection, Files::DETECTION, options.threads)?;
        let recognition = Network::open(runtime, &files.recognition, Files::RECOGNITION, options.threads)?;
        let alphabet = Alphabet::parse(&recognition.metadata("character")?);
        Ok(Self { detection, recognition, alphabet, options, kept: Kept::default(), tensor: Vec::new() })
    }

    /// Areas of the frame that hold text, legible or not; `within` (fractions of the frame) bounds what is looked at, nothing means all
    /// of it. A line that goes on outside is there with the piece that was seen.
    ///
    /// # Errors
    /// When the network could not run.
    pub fn find(&mut self, frame: &Frame, within: &[Rect]) -> Result<Vec<Rect>, InferError> {
        let mut found = Vec::new();
        for tile in scan::tiles((frame.width, frame.height), within, self.options.scan_pixels) {
            found.extend(self.scan(frame, &tile)?.iter().map(|line| fractions(line.bounds(), frame)));
        }
        Ok(found)
    }

    /// What the frame says; `within` as in [`Reader::find`], but a line that begins there is read to its end.
    ///
    /// # Errors
    /// When a network could not run.
    pub fn read(&mut self, frame: &Frame, within: &[Rect]) -> Result<Vec<Block>, InferError> {
        let windows = self.windows(frame, within)?;
        let mut pieces = self.lines(frame, &windows, self.options.mirrored)?;
        if !self.options.mirrored && pieces.iter().any(|piece| piece.run == Run::Mirrored) {
            pieces = self.lines(frame, &windows, true)?;
        }
        Ok(lines::blocks(pieces, (frame.width, frame.height)))
    }

    /// Every whole line of the parts.
    fn windows(&mut self, frame: &Frame, within: &[Rect]) -> Result<Vec<Window>, InferError> {
        let size = (frame.width, frame.height);
        let (mut whole, mut cut) = (Vec::new(), Vec::new());
        for tile in scan::tiles(size, within, self.options.scan_pixels) {
            for line in self.scan(frame, &tile)? {
                if tile.cuts(&line.bounds(), size) { cut.push(line.bounds()) } else { whole.push(line) }
            }
        }
        let mut again = Vec::new();
        for tile in scan::strips(size, &cut, self.options.scan_pixels) {
            let seen = self.scan(frame, &tile)?.into_iter();
            again.extend(seen.filter(|line| cut.iter().any(|piece| !piece.intersection(&line.bounds()).is_empty())));
        }
        // A strip also shows lines that were whole.
        whole.retain(|line| !again.iter().any(|other| hides(&other.bounds(), &line.bounds())));
        whole.extend(again);
        Ok(whole)
    }

    /// Lines of one tile, in the frame's pixels.
    fn scan(&mut self, frame: &Frame, tile: &Tile) -> Result<Vec<Window>, InferError> {
        let (width, height) = tile.input;
        self.tensor.resize(3 * width * height, 0.0);
        fill(frame, &tile.window(), tile.input, width, &mut self.tensor);
        self.detection.run([1, 3, height, width], &self.tensor, |shape, map| {
            if *shape != [1, 1, height, width] {
                return Err(format!("its output has the shape {shape:?} for an input of {width}x{height}"));
            }
            Ok(detect::lines(map, width).iter().map(|line| tile.placed(line)).collect())
        })
    }

    /// The lines that can be read.
    fn lines(&mut self, frame: &Frame, windows: &[Window], mirrored: bool) -> Result<Vec<Line>, InferError> {
        let mut lines = Vec::new();
        for window in windows {
            lines.extend(self.line(frame, window, mirrored)?);
        }
        Ok(lines)
    }

    /// A line, read the way in which it reads best; `None` if it does not. In the mirror only if it must be, unless `mirrored`.
    fn line(&mut self, frame: &Frame, window: &Window, mirrored: bool) -> Result<Option<Line>, InferError> {
        let ways = match window.thickness() > TALL * window.length() {
            true => vec![(Run::Turned, window.turned(true)), (Run::Turned, window.turned(false)), (Run::Upright, *window)],
            false => vec![(Run::Upright, *window), (Run::Mirrored, window.mirrored())],
        };
        let mut best: Option<(Run, Known)> = None;
        for (run, window) in ways {
            let known = self.known(frame, &window)?;
            let confidence = known.reading.confidence;
            if best.as_ref().is_none_or(|(_, best)| confidence > best.reading.confidence) {
                best = Some((run, known));
            }
            if confidence >= CONFIDENCE_GOOD && !mirrored {
                break;
            }
        }
        let read = best.filter(|(_, known)| known.reading.confidence >= CONFIDENCE_MIN && !known.reading.words.is_empty());
        Ok(read.map(|(run, known)| told(run, &known, frame)))
    }

    /// What a window says, from memory if it looks as it did.
    fn known(&mut self, frame: &Frame, window: &Window) -> Result<Known, InferError> {
        for before in self.kept.near(window) {
            let (look, _) = self.look(frame, &before);
            if let Some(known) = self.kept.find(&look, Some(&before)) {
                return Ok(known);
            }
        }
        let (look, width) = self.look(frame, window);
        if let Some(known) = self.kept.find(&look, None) {
            return Ok(Known { window: *window, ..known });
        }
        let known = Known { window: *window, look, reading: self.recognise(width)? };
        self.kept.keep(known.clone());
        Ok(known)
    }

    /// Fills the recognition network's input, and says how many of its columns are the line's.
    fn look(&mut self, frame: &Frame, window: &Window) -> (Look, usize) {
        let width = ((window.length() / window.thickness().max(1.0) * ROWS as f32).ceil() as usize).clamp(1, COLUMNS_MAX);
        let columns = width.next_multiple_of(COLUMNS_STEP).max(COLUMNS_MIN);
        self.tensor.clear();
        // What is no line is grey.
        self.tensor.resize(3 * ROWS * columns, 0.0);
        fill(frame, window, (width, ROWS), columns, &mut self.tensor);
        (Look::of(&self.tensor, (width, ROWS), columns), width)
    }

    /// Reads the input as [`Reader::look`] left it.
    fn recognise(&mut self, width: usize) -> Result<Reading, InferError> {
        let columns = self.tensor.len() / (3 * ROWS);
        let alphabet = &self.alphabet;
        self.recognition.run([1, 3, ROWS, columns], &self.tensor, |shape, chances| match *shape {
            [1, _, symbols] if symbols == alphabet.symbols() => Ok(read(chances, alphabet, width as f32 / columns as f32)),
            _ => Err(format!("its output has the shape {shape:?} for an alphabet of {}", alphabet.symbols())),
        })
    }
}

/// Whether most of `line` lies under `other`.
fn hides(other: &Rect, line: &Rect) -> bool {
    other.intersection(line).area() > 0.5 * line.area()
}

fn fractions(pixels: Rect, frame: &Frame) -> Rect {
    let (width, height) = (frame.width as f32, frame.height as f32);
    Rect::new(pixels.x / width, pixels.y / height, pixels.width / width, pixels.height / height).clamped()
}

fn told(run: Run, known: &Known, frame: &Frame) -> Line {
    let words = known.reading.words.iter().map(|word| ReadWord {
        text: word.text.clone(),
        confidence: word.confidence,
        area: fractions(known.window.part(word.from, word.to).bounds(), frame),
    });
    Line {
        words: words.collect(),
        area: fractions(known.window.bounds(), frame),
        confidence: known.reading.confidence,
        height_px: known.window.thickness(),
        run,
    }
}

/// One network of one input and one output that counts.
struct Network {
    name: &'static str,
    session: Session,
}

impl Network {
    fn open(runtime: &Runtime, file: &Path, (name, sha256): (&'static str, &str), threads: usize) -> Result<Self, InferError> {
        check_digest(name, file, Some(sha256))?;
        let model = |reason: String| InferError::Model { model: name.to_owned(), reason };
        // Over flat ground most of what the networks compute is next to nothing: numbers so small that a processor takes three times as long.
        let builder = session_builder(runtime, threads).map_err(model)?.with_flush_to_zero();
        let session = builder.map_err(Into::into).and_then(|mut builder| builder.commit_from_file(file));
        let session = session.map_err(|error: ort::Error| model(error.to_string()))?;
        Ok(Self { name, session })
    }

    fn metadata(&self, key: &str) -> Result<String, InferError> {
        let model = |reason: String| InferError::Model { model: self.name.to_owned(), reason };
        let metadata = self.session.metadata().map_err(|error| model(error.to_string()))?;
        metadata.custom(key).ok_or_else(|| model(format!("its metadata has no `{key}`")))
    }

    fn run<R>(
        &mut self,
        shape: [usize; 4],
        input: &[f32],
        read: impl FnOnce(&[usize], &[f32]) -> Result<R, String>,
    ) -> Result<R, InferError> {
        let answer = run_plain(&mut self.session, shape, input, |shape, values| {
            // A network that overflowed has not looked: silence would pass for a clear frame.
            if values.iter().any(|value| !value.is_finite()) {
                return Err("its output holds values that are no numbers".to_owned());
            }
            read(shape, values)
        });
        answer.map_err(|reason| InferError::Run { model: self.name.to_owned(), frames: 1, reason })
    }
}
