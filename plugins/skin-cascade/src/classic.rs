//! 1.0.0, the classic rules: look for people where more than a share of the frame has the colour of skin, and for text where the density
//! of edges is that of writing. It keeps no state. Kept for what it is, a baseline: a person at a webcam shows 6 to 8 % skin and is
//! passed over, and a grey picture has none.

use schemars::JsonSchema;
use scrim_sdk::{Cascade, Hints, NoState, Screening, Source, Thumbnail};
use serde::{Deserialize, Serialize};

use crate::picks::{Planes, SKIN_CB, SKIN_CR, Span, check, check_span};

/// Settings of the classic rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Detectors that look for people.
    pub people: Vec<String>,
    /// Detectors that read text.
    pub text: Vec<String>,
    /// Cr of skin.
    pub skin_cr: Span,
    /// Cb of skin.
    pub skin_cb: Span,
    /// Look for people above this share of skin, 0..=1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub skin_share: f32,
    /// Gradient (grey levels over two pixels, across plus down) from which a pixel is an edge, 1..=510.
    #[schemars(range(min = 1, max = 510))]
    pub edge_step: u16,
    /// Read text from this share of edge pixels on, 0..=1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub edges_least: f32,
    /// Above this share of edge pixels it is texture, not text, 0..=1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub edges_most: f32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            people: vec!["nudity".into()],
            text: vec!["text".into()],
            skin_cr: SKIN_CR,
            skin_cb: SKIN_CB,
            skin_share: 0.15,
            edge_step: 96,
            edges_least: 0.02,
            edges_most: 0.15,
        }
    }
}

/// Share of chroma samples with the colour of skin, 0..=1; 0 for empty planes.
pub fn skin_share(cb: &[u8], cr: &[u8], span_cb: Span, span_cr: Span) -> f32 {
    let count: usize = cb.chunks(128).zip(cr.chunks(128)).map(|(cb, cr)| usize::from(skin_of(cb, cr, span_cb, span_cr))).sum();
    count as f32 / cb.len().min(cr.len()).max(1) as f32
}

/// At most 255 samples, so that the count stays in 8-bit lanes.
fn skin_of(cb: &[u8], cr: &[u8], span_cb: Span, span_cr: Span) -> u8 {
    cb.iter().zip(cr).fold(0u8, |sum, (cb, cr)| sum.wrapping_add(u8::from(span_cb.holds(*cb) & span_cr.holds(*cr))))
}

/// Share of pixels (but the border) whose gradient reaches `step`, 0..=1; 0 for a picture smaller than 3×3.
pub fn edge_density(luma: &[u8], width: usize, height: usize, step: u16) -> f32 {
    if width < 3 || height < 3 {
        return 0.0;
    }
    let inner = width - 2;
    let mut count = 0u32;
    for y in 1..height - 1 {
        let above = &luma[(y - 1) * width + 1..][..inner];
        let left = &luma[y * width..][..inner];
        let right = &luma[y * width + 2..][..inner];
        let below = &luma[(y + 1) * width + 1..][..inner];
        let mut edges = 0u16;
        for x in 0..inner {
            let gradient = u16::from(left[x].abs_diff(right[x])) + u16::from(above[x].abs_diff(below[x]));
            edges = edges.wrapping_add(u16::from(gradient >= step));
        }
        count += u32::from(edges);
    }
    count as f32 / (inner * (height - 2)) as f32
}

/// The policy.
pub struct Classic {
    config: Config,
}

impl Cascade for Classic {
    type Config = Config;
    type State = NoState;

    /// Back from 2.0, whose memory these rules have no use for.
    fn upgrade(version: u32, _: &[u8]) -> Result<NoState, String> {
        if version == 2 { Ok(NoState::default()) } else { Err(scrim_sdk::state::unknown(version, Self::STATE_VERSION)) }
    }

    fn new(config: Config) -> Result<Self, String> {
        check_span("skin_cr", config.skin_cr)?;
        check_span("skin_cb", config.skin_cb)?;
        check("skin_share", config.skin_share, 0.0..=1.0)?;
        check("edge_step", f32::from(config.edge_step), 1.0..=510.0)?;
        check("edges_most", config.edges_most, 0.0..=1.0)?;
        check("edges_least", config.edges_least, 0.0..=config.edges_most)?;
        Ok(Self { config })
    }

    fn screen(&mut self, _: &mut NoState, _: u64, _: &Source, frame: &Thumbnail, detectors: &[String], _: &Hints) -> Vec<Screening> {
        // Nobody named: every detector looks.
        let Some(planes) = Planes::of(frame) else { return Vec::new() };
        let config = &self.config;
        let mut answers = Vec::new();
        for name in detectors {
            if config.people.contains(name) {
                let share = skin_share(planes.cb, planes.cr, config.skin_cb, config.skin_cr);
                let reason =
                    format!("skin {:.1} % of the frame, the rule asks for more than {:.1} %", share * 100.0, config.skin_share * 100.0);
                answers.push(Screening { detector: name.clone(), look: share > config.skin_share, areas: Vec::new(), reason });
            } else if config.text.contains(name) {
                let density = edge_density(planes.y, planes.width, planes.height, config.edge_step);
                let look = (config.edges_least..=config.edges_most).contains(&density);
                let (least, most) = (config.edges_least * 100.0, config.edges_most * 100.0);
                let reason = format!("edges {:.1} % of the frame, writing has {least:.1} to {most:.1} %", density * 100.0);
                answers.push(Screening { detector: name.clone(), look, areas: Vec::new(), reason });
            }
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_skin_belong_to_it() {
        for (cb, cr, skin) in [(77, 133, true), (127, 173, true), (76, 150, false), (128, 150, false), (100, 132, false), (100, 174, false)]
        {
            assert_eq!(skin_share(&[cb; 300], &[cr; 300], SKIN_CB, SKIN_CR), if skin { 1.0 } else { 0.0 }, "cb {cb} cr {cr}");
        }
        assert_eq!(skin_share(&[], &[], SKIN_CB, SKIN_CR), 0.0);
    }

    #[test]
    fn stripes_are_edges_and_a_wall_is_not() {
        let stripes: Vec<u8> = (0..64 * 32).map(|i| if i / 2 % 2 == 0 { 0 } else { 200 }).collect();
        assert_eq!(edge_density(&stripes, 64, 32, 96), 1.0);
        assert_eq!(edge_density(&[90; 64 * 32], 64, 32, 96), 0.0);
        assert_eq!(edge_density(&[90; 4], 2, 2, 96), 0.0);
    }
}
