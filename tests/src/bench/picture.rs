//! `scrim-bench picture [RUNS]`: what one JPEG costs, in and out, at two sizes.

use std::time::Instant;

use scrim_host::media::frame::{Frame, FrameSeq, Matrix, Micros, Range, chroma_size};
use scrim_host::media::picture::{Limits, PictureError, decode, encode_jpeg};

/// As browsers and cameras make them.
const QUALITY: u8 = 80;

/// # Errors
/// When set-up has not fetched the picture.
pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    let runs: usize = arguments.first().map_or(Ok(60), |runs| runs.parse())?;
    let path = scrim_toolchain::assets::path("astronaut.png")?;
    let astronaut = decode(&std::fs::read(path)?, Limits::default(), FrameSeq(0), Micros::ZERO)?;
    for (width, height) in [(1280, 720), (640, 480)] {
        let full = mirrored(&astronaut, width, height);
        let mut limited = full.clone();
        (limited.range, limited.matrix) = (Range::Limited, Matrix::Bt709);
        let jpeg = encode_jpeg(&full, QUALITY)?;
        let into = median(runs, || decode(&jpeg, Limits::default(), FrameSeq(0), Micros::ZERO).map(drop))?;
        let out = median(runs, || encode_jpeg(&full, QUALITY).map(drop))?;
        let converted = median(runs, || encode_jpeg(&limited, QUALITY).map(drop))?;
        println!(
            "{width}x{height}, {} KiB of JPEG: decode {into:.2} ms, encode {out:.2} ms, encode from limited BT.709 {converted:.2} ms (medians)",
            jpeg.len() / 1024
        );
    }
    Ok(())
}

/// Milliseconds.
fn median(runs: usize, mut work: impl FnMut() -> Result<(), PictureError>) -> Result<f64, PictureError> {
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs.max(1) {
        let begin = Instant::now();
        work()?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// The picture at its own size, continued as in mirrors: as much detail everywhere as it has.
fn mirrored(of: &Frame, width: usize, height: usize) -> Frame {
    let (from_size, to_size) = (chroma_size(of.width, of.height), chroma_size(width, height));
    let sizes = [((of.width, of.height), (width, height)), (from_size, to_size), (from_size, to_size)];
    let fold = |at: usize, side: usize| if (at / side).is_multiple_of(2) { at % side } else { side - 1 - at % side };
    let mut data = Vec::new();
    for (plane, ((from_width, from_height), (width, height))) in of.planes().iter().zip(sizes) {
        for row in 0..height {
            let row = fold(row, from_height) * from_width;
            data.extend((0..width).map(|x| plane[row + fold(x, from_width)]));
        }
    }
    Frame::new(of.seq, of.at, width, height, of.range, of.matrix, data)
}
