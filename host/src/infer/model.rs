//! A model's declaration: how it is fed and how its output is read, parsed strictly from `models/*.toml`.
//!
//! Every fault of a file is found in one pass and named by file and key. What parses is complete: nothing downstream needs a default.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::{Table, Value};

/// One thing wrong in a declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub file: String,
    /// Dotted, such as `input.size`; empty for the file as a whole.
    pub key: String,
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.file, self.what),
            key => write!(f, "{}: {key}: {}", self.file, self.what),
        }
    }
}

/// Where the weights are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Weights {
    /// Something set-up fetches, by its name there.
    Asset(String),
    /// The user's own file, absolute or relative to the declaration.
    Path(PathBuf),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Labels {
    /// From the `names` entry of the ONNX file's metadata, as Ultralytics writes it.
    Metadata,
    List(Vec<Arc<str>>),
}

/// How a frame is brought to the input's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Long side scaled to `size`, short side by the same factor, then padded at the bottom or right with black to a multiple of `stride`.
    Aspect { stride: usize },
    /// As `Aspect`, but padded to `size` × `size`.
    Square,
    /// Both sides scaled to `resize`, whatever the aspect; the middle `size` × `size` of that.
    Crop { resize: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Between the two nearest samples, as `cv2.resize`.
    Bilinear,
    /// A triangle as wide as the step, as Pillow's `BILINEAR`.
    Antialias,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Batch, channel, row, column.
    Nchw,
    /// Batch, row, column, channel.
    Nhwc,
}

impl Layout {
    /// Sides of the tensor that holds `batch` pictures.
    pub fn shape(self, batch: usize, width: usize, height: usize) -> [usize; 4] {
        match self {
            Layout::Nchw => [batch, 3, height, width],
            Layout::Nhwc => [batch, height, width, 3],
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Rgb,
    Bgr,
}

/// From planar I420 to the input tensor. A channel's value is (0..=255 − `mean`) × `scale`, both in the order of `colour`.
#[derive(Clone, Debug, PartialEq)]
pub struct InputSpec {
    pub fit: Fit,
    /// Pixels.
    pub size: usize,
    pub filter: Filter,
    pub layout: Layout,
    pub colour: Colour,
    pub mean: [f32; 3],
    pub scale: [f32; 3],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// `[N, 4 + labels, anchors]`: centre, size, then a score for each label.
    V8,
    /// `[N, anchors, 5 + labels]`: centre, size, objectness, then a score for each label, which objectness multiplies.
    V5,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// The graph's output is probabilities already.
    None,
    Softmax,
    /// Labels that do not exclude one another.
    Sigmoid,
}

/// How the output is read.
#[derive(Clone, Debug, PartialEq)]
pub enum Decode {
    Yolo {
        head: Head,
        /// Scores below are not reported.
        score_floor: f32,
        /// Of two boxes that overlap by more, the weaker one goes, whatever their labels.
        nms_iou: f32,
    },
    Classifier {
        activation: Activation,
        /// Labels that are never reported, such as the one that says "nothing here".
        ignore: Vec<Arc<str>>,
        score_floor: f32,
    },
}

/// Where a threshold policy starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    pub default: f32,
    pub labels: BTreeMap<String, f32>,
}

impl Thresholds {
    pub fn base(&self, label: &str) -> f32 {
        self.labels.get(label).copied().unwrap_or(self.default)
    }

    /// One base for every label, as an operator sets it.
    pub fn set_base(&mut self, base: f32) {
        (self.default, self.labels) = (base, BTreeMap::new());
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    pub name: Arc<str>,
    pub about: String,
    /// SPDX, of the weights.
    pub licence: String,
    pub weights: Weights,
    /// Lower-case hexadecimal; must be given for an asset.
    pub sha256: Option<String>,
    pub labels: Labels,
    pub input: InputSpec,
    pub decode: Decode,
    pub thresholds: Thresholds,
    /// See [`super::Detector::look_budget`].
    pub look_budget: Duration,
}

impl ModelSpec {
    /// `file` names the declaration in faults; a relative `path` in it is taken from that file's directory.
    ///
    /// # Errors
    /// Every fault found, at least one.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Vec<Fault>> {
        let shown = file.display().to_string();
        let table = match text.parse::<Table>() {
            Ok(table) => table,
            Err(error) => return Err(vec![Fault { file: shown, key: String::new(), what: error.to_string().trim_end().to_owned() }]),
        };
        let mut faults = Faults { file: shown, found: Vec::new() };
        let spec = read_spec(file, table, &mut faults);
        match spec {
            Some(spec) if faults.found.is_empty() => Ok(spec),
            _ => Err(faults.found),
        }
    }
}

struct Faults {
    file: String,
    found: Vec<Fault>,
}

impl Faults {
    fn add(&mut self, key: impl Into<String>, what: impl Into<String>) {
        self.found.push(Fault { file: self.file.clone(), key: key.into(), what: what.into() });
    }
}

/// Takes keys out of a table; what is left over at the end was not known.
struct Keys<'a> {
    prefix: &'static str,
    table: Table,
    faults: &'a mut Faults,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }

    fn fault(&mut self, name: &str, what: impl Into<String>) {
        let key = self.key(name);
        self.faults.add(key, what);
    }

    /// `None` and a fault when the key is missing, or `read` does not accept it.
    fn take<T>(&mut self, name: &str, expected: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let Some(value) = self.table.remove(name) else {
            self.fault(name, format!("is missing; expected {expected}"));
            return None;
        };
        let taken = read(&value);
        if taken.is_none() {
            self.fault(name, format!("is {value}; expected {expected}"));
        }
        taken
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.take(name, "a text that is not empty", |value| value.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned))
    }

    fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let expected = format!("one of {}", choices.iter().map(|(text, _)| format!("\"{text}\"")).collect::<Vec<_>>().join(", "));
        self.take(name, &expected, |value| choices.iter().find(|(text, _)| value.as_str() == Some(text)).map(|(_, choice)| *choice))
    }

    fn whole(&mut self, name: &str, range: std::ops::RangeInclusive<usize>) -> Option<usize> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.take(name, &expected, |value| value.as_integer().and_then(|n| usize::try_from(n).ok()).filter(|n| range.contains(n)))
    }

    fn share(&mut self, name: &str) -> Option<f32> {
        self.take(name, "a number from 0 to 1", share)
    }

    fn triple(&mut self, name: &str) -> Option<[f32; 3]> {
        self.take(name, "three numbers, in the order of `colour`", |value| {
            let numbers = value.as_array()?.iter().map(number).collect::<Option<Vec<_>>>()?;
            <[f32; 3]>::try_from(numbers).ok()
        })
    }

    fn texts(&mut self, name: &str) -> Option<Vec<Arc<str>>> {
        self.take(name, "a list of texts", texts)
    }

    fn section(&mut self, name: &'static str) -> Option<Keys<'_>> {
        let table = self.take(name, "a section", |value| value.as_table().cloned())?;
        Some(Keys { prefix: name, table, faults: self.faults })
    }

    fn finish(self) {
        for (name, _) in &self.table {
            let key = self.key(name);
            self.faults.add(key, "is not known here");
        }
    }
}

fn number(value: &Value) -> Option<f32> {
    let number = value.as_float().or_else(|| value.as_integer().map(|n| n as f64))?;
    number.is_finite().then_some(number as f32)
}

fn share(value: &Value) -> Option<f32> {
    number(value).filter(|share| (0.0..=1.0).contains(share))
}

fn texts(value: &Value) -> Option<Vec<Arc<str>>> {
    value.as_array()?.iter().map(|text| text.as_str().map(Arc::from)).collect()
}

fn read_spec(file: &Path, table: Table, faults: &mut Faults) -> Option<ModelSpec> {
    let mut keys = Keys { prefix: "", table, faults };
    let name = keys.text("name");
    let kind = keys.choice("kind", &[("yolo", "yolo"), ("classifier", "classifier")]);
    let about = keys.text("about");
    let licence = keys.text("licence");
    let labels = keys.take("labels", "\"metadata\" or a list of texts", |value| match value.as_str() {
        Some("metadata") => Some(Labels::Metadata),
        Some(_) => None,
        None => texts(value).filter(|list| !list.is_empty()).map(Labels::List),
    });
    // A minute is far beyond any live delay; the bound catches seconds written as microseconds.
    let look_budget = keys.whole("look_budget_ms", 1..=60_000).map(|ms| Duration::from_millis(ms as u64));
    let weights = read_weights(file, &mut keys);
    let sha256 = read_sha256(&mut keys);
    let input = keys.section("input").and_then(read_input);
    let decode = match kind {
        Some("yolo") => keys.section("yolo").and_then(read_yolo),
        Some(_) => keys.section("classifier").and_then(read_classifier),
        None => {
            // Which of the two belongs here is not known, so neither is called unknown.
            keys.table.remove("yolo");
            keys.table.remove("classifier");
            None
        }
    };
    let thresholds = keys.section("thresholds").and_then(read_thresholds);
    keys.finish();
    if let (Some(Labels::List(labels)), Some(Decode::Classifier { ignore, .. })) = (&labels, &decode) {
        for label in ignore.iter().filter(|label| !labels.contains(label)) {
            faults.add("classifier.ignore", format!("\"{label}\" is not one of the labels"));
        }
    }
    if let (Some(Labels::List(labels)), Some(thresholds)) = (&labels, &thresholds) {
        for label in thresholds.labels.keys().filter(|label| !labels.iter().any(|known| **known == ***label)) {
            faults.add(format!("thresholds.{label}"), "is not one of the labels");
        }
    }
    Some(ModelSpec {
        name: name?.into(),
        about: about?,
        licence: licence?,
        weights: weights?,
        sha256: sha256?,
        labels: labels?,
        input: input?,
        decode: decode?,
        thresholds: thresholds?,
        look_budget: look_budget?,
    })
}

fn read_weights(file: &Path, keys: &mut Keys<'_>) -> Option<Weights> {
    match (keys.table.contains_key("asset"), keys.table.contains_key("path")) {
        (true, false) => {
            if !keys.table.contains_key("sha256") {
                keys.fault("sha256", "is missing; an asset must be checked");
            }
            keys.text("asset").map(Weights::Asset)
        }
        (false, true) => keys.text("path").map(|path| Weights::Path(file.parent().unwrap_or(Path::new("")).join(path))),
        (both, _) => {
            keys.table.remove("asset");
            keys.table.remove("path");
            keys.fault(
                "path",
                if both { "and `asset` are both given; leave one out" } else { "is missing; expected the ONNX file's path" },
            );
            None
        }
    }
}

/// Outer `None`: there was a fault.
fn read_sha256(keys: &mut Keys<'_>) -> Option<Option<String>> {
    if !keys.table.contains_key("sha256") {
        return Some(None);
    }
    keys.take("sha256", "64 hexadecimal digits", |value| {
        value.as_str().filter(|text| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())).map(str::to_ascii_lowercase)
    })
    .map(Some)
}

fn read_input(mut keys: Keys<'_>) -> Option<InputSpec> {
    // Networks beyond 4096 px a side do not answer within any live delay.
    const SIDE: std::ops::RangeInclusive<usize> = 8..=4096;
    let size = keys.whole("size", SIDE);
    let fit = match keys.choice("fit", &[("aspect", "aspect"), ("square", "square"), ("crop", "crop")]) {
        Some("aspect") => keys.whole("stride", 1..=512).map(|stride| Fit::Aspect { stride }),
        Some("square") => {
            // Allowed, so that `fit` alone can be changed between the two letterboxes.
            keys.table.remove("stride");
            Some(Fit::Square)
        }
        Some(_) => keys.whole("resize", SIDE).map(|resize| Fit::Crop { resize }),
        None => {
            keys.table.remove("stride");
            keys.table.remove("resize");
            None
        }
    };
    match (fit, size) {
        (Some(Fit::Aspect { stride }), Some(size)) if size % stride != 0 => {
            keys.fault("size", format!("is {size}; expected a multiple of `stride` ({stride})"));
        }
        (Some(Fit::Crop { resize }), Some(size)) if resize < size => {
            keys.fault("resize", format!("is {resize}; expected at least `size` ({size})"));
        }
        _ => {}
    }
    let filter = keys.choice("filter", &[("bilinear", Filter::Bilinear), ("antialias", Filter::Antialias)]);
    let layout = keys.choice("layout", &[("nchw", Layout::Nchw), ("nhwc", Layout::Nhwc)]);
    let colour = keys.choice("colour", &[("rgb", Colour::Rgb), ("bgr", Colour::Bgr)]);
    let mean = keys.triple("mean");
    let scale = keys.triple("scale");
    keys.finish();
    Some(InputSpec { fit: fit?, size: size?, filter: filter?, layout: layout?, colour: colour?, mean: mean?, scale: scale? })
}

fn read_yolo(mut keys: Keys<'_>) -> Option<Decode> {
    let head = keys.choice("head", &[("v8", Head::V8), ("v5", Head::V5)]);
    let score_floor = keys.share("score_floor");
    let nms_iou = keys.share("nms_iou");
    keys.finish();
    Some(Decode::Yolo { head: head?, score_floor: score_floor?, nms_iou: nms_iou? })
}

fn read_classifier(mut keys: Keys<'_>) -> Option<Decode> {
    let activation =
        keys.choice("activation", &[("none", Activation::None), ("softmax", Activation::Softmax), ("sigmoid", Activation::Sigmoid)]);
    let ignore = keys.texts("ignore");
    let score_floor = keys.share("score_floor");
    keys.finish();
    Some(Decode::Classifier { activation: activation?, ignore: ignore?, score_floor: score_floor? })
}

fn read_thresholds(mut keys: Keys<'_>) -> Option<Thresholds> {
    let default = keys.share("default");
    let mut labels = BTreeMap::new();
    for (label, value) in std::mem::take(&mut keys.table) {
        match share(&value) {
            Some(threshold) => _ = labels.insert(label, threshold),
            None => keys.fault(&label, format!("is {value}; expected a number from 0 to 1")),
        }
    }
    Some(Thresholds { default: default?, labels })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../../models/nudenet-320n.toml");

    fn faults(text: &str) -> Vec<String> {
        ModelSpec::parse(Path::new("m.toml"), text).unwrap_err().iter().map(Fault::to_string).collect()
    }

    #[test]
    fn every_fault_is_reported_with_file_and_key() {
        let text = GOOD
            .replace("kind = \"yolo\"", "kind = \"yoda\"")
            .replace("size = 320", "size = \"big\"")
            .replace("colour = \"bgr\"", "color = \"bgr\"")
            .replace("default = 0.25", "default = 4");
        let found = faults(&text);
        for expected in [
            "m.toml: kind: ",
            "m.toml: input.size: ",
            "m.toml: input.colour: is missing",
            "m.toml: input.color: is not known here",
            "m.toml: thresholds.default: ",
        ] {
            assert!(found.iter().any(|fault| fault.starts_with(expected)), "no {expected:?} in {found:#?}");
        }
        assert_eq!(found.len(), 5, "{found:#?}");
    }

    #[test]
    fn text_that_is_no_toml_is_one_fault() {
        assert_eq!(faults("name = ").len(), 1);
    }

    #[test]
    fn weights_come_from_one_place_and_assets_are_checked() {
        assert!(faults(&GOOD.replace("asset = ", "path = \"x.onnx\"\nasset = "))[0].contains("both given"));
        assert!(faults(&GOOD.replace("asset = \"nudenet-320n\"", ""))[0].contains("path: is missing"));
        let unchecked: String = GOOD.lines().filter(|line| !line.starts_with("sha256")).map(|line| format!("{line}\n")).collect();
        assert!(faults(&unchecked)[0].contains("sha256"));
    }

    #[test]
    fn a_users_own_path_is_taken_from_the_declarations_directory() {
        let text = GOOD.replace("asset = \"nudenet-320n\"", "path = \"mine.onnx\"");
        let spec = ModelSpec::parse(Path::new("/etc/scrim/models/m.toml"), &text).unwrap();
        assert_eq!(spec.weights, Weights::Path("/etc/scrim/models/mine.onnx".into()));
    }

    #[test]
    fn sizes_that_cannot_work_together_are_refused() {
        assert!(faults(&GOOD.replace("stride = 32", "stride = 33"))[0].contains("multiple of `stride`"));
        let nsfw = include_str!("../../../models/opennsfw.toml");
        assert!(faults(&nsfw.replace("resize = 256", "resize = 100"))[0].contains("at least `size`"));
        assert!(faults(&nsfw.replace("ignore = [\"SFW\"]", "ignore = [\"SAFE\"]"))[0].contains("classifier.ignore"));
    }

    #[test]
    fn thresholds_are_per_label_with_a_default() {
        let spec = ModelSpec::parse(Path::new("m.toml"), &format!("{GOOD}FACE_MALE = 0.5\n")).unwrap();
        assert_eq!((spec.thresholds.base("FACE_MALE"), spec.thresholds.base("FACE_FEMALE")), (0.5, 0.25));
    }
}
