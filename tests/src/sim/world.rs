//! The oracle: things that move over a textured background, drawn as small pictures. It knows where each thing is in each frame, where
//! the cuts and flashes are, and so what should have been seen.

use fastrand::Rng;
use scrim_host::geometry::Rect;
use scrim_host::media::frame::{Frame, FrameSeq, Matrix, Micros, Range, chroma_size, i420_len};

/// What a thing is: the detector that knows it and its label.
pub const LABELS: [(&str, &str); 3] = [("nudity", "FACE_A"), ("nudity", "FACE_B"), ("logo", "LOGO_C")];

/// Changes of speed stay below this, in the thing's own sizes per second squared; people before a camera stay below half of it.
const ACCELERATION_MAX: f32 = 2.5;
const SPEED_MAX: f32 = 1.4;
/// Share of a thing inside the picture from which a detector is taken to see it.
pub const VISIBLE_MIN: f32 = 0.5;
/// Things of at least this share of the picture, wholly inside and on top, do not come and go without the measure of change noticing.
pub const NOTICED_MIN: f32 = 0.07;

struct Thing {
    id: u32,
    label: usize,
    /// Centre, width and height, in fractions of the picture.
    x: f32,
    y: f32,
    width: f32,
    height: f32,
    /// In its own sizes per second.
    velocity: [f32; 2],
    acceleration: [f32; 2],
    steer_in: f32,
    /// Frames that are left of a short visit.
    visit: Option<u32>,
    /// Seconds until it vanishes from one frame to the next.
    vanishes: Option<f32>,
}

impl Thing {
    fn area(&self) -> Rect {
        Rect::new(self.x - self.width / 2.0, self.y - self.height / 2.0, self.width, self.height)
    }
}

/// A thing in one frame.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub id: u32,
    pub label: usize,
    /// The part inside the picture.
    pub area: Rect,
    /// Its share of the whole thing.
    pub visible: f32,
    /// Nothing hides a part of it.
    pub on_top: bool,
}

/// What the oracle knows of a frame.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub at: Micros,
    pub shot: u32,
    pub seen: Vec<Seen>,
}

impl Snapshot {
    pub fn thing(&self, id: u32) -> Option<&Seen> {
        self.seen.iter().find(|s| s.id == id)
    }
}

pub struct World {
    rng: Rng,
    size: (usize, usize),
    background: Vec<u8>,
    things: Vec<Thing>,
    next_id: u32,
    /// Of the scene; a flash has one of its own.
    shot: u32,
    shots: u32,
    /// Nothing moves in this shot.
    still: bool,
    flash: Option<u32>,
}

const SIZES: [(usize, usize); 4] = [(96, 54), (128, 72), (160, 90), (112, 84)];

impl World {
    pub fn new(seed: u64) -> Self {
        let mut world = Self {
            rng: Rng::with_seed(seed),
            size: SIZES[0],
            background: Vec::new(),
            things: Vec::new(),
            next_id: 0,
            shot: 0,
            shots: 0,
            still: false,
            flash: None,
        };
        world.cut();
        world
    }

    fn cut(&mut self) {
        self.shots += 1;
        self.shot = self.shots;
        self.still = self.rng.f32() < 0.12;
        if self.rng.f32() < 0.2 {
            self.size = SIZES[self.rng.usize(..SIZES.len())];
        }
        self.background = background(self.size, self.rng.u32(..));
        self.things.clear();
        for _ in 0..self.rng.usize(0..3) {
            let (x, y) = (0.2 + 0.6 * self.rng.f32(), 0.25 + 0.5 * self.rng.f32());
            let speed = if self.still { 0.0 } else { 1.0 };
            let velocity = [self.spread() * speed, self.spread() * speed];
            self.add(x, y, velocity);
        }
    }

    fn spread(&mut self) -> f32 {
        self.rng.f32() * 2.0 - 1.0
    }

    fn add(&mut self, x: f32, y: f32, velocity: [f32; 2]) -> &mut Thing {
        self.next_id += 1;
        let thing = Thing {
            id: self.next_id,
            label: self.rng.usize(..LABELS.len()),
            x,
            y,
            width: 0.15 + 0.13 * self.rng.f32(),
            height: 0.25 + 0.2 * self.rng.f32(),
            velocity,
            acceleration: [0.0; 2],
            steer_in: 0.0,
            visit: None,
            vanishes: None,
        };
        self.things.push(thing);
        let last = self.things.len() - 1;
        &mut self.things[last]
    }

    /// The time goes on by `seconds`, then a frame is drawn.
    pub fn frame(&mut self, seq: FrameSeq, at: Micros, seconds: f32) -> (Frame, Snapshot) {
        let last_flash = self.flash.take();
        let chance = |rng: &mut Rng, per_s: f32| rng.f32() < per_s * seconds.min(0.2);
        if chance(&mut self.rng, 0.25) {
            self.cut();
        } else if !self.still {
            self.events(seconds);
            if chance(&mut self.rng, 0.06) {
                // Two flashes one after the other are one picture.
                self.shots += u32::from(last_flash.is_none());
                self.flash = last_flash.or(Some(self.shots));
            }
        }
        (self.draw(seq, at), self.snapshot(at))
    }

    fn events(&mut self, seconds: f32) {
        for thing in &mut self.things {
            thing.visit = thing.visit.map(|left| left.saturating_sub(1));
            thing.vanishes = thing.vanishes.map(|left| left - seconds);
        }
        self.things.retain(|t| t.visit != Some(0) && t.vanishes.is_none_or(|left| left > 0.0));
        self.walk(seconds);
        let crowd = self.things.len();
        let chance = |rng: &mut Rng, per_s: f32| rng.f32() < per_s * seconds.min(0.2);
        if crowd < 3 && chance(&mut self.rng, 0.4) {
            self.enter();
        }
        if crowd < 3 && chance(&mut self.rng, 0.15) {
            // Comes from nowhere, stays, and goes to nowhere.
            let (x, y, stays) = (0.25 + 0.5 * self.rng.f32(), 0.3 + 0.4 * self.rng.f32(), 0.8 + 2.0 * self.rng.f32());
            let velocity = [self.spread() * 0.3, self.spread() * 0.3];
            self.add(x, y, velocity).vanishes = Some(stays);
        }
        if chance(&mut self.rng, 0.4) {
            let (x, y, frames) = (0.2 + 0.6 * self.rng.f32(), 0.25 + 0.5 * self.rng.f32(), self.rng.u32(1..=3));
            let visitor = self.add(x, y, [0.0; 2]);
            (visitor.width, visitor.height) = (visitor.width.max(0.22), visitor.height.max(0.36));
            // Present for so many frames; the count falls before each following one.
            visitor.visit = Some(frames);
        }
    }

    fn enter(&mut self) {
        let along = 0.25 + 0.5 * self.rng.f32();
        let speed = 0.3 + 0.7 * self.rng.f32();
        let side = self.rng.usize(..4);
        let thing = self.add(along, along, [0.0; 2]);
        match side {
            0 => (thing.x, thing.velocity) = (-thing.width / 2.0, [speed, 0.0]),
            1 => (thing.x, thing.velocity) = (1.0 + thing.width / 2.0, [-speed, 0.0]),
            2 => (thing.y, thing.velocity) = (-thing.height / 2.0, [0.0, speed]),
            _ => (thing.y, thing.velocity) = (1.0 + thing.height / 2.0, [0.0, -speed]),
        }
    }

    fn walk(&mut self, seconds: f32) {
        // In steps, so that the path does not depend on the frame rate too much.
        let steps = (seconds / 0.01).ceil().max(1.0);
        let step = seconds / steps;
        for _ in 0..steps as u32 {
            for thing in self.things.iter_mut().filter(|t| t.visit.is_none()) {
                thing.steer_in -= step;
                if thing.steer_in <= 0.0 {
                    thing.steer_in = 0.4 + 0.8 * self.rng.f32();
                    let strength = if thing.vanishes.is_some() { 0.2 } else { 1.0 };
                    for axis in 0..2 {
                        // Slows down what is fast.
                        let back = -thing.velocity[axis] / SPEED_MAX;
                        let wish = (self.rng.f32() * 2.0 - 1.0 + back) * 0.7 * strength;
                        thing.acceleration[axis] = (wish * ACCELERATION_MAX).clamp(-ACCELERATION_MAX, ACCELERATION_MAX) * 0.7;
                    }
                }
                for axis in 0..2 {
                    thing.velocity[axis] = (thing.velocity[axis] + thing.acceleration[axis] * step).clamp(-SPEED_MAX, SPEED_MAX);
                }
                thing.x += thing.velocity[0] * thing.width * step;
                thing.y += thing.velocity[1] * thing.height * step;
            }
        }
        self.things.retain(|t| !t.area().grown(0.01, 0.01).clamped().is_empty());
    }

    fn snapshot(&self, at: Micros) -> Snapshot {
        let seen = self.things.iter().enumerate().filter_map(|(i, thing)| {
            let area = thing.area().clamped();
            let hidden: f32 = self.things[i + 1..].iter().map(|above| above.area().intersection(&area).area()).sum();
            let visible = area.area() / thing.area().area();
            let on_top = hidden <= 0.05 * area.area();
            (!area.is_empty()).then_some(Seen { id: thing.id, label: thing.label, area, visible, on_top })
        });
        Snapshot { at, shot: self.flash.unwrap_or(self.shot), seen: seen.collect() }
    }

    fn draw(&self, seq: FrameSeq, at: Micros) -> Frame {
        let (width, height) = self.size;
        let (cw, ch) = chroma_size(width, height);
        let mut data = self.background.clone();
        for thing in &self.things {
            let area = thing.area();
            let paint = |data: &mut [u8], base: usize, (w, h): (usize, usize), value: &dyn Fn(usize, usize) -> u8| {
                let edge = |v: f32, side: usize| (v * side as f32).round().clamp(0.0, side as f32) as usize;
                for y in edge(area.y, h)..edge(area.bottom(), h) {
                    for x in edge(area.x, w)..edge(area.right(), w) {
                        let u = ((x as f32 / w as f32 - area.x) / area.width * 5.0) as usize;
                        let v = ((y as f32 / h as f32 - area.y) / area.height * 5.0) as usize;
                        data[base + y * w + x] = value(u, v);
                    }
                }
            };
            let hue = (thing.id % 12) as f32 * std::f32::consts::TAU / 12.0;
            let (cb, cr) = ((128.0 + 45.0 * hue.cos()) as u8, (128.0 + 45.0 * hue.sin()) as u8);
            paint(&mut data, 0, (width, height), &|u, v| 150 + (hash(thing.id, u as u32, v as u32) % 80) as u8);
            paint(&mut data, width * height, (cw, ch), &|_, _| cb);
            paint(&mut data, width * height + cw * ch, (cw, ch), &|_, _| cr);
        }
        if self.flash.is_some() {
            data[..width * height].iter_mut().for_each(|y| *y = 195 + *y / 5);
        }
        Frame::new(seq, at, width, height, Range::Limited, Matrix::Bt601, data)
    }
}

fn background((width, height): (usize, usize), seed: u32) -> Vec<u8> {
    let mut data = vec![128u8; i420_len(width, height)];
    let (cw, ch) = chroma_size(width, height);
    let tile = width / 10;
    for y in 0..height {
        for x in 0..width {
            data[y * width + x] = 20 + (hash(seed, (x / tile) as u32, (y / tile) as u32) % 110) as u8;
        }
    }
    for (plane, base) in [width * height, width * height + cw * ch].into_iter().enumerate() {
        for y in 0..ch {
            for x in 0..cw {
                let tint = hash(seed + 1 + plane as u32, (2 * x / tile) as u32, (2 * y / tile) as u32) % 16;
                data[base + y * cw + x] = 120 + tint as u8;
            }
        }
    }
    data
}

/// A fixed, well-mixed number for three.
fn hash(a: u32, b: u32, c: u32) -> u32 {
    let mut h = a.wrapping_mul(0x9E37_79B1) ^ b.wrapping_mul(0x85EB_CA77) ^ c.wrapping_mul(0xC2B2_AE3D);
    h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
    h = (h ^ (h >> 12)).wrapping_mul(0x297A_2D39);
    h ^ (h >> 15)
}
