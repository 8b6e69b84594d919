//! CTranslate2's `model.bin`: little-endian; a version, the name of the kind of model, its revision, and the variables, each with name, shape,
//! type and bytes (`python/ctranslate2/specs/model_spec.py`, `_serialize`).

use std::collections::BTreeMap;

/// The layout has been this since CTranslate2 2.
const VERSION: u32 = 6;
/// `DataType` in `include/ctranslate2/types.h`.
const FLOAT32: u8 = 0;
const FLOAT16: u8 = 4;

/// Numbers of a layer.
#[derive(Debug)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// Every variable of floating point, by name.
#[derive(Debug)]
pub struct Weights(BTreeMap<String, Tensor>);

impl Weights {
    /// # Errors
    /// When the bytes end early, or are those of another layout or kind of model.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut rest = Rest(bytes);
        let version = rest.u32()?;
        if version != VERSION {
            return Err(format!("the layout's version is {version}, not {VERSION}"));
        }
        let kind = rest.text()?;
        if kind != "WhisperSpec" {
            return Err(format!("the model is a {kind}, not a WhisperSpec"));
        }
        let _revision = rest.u32()?;
        let mut tensors = BTreeMap::new();
        for _ in 0..rest.u32()? {
            let name = rest.text()?;
            let dimensions = rest.take(1)?[0];
            let shape = (0..dimensions).map(|_| Ok(rest.u32()? as usize)).collect::<Result<Vec<_>, String>>()?;
            let kind = rest.take(1)?[0];
            let length = rest.u32()? as usize;
            let data = rest.take(length)?;
            let values: Vec<f32> = match kind {
                FLOAT16 => data.chunks_exact(2).map(|two| half(u16::from_le_bytes([two[0], two[1]]))).collect(),
                FLOAT32 => data.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect(),
                // Settings, all of which tiny.en shares with every Whisper.
                _ => continue,
            };
            if values.len() != shape.iter().product::<usize>() {
                return Err(format!("{name} has {} values for the shape {shape:?}", values.len()));
            }
            tensors.insert(name, Tensor { shape, values });
        }
        Ok(Self(tensors))
    }

    /// # Errors
    /// When there is none, or it has another shape.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<&[f32], String> {
        let tensor = self.0.get(name).ok_or_else(|| format!("it has no {name}"))?;
        match tensor.shape == shape {
            true => Ok(&tensor.values),
            false => Err(format!("{name} has the shape {:?}, not {shape:?}", tensor.shape)),
        }
    }

    /// Of a table of rows of `width`.
    ///
    /// # Errors
    /// When there is none, or its rows are others.
    pub fn rows(&self, name: &str, width: usize) -> Result<usize, String> {
        match self.0.get(name).map(|tensor| tensor.shape.as_slice()) {
            Some(&[rows, found]) if found == width => Ok(rows),
            found => Err(format!("{name} should be rows of {width}, and is {found:?}")),
        }
    }
}

/// What has not been read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("it ends early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, String> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// Its length in two bytes, a zero at its end.
    fn text(&mut self) -> Result<String, String> {
        let length = self.take(2)?;
        let bytes = self.take(usize::from(u16::from_le_bytes([length[0], length[1]])))?;
        let text = bytes.strip_suffix(&[0]).ok_or("a name has no end")?;
        String::from_utf8(text.to_vec()).map_err(|_| "a name is no text".to_owned())
    }
}

/// IEEE 754 binary16, exactly.
fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2_f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * 2_f32.powi(exponent - 25),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, shape: &[u32], kind: u8, data: &[u8]) -> Vec<u8> {
        let text = |text: &str| [&(text.len() as u16 + 1).to_le_bytes()[..], text.as_bytes(), &[0]].concat();
        let mut bytes = [&6_u32.to_le_bytes()[..], &text("WhisperSpec"), &3_u32.to_le_bytes(), &1_u32.to_le_bytes(), &text(name)].concat();
        bytes.push(shape.len() as u8);
        shape.iter().for_each(|side| bytes.extend(side.to_le_bytes()));
        bytes.push(kind);
        bytes.extend((data.len() as u32).to_le_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn variables_are_read_by_name_and_shape() {
        let bytes = file("a/b", &[1, 2], FLOAT16, &[0x00, 0x3c, 0x00, 0xc0]);
        let weights = Weights::read(&bytes).unwrap();
        assert_eq!(weights.get("a/b", &[1, 2]), Ok(&[1.0, -2.0][..]));
        assert!(weights.get("a/b", &[2, 1]).unwrap_err().contains("not [2, 1]"));
        assert_eq!(weights.rows("a/b", 2), Ok(1));
        assert!(weights.rows("a/c", 2).is_err());
    }

    #[test]
    fn what_is_cut_short_or_something_else_is_refused() {
        let bytes = file("a", &[2], FLOAT32, &[0; 8]);
        assert!(Weights::read(&bytes).is_ok());
        assert!((0..bytes.len()).all(|length| Weights::read(&bytes[..length]).is_err()));
        assert!(Weights::read(&file("a", &[3], FLOAT32, &[0; 8])).is_err());
        let mut other = bytes;
        other[0] = 5;
        assert!(Weights::read(&other).unwrap_err().contains("version is 5"));
    }

    #[test]
    fn halves_are_exact() {
        let pairs = [
            (0x0000, 0.0),
            (0x0001, 2_f32.powi(-24)),
            (0x0400, 2_f32.powi(-14)),
            (0x3555, 0.333_251_95),
            (0x7bff, 65504.0),
            (0xfc00, f32::NEG_INFINITY),
        ];
        assert!(pairs.iter().all(|&(bits, value)| half(bits) == value));
        assert!(half(0x7e00).is_nan());
    }
}
