//! Areas of a picture, as fractions of its width and height, so that they hold for a frame, its thumbnail and a model's input alike.

use serde::{Deserialize, Serialize};

/// An axis-aligned rectangle; origin top left, all in fractions of the frame. May reach past 0..=1 until [`Rect::clamped`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rect {
    pub x: f32,
    pub y: f32,
    pub width: f32,
    pub height: f32,
}

impl Rect {
    pub const FULL: Rect = Rect { x: 0.0, y: 0.0, width: 1.0, height: 1.0 };

    pub const fn new(x: f32, y: f32, width: f32, height: f32) -> Self {
        Self { x, y, width, height }
    }

    pub fn from_edges(left: f32, top: f32, right: f32, bottom: f32) -> Self {
        Self { x: left, y: top, width: (right - left).max(0.0), height: (bottom - top).max(0.0) }
    }

    pub fn right(&self) -> f32 {
        self.x + self.width
    }

    pub fn bottom(&self) -> f32 {
        self.y + self.height
    }

    pub fn center(&self) -> (f32, f32) {
        (self.x + self.width / 2.0, self.y + self.height / 2.0)
    }

    pub fn area(&self) -> f32 {
        self.width.max(0.0) * self.height.max(0.0)
    }

    pub fn is_empty(&self) -> bool {
        // Written so that a NaN is empty too.
        !(self.width > 0.0 && self.height > 0.0)
    }

    pub fn intersection(&self, other: &Rect) -> Rect {
        Rect::from_edges(self.x.max(other.x), self.y.max(other.y), self.right().min(other.right()), self.bottom().min(other.bottom()))
    }

    /// The smallest rectangle that holds both.
    pub fn hull(&self, other: &Rect) -> Rect {
        Rect::from_edges(self.x.min(other.x), self.y.min(other.y), self.right().max(other.right()), self.bottom().max(other.bottom()))
    }

    /// Intersection over union, 0..=1.
    pub fn iou(&self, other: &Rect) -> f32 {
        let shared = self.intersection(other).area();
        let whole = self.area() + other.area() - shared;
        if whole > 0.0 { shared / whole } else { 0.0 }
    }

    /// Grown on the left and right by `dx` and on the top and bottom by `dy`.
    pub fn grown(&self, dx: f32, dy: f32) -> Rect {
        Rect::from_edges(self.x - dx, self.y - dy, self.right() + dx, self.bottom() + dy)
    }

    pub fn moved(&self, dx: f32, dy: f32) -> Rect {
        Rect { x: self.x + dx, y: self.y + dy, ..*self }
    }

    /// The part inside the frame.
    pub fn clamped(&self) -> Rect {
        self.intersection(&Rect::FULL)
    }

    /// Edge by edge from `self` (at 0) to `other` (at 1).
    pub fn lerp(&self, other: &Rect, at: f32) -> Rect {
        let mix = |a: f32, b: f32| a + (b - a) * at;
        Rect::new(mix(self.x, other.x), mix(self.y, other.y), mix(self.width, other.width), mix(self.height, other.height))
    }
}
