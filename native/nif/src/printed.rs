//! Terms as the shell prints them, in bounded length and time: the VM's own
//! printing reads all of a binary, a string or an integer however large.

use std::fmt::Write as _;

use erlmcp_trace::{REDACTED, SecretKeys};

use crate::attribute::text_of;
use crate::raw::{CallEnv, RawTerm, TermType};
use crate::text::push_float;
use crate::work;

/// Longest text of a term, in bytes.
const MAX_BYTES: usize = 1_024;
/// Bytes that are printed in one step.
const BYTES_A_STEP: usize = 4;
/// Deepest nesting that is shown.
const MAX_DEPTH: u8 = 32;
/// Largest integer whose digits are shown, in bytes of its external format.
const MAX_INTEGER_BYTES: usize = 256;

/// Appends a term. Values of secret keys, in maps and in tuples of two, are not
/// shown.
pub(crate) fn push_printed(
    env: CallEnv<'_>,
    term: RawTerm,
    secrets: &'static SecretKeys,
    out: &mut String,
) {
    let begin = out.len();
    let end = begin + MAX_BYTES;
    let mut printer = Printer { env, out, end, secrets };
    if printer.term(term, 0).is_none() {
        let cut = (0..=end.min(out.len())).rev().find(|at| out.is_char_boundary(*at));
        out.truncate(cut.unwrap_or(0));
        out.push_str("...");
    }
    work::take(out.len().saturating_sub(begin) / BYTES_A_STEP);
}

struct Printer<'a> {
    env: CallEnv<'a>,
    out: &'a mut String,
    end: usize,
    secrets: &'static SecretKeys,
}

/// `None` when there is no more room.
type Printed = Option<()>;

impl Printer<'_> {
    fn room(&self) -> usize {
        self.end.saturating_sub(self.out.len())
    }

    fn text(&mut self, text: &str) -> Printed {
        self.out.push_str(text);
        (self.room() > 0).then_some(())
    }

    fn term(&mut self, term: RawTerm, depth: u8) -> Printed {
        if self.room() == 0 || depth > MAX_DEPTH || !work::take(1) {
            return None;
        }
        match self.env.type_of(term) {
            TermType::Atom => self.atom(term),
            TermType::Integer => self.integer(term),
            TermType::Float => {
                push_float(self.env.get_float(term)?, self.out);
                Some(())
            }
            TermType::Bitstring => match self.env.get_binary(term) {
                Some(bytes) => self.binary(bytes),
                None => self.text("<<_/bitstring>>"),
            },
            TermType::List => self.list(term, depth),
            TermType::Tuple => {
                self.text("{")?;
                self.elements(self.env.tuple_elements(term), depth + 1)?;
                self.text("}")
            }
            TermType::Map => self.map(term, depth),
            TermType::Other => {
                self.env.push_printed(term, self.out);
                Some(())
            }
        }
    }

    fn elements(&mut self, elements: &[RawTerm], depth: u8) -> Printed {
        if let [key, value] = elements {
            self.term(*key, depth)?;
            self.text(",")?;
            return self.value_of(*key, *value, depth);
        }
        for (index, element) in elements.iter().enumerate() {
            if index > 0 {
                self.text(",")?;
            }
            self.term(*element, depth)?;
        }
        Some(())
    }

    fn value_of(&mut self, key: RawTerm, value: RawTerm, depth: u8) -> Printed {
        let mut scratch = String::new();
        match text_of(self.env, key, &mut scratch) {
            Some(key) if self.secrets.is_secret(key) => self.text(REDACTED),
            _ => self.term(value, depth),
        }
    }

    fn atom(&mut self, term: RawTerm) -> Printed {
        let mut name = String::new();
        self.env.push_atom_name(term, &mut name);
        let is_plain = name.starts_with(char::is_lowercase)
            && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '@');
        if is_plain { self.text(&name) } else { self.quoted('\'', name.chars()) }
    }

    fn quoted(&mut self, quote: char, characters: impl Iterator<Item = char>) -> Printed {
        self.out.push(quote);
        for character in characters {
            match character {
                '\n' => self.out.push_str("\\n"),
                '\t' => self.out.push_str("\\t"),
                '\r' => self.out.push_str("\\r"),
                '\\' => self.out.push_str("\\\\"),
                _ if character == quote => self.out.extend(['\\', quote]),
                _ => self.out.push(character),
            }
            if self.room() == 0 {
                return None;
            }
        }
        self.out.push(quote);
        Some(())
    }

    fn integer(&mut self, term: RawTerm) -> Printed {
        if let Some(n) = self.env.get_int(term) {
            let _ = write!(self.out, "{n}");
            return Some(());
        }
        match self.env.external_size(term) {
            Some(size) if size <= MAX_INTEGER_BYTES => self.env.push_printed(term, self.out),
            size => {
                let bytes = size.unwrap_or_default();
                let _ = write!(self.out, "(integer of {bytes} bytes)");
            }
        }
        Some(())
    }

    fn binary(&mut self, bytes: &[u8]) -> Printed {
        let shown = bytes.get(..self.room() + 4).unwrap_or(bytes);
        let text = match std::str::from_utf8(shown) {
            Ok(text) => Some(text),
            // A character that was cut in two.
            Err(error) if shown.len() < bytes.len() && error.error_len().is_none() => {
                shown.get(..error.valid_up_to()).and_then(|valid| std::str::from_utf8(valid).ok())
            }
            Err(_) => None,
        };
        self.text("<<")?;
        match text.filter(|text| text.chars().all(|c| is_printable(c.into()))) {
            Some("") => {}
            Some(text) => {
                self.quoted('"', text.chars())?;
                if !text.is_ascii() {
                    self.text("/utf8")?;
                }
            }
            None => {
                for (index, byte) in shown.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    let _ = write!(self.out, "{comma}{byte}");
                    self.text("")?;
                }
            }
        }
        self.text(">>")
    }

    fn list(&mut self, term: RawTerm, depth: u8) -> Printed {
        if let Some(text) = self.characters(term) {
            return self.quoted('"', text.chars());
        }
        self.text("[")?;
        let mut rest = term;
        while let Some((head, tail)) = self.env.get_cell(rest) {
            if rest != term {
                self.text(",")?;
            }
            self.term(head, depth + 1)?;
            rest = tail;
        }
        if !self.env.is_list(rest) {
            self.text("|")?;
            self.term(rest, depth + 1)?;
        }
        self.text("]")
    }

    /// The beginning of a list of printable characters, as long as there is
    /// room for.
    fn characters(&self, term: RawTerm) -> Option<String> {
        let mut text = String::new();
        let mut rest = term;
        while let Some((head, tail)) = self.env.get_cell(rest) {
            if text.len() > self.room() {
                break;
            }
            let character = self.env.get_int(head).and_then(|n| u32::try_from(n).ok());
            text.push(character.filter(|c| is_printable(*c)).and_then(char::from_u32)?);
            rest = tail;
        }
        (!text.is_empty() && self.env.is_list(rest)).then_some(text)
    }

    fn map(&mut self, term: RawTerm, depth: u8) -> Printed {
        let env = self.env;
        self.text("#{")?;
        let mut printed = Some(());
        let mut is_first = true;
        env.each_pair(term, |key, value| {
            let comma = if is_first { "" } else { "," };
            is_first = false;
            printed = self.pair(comma, key, value, depth + 1);
            printed.is_some()
        });
        printed?;
        self.text("}")
    }

    fn pair(&mut self, comma: &str, key: RawTerm, value: RawTerm, depth: u8) -> Printed {
        self.text(comma)?;
        self.term(key, depth)?;
        self.text(" => ")?;
        self.value_of(key, value, depth)
    }
}

fn is_printable(character: u32) -> bool {
    matches!(character, 0x08..=0x0D | 0x1B | 0x20..=0x7E | 0xA0..=0xD7FF | 0xE000..=0xFFFD
        | 0x1_0000..=0x10_FFFF)
}
