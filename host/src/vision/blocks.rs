//! Sets of a picture's blocks: which 16 × 16 pixels hold strokes, were read, or have to be.

use crate::geometry::Rect;

/// A block's side in pixels: no letter that can be read at a glance is much larger than two of them, none is much smaller than one half.
pub const BLOCK: usize = 16;

/// Some of the blocks of a picture of one size. Blocks at the right and lower edge may reach past it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocks {
    width: usize,
    height: usize,
    across: usize,
    bits: Vec<bool>,
}

impl Blocks {
    /// None of the blocks of a picture of so many pixels.
    pub fn none(width: usize, height: usize) -> Self {
        let (across, down) = (width.div_ceil(BLOCK), height.div_ceil(BLOCK));
        Self { width, height, across, bits: vec![false; across * down] }
    }

    /// Those that lie in one of these areas (fractions of the picture), in part or whole.
    pub fn touching(width: usize, height: usize, areas: &[Rect]) -> Self {
        let mut blocks = Self::none(width, height);
        areas.iter().for_each(|area| blocks.add(area));
        blocks
    }

    /// Adds the blocks that an area touches.
    pub fn add(&mut self, area: &Rect) {
        let area = area.clamped();
        if area.is_empty() {
            return;
        }
        let span = |from: f32, to: f32, side: usize| {
            let (from, to) = ((from * side as f32) as usize / BLOCK, ((to * side as f32).ceil() as usize).div_ceil(BLOCK));
            from..to.min(side.div_ceil(BLOCK))
        };
        for by in span(area.y, area.bottom(), self.height) {
            for bx in span(area.x, area.right(), self.width) {
                self.bits[by * self.across + bx] = true;
            }
        }
    }

    /// Whether an area (fractions of the picture) touches one of them.
    pub fn any_in(&self, area: &Rect) -> bool {
        Self::touching(self.width, self.height, &[*area]).iter().any(|index| self.bits[index])
    }

    /// The share of all blocks that they are, 0..=1.
    pub fn share(&self) -> f32 {
        self.count() as f32 / self.bits.len().max(1) as f32
    }

    /// Takes away those that another set of the same picture has.
    pub fn remove(&mut self, other: &Blocks) {
        self.bits.iter_mut().zip(&other.bits).for_each(|(bit, other)| *bit &= !other);
    }

    /// Pixels of the picture, across and down.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    pub fn across(&self) -> usize {
        self.across
    }

    pub fn len(&self) -> usize {
        self.bits.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        !self.bits.contains(&true)
    }

    pub fn count(&self) -> usize {
        self.bits.iter().filter(|bit| **bit).count()
    }

    pub fn has(&self, index: usize) -> bool {
        self.bits[index]
    }

    pub fn set(&mut self, index: usize, is: bool) {
        self.bits[index] = is;
    }

    /// Numbers of the blocks, row by row.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.bits.iter().enumerate().filter(|(_, bit)| **bit).map(|(index, _)| index)
    }

    /// A block's left and upper edge, and its right and lower edge inside the picture, in pixels.
    pub fn pixels(&self, index: usize) -> (usize, usize, usize, usize) {
        let (x, y) = (index % self.across * BLOCK, index / self.across * BLOCK);
        (x, y, (x + BLOCK).min(self.width), (y + BLOCK).min(self.height))
    }

    /// Whether one of the blocks at most `reach` away is in the set.
    pub fn near(&self, index: usize, reach: usize) -> bool {
        let (bx, by, down) = (index % self.across, index / self.across, self.bits.len() / self.across);
        let rows = by.saturating_sub(reach)..(by + reach + 1).min(down);
        rows.into_iter().any(|y| (bx.saturating_sub(reach)..(bx + reach + 1).min(self.across)).any(|x| self.bits[y * self.across + x]))
    }

    /// With every block within `reach` of one of them.
    pub fn grown(&self, reach: usize) -> Self {
        let mut grown = self.clone();
        (0..self.bits.len()).for_each(|index| grown.bits[index] = self.near(index, reach));
        grown
    }

    /// Areas that hold all of them and nothing else: runs of a row, joined with equal runs below.
    pub fn areas(&self) -> Vec<Rect> {
        let mut open: Vec<(usize, usize, usize, usize)> = Vec::new();
        let mut done = Vec::new();
        let down = self.bits.len() / self.across.max(1);
        for by in 0..down {
            let row = &self.bits[by * self.across..][..self.across];
            let mut runs = Vec::new();
            let mut bx = 0;
            while bx < self.across {
                let from = bx;
                while bx < self.across && row[bx] {
                    bx += 1;
                }
                if bx > from {
                    runs.push((from, bx));
                }
                bx += 1;
            }
            let (going, ended): (Vec<_>, Vec<_>) = open.into_iter().partition(|&(l, r, _, _)| runs.contains(&(l, r)));
            done.extend(ended);
            open = going.into_iter().map(|(l, r, t, _)| (l, r, t, by + 1)).collect();
            for &(l, r) in &runs {
                if !open.iter().any(|&(ol, or, _, _)| (ol, or) == (l, r)) {
                    open.push((l, r, by, by + 1));
                }
            }
        }
        done.extend(open);
        let (w, h) = (self.width as f32, self.height as f32);
        let edge = |at: usize, side: f32| ((at * BLOCK) as f32 / side).min(1.0);
        done.into_iter().map(|(l, r, t, b)| Rect::from_edges(edge(l, w), edge(t, h), edge(r, w), edge(b, h))).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn areas_hold_these_blocks_and_no_others(width in 1usize..200, height in 1usize..200, seed: u64) {
            let mut blocks = Blocks::none(width, height);
            let mut rng = seed;
            for index in 0..blocks.len() {
                rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                blocks.set(index, rng >> 62 == 0);
            }
            let mut covered = vec![0; blocks.len()];
            for area in blocks.areas() {
                // A little inside, so that rounding does not touch the neighbours.
                let inner = area.grown(-0.5 / width as f32, -0.5 / height as f32);
                Blocks::touching(width, height, &[inner]).iter().for_each(|index| covered[index] += 1);
            }
            for (index, covered) in covered.into_iter().enumerate() {
                let (x, y, right, bottom) = blocks.pixels(index);
                // One pixel at the edge is nothing once it is shrunk.
                if right - x > 1 && bottom - y > 1 {
                    prop_assert_eq!(covered, usize::from(blocks.has(index)), "block {}", index);
                }
            }
        }
    }

    #[test]
    fn areas_meet_the_blocks_they_touch() {
        let mut one = Blocks::none(160, 160);
        one.set(22, true);
        assert!(one.any_in(&Rect::new(0.25, 0.25, 0.01, 0.01)) && one.any_in(&Rect::FULL));
        assert!(!one.any_in(&Rect::new(0.0, 0.0, 0.19, 1.0)) && !one.any_in(&Rect::default()));
        assert_eq!(one.share(), 0.01);
    }

    #[test]
    fn growing_reaches_the_neighbours_and_stops_at_the_edge() {
        let mut one = Blocks::none(160, 160);
        one.set(0, true);
        assert_eq!(one.grown(1).iter().collect::<Vec<_>>(), [0, 1, 10, 11]);
        assert_eq!(one.grown(0), one);
    }
}
