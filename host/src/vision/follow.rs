//! A piece of a picture found again in another one: how text that scrolls, fades or stays is told from text that changed.
//!
//! Alike is measured by normalised cross-correlation of luma (Lewis, "Fast Normalized Cross-Correlation", 1995), which neither gain nor
//! offset changes: a word that fades in is the same word from the first frame in which it is a word at all.

use crate::media::frame::Frame;

/// An area in whole pixels; may lie in part outside the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pixels {
    pub x: i32,
    pub y: i32,
    pub width: i32,
    pub height: i32,
}

impl Pixels {
    pub fn moved(self, by: (i32, i32)) -> Self {
        Self { x: self.x + by.0, y: self.y + by.1, ..self }
    }

    pub fn grown(self, by: i32) -> Self {
        Self { x: self.x - by, y: self.y - by, width: self.width + 2 * by, height: self.height + 2 * by }
    }

    /// The part inside a picture of so many pixels.
    pub fn inside(self, width: usize, height: usize) -> Self {
        let (x, y) = (self.x.clamp(0, width as i32), self.y.clamp(0, height as i32));
        let (right, bottom) = ((self.x + self.width).clamp(0, width as i32), (self.y + self.height).clamp(0, height as i32));
        Self { x, y, width: right - x, height: bottom - y }
    }

    fn area(self) -> i32 {
        self.width.max(0) * self.height.max(0)
    }
}

/// Contrast (standard deviation, 8-bit levels) under which a piece shows nothing.
const FLAT: f64 = 4.0;
/// The least correlation at which every letter of a word is taken for the same: letters of the same word, moved by a part of a pixel or
/// coded again, reach 0.8; two different ones seldom 0.4.
const SAME: f64 = 0.55;
/// The same for a whole line, whose place is sought.
const SAME_LINE: f64 = 0.6;
/// Share of a piece that must lie inside the picture.
const INSIDE: f32 = 0.3;

/// How two pieces correlate, -1..=1; none where the part of them that is inside both pictures is too small. A flat piece is like a flat
/// one and unlike any other.
fn correlation(a: &Frame, at: Pixels, b: &Frame, to: (i32, i32)) -> Option<f64> {
    let (ax, ay) = (to.0 - at.x, to.1 - at.y);
    let mine = at.inside(a.width, a.height);
    let theirs = mine.moved((ax, ay)).inside(b.width, b.height);
    if (theirs.area() as f32) < INSIDE * at.area().max(1) as f32 {
        return None;
    }
    let (left, top) = (theirs.x - ax, theirs.y - ay);
    let ([ya, ..], [yb, ..]) = (a.planes(), b.planes());
    let width = theirs.width as usize;
    let (mut n, mut sa, mut sb, mut saa, mut sbb, mut sab) = (0u64, 0u64, 0u64, 0u64, 0u64, 0u64);
    for row in 0..theirs.height {
        let pa = &ya[(top + row) as usize * a.width + left as usize..][..width];
        let pb = &yb[(theirs.y + row) as usize * b.width + theirs.x as usize..][..width];
        // A row's sums fit 32 bits: 65,025 × 8,192 would not be passed by any picture of our sizes twice over.
        let (mut ra, mut rb, mut raa, mut rbb, mut rab) = (0u32, 0u32, 0u32, 0u32, 0u32);
        for (&p, &q) in pa.iter().zip(pb) {
            let (p, q) = (u32::from(p), u32::from(q));
            ra += p;
            rb += q;
            raa += p * p;
            rbb += q * q;
            rab += p * q;
        }
        n += width as u64;
        sa += u64::from(ra);
        sb += u64::from(rb);
        saa += u64::from(raa);
        sbb += u64::from(rbb);
        sab += u64::from(rab);
    }
    let (n, sa, sb) = (n as f64, sa as f64, sb as f64);
    let (va, vb) = (saa as f64 - sa * sa / n, sbb as f64 - sb * sb / n);
    let flat = |v: f64| v < FLAT * FLAT * n;
    Some(match (flat(va), flat(vb)) {
        (true, true) => 1.0,
        (true, false) | (false, true) => 0.0,
        (false, false) => (sab as f64 - sa * sb / n) / (va * vb).sqrt(),
    })
}

/// Where a piece of `a` lies in `b`, as how far it moved: at one of the `guesses` or a pixel beside, or, if none fits and `seek` is not 0,
/// wherever it fits best at most so many pixels from the first guess.
pub fn find(a: &Frame, at: Pixels, b: &Frame, guesses: &[(i32, i32)], seek: i32) -> Option<(i32, i32)> {
    let score = |by: (i32, i32)| correlation(a, at, b, (at.x + by.0, at.y + by.1)).unwrap_or(-1.0);
    let climb = |mut by: (i32, i32), mut best: f64| {
        // Letters are narrow: the peak is a few pixels wide.
        for _ in 0..4 {
            let around = [(-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, 1), (-1, 1), (1, -1)];
            let next = around.map(|d| (by.0 + d.0, by.1 + d.1)).map(|by| (score(by), by));
            match next.into_iter().max_by(|x, y| x.0.total_cmp(&y.0)) {
                Some((higher, there)) if higher > best => (best, by) = (higher, there),
                _ => break,
            }
        }
        (best, by)
    };
    let mut best = (-1.0, (0, 0));
    for &guess in guesses {
        let found = score(guess);
        if found > 0.98 {
            return Some(guess);
        }
        let found = climb(guess, found);
        if found.0 > best.0 {
            best = found;
        }
    }
    if best.0 >= SAME_LINE {
        return Some(best.1);
    }
    if seek > 0 {
        let first = guesses.first().copied().unwrap_or_default();
        let mut coarse = (-1.0, first);
        for dy in (-seek..=seek).step_by(2) {
            for dx in (-seek..=seek).step_by(2) {
                let by = (first.0 + dx, first.1 + dy);
                let found = score(by);
                if found > coarse.0 {
                    coarse = (found, by);
                }
            }
        }
        let found = climb(coarse.1, coarse.0);
        if found.0 > best.0 {
            best = found;
        }
    }
    (best.0 >= SAME_LINE).then_some(best.1)
}

/// Whether every letter of a word of `a` is found in `b`, moved by `by` or a pixel beside. A word of which less than a third is inside the
/// picture is not.
pub fn same_word(a: &Frame, word: Pixels, b: &Frame, by: (i32, i32)) -> bool {
    let letter = (word.height * 3 / 4).max(6);
    let letters = (word.width + letter / 2) / letter;
    let around = [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)];
    let same = |piece: Pixels| {
        let scores = around.map(|d| correlation(a, piece, b, (piece.x + by.0 + d.0, piece.y + by.1 + d.1)));
        // What has left the picture is no longer to be judged.
        let mut inside = scores.into_iter().flatten().peekable();
        inside.peek().is_none() || inside.any(|score| score >= SAME)
    };
    let here = word.moved(by).inside(b.width, b.height);
    let visible = here.area() as f32 >= INSIDE * word.area().max(1) as f32;
    visible
        && (0..letters.max(1)).all(|i| {
            let (from, to) = (word.x + word.width * i / letters.max(1), word.x + word.width * (i + 1) / letters.max(1));
            same(Pixels { x: from, width: to - from, ..word })
        })
}

/// Whether a block of pixels is the same in two pictures of one size, but for noise: no 4 × 4 cell's mean differs by more than
/// [`CELL_LEVELS`]. `area` is left, top, right, bottom, inside both.
pub fn same_block(a: &Frame, b: &Frame, area: (usize, usize, usize, usize)) -> bool {
    const CELL: usize = 4;
    let ([ya, ..], [yb, ..]) = (a.planes(), b.planes());
    let (left, top, right, bottom) = area;
    for y in (top..bottom).step_by(CELL) {
        for x in (left..right).step_by(CELL) {
            let (w, h) = (CELL.min(right - x), CELL.min(bottom - y));
            let mut sum = 0i32;
            for row in y..y + h {
                let (pa, pb) = (&ya[row * a.width + x..][..w], &yb[row * b.width + x..][..w]);
                sum += pa.iter().zip(pb).map(|(&p, &q)| i32::from(p) - i32::from(q)).sum::<i32>();
            }
            if sum.unsigned_abs() as usize > CELL_LEVELS * w * h {
                return false;
            }
        }
    }
    true
}

/// Levels by which the mean of 4 × 4 pixels may differ in pictures of the same thing: a camera's noise of 5 levels passes it once in
/// thousands of blocks, a letter of 24 levels' contrast that became another one does not.
const CELL_LEVELS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::frame::{FrameSeq, Matrix, Micros, Range, i420_len};

    const LETTER: i32 = 16;

    /// A letter is a pattern of its own, 4 × 6 strokes.
    fn ink(letter: u8, x: i32, y: i32) -> bool {
        let (cell_x, cell_y) = (x / 4, y / 4);
        let hash = u32::from(letter).wrapping_mul(2_654_435_761).rotate_left((cell_x * 7 + cell_y * 5) as u32).wrapping_mul(40_503);
        hash >> 16 & 1 == 1
    }

    /// Grey, with a word of 16 × 24 pixel letters at (x, y), so much darker.
    fn picture(word: &str, at: (i32, i32), contrast: u8) -> Frame {
        let (w, h) = (320, 96);
        let mut data = vec![128u8; i420_len(w, h)];
        for (i, letter) in word.bytes().enumerate() {
            for y in 0..24 {
                for x in 0..LETTER - 2 {
                    let (px, py) = (at.0 + i as i32 * LETTER + x, at.1 + y);
                    if ink(letter, x, y) && (0..w as i32).contains(&px) && (0..h as i32).contains(&py) {
                        data[py as usize * w + px as usize] -= contrast;
                    }
                }
            }
        }
        Frame::new(FrameSeq(0), Micros(0), w, h, Range::Limited, Matrix::Bt601, data)
    }

    fn place(word: &str, at: (i32, i32)) -> Pixels {
        Pixels { x: at.0, y: at.1, width: word.len() as i32 * LETTER, height: 24 }
    }

    #[test]
    fn a_word_that_scrolls_or_fades_is_found_and_one_that_changed_by_a_letter_is_not() {
        let a = picture("ducksoup", (40, 40), 100);
        let word = place("duck", (40, 40));
        for (by, contrast) in [((0, 0), 100), ((3, -7), 100), ((0, 0), 20), ((-12, 20), 60)] {
            let b = picture("ducksoup", (40 + by.0, 40 + by.1), contrast);
            assert_eq!(find(&a, place("ducksoup", (40, 40)), &b, &[(0, 0)], 24), Some(by), "{by:?} {contrast}");
            assert!(same_word(&a, word, &b, by), "{by:?} {contrast}");
        }
        for other in ["fuck", "dusk", "duct"] {
            let b = picture(other, (40, 40), 100);
            assert!(!same_word(&a, word, &b, (0, 0)), "{other}");
            let (left, top) = (40, 40);
            let blocks = (0..4).map(|i| (left + 16 * i, top, left + 16 * i + 16, top + 16));
            assert_eq!(blocks.filter(|block| !same_block(&a, &b, *block)).count(), 1, "{other}");
        }
        assert_eq!(find(&a, word, &picture("", (0, 0), 0), &[(0, 0)], 24), None);
        assert!(!same_word(&a, word, &picture("", (0, 0), 0), (0, 0)));
    }

    #[test]
    fn a_word_is_the_same_while_it_leaves_the_picture() {
        let a = picture("duck", (40, 40), 100);
        let word = place("duck", (40, 40));
        assert!(same_word(&a, word, &picture("duck", (40, -10), 100), (0, -50)));
        assert!(!same_word(&a, word, &picture("duck", (40, -23), 100), (0, -63)), "next to nothing of it is there");
    }
}
