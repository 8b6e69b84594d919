//! Settings of 2.0.0, each with its unit and range.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::picks::{SKIN_CB, SKIN_CR, Span, check, check_span};

/// Settings of the region rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Detectors that look for people.
    pub people: Vec<String>,
    /// Detectors that read text.
    pub text: Vec<String>,
    /// Log-odds from which a head-like shape asks for a look, -8..=8. Lower asks more often.
    #[schemars(range(min = -8.0, max = 8.0))]
    pub head: f32,
    /// The same once `empty_looks` looks in a row found nothing to follow; at least `head`.
    #[schemars(range(min = -8.0, max = 8.0))]
    pub head_in_doubt: f32,
    /// After so many looks in a row with nothing to follow, shapes must be plainer (`head_in_doubt`), 1..=1000.
    #[schemars(range(min = 1, max = 1000))]
    pub empty_looks: u32,
    /// After the host last followed something, every frame is looked at for so long, milliseconds, 0..=60000.
    #[schemars(range(max = 60000))]
    pub hold_ms: u32,
    /// After the start and after a cut every frame is looked at for so long, milliseconds, 0..=60000.
    #[schemars(range(max = 60000))]
    pub settle_ms: u32,
    /// A look at least so often whatever is seen, milliseconds, 33..=600000.
    #[schemars(range(min = 33, max = 600000))]
    pub look_every_ms: u32,
    /// Looks for novelty or skin alone come at least so far apart, milliseconds, 0..=60000.
    #[schemars(range(max = 60000))]
    pub novelty_every_ms: u32,
    /// Share of the picture that has to differ from the last look, 0..=1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub novelty: f32,
    /// Share of the picture from which a skin region asks for a look, 0..=1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub skin_region: f32,
    /// Cr of skin.
    pub skin_cr: Span,
    /// Cb of skin.
    pub skin_cb: Span,
    /// Gradient (grey levels over two pixels, across plus down) from which a pixel is an edge, 1..=510.
    #[schemars(range(min = 1, max = 510))]
    pub edge_step: u16,
    /// Share of edge pixels below which there is nothing to read, 0..=1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub edges_least: f32,
    /// Share of the picture that has to differ before text is read again, 0..=1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub text_novelty: f32,
    /// Sources remembered at a time; the one not seen for longest is forgotten first, 1..=256.
    #[schemars(range(min = 1, max = 256))]
    pub sources_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            people: vec!["nudity".into()],
            text: vec!["text".into()],
            head: 0.0,
            head_in_doubt: 1.5,
            empty_looks: 8,
            hold_ms: 1000,
            settle_ms: 200,
            look_every_ms: 1000,
            novelty_every_ms: 300,
            novelty: 0.15,
            skin_region: 0.03,
            skin_cr: SKIN_CR,
            skin_cb: SKIN_CB,
            edge_step: 96,
            edges_least: 0.01,
            text_novelty: 0.01,
            sources_max: 64,
        }
    }
}

impl Config {
    /// Every fault at once, one a line.
    pub fn check(&self) -> Result<(), String> {
        let checks = [
            check("head", self.head, -8.0..=8.0),
            check("head_in_doubt", self.head_in_doubt, self.head..=8.0),
            check("empty_looks", self.empty_looks as f32, 1.0..=1000.0),
            check("hold_ms", self.hold_ms as f32, 0.0..=60_000.0),
            check("settle_ms", self.settle_ms as f32, 0.0..=60_000.0),
            check("look_every_ms", self.look_every_ms as f32, 33.0..=600_000.0),
            check("novelty_every_ms", self.novelty_every_ms as f32, 0.0..=60_000.0),
            check("novelty", self.novelty, 0.0..=1.0),
            check("skin_region", self.skin_region, 0.0..=1.0),
            check_span("skin_cr", self.skin_cr),
            check_span("skin_cb", self.skin_cb),
            check("edge_step", f32::from(self.edge_step), 1.0..=510.0),
            check("edges_least", self.edges_least, 0.0..=1.0),
            check("text_novelty", self.text_novelty, 0.0..=1.0),
            check("sources_max", self.sources_max as f32, 1.0..=256.0),
        ];
        let faults: Vec<String> = checks.into_iter().filter_map(Result::err).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
    }
}
