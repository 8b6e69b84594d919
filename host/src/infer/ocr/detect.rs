//! Where text is, from the detection network's map: for each of its pixels, the chance that it lies in the core of a line of text.
//!
//! The arithmetic of DB ("Real-time scene text detection with differentiable binarization", Liao and others, 2020), with the figures that
//! rapidocr 3.10.0 gives PP-OCRv6: what is above [`MAP_MIN`] is dilated by 2 × 2 pixels, each connected piece becomes the smallest rectangle
//! around it, which counts from [`SCORE_MIN`] on and is grown back to the whole line. Pure.

use super::window::Window;

/// Least chance of a pixel that belongs to a line's core.
const MAP_MIN: f32 = 0.3;
/// Least mean chance within a line's core.
const SCORE_MIN: f32 = 0.5;
/// Cores are lines shrunk by area × (1 − 0.4²) / perimeter; this much is grown back, in units of the core's area / perimeter.
const UNCLIP: f32 = 1.6;
/// Least short side of a core, in pixels of the map.
const CORE_MIN: f32 = 3.0;
/// Least short side of a line, in pixels of the map.
const LINE_MIN: f32 = CORE_MIN + 2.0;

/// The lines of text of a map of `width` columns, as windows in pixels of the map, in no particular order. Windows lie along their longer
/// side, from left to right; one that stands within 45° of upright and is taller than wide runs across instead (see [`Window::turned`]).
pub fn lines(map: &[f32], width: usize) -> Vec<Window> {
    let height = map.len() / width.max(1);
    let mut mask = dilated(map, width, height);
    let mut found = Vec::new();
    let mut stack = Vec::new();
    for start in 0..mask.len() {
        if mask[start] {
            let outline = take_piece(&mut mask, (width, height), start, &mut stack);
            let core = smallest_rectangle(&outline);
            if core.thickness().min(core.length()) >= CORE_MIN && score(map, (width, height), &core) >= SCORE_MIN {
                found.push(grown(&core));
            }
        }
    }
    found.retain(|line| line.thickness().min(line.length()) >= LINE_MIN);
    found
}

/// Each pixel of the mask, and its right, lower and lower right neighbours.
fn dilated(map: &[f32], width: usize, height: usize) -> Vec<bool> {
    let mut mask = vec![false; width * height];
    for y in 0..height {
        for x in 0..width {
            if map[y * width + x] > MAP_MIN {
                for (x, y) in [(x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)] {
                    if x < width && y < height {
                        mask[y * width + x] = true;
                    }
                }
            }
        }
    }
    mask
}

/// Clears the connected piece (by sides and corners) that holds `start`, and answers with the ends of each of its rows: all that its
/// convex hull depends on.
fn take_piece(mask: &mut [bool], (width, height): (usize, usize), start: usize, stack: &mut Vec<usize>) -> Vec<(f32, f32)> {
    let top = start / width;
    // The piece is met first in its topmost row.
    let mut rows: Vec<(usize, usize)> = Vec::new();
    mask[start] = false;
    stack.push(start);
    while let Some(at) = stack.pop() {
        let (x, y) = (at % width, at / width);
        if rows.len() <= y - top {
            rows.resize(y - top + 1, (usize::MAX, 0));
        }
        let row = &mut rows[y - top];
        *row = (row.0.min(x), row.1.max(x));
        for y in y.saturating_sub(1)..(y + 2).min(height) {
            for x in x.saturating_sub(1)..(x + 2).min(width) {
                let neighbour = y * width + x;
                if mask[neighbour] {
                    mask[neighbour] = false;
                    stack.push(neighbour);
                }
            }
        }
    }
    let ends = |(y, (left, right)): (usize, (usize, usize))| {
        let y = (top + y) as f32 + 0.5;
        [(left as f32 + 0.5, y), (right as f32 + 0.5, y)]
    };
    rows.into_iter().enumerate().flat_map(ends).collect()
}

/// The rectangle of least area around the points. One of its sides lies along a side of their convex hull (Freeman and Shapira, 1975).
fn smallest_rectangle(points: &[(f32, f32)]) -> Window {
    let hull = convex_hull(points);
    let mut best = (f32::MAX, Window::upright(0.0, 0.0, 0.0, 0.0));
    for (i, &from) in hull.iter().enumerate() {
        let to = hull[(i + 1) % hull.len()];
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let side = dx.hypot(dy);
        let direction = if side > 0.0 { (dx / side, dy / side) } else { (1.0, 0.0) };
        let window = rectangle_along(&hull, reading(direction));
        let area = window.length() * window.thickness();
        if area < best.0 {
            best = (area, window);
        }
    }
    best.1
}

/// One of the four directions of a rectangle's sides: the one nearest to left to right.
fn reading((x, y): (f32, f32)) -> (f32, f32) {
    match x.abs() >= y.abs() {
        true => (x.abs(), y * x.signum()),
        false => (y.abs(), -x * y.signum()),
    }
}

/// The rectangle around the points whose length is along `direction`, a unit vector.
fn rectangle_along(points: &[(f32, f32)], direction: (f32, f32)) -> Window {
    let (x, y) = direction;
    let (mut low, mut high) = ((f32::MAX, f32::MAX), (f32::MIN, f32::MIN));
    for point in points {
        let (along, across) = (point.0 * x + point.1 * y, point.1 * x - point.0 * y);
        low = (low.0.min(along), low.1.min(across));
        high = (high.0.max(along), high.1.max(across));
    }
    let (length, thickness) = (high.0 - low.0, high.1 - low.1);
    Window {
        origin: (low.0 * x - low.1 * y, low.0 * y + low.1 * x),
        along: (length * x, length * y),
        across: (-thickness * y, thickness * x),
    }
}

/// Andrew's monotone chain, by rows: `points` come row by row, from left to right.
fn convex_hull(points: &[(f32, f32)]) -> Vec<(f32, f32)> {
    let half = |points: &mut dyn Iterator<Item = (f32, f32)>| {
        let mut chain: Vec<(f32, f32)> = Vec::new();
        for point in points {
            while let [.., a, b] = chain[..]
                && (b.0 - a.0) * (point.1 - a.1) - (b.1 - a.1) * (point.0 - a.0) >= 0.0
            {
                chain.pop();
            }
            chain.push(point);
        }
        chain
    };
    let mut hull = half(&mut points.iter().copied());
    let back = half(&mut points.iter().rev().copied());
    hull.pop();
    hull.extend(back);
    if hull.len() > 1 {
        hull.pop();
    }
    hull
}

/// The map's mean within a rectangle.
fn score(map: &[f32], (width, height): (usize, usize), core: &Window) -> f32 {
    let bounds = core.bounds();
    let (length, thickness) = (core.length(), core.thickness());
    let (x, y) = (core.along.0 / length, core.along.1 / length);
    let (mut sum, mut count) = (0.0, 0);
    for row in (bounds.y as usize)..(bounds.bottom().ceil() as usize).min(height) {
        for column in (bounds.x as usize)..(bounds.right().ceil() as usize).min(width) {
            let (dx, dy) = (column as f32 + 0.5 - core.origin.0, row as f32 + 0.5 - core.origin.1);
            let (along, across) = (dx * x + dy * y, dy * x - dx * y);
            // Rounding leaves a rectangle's own corners a little outside.
            if along >= -0.01 && along <= length + 0.01 && across >= -0.01 && across <= thickness + 0.01 {
                sum += map[row * width + column];
                count += 1;
            }
        }
    }
    if count == 0 { 0.0 } else { sum / count as f32 }
}

/// A core grown to its line.
fn grown(core: &Window) -> Window {
    let (length, thickness) = (core.length(), core.thickness());
    let by = length * thickness * UNCLIP / (2.0 * (length + thickness));
    let (x, y) = (core.along.0 / length, core.along.1 / length);
    Window {
        origin: (core.origin.0 - by * (x - y), core.origin.1 - by * (x + y)),
        along: ((length + 2.0 * by) * x, (length + 2.0 * by) * y),
        across: (-(thickness + 2.0 * by) * y, (thickness + 2.0 * by) * x),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WIDTH: usize = 160;
    const HEIGHT: usize = 120;

    /// Centre, length, thickness, slant in radians, chance.
    type Bar = ((f32, f32), f32, f32, f32, f32);

    fn map(of: &[Bar]) -> Vec<f32> {
        let mut map = vec![0.0; WIDTH * HEIGHT];
        for (i, value) in map.iter_mut().enumerate() {
            for &((cx, cy), length, thickness, slant, chance) in of {
                let (dx, dy) = ((i % WIDTH) as f32 + 0.5 - cx, (i / WIDTH) as f32 + 0.5 - cy);
                let (along, across) = (dx * slant.cos() + dy * slant.sin(), dy * slant.cos() - dx * slant.sin());
                if along.abs() <= length / 2.0 && across.abs() <= thickness / 2.0 {
                    *value = chance;
                }
            }
        }
        map
    }

    proptest! {
        #[test]
        fn a_slanted_line_is_found_with_its_slant(length in 40_f32..80.0, thickness in 8_f32..16.0, slant in -0.6_f32..0.6, x in 55_f32..105.0) {
            let found = lines(&map(&[((x, 60.0), length, thickness, slant, 0.9)]), WIDTH);
            prop_assert_eq!(found.len(), 1);
            let line = &found[0];
            let angle = line.along.1.atan2(line.along.0);
            prop_assert!((angle - slant).abs() < 0.08, "{angle} for {slant}");
            let by = length * thickness * UNCLIP / (length + thickness);
            prop_assert!((line.length() - length - by).abs() < 4.0, "{line:?}");
            prop_assert!((line.thickness() - thickness - by).abs() < 4.0, "{line:?}");
            let centre = line.at(0.5, 0.5);
            prop_assert!((centre.0 - x).abs() < 1.5 && (centre.1 - 60.0).abs() < 1.5, "{centre:?}");
        }
    }

    #[test]
    fn pieces_that_do_not_touch_are_lines_of_their_own() {
        let found = lines(
            &map(&[((40.0, 20.0), 50.0, 8.0, 0.0, 0.8), ((40.0, 40.0), 50.0, 8.0, 0.0, 0.8), ((120.0, 20.0), 40.0, 8.0, 0.0, 0.8)]),
            WIDTH,
        );
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn what_is_weak_or_tiny_is_no_line() {
        assert!(lines(&map(&[((40.0, 20.0), 50.0, 8.0, 0.0, 0.45), ((120.0, 20.0), 2.0, 2.0, 0.0, 0.9)]), WIDTH).is_empty());
        assert!(lines(&vec![0.0; WIDTH * HEIGHT], WIDTH).is_empty());
    }

    #[test]
    fn an_upright_column_of_text_is_taller_than_long() {
        let found = lines(&map(&[((40.0, 60.0), 80.0, 8.0, std::f32::consts::FRAC_PI_2, 0.9)]), WIDTH);
        assert_eq!(found.len(), 1);
        assert!(found[0].thickness() > 3.0 * found[0].length() && found[0].along.0 > 0.0, "{found:?}");
    }

    #[test]
    fn a_full_map_is_one_line_inside_no_loop() {
        assert_eq!(lines(&vec![1.0; WIDTH * HEIGHT], WIDTH).len(), 1);
    }
}
