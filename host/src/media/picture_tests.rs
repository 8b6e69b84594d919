use jpeg_encoder::ColorType;
use proptest::prelude::*;

use super::*;
use crate::vision::color::tests::{CHART, MEANINGS, chart_rgb};

const LIMITS: Limits = Limits { width: 4096, height: 4096 };

/// Of a JPEG, and whether it is progressive.
const KINDS: [(SamplingFactor, bool); 10] = [
    (SamplingFactor::R_4_4_4, false),
    (SamplingFactor::R_4_4_0, false),
    (SamplingFactor::R_4_2_2, false),
    (SamplingFactor::R_4_2_0, false),
    (SamplingFactor::R_4_4_4, true),
    (SamplingFactor::R_4_4_0, true),
    (SamplingFactor::R_4_2_2, true),
    (SamplingFactor::R_4_2_0, true),
    (SamplingFactor::R_4_1_1, true),
    (SamplingFactor::R_4_1_0, true),
];

/// Frames can't be compared, errors can.
fn refused(result: Result<Frame, PictureError>) -> PictureError {
    result.expect_err("it is to be refused")
}

fn decoded(bytes: &[u8]) -> Result<Frame, PictureError> {
    decode(bytes, LIMITS, FrameSeq(3), Micros(7))
}

/// Mean error of each patch's middle over 8 × 8 pixels, the largest of all patches and components.
fn chart_error(frame: &Frame) -> f64 {
    let rgb = rgb_from_frame(frame);
    let errors = CHART.iter().enumerate().flat_map(|(patch, want)| {
        let rgb = &rgb;
        (0..3).map(move |component| {
            let pixels = (0..64).map(|i| (patch / 6 * 16 + 4 + i / 8) * 96 + patch % 6 * 16 + 4 + i % 8);
            pixels.map(|at| f64::from(rgb[at * 3 + component].abs_diff(want[component]))).sum::<f64>() / 64.0
        })
    });
    errors.fold(0.0, f64::max)
}

fn assert_chart(bytes: &[u8], way: &str) {
    let frame = decoded(bytes).unwrap_or_else(|error| panic!("{way}: {error}"));
    assert_eq!((frame.range, frame.matrix, frame.seq, frame.at), (Range::Full, Matrix::Bt601, FrameSeq(3), Micros(7)), "{way}");
    assert_eq!((frame.width, frame.height), (96, 64), "{way}");
    let error = chart_error(&frame);
    assert!(error <= 3.0, "{way}: a patch is {error:.2} levels off");
}

fn jpeg(width: usize, height: usize, pixels: &[u8], colors: ColorType, adapt: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 95);
    adapt(&mut encoder);
    encoder.encode(pixels, width as u16, height as u16, colors).unwrap();
    bytes
}

fn png(picture: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.into().write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[test]
fn a_jpeg_of_every_subsampling_keeps_the_chart() {
    let (width, height, rgb) = chart_rgb();
    for (sampling, progressive) in KINDS {
        for restart in [0, 3] {
            let bytes = jpeg(width, height, &rgb, ColorType::Rgb, |encoder| {
                encoder.set_sampling_factor(sampling);
                encoder.set_progressive(progressive);
                encoder.set_restart_interval(restart);
            });
            assert_chart(&bytes, &format!("{sampling:?}, progressive {progressive}, restart {restart}"));
        }
    }
}

/// The encoder writes these two, and whatever has optimised tables, as a scan for each component, where the decoder is wrong.
#[test]
fn a_scan_for_each_component_is_read_whole_or_refused() {
    let (width, height, rgb) = chart_rgb();
    let scans = |sampling| {
        jpeg(width, height, &rgb, ColorType::Rgb, |encoder| {
            encoder.set_sampling_factor(sampling);
            encoder.set_optimized_huffman_tables(true);
        })
    };
    assert_chart(&scans(SamplingFactor::R_4_4_4), "4:4:4");
    for sampling in [SamplingFactor::R_4_2_0, SamplingFactor::R_4_4_0, SamplingFactor::R_4_1_1, SamplingFactor::R_4_1_0] {
        let error = refused(decoded(&scans(sampling))).to_string();
        assert!(error.contains("interleaved or progressive"), "{error}");
    }
}

#[test]
fn jpegs_of_other_colours_keep_the_chart() {
    let (width, height, rgb) = chart_rgb();
    let cmyk: Vec<u8> = rgb.as_chunks::<3>().0.iter().flat_map(|&[r, g, b]| [255 - r, 255 - g, 255 - b, 0]).collect();
    assert_chart(&jpeg(width, height, &cmyk, ColorType::Cmyk, |_| {}), "CMYK");
    assert_chart(&jpeg(width, height, &cmyk, ColorType::CmykAsYcck, |_| {}), "YCCK");

    // Components named R, G and B: what is written as Y, Cb and Cr is then read as these.
    let mut named = jpeg(width, height, &rgb, ColorType::Ycbcr, |encoder| encoder.set_sampling_factor(SamplingFactor::R_4_4_4));
    for (marker, first, step) in [(0xc0, 10, 3), (SOS, 5, 2)] {
        let at = named.windows(2).position(|pair| pair == [0xff, marker]).unwrap();
        b"RGB".iter().enumerate().for_each(|(i, &name)| named[at + first + i * step] = name);
    }
    assert_chart(&named, "RGB");

    let grey: Vec<u8> = (0..=254).collect();
    let frame = decoded(&jpeg(15, 17, &grey, ColorType::Luma, |_| {})).unwrap();
    let [y, cb, cr] = frame.planes();
    assert!(y.iter().zip(&grey).all(|(a, b)| a.abs_diff(*b) <= 3));
    assert!(cb.iter().chain(cr).all(|&v| v == 128));
}

#[test]
fn what_is_encoded_is_the_same_picture_whatever_its_numbers_mean() {
    let (width, height, rgb) = chart_rgb();
    for (range, matrix) in MEANINGS {
        let frame = frame_from_rgb(FrameSeq(0), Micros::ZERO, width, height, &rgb, range, matrix);
        assert_chart(&encode_jpeg(&frame, 95).unwrap(), &format!("JPEG of {range:?} {matrix:?}"));
        assert_chart(&encode_png(&frame).unwrap(), &format!("PNG of {range:?} {matrix:?}"));
        assert_chart(&encode_preview(&frame, 4096, 95).unwrap(), &format!("preview of {range:?} {matrix:?}"));
    }
}

#[test]
fn a_jpeg_round_trip_keeps_the_planes_themselves() {
    let (width, height) = (50, 34);
    let data: Vec<u8> = (0..i420_len(width, height)).map(|at| 60 + (at % 50 * 2) as u8).collect();
    let frame = Frame::new(FrameSeq(0), Micros::ZERO, width, height, Range::Full, Matrix::Bt601, vec![77; data.len()]);
    let back = decoded(&encode_jpeg(&frame, 100).unwrap()).unwrap();
    assert!(back.data().iter().all(|v| v.abs_diff(77) <= 1), "flat planes stay as they are");

    let frame = Frame::new(FrameSeq(0), Micros::ZERO, width, height, Range::Full, Matrix::Bt601, data);
    let back = decoded(&encode_jpeg(&frame, 100).unwrap()).unwrap();
    let off = frame.planes()[0].iter().zip(back.planes()[0]).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(off <= Some(3), "luma is up to {off:?} levels off");
}

#[test]
fn every_small_size_goes_both_ways() {
    for (width, height) in (1..=33).flat_map(|width| (1..=17).map(move |height| (width, height))) {
        let rgb = [200, 90, 40].repeat(width * height);
        let want = frame_from_rgb(FrameSeq(0), Micros::ZERO, width, height, &rgb, Range::Full, Matrix::Bt601);
        let of_kind = |(sampling, progressive)| {
            let bytes = jpeg(width, height, &rgb, ColorType::Rgb, |encoder| {
                encoder.set_sampling_factor(sampling);
                encoder.set_progressive(progressive);
            });
            (format!("{sampling:?}, progressive {progressive}"), bytes)
        };
        let mut ways: Vec<(String, Vec<u8>)> = KINDS.into_iter().map(of_kind).collect();
        for (range, matrix) in MEANINGS {
            let frame = frame_from_rgb(FrameSeq(0), Micros::ZERO, width, height, &rgb, range, matrix);
            ways.push((format!("encode_jpeg {range:?} {matrix:?}"), encode_jpeg(&frame, 90).unwrap()));
            ways.push((format!("encode_png {range:?} {matrix:?}"), encode_png(&frame).unwrap()));
        }
        for (way, bytes) in ways {
            let frame = decoded(&bytes).unwrap_or_else(|error| panic!("{way} at {width}x{height}: {error}"));
            assert_eq!((frame.width, frame.height), (width, height), "{way}");
            let off = frame.data().iter().zip(want.data()).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(off <= Some(4), "{way} at {width}x{height}: {off:?} levels off");
        }
    }
}

#[test]
fn pngs_of_every_kind_are_read() {
    let (width, height, rgb) = chart_rgb();
    let chart = DynamicImage::from(RgbImage::from_raw(width as u32, height as u32, rgb).unwrap());
    assert_chart(&png(chart.clone()), "8 bits");
    assert_chart(&png(chart.to_rgb16()), "16 bits");
    assert_chart(&png(chart.to_rgba8()), "8 bits and alpha");
    assert_chart(&png(chart.to_rgba16()), "16 bits and alpha");
    for (grey, way) in [(png(chart.to_luma8()), "8"), (png(chart.to_luma16()), "16"), (png(chart.to_luma_alpha8()), "alpha")] {
        let frame = decoded(&grey).unwrap();
        let [_, cb, cr] = frame.planes();
        assert!(cb.iter().chain(cr).all(|&v| v == 128), "grey {way}");
    }

    let half = image::RgbaImage::from_pixel(5, 3, image::Rgba([255, 255, 255, 128]));
    let frame = decoded(&png(half)).unwrap();
    assert_eq!((frame.width, frame.height), (5, 3));
    assert!(frame.planes()[0].iter().all(|&y| y.abs_diff(128) <= 1), "transparent is on black");

    // 4x2, palette of 4 bits: red, and white that is half transparent.
    let palette = bytes_of(
        "89504e470d0a1a0a0000000d49484452000000040000000204030000008d86605000000006504c5445ff0000ffffff411d341100000002\
         74524e53ff80080fb36a0000000e49444154789c6360106460100400005b00231fda23440000000049454e44ae426082",
    );
    let frame = decoded(&palette).unwrap();
    assert_eq!(frame.planes(), [&[76, 76, 128, 128, 76, 76, 128, 128][..], &[85, 128], &[255, 128]]);
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter_map(|digit| (digit as char).to_digit(16)).map(|digit| digit as u8).collect();
    digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect()
}

/// EXIF's table: where row 0 and column 0 of what is stored belong in what is shown.
#[test]
fn a_picture_is_turned_as_its_exif_says() {
    let stored = [[200, 40, 40], [40, 200, 40], [40, 40, 200], [180, 180, 40]];
    let (width, height) = (33, 17);
    let quarter = |x: usize, y: usize, width: usize, height: usize| 2 * usize::from(2 * y > height) + usize::from(2 * x > width);
    let rgb: Vec<u8> = (0..width * height).flat_map(|i| stored[quarter(i % width, i / width, width, height)]).collect();
    for orientation in 1..=8_u8 {
        let tiff = [b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0", &[orientation, 0, 0, 0, 0, 0, 0, 0][..]].concat();
        let bytes = jpeg(width, height, &rgb, ColorType::Rgb, |encoder| encoder.add_exif_metadata(&tiff).unwrap());
        let frame = decoded(&bytes).unwrap();
        let (shown_width, shown_height) = if orientation < 5 { (width, height) } else { (height, width) };
        assert_eq!((frame.width, frame.height), (shown_width, shown_height), "orientation {orientation}");
        let shown = rgb_from_frame(&frame);
        for (x, y) in [(4, 4), (28, 4), (4, 12), (28, 12)] {
            let (right, bottom) = (width - 1 - x, height - 1 - y);
            let (to_x, to_y) = match orientation {
                1 => (x, y),
                2 => (right, y),
                3 => (right, bottom),
                4 => (x, bottom),
                5 => (y, x),
                6 => (bottom, x),
                7 => (bottom, right),
                _ => (y, right),
            };
            let at = (to_y * shown_width + to_x) * 3;
            let want = stored[quarter(x, y, width, height)];
            let near = shown[at..at + 3].iter().zip(want).all(|(a, b)| a.abs_diff(b) <= 12);
            assert!(near, "orientation {orientation}: {:?} at {to_x},{to_y}, should be {want:?}", &shown[at..at + 3]);
        }
    }
}

#[test]
fn what_is_too_large_is_refused_by_its_header() {
    let mut bomb = jpeg(16, 16, &[90; 768], ColorType::Rgb, |_| {});
    let at = bomb.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    let mut claim = |width: u16, height: u16| {
        bomb[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
        bomb[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
        refused(decoded(&bomb))
    };
    assert_eq!(claim(5000, 5000), PictureError::TooLarge { width: 5000, height: 5000, max: LIMITS });
    assert_eq!(claim(u16::MAX, 1).to_string(), "the picture is 65535x1; at most 4096x4096 is taken");
    assert!(matches!(claim(0, 16), PictureError::Broken(_)));
    assert!(matches!(claim(16, 0), PictureError::Broken(_)));

    let wide = png(RgbImage::new(5000, 1));
    assert_eq!(refused(decoded(&wide)), PictureError::TooLarge { width: 5000, height: 1, max: LIMITS });

    // Fits as stored, not as turned.
    let tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let bytes = jpeg(32, 8, &[90; 768], ColorType::Rgb, |encoder| encoder.add_exif_metadata(tiff).unwrap());
    let max = Limits { width: 32, height: 16 };
    let turned = decode(&bytes, max, FrameSeq(0), Micros::ZERO);
    assert_eq!(refused(turned), PictureError::TooLarge { width: 8, height: 32, max });
}

#[test]
fn what_is_cut_off_is_refused_wherever_it_is_cut() {
    let (width, height, rgb) = chart_rgb();
    for progressive in [false, true] {
        let whole = jpeg(width, height, &rgb, ColorType::Rgb, |encoder| encoder.set_progressive(progressive));
        for length in 3..whole.len() {
            assert!(matches!(decoded(&whole[..length]), Err(PictureError::Broken(_))), "{length} of {} bytes", whole.len());
        }
        let padded = [&whole[..], &[0; 64]].concat();
        assert_chart(&padded, "with the padding that some cameras add");
    }
    let whole = encode_png(&decoded(&jpeg(width, height, &rgb, ColorType::Rgb, |_| {})).unwrap()).unwrap();
    for length in (8..whole.len() - 16).step_by(7) {
        assert!(matches!(decoded(&whole[..length]), Err(PictureError::Broken(_))), "{length} of {} bytes", whole.len());
    }
}

#[test]
fn what_is_no_picture_is_told_apart() {
    for bytes in [&b""[..], b"\xff\xd8", b"GIF89a", b"not a picture"] {
        assert_eq!(refused(decoded(bytes)), PictureError::NotAPicture);
    }
    assert!(matches!(decoded(b"\x89PNG\r\n\x1a\ncut"), Err(PictureError::Broken(_))));
}

#[test]
fn a_frame_that_has_no_place_in_a_format_is_refused() {
    for (width, height) in [(0, 0), (0, 4), (4, 0), (65_536, 1)] {
        for (range, matrix) in MEANINGS {
            let frame = Frame::new(FrameSeq(0), Micros::ZERO, width, height, range, matrix, vec![90; i420_len(width, height)]);
            assert!(matches!(encode_jpeg(&frame, 80), Err(PictureError::Encode { format: "JPEG", .. })), "{width}x{height}");
            if width * height == 0 {
                assert!(encode_png(&frame).is_err() && encode_preview(&frame, 16, 80).is_err(), "{width}x{height}");
            }
        }
    }
}

#[test]
fn a_preview_keeps_the_aspect() {
    let frame = frame_from_rgb(FrameSeq(0), Micros::ZERO, 64, 32, &[90; 64 * 32 * 3], Range::Full, Matrix::Bt601);
    let small = decoded(&encode_preview(&frame, 16, 80).unwrap()).unwrap();
    assert_eq!((small.width, small.height), (16, 8));
}

/// Whole pictures for the mutations to begin with.
static SEEDS: std::sync::LazyLock<Vec<Vec<u8>>> = std::sync::LazyLock::new(|| {
    let (width, height, rgb) = chart_rgb();
    let of_kind = |(sampling, progressive)| {
        jpeg(width, height, &rgb, ColorType::Rgb, |encoder| {
            encoder.set_sampling_factor(sampling);
            encoder.set_progressive(progressive);
            encoder.set_restart_interval(if progressive { 0 } else { 5 });
            // Three scans where it can be.
            encoder.set_optimized_huffman_tables(sampling == SamplingFactor::R_4_4_4);
        })
    };
    let mut seeds: Vec<Vec<u8>> = KINDS.into_iter().map(of_kind).collect();
    seeds.push(jpeg(48, 64, &rgb[..48 * 64 * 4], ColorType::Cmyk, |_| {}));
    seeds.push(jpeg(48, 64, &rgb[..48 * 64 * 4], ColorType::CmykAsYcck, |_| {}));
    seeds.push(jpeg(96, 64, &rgb[..96 * 64], ColorType::Luma, |_| {}));
    seeds.push(png(RgbImage::from_raw(96, 64, rgb.clone()).unwrap()));
    seeds.push(png(image::RgbaImage::from_raw(48, 64, rgb[..48 * 64 * 4].to_vec()).unwrap()));
    seeds
});

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(magic in 0..3_usize, bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let magic = [&JPEG_MAGIC[..], &PNG_MAGIC, &[]][magic];
        let _ = decoded(&[magic, &bytes].concat());
    }

    #[test]
    fn mutated_pictures_never_panic(
        seed in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        header_changes in prop::collection::vec((0..700_usize, any::<u8>()), 0..2),
        cut in prop::option::weighted(0.2, (any::<prop::sample::Index>(), 1..40_usize)),
    ) {
        let mut bytes = seed.get(&SEEDS).clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        for (at, value) in header_changes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        if let Some((at, length)) = cut {
            let from = at.index(bytes.len());
            bytes.drain(from..(from + length).min(bytes.len()));
        }
        let limits = Limits { width: 1024, height: 1024 };
        if let Ok(frame) = decode(&bytes, limits, FrameSeq(0), Micros::ZERO) {
            prop_assert!(frame.width <= 1024 && frame.height <= 1024);
        }
    }
}
