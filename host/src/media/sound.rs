//! A file's sound: its first track out of it, sample by sample, and muted into another file.

use std::io::{BufReader, BufWriter, Read};
use std::iter::Peekable;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use super::ffmpeg;
use super::file::FileError;
use super::frame::Micros;
use crate::speech::Format;
use crate::speech::mute::{MuteTimeline, Replacement};

/// What every sound is turned into. Two channels at the rate of most files, so that nothing is lost of what is not muted.
pub const FORMAT: Format = Format { rate: 48_000, channels: 2 };
/// A piece: 100 ms.
const PIECE: usize = 4_800 * 2;
/// Mutes are entered so long before they begin.
const AHEAD: Micros = Micros::from_millis(1000);

/// The first sound track of a file, from the beginning of its pictures; pieces of interleaved samples, then at most one error.
pub struct SoundSource {
    child: Child,
    samples: BufReader<ChildStdout>,
    ended: bool,
    path: std::path::PathBuf,
}

impl SoundSource {
    /// # Errors
    /// When ffmpeg is missing or can't be run.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let program = ffmpeg::find()?;
        let mut command = Command::new(&program);
        command.args(["-nostdin", "-hide_banner", "-loglevel", "error", "-i"]).arg(ffmpeg::file_url(path));
        // Sound that begins later than the pictures has silence before it.
        command.args(["-map", "0:a:0", "-af", "aresample=async=1:first_pts=0", "-ac", "2", "-ar", "48000", "-f", "s16le", "pipe:1"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|source| FileError::FfmpegRun { program, source })?;
        let Some(stdout) = child.stdout.take() else { unreachable!("it was just asked for") };
        Ok(Self { child, samples: BufReader::new(stdout), ended: false, path: path.to_owned() })
    }

    fn fault(&self, what: String) -> FileError {
        FileError::Read { path: self.path.clone(), source: std::io::Error::other(what) }
    }
}

impl Iterator for SoundSource {
    type Item = Result<Vec<i16>, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let mut bytes = Vec::with_capacity(PIECE * 2);
        let read = self.samples.by_ref().take(PIECE as u64 * 2).read_to_end(&mut bytes);
        // At the end nothing comes, and whether that is well is asked then.
        self.ended = read.is_err() || bytes.is_empty();
        if let Err(source) = read {
            return Some(Err(FileError::Read { path: self.path.clone(), source }));
        }
        if bytes.is_empty() {
            return match self.child.wait() {
                Ok(status) if status.success() => None,
                Ok(status) => Some(Err(self.fault(format!("its sound ends early: ffmpeg ended with {status}")))),
                Err(source) => Some(Err(FileError::Read { path: self.path.clone(), source })),
            };
        }
        Some(Ok(bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()))
    }
}

impl Drop for SoundSource {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is muted of a sound in [`FORMAT`], piece by piece from its beginning.
pub struct Muting {
    mutes: Peekable<std::vec::IntoIter<(Micros, Micros)>>,
    timeline: MuteTimeline,
    replacement: Replacement,
    /// Number of the next frame.
    frame: u64,
}

impl Muting {
    pub fn new(mutes: &[(Micros, Micros)], replacement: Replacement) -> Self {
        let mut mutes = mutes.to_vec();
        mutes.sort();
        Self { mutes: mutes.into_iter().peekable(), timeline: MuteTimeline::default(), replacement, frame: 0 }
    }

    /// Replaces what lies between the mutes' times in the next samples.
    pub fn apply(&mut self, piece: &mut [i16]) {
        let at = Micros(self.frame * 1_000_000 / u64::from(FORMAT.rate));
        // A few at a time: it keeps no more than it must.
        while let Some((from, to)) = self.mutes.next_if(|(from, _)| *from < at + AHEAD) {
            self.timeline.mute(from, to);
        }
        self.timeline.forget_before(at);
        for samples in piece.chunks_exact_mut(FORMAT.channels as usize) {
            let gain = self.timeline.gain_at_nanos(u128::from(self.frame) * 1_000_000_000 / u128::from(FORMAT.rate));
            let instead = self.replacement.sample(self.frame, FORMAT.rate) * (1.0 - gain);
            for sample in samples.iter_mut().filter(|_| gain < 1.0) {
                *sample = (f32::from(*sample) * gain + instead).round() as i16;
            }
            self.frame += 1;
        }
    }
}

/// Writes the first sound track of `from` to `to` (WAV), with what lies between the mutes' times replaced.
///
/// # Errors
/// When the one can't be read or the other not be written.
pub fn write_muted(from: &Path, to: &Path, mutes: &[(Micros, Micros)], replacement: Replacement) -> Result<(), FileError> {
    let spec = hound::WavSpec {
        channels: FORMAT.channels as u16,
        sample_rate: FORMAT.rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let failed = |error: hound::Error| FileError::Write { path: to.to_owned(), source: std::io::Error::other(error) };
    let file = std::fs::File::create(to).map_err(|source| FileError::Write { path: to.to_owned(), source })?;
    let mut wav = hound::WavWriter::new(BufWriter::new(file), spec).map_err(failed)?;
    let mut muting = Muting::new(mutes, replacement);
    for piece in SoundSource::open(from)? {
        let mut piece = piece?;
        muting.apply(&mut piece);
        piece.iter().try_for_each(|sample| wav.write_sample(*sample)).map_err(failed)?;
    }
    wav.finalize().map_err(failed)
}
