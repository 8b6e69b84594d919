//! Our small protocol file against the descriptors that come with the library: the same numbers, types and labels, or nothing works.

use std::collections::BTreeMap;

use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};

const MODULES: [&str; 10] =
    ["audio_frame", "data_stream", "data_track", "e2ee", "ffi", "handle", "participant", "room", "track", "video_frame"];

/// What protoc wrote into a `_pb2.py`: `AddSerializedFile(b'…')`.
fn serialized(module: &str) -> Vec<u8> {
    let (_, rest) = module.split_once("AddSerializedFile(b'").expect("a generated module");
    let (mut bytes, mut chars) = (Vec::new(), rest.chars());
    loop {
        match chars.next().expect("the literal ends") {
            '\'' => return bytes,
            '\\' => match chars.next().expect("something is escaped") {
                'n' => bytes.push(b'\n'),
                'r' => bytes.push(b'\r'),
                't' => bytes.push(b'\t'),
                'x' => {
                    let digits: String = chars.by_ref().take(2).collect();
                    bytes.push(u8::from_str_radix(&digits, 16).expect("two hexadecimal digits"));
                }
                plain => bytes.push(plain as u8),
            },
            plain => bytes.push(plain as u8),
        }
    }
}

#[derive(Default)]
struct Known {
    messages: BTreeMap<String, DescriptorProto>,
    enums: BTreeMap<String, EnumDescriptorProto>,
}

impl Known {
    fn add(&mut self, file: FileDescriptorProto) {
        assert_eq!(file.package(), "livekit.proto");
        file.message_type.into_iter().for_each(|message| self.add_message("", message));
        file.enum_type.into_iter().for_each(|one| _ = self.enums.insert(one.name().to_owned(), one));
    }

    fn add_message(&mut self, within: &str, message: DescriptorProto) {
        let name = format!("{within}{}", message.name());
        message.nested_type.iter().for_each(|nested| self.add_message(&format!("{name}."), nested.clone()));
        message.enum_type.iter().for_each(|one| _ = self.enums.insert(format!("{name}.{}", one.name()), one.clone()));
        self.messages.insert(name, message);
    }
}

#[test]
fn our_messages_are_the_library_s() {
    let mut theirs = Known::default();
    for module in MODULES {
        let path = scrim_toolchain::assets::path(&format!("livekit-{module}_pb2.py")).expect("an asset");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask fetch`", path.display()));
        theirs.add(FileDescriptorProto::decode(&*serialized(&text)).expect("a descriptor"));
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let compiled = protox::compile(["livekit.proto"], [file]).expect("our file compiles");
    let mut ours = Known::default();
    FileDescriptorSet { file: compiled.file }.file.into_iter().for_each(|file| ours.add(file));

    let (mut fields, mut values) = (0, 0);
    for (name, message) in &ours.messages {
        let real = theirs.messages.get(name).unwrap_or_else(|| panic!("the library has no message {name}"));
        for field in &message.field {
            let place = format!("{name}.{}", field.name());
            let twin = real.field.iter().find(|one| one.name() == field.name()).unwrap_or_else(|| panic!("the library has no {place}"));
            assert_eq!(
                (field.number(), field.r#type(), field.label(), field.type_name()),
                (twin.number(), twin.r#type(), twin.label(), twin.type_name()),
                "{place}"
            );
            let of =
                |message: &DescriptorProto, index: Option<i32>| index.map(|index| message.oneof_decl[index as usize].name().to_owned());
            assert_eq!(of(message, field.oneof_index), of(real, twin.oneof_index), "{place}");
            fields += 1;
        }
        // What is required there has to be sent.
        for field in real.field.iter().filter(|field| field.label() == prost_types::field_descriptor_proto::Label::Required) {
            let sent = message.field.iter().any(|ours| ours.name() == field.name());
            assert!(sent || !name.ends_with("Request"), "{name} lacks {}, which is required", field.name());
        }
    }
    for (name, one) in &ours.enums {
        let real = theirs.enums.get(name).unwrap_or_else(|| panic!("the library has no enum {name}"));
        for value in &one.value {
            assert!(
                real.value.iter().any(|twin| twin.name() == value.name() && twin.number() == value.number()),
                "{name}.{}",
                value.name()
            );
            values += 1;
        }
    }
    println!("{} messages, {fields} fields, {values} values of {} enums are the library's", ours.messages.len(), ours.enums.len());
    assert!(fields > 100 && values > 30);
}
