//! Times of TTML: clock times with fractions or frames, and offsets in six units.
//!
//! A time expression and the document's rates come in, milliseconds go out, rounded. Arithmetic is
//! in whole numbers, wide enough for anything that the limits let through.

use quick_xml::events::BytesStart;

use super::attributes::each;
use crate::clock::LATEST_MS;

/// Why a time is not one.
const NO_TIME: &str = "its times cannot be read";
const TOO_LATE: &str = "a time is beyond 999 hours";

/// Frame and tick rates of a document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    /// Frames that are counted per second of a clock time.
    frames: u128,
    /// What they are multiplied with: 1000/1001 for NTSC.
    multiplier: (u128, u128),
    ticks: u128,
    /// Clock times are SMPTE time code: they count frames, which may be longer than they say.
    smpte: bool,
    drop: bool,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            frames: 30,
            multiplier: (1, 1),
            ticks: 1,
            smpte: false,
            drop: false,
        }
    }
}

impl Rates {
    /// The parameters of the root element; what is missing or out of range is as TTML 1 has it.
    pub(super) fn read(tag: &BytesStart<'_>) -> Self {
        let mut rates = Self::default();
        let (mut frames, mut ticks, mut sub_frames) = (None, None, None);
        each(tag, |name, value| match name {
            "frameRate" => frames = within(value, 1000),
            "subFrameRate" => sub_frames = within(value, 1000),
            "tickRate" => ticks = within(value, 1_000_000_000),
            "frameRateMultiplier" => {
                let mut parts = value
                    .split([' ', ':'])
                    .filter_map(|part| within(part, 1_000_000));
                if let (Some(numerator), Some(denominator)) = (parts.next(), parts.next()) {
                    rates.multiplier = (numerator, denominator);
                }
            }
            "timeBase" => rates.smpte = value == "smpte",
            "dropMode" => rates.drop = value == "dropNTSC",
            _ => {}
        });
        rates.frames = frames.unwrap_or(rates.frames);
        let default_ticks = frames.map_or(1, |frames| frames * sub_frames.unwrap_or(1));
        rates.ticks = ticks.unwrap_or(default_ticks);
        rates
    }

    /// A time expression.
    pub(super) fn time(&self, written: &str) -> Result<u64, &'static str> {
        let ms = if written.contains(':') {
            self.clock(written)?
        } else {
            self.offset(written)?
        };
        let ms = u64::try_from(ms).map_err(|_| TOO_LATE)?;
        if ms > LATEST_MS {
            Err(TOO_LATE)
        } else {
            Ok(ms)
        }
    }

    /// `HH:MM:SS`, `HH:MM:SS.fraction`, `HH:MM:SS:FF` or `HH:MM:SS:FF.sub`.
    fn clock(&self, written: &str) -> Result<u128, &'static str> {
        let mut parts = written.split([':', ';']);
        let (hours, minutes) = (parts.next(), parts.next());
        let (seconds, frames) = (parts.next(), parts.next());
        let (Some(hours), Some(minutes), Some(seconds), None) =
            (hours, minutes, seconds, parts.next())
        else {
            return Err(NO_TIME);
        };
        let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
        let (minutes, seconds) = (whole(minutes)?, whole(seconds)?);
        if minutes > 59 || seconds > 60 {
            return Err(NO_TIME);
        }
        let hours = whole(hours)?;
        if hours > 999 {
            return Err(TOO_LATE);
        }
        let minutes = hours * 60 + minutes;
        let seconds = minutes * 60 + seconds;
        let Some(frames) = frames else {
            return Ok(seconds * 1000 + rounded(nanos(fraction)?, 1_000_000));
        };
        let frames = whole(frames.split('.').next().unwrap_or(frames))?;
        if frames >= self.frames.max(1) {
            return Err(NO_TIME);
        }
        if !self.smpte {
            return Ok(seconds * 1000 + self.frames_ms(frames * NANO));
        }
        // Drop-frame code leaves out two numbers a minute, but for every tenth.
        let dropped = if self.drop {
            2 * (minutes - minutes / 10)
        } else {
            0
        };
        let counted = (seconds * self.frames + frames).saturating_sub(dropped);
        Ok(self.frames_ms(counted * NANO))
    }

    /// `12.5s` and the like: hours, minutes, seconds, milliseconds, frames, ticks.
    fn offset(&self, written: &str) -> Result<u128, &'static str> {
        let end = written
            .find(|c: char| c.is_ascii_alphabetic())
            .ok_or(NO_TIME)?;
        let (count, unit) = written.split_at(end);
        let (count, fraction) = count.split_once('.').unwrap_or((count, "0"));
        let count = whole(count)? * NANO + nanos(fraction)?;
        match unit {
            "h" => Ok(rounded(count * 3_600_000, NANO)),
            "m" => Ok(rounded(count * 60_000, NANO)),
            "s" => Ok(rounded(count * 1000, NANO)),
            "ms" => Ok(rounded(count, NANO)),
            "f" => Ok(self.frames_ms(count)),
            "t" => Ok(rounded(count * 1000, NANO * self.ticks)),
            _ => Err(NO_TIME),
        }
    }

    /// Milliseconds of billionths of frames.
    fn frames_ms(&self, nanos: u128) -> u128 {
        let (numerator, denominator) = self.multiplier;
        rounded(nanos * 1000 * denominator, NANO * self.frames * numerator)
    }
}

const NANO: u128 = 1_000_000_000;

fn rounded(value: u128, divisor: u128) -> u128 {
    (value + divisor / 2) / divisor.max(1)
}

/// Digits only, at most 16 of them: with these no product here can overflow.
fn whole(written: &str) -> Result<u128, &'static str> {
    if written.is_empty() || !written.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NO_TIME);
    }
    let digits = written.trim_start_matches('0');
    if digits.len() > 16 {
        return Err(TOO_LATE);
    }
    Ok(digits.parse().unwrap_or(0))
}

/// Nine digits after the point, as billionths.
fn nanos(fraction: &str) -> Result<u128, &'static str> {
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NO_TIME);
    }
    let nine = fraction.bytes().chain(*b"00000000").take(9);
    Ok(nine.fold(0, |sum, digit| sum * 10 + u128::from(digit - b'0')))
}

fn within(written: &str, most: u128) -> Option<u128> {
    whole(written)
        .ok()
        .filter(|value| (1..=most).contains(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(attributes: &str) -> Rates {
        Rates::read(&BytesStart::from_content(format!("tt {attributes}"), 2))
    }

    #[test]
    fn every_form_of_time_is_read() {
        let usual = rates("");
        for (written, ms) in [
            ("00:00:01", 1000),
            ("00:00:01.0405", 1041),
            ("100:00:00.5", 360_000_500),
            ("00:00:01:15", 1500),
            ("1.5h", 5_400_000),
            ("2m", 120_000),
            ("0.0004s", 0),
            ("250ms", 250),
            ("45f", 1500),
            ("7t", 7000),
        ] {
            assert_eq!(usual.time(written), Ok(ms), "{written}");
        }
    }

    #[test]
    fn rates_of_the_document_count() {
        let ntsc = "ttp:frameRate='30' ttp:frameRateMultiplier='1000 1001'";
        assert_eq!(rates(ntsc).time("30f"), Ok(1001));
        assert_eq!(rates(ntsc).time("01:00:00:15"), Ok(3_600_501));
        let smpte = format!("{ntsc} ttp:timeBase='smpte'");
        assert_eq!(rates(&smpte).time("01:00:00:00"), Ok(3_603_600));
        let drop = format!("{smpte} ttp:dropMode='dropNTSC'");
        assert_eq!(rates(&drop).time("01:00:00:00"), Ok(3_599_996));
        assert_eq!(rates("ttp:tickRate='10000000'").time("15000000t"), Ok(1500));
        assert_eq!(rates("ttp:frameRate='25'").time("50t"), Ok(2000));
        assert_eq!(
            rates("ttp:frameRate='0' ttp:tickRate='x'").time("30f"),
            Ok(1000)
        );
    }

    #[test]
    fn what_is_no_time_is_told_apart() {
        let usual = rates("");
        for written in [
            "",
            "1",
            "s",
            "-1s",
            "1 s",
            "1.s",
            "00:00",
            "00:61:00",
            "00:00:01:30",
            "1:2:3:4:5",
            "é:s",
        ] {
            assert_eq!(usual.time(written), Err(NO_TIME), "{written}");
        }
        for written in [
            "1000h",
            "999999999999999999h",
            "9999999999999999999t",
            "999999999999999999:00:00",
        ] {
            assert_eq!(usual.time(written), Err(TOO_LATE), "{written}");
        }
        let slow =
            rates("ttp:frameRate='1' ttp:frameRateMultiplier='1 1000000' ttp:timeBase='smpte'");
        assert_eq!(slow.time("9999999999999999f"), Err(TOO_LATE));
        assert_eq!(slow.time("999999999999999999:00:00:00"), Err(TOO_LATE));
    }
}
