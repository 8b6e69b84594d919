//! Pictures as they travel: JPEG and PNG bytes to a [`Frame`] and back.
//!
//! In: bytes of a publisher or a file, which are trusted in nothing; frames of any range and matrix. Out: frames of full range BT.601,
//! which is what the numbers of a JPEG mean (ITU-T T.871), and JPEG or PNG bytes.
//!
//! Always holds: a picture's size is held against the limits by its header alone, before anything of that size is allocated. One that
//! was cut off is refused, since a decoder makes up what is missing. Y'CbCr goes into and out of JPEG as it is, not through RGB
//! (invariant 9); only JPEGs that hold RGB, CMYK or YCCK are converted. A picture is turned as its EXIF orientation says.

use std::fmt;
use std::io::Cursor;

use image::codecs::png::{PngDecoder, PngEncoder};
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, GrayImage, ImageDecoder, ImageEncoder, RgbImage};
use jpeg_encoder::{ChromaSubsamplingMethod, Encoder, ImageBuffer, JpegColorType, SamplingFactor};
use thiserror::Error;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;
use zune_jpeg::{JpegDecoder, SampleRatios};

use crate::media::frame::{Frame, FrameSeq, Matrix, Micros, Range, chroma_size, i420_len};
use crate::vision::color::{frame_from_rgb, rgb_from_frame, to_full_bt601};

pub(crate) const JPEG_MAGIC: [u8; 3] = [0xff, 0xd8, 0xff];
const PNG_MAGIC: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// JPEG markers: a progressive frame, the start of a scan, the end of the picture.
const SOF_PROGRESSIVE: u8 = 0xc2;
const SOS: u8 = 0xda;
const EOI: u8 = 0xd9;

/// Most bytes that a pixel takes while a PNG is decoded: 16-bit RGBA.
const PNG_PIXEL_BYTES_MAX: u64 = 8;
/// What a PNG's decoder may take beside its pixels, for rows and tables.
const PNG_SPARE_BYTES: u64 = 4 << 20;

/// Largest width and height of a picture that is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub width: usize,
    pub height: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { width: 4096, height: 4096 }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl Limits {
    /// # Errors
    /// [`PictureError::TooLarge`], if a side is longer than its limit.
    pub fn check(self, width: usize, height: usize) -> Result<(), PictureError> {
        let fits = width <= self.width && height <= self.height;
        if fits { Ok(()) } else { Err(PictureError::TooLarge { width, height, max: self }) }
    }
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PictureError {
    #[error("the picture is neither JPEG nor PNG by its first bytes")]
    NotAPicture,
    #[error("the picture is {width}x{height}; at most {max} is taken")]
    TooLarge { width: usize, height: usize, max: Limits },
    #[error("the picture can't be decoded: {0}")]
    Broken(String),
    #[error("a frame of {width}x{height} can't be encoded as {format}: {detail}")]
    Encode { width: usize, height: usize, format: &'static str, detail: String },
}

fn broken(error: impl fmt::Display) -> PictureError {
    PictureError::Broken(error.to_string())
}

/// A JPEG or PNG as a frame: full range BT.601, turned as its EXIF orientation says, transparent pixels on black.
///
/// The chroma of a JPEG of any subsampling is the mean over each 2 × 2 pixels. JPEGs of 8 bits are taken, baseline and progressive: grey,
/// Y'CbCr, RGB (by component names), CMYK and YCCK (as Adobe writes them, inverted). Not taken: arithmetic coding, 12 bits, and a
/// baseline scan for each component where chroma is reduced.
///
/// # Errors
/// When the bytes are no picture, a broken or an unfinished one, or one of more than `limits` either as stored or as turned.
pub fn decode(bytes: &[u8], limits: Limits, seq: FrameSeq, at: Micros) -> Result<Frame, PictureError> {
    let pixels = if bytes.starts_with(&JPEG_MAGIC) {
        decode_jpeg(bytes, limits)?
    } else if bytes.starts_with(&PNG_MAGIC) {
        decode_png(bytes, limits)?
    } else {
        return Err(PictureError::NotAPicture);
    };
    limits.check(pixels.width, pixels.height)?;
    let Pixels { width, height, meaning, samples } = pixels;
    let data = match meaning {
        Meaning::Rgb => return Ok(frame_from_rgb(seq, at, width, height, &samples, Range::Full, Matrix::Bt601)),
        Meaning::Grey => {
            let mut data = samples;
            data.resize(i420_len(width, height), 128);
            data
        }
        Meaning::YCbCr => i420_of(&samples, width, height),
    };
    Ok(Frame::new(seq, at, width, height, Range::Full, Matrix::Bt601, data))
}

/// What the samples of a decoded picture are, each 8 bits, full range, BT.601.
#[derive(Clone, Copy, PartialEq)]
enum Meaning {
    Grey,
    YCbCr,
    Rgb,
}

/// A decoded picture, pixel by pixel, samples side by side.
struct Pixels {
    width: usize,
    height: usize,
    meaning: Meaning,
    samples: Vec<u8>,
}

fn decode_jpeg(bytes: &[u8], limits: Limits) -> Result<Pixels, PictureError> {
    // The limits are held below, with an error that can be told apart.
    let options = DecoderOptions::default().set_strict_mode(true).set_max_width(u16::MAX.into()).set_max_height(u16::MAX.into());
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(broken)?;
    let (info, colors) = decoder.info().zip(decoder.input_colorspace()).ok_or_else(|| broken("it has no header"))?;
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    limits.check(width, height)?;
    let scan = FirstScan::of(bytes).ok_or_else(|| broken("its segments don't lead to a scan"))?;
    if !scan.ends {
        return Err(broken("its end marker is missing, so it was cut off"));
    }
    // zune-jpeg 0.5.15 mixes up the rows of these and says nothing.
    if !scan.progressive && scan.components < info.components && info.sample_ratio != SampleRatios::None {
        return Err(broken("a scan for each component with reduced chroma is not taken; send it interleaved or progressive"));
    }
    let (meaning, out) = match (info.components, colors) {
        (1, ColorSpace::Luma) => (Meaning::Grey, ColorSpace::Luma),
        (3, ColorSpace::YCbCr) => (Meaning::YCbCr, ColorSpace::YCbCr),
        (3, ColorSpace::RGB) | (4, ColorSpace::CMYK | ColorSpace::YCCK) => (Meaning::Rgb, ColorSpace::RGB),
        (components, colors) => {
            return Err(broken(format_args!("{components} components marked as {colors:?} are not taken; send it as Y'CbCr")));
        }
    };
    let orientation = info.exif_data.as_deref().and_then(Orientation::from_exif_chunk);
    decoder.set_options(options.jpeg_set_out_colorspace(out));
    let mut samples = vec![0; width * height * out.num_components()];
    decoder.decode_into(&mut samples).map_err(broken)?;
    turned(Pixels { width, height, meaning, samples }, orientation)
}

/// What stands in a JPEG up to its first scan, and whether it ends after that.
struct FirstScan {
    progressive: bool,
    components: u8,
    ends: bool,
}

impl FirstScan {
    fn of(bytes: &[u8]) -> Option<FirstScan> {
        let mut rest = bytes.get(2..)?;
        let mut progressive = false;
        loop {
            // A marker may have any number of fill bytes before it.
            let (_, after) = rest.split_at_checked(rest.iter().take_while(|&&byte| byte == 0xff).count().max(1))?;
            let (&marker, segment) = after.split_first()?;
            let length = u16::from_be_bytes(*segment.first_chunk()?);
            progressive |= marker == SOF_PROGRESSIVE;
            rest = segment.get(usize::from(length)..)?;
            if marker == SOS {
                // In a scan's data this pair can be nothing but the end marker; in segments before it, such as EXIF's preview, it can.
                let ends = rest.windows(2).any(|pair| pair == [0xff, EOI]);
                return Some(FirstScan { progressive, components: *segment.get(2)?, ends });
            }
        }
    }
}

/// Turns whole pixels, before chroma is reduced: of an odd size, other pixels come to share a sample.
fn turned(pixels: Pixels, orientation: Option<Orientation>) -> Result<Pixels, PictureError> {
    let Some(orientation) = orientation.filter(|&orientation| orientation != Orientation::NoTransforms) else { return Ok(pixels) };
    let Pixels { width, height, meaning, samples } = pixels;
    let (w, h) = (width as u32, height as u32);
    let picture = match meaning {
        Meaning::Grey => GrayImage::from_raw(w, h, samples).map(DynamicImage::ImageLuma8),
        // Only moved about, so that it doesn't matter what the three bytes stand for.
        Meaning::YCbCr | Meaning::Rgb => RgbImage::from_raw(w, h, samples).map(DynamicImage::ImageRgb8),
    };
    let mut picture = picture.ok_or_else(|| broken("it has fewer pixels than its header says"))?;
    picture.apply_orientation(orientation);
    Ok(Pixels { width: picture.width() as usize, height: picture.height() as usize, meaning, samples: picture.into_bytes() })
}

/// Planes of interleaved Y, Cb, Cr. Past an odd edge its last column and row stand in, which leaves the mean as it is.
fn i420_of(pixels: &[u8], width: usize, height: usize) -> Vec<u8> {
    let (cw, ch) = chroma_size(width, height);
    let mut data = vec![0; i420_len(width, height)];
    let (luma, chroma) = data.split_at_mut(width * height);
    for (luma, [y, _, _]) in luma.iter_mut().zip(pixels.as_chunks().0) {
        *luma = *y;
    }
    let (cb, cr) = chroma.split_at_mut(cw * ch);
    let rows = pixels.chunks(2 * 3 * width).zip(cb.chunks_mut(cw).zip(cr.chunks_mut(cw)));
    for (pair, (cb, cr)) in rows {
        let (top, bottom) = pair.split_at(3 * width);
        let bottom = if bottom.is_empty() { top } else { bottom };
        let (tops, top_edge) = top.as_chunks::<6>();
        let (bottoms, bottom_edge) = bottom.as_chunks::<6>();
        for ((top, bottom), (cb, cr)) in tops.iter().zip(bottoms).zip(cb.iter_mut().zip(cr.iter_mut())) {
            *cb = mean([top[1], top[4], bottom[1], bottom[4]]);
            *cr = mean([top[2], top[5], bottom[2], bottom[5]]);
        }
        if let ([_, top_cb, top_cr], [_, bottom_cb, bottom_cr]) = (top_edge, bottom_edge) {
            cb[cw - 1] = mean([*top_cb, *top_cb, *bottom_cb, *bottom_cb]);
            cr[cw - 1] = mean([*top_cr, *top_cr, *bottom_cr, *bottom_cr]);
        }
    }
    data
}

#[inline]
fn mean(samples: [u8; 4]) -> u8 {
    ((samples.into_iter().map(u16::from).sum::<u16>() + 2) / 4) as u8
}

fn decode_png(bytes: &[u8], limits: Limits) -> Result<Pixels, PictureError> {
    let pixels = (limits.width as u64).saturating_mul(limits.height as u64);
    let mut memory = image::Limits::default();
    memory.max_alloc = Some(pixels.saturating_mul(PNG_PIXEL_BYTES_MAX).saturating_add(PNG_SPARE_BYTES));
    let mut decoder = PngDecoder::with_limits(Cursor::new(bytes), memory.clone()).map_err(broken)?;
    let (width, height) = decoder.dimensions();
    limits.check(width as usize, height as usize)?;
    decoder.set_limits(memory).map_err(broken)?;
    let orientation = decoder.orientation().map_err(broken)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(broken)?;
    picture.apply_orientation(orientation);
    let rgb = if picture.color().has_alpha() { over_black(&picture) } else { picture.into_rgb8() };
    Ok(Pixels { width: rgb.width() as usize, height: rgb.height() as usize, meaning: Meaning::Rgb, samples: rgb.into_raw() })
}

fn over_black(picture: &DynamicImage) -> RgbImage {
    let rgba = picture.to_rgba8();
    RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [r, g, b, a] = rgba.get_pixel(x, y).0;
        image::Rgb([r, g, b].map(|v| ((u16::from(v) * u16::from(a) + 127) / 255) as u8))
    })
}

/// The frame as a JPEG of 4:2:0, its numbers converted to full range BT.601 where they mean something else; `quality` 1..=100.
///
/// # Errors
/// When a side is 0 or more than JPEG can say.
pub fn encode_jpeg(frame: &Frame, quality: u8) -> Result<Vec<u8>, PictureError> {
    let failed = |detail: String| PictureError::Encode { width: frame.width, height: frame.height, format: "JPEG", detail };
    let (Ok(width), Ok(height)) = (u16::try_from(frame.width), u16::try_from(frame.height)) else {
        return Err(failed(format!("a side may have {} pixels", u16::MAX)));
    };
    if width == 0 || height == 0 {
        return Err(failed("it has no pixels".to_owned()));
    }
    let mut full = frame.clone();
    if (frame.range, frame.matrix) != (Range::Full, Matrix::Bt601) {
        let [y, cb, cr] = full.planes_mut();
        to_full_bt601(y, cb, cr, frame.width, frame.range, frame.matrix);
    }
    let mut jpeg = Vec::new();
    let mut encoder = Encoder::new(&mut jpeg, quality.clamp(1, 100));
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Nearest);
    encoder.encode_image(Planes { planes: full.planes(), width, height }).map_err(|error| failed(error.to_string()))?;
    Ok(jpeg)
}

/// Full range BT.601 planes as the encoder reads them, each chroma sample for its 2 × 2 pixels; of those the encoder takes the first.
struct Planes<'a> {
    planes: [&'a [u8]; 3],
    width: u16,
    height: u16,
}

impl ImageBuffer for Planes<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    fn fill_buffers(&self, y: u16, [luma, cb, cr, _]: &mut [Vec<u8>; 4]) {
        let (row, width) = (usize::from(y), usize::from(self.width));
        let cw = width.div_ceil(2);
        luma.extend_from_slice(&self.planes[0][row * width..][..width]);
        for (out, plane) in [(cb, self.planes[1]), (cr, self.planes[2])] {
            double(&plane[row / 2 * cw..][..cw], width, out);
        }
    }
}

/// Each sample twice, `width` in all.
fn double(row: &[u8], width: usize, out: &mut Vec<u8>) {
    let from = out.len();
    out.resize(from + width, 0);
    let (pairs, edge) = out[from..].as_chunks_mut::<2>();
    for (pair, &sample) in pairs.iter_mut().zip(row) {
        *pair = [sample; 2];
    }
    if let ([edge], Some(&sample)) = (edge, row.last()) {
        *edge = sample;
    }
}

/// The frame as a PNG of 8-bit RGB, for what is small or has to be exact.
///
/// # Errors
/// When a side is 0 or more than PNG can say.
pub fn encode_png(frame: &Frame) -> Result<Vec<u8>, PictureError> {
    let failed = |detail: String| PictureError::Encode { width: frame.width, height: frame.height, format: "PNG", detail };
    let (Ok(width), Ok(height)) = (u32::try_from(frame.width), u32::try_from(frame.height)) else {
        return Err(failed(format!("a side may have {} pixels", u32::MAX)));
    };
    let mut png = Vec::new();
    let written = PngEncoder::new(&mut png).write_image(&rgb_from_frame(frame), width, height, ExtendedColorType::Rgb8);
    written.map_err(|error| failed(error.to_string()))?;
    Ok(png)
}

/// The frame as a JPEG no wider and no higher than `side_max` pixels, for people to look at; `quality` 1..=100.
///
/// # Errors
/// As those of [`encode_jpeg`].
pub fn encode_preview(frame: &Frame, side_max: u32, quality: u8) -> Result<Vec<u8>, PictureError> {
    let scale = f64::from(side_max) / frame.width.max(frame.height) as f64;
    let (width, height) = (frame.width as u32, frame.height as u32);
    match RgbImage::from_raw(width, height, rgb_from_frame(frame)).filter(|_| scale < 1.0) {
        None => encode_jpeg(frame, quality),
        Some(large) => {
            let side = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
            let small = image::imageops::thumbnail(&large, side(width), side(height));
            let (width, height) = (small.width() as usize, small.height() as usize);
            let small = frame_from_rgb(frame.seq, frame.at, width, height, small.as_raw(), Range::Full, Matrix::Bt601);
            encode_jpeg(&small, quality)
        }
    }
}

#[cfg(test)]
#[path = "picture_tests.rs"]
mod tests;
