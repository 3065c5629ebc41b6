//! How figures, sizes and texts are written, in the terminal and on the page.

use super::Spread;

/// Three digits that matter, such as `12.3`; a dash if there is no number.
pub fn figure(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "–".into(),
        0.0 => "0".into(),
        size if size < 0.0001 => "<0.0001".into(),
        size if size < 0.09995 => format!("{value:.4}"),
        size if size < 0.9995 => format!("{value:.3}"),
        size if size < 9.995 => format!("{value:.2}"),
        size if size < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// The quartiles, such as `12.1–12.4`.
pub fn quartiles(spread: &Spread) -> String {
    span(spread.low, spread.high)
}

/// From one figure to another, such as `12.1–12.4`.
pub fn span(from: f64, to: f64) -> String {
    match (figure(from), figure(to)) {
        (from, to) if from == to => from,
        (from, to) => format!("{from}–{to}"),
    }
}

/// A size such as `64 KiB`.
pub fn bytes(value: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = value;
    let mut unit = "B";
    for next in units {
        unit = next;
        // 1023.97 is 1 of the next unit once it is rounded.
        if value.abs() < 1023.95 {
            break;
        }
        if next != "TiB" {
            value /= 1024.0;
        }
    }
    let text = format!("{value:.1}");
    format!("{} {unit}", text.trim_end_matches(".0"))
}

/// Lines of at most so many characters, broken between words, or within one that is too long.
/// Control characters are left out: a driver's name is not to move the cursor.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let word: Vec<char> = word.chars().filter(|c| !c.is_control()).collect();
        for piece in word.chunks(width) {
            let Some(last) = lines.last_mut() else { break };
            let used = last.chars().count();
            if used == 0 {
                last.extend(piece);
            } else if used + 1 + piece.len() <= width {
                last.push(' ');
                last.extend(piece);
            } else {
                lines.push(piece.iter().collect());
            }
        }
    }
    lines
}

/// Text that can stand anywhere in the page, in an attribute too.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Neither HTML nor XML can hold these.
            c if c.is_control() && !matches!(c, '\t' | '\n' | '\r') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A cell's words, broken anywhere but between a number and its unit.
pub fn words(text: &str) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let glue =
        |text: String, unit: &str| text.replace(&format!(" {unit}"), &format!("\u{a0}{unit}"));
    units.into_iter().fold(escape(text), glue)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        let said = [123.4, 12.34, 1.234, 0.1234, 0.012, 99.97, 9.999, 0.00001].map(figure);
        let meant = [
            "123", "12.3", "1.23", "0.123", "0.0120", "100", "10.0", "<0.0001",
        ];
        assert_eq!(said, meant);
        assert_eq!([figure(0.0), figure(f64::NAN)], ["0", "–"]);
        assert_eq!(span(1.0, 1.001), "1.00");
    }

    #[test]
    fn wrapping_loses_nothing_but_control_characters() {
        assert_eq!(wrap("one two\x1b three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("", 3), [""]);
    }

    #[test]
    fn sizes_read_well() {
        let said = [512.0, 1024.0, 1536.0, 65536.0, 1048575.9, 1e15].map(bytes);
        assert_eq!(
            said,
            ["512 B", "1 KiB", "1.5 KiB", "64 KiB", "1 MiB", "909.5 TiB"]
        );
    }

    #[test]
    fn a_number_stays_with_its_unit() {
        assert_eq!(words("a <b>, 4 MiB"), "a &lt;b&gt;, 4\u{a0}MiB");
    }

    #[test]
    fn markup_is_text() {
        let escaped = escape("<a b='c' d=\"e\">&\u{1b}");
        assert_eq!(
            escaped,
            "&lt;a b=&#39;c&#39; d=&quot;e&quot;&gt;&amp;\u{fffd}"
        );
    }
}
