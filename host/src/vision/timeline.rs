//! The mask timeline: from what looks saw to what is covered at any time between, before and after them.
//!
//! Nothing is accumulated: trails are followed anew through the looks of one shot whenever one is added, so a look that comes in
//! between two older ones (bisection) gives the same masks as if it had come in order. A trail is one thing followed through
//! looks. Between two sightings its place is interpolated; before the first it is covered back to the look that did not see it
//! (and a little further: a detector misses); after the last it is held.

use crate::geometry::Rect;
use crate::media::frame::Micros;

/// One detection of a label that the room covers.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    pub area: Rect,
    /// 0..=1.
    pub confidence: f32,
    /// The threshold policy's verdict.
    pub counts: bool,
}

/// A completed look, as the timeline needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct Looked {
    pub at: Micros,
    /// The threshold policy's generation that weighed it.
    pub generation: u64,
    pub sightings: Vec<Sighting>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub at: Micros,
    pub area: Rect,
    pub counts: bool,
    pub generation: u64,
    /// Index of the look it comes from.
    pub look: usize,
}

/// One thing, in order of time. Never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Trail {
    pub points: Vec<Point>,
}

/// How wide and how long masks are. Shares are of the thing's own width (for left and right) or height.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaskRule {
    /// How long a thing that is not seen any more stays covered.
    pub hold: Micros,
    /// How long before its first sighting a thing is covered, beyond the look that did not see it.
    pub lead: Micros,
}

/// A detector's boxes of one still face jitter by some 3 % of its size from frame to frame; a margin of 8.5 % a side
/// keeps 95 % of the face covered when two sides err at once, and costs 37 % in area.
const MARGIN: f32 = 0.085;
/// Of the movement between two sightings, the share by which the path in the middle may leave the straight line.
const BEND: f32 = 0.32;
/// Growth a second with the time to the nearest sighting.
const GROWTH_PER_S: f32 = 0.35;
/// No growth past this share.
const GROWTH_MAX: f32 = 0.30;
/// A lost thing is taken to go on as it went for this long, at most.
const COAST: Micros = Micros::from_millis(200);
/// How much a box is grown on each side before it is matched with another.
const MATCH_GROWTH: f32 = 0.30;
/// The straight line between two sightings is trusted as long as the box overlaps itself this well.
const AGREE_IOU: f32 = 0.35;
/// Least overlap of grown boxes that makes two sightings one thing.
const MATCH_IOU: f32 = 0.10;

impl Trail {
    fn last(&self) -> &Point {
        &self.points[self.points.len() - 1]
    }

    /// Movement of left, top, right and bottom edges per second at the end (`ahead`) or, backwards, at the beginning.
    fn velocity(&self, ahead: bool) -> [f32; 4] {
        let n = self.points.len();
        if n < 2 {
            return [0.0; 4];
        }
        let (from, to) = if ahead { (&self.points[n - 2], &self.points[n - 1]) } else { (&self.points[1], &self.points[0]) };
        let seconds = (to.at.0 as f32 - from.at.0 as f32).abs() / 1e6;
        if seconds <= 0.0 || seconds > 0.5 {
            return [0.0; 4];
        }
        let (a, b) = (edges(&from.area), edges(&to.area));
        std::array::from_fn(|i| (b[i] - a[i]) / seconds)
    }

    fn predicted(&self, at: Micros) -> Rect {
        let last = self.last();
        let seconds = at.saturating_sub(last.at).0.min(COAST.0) as f32 / 1e6;
        pushed(&last.area, &self.velocity(true), seconds)
    }
}

fn edges(r: &Rect) -> [f32; 4] {
    [r.x, r.y, r.right(), r.bottom()]
}

/// A box carried along by its centre's movement; its size is kept.
fn pushed(area: &Rect, velocity: &[f32; 4], seconds: f32) -> Rect {
    area.moved((velocity[0] + velocity[2]) / 2.0 * seconds, (velocity[1] + velocity[3]) / 2.0 * seconds)
}

fn grown_by(area: &Rect, x: f32, y: f32) -> Rect {
    area.grown(area.width * x, area.height * y)
}

/// Follows things through the looks of one shot, which must be in order of time.
pub fn follow(looks: &[Looked], hold: Micros) -> Vec<Trail> {
    let mut trails: Vec<Trail> = Vec::new();
    for (index, look) in looks.iter().enumerate() {
        let mut pairs: Vec<(f32, usize, usize)> = Vec::new();
        for (t, trail) in trails.iter().enumerate() {
            if look.at.saturating_sub(trail.last().at) > hold {
                continue;
            }
            let (predicted, last) = (trail.predicted(look.at), trail.last().area);
            for (s, sighting) in look.sightings.iter().enumerate() {
                let wide = grown_by(&sighting.area, MATCH_GROWTH, MATCH_GROWTH);
                let overlap =
                    wide.iou(&grown_by(&predicted, MATCH_GROWTH, MATCH_GROWTH)).max(wide.iou(&grown_by(&last, MATCH_GROWTH, MATCH_GROWTH)));
                if overlap >= MATCH_IOU {
                    pairs.push((overlap, t, s));
                }
            }
        }
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        let (mut trail_taken, mut sighting_taken) = (vec![false; trails.len()], vec![false; look.sightings.len()]);
        let point = |s: usize| {
            let Sighting { area, counts, .. } = look.sightings[s];
            Point { at: look.at, area, counts, generation: look.generation, look: index }
        };
        for (_, t, s) in pairs {
            if !trail_taken[t] && !sighting_taken[s] {
                (trail_taken[t], sighting_taken[s]) = (true, true);
                trails[t].points.push(point(s));
            }
        }
        for (s, _) in sighting_taken.iter().enumerate().filter(|(_, taken)| !**taken) {
            trails.push(Trail { points: vec![point(s)] });
        }
    }
    trails
}

/// Whether the sightings of two neighbouring looks tell of the same things, near enough to interpolate between them.
/// If not, the host looks between.
pub fn agree(trails: &[Trail], earlier: usize, later: usize) -> bool {
    trails.iter().all(|trail| {
        let at = |look: usize| trail.points.iter().find(|p| p.look == look);
        match (at(earlier), at(later)) {
            (None, None) => true,
            (Some(a), Some(b)) => {
                if !a.counts && !b.counts {
                    return true;
                }
                a.area.iou(&b.area) >= AGREE_IOU
            }
            (Some(p), None) => !p.counts,
            (None, Some(p)) => {
                // Seen before and again, with misses in between: the line through both serves.
                !p.counts || trail.points[0].look < earlier
            }
        }
    })
}

/// What is covered at one time, unclamped. `looks` are those that `trails` were followed through.
pub fn masks_at(at: Micros, looks: &[Looked], trails: &[Trail], rule: &MaskRule) -> Vec<Rect> {
    trails.iter().filter_map(|trail| mask_at(at, looks, trail, rule)).map(to_edges).collect()
}

/// A thing this near to the frame's edge, in its own sizes, is taken to reach it: detectors draw boxes of things that are cut off short.
const EDGE_REACH: f32 = 0.2;

fn to_edges(area: Rect) -> Rect {
    let (x, y) = (area.width * EDGE_REACH, area.height * EDGE_REACH);
    let low = |v: f32, reach: f32| if v < reach { v.min(0.0) } else { v };
    let high = |v: f32, reach: f32| if v > 1.0 - reach { v.max(1.0) } else { v };
    Rect::from_edges(low(area.x, x), low(area.y, y), high(area.right(), x), high(area.bottom(), y))
}

fn mask_at(at: Micros, looks: &[Looked], trail: &Trail, rule: &MaskRule) -> Option<Rect> {
    let after = trail.points.partition_point(|p| p.at <= at);
    let earlier = after.checked_sub(1).map(|i| &trail.points[i]);
    let later = trail.points.get(after);
    match (earlier, later) {
        (Some(p), _) if p.at == at => held(trail, after - 1, at, rule).then(|| grown_by(&p.area, MARGIN, MARGIN)),
        (Some(p), Some(n)) => {
            let active = n.counts || led(trail, at, rule) || held(trail, after - 1, at, rule);
            active.then(|| {
                // Looks between that did not see it may have missed it, or one thing went and another came near: then each is where it
                // was seen up to the look that did not see it.
                let path = between(p, n, at);
                let (went, came) = (p.look + 1 < n.look && at <= looks[p.look + 1].at, p.look + 1 < n.look && at >= looks[n.look - 1].at);
                let path = if went { path.hull(&widened(&p.area, at.saturating_sub(p.at))) } else { path };
                if came { path.hull(&widened(&n.area, n.at.saturating_sub(at))) } else { path }
            })
        }
        (Some(p), None) => held(trail, after - 1, at, rule).then(|| {
            let age = at.saturating_sub(p.at);
            let coasted = pushed(&p.area, &trail.velocity(true), age.0.min(COAST.0) as f32 / 1e6);
            widened(&p.area.hull(&coasted), age)
        }),
        (None, Some(n)) => {
            let unseen_since = looks[..n.look].last().map_or(Micros::ZERO, |look| look.at);
            let active = (n.counts && at > unseen_since) || led(trail, at, rule);
            active.then(|| {
                let before = n.at.saturating_sub(at);
                let came_from = pushed(&n.area, &trail.velocity(false), before.0.min(COAST.0) as f32 / 1e6);
                widened(&n.area.hull(&came_from), before)
            })
        }
        (None, None) => None,
    }
}

/// Whether the trail still counts at `at`, seen from its point `index`: a counted sighting by the generation in force, not older
/// than the hold. A sighting that a newer generation does not count ends it.
fn held(trail: &Trail, index: usize, at: Micros, rule: &MaskRule) -> bool {
    let generation = trail.points[index].generation;
    trail.points[..=index]
        .iter()
        .rev()
        .find(|p| p.counts)
        .is_some_and(|p| at.saturating_sub(p.at) <= rule.hold && (p.at == trail.points[index].at || p.generation == generation))
}

/// Whether a counted sighting follows soon.
fn led(trail: &Trail, at: Micros, rule: &MaskRule) -> bool {
    trail.points.iter().any(|p| p.counts && p.at >= at && p.at.0 - at.0 <= rule.lead.0)
}

fn between(p: &Point, n: &Point, at: Micros) -> Rect {
    let span = (n.at.0 - p.at.0) as f32;
    let share = (at.0 - p.at.0) as f32 / span;
    if p.area.iou(&n.area) < AGREE_IOU {
        // Still so far apart after all looks between them: one thing that leapt, or two. The whole path is covered.
        return widened(&p.area, Micros(at.0 - p.at.0)).hull(&widened(&n.area, Micros(n.at.0 - at.0)));
    }
    let area = p.area.lerp(&n.area, share);
    let (from, to) = (edges(&p.area), edges(&n.area));
    let moved: [f32; 4] = std::array::from_fn(|i| (to[i] - from[i]).abs());
    let bend = BEND * 4.0 * share * (1.0 - share);
    let nearest = Micros((at.0 - p.at.0).min(n.at.0 - at.0));
    let wide = widened(&area, nearest);
    Rect::from_edges(
        wide.x - bend * moved[0].max(moved[2]),
        wide.y - bend * moved[1].max(moved[3]),
        wide.right() + bend * moved[0].max(moved[2]),
        wide.bottom() + bend * moved[1].max(moved[3]),
    )
}

fn widened(area: &Rect, age: Micros) -> Rect {
    let growth = MARGIN + (GROWTH_PER_S * age.as_secs_f32()).min(GROWTH_MAX);
    grown_by(area, growth, growth)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: MaskRule = MaskRule { hold: Micros::from_millis(800), lead: Micros::from_millis(100) };

    fn look(ms: u64, boxes: &[(f32, f32)]) -> Looked {
        let sightings = boxes.iter().map(|&(x, y)| Sighting { area: Rect::new(x, y, 0.2, 0.2), confidence: 0.8, counts: true }).collect();
        Looked { at: Micros::from_millis(ms), generation: 1, sightings }
    }

    fn covered(at_ms: u64, looks: &[Looked], target: Rect) -> bool {
        let trails = follow(looks, RULE.hold);
        masks_at(Micros::from_millis(at_ms), looks, &trails, &RULE).iter().any(|m| m.intersection(&target).area() >= 0.95 * target.area())
    }

    #[test]
    fn a_moving_thing_is_one_trail_and_covered_on_its_way() {
        let looks = [look(0, &[(0.1, 0.1)]), look(160, &[(0.2, 0.1)]), look(320, &[(0.3, 0.1)])];
        assert_eq!(follow(&looks, RULE.hold).len(), 1);
        assert!(covered(80, &looks, Rect::new(0.15, 0.1, 0.2, 0.2)));
        assert!(covered(240, &looks, Rect::new(0.25, 0.1, 0.2, 0.2)));
    }

    #[test]
    fn what_is_missed_for_a_while_stays_covered() {
        let looks = [look(0, &[(0.1, 0.1)]), look(160, &[]), look(320, &[]), look(480, &[(0.1, 0.1)])];
        for ms in (0..=480).step_by(20) {
            assert!(covered(ms, &looks, Rect::new(0.1, 0.1, 0.2, 0.2)), "{ms} ms");
        }
    }

    #[test]
    fn what_is_gone_is_held_and_then_let_go() {
        let looks: Vec<Looked> = std::iter::once(look(0, &[(0.1, 0.1)])).chain((1..10).map(|i| look(i * 160, &[]))).collect();
        assert!(covered(700, &looks, Rect::new(0.1, 0.1, 0.2, 0.2)));
        assert!(!covered(900, &looks, Rect::new(0.1, 0.1, 0.2, 0.2)));
    }

    #[test]
    fn what_comes_is_covered_back_to_the_look_that_did_not_see_it() {
        let looks = [look(0, &[]), look(300, &[(0.1, 0.1)])];
        assert!(covered(1, &looks, Rect::new(0.1, 0.1, 0.2, 0.2)));
        assert!(!covered(0, &looks, Rect::new(0.1, 0.1, 0.2, 0.2)));
    }

    #[test]
    fn a_generation_that_does_not_count_it_ends_the_hold() {
        let mut looks = vec![look(0, &[(0.1, 0.1)]), look(160, &[(0.1, 0.1)]), look(320, &[(0.1, 0.1)])];
        looks[2].generation = 2;
        looks[2].sightings[0].counts = false;
        assert!(covered(310, &looks, Rect::new(0.1, 0.1, 0.2, 0.2)), "old and new are united until the new one has looked");
        assert!(!covered(321, &looks, Rect::new(0.1, 0.1, 0.2, 0.2)));
    }

    #[test]
    fn another_thing_that_comes_near_is_covered_where_it_is() {
        let looks = [look(0, &[(0.1, 0.1)]), look(100, &[]), look(200, &[(0.22, 0.1)])];
        assert_eq!(follow(&looks, RULE.hold).len(), 1, "taken for one thing");
        assert!(covered(60, &looks, Rect::new(0.1, 0.1, 0.2, 0.2)), "the first, before it went");
        assert!(covered(110, &looks, Rect::new(0.22, 0.1, 0.2, 0.2)), "the second, once it had come");
    }

    #[test]
    fn neighbours_disagree_on_what_is_new_gone_or_far() {
        let agreed = |looks: &[Looked]| agree(&follow(looks, RULE.hold), 0, 1);
        assert!(agreed(&[look(0, &[(0.1, 0.1)]), look(160, &[(0.12, 0.1)])]));
        assert!(!agreed(&[look(0, &[]), look(160, &[(0.12, 0.1)])]));
        assert!(!agreed(&[look(0, &[(0.1, 0.1)]), look(160, &[])]));
        assert!(!agreed(&[look(0, &[(0.1, 0.1)]), look(160, &[(0.26, 0.1)])]));
    }
}
