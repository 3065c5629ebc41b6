//! Clock times of SRT and WebVTT.
//!
//! `HH:MM:SS,mmm` and its relatives come in, milliseconds go out, and back. TTML and SCC, which
//! count frames, have their own.

/// The latest time that is read: 999:59:59.999.
pub(super) const LATEST_MS: u64 = 3_599_999_999;

/// Why a time is not one.
pub(super) const NO_TIME: &str = "its times cannot be read";
const NEGATIVE: &str = "a time is negative";
const TOO_LATE: &str = "a time is beyond 999 hours";

/// `[H…:]M[M]:S[S][.,f…]`: hours may be missing or many, fractions of any length are cut to
/// milliseconds. Minutes and seconds stay below 60.
pub(super) fn read(written: &str) -> Result<u64, &'static str> {
    if let Some(rest) = written.strip_prefix('-') {
        return Err(read(rest).map_or(NO_TIME, |_| NEGATIVE));
    }
    let (whole, fraction) = written.split_once(['.', ',']).unwrap_or((written, "0"));
    let mut parts = whole.rsplit(':');
    let (seconds, minutes) = (parts.next(), parts.next());
    let hours = parts.next().unwrap_or("0");
    let (Some(seconds), Some(minutes), None) = (seconds, minutes, parts.next()) else {
        return Err(NO_TIME);
    };
    let seconds = sixtieths(minutes)? * 60 + sixtieths(seconds)?;
    let millis = thousandths(fraction)?;
    digits(hours)?;
    let hours = hours.trim_start_matches('0');
    if hours.len() > 3 {
        return Err(TOO_LATE);
    }
    let hours: u64 = hours.parse().unwrap_or(0);
    Ok((hours * 3600 + seconds) * 1000 + millis)
}

/// Both times of `START --> END`, and what follows them.
pub(super) fn read_line(line: &str) -> Option<Result<(u64, u64, &str), &'static str>> {
    let (start, rest) = line.split_once("-->")?;
    let rest = rest.trim_start_matches([' ', '\t']);
    let (end, rest) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    let times = read(start.trim_matches([' ', '\t'])).and_then(|start| Ok((start, read(end)?)));
    Some(times.map(|(start, end)| (start, end, rest)))
}

/// Whether this looks like a time, read or not: digits and colons.
pub(super) fn is_meant(written: &str) -> bool {
    let written = written.trim_matches([' ', '\t']);
    let first = written.split([' ', '\t']).next().unwrap_or_default();
    let mark = |b: u8| b.is_ascii_digit() || b":.,-".contains(&b);
    first.contains(':') && first.bytes().all(mark)
}

fn digits(written: &str) -> Result<&str, &'static str> {
    let good = !written.is_empty() && written.bytes().all(|b| b.is_ascii_digit());
    good.then_some(written).ok_or(NO_TIME)
}

fn sixtieths(written: &str) -> Result<u64, &'static str> {
    let value: u64 = digits(written)?.parse().map_err(|_| NO_TIME)?;
    (written.len() <= 2 && value < 60)
        .then_some(value)
        .ok_or(NO_TIME)
}

fn thousandths(fraction: &str) -> Result<u64, &'static str> {
    let three = digits(fraction)?.bytes().chain(*b"00").take(3);
    Ok(three.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// `HH:MM:SS` + mark + `mmm`; more digits of hours where it takes them.
pub(super) fn write(ms: u64, mark: char) -> String {
    let (seconds, millis) = (ms / 1000, ms % 1000);
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}{mark}{millis:03}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_and_without_hours_are_read() {
        for (written, ms) in [
            ("00:00:01,000", 1_000),
            ("00:01.5", 1_500),
            ("1:2:3.0456", 3_723_045),
            ("25:00:00,000", 90_000_000),
            ("0000999:59:59.999", LATEST_MS),
            ("00:00:07", 7_000),
        ] {
            assert_eq!(read(written), Ok(ms), "{written}");
        }
    }

    #[test]
    fn what_is_no_time_is_told_apart() {
        for written in [
            "",
            ":",
            "1",
            "a:b:c",
            "00:60:00,0",
            "00:00:1e1",
            "1:2:3:4",
            "00:00:01,",
        ] {
            assert_eq!(read(written), Err(NO_TIME), "{written}");
        }
        assert_eq!(read("-00:00:01,000"), Err(NEGATIVE));
        assert_eq!(read("1000:00:00,000"), Err(TOO_LATE));
        let huge = format!("{}:00:00,0", "9".repeat(100_000));
        assert_eq!(read(&huge), Err(TOO_LATE));
    }

    #[test]
    fn what_is_written_is_read_again() {
        for ms in [0, 999, 61_001, 90_000_000, LATEST_MS] {
            assert_eq!(read(&write(ms, ',')), Ok(ms));
        }
        assert_eq!(write(90_061_001, '.'), "25:01:01.001");
    }
}
