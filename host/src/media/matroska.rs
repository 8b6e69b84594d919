//! The least of Matroska (RFC 9559) that hands raw frames with their times, range and matrix to an ffmpeg child: it is the simplest
//! format that ffmpeg reads from a pipe with microsecond times and colour tags.

use std::io::{self, Write};

use crate::media::file::Rate;
use crate::media::frame::{Matrix, Micros, Range};

/// Nanoseconds per tick of the timestamps: microseconds.
const TICK_NS: u64 = 1000;

/// Header of a stream of `width` × `height` I420 frames, of no stated length.
pub fn header(width: usize, height: usize, rate: Rate, range: Range, matrix: Matrix) -> Vec<u8> {
    // Codes of ITU-T H.273: matrix 1 is BT.709, 6 is BT.601; range by RFC 9559: 1 is limited, 2 is full.
    let matrix = match matrix {
        Matrix::Bt709 => 1,
        Matrix::Bt601 => 6,
    };
    let range = match range {
        Range::Limited => 1,
        Range::Full => 2,
    };
    let colour = [uint(&[0x55, 0xB1], matrix), uint(&[0x55, 0xB9], range)].concat();
    let video =
        [uint(&[0xB0], width as u64), uint(&[0xBA], height as u64), element(&[0x2E, 0xB5, 0x24], b"I420"), element(&[0x55, 0xB0], &colour)]
            .concat();
    let frame_ns = u64::from(rate.den) * 1_000_000_000 / u64::from(rate.num);
    let track = [
        uint(&[0xD7], 1),
        uint(&[0x73, 0xC5], 1),
        uint(&[0x83], 1),
        uint(&[0x9C], 0),
        uint(&[0x23, 0xE3, 0x83], frame_ns.max(1)),
        element(&[0x86], b"V_UNCOMPRESSED"),
        element(&[0xE0], &video),
    ]
    .concat();
    let ebml = [element(&[0x42, 0x82], b"matroska"), uint(&[0x42, 0x87], 4), uint(&[0x42, 0x85], 2)].concat();
    let info = [uint(&[0x2A, 0xD7, 0xB1], TICK_NS), element(&[0x4D, 0x80], b"scrim"), element(&[0x57, 0x41], b"scrim")].concat();
    [
        element(&[0x1A, 0x45, 0xDF, 0xA3], &ebml),
        // A segment of unknown length: it ends where the pipe does.
        vec![0x18, 0x53, 0x80, 0x67, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        element(&[0x15, 0x49, 0xA9, 0x66], &info),
        element(&[0x16, 0x54, 0xAE, 0x6B], &element(&[0xAE], &track)),
    ]
    .concat()
}

/// One frame as a cluster of its own, so that its time is not bound to the 16 bits of a block.
pub fn write_frame(to: &mut impl Write, at: Micros, data: &[u8]) -> io::Result<()> {
    // Track 1, at the cluster's time, a key frame.
    const BLOCK: [u8; 4] = [0x81, 0, 0, 0x80];
    let time = uint(&[0xE7], at.0);
    let block_length = length(BLOCK.len() + data.len());
    let cluster_length = time.len() + 1 + block_length.len() + BLOCK.len() + data.len();
    to.write_all(&[&[0x1F, 0x43, 0xB6, 0x75][..], &length(cluster_length), &time, &[0xA3], &block_length, &BLOCK].concat())?;
    to.write_all(data)
}

fn element(id: &[u8], body: &[u8]) -> Vec<u8> {
    [id, &length(body.len()), body].concat()
}

fn uint(id: &[u8], value: u64) -> Vec<u8> {
    element(id, &value.to_be_bytes())
}

/// A length in the eight-byte form, which holds any.
fn length(bytes: usize) -> [u8; 8] {
    (bytes as u64 | 1 << 56).to_be_bytes()
}
