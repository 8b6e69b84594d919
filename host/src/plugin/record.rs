//! Recording: every input of a room's policies and every decision, with what happened between (invariant 5).
//!
//! A file is a header and then frames, each a little-endian `u32` length and that many bytes of postcard. Off unless asked for; it stops
//! at its size limit and says so in its last frame.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::bindings;
use super::catalog::{Digest, PluginName};
use super::events::PolicyEvent;
use super::types::{CallId, Fault, Generation, LabelThreshold, Reply, Request, Slot};
use crate::media::frame::Micros;

const MAGIC: [u8; 8] = *b"scrimrec";
/// Raised whenever the frames change in a way that older readers misread.
const FORMAT: u32 = 1;
/// A frame holds at most a thumbnail or a snapshot.
const FRAME_BYTES_MAX: u32 = 8 << 20;
/// What a recording may grow to when nobody says otherwise: about ten minutes of thumbnails.
pub const RECORDING_BYTES_MAX: u64 = 1 << 30;

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{0} is no recording of policies")]
    NotARecording(PathBuf),
    #[error("{path} is in format {found}, this program reads {FORMAT}")]
    Format { path: PathBuf, found: u32 },
    #[error("{path} was made with contract {found}, this program speaks {}", bindings::VERSION)]
    Contract { path: PathBuf, found: String },
    #[error("{path}: frame {frame} cannot be read: {reason}")]
    Frame { path: PathBuf, frame: u64, reason: String },
}

/// One step of a slot's instance, in the order in which the slot took them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// A fresh instance.
    Started {
        plugin: PluginName,
        digest: Digest,
        at: Micros,
    },
    Configured {
        at: Micros,
        config: String,
        result: Result<Result<(), String>, Fault>,
    },
    Restored {
        at: Micros,
        from_version: String,
        state: Vec<u8>,
        result: Result<Result<(), String>, Fault>,
    },
    Called {
        call: CallId,
        at: Micros,
        request: Request,
        result: Result<Reply, Fault>,
    },
    /// A report of the journal, given again after a restart.
    Replayed {
        at: Micros,
        request: Request,
        result: Result<Reply, Fault>,
    },
    Current {
        at: Micros,
        result: Result<Vec<LabelThreshold>, Fault>,
    },
    Snapshotted {
        at: Micros,
        result: Result<Vec<u8>, Fault>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Entry {
    Step {
        slot: Slot,
        generation: Generation,
        step: Step,
    },
    /// A call that was not made, and why.
    NotMade {
        slot: Slot,
        call: CallId,
        at: Micros,
        fault: Fault,
    },
    /// The answer came after the driver's deadline, so the host's default stood in.
    Late {
        slot: Slot,
        call: CallId,
    },
    Event(PolicyEvent),
    /// The size limit was reached; nothing follows.
    Full,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Header {
    contract: String,
    host: String,
}

struct Sink {
    file: BufWriter<File>,
    bytes: u64,
    dropped: u64,
    failed: Option<std::io::Error>,
}

/// Writes a recording. Shared by the slots of a room.
pub struct Recorder {
    path: PathBuf,
    bytes_max: u64,
    sink: Mutex<Sink>,
}

impl Recorder {
    /// Begins a recording of at most `bytes_max` bytes; see [`RECORDING_BYTES_MAX`].
    pub fn create(path: &Path, bytes_max: u64) -> Result<Self, RecordError> {
        let io = |source| RecordError::Io { path: path.to_owned(), source };
        let mut file = BufWriter::new(File::create(path).map_err(io)?);
        let header = Header { contract: bindings::VERSION.into(), host: env!("CARGO_PKG_VERSION").into() };
        let header = postcard::to_stdvec(&header).map_err(|error| io(std::io::Error::other(error)))?;
        let mut start = MAGIC.to_vec();
        start.extend_from_slice(&FORMAT.to_le_bytes());
        start.extend_from_slice(&(header.len() as u32).to_le_bytes());
        start.extend_from_slice(&header);
        file.write_all(&start).map_err(io)?;
        let sink = Mutex::new(Sink { file, bytes: start.len() as u64, dropped: 0, failed: None });
        Ok(Self { path: path.to_owned(), bytes_max, sink })
    }

    /// Adds one entry. A recording never stands in a decision's way: an error is kept for [`Recorder::finish`].
    pub fn record(&self, entry: &Entry) {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        if sink.dropped > 0 || sink.failed.is_some() {
            sink.dropped += 1;
            return;
        }
        let outcome = match postcard::to_stdvec(entry) {
            Ok(frame) if frame.len() as u64 + sink.bytes + 16 <= self.bytes_max => sink.write(&frame),
            Ok(_) => {
                sink.dropped = 1;
                tracing::warn!(path = %self.path.display(), bytes_max = self.bytes_max, "recording is full");
                postcard::to_stdvec(&Entry::Full).map_err(std::io::Error::other).and_then(|frame| sink.write(&frame))
            }
            Err(error) => Err(std::io::Error::other(error)),
        };
        if let Err(error) = outcome {
            sink.failed = Some(error);
        }
    }

    /// Entries that found no place.
    pub fn dropped(&self) -> u64 {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner).dropped
    }

    /// Writes everything out. Returns the number of entries that found no place.
    pub fn finish(&self) -> Result<u64, RecordError> {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let flushed = match sink.failed.take() {
            Some(error) => Err(error),
            None => sink.file.flush(),
        };
        flushed.map_err(|source| RecordError::Io { path: self.path.clone(), source })?;
        Ok(sink.dropped)
    }
}

impl Sink {
    fn write(&mut self, frame: &[u8]) -> std::io::Result<()> {
        self.file.write_all(&(frame.len() as u32).to_le_bytes())?;
        self.file.write_all(frame)?;
        self.bytes += 4 + frame.len() as u64;
        Ok(())
    }
}

/// Reads a recording, entry by entry.
pub struct Recording {
    path: PathBuf,
    file: BufReader<File>,
    frame: u64,
}

impl Recording {
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        let io = |source| RecordError::Io { path: path.to_owned(), source };
        let mut file = BufReader::new(File::open(path).map_err(io)?);
        let mut start = [0; 16];
        file.read_exact(&mut start).map_err(|_| RecordError::NotARecording(path.to_owned()))?;
        if start[..8] != MAGIC {
            return Err(RecordError::NotARecording(path.to_owned()));
        }
        let word = |at: usize| u32::from_le_bytes([start[at], start[at + 1], start[at + 2], start[at + 3]]);
        if word(8) != FORMAT {
            return Err(RecordError::Format { path: path.to_owned(), found: word(8) });
        }
        let mut recording = Self { path: path.to_owned(), file, frame: 0 };
        let header = recording.bytes(word(12))?;
        let header: Header = postcard::from_bytes(&header).map_err(|_| RecordError::NotARecording(path.to_owned()))?;
        if header.contract != bindings::VERSION {
            return Err(RecordError::Contract { path: path.to_owned(), found: header.contract });
        }
        Ok(recording)
    }

    fn bytes(&mut self, len: u32) -> Result<Vec<u8>, RecordError> {
        if len > FRAME_BYTES_MAX {
            return Err(self.bad(format!("{len} bytes are more than a frame can have")));
        }
        let mut bytes = vec![0; len as usize];
        self.file.read_exact(&mut bytes).map_err(|error| self.bad(error.to_string()))?;
        Ok(bytes)
    }

    fn bad(&self, reason: String) -> RecordError {
        RecordError::Frame { path: self.path.clone(), frame: self.frame, reason }
    }

    fn entry(&mut self) -> Result<Option<Entry>, RecordError> {
        let mut len = [0; 4];
        match self.file.read_exact(&mut len) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(self.bad(error.to_string())),
        }
        let bytes = self.bytes(u32::from_le_bytes(len))?;
        let entry: Entry = postcard::from_bytes(&bytes).map_err(|error| self.bad(error.to_string()))?;
        if let Entry::Step { step: Step::Called { request: Request::Screen { thumbnail, .. }, .. }, .. } = &entry
            && !thumbnail.is_whole()
        {
            return Err(self.bad("a thumbnail's planes do not have its size".into()));
        }
        self.frame += 1;
        Ok(Some(entry))
    }
}

impl Iterator for Recording {
    type Item = Result<Entry, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.entry().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn late(call: u64) -> Entry {
        Entry::Late { slot: Slot::Text, call: CallId(call) }
    }

    #[test]
    fn entries_come_back_as_written() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.rec");
        let recorder = Recorder::create(&path, RECORDING_BYTES_MAX)?;
        (0..100).for_each(|call| recorder.record(&late(call)));
        assert_eq!(recorder.finish()?, 0);
        let entries: Vec<Entry> = Recording::open(&path)?.collect::<Result<_, _>>()?;
        assert_eq!(entries, (0..100).map(late).collect::<Vec<_>>());
        Ok(())
    }

    #[test]
    fn a_full_recording_says_so_and_stays_within_its_limit() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.rec");
        let recorder = Recorder::create(&path, 200)?;
        (0..100).for_each(|call| recorder.record(&late(call)));
        assert!(recorder.finish()? > 50);
        assert!(std::fs::metadata(&path)?.len() <= 200);
        let entries: Vec<Entry> = Recording::open(&path)?.collect::<Result<_, _>>()?;
        assert_eq!(entries.last(), Some(&Entry::Full));
        Ok(())
    }

    #[test]
    fn a_file_cut_off_or_of_another_kind_is_an_error() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.rec");
        let recorder = Recorder::create(&path, RECORDING_BYTES_MAX)?;
        recorder.record(&Entry::Event(PolicyEvent::Retired { slot: Slot::Text, generation: Generation(3) }));
        recorder.finish()?;
        let whole = std::fs::read(&path)?;
        std::fs::write(&path, &whole[..whole.len() - 1])?;
        assert!(Recording::open(&path)?.any(|entry| entry.is_err()));
        std::fs::write(&path, b"something else, long enough")?;
        assert!(matches!(Recording::open(&path), Err(RecordError::NotARecording(_))));
        Ok(())
    }
}
