//! How the demonstration looks.

use std::fmt::{Debug, Display};
use std::io::{self, Write};

use super::tree::{Line, Note};

/// Whether the page may use a terminal's colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// It may.
    On,
    /// Plain text.
    Off,
}

/// Where the demonstration is shown.
pub struct Page<'a> {
    out: &'a mut dyn Write,
    colours: Colours,
}

impl Debug for Page<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Page").finish_non_exhaustive()
    }
}

/// Codes of a terminal; see `console_codes(4)`.
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const YELLOW: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";

/// Where the notes stand, beside the names.
const NOTES: usize = 26;

impl<'a> Page<'a> {
    /// An empty page.
    pub fn new(out: &'a mut dyn Write, colours: Colours) -> Page<'a> {
        Page { out, colours }
    }

    pub(super) fn title(&mut self, number: usize, title: &str) -> io::Result<()> {
        let title = self.styled(BOLD, &format!("{number}. {title}"));
        writeln!(self.out, "\n{title}")
    }

    pub(super) fn command(&mut self, command: &dyn Display) -> io::Result<()> {
        let command = self.styled(BOLD, &format!("$ {command}"));
        writeln!(self.out, "  {command}")
    }

    pub(super) fn said(&mut self, text: &str) -> io::Result<()> {
        for line in text.lines() {
            writeln!(self.out, "  {line}")?;
        }
        Ok(())
    }

    pub(super) fn prose(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out)?;
        for line in text.lines() {
            writeln!(self.out, "{line}")?;
        }
        writeln!(self.out)
    }

    pub(super) fn layer(&mut self, name: &str, note: &str, lines: &[Line]) -> io::Result<()> {
        let head = format!("{name}/");
        match note {
            "" => self.beside("", &head, "")?,
            note => self.beside("", &head, &self.styled(DIM, note))?,
        }
        if lines.is_empty() {
            let nothing = self.styled(DIM, "(nothing)");
            writeln!(self.out, "    {nothing}")?;
        }
        for line in lines {
            let note = match &line.note {
                Note::None => String::new(),
                Note::Content(text) => format!("\"{text}\""),
                Note::Mark(mark) => self.styled(YELLOW, mark),
            };
            self.beside("  ", &line.name, &note)?;
        }
        Ok(())
    }

    pub(super) fn unchanged(&mut self, layer: &str) -> io::Result<()> {
        let note = self.styled(DIM, "as before");
        self.beside("", &format!("{layer}/"), &note)
    }

    fn beside(&mut self, indent: &str, name: &str, note: &str) -> io::Result<()> {
        let name = format!("{indent}{name}");
        if note.is_empty() {
            return writeln!(self.out, "  {name}");
        }
        writeln!(self.out, "  {name:NOTES$} {note}")
    }

    fn styled(&self, style: &str, text: &str) -> String {
        match self.colours {
            Colours::On => format!("{style}{text}{PLAIN}"),
            Colours::Off => text.to_owned(),
        }
    }
}
