//! Text made safe for HTML, and figures made readable.

use std::fmt::{self, Display, Formatter, Write};
use std::time::{Duration, UNIX_EPOCH};

use crate::rfc3339;
use crate::traces::view::ValueView;

/// Text from anywhere, as the content of an element or of a quoted attribute.
/// Control characters become visible, so that none can hide or reorder others;
/// what writes from right to left is kept in its element by the style sheet.
pub(crate) struct Text<'a>(pub(crate) &'a str);

/// Code point of the first of the pictures for control characters.
const CONTROL_PICTURES: u32 = 0x2400;

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            '\n' | '\t' => f.write_char(c),
            '\r' => Ok(()),
            c if c < ' ' => {
                f.write_char(char::from_u32(CONTROL_PICTURES + u32::from(c)).unwrap_or(' '))
            }
            '\u{7F}'..='\u{9F}'
            | '\u{200B}'..='\u{200F}'
            | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{2069}'
            | '\u{FEFF}' => {
                write!(f, "&lt;U+{:04X}&gt;", u32::from(c))
            }
            c => f.write_char(c),
        })
    }
}

/// Nanoseconds with three digits that count and the unit that fits.
pub(crate) struct Nanos(pub(crate) u64);

impl Display for Nanos {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const UNITS: [(f64, &str); 3] = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")];
        let nanos = self.0 as f64;
        if self.0 >= 60_000_000_000 {
            let seconds = self.0 / 1_000_000_000;
            let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
            return match hours {
                0 => write!(f, "{minutes} m {:02} s", seconds % 60),
                _ => write!(f, "{hours} h {minutes:02} m"),
            };
        }
        // A hair below, so that 999.96 µs are 1.00 ms and not 1000 µs.
        match UNITS.into_iter().find(|(unit, _)| nanos >= unit * 0.999_5) {
            Some((unit, name)) => {
                let number = nanos / unit;
                let decimals = match number {
                    n if n >= 99.95 => 0,
                    n if n >= 9.995 => 1,
                    _ => 2,
                };
                write!(f, "{number:.decimals$} {name}")
            }
            None => write!(f, "{} ns", self.0),
        }
    }
}

/// A count with its thousands set apart, by a space that breaks no line.
pub(crate) struct Count(pub(crate) u64);

impl Display for Count {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                f.write_char('\u{202F}')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// `1 span`, `2 spans`.
pub(crate) struct Plural(pub(crate) u64, pub(crate) &'static str);

impl Display for Plural {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ending = if self.0 == 1 { "" } else { "s" };
        write!(f, "{}\u{A0}{}{ending}", Count(self.0), self.1)
    }
}

/// A point in time, as RFC 3339 writes it.
pub(crate) fn time(unix_nano: u64) -> String {
    rfc3339::format(UNIX_EPOCH + Duration::from_nanos(unix_nano))
}

/// A part of a whole in thousandths, for drawings of that width.
pub(crate) fn per_mille(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        whole => (part as f64 / whole as f64 * 1_000.0).clamp(0.0, 1_000.0),
    }
}

/// An attribute's value as text, not yet safe for HTML.
pub(crate) fn value(value: &ValueView) -> String {
    let mut text = String::new();
    push_value(&mut text, value, false);
    text
}

/// Most bytes of a value that are shown as such.
const MAX_SHOWN_BYTES: usize = 256;

fn push_value(out: &mut String, value: &ValueView, nested: bool) {
    // Writing to a string does not fail.
    let _ = match value {
        ValueView::Empty => write!(out, "(empty)"),
        ValueView::String(text) if nested => write!(out, "{text:?}"),
        ValueView::String(text) => write!(out, "{text}"),
        ValueView::Bool(truth) => write!(out, "{truth}"),
        ValueView::Int(number) => write!(out, "{number}"),
        ValueView::Double(number) => write!(out, "{number:?}"),
        ValueView::Bytes(bytes) => {
            let shown = bytes.iter().take(MAX_SHOWN_BYTES);
            let _ = shown.into_iter().try_for_each(|byte| write!(out, "{byte:02x}"));
            match bytes.len() {
                n if n > MAX_SHOWN_BYTES => write!(out, "… ({n} bytes)"),
                _ => Ok(()),
            }
        }
        ValueView::Array(values) => {
            out.push('[');
            for (place, value) in values.iter().enumerate() {
                out.push_str(if place > 0 { ", " } else { "" });
                push_value(out, value, true);
            }
            write!(out, "]")
        }
        ValueView::Map(pairs) => {
            out.push('{');
            for (place, (key, value)) in pairs.iter().enumerate() {
                let _ = write!(out, "{}{key:?}: ", if place > 0 { ", " } else { "" });
                push_value(out, value, true);
            }
            write!(out, "}}")
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_element() {
        let hostile = "<script>alert('x')</script>\" onload=\"x & \0\u{1b}[31m\u{202E}\r\n";
        assert_eq!(
            Text(hostile).to_string(),
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot; onload=&quot;x &amp; ␀␛[31m\
             &lt;U+202E&gt;\n"
        );
    }

    #[test]
    fn durations_have_three_digits() {
        let table = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (12_345, "12.3 µs"),
            (123_456, "123 µs"),
            (999_960, "1.00 ms"),
            (4_567_000, "4.57 ms"),
            (1_234_000_000, "1.23 s"),
            (59_900_000_000, "59.9 s"),
            (125_000_000_000, "2 m 05 s"),
            (3_720_000_000_000, "1 h 02 m"),
        ];
        for (nanos, expected) in table {
            assert_eq!(Nanos(nanos).to_string(), expected);
        }
    }

    #[test]
    fn values_are_readable() {
        let map = ValueView::Map(vec![
            (
                "a".into(),
                ValueView::Array(vec![ValueView::Int(1), ValueView::String("x\n".into())]),
            ),
            ("b".into(), ValueView::Bytes(vec![0, 255])),
            ("c".into(), ValueView::Double(1.0)),
        ]);
        assert_eq!(value(&map), r#"{"a": [1, "x\n"], "b": 00ff, "c": 1.0}"#);
        assert_eq!(value(&ValueView::String("as it is".into())), "as it is");
        assert_eq!(Count(1_234_567).to_string(), "1\u{202F}234\u{202F}567");
    }
}
