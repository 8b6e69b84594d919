//! What a viewer saw of the page: which frame each picture is of, whether the bad words on it are covered, and whether the rest is as it was.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use scrim_host::geometry::Rect;
use scrim_host::media::frame::{Frame, Range};
use scrim_host::vision::color::Rgb;
use scrim_host::vision::cover::covered_share;
use scrim_tests::coverage::score::COVERED_MIN;
use scrim_tests::ribbon;
use scrim_tests::seen::Covered;
use scrim_tests::typeset::Drawn;

use super::clip::{Clip, is_bad};

/// The rest is looked at in squares of so many pixels.
const BLOCK: usize = 16;
/// Mean difference of luma, full range, up to which a square is as it was: coding for two networks takes a few, a cover of this test some 85.
const CODED: f32 = 24.0;

/// What became of one bad word of a page.
#[derive(Debug, Default)]
pub struct Word {
    /// Pictures that show it where the pass over the whole clip covers it, and those of them in which it is covered.
    pub found: usize,
    pub covered: usize,
    /// Pictures of it that the pass does not cover, and those in which it is covered.
    pub missed: usize,
    pub missed_covered: usize,
}

/// What was shown, counted.
#[derive(Debug, Default)]
pub struct Shown {
    pub pictures: usize,
    /// Without a number, before and after the first that has one.
    pub before: usize,
    pub unreadable: usize,
    pub words: BTreeMap<String, Word>,
    /// Words that could be seen though the pass covers them: the picture's place, its frame's number, the word, the share that is covered.
    pub exposed: Vec<(usize, u16, String, f32)>,
    /// Squares that no bad word touches, and those of them that are as they were.
    pub rest: usize,
    pub intact: usize,
    /// Those that the pass over the whole clip leaves alone.
    pub left: usize,
    /// Other words, and those of them of which nothing is covered.
    pub others: usize,
    pub readable: usize,
}

/// Holds the pictures against the page; `whole` is what the pass over the whole clip covers of each frame.
///
/// # Errors
/// When a picture has the number of no frame.
pub fn judge(pictures: &[Frame], clip: &Clip, whole: &[Vec<Rect>], cover: Rgb) -> Result<Shown> {
    let mut shown = Shown { pictures: pictures.len(), ..Shown::default() };
    for (place, picture) in pictures.iter().enumerate() {
        let Some(number) = ribbon::read(picture.planes()[0], picture.width, picture.height) else {
            if shown.rest == 0 {
                shown.before += 1;
            } else {
                shown.unreadable += 1;
                shown.rest += (picture.width / BLOCK) * (picture.height / BLOCK);
            }
            continue;
        };
        let told = || format!("picture {place} has the number {number}");
        let (words, found) = (clip.words.get(usize::from(number)).with_context(told)?, whole.get(usize::from(number)).with_context(told)?);
        let covered = Covered::of(picture, cover);
        for word in words {
            let share = covered.share(&word.area);
            if !is_bad(word) {
                shown.others += 1;
                shown.readable += usize::from(share < 0.02);
                continue;
            }
            let counted = shown.words.entry(word.text.clone()).or_default();
            let is_covered = share >= COVERED_MIN;
            if share_of(&word.area, found) >= COVERED_MIN {
                counted.found += 1;
                counted.covered += usize::from(is_covered);
                if !is_covered {
                    shown.exposed.push((place, number, word.text.clone(), share));
                }
            } else {
                counted.missed += 1;
                counted.missed_covered += usize::from(is_covered);
            }
        }
        squares(&clip.frames[usize::from(number)], picture, words, (&covered, found), &mut shown);
    }
    Ok(shown)
}

/// The share of an area that lies under others.
fn share_of(area: &Rect, covers: &[Rect]) -> f32 {
    let part = |cover: &Rect| cover.intersection(area);
    let within = |part: Rect| {
        Rect::new((part.x - area.x) / area.width, (part.y - area.y) / area.height, part.width / area.width, part.height / area.height)
    };
    covered_share(&covers.iter().map(part).filter(|part| !part.is_empty()).map(within).collect::<Vec<_>>())
}

/// Counts the squares that touch no bad word, those of them that look as they did, and those that the whole pass does not touch either.
fn squares(raw: &Frame, picture: &Frame, words: &[Drawn], (covered, whole): (&Covered, &[Rect]), shown: &mut Shown) {
    let (width, height) = (picture.width, picture.height);
    let full = |luma: u8| if raw.range == Range::Limited { (f32::from(luma) - 16.0) * 255.0 / 219.0 } else { f32::from(luma) };
    let (before, after) = (raw.planes()[0], picture.planes()[0]);
    for (y, x) in (0..height / BLOCK).flat_map(|y| (0..width / BLOCK).map(move |x| (y * BLOCK, x * BLOCK))) {
        let area = Rect::new(x as f32 / width as f32, y as f32 / height as f32, BLOCK as f32 / width as f32, BLOCK as f32 / height as f32);
        if words.iter().any(|word| is_bad(word) && !word.area.intersection(&area).is_empty()) {
            continue;
        }
        shown.rest += 1;
        shown.left += usize::from(share_of(&area, whole) < 0.1);
        let rows = (y..y + BLOCK).map(|row| row * width + x..row * width + x + BLOCK);
        let unlike: f32 = rows.flatten().map(|at| (full(before[at]) - f32::from(after[at])).abs()).sum();
        shown.intact += usize::from(unlike <= CODED * (BLOCK * BLOCK) as f32 && covered.share(&area) < 0.1);
    }
}

#[cfg(test)]
mod tests {
    use scrim_host::media::frame::{FrameSeq, Micros};
    use scrim_host::media::picture::{self, Limits};
    use scrim_host::vision::cover::{Style, cover};

    use super::*;

    const GREEN: Rgb = Rgb([0x20, 0xc0, 0x40]);

    #[test]
    fn a_word_that_shows_is_told_from_one_that_does_not_and_the_rest_is_counted() -> Result<()> {
        let clip = Clip::pages()?;
        let bad = |number: usize| clip.words[number].iter().filter(|word| is_bad(word)).map(|word| word.area).collect::<Vec<_>>();
        let shown = |number: usize, areas: &[Rect]| -> Result<Frame> {
            let mut frame = clip.frames[number].clone();
            cover(&mut frame, areas, Style::Solid(GREEN));
            Ok(picture::decode(&picture::encode_jpeg(&frame, 92)?, Limits::default(), FrameSeq(0), Micros::ZERO)?)
        };
        // What is found of the whole clip: all on the first page, one word on the second.
        let whole: Vec<Vec<Rect>> = (0..clip.frames.len())
            .map(|number| bad(number).iter().take(if number < 118 { 2 } else { 1 }).map(|area| area.grown(0.005, 0.005)).collect())
            .collect();
        let lower = Rect::new(0.0, 0.5, 1.0, 0.5);
        let pictures = [
            shown(20, &[Rect::FULL])?,
            shown(20, &whole[20])?,
            shown(20, &whole[20][..1])?,
            shown(150, &whole[150])?,
            shown(5, &[lower])?,
            shown(20, &[Rect::FULL])?,
        ];
        let told = judge(&pictures, &clip, &whole, GREEN)?;
        assert_eq!((told.pictures, told.before, told.unreadable), (6, 1, 1), "{told:?}");
        let counts = |word: &str| told.words.get(word).map(|word| (word.found, word.covered, word.missed, word.missed_covered));
        assert_eq!(counts("fucking"), Some((2, 2, 0, 0)), "{told:?}");
        assert_eq!(counts("cunt"), Some((2, 1, 0, 0)), "{told:?}");
        assert_eq!((counts("bitch"), counts("bullshit")), (Some((1, 1, 0, 0)), Some((0, 0, 1, 0))), "{told:?}");
        assert!(matches!(&told.exposed[..], [(2, 20, word, _)] if word == "cunt"), "{told:?}");
        // Of five pictures one is covered whole, and half of one.
        let lost = (told.rest - told.intact) as f32 / 1200.0;
        assert!((1.45..1.6).contains(&lost), "{lost}: {told:?}");
        Ok(())
    }
}
