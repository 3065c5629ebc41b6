//! A caption memory: 15 rows of 32 cells.
//!
//! The decoder writes cells and moves rows; a cue's [`Text`] and rough [`Place`] go out. Nothing
//! here knows a code or a time.

use crate::cue::{Align, Place, Style, Text, Vertical};

/// Columns of a row.
pub(super) const COLUMNS: usize = 32;
/// Rows of the screen.
pub(super) const ROWS: usize = 15;

/// Side margins that differ by no more than this make a centred text.
const CENTRED: usize = 6;

/// A character, or nothing.
type Cell = Option<(char, Style)>;

/// One screen of text.
#[derive(Debug, Default)]
pub(super) struct Memory {
    rows: [Row; ROWS],
}

/// One row. Most are never written to, and cost nothing to clear or to read.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    cells: [Cell; COLUMNS],
    used: bool,
}

impl Row {
    fn clear(&mut self) {
        if self.used {
            *self = Self::default();
        }
    }

    fn inked(&self) -> impl DoubleEndedIterator<Item = usize> {
        let cells = self.cells.iter().enumerate();
        let inked = cells.filter(|(_, cell)| cell.is_some_and(|(c, _)| c != ' '));
        inked.map(|(column, _)| column)
    }
}

impl Memory {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.iter().all(|row| !row.used)
    }

    pub(super) fn clear(&mut self) {
        self.rows.iter_mut().for_each(Row::clear);
    }

    /// Writes a cell; what lies outside the screen is nowhere.
    pub(super) fn set(&mut self, row: usize, column: usize, c: char, style: Style) {
        if let Some(row) = self.rows.get_mut(row)
            && let Some(cell) = row.cells.get_mut(column)
        {
            *cell = Some((c, style));
            row.used = true;
        }
    }

    /// Clears cells of a row.
    pub(super) fn erase(&mut self, row: usize, columns: impl Iterator<Item = usize>) {
        for column in columns {
            let row = self.rows.get_mut(row);
            if let Some(cell) = row.and_then(|row| row.cells.get_mut(column)) {
                *cell = None;
            }
        }
    }

    /// Moves the rows of the roll-up window that ends in `base` up by one; what leaves it is gone.
    pub(super) fn roll(&mut self, base: usize, depth: usize) {
        let top = (base + 1).saturating_sub(depth);
        for (index, row) in self.rows.iter_mut().enumerate() {
            if !(top..=base).contains(&index) {
                row.clear();
            }
        }
        if let Some(window) = self.rows.get_mut(top..=base) {
            window.rotate_left(1);
            window.last_mut().into_iter().for_each(Row::clear);
        }
    }

    /// Moves the text so that what stood in row `from` stands in row `to`.
    pub(super) fn shift(&mut self, from: usize, to: usize) {
        if from < ROWS && to < ROWS && !self.is_empty() {
            if from < to {
                self.rows.rotate_right(to - from);
            } else {
                self.rows.rotate_left(from - to);
            }
        }
    }

    /// What stands in it.
    pub(super) fn text(&self) -> Text {
        let mut text = Text::default();
        for row in self.rows.iter().filter(|row| row.used) {
            let (mut gap, mut begun) = (0, false);
            for cell in row.cells {
                match cell {
                    Some((c, style)) => {
                        (0..gap).for_each(|_| text.push_char(' ', style));
                        text.push_char(c, style);
                        (gap, begun) = (0, true);
                    }
                    None => gap += usize::from(begun),
                }
            }
            text.end_line();
        }
        text
    }

    /// Roughly where it stands: its first row, and which margin is narrower.
    pub(super) fn place(&self) -> Place {
        let mut rows = self.rows.iter();
        let row = rows.position(|row| row.used && row.inked().next().is_some());
        let vertical = match row {
            Some(0..=4) => Vertical::Top,
            Some(5..=9) => Vertical::Middle,
            _ => Vertical::Bottom,
        };
        let used = || self.rows.iter().filter(|row| row.used);
        let left = used().filter_map(|row| row.inked().next()).min();
        let last = used().filter_map(|row| row.inked().next_back()).max();
        let (left, right) = (left.unwrap_or(0), COLUMNS - 1 - last.unwrap_or(0));
        let align = if left.abs_diff(right) <= CENTRED {
            Align::Centre
        } else if left < right {
            Align::Left
        } else {
            Align::Right
        };
        Place { vertical, align }
    }
}
