use super::blocks::Blocks;
use crate::media::frame::Frame;
pub fn strokes(frame: &Frame) -> Blocks {
    let mut blocks = Blocks::none(frame.width, frame.height);
    let [y, ..] = frame.planes();
    for i in 0..blocks.len() {
        let (l, t, r, b) = blocks.pixels(i);
        let mut n = 0;
        for row in t..b { for x in l + 1..r { n += usize::from(y[row * frame.width + x].abs_diff(y[row * frame.width + x - 1]) > 16); } }
        blocks.set(i, n >= 4);
    }
    blocks
}
