//! Terms as attributes.
//!
//! | term | OTLP |
//! |---|---|
//! | binary in UTF-8, atom (a module of Elixir by its name), list of printable characters | string |
//! | other binary, `{bytes, Binary}` | bytes |
//! | `true`, `false` | bool |
//! | integer of 64 bits, float | int, double |
//! | other list, `{array, List}` | array |
//! | map | map |
//! | anything else | string, as the shell prints it |

use erlmcp_trace::{ArrayWriter, AttributesWriter, MapWriter, OpenSpan, SecretKeys, ValueWriter};

use crate::atoms::atoms;
use crate::printed::push_printed;
use crate::raw::{CallEnv, RawTerm, TermType};
use crate::work;

/// Most cells of a list that are read for one value.
const MAX_CELLS: usize = 65_536;
/// Most bytes that are read of a name or a message.
const MAX_TEXT_BYTES: usize = 65_536;
/// What one attribute costs at least, in steps.
const ATTRIBUTE_STEPS: usize = 4;

/// Where attributes go: a span, an event or a link.
pub(crate) trait AttributeSink {
    fn set(&mut self, key: &str, write: impl FnOnce(ValueWriter<'_>));
    fn drop_some(&mut self, count: usize);
}

impl AttributeSink for OpenSpan {
    #[inline]
    fn set(&mut self, key: &str, write: impl FnOnce(ValueWriter<'_>)) {
        self.set_attribute(key, write);
    }

    fn drop_some(&mut self, count: usize) {
        self.drop_attributes(count);
    }
}

impl AttributeSink for AttributesWriter<'_> {
    fn set(&mut self, key: &str, write: impl FnOnce(ValueWriter<'_>)) {
        self.set_attribute(key, write);
    }

    fn drop_some(&mut self, count: usize) {
        self.drop_attributes(count);
    }
}

/// Memory for texts, used again from call to call.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// Sets the attributes of a map or of a list of pairs. `false` if it is
/// neither; what was understood before is set.
pub(crate) fn set_all(
    env: CallEnv<'_>,
    attributes: RawTerm,
    sink: &mut impl AttributeSink,
    texts: &mut Texts,
) -> bool {
    if let Some(size) = env.map_size(attributes) {
        let mut done = 0;
        env.each_pair(attributes, |key, value| {
            set_one(env, key, value, sink, texts);
            done += 1;
            work::take(ATTRIBUTE_STEPS)
        });
        sink.drop_some(size - done);
        return true;
    }
    let mut rest = attributes;
    let mut has_steps = true;
    for _ in 0..MAX_CELLS {
        let Some((pair, tail)) = env.get_cell(rest) else { break };
        match env.get_tuple::<2>(pair) {
            Some([key, value]) if has_steps => set_one(env, key, value, sink, texts),
            _ => sink.drop_some(1),
        }
        has_steps &= work::take(ATTRIBUTE_STEPS);
        rest = tail;
    }
    env.is_empty_list(rest)
}

/// Sets one attribute.
#[inline]
pub(crate) fn set_one(
    env: CallEnv<'_>,
    key: RawTerm,
    value: RawTerm,
    sink: &mut impl AttributeSink,
    texts: &mut Texts,
) {
    let Texts { key: text, value: scratch } = texts;
    match text_of(env, key, text) {
        Some(key) => sink.set(key, |writer| write(env, value, writer, scratch)),
        None => sink.drop_some(1),
    }
}

/// A binary, an atom or a string as text, without a copy where there is text
/// already.
#[inline]
pub(crate) fn text_of<'a>(
    env: CallEnv<'a>,
    term: RawTerm,
    scratch: &'a mut String,
) -> Option<&'a str> {
    if let Some(bytes) = env.get_binary(term) {
        return beginning(bytes, MAX_TEXT_BYTES);
    }
    scratch.clear();
    if env.push_atom(term, scratch) || push_characters(env, term, scratch) {
        return Some(scratch);
    }
    None
}

/// Any term as text: as [`text_of`], else as the shell prints it.
pub(crate) fn shown<'a>(env: CallEnv<'a>, term: RawTerm, scratch: &'a mut String) -> &'a str {
    if let Some(bytes) = env.get_binary(term)
        && let Some(text) = beginning(bytes, MAX_TEXT_BYTES)
    {
        return text;
    }
    scratch.clear();
    if env.is_empty_list(term) {
        return scratch;
    }
    if !env.push_atom(term, scratch) && !push_characters(env, term, scratch) {
        push_printed(env, term, SecretKeys::current(), scratch);
    }
    scratch
}

/// The text of a binary in UTF-8; of a longer one, that of so many bytes.
fn beginning(bytes: &[u8], most: usize) -> Option<&str> {
    let Some(cut) = bytes.get(..most) else { return std::str::from_utf8(bytes).ok() };
    work::take(cut.len() / 64);
    match std::str::from_utf8(cut) {
        Ok(text) => Some(text),
        // A character that was cut in two.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(cut.get(..error.valid_up_to())?).ok()
        }
        Err(_) => None,
    }
}

/// Appends a list of printable characters; `false`, and nothing is appended,
/// if the term is no such list or an empty one.
fn push_characters(env: CallEnv<'_>, term: RawTerm, out: &mut String) -> bool {
    let begin = out.len();
    let mut rest = term;
    for cell in 1..=MAX_CELLS {
        let Some((head, tail)) = env.get_cell(rest) else { break };
        if cell % 16 == 0 && !work::take(1) {
            break;
        }
        match head.small().or_else(|| env.get_int(head)).and_then(printable) {
            Some(character) => out.push(character),
            None => {
                out.truncate(begin);
                return false;
            }
        }
        rest = tail;
    }
    // An improper list is none, a longer one is cut.
    let is_string = out.len() > begin && env.is_list(rest);
    if !is_string {
        out.truncate(begin);
    }
    is_string
}

/// As `io_lib:printable_unicode_list/1` has it.
fn printable(n: i64) -> Option<char> {
    let character = char::from_u32(u32::try_from(n).ok()?)?;
    let is_control = character.is_control() && !matches!(character, '\x08'..='\x0D' | '\x1B');
    (!is_control).then_some(character)
}

/// Writes a term as a value.
#[inline]
pub(crate) fn write(env: CallEnv<'_>, term: RawTerm, to: ValueWriter<'_>, scratch: &mut String) {
    if let Some(n) = term.small() {
        return to.int(n);
    }
    match env.type_of(term) {
        TermType::Bitstring => match env.get_binary(term) {
            Some(bytes) => match beginning(bytes, to.most_bytes()) {
                Some(text) => to.string(text),
                None => to.bytes(bytes),
            },
            None => write_printed(env, term, to, scratch),
        },
        TermType::Atom if term == atoms().true_ => to.bool(true),
        TermType::Atom if term == atoms().false_ => to.bool(false),
        TermType::Atom => {
            scratch.clear();
            env.push_atom(term, scratch);
            to.string(scratch);
        }
        TermType::Integer => match env.get_int(term) {
            Some(n) => to.int(n),
            None => write_printed(env, term, to, scratch),
        },
        TermType::Float => match env.get_float(term) {
            Some(x) => to.double(x),
            None => write_printed(env, term, to, scratch),
        },
        TermType::List => {
            scratch.clear();
            if push_characters(env, term, scratch) {
                to.string(scratch);
            } else {
                to.array(|array| write_elements(env, term, array, scratch));
            }
        }
        TermType::Map => to.map(|map| write_pairs(env, term, map, scratch)),
        TermType::Tuple => write_tuple(env, term, to, scratch),
        TermType::Other => write_printed(env, term, to, scratch),
    }
}

fn write_printed(env: CallEnv<'_>, term: RawTerm, to: ValueWriter<'_>, scratch: &mut String) {
    scratch.clear();
    push_printed(env, term, to.secrets(), scratch);
    to.string(scratch);
}

fn write_tuple(env: CallEnv<'_>, term: RawTerm, to: ValueWriter<'_>, scratch: &mut String) {
    match env.get_tuple::<2>(term) {
        Some([kind, value]) if kind == atoms().bytes && env.get_binary(value).is_some() => {
            to.bytes(env.get_binary(value).unwrap_or_default());
        }
        Some([kind, list]) if kind == atoms().array && env.is_list(list) => {
            to.array(|array| write_elements(env, list, array, scratch));
        }
        _ => write_printed(env, term, to, scratch),
    }
}

fn write_elements(
    env: CallEnv<'_>,
    list: RawTerm,
    array: &mut ArrayWriter<'_>,
    scratch: &mut String,
) {
    let mut rest = list;
    for _ in 0..MAX_CELLS {
        let Some((head, tail)) = env.get_cell(rest) else { break };
        if !work::take(1) || !array.push(|value| write(env, head, value, scratch)) {
            return;
        }
        rest = tail;
    }
    // The tail of an improper list is its last element.
    if !env.is_list(rest) {
        array.push(|value| write(env, rest, value, scratch));
    }
}

fn write_pairs(env: CallEnv<'_>, map: RawTerm, out: &mut MapWriter<'_>, scratch: &mut String) {
    let mut text = String::new();
    env.each_pair(map, |key, value| {
        let key = shown(env, key, &mut text);
        work::take(2) && out.insert(key, |writer| write(env, value, writer, scratch))
    });
}
