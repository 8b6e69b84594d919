//! A run's sound for its report: the file's sound once more, and what the mutes made of it.

use std::path::Path;

use crate::media::file::FileError;
use crate::media::frame::Micros;
use crate::media::small::{Making, Small};
use crate::media::sound::{FORMAT, Muting, SoundSource};
use crate::report::{Peaks, Sound};
use crate::speech::Replacement;

/// Bytes of a second, container included; what comes out is weighed at the end.
const BYTES_PER_SECOND: usize = 3300;

/// `mutes` is none where nothing listened: then it left as it came.
pub fn of(input: &Path, mutes: Option<&[(Micros, Micros)]>, replacement: Replacement) -> Sound {
    let peaks = || Peaks::new(FORMAT.rate, FORMAT.channels as usize);
    let mut sound = Sound { before: peaks(), after: mutes.map(|_| peaks()), played: Err(String::new()) };
    let muting = mutes.map(|mutes| Muting::new(mutes, replacement));
    sound.played = gather(input, muting, &mut sound).unwrap_or_else(|error| Err(error.to_string()));
    sound
}

/// The inner error says why it can't be played although all is well.
fn gather(input: &Path, mut muting: Option<Muting>, sound: &mut Sound) -> Result<Result<(Small, Option<Small>), String>, FileError> {
    let sounds = if muting.is_some() { 2 } else { 1 };
    let seconds_max = Sound::BYTES_MAX / BYTES_PER_SECOND / sounds;
    let too_long = || format!("the clip is too long, a page holds some {} minutes of it", seconds_max / 60);
    let samples_max = seconds_max * (FORMAT.rate * FORMAT.channels) as usize;
    // What was heard is drawn, whether it can be played or not.
    let begin = |wanted: bool| if wanted { Making::begin().map(Some) } else { Ok(None) };
    let (mut making, fault) = match begin(true).and_then(|before| Ok((before, begin(muting.is_some())?))) {
        Ok(making) => (making, None),
        Err(error) => ((None, None), Some(error.to_string())),
    };
    let mut samples = 0;
    for piece in SoundSource::open(input)? {
        let mut piece = piece?;
        samples += piece.len();
        if samples > samples_max {
            making = (None, None);
        }
        sound.before.push(&piece);
        making.0.as_mut().map_or(Ok(()), |making| making.push(&piece))?;
        if let (Some(muting), Some(after)) = (&mut muting, &mut sound.after) {
            muting.apply(&mut piece);
            after.push(&piece);
            making.1.as_mut().map_or(Ok(()), |making| making.push(&piece))?;
        }
    }
    if let Some(fault) = fault {
        return Ok(Err(fault));
    }
    let (Some(before), after) = making else { return Ok(Err(too_long())) };
    let (before, after) = (before.finish()?, after.map(Making::finish).transpose()?);
    let bytes = before.bytes.len() + after.as_ref().map_or(0, |after| after.bytes.len());
    Ok(if bytes > Sound::BYTES_MAX { Err(too_long()) } else { Ok((before, after)) })
}
