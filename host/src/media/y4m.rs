//! YUV4MPEG2, the uncompressed format of `.y4m`: a header line, then each frame's planes behind a `FRAME` line.
//!
//! Read and written: 8-bit 4:2:0. Range goes by the `XCOLORRANGE` parameter that ffmpeg writes and reads; the matrix, which the format
//! has no word for, by an `XCOLORMATRIX` of ours that other programs pass over.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::media::file::{FileError, Probe, RATE_DEFAULT, Rate, matrix_by_height, write_error};
use crate::media::frame::{Frame, FrameSeq, Matrix, Range, i420_len};

/// Longest header or `FRAME` line taken.
const LINE_BYTES_MAX: u64 = 1024;

/// Largest width and height taken: what the common encoders take at most.
const SIDE_MAX: usize = 16_384;

const MAGIC: &str = "YUV4MPEG2";

pub struct Reader {
    path: PathBuf,
    from: BufReader<File>,
    probe: Probe,
    next: u64,
}

impl Reader {
    /// `None` if the pixels are of another kind than 8-bit 4:2:0.
    pub fn open(path: &Path) -> Result<Option<Reader>, FileError> {
        let read = |source| FileError::Read { path: path.to_owned(), source };
        let wrong = |detail: &str| FileError::Y4m { path: path.to_owned(), detail: detail.to_owned() };
        let file = File::open(path).map_err(read)?;
        let file_bytes = file.metadata().map_err(read)?.len();
        let mut from = BufReader::with_capacity(1 << 16, file);
        let line = line(&mut from).map_err(read)?.ok_or_else(|| wrong("it has no header line"))?;
        let header = Header::parse(&line).map_err(|detail| wrong(&detail))?;
        if !header.is_i420 {
            return Ok(None);
        }
        let frame_bytes = (i420_len(header.width, header.height) + "FRAME\n".len()) as u64;
        let frames = file_bytes.saturating_sub(line.len() as u64 + 1) / frame_bytes;
        let probe = Probe {
            width: header.width,
            height: header.height,
            rate: header.rate,
            time_base: Some((header.rate.den, header.rate.num)),
            pixel_aspect: header.pixel_aspect,
            duration: Some(header.rate.time_of(frames)),
            frames: Some(frames),
            range: header.range,
            matrix: header.matrix,
            rotation: 0,
            pixels: "yuv420p".to_owned(),
            audio: Vec::new(),
        };
        Ok(Some(Reader { path: path.to_owned(), from, probe, next: 0 }))
    }

    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    pub fn next_frame(&mut self) -> Result<Option<Frame>, FileError> {
        let read = |source| FileError::Read { path: self.path.clone(), source };
        let cut = |detail: &str| FileError::Truncated { path: self.path.clone(), frames: self.next, detail: detail.to_owned() };
        match line(&mut self.from).map_err(read)? {
            None => return Ok(None),
            Some(line) if line == b"FRAME" || line.starts_with(b"FRAME ") => {}
            Some(_) => return Err(cut("a FRAME line is missing")),
        }
        let bytes = i420_len(self.probe.width, self.probe.height);
        let mut data = Vec::with_capacity(bytes);
        (&mut self.from).take(bytes as u64).read_to_end(&mut data).map_err(read)?;
        if data.len() < bytes {
            return Err(cut("the last frame is incomplete"));
        }
        let (seq, at) = (FrameSeq(self.next), self.probe.rate.time_of(self.next));
        self.next += 1;
        Ok(Some(Frame::new(seq, at, self.probe.width, self.probe.height, self.probe.range, self.probe.matrix, data)))
    }
}

/// One line without its end; `None` at the end of the file. A line too long is cut, which its reader then takes for a wrong one.
fn line(from: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if from.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    line.pop_if(|&mut byte| byte == b'\n');
    Ok(Some(line))
}

struct Header {
    width: usize,
    height: usize,
    rate: Rate,
    pixel_aspect: (u32, u32),
    range: Range,
    matrix: Matrix,
    is_i420: bool,
}

impl Header {
    fn parse(line: &[u8]) -> Result<Header, String> {
        let line = std::str::from_utf8(line).map_err(|_| "its header is not text".to_owned())?;
        let mut words = line.split(' ');
        if words.next() != Some(MAGIC) {
            return Err(format!("it does not begin with {MAGIC}"));
        }
        let (mut width, mut height, mut rate, mut aspect) = (None, None, None, None);
        let (mut range, mut matrix, mut is_i420) = (Range::Limited, None, true);
        for word in words.filter(|word| !word.is_empty()) {
            let (key, value) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
            let side = || value.parse().ok().filter(|side| (1..=SIDE_MAX).contains(side)).ok_or(format!("a side of `{value}` pixels"));
            match key {
                "W" => width = Some(side()?),
                "H" => height = Some(side()?),
                "F" => rate = fraction(value),
                "A" => aspect = fraction(value),
                // The names differ in where chroma sits between the pixels, not in how many samples there are.
                "C" => is_i420 = matches!(value, "420" | "420jpeg" | "420mpeg2" | "420paldv"),
                "X" => match value.split_once('=') {
                    Some(("COLORRANGE", "FULL")) => range = Range::Full,
                    Some(("COLORMATRIX", "BT601")) => matrix = Some(Matrix::Bt601),
                    Some(("COLORMATRIX", "BT709")) => matrix = Some(Matrix::Bt709),
                    _ => {}
                },
                _ => {}
            }
        }
        let (width, height) = width.zip(height).ok_or("its header lacks width or height")?;
        let matrix = matrix.unwrap_or_else(|| matrix_by_height(height));
        let rate = rate.and_then(|(num, den)| Rate::new(num, den)).unwrap_or(RATE_DEFAULT);
        Ok(Header { width, height, rate, pixel_aspect: aspect.unwrap_or((1, 1)), range, matrix, is_i420 })
    }
}

/// `num:den`; none where either is 0, which stands for unknown.
fn fraction(text: &str) -> Option<(u32, u32)> {
    let (num, den) = text.split_once(':')?;
    Some((num.parse().ok()?, den.parse().ok()?)).filter(|&(num, den)| num > 0 && den > 0)
}

pub struct Writer {
    path: PathBuf,
    to: BufWriter<File>,
}

impl Writer {
    /// The header is made of the first frame's size, range and matrix.
    pub fn create(path: &Path, rate: Rate, pixel_aspect: (u32, u32), first: &Frame) -> Result<Writer, FileError> {
        let file = File::create(path).map_err(|error| write_error(path, error))?;
        let mut to = BufWriter::with_capacity(1 << 16, file);
        let (siting, range) = match first.range {
            Range::Full => ("420jpeg", "FULL"),
            Range::Limited => ("420mpeg2", "LIMITED"),
        };
        let matrix = match first.matrix {
            Matrix::Bt601 => "BT601",
            Matrix::Bt709 => "BT709",
        };
        let (width, height) = (first.width, first.height);
        let (aspect_num, aspect_den) = pixel_aspect;
        writeln!(
            to,
            "{MAGIC} W{width} H{height} F{}:{} Ip A{aspect_num}:{aspect_den} C{siting} XCOLORRANGE={range} XCOLORMATRIX={matrix}",
            rate.num, rate.den
        )
        .map_err(|error| write_error(path, error))?;
        Ok(Writer { path: path.to_owned(), to })
    }

    pub fn write(&mut self, frame: &Frame) -> Result<(), FileError> {
        let written = self.to.write_all(b"FRAME\n").and_then(|()| self.to.write_all(frame.data()));
        written.map_err(|error| write_error(&self.path, error))
    }

    pub fn finish(mut self) -> Result<(), FileError> {
        self.to.flush().map_err(|error| write_error(&self.path, error))
    }
}
