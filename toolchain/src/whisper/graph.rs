//! A graph under construction: nodes in the order in which they run, and the tensors they use.

use super::onnx::{self, Attribute, Element, Message, Side};

/// The first with `Gelu`, which Whisper's layers end in.
const OPERATORS: u64 = 20;
/// Of the file format, for those operators.
const FORMAT: u64 = 9;
/// ONNX Runtime's own operators.
const RUNTIME_DOMAIN: &str = "com.microsoft";

/// What a node gives, by name.
pub type Value = String;

/// See the module.
#[derive(Debug, Default)]
pub struct Graph {
    parts: Message,
    made: usize,
}

impl Graph {
    fn part(&mut self, field: u64, message: &Message) {
        self.parts = std::mem::take(&mut self.parts).message(field, message);
    }

    fn fresh(&mut self, what: &str) -> Value {
        self.made += 1;
        format!("{what}_{}", self.made)
    }

    pub fn input(&mut self, name: &str, element: Element, shape: &[Side]) -> Value {
        self.part(11, &onnx::value(name, element, shape));
        name.to_owned()
    }

    /// Gives a value out under this name.
    pub fn output(&mut self, name: &str, value: &str, shape: &[Side]) {
        self.part(1, &Message::default().text(1, value).text(2, name).text(4, "Identity"));
        self.part(12, &onnx::value(name, Element::F32, shape));
    }

    pub fn floats(&mut self, shape: &[usize], values: &[f32]) -> Value {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let name = self.fresh("weight");
        self.part(5, &onnx::tensor(&name, Element::F32, shape, &raw));
        name
    }

    pub fn bytes(&mut self, shape: &[usize], values: &[u8]) -> Value {
        let name = self.fresh("weight");
        self.part(5, &onnx::tensor(&name, Element::U8, shape, values));
        name
    }

    pub fn float(&mut self, value: f32) -> Value {
        self.floats(&[], &[value])
    }

    /// A list of integers.
    pub fn integers(&mut self, values: &[i64]) -> Value {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let name = self.fresh("list");
        self.part(5, &onnx::tensor(&name, Element::I64, &[values.len()], &raw));
        name
    }

    /// A single integer.
    pub fn integer(&mut self, value: i64) -> Value {
        let name = self.fresh("number");
        self.part(5, &onnx::tensor(&name, Element::I64, &[], &value.to_le_bytes()));
        name
    }

    /// A node with one output.
    pub fn node(&mut self, operator: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> Value {
        let outputs = self.nodes(operator, inputs, attributes, 1);
        outputs.into_iter().next().unwrap_or_default()
    }

    /// A node with several.
    pub fn nodes(&mut self, operator: &str, inputs: &[&str], attributes: &[(&str, Attribute)], outputs: usize) -> Vec<Value> {
        self.write_node(operator, "", inputs, attributes, outputs)
    }

    /// A node of ONNX Runtime's own.
    pub fn runtime_node(&mut self, operator: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> Value {
        self.write_node(operator, RUNTIME_DOMAIN, inputs, attributes, 1).into_iter().next().unwrap_or_default()
    }

    fn write_node(
        &mut self,
        operator: &str,
        domain: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
        outputs: usize,
    ) -> Vec<Value> {
        let outputs: Vec<Value> = (0..outputs).map(|_| self.fresh(operator)).collect();
        let node = inputs.iter().fold(Message::default(), |node, input| node.text(1, input));
        let node = outputs.iter().fold(node, |node, output| node.text(2, output)).text(4, operator);
        let node = attributes.iter().fold(node, |node, (name, value)| node.message(5, &onnx::attribute(name, *value)));
        let node = if domain.is_empty() { node } else { node.text(7, domain) };
        self.part(1, &node);
        outputs
    }

    /// The bytes of the file.
    pub fn finish(self, name: &str) -> Vec<u8> {
        let set = |domain: &str, version| Message::default().text(1, domain).integer(2, version);
        let graph = self.parts.text(2, name);
        let model = Message::default().integer(1, FORMAT).text(2, "scrim").message(7, &graph);
        model.message(8, &set("", OPERATORS)).message(8, &set(RUNTIME_DOMAIN, 1)).finish()
    }
}
