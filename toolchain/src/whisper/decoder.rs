//! The decoder: `input_ids` `[1, n]`, what it knows of the tokens before them (`past_key_values.{layer}.decoder.{key, value}`, `[1, HEADS, past,
//! WIDTH / HEADS]`) and of the sound (`past_key_values.{layer}.encoder.{key, value}`), to `logits` `[1, n, tokens]`, the past with the new
//! tokens (`present.{layer}.decoder.{key, value}`), and `cross_attentions` `[alignment heads, n, positions]`.

use super::ctranslate2::Weights;
use super::graph::{Graph, Value};
use super::layers::{Linear, attention, eight_bits, feed_forward, norm, query_scale, to_heads};
use super::onnx::{Attribute, Element, Side};
use super::{ALIGNMENT_HEADS, HEADS, LAYERS, WIDTH};

/// What is added to a score of a token that lies later: it comes to nothing.
const LATER: f32 = -1e9;

pub fn graph(weights: &Weights) -> Result<Vec<u8>, String> {
    let mut graph = Graph::default();
    let tokens = weights.rows("decoder/embeddings/weight", WIDTH)?;
    let table = weights.get("decoder/embeddings/weight", &[tokens, WIDTH])?;
    let embeddings = graph.floats(&[tokens, WIDTH], table);
    let ids = graph.input("input_ids", Element::I64, &[Side::Of(1), Side::Any("n")]);
    let mut x = graph.node("Gather", &[&embeddings, &ids], &[]);
    let mut seen = Vec::new();
    let mut mask = None;
    for layer in 0..LAYERS {
        let [key, value] = ["key", "value"].map(|what| past(&mut graph, layer, "decoder", what));
        if layer == 0 {
            let placed = Placed::new(&mut graph, weights, &ids, &key, &x)?;
            (x, mask) = (placed.x, Some(placed.mask));
        }
        let name = format!("decoder/layer_{layer}");
        x = self_attention(&mut graph, weights, layer, &x, &[key, value], mask.as_deref())?;
        let cross = [past(&mut graph, layer, "encoder", "key"), past(&mut graph, layer, "encoder", "value")];
        let (with, shares) = cross_attention(&mut graph, weights, &name, &x, &cross)?;
        seen.push(shares);
        x = feed_forward(&mut graph, weights, &name, &with)?;
    }
    let x = norm(&mut graph, weights, "decoder/layer_norm", &x)?;
    logits(&mut graph, &x, table, tokens);
    alignment(&mut graph, &seen);
    Ok(graph.finish("whisper-decoder"))
}

fn past(graph: &mut Graph, layer: usize, of: &str, what: &str) -> Value {
    let length = if of == "decoder" { "past" } else { "positions" };
    let shape = [Side::Of(1), Side::Of(HEADS), Side::Any(length), Side::Of(WIDTH / HEADS)];
    graph.input(&format!("past_key_values.{layer}.{of}.{what}"), Element::F32, &shape)
}

/// The tokens with their positions, and which of them each may look at.
struct Placed {
    x: Value,
    mask: Value,
}

impl Placed {
    fn new(graph: &mut Graph, weights: &Weights, ids: &str, key: &str, x: &str) -> Result<Self, String> {
        let name = "decoder/position_encodings/encodings";
        let rows = weights.rows(name, WIDTH)?;
        let table = graph.floats(&[rows, WIDTH], weights.get(name, &[rows, WIDTH])?);
        let past = graph.node("Shape", &[key], &[("start", Attribute::Integer(2)), ("end", Attribute::Integer(3))]);
        let new = graph.node("Shape", &[ids], &[("start", Attribute::Integer(1)), ("end", Attribute::Integer(2))]);
        let all = graph.node("Add", &[&past, &new], &[]);
        let first_axis = graph.integers(&[0]);
        let table = graph.node("Slice", &[&table, &past, &all, &first_axis], &[]);
        let x = graph.node("Add", &[x, &table], &[]);
        let [past, all] = [&past, &all].map(|list| graph.node("Squeeze", &[list], &[]));
        let (zero, one, last_axis) = (graph.integer(0), graph.integer(1), graph.integers(&[1]));
        let rows = graph.node("Range", &[&past, &all, &one], &[]);
        let rows = graph.node("Unsqueeze", &[&rows, &last_axis], &[]);
        let columns = graph.node("Range", &[&zero, &all, &one], &[]);
        let seen = graph.node("LessOrEqual", &[&columns, &rows], &[]);
        let (nothing, later) = (graph.float(0.0), graph.float(LATER));
        Ok(Self { x, mask: graph.node("Where", &[&seen, &nothing, &later], &[]) })
    }
}

fn self_attention(
    graph: &mut Graph,
    weights: &Weights,
    layer: usize,
    x: &str,
    past: &[Value; 2],
    mask: Option<&str>,
) -> Result<Value, String> {
    let name = format!("decoder/layer_{layer}/self_attention");
    let normal = norm(graph, weights, &format!("{name}/layer_norm"), x)?;
    let all = Linear::read(weights, &format!("{name}/linear_0"), WIDTH, 3 * WIDTH)?;
    let queries = all.part(0, 3).scaled(graph, &normal, query_scale());
    let queries = to_heads(graph, &queries);
    let mut present = Vec::new();
    for (number, what) in ["key", "value"].into_iter().enumerate() {
        let new = all.part(number + 1, 3).apply(graph, &normal);
        let new = to_heads(graph, &new);
        let both = graph.node("Concat", &[&past[number], &new], &[("axis", Attribute::Integer(2))]);
        let shape = [Side::Of(1), Side::Of(HEADS), Side::Any("all"), Side::Of(WIDTH / HEADS)];
        graph.output(&format!("present.{layer}.decoder.{what}"), &both, &shape);
        present.push(both);
    }
    let (mixed, _) = attention(graph, &queries, &present[0], &present[1], mask);
    let out = Linear::read(weights, &format!("{name}/linear_1"), WIDTH, WIDTH)?.apply(graph, &mixed);
    Ok(graph.node("Add", &[x, &out], &[]))
}

/// Also answers with what each head looked at.
fn cross_attention(graph: &mut Graph, weights: &Weights, layer: &str, x: &str, sound: &[Value; 2]) -> Result<(Value, Value), String> {
    let name = format!("{layer}/attention");
    let normal = norm(graph, weights, &format!("{name}/layer_norm"), x)?;
    let queries = Linear::read(weights, &format!("{name}/linear_0"), WIDTH, WIDTH)?.scaled(graph, &normal, query_scale());
    let queries = to_heads(graph, &queries);
    let (mixed, shares) = attention(graph, &queries, &sound[0], &sound[1], None);
    let out = Linear::read(weights, &format!("{name}/linear_2"), WIDTH, WIDTH)?.apply(graph, &mixed);
    Ok((graph.node("Add", &[x, &out], &[]), shares))
}

/// A token is as likely as what comes out is like it.
fn logits(graph: &mut Graph, x: &str, embeddings: &[f32], tokens: usize) {
    let logits = eight_bits(graph, x, tokens, WIDTH, embeddings);
    graph.output("logits", &logits, &[Side::Of(1), Side::Any("n"), Side::Of(tokens)]);
}

fn alignment(graph: &mut Graph, seen: &[Value]) {
    let first_axis = graph.integers(&[0]);
    let mut chosen = Vec::new();
    for (layer, shares) in seen.iter().enumerate() {
        let heads: Vec<i64> = ALIGNMENT_HEADS.iter().filter(|(of, _)| *of == layer).map(|(_, head)| *head as i64).collect();
        if !heads.is_empty() {
            let heads = graph.integers(&heads);
            let shares = graph.node("Squeeze", &[shares, &first_axis], &[]);
            chosen.push(graph.node("Gather", &[&shares, &heads], &[("axis", Attribute::Integer(0))]));
        }
    }
    let chosen: Vec<&str> = chosen.iter().map(String::as_str).collect();
    let all = graph.node("Concat", &chosen, &[("axis", Attribute::Integer(0))]);
    graph.output("cross_attentions", &all, &[Side::Of(ALIGNMENT_HEADS.len()), Side::Any("n"), Side::Any("positions")]);
}
