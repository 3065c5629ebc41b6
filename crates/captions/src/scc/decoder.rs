//! A CEA-608 decoder for channel 1.
//!
//! Byte pairs come in, each with the frame it is sent in; a cue goes out whenever the displayed
//! memory changes. Pop-on text is written unseen and shown by `EOC`; roll-up text ends at every
//! carriage return; paint-on text is seen at once, and a pause in it begins another cue.

use super::chars;
use super::frame_ms;
use super::memory::{COLUMNS, Memory, ROWS};
use crate::Refused;
use crate::collect::{At, Collected};
use crate::cue::{Colour, Style};

/// Frames without text after which painted text is a cue of its own.
const PAUSE: u64 = 15;

/// The code of a solid block, which stands for a damaged character.
const DAMAGED: u8 = 0x7f;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Nothing was said yet, or text mode, or something that is not a caption of channel 1.
    Off,
    PopOn,
    RollUp(usize),
    PaintOn,
}

/// The state of the decoder.
#[derive(Debug)]
pub(super) struct Decoder {
    shown: Memory,
    loading: Memory,
    mode: Mode,
    /// Whether pairs belong to channel 1: the last control code tells.
    listening: bool,
    row: usize,
    column: usize,
    style: Style,
    /// The control code just before, whose repetition means nothing.
    before: Option<[u8; 2]>,
    now: u64,
    /// When the run of control codes began that the next character follows.
    run: Option<u64>,
    /// Since when the shown memory is as it is.
    since: u64,
    written: u64,
    line: At,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            shown: Memory::default(),
            loading: Memory::default(),
            mode: Mode::Off,
            listening: true,
            row: ROWS - 1,
            column: 0,
            style: Style::default(),
            before: None,
            now: 0,
            run: None,
            since: 0,
            written: 0,
            line: At { number: 1, line: 1 },
        }
    }
}

impl Decoder {
    /// One pair; a byte of wrong parity is `None`. Answers what of it was left out.
    pub(super) fn pair(
        &mut self,
        frame: u64,
        pair: [Option<u8>; 2],
        line: At,
        collected: &mut Collected,
    ) -> Result<Option<&'static str>, Refused> {
        if frame > self.now + 1 {
            self.run = None;
        }
        self.now = frame.max(self.now);
        match pair {
            [Some(first @ 0x10..=0x1f), Some(second)] => {
                return self.code([first, second], line, collected);
            }
            // Half a control code is none.
            [Some(0x10..=0x1f), None] => {}
            [Some(0x01..=0x0f), _] => self.listening = false,
            pair => {
                self.before = None;
                self.characters(pair.map(|code| code.unwrap_or(DAMAGED)), line, collected)?;
            }
        }
        Ok(None)
    }

    /// A control code, unless it is the repetition that each is sent with.
    fn code(
        &mut self,
        pair: [u8; 2],
        line: At,
        collected: &mut Collected,
    ) -> Result<Option<&'static str>, Refused> {
        if self.before.take() == Some(pair) {
            return Ok(None);
        }
        self.before = Some(pair);
        self.run.get_or_insert(self.now);
        let [first, _] = pair;
        self.listening = first & 0x08 == 0;
        if !self.listening {
            return Ok(Some("channel 2 is not read"));
        }
        if self.shown.is_empty() {
            self.line = line;
        }
        self.control(pair, line, collected)
    }

    fn characters(
        &mut self,
        pair: [u8; 2],
        line: At,
        collected: &mut Collected,
    ) -> Result<(), Refused> {
        for code in pair {
            if self.listening && code >= 0x20 {
                self.write(chars::basic(code), line, collected)?;
            }
        }
        if pair != [0, 0] {
            self.run = None;
        }
        Ok(())
    }

    fn control(
        &mut self,
        pair: [u8; 2],
        line: At,
        collected: &mut Collected,
    ) -> Result<Option<&'static str>, Refused> {
        match pair {
            [0x10, 0x40..=0x5f] | [0x11..=0x17, 0x40..=0x7f] => self.preamble(pair),
            [0x11, code @ 0x20..=0x2f] => {
                self.write(' ', line, collected)?;
                self.mid_row(code);
            }
            [0x11, code @ 0x30..=0x3f] => {
                if let Some(c) = chars::special(code) {
                    self.write(c, line, collected)?;
                }
            }
            [set @ (0x12 | 0x13), code @ 0x20..=0x3f] => {
                if let Some(c) = chars::extended(set, code) {
                    self.column = self.column.saturating_sub(1);
                    self.write(c, line, collected)?;
                }
            }
            [0x17, tab @ 0x21..=0x23] => {
                self.column = (self.column + usize::from(tab & 3)).min(COLUMNS - 1);
            }
            [0x17, code @ 0x2e..=0x2f] => {
                self.style.colour = Some(Colour::Black);
                self.style.underline = code & 1 == 1;
            }
            [0x14 | 0x15, code @ 0x20..=0x2f] => return self.command(code, line, collected),
            // Backgrounds and reserved codes change no text.
            _ => {}
        }
        Ok(None)
    }

    fn command(
        &mut self,
        code: u8,
        line: At,
        collected: &mut Collected,
    ) -> Result<Option<&'static str>, Refused> {
        match code {
            0x20 => self.mode = Mode::PopOn,
            0x21 => {
                self.column = self.column.saturating_sub(1);
                let (row, column) = (self.row, self.column);
                if let Some(memory) = self.memory() {
                    memory.erase(row, std::iter::once(column));
                }
            }
            0x24 => {
                let (row, column) = (self.row, self.column);
                if let Some(memory) = self.memory() {
                    memory.erase(row, column..COLUMNS);
                }
            }
            0x25..=0x27 => self.begin_roll_up(usize::from(code - 0x23), collected)?,
            0x28 => self.write(' ', line, collected)?,
            0x29 => self.mode = Mode::PaintOn,
            0x2a | 0x2b => {
                self.mode = Mode::Off;
                return Ok(Some("text mode is not read"));
            }
            0x2c => {
                self.show_until_now(collected)?;
                self.shown.clear();
            }
            0x2d => self.carriage_return(collected)?,
            0x2e => self.loading.clear(),
            0x2f => self.flip(line, collected)?,
            _ => {}
        }
        Ok(None)
    }

    /// Roll-up begins on an empty screen, in the last row.
    fn begin_roll_up(&mut self, depth: usize, collected: &mut Collected) -> Result<(), Refused> {
        if !matches!(self.mode, Mode::RollUp(_)) {
            self.show_until_now(collected)?;
            self.shown.clear();
            self.loading.clear();
            (self.row, self.column) = (ROWS - 1, 0);
        }
        self.mode = Mode::RollUp(depth);
        Ok(())
    }

    fn carriage_return(&mut self, collected: &mut Collected) -> Result<(), Refused> {
        let Mode::RollUp(depth) = self.mode else {
            return Ok(());
        };
        if !self.shown.is_empty() {
            self.show_until_now(collected)?;
            self.shown.roll(self.row, depth);
        }
        self.column = 0;
        self.style = Style::default();
        Ok(())
    }

    /// `EOC`: what was loaded is shown. Decoders keep the old text for loading; files that rely on
    /// it are garbled everywhere, so it is cleared.
    fn flip(&mut self, line: At, collected: &mut Collected) -> Result<(), Refused> {
        self.show_until_now(collected)?;
        std::mem::swap(&mut self.shown, &mut self.loading);
        self.loading.clear();
        self.mode = Mode::PopOn;
        self.line = line;
        Ok(())
    }

    /// A preamble address code: row, and either indent or colour.
    fn preamble(&mut self, [first, second]: [u8; 2]) {
        const LATER_ROWS: [usize; 8] = [10, 0, 2, 11, 13, 4, 6, 8];
        let row = LATER_ROWS.get(usize::from(first & 7)).copied().unwrap_or(0);
        let row = row + usize::from(second & 0x20 != 0 && first != 0x10);
        if matches!(self.mode, Mode::RollUp(_)) && row != self.row {
            self.shown.shift(self.row, row);
        }
        self.row = row;
        self.column = 0;
        self.style = Style::default();
        let attribute = second >> 1 & 0x0f;
        if attribute >= 8 {
            self.column = usize::from(attribute - 8) * 4;
            self.style.underline = second & 1 == 1;
        } else {
            self.mid_row(second);
        }
    }

    /// Colour or italics, and underlining.
    fn mid_row(&mut self, code: u8) {
        self.style.underline = code & 1 == 1;
        let colour = match code >> 1 & 7 {
            7 => {
                self.style.italic = true;
                return;
            }
            1 => Some(Colour::Lime),
            2 => Some(Colour::Blue),
            3 => Some(Colour::Cyan),
            4 => Some(Colour::Red),
            5 => Some(Colour::Yellow),
            6 => Some(Colour::Magenta),
            // White is what captions are.
            _ => None,
        };
        self.style.italic = false;
        self.style.colour = colour;
    }

    /// The memory that text goes to.
    fn memory(&mut self) -> Option<&mut Memory> {
        match self.mode {
            Mode::Off => None,
            Mode::PopOn => Some(&mut self.loading),
            Mode::RollUp(_) | Mode::PaintOn => Some(&mut self.shown),
        }
    }

    fn write(&mut self, c: char, line: At, collected: &mut Collected) -> Result<(), Refused> {
        if matches!(self.mode, Mode::RollUp(_) | Mode::PaintOn) {
            let began = self.run.unwrap_or(self.now);
            if self.shown.is_empty() {
                (self.since, self.line) = (began.max(self.since), line);
            } else if self.mode == Mode::PaintOn && self.now > self.written + PAUSE {
                self.show_until(began, collected)?;
                self.line = line;
            }
            self.written = self.now;
        }
        // What runs over the edge stays in the last column.
        let (row, column, style) = (self.row, self.column.min(COLUMNS - 1), self.style);
        if let Some(memory) = self.memory() {
            memory.set(row, column, c, style);
            self.column = column + 1;
        }
        Ok(())
    }

    fn show_until_now(&mut self, collected: &mut Collected) -> Result<(), Refused> {
        self.show_until(self.now, collected)
    }

    /// What is shown becomes a cue that ends at a frame, where something else begins.
    fn show_until(&mut self, end: u64, collected: &mut Collected) -> Result<(), Refused> {
        let end = end.max(self.since);
        let start = std::mem::replace(&mut self.since, end);
        if self.shown.is_empty() || end <= start {
            return Ok(());
        }
        let (text, place) = (self.shown.text(), self.shown.place());
        collected.cue(self.line, (frame_ms(start), frame_ms(end)), text, place)
    }

    /// The file is over; what is still shown times out.
    pub(super) fn finish(mut self, frames: u64, collected: &mut Collected) -> Result<(), Refused> {
        self.show_until(self.now + frames, collected)
    }
}
