//! As much of ONNX's protocol-buffer format as is written here (`onnx/onnx.proto3`, whose field numbers these are).

/// A message under construction.
#[derive(Clone, Debug, Default)]
pub struct Message(Vec<u8>);

impl Message {
    pub fn integer(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    pub fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    pub fn message(self, field: u64, message: &Message) -> Self {
        self.bytes(field, &message.0)
    }

    pub fn float(mut self, field: u64, value: f32) -> Self {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// Of the numbers in a tensor (`TensorProto.DataType`).
#[derive(Clone, Copy, Debug)]
pub enum Element {
    F32 = 1,
    U8 = 2,
    I64 = 7,
}

pub fn tensor(name: &str, element: Element, shape: &[usize], raw: &[u8]) -> Message {
    let dimensions = shape.iter().fold(Message::default(), |message, side| message.integer(1, *side as u64));
    Message(dimensions.0).integer(2, element as u64).text(8, name).bytes(9, raw)
}

/// One side of a shape: known, or called something.
#[derive(Clone, Copy, Debug)]
pub enum Side<'a> {
    Of(usize),
    Any(&'a str),
}

/// An input or output.
pub fn value(name: &str, element: Element, shape: &[Side]) -> Message {
    let shape = shape.iter().fold(Message::default(), |message, side| {
        let side = match side {
            Side::Of(length) => Message::default().integer(1, *length as u64),
            Side::Any(name) => Message::default().text(2, name),
        };
        message.message(1, &side)
    });
    let tensor = Message::default().integer(1, element as u64).message(2, &shape);
    Message::default().text(1, name).message(2, &Message::default().message(1, &tensor))
}

/// What a node's attribute is.
#[derive(Clone, Copy, Debug)]
pub enum Attribute<'a> {
    Integer(i64),
    Integers(&'a [i64]),
    Float(f32),
}

pub fn attribute(name: &str, attribute: Attribute) -> Message {
    let message = Message::default().text(1, name);
    match attribute {
        Attribute::Float(value) => message.float(2, value).integer(20, 1),
        Attribute::Integer(value) => message.integer(3, value.cast_unsigned()).integer(20, 2),
        Attribute::Integers(values) => {
            values.iter().fold(message, |message, value| message.integer(8, value.cast_unsigned())).integer(20, 7)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_the_encoding_has_them() {
        // The examples of protobuf.dev's "Encoding".
        assert_eq!(Message::default().integer(1, 150).finish(), [0x08, 0x96, 0x01]);
        assert_eq!(Message::default().text(2, "testing").finish(), [0x12, 7, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67]);
        let inner = Message::default().integer(1, 150);
        assert_eq!(Message::default().message(3, &inner).finish(), [0x1a, 3, 0x08, 0x96, 0x01]);
        assert_eq!(Message::default().float(2, 1.0).finish(), [0x15, 0, 0, 0x80, 0x3f]);
        assert_eq!(Message::default().integer(3, (-1_i64).cast_unsigned()).finish().len(), 11);
    }
}
