//! Cue settings: `line:0 align:left position:10%` and the like.
//!
//! What follows a cue's times comes in, one of the nine places goes out, and back. Exact positions,
//! sizes, regions and vertical writing are not carried.

use super::USUAL;
use crate::cue::{Align, Place, Vertical};

/// Rows that browsers lay a picture out in: `line:5` is row 5 of these.
const ROWS: f64 = 15.0;

/// Reads the settings; what is unknown or wrong is passed over.
pub(super) fn read(settings: &str) -> Place {
    let mut place = USUAL;
    let (mut aligned, mut position) = (false, None);
    for setting in settings.split([' ', '\t']) {
        match setting.split_once(':') {
            Some(("line", value)) => place.vertical = line(value).unwrap_or(place.vertical),
            Some(("align", value)) => {
                aligned = true;
                match value {
                    "start" | "left" => place.align = Align::Left,
                    "end" | "right" => place.align = Align::Right,
                    "center" | "middle" => place.align = Align::Centre,
                    _ => aligned = false,
                }
            }
            Some(("position", value)) => position = percent(value),
            _ => {}
        }
    }
    if let (false, Some(position)) = (aligned, position) {
        place.align = match position {
            position if position < 34.0 => Align::Left,
            position if position < 67.0 => Align::Centre,
            _ => Align::Right,
        };
    }
    place
}

/// `10%`, `10%,start`, `3`, `-1`: rows count from the top, negative ones from the bottom.
fn line(value: &str) -> Option<Vertical> {
    if let Some(percent) = percent(value) {
        return Some(Vertical::at(percent));
    }
    let value = value.split(',').next()?;
    let row: f64 = value.get(..value.len().min(8))?.parse().ok()?;
    let row = if row < 0.0 { ROWS + row } else { row };
    row.is_finite().then(|| Vertical::at(row / ROWS * 100.0))
}

fn percent(value: &str) -> Option<f64> {
    let (number, _) = value.split_once('%')?;
    let number: f64 = number.get(..number.len().min(8))?.parse().ok()?;
    (0.0..=100.0).contains(&number).then_some(number)
}

/// The settings of a place, each after a space; none for the usual place.
pub(super) fn write(place: Place) -> String {
    let line = match place.vertical {
        Vertical::Bottom => "",
        Vertical::Middle => " line:50%",
        Vertical::Top => " line:0",
    };
    let align = match place.align {
        Align::Left => " align:left",
        Align::Centre => "",
        Align::Right => " align:right",
    };
    format!("{line}{align}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_rough() {
        for (settings, vertical, align) in [
            ("", Vertical::Bottom, Align::Centre),
            ("line:0 align:start", Vertical::Top, Align::Left),
            ("line:-1 align:end size:50%", Vertical::Bottom, Align::Right),
            ("line:-15", Vertical::Top, Align::Centre),
            (
                "line:50%,center position:10%,line-left",
                Vertical::Middle,
                Align::Left,
            ),
            ("position:90%", Vertical::Bottom, Align::Right),
            ("position:10% align:middle", Vertical::Bottom, Align::Centre),
            (
                "line:nan position:inf% align:x line:é%",
                Vertical::Bottom,
                Align::Centre,
            ),
        ] {
            assert_eq!(read(settings), Place { vertical, align }, "{settings}");
        }
    }
}
