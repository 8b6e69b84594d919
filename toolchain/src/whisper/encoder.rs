//! The encoder: `input_features` `[1, 80, frames]` to the keys and values of the decoder's layers, `present.{layer}.encoder.{key, value}`
//! `[1, HEADS, frames / 2, WIDTH / HEADS]`.

use super::ctranslate2::Weights;
use super::graph::{Graph, Value};
use super::layers::{Linear, attention, feed_forward, norm, query_scale, to_heads};
use super::onnx::{Attribute, Element, Side};
use super::{HEADS, LAYERS, WIDTH};

/// Bands of the mel spectrogram.
const MELS: usize = 80;

pub fn graph(weights: &Weights) -> Result<Vec<u8>, String> {
    let mut graph = Graph::default();
    let mel = graph.input("input_features", Element::F32, &[Side::Of(1), Side::Of(MELS), Side::Any("frames")]);
    let x = convolution(&mut graph, weights, 1, MELS, &mel)?;
    let x = convolution(&mut graph, weights, 2, WIDTH, &x)?;
    let x = graph.node("Transpose", &[&x], &[("perm", Attribute::Integers(&[0, 2, 1]))]);
    let mut x = place(&mut graph, weights, &x)?;
    for layer in 0..LAYERS {
        x = self::layer(&mut graph, weights, &format!("encoder/layer_{layer}"), &x)?;
    }
    let x = norm(&mut graph, weights, "encoder/layer_norm", &x)?;
    for layer in 0..LAYERS {
        let both = Linear::read(weights, &format!("decoder/layer_{layer}/attention/linear_1"), WIDTH, 2 * WIDTH)?;
        for (number, what) in ["key", "value"].into_iter().enumerate() {
            let projected = both.part(number, 2).apply(&mut graph, &x);
            let heads = to_heads(&mut graph, &projected);
            let shape = [Side::Of(1), Side::Of(HEADS), Side::Any("positions"), Side::Of(WIDTH / HEADS)];
            graph.output(&format!("present.{layer}.encoder.{what}"), &heads, &shape);
        }
    }
    Ok(graph.finish("whisper-encoder"))
}

/// Over three frames; the second halves their number.
fn convolution(graph: &mut Graph, weights: &Weights, number: i64, inputs: usize, x: &str) -> Result<Value, String> {
    let shape = [WIDTH, inputs, 3];
    let weight = graph.floats(&shape, weights.get(&format!("encoder/conv{number}/weight"), &shape)?);
    let bias = graph.floats(&[WIDTH], weights.get(&format!("encoder/conv{number}/bias"), &[WIDTH])?);
    let attributes =
        [("kernel_shape", Attribute::Integers(&[3])), ("pads", Attribute::Integers(&[1, 1])), ("strides", Attribute::Integers(&[number]))];
    let x = graph.node("Conv", &[x, &weight, &bias], &attributes);
    Ok(graph.node("Gelu", &[&x], &[]))
}

/// Adds as much of the position table as there are positions.
fn place(graph: &mut Graph, weights: &Weights, x: &str) -> Result<Value, String> {
    let name = "encoder/position_encodings/encodings";
    let rows = weights.rows(name, WIDTH)?;
    let table = graph.floats(&[rows, WIDTH], weights.get(name, &[rows, WIDTH])?);
    let length = graph.node("Shape", &[x], &[("start", Attribute::Integer(1)), ("end", Attribute::Integer(2))]);
    let zero = graph.integers(&[0]);
    let table = graph.node("Slice", &[&table, &zero, &length, &zero], &[]);
    Ok(graph.node("Add", &[x, &table], &[]))
}

fn layer(graph: &mut Graph, weights: &Weights, name: &str, x: &str) -> Result<Value, String> {
    let normal = norm(graph, weights, &format!("{name}/self_attention/layer_norm"), x)?;
    let all = Linear::read(weights, &format!("{name}/self_attention/linear_0"), WIDTH, 3 * WIDTH)?;
    let queries = all.part(0, 3).scaled(graph, &normal, query_scale());
    let (keys, values) = (all.part(1, 3).apply(graph, &normal), all.part(2, 3).apply(graph, &normal));
    let [queries, keys, values] = [queries, keys, values].map(|x| to_heads(graph, &x));
    let (mixed, _) = attention(graph, &queries, &keys, &values, None);
    let out = Linear::read(weights, &format!("{name}/self_attention/linear_1"), WIDTH, WIDTH)?.apply(graph, &mixed);
    let x = graph.node("Add", &[x, &out], &[]);
    feed_forward(graph, weights, name, &x)
}
