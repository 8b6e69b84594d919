//! What encoder and decoder are made of.

use super::ctranslate2::Weights;
use super::graph::{Graph, Value};
use super::onnx::Attribute;
use super::{HEADS, WIDTH};

/// What is added to a variance before its root is taken.
const EPSILON: f32 = 1e-5;

/// A matrix as it is to be multiplied from the right, `[inputs, outputs]`, with what is added.
pub struct Linear<'a> {
    pub inputs: usize,
    pub outputs: usize,
    /// `[outputs, inputs]`.
    pub weight: &'a [f32],
    pub bias: &'a [f32],
}

impl<'a> Linear<'a> {
    pub fn read(weights: &'a Weights, name: &str, inputs: usize, outputs: usize) -> Result<Self, String> {
        Ok(Self {
            inputs,
            outputs,
            weight: weights.get(&format!("{name}/weight"), &[outputs, inputs])?,
            bias: weights.get(&format!("{name}/bias"), &[outputs])?,
        })
    }

    /// The outputs from the given third (or half) of them: matrices that CTranslate2 has put together.
    pub fn part(&self, number: usize, of: usize) -> Self {
        let outputs = self.outputs / of;
        let weight = &self.weight[number * outputs * self.inputs..][..outputs * self.inputs];
        Self { inputs: self.inputs, outputs, weight, bias: &self.bias[number * outputs..][..outputs] }
    }

    pub fn apply(&self, graph: &mut Graph, x: &str) -> Value {
        self.scaled(graph, x, 1.0)
    }

    pub fn scaled(&self, graph: &mut Graph, x: &str, scale: f32) -> Value {
        let transposed: Vec<f32> = (0..self.inputs)
            .flat_map(|input| (0..self.outputs).map(move |output| self.weight[output * self.inputs + input] * scale))
            .collect();
        let weight = graph.floats(&[self.inputs, self.outputs], &transposed);
        let product = graph.node("MatMul", &[x, &weight], &[]);
        let bias: Vec<f32> = self.bias.iter().map(|value| value * scale).collect();
        let bias = graph.floats(&[self.outputs], &bias);
        graph.node("Add", &[&product, &bias], &[])
    }
}

/// Numbers that share a scale.
const BLOCK: usize = 32;

/// `x` times the rows of `weight`, `[rows, columns]`, which are kept in 8 bits: a decoder's step takes as long as its weights take to be read. Each
/// [`BLOCK`] of numbers has a scale of its own, so that the largest of it is ±127; 128 stands for 0 (`MatMulNBits` in ONNX Runtime's
/// `ContribOperators.md`).
pub fn eight_bits(graph: &mut Graph, x: &str, rows: usize, columns: usize, weight: &[f32]) -> Value {
    let mut scales = Vec::with_capacity(weight.len() / BLOCK);
    let mut bytes = Vec::with_capacity(weight.len());
    for block in weight.chunks(BLOCK) {
        let scale = block.iter().fold(0.0, |most: f32, value| most.max(value.abs())) / 127.0;
        scales.push(scale);
        bytes.extend(block.iter().map(|value| if scale > 0.0 { (value / scale).round() as i32 + 128 } else { 128 } as u8));
    }
    let weight = graph.bytes(&[rows, columns / BLOCK, BLOCK], &bytes);
    let scales = graph.floats(&[rows, columns / BLOCK], &scales);
    let attributes = [
        ("K", Attribute::Integer(columns as i64)),
        ("N", Attribute::Integer(rows as i64)),
        ("bits", Attribute::Integer(8)),
        ("block_size", Attribute::Integer(BLOCK as i64)),
        // What is multiplied is brought to 8 bits too.
        ("accuracy_level", Attribute::Integer(4)),
    ];
    graph.runtime_node("MatMulNBits", &[x, &weight, &scales], &attributes)
}

pub fn norm(graph: &mut Graph, weights: &Weights, name: &str, x: &str) -> Result<Value, String> {
    let scale = graph.floats(&[WIDTH], weights.get(&format!("{name}/gamma"), &[WIDTH])?);
    let bias = graph.floats(&[WIDTH], weights.get(&format!("{name}/beta"), &[WIDTH])?);
    Ok(graph.node("LayerNormalization", &[x, &scale, &bias], &[("axis", Attribute::Integer(-1)), ("epsilon", Attribute::Float(EPSILON))]))
}

/// `x` with what the layer's two matrices make of it added.
pub fn feed_forward(graph: &mut Graph, weights: &Weights, layer: &str, x: &str) -> Result<Value, String> {
    let normal = norm(graph, weights, &format!("{layer}/ffn/layer_norm"), x)?;
    let wide = Linear::read(weights, &format!("{layer}/ffn/linear_0"), WIDTH, 4 * WIDTH)?.apply(graph, &normal);
    let wide = graph.node("Gelu", &[&wide], &[]);
    let narrow = Linear::read(weights, &format!("{layer}/ffn/linear_1"), 4 * WIDTH, WIDTH)?.apply(graph, &wide);
    Ok(graph.node("Add", &[x, &narrow], &[]))
}

/// `[1, n, WIDTH]` to `[1, HEADS, n, WIDTH / HEADS]`.
pub fn to_heads(graph: &mut Graph, x: &str) -> Value {
    let shape = graph.integers(&[0, 0, HEADS as i64, (WIDTH / HEADS) as i64]);
    let apart = graph.node("Reshape", &[x, &shape], &[]);
    graph.node("Transpose", &[&apart], &[("perm", Attribute::Integers(&[0, 2, 1, 3]))])
}

/// What the queries get of the values, as `[1, n, WIDTH]`, and how much of each: `[1, HEADS, n, m]`. Queries are scaled already.
pub fn attention(graph: &mut Graph, queries: &str, keys: &str, values: &str, mask: Option<&str>) -> (Value, Value) {
    let keys = graph.node("Transpose", &[keys], &[("perm", Attribute::Integers(&[0, 1, 3, 2]))]);
    let scores = graph.node("MatMul", &[queries, &keys], &[]);
    let scores = match mask {
        Some(mask) => graph.node("Add", &[&scores, mask], &[]),
        None => scores,
    };
    let shares = graph.node("Softmax", &[&scores], &[("axis", Attribute::Integer(-1))]);
    let mixed = graph.node("MatMul", &[&shares, values], &[]);
    let together = graph.node("Transpose", &[&mixed], &[("perm", Attribute::Integers(&[0, 2, 1, 3]))]);
    let shape = graph.integers(&[0, 0, WIDTH as i64]);
    (graph.node("Reshape", &[&together, &shape], &[]), shares)
}

/// What queries are multiplied by: 1 / √(numbers of a head).
pub fn query_scale() -> f32 {
    1.0 / ((WIDTH / HEADS) as f32).sqrt()
}
