//! A run's sound in its report: how loud it was when, before and after, and both to be heard, within a budget of bytes.

use serde::Serialize;

use super::base64;
use crate::media::frame::Micros;
use crate::media::small::Small;

/// Columns that a waveform has at most: more than a timeline has pixels.
const COLUMNS_MAX: usize = 8192;
/// The narrowest column.
const COLUMN_MIN: Micros = Micros::from_millis(10);

/// How loud a sound was in each of many equal times, over as much of it as has come.
#[derive(Clone, Debug)]
pub struct Peaks {
    /// Frames of a column.
    step: u64,
    rate: u32,
    channels: usize,
    /// 0..=255 for the loudest sample there can be.
    columns: Vec<u8>,
    /// Frames in the last column.
    begun: u64,
}

impl Peaks {
    pub fn new(rate: u32, channels: usize) -> Self {
        let step = (COLUMN_MIN.0 * u64::from(rate) / 1_000_000).max(1);
        Self { step, rate, channels: channels.max(1), columns: Vec::new(), begun: step }
    }

    /// Takes the next samples, interleaved. When there are too many columns, each two become one.
    pub fn push(&mut self, samples: &[i16]) {
        for frame in samples.chunks_exact(self.channels) {
            if self.begun == self.step {
                if self.columns.len() == COLUMNS_MAX {
                    self.columns = self.columns.chunks(2).map(|two| two.iter().copied().max().unwrap_or(0)).collect();
                    self.step *= 2;
                }
                self.columns.push(0);
                self.begun = 0;
            }
            let loudest = frame.iter().map(|sample| (sample.unsigned_abs() >> 7).min(255) as u8).max().unwrap_or(0);
            if let Some(last) = self.columns.last_mut() {
                *last = loudest.max(*last);
            }
            self.begun += 1;
        }
    }
}

/// What there is of the sound. A clip without sound has none of it.
#[derive(Clone, Debug)]
pub struct Sound {
    pub before: Peaks,
    /// None where it left as it came.
    pub after: Option<Peaks>,
    /// As it came, and as it left where that is different; or why it can't be played.
    pub played: Result<(Small, Option<Small>), String>,
}

impl Sound {
    /// Both together: with the pictures' twelve the page stays within what a browser opens at once. Some twenty minutes of two sounds.
    pub const BYTES_MAX: usize = 8 << 20;
}

#[derive(Serialize)]
pub(super) struct SoundRow<'a> {
    before: PeaksRow,
    after: Option<PeaksRow>,
    /// `data:` addresses.
    raw: Option<String>,
    covered: Option<String>,
    /// Why there is nothing to be played.
    silent: Option<&'a str>,
}

/// Microseconds of a column, and the columns as base64.
#[derive(Serialize)]
struct PeaksRow(f64, String);

impl PeaksRow {
    fn of(peaks: &Peaks) -> Self {
        Self(peaks.step as f64 * 1e6 / f64::from(peaks.rate), base64(&peaks.columns))
    }
}

impl<'a> SoundRow<'a> {
    pub(super) fn of(sound: &'a Sound) -> Self {
        let address = |small: &Small| format!("data:{};base64,{}", small.mime, base64(&small.bytes));
        let (raw, covered, silent) = match &sound.played {
            Ok((before, after)) => (Some(address(before)), after.as_ref().map(address), None),
            Err(why) => (None, None, Some(why.as_str())),
        };
        Self { before: PeaksRow::of(&sound.before), after: sound.after.as_ref().map(PeaksRow::of), raw, covered, silent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waveform_is_bounded_and_a_loud_moment_stays_where_it_was() {
        let mut peaks = Peaks::new(1000, 2);
        // 100 s, silent but for a click at 70 s, in pieces of odd length.
        for from in (0..100_000).step_by(37) {
            let piece: Vec<i16> = (from..(from + 37).min(100_000)).flat_map(|at| [0, if at == 70_000 { i16::MIN } else { 0 }]).collect();
            peaks.push(&piece);
        }
        assert_eq!(peaks.columns.len() as u64, 100_000_u64.div_ceil(peaks.step));
        assert!(peaks.columns.len() <= COLUMNS_MAX && peaks.step == 20);
        let loud: Vec<usize> = (0..peaks.columns.len()).filter(|&at| peaks.columns[at] > 0).collect();
        assert_eq!((loud, peaks.columns[3500]), (vec![3500], 255));
    }
}
