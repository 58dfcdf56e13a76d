//! Terms as text: atoms, binaries, strings, and numbers for label values.

use std::fmt::Write as _;

use crate::raw::{CallEnv, RawTerm};

/// Longest string (list of characters) that is read before it is refused.
const MAX_STRING_CELLS: usize = 4_096;

/// Why a term is not text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotText {
    /// Another type of term.
    WrongType,
    /// A binary that is not UTF-8.
    NotUtf8,
    /// A list that ends in something else than `[]`.
    ImproperList,
    /// A list with an element that is no character.
    NotCharacters,
    /// A list of more than 4 096 elements.
    TooLong,
    /// An integer beyond 64 bits.
    HugeInteger,
}

impl NotText {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::WrongType => "is not an atom, a binary or a string",
            Self::NotUtf8 => "is a binary that is not UTF-8",
            Self::ImproperList => "is an improper list",
            Self::NotCharacters => "is a list that is not a string",
            Self::TooLong => "is a string of more than 4096 characters",
            Self::HugeInteger => "is an integer beyond 64 bits",
        }
    }
}

/// Appends an atom, a binary or a string.
pub(crate) fn push_text(env: CallEnv<'_>, term: RawTerm, out: &mut String) -> Result<(), NotText> {
    push_bounded_text(env, term, MAX_STRING_CELLS, out)
}

/// Appends an atom, a binary or a string of up to `max_cells` characters. On
/// an error something may have been appended.
pub(crate) fn push_bounded_text(
    env: CallEnv<'_>,
    term: RawTerm,
    max_cells: usize,
    out: &mut String,
) -> Result<(), NotText> {
    if let Some(bytes) = env.get_binary(term) {
        out.push_str(std::str::from_utf8(bytes).map_err(|_| NotText::NotUtf8)?);
        return Ok(());
    }
    if env.push_atom(term, out) {
        return Ok(());
    }
    if env.is_list(term) {
        return push_string(env, term, max_cells, out);
    }
    Err(NotText::WrongType)
}

/// Appends what a label's value may be: text or a number.
pub(crate) fn push_value(env: CallEnv<'_>, term: RawTerm, out: &mut String) -> Result<(), NotText> {
    match push_text(env, term, out) {
        Err(NotText::WrongType) => {}
        other => return other,
    }
    if let Some(n) = env.get_int(term) {
        let _ = write!(out, "{n}");
        return Ok(());
    }
    if let Some(x) = env.get_float(term) {
        push_float(x, out);
        return Ok(());
    }
    if env.is_number(term) { Err(NotText::HugeInteger) } else { Err(NotText::WrongType) }
}

/// Integers from here on are not all floats: Erlang then shows the exponent.
const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0;

/// Appends a float as Erlang's `float_to_binary(X, [short])`: the shortest
/// digits that read back as the same float, without an exponent where that is
/// no longer. The two zeros are one: they are `=:=` before OTP 27.
pub(crate) fn push_float(x: f64, out: &mut String) {
    let x = if x == 0.0 { 0.0 } else { x };
    let mut scientific = format!("{x:e}");
    if !scientific.contains('.')
        && let Some(exponent) = scientific.find('e')
    {
        scientific.insert_str(exponent, ".0");
    }
    let mut fixed = x.to_string();
    if !fixed.contains('.') {
        fixed.push_str(".0");
    }
    let is_fixed = fixed.len() <= scientific.len() && x.abs() < EXACT_INTEGERS;
    out.push_str(if is_fixed { &fixed } else { &scientific });
}

fn push_string(
    env: CallEnv<'_>,
    term: RawTerm,
    max_cells: usize,
    out: &mut String,
) -> Result<(), NotText> {
    let mut rest = term;
    for _ in 0..max_cells {
        let Some((head, tail)) = env.get_cell(rest) else {
            return if env.is_list(rest) { Ok(()) } else { Err(NotText::ImproperList) };
        };
        let character =
            env.get_int(head).and_then(|n| u32::try_from(n).ok()).and_then(char::from_u32);
        out.push(character.ok_or(NotText::NotCharacters)?);
        rest = tail;
    }
    if env.get_cell(rest).is_none() && env.is_list(rest) { Ok(()) } else { Err(NotText::TooLong) }
}
