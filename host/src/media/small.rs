//! Sound made small for a page: one channel, 16 kHz, some 3 kB a second.
//!
//! Samples in [`FORMAT`](super::sound::FORMAT) go in, a whole file's bytes come out. Opus in WebM, which every browser of these years plays;
//! AAC in MP4 where this ffmpeg has no libopus. An ffmpeg child does it, into a temporary file: only there can the length be written at the front,
//! without which players do not seek.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::ffmpeg;
use super::file::FileError;

/// Bits a second: speech is well understood.
const BITRATE: &str = "24k";

struct Kind {
    encoder: &'static str,
    extension: &'static str,
    mime: &'static str,
}

/// Best first.
static KINDS: [Kind; 2] =
    [Kind { encoder: "libopus", extension: ".webm", mime: "audio/webm" }, Kind { encoder: "aac", extension: ".mp4", mime: "audio/mp4" }];

/// A small file's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Small {
    pub mime: &'static str,
    pub bytes: Vec<u8>,
}

/// One that is being made.
pub struct Making {
    child: Child,
    file: tempfile::TempPath,
    mime: &'static str,
}

impl Making {
    /// # Errors
    /// When ffmpeg is missing, has no encoder for it or can't be run, or there is no room for temporary files.
    pub fn begin() -> Result<Self, FileError> {
        let program = ffmpeg::find()?;
        let listed = ffmpeg::encoders(&program)?;
        let kind = KINDS.iter().find(|kind| listed.iter().any(|listed| listed == kind.encoder));
        let wanted = || KINDS.iter().map(|kind| kind.encoder).collect::<Vec<_>>().join(", ");
        let kind = kind.ok_or_else(|| FileError::NoEncoder { path: PathBuf::from("the report's sound"), wanted: wanted() })?;
        let folder = std::env::temp_dir();
        let file = tempfile::Builder::new().prefix("scrim-sound-").suffix(kind.extension).tempfile_in(&folder);
        let file = file.map_err(|source| FileError::Write { path: folder, source })?.into_temp_path();
        let mut command = Command::new(&program);
        command.args(["-hide_banner", "-loglevel", "error", "-y", "-f", "s16le", "-ar", "48000", "-ac", "2", "-i", "pipe:0"]);
        command.args(["-ac", "1", "-ar", "16000", "-c:a", kind.encoder, "-b:a", BITRATE]).arg(ffmpeg::file_url(&file));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(ffmpeg::run_error(&program))?;
        Ok(Self { child, file, mime: kind.mime })
    }

    /// Takes the next samples, interleaved.
    ///
    /// # Errors
    /// When the child has ended early.
    pub fn push(&mut self, samples: &[i16]) -> Result<(), FileError> {
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let written = self.child.stdin.as_mut().map_or(Ok(()), |to| to.write_all(&bytes));
        written.map_err(|source| FileError::Write { path: self.path(), source })
    }

    /// # Errors
    /// When it could not be encoded.
    pub fn finish(mut self) -> Result<Small, FileError> {
        // Its end of input.
        drop(self.child.stdin.take());
        let status = self.child.wait().map_err(|source| FileError::Write { path: self.path(), source })?;
        if !status.success() {
            return Err(FileError::Encode { path: self.path(), detail: format!("ffmpeg ended with {status}") });
        }
        let bytes = std::fs::read(&self.file).map_err(|source| FileError::Read { path: self.path(), source })?;
        Ok(Small { mime: self.mime, bytes })
    }

    fn path(&self) -> PathBuf {
        let file: &Path = &self.file;
        file.to_owned()
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_seconds_take_some_kilobytes_and_know_their_length() {
        let mut making = Making::begin().unwrap();
        for piece in 0..20 {
            let tone = |at: i32| ((f64::from(piece * 4800 + at) * 0.05).sin() * 9000.0) as i16;
            making.push(&(0..4800).flat_map(|at| [tone(at), tone(at)]).collect::<Vec<_>>()).unwrap();
        }
        let small = making.finish().unwrap();
        assert!((1000..12_000).contains(&small.bytes.len()), "{} bytes", small.bytes.len());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &small.bytes).unwrap();
        let said = Command::new(ffmpeg::find().unwrap()).args(["-hide_banner", "-i"]).arg(file.path()).output().unwrap();
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.contains("Duration: 00:00:02.0") && said.contains("mono"), "{said}");
    }
}
