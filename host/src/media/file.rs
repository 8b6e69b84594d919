//! A file as source and sink of frames. `.y4m` is read and written here; every other format by an `ffmpeg` child process over pipes.
//!
//! In: each picture that the file holds, once, with its own time (variable frame rates are kept, nothing is repeated or dropped), turned
//! as the file says, as I420 with the file's range and matrix. Out: the same frames at the same times, range and matrix tagged, sound
//! copied from another file. Where the resolution changes in mid-stream, ffmpeg scales the rest to the first size.
//!
//! Always holds: at most [`FRAMES_IN_FLIGHT`] frames wait between a child and the caller, so memory does not grow with the file; a
//! damaged file gives every frame that could be decoded before it gives the error; an output is never the input.
//!
//! Not kept: subtitles, chapters and metadata (they may hold words or places that nobody has judged), and HDR (its numbers pass through
//! as if they were not).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

use thiserror::Error;

use crate::media::ffmpeg::{Decoder, Encoder};
use crate::media::frame::{Frame, Matrix, Micros, Range};
use crate::media::y4m;

/// Frames that wait between a child process and the caller, each way. Three let both sides run at once through a hiccup of either.
pub const FRAMES_IN_FLIGHT: usize = 3;

/// Frames a second where the file does not say: ffmpeg's own default for raw video.
pub const RATE_DEFAULT: Rate = Rate { num: 25, den: 1 };

#[derive(Debug, Error)]
pub enum FileError {
    #[error("{} does not exist", path.display())]
    NotFound { path: PathBuf },
    #[error("{} cannot be read: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} holds no video that ffmpeg can read: {detail}", path.display())]
    NotAVideo { path: PathBuf, detail: String },
    #[error("{} is not a valid .y4m file: {detail}", path.display())]
    Y4m { path: PathBuf, detail: String },
    #[error("{} is cut short or damaged; {frames} frames could be decoded: {detail}", path.display())]
    Truncated { path: PathBuf, frames: u64, detail: String },
    #[error(
        "ffmpeg was not found: install it (`apt-get install ffmpeg`, `brew install ffmpeg` or `pip install imageio-ffmpeg`), or point SCRIM_FFMPEG at it"
    )]
    FfmpegMissing,
    #[error("SCRIM_FFMPEG is set to {}, which is not a file", path.display())]
    FfmpegWrong { path: PathBuf },
    #[error("{} cannot be run: {source}", program.display())]
    FfmpegRun { program: PathBuf, source: io::Error },
    #[error("{}: the extension chooses the format; use one of .mp4 .m4v .mov .mkv .webm .y4m", path.display())]
    UnknownExtension { path: PathBuf },
    #[error("{} is the input too; choose another output", path.display())]
    SameFile { path: PathBuf },
    #[error("{} cannot be encoded: this ffmpeg has none of the encoders {wanted}", path.display())]
    NoEncoder { path: PathBuf, wanted: String },
    #[error("{}: frame {frame} is {width}x{height}, the ones before it {first_width}x{first_height}", path.display())]
    SizeChanged { path: PathBuf, frame: u64, width: usize, height: usize, first_width: usize, first_height: usize },
    #[error("{} is not complete: the disk is full", path.display())]
    DiskFull { path: PathBuf },
    #[error("{} cannot be written: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{} could not be encoded: {detail}", path.display())]
    Encode { path: PathBuf, detail: String },
    #[error("{} was not written: there was no frame", path.display())]
    NoFrames { path: PathBuf },
}

/// Frames a second as a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub num: u32,
    pub den: u32,
}

impl Rate {
    /// `None` where either part is 0.
    pub fn new(num: u32, den: u32) -> Option<Rate> {
        (num > 0 && den > 0).then_some(Rate { num, den })
    }

    pub fn per_second(self) -> f64 {
        f64::from(self.num) / f64::from(self.den)
    }

    /// When frame `index` begins if all last equally long.
    pub fn time_of(self, index: u64) -> Micros {
        let micros = u128::from(index) * u128::from(self.den) * 1_000_000;
        let num = u128::from(self.num);
        Micros(u64::try_from((micros + num / 2) / num).unwrap_or(u64::MAX))
    }
}

/// What a file says of itself, and its first frame of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// As shown, after `rotation`.
    pub width: usize,
    pub height: usize,
    /// The mean where the rate varies.
    pub rate: Rate,
    /// Seconds per tick of the file's timestamps, as numerator and denominator, where known.
    pub time_base: Option<(u32, u32)>,
    /// Width to height of one pixel.
    pub pixel_aspect: (u32, u32),
    /// The whole file's, sound included.
    pub duration: Option<Micros>,
    /// Exact for `.y4m`, otherwise estimated from duration and rate.
    pub frames: Option<u64>,
    /// Limited where the file does not say, as players take it.
    pub range: Range,
    /// Where the file does not say: BT.709 from 720 lines up, otherwise BT.601, as players take it.
    pub matrix: Matrix,
    /// Degrees by which the stored picture was turned to be shown.
    pub rotation: i32,
    /// ffmpeg's name of the stored pixels, such as `yuv420p10le`.
    pub pixels: String,
    /// ffmpeg's name of the codec of each sound track.
    pub audio: Vec<String>,
}

/// What to take a picture of `height` lines for that does not tell its matrix.
pub(crate) fn matrix_by_height(height: usize) -> Matrix {
    if height >= 720 { Matrix::Bt709 } else { Matrix::Bt601 }
}

/// Whether the extension names a format that can be written.
///
/// # Errors
/// [`FileError::UnknownExtension`] names those that do.
pub fn check_extension(path: &Path) -> Result<(), FileError> {
    Container::of(path).map(drop)
}

/// Reads a file's header and first frame.
pub fn probe(path: &Path) -> Result<Probe, FileError> {
    require_file(path)?;
    match open_y4m(path)? {
        Some(y4m) => Ok(y4m.probe().clone()),
        None => Ok(crate::media::ffmpeg::probe(&crate::media::ffmpeg::find()?, path)?.0),
    }
}

fn require_file(path: &Path) -> Result<(), FileError> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => Err(FileError::NotAVideo { path: path.to_owned(), detail: "it is a folder".to_owned() }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(FileError::NotFound { path: path.to_owned() }),
        Err(source) => Err(FileError::Read { path: path.to_owned(), source }),
    }
}

/// `None` if the file is something else, or a `.y4m` that is not 8-bit 4:2:0: both are ffmpeg's.
fn open_y4m(path: &Path) -> Result<Option<y4m::Reader>, FileError> {
    if has_extension(path, "y4m") { y4m::Reader::open(path) } else { Ok(None) }
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(wanted))
}

/// The frames of a file, in order of time. Numbers start at 0, times at the file's own start (a track that begins late keeps its
/// delay). After an error nothing follows.
pub struct FileSource {
    probe: Probe,
    from: From,
    over: bool,
}

enum From {
    Y4m(y4m::Reader),
    Ffmpeg { frames: Option<Receiver<Result<Frame, FileError>>>, decoder: Decoder },
}

impl FileSource {
    pub fn open(path: &Path) -> Result<FileSource, FileError> {
        require_file(path)?;
        if let Some(y4m) = open_y4m(path)? {
            return Ok(FileSource { probe: y4m.probe().clone(), from: From::Y4m(y4m), over: false });
        }
        let ffmpeg = crate::media::ffmpeg::find()?;
        let (probe, stored) = crate::media::ffmpeg::probe(&ffmpeg, path)?;
        let (decoder, frames) = Decoder::spawn(&ffmpeg, path, &probe, &stored)?;
        Ok(FileSource { probe, from: From::Ffmpeg { frames: Some(frames), decoder }, over: false })
    }

    pub fn probe(&self) -> &Probe {
        &self.probe
    }
}

impl Iterator for FileSource {
    type Item = Result<Frame, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let next = match &mut self.from {
            From::Y4m(reader) => reader.next_frame().transpose(),
            From::Ffmpeg { frames, .. } => frames.as_ref().and_then(|frames| frames.recv().ok()),
        };
        self.over = !matches!(next, Some(Ok(_)));
        next
    }
}

impl Drop for FileSource {
    fn drop(&mut self) {
        if let From::Ffmpeg { frames, decoder } = &mut self.from {
            // Without a receiver the reading thread ends at its next frame, so that it can be waited for.
            drop(frames.take());
            decoder.stop();
        }
    }
}

/// What an extension stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    Mp4,
    Mov,
    Mkv,
    Webm,
    Y4m,
}

impl Container {
    fn of(path: &Path) -> Result<Container, FileError> {
        let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        match extension.as_deref() {
            Some("mp4" | "m4v") => Ok(Container::Mp4),
            Some("mov") => Ok(Container::Mov),
            Some("mkv") => Ok(Container::Mkv),
            Some("webm") => Ok(Container::Webm),
            Some("y4m") => Ok(Container::Y4m),
            _ => Err(FileError::UnknownExtension { path: path.to_owned() }),
        }
    }
}

/// A file being written. Nothing is complete before [`FileSink::finish`].
///
/// `.y4m` has no room for times: frames are written one behind the other at the probe's rate. For the codecs of H.264 a picture of odd
/// width or height gets its last column or row twice.
pub struct FileSink {
    path: PathBuf,
    to: To,
    frames: u64,
    size: Option<(usize, usize)>,
}

enum To {
    Y4m { writer: Option<y4m::Writer>, rate: Rate, pixel_aspect: (u32, u32) },
    Ffmpeg(Box<Encoder>),
}

impl FileSink {
    /// `probe` is that of the input: its rate and time base serve the output, its list of sound tracks those of `audio_from`.
    pub fn create(path: &Path, probe: &Probe, audio_from: Option<&Path>) -> Result<FileSink, FileError> {
        let container = Container::of(path)?;
        let same = |input: &Path| matches!((input.canonicalize(), path.canonicalize()), (Ok(a), Ok(b)) if a == b);
        if audio_from.is_some_and(same) {
            return Err(FileError::SameFile { path: path.to_owned() });
        }
        let to = match container {
            Container::Y4m => To::Y4m { writer: None, rate: probe.rate, pixel_aspect: probe.pixel_aspect },
            _ => {
                // Found out now, not after the first frame: that the folder is there and can be written to.
                std::fs::OpenOptions::new().create(true).append(true).open(path).map_err(|error| write_error(path, error))?;
                To::Ffmpeg(Box::new(Encoder::new(crate::media::ffmpeg::find()?, path, container, probe, audio_from)?))
            }
        };
        Ok(FileSink { path: path.to_owned(), to, frames: 0, size: None })
    }

    /// Frames are to come in order of time and all of one size.
    pub fn write(&mut self, frame: &Frame) -> Result<(), FileError> {
        let (first_width, first_height) = *self.size.get_or_insert((frame.width, frame.height));
        if (frame.width, frame.height) != (first_width, first_height) {
            let (width, height) = (frame.width, frame.height);
            return Err(FileError::SizeChanged { path: self.path.clone(), frame: self.frames, width, height, first_width, first_height });
        }
        match &mut self.to {
            To::Y4m { writer: Some(writer), .. } => writer.write(frame)?,
            To::Y4m { writer, rate, pixel_aspect } => {
                writer.insert(y4m::Writer::create(&self.path, *rate, *pixel_aspect, frame)?).write(frame)?
            }
            To::Ffmpeg(encoder) => encoder.write(frame)?,
        }
        self.frames += 1;
        Ok(())
    }

    /// Frames written so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Completes the file and waits until it is on its way to the disk.
    pub fn finish(self) -> Result<(), FileError> {
        match self.to {
            _ if self.frames == 0 => Err(FileError::NoFrames { path: self.path }),
            To::Y4m { writer, .. } => writer.map_or(Ok(()), y4m::Writer::finish),
            To::Ffmpeg(encoder) => encoder.finish(),
        }
    }
}

pub(crate) fn write_error(path: &Path, source: io::Error) -> FileError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FileError::DiskFull { path: path.to_owned() },
        _ => FileError::Write { path: path.to_owned(), source },
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
