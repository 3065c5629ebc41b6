//! Offset: by how much captions are moved, as Elastic Transcoder writes it.

/// A time offset in milliseconds: `[+-]SS.sss` with up to five digits of seconds, or `[+-]HH:mm:SS.sss` below a day.
pub fn offset_ms(written: &str) -> Option<i64> {
    let (sign, digits) = match written.as_bytes() {
        [b'-', ..] => (-1, written.get(1..)),
        [b'+', ..] => (1, written.get(1..)),
        _ => (1, Some(written)),
    };
    let digits = digits.unwrap_or_default();
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let parts: Vec<&str> = whole.splitn(4, ':').collect();
    let seconds = match *parts.as_slice() {
        [seconds] => bounded(seconds, 5, 99_999),
        [hours, minutes, seconds] => bounded(hours, 2, 23)
            .zip(bounded(minutes, 2, 59))
            .zip(bounded(seconds, 2, 59))
            .map(|((hours, minutes), seconds)| hours * 3600 + minutes * 60 + seconds),
        _ => None,
    };
    let millis = match fraction {
        "" => Some(0),
        fraction => bounded(fraction, 3, 999)
            .and_then(|value| Some(value * 10_i64.pow(3 - u32::try_from(fraction.len()).ok()?))),
    };
    let (seconds, millis) = seconds.zip(millis)?;
    Some(sign * (seconds * 1000 + millis))
}

/// A number of one to `longest` digits, up to `most`.
fn bounded(digits: &str, longest: usize, most: i64) -> Option<i64> {
    let good = (1..=longest).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let value: i64 = good.then(|| digits.parse().ok())??;
    (value <= most).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read() {
        for (written, ms) in [
            ("0", 0),
            ("1.5", 1_500),
            ("+12345.678", 12_345_678),
            ("-00.25", -250),
            ("7.", 7_000),
            ("01:02:03", 3_723_000),
            ("-23:59:59.999", -86_399_999),
            ("1:2:3.4", 3_723_400),
        ] {
            assert_eq!(offset_ms(written), Some(ms), "{written}");
        }
        for written in [
            "",
            "+",
            "-",
            ".5",
            "123456",
            "1.2345",
            "24:00:00",
            "00:60:00",
            "1:2",
            "1:2:3:4",
            "+-1",
            "1e3",
            "é",
            "--1",
            "00:00:00:00",
        ] {
            assert!(offset_ms(written).is_none(), "{written}");
        }
    }
}
