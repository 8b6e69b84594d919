//! What the detection network sees of a frame: the whole of it shrunk to an affordable size, or the parts that were asked for. Pure.

use super::window::Window;
use crate::geometry::Rect;

/// The network halves its input five times.
const STRIDE: usize = 32;
/// What is seen around a part that was asked for, in pixels of the frame: text is found by its surroundings.
const MARGIN: f32 = 24.0;
/// How near a part's edge a line is cut off by it, in pixels of the frame.
const CUT: f32 = 4.0;

/// A part of a frame, in its pixels, and the size at which it is seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    area: Rect,
    /// Width and height of the network's input.
    pub input: (usize, usize),
}

impl Tile {
    /// `area` at its own size, or shrunk so far that its input has no more than `pixels` or so.
    fn new(area: Rect, pixels: usize) -> Self {
        let scale = (pixels as f32 / area.area().max(1.0)).sqrt().min(1.0);
        let side = |length: f32| ((length * scale) as usize).next_multiple_of(STRIDE).max(STRIDE);
        Self { area, input: (side(area.width), side(area.height)) }
    }

    pub fn window(&self) -> Window {
        Window::upright(self.area.x, self.area.y, self.area.width, self.area.height)
    }

    /// A window in pixels of the input, in the frame's.
    pub fn placed(&self, window: &Window) -> Window {
        window.placed((self.area.x, self.area.y), (self.area.width / self.input.0 as f32, self.area.height / self.input.1 as f32))
    }

    /// Whether a line, in the frame's pixels, goes on where this tile ends and the frame does not.
    pub fn cuts(&self, line: &Rect, (width, height): (usize, usize)) -> bool {
        let (tile, cut) = (&self.area, CUT);
        (tile.x > 0.0 && line.x < tile.x + cut)
            || (tile.y > 0.0 && line.y < tile.y + cut)
            || (tile.right() < width as f32 && line.right() > tile.right() - cut)
            || (tile.bottom() < height as f32 && line.bottom() > tile.bottom() - cut)
    }
}

/// Tiles that cover `within` (fractions of the frame), or the whole frame if that is empty; none of them overlap. Each is seen at its own
/// size, or at `pixels` pixels if it has more.
pub fn tiles(size: (usize, usize), within: &[Rect], pixels: usize) -> Vec<Tile> {
    let (width, height) = (size.0 as f32, size.1 as f32);
    if size.0 == 0 || size.1 == 0 {
        return Vec::new();
    }
    if within.is_empty() {
        return vec![Tile::new(Rect::new(0.0, 0.0, width, height), pixels)];
    }
    let parts = within.iter().filter(|part| !part.clamped().is_empty());
    let in_pixels = parts.map(|part| Rect::new(part.x * width, part.y * height, part.width * width, part.height * height));
    apart(in_pixels.map(|part| part.grown(MARGIN, MARGIN)), size).into_iter().map(|area| Tile::new(area, pixels)).collect()
}

/// Tiles for lines, given in the frame's pixels, of which a tile showed only a piece: as wide as the frame, three times as high.
pub fn strips(size: (usize, usize), cut: &[Rect], pixels: usize) -> Vec<Tile> {
    let strip = |line: &Rect| Rect::new(0.0, line.y, size.0 as f32, line.height).grown(0.0, line.height.max(MARGIN));
    apart(cut.iter().map(strip), size).into_iter().map(|area| Tile::new(area, pixels)).collect()
}

/// Whole pixels inside the frame; those that touch become one.
fn apart(areas: impl Iterator<Item = Rect>, (width, height): (usize, usize)) -> Vec<Rect> {
    let inside = Rect::new(0.0, 0.0, width as f32, height as f32);
    let whole = |area: Rect| Rect::from_edges(area.x.floor(), area.y.floor(), area.right().ceil(), area.bottom().ceil());
    let mut apart: Vec<Rect> = Vec::new();
    for area in areas {
        let mut area = whole(area).intersection(&inside);
        while let Some(touched) = apart.iter().position(|other| !other.intersection(&area).is_empty()) {
            area = area.hull(&apart.swap_remove(touched));
        }
        apart.push(area);
    }
    apart
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_whole_frame_is_shrunk_to_what_can_be_paid() {
        assert_eq!(tiles((1280, 720), &[], 1 << 20)[0].input, (1280, 736));
        let [tile] = &tiles((1920, 1080), &[], 1280 * 720)[..] else { panic!("one tile") };
        assert_eq!(tile.input, (1280, 736));
        assert!(tiles((0, 0), &[], 1 << 20).is_empty() && tiles((640, 360), &[Rect::default()], 1 << 20).is_empty());
        // A window over all of the input is one over all of the frame.
        assert_eq!(tile.placed(&Window::upright(0.0, 0.0, 1280.0, 736.0)).bounds(), Rect::new(0.0, 0.0, 1920.0, 1080.0));
    }

    #[test]
    fn lines_that_go_on_outside_are_noticed() {
        let size = (1280, 720);
        let [tile] = &tiles(size, &[Rect::new(0.25, 0.25, 0.25, 0.25)], 1 << 20)[..] else { panic!("one tile") };
        assert!(!tile.cuts(&Rect::new(400.0, 200.0, 100.0, 20.0), size));
        assert!(tile.cuts(&Rect::new(296.0, 200.0, 100.0, 20.0), size) && tile.cuts(&Rect::new(600.0, 200.0, 64.0, 20.0), size));
        assert!(tile.cuts(&Rect::new(400.0, 156.0, 100.0, 20.0), size));
        let [whole] = &tiles(size, &[], 1 << 20)[..] else { panic!("one tile") };
        assert!(!whole.cuts(&Rect::new(0.0, 0.0, 1280.0, 720.0), size));
        let strips = strips(size, &[Rect::new(296.0, 200.0, 100.0, 20.0), Rect::new(700.0, 205.0, 60.0, 20.0)], 1 << 20);
        assert_eq!(strips.len(), 1);
        assert!(strips[0].input.0 == 1280 && strips[0].input.1 >= 64 && strips[0].input.1 <= 96);
    }

    proptest! {
        #[test]
        fn what_was_asked_for_is_seen_once(parts in prop::collection::vec((0_f32..0.9, 0_f32..0.9, 0.01_f32..0.4, 0.01_f32..0.4), 1..12)) {
            let size = (640, 360);
            let parts: Vec<Rect> = parts.into_iter().map(|(x, y, w, h)| Rect::new(x, y, w, h).clamped()).collect();
            let tiles = tiles(size, &parts, 1 << 20);
            for part in &parts {
                let (x, y) = part.center();
                let (x, y) = (x * 640.0, y * 360.0);
                let inside = |tile: &&Tile| x >= tile.area.x && x <= tile.area.right() && y >= tile.area.y && y <= tile.area.bottom();
                prop_assert_eq!(tiles.iter().filter(inside).count(), 1);
            }
            for (i, a) in tiles.iter().enumerate() {
                prop_assert!(a.input.0 % STRIDE == 0 && a.input.1 % STRIDE == 0 && a.input.0 * a.input.1 > 0);
                prop_assert!(tiles[..i].iter().all(|b| a.area.intersection(&b.area).is_empty()));
            }
        }
    }
}
