//! The `tracestate` that travels beside a trace's ids.

use std::fmt;

/// Most members of a `tracestate`.
pub const MAX_TRACE_STATE_MEMBERS: usize = 32;
/// Longest `tracestate` that is passed on, in characters.
pub const MAX_TRACE_STATE_LENGTH: usize = 512;
/// Members longer than this are the first to go when the whole is too long.
const LONG_MEMBER: usize = 128;
/// Longest key and longest value of a member.
const MAX_KEY: usize = 256;
const MAX_VALUE: usize = 256;

/// What other tracing systems have sent along: valid by the grammar of W3C
/// Trace Context Level 2, or empty.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct TraceState(Box<str>);

impl TraceState {
    /// Reads the lines of a header, in their order. A member that is not valid,
    /// a key that comes twice and more than 32 members make the whole invalid,
    /// which gives an empty state. What is longer than 512 characters loses
    /// whole members: from the end those of more than 128 characters, then
    /// from the end any.
    ///
    /// Keys are those of Level 2, where `@` is a character as any other; Level
    /// 1 knew `tenant@vendor` only.
    #[must_use]
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut members = [""; MAX_TRACE_STATE_MEMBERS];
        let mut count = 0;
        for member in lines.into_iter().flat_map(|line| line.split(',')) {
            let member = member.trim_matches([' ', '\t']);
            if member.is_empty() {
                continue;
            }
            let (Some((key, value)), true) = (member.split_once('='), count < members.len()) else {
                return Self::default();
            };
            let repeated = members.iter().take(count).any(|other| key_of(other) == key);
            if repeated || !is_key(key) || !is_value(value) {
                return Self::default();
            }
            members[count] = member;
            count += 1;
        }
        let members = &mut members[..count];
        truncate(members);
        let mut joined = String::with_capacity(length(members));
        for member in members.iter().filter(|member| !member.is_empty()) {
            if !joined.is_empty() {
                joined.push(',');
            }
            joined.push_str(member);
        }
        Self(joined.into_boxed_str())
    }

    /// The header's value; empty if there is nothing to send.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys and values, in their order.
    pub fn members(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.split(',').filter_map(|member| member.split_once('='))
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.members().find_map(|(known, value)| (known == key).then_some(value))
    }
}

impl fmt::Debug for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceState({:?})", &self.0)
    }
}

fn key_of(member: &str) -> &str {
    member.split_once('=').map_or(member, |(key, _)| key)
}

/// Empties members until the rest is short enough.
fn truncate(members: &mut [&str]) {
    for longer_than in [LONG_MEMBER, 0] {
        for last in (0..members.len()).rev() {
            if length(members) <= MAX_TRACE_STATE_LENGTH {
                return;
            }
            if members[last].len() > longer_than {
                members[last] = "";
            }
        }
    }
}

/// Length of the members with the commas between them.
fn length(members: &[&str]) -> usize {
    let kept = members.iter().filter(|member| !member.is_empty());
    kept.map(|member| member.len() + 1).sum::<usize>().saturating_sub(1)
}

fn is_key(key: &str) -> bool {
    let is_first = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut bytes = key.bytes();
    key.len() <= MAX_KEY
        && bytes.next().is_some_and(|first| is_first(&first))
        && bytes.all(|c| is_first(&c) || matches!(c, b'_' | b'-' | b'*' | b'/' | b'@'))
}

/// Spaces are legal except at the end, which the caller has trimmed.
fn is_value(value: &str) -> bool {
    (1..=MAX_VALUE).contains(&value.len())
        && !value.ends_with(' ')
        && value.bytes().all(|c| matches!(c, 0x20..=0x7E) && c != b',' && c != b'=')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(lines: &[&str]) -> String {
        TraceState::parse(lines.iter().copied()).as_str().to_owned()
    }

    #[test]
    fn lines_are_joined_and_white_space_goes() {
        assert_eq!(
            parsed(&["foo=1 \t , \t bar=2,", "", "\t baz= 3 \t"]),
            "foo=1,bar=2,baz= 3",
            "spaces at the start of a value belong to it"
        );
        assert_eq!(parsed(&[" ,,\t"]), "");
        assert_eq!(TraceState::parse(["foo=1,bar=2"]).get("bar"), Some("2"));
        assert_eq!(TraceState::parse(["foo=1,bar=2"]).get("baz"), None);
    }

    #[test]
    fn what_is_too_long_loses_whole_members() {
        let long = format!("long={}", "x".repeat(200));
        let short: Vec<String> = (0..20).map(|n| format!("k{n:02}={}", "y".repeat(16))).collect();
        let lines = [long.as_str(), &short.join(",")];
        let kept = parsed(&lines);
        assert_eq!(kept, short.join(","), "the long member goes first: {} left", kept.len());

        let all: Vec<String> = (0..32).map(|n| format!("k{n:02}={}", "y".repeat(16))).collect();
        let kept = parsed(&[&all.join(",")]);
        assert_eq!(kept, all[..24].join(","), "then from the end");
        assert!(kept.len() <= MAX_TRACE_STATE_LENGTH);

        let two_long = format!("a={},b={}", "x".repeat(250), "y".repeat(250));
        assert_eq!(parsed(&[&two_long]), two_long, "507 characters are allowed");
        let three_long = format!("{two_long},c=1,d={}", "z".repeat(150));
        assert_eq!(parsed(&[&three_long]), format!("{two_long},c=1"));
    }

    fn member() -> impl Strategy<Value = (String, String)> {
        ("[a-z0-9][a-z0-9_*/@-]{0,20}", "[ -+\\--<>-~]{0,20}[!-+\\--<>-~]")
    }

    proptest! {
        #[test]
        fn anything_can_be_parsed(lines in prop::collection::vec(".{0,300}", 0..5)) {
            let state = TraceState::parse(lines.iter().map(String::as_str));
            prop_assert!(state.as_str().len() <= MAX_TRACE_STATE_LENGTH);
            prop_assert_eq!(TraceState::parse([state.as_str()]), state);
        }

        #[test]
        fn valid_members_pass_through(
            members in prop::collection::hash_map("[a-z0-9][a-z0-9_*/@-]{0,4}", "[!-+\\--<>-~]{1,8}", 0..30)
        ) {
            let line = members.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",");
            prop_assert_eq!(parsed(&[&line]), line);
        }

        #[test]
        fn one_member_passes_through((key, value) in member()) {
            let line = format!("{key}={value}");
            let state = TraceState::parse([line.as_str()]);
            prop_assert_eq!(state.get(&key), Some(value.as_str()));
        }
    }
}
