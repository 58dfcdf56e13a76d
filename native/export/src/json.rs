//! The little JSON that `/health` needs.

use std::fmt::Write;

/// Appends a string with its quotes.
pub(crate) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                // Writing to a string does not fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Appends `"name":"text"`.
pub(crate) fn push_member(out: &mut String, name: &str, text: &str) {
    push_string(out, name);
    out.push(':');
    push_string(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_string_is_escaped() {
        let mut out = String::new();
        push_member(&mut out, "a", "é\"\\\n\u{1}\u{1f}");
        assert_eq!(out, r#""a":"é\"\\\n\u0001\u001f""#);
    }
}
