//! Baggage: pairs that travel with a request, as W3C Baggage has them.

/// The name of the header.
pub(super) const BAGGAGE: &str = "baggage";
/// Most entries.
pub const MAX_BAGGAGE_ENTRIES: usize = 64;
/// Longest header, in bytes, read or written.
pub const MAX_BAGGAGE_BYTES: usize = 8_192;

/// Entries in their order, each key once, never more than a header can hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Baggage {
    entries: Vec<BaggageEntry>,
    /// Length of the entries in a header, each with a comma.
    bytes: usize,
}

/// A pair, and what is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaggageEntry {
    key: Box<str>,
    value: Box<str>,
    metadata: Box<str>,
}

/// Why an entry was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BaggageError {
    /// The key is empty or has a character that no token has.
    #[error("the key is not a token: letters, digits and !#$%&'*+-.^_`|~")]
    BadKey,
    /// The metadata are not `property` or `property=value`, separated by `;`.
    #[error("the metadata are not properties separated by semicolons")]
    BadMetadata,
    /// There is no room for it.
    #[error("baggage has at most 64 entries and 8192 bytes")]
    Full,
}

impl BaggageEntry {
    /// The key, a token.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The value, as it was before it was encoded.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The properties as they stand in the header, without the first `;`.
    #[must_use]
    pub fn metadata(&self) -> &str {
        &self.metadata
    }

    fn bytes(&self) -> usize {
        let value: usize = self.value.bytes().map(|c| if is_octet(c) { 1 } else { 3 }).sum();
        let metadata = if self.metadata.is_empty() { 0 } else { 1 + self.metadata.len() };
        self.key.len() + 1 + value + metadata + 1
    }
}

impl Baggage {
    /// Reads the lines of a header. Members that are not valid are left out,
    /// as is what goes beyond 64 members or 8192 bytes; of members with one
    /// key the last counts.
    #[must_use]
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut baggage = Self::default();
        let mut read = 0;
        for member in lines.into_iter().flat_map(|line| line.split(',')) {
            read += member.len() + 1;
            if read > MAX_BAGGAGE_BYTES + 1 {
                break;
            }
            let (pair, metadata) = member.split_once(';').unwrap_or((member, ""));
            let Some((key, value)) = pair.split_once('=') else { continue };
            let (key, value) = (trimmed(key), trimmed(value));
            if value.bytes().all(|c| is_octet(c) || c == b'%') {
                // What cannot be taken is left out: the sender cannot be told.
                let _ = baggage.insert(key, &decoded(value), metadata);
            }
        }
        baggage
    }

    /// Adds an entry, or puts another in the place of that with the same key.
    ///
    /// # Errors
    ///
    /// [`BaggageError`] says what the entry lacks; the baggage is as before.
    pub fn insert(&mut self, key: &str, value: &str, metadata: &str) -> Result<(), BaggageError> {
        if key.is_empty() || !key.bytes().all(is_token) {
            return Err(BaggageError::BadKey);
        }
        let metadata = properties(metadata).ok_or(BaggageError::BadMetadata)?;
        let metadata = metadata.into_boxed_str();
        let entry = BaggageEntry { key: key.into(), value: value.into(), metadata };
        let place = self.entries.iter().position(|known| *known.key == *key);
        let replaced = place.and_then(|at| self.entries.get(at)).map_or(0, BaggageEntry::bytes);
        let bytes = self.bytes - replaced + entry.bytes();
        let is_full = place.is_none() && self.entries.len() >= MAX_BAGGAGE_ENTRIES;
        if is_full || bytes > MAX_BAGGAGE_BYTES + 1 {
            return Err(BaggageError::Full);
        }
        self.bytes = bytes;
        match place {
            Some(at) => self.entries[at] = entry,
            None => self.entries.push(entry),
        }
        Ok(())
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.iter().find(|entry| &*entry.key == key).map(BaggageEntry::value)
    }

    /// The entries, in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, BaggageEntry> {
        self.entries.iter()
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The header's value.
    #[must_use]
    pub fn to_header(&self) -> String {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        let mut text = String::with_capacity(self.bytes);
        for entry in &self.entries {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(&entry.key);
            text.push('=');
            for c in entry.value.bytes() {
                if is_octet(c) {
                    text.push(char::from(c));
                } else {
                    text.push('%');
                    text.push(char::from(HEX[usize::from(c >> 4)]));
                    text.push(char::from(HEX[usize::from(c & 0xF)]));
                }
            }
            if !entry.metadata.is_empty() {
                text.push(';');
                text.push_str(&entry.metadata);
            }
        }
        text
    }
}

impl<'a> IntoIterator for &'a Baggage {
    type Item = &'a BaggageEntry;
    type IntoIter = std::slice::Iter<'a, BaggageEntry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// A character of a token (RFC 9110).
fn is_token(c: u8) -> bool {
    c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c)
}

/// A character that stands for itself in a value. The percent sign is legal
/// there but has to be encoded.
fn is_octet(c: u8) -> bool {
    c.is_ascii_graphic() && !b"\",;\\%".contains(&c)
}

/// Properties without white space around them; nothing if one is not valid.
fn properties(metadata: &str) -> Option<String> {
    let mut text = String::with_capacity(metadata.len());
    for property in metadata.split(';').map(trimmed).filter(|property| !property.is_empty()) {
        let (key, value) = match property.split_once('=') {
            Some((key, value)) => (trimmed(key), Some(trimmed(value))),
            None => (property, None),
        };
        let legal = !key.is_empty()
            && key.bytes().all(is_token)
            && value.is_none_or(|value| value.bytes().all(|c| is_octet(c) || c == b'%'));
        if !legal {
            return None;
        }
        if !text.is_empty() {
            text.push(';');
        }
        text.push_str(key);
        if let Some(value) = value {
            text.push('=');
            text.push_str(value);
        }
    }
    Some(text)
}

/// Undoes percent-encoding. A percent sign without two digits stays; what is
/// then not UTF-8 becomes U+FFFD, as the W3C text asks.
fn decoded(text: &str) -> String {
    let digit = |c: Option<&u8>| c.and_then(|c| char::from(*c).to_digit(16));
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(c) = bytes.get(at) {
        match (*c, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(*c);
                at += 1;
            }
        }
    }
    String::from_utf8(out)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries(line: &str) -> Vec<(String, String, String)> {
        let owned = |text: &str| text.to_owned();
        Baggage::parse([line])
            .iter()
            .map(|entry| (owned(entry.key()), owned(entry.value()), owned(entry.metadata())))
            .collect()
    }

    fn entry(key: &str, value: &str, metadata: &str) -> (String, String, String) {
        (key.to_owned(), value.to_owned(), metadata.to_owned())
    }

    // Cases of the test suite of w3c/baggage.
    #[test]
    fn the_cases_of_the_w3c() {
        assert_eq!(entries("SomeKey=SomeValue"), [entry("SomeKey", "SomeValue", "")]);
        assert_eq!(
            entries(
                "SomeKey \t = \t SomeValue \t ; \t SomePropKey=SomePropValue \t , \t SomeKey2 \t \
                 = \t SomeValue2 \t ; \t SomePropKey2 \t = \t SomePropValue2"
            ),
            [
                entry("SomeKey", "SomeValue", "SomePropKey=SomePropValue"),
                entry("SomeKey2", "SomeValue2", "SomePropKey2=SomePropValue2")
            ]
        );
        assert_eq!(
            entries("key1=value1;property1;property2, key2 = value2, key3=value3; p=v"),
            [
                entry("key1", "value1", "property1;property2"),
                entry("key2", "value2", ""),
                entry("key3", "value3", "p=v")
            ]
        );
        assert_eq!(entries("SomeKey=SomeValue=equals"), [entry("SomeKey", "SomeValue=equals", "")]);
        assert_eq!(
            entries("SomeKey=%09%20%22%27%3B%3Dasdf%21%40%23%24%25%5E%26%2A%28%29"),
            [entry("SomeKey", "\t \"';=asdf!@#$%^&*()", "")]
        );
        assert_eq!(entries("serverNode=DF%2028"), [entry("serverNode", "DF 28", "")]);
    }

    #[test]
    fn what_is_not_valid_is_left_out() {
        assert_eq!(
            entries("a=1,no,=2,b c=3,d=x y,e=\"q\",f=\\,g=4;bad key,h=5;;p, ,i="),
            [entry("a", "1", ""), entry("h", "5", "p"), entry("i", "", "")]
        );
        assert_eq!(entries("a=%zz%4"), [entry("a", "%zz%4", "")], "a bare percent sign stays");
        assert_eq!(entries("a=%FFx"), [entry("a", "\u{FFFD}x", "")]);
        assert_eq!(entries("a=ü"), []);
        assert_eq!(entries("a=1,b=2,a=3"), [entry("a", "3", ""), entry("b", "2", "")]);
    }

    #[test]
    fn limits() {
        let many: Vec<String> = (0..100).map(|n| format!("k{n}=v")).collect();
        assert_eq!(Baggage::parse([many.join(",").as_str()]).len(), MAX_BAGGAGE_ENTRIES);

        let full = format!("k={}", "x".repeat(MAX_BAGGAGE_BYTES - 2));
        let baggage = Baggage::parse([full.as_str()]);
        assert_eq!(baggage.to_header(), full);
        assert!(Baggage::parse([format!("{full}x").as_str()]).is_empty());

        let mut baggage = Baggage::default();
        assert_eq!(baggage.insert("k", &" ".repeat(3_000), ""), Err(BaggageError::Full));
        assert_eq!(baggage.insert("", "v", ""), Err(BaggageError::BadKey));
        assert_eq!(baggage.insert("k", "v", "p=\r\n"), Err(BaggageError::BadMetadata));
        assert_eq!(baggage.insert("k", "v", "p=1,other=2"), Err(BaggageError::BadMetadata));
        assert!(baggage.is_empty());
        let lines = ["a=1", "b=2"];
        assert_eq!(Baggage::parse(lines).to_header(), "a=1,b=2");
    }

    proptest! {
        #[test]
        fn anything_can_be_parsed(lines in prop::collection::vec(".{0,400}", 0..4)) {
            let baggage = Baggage::parse(lines.iter().map(String::as_str));
            prop_assert_eq!(Baggage::parse([baggage.to_header().as_str()]), baggage);
        }

        #[test]
        fn entries_survive(
            pairs in prop::collection::vec(("[!#-'*+.0-9A-Z^-z|~-]{1,10}", ".{0,30}"), 0..20)
        ) {
            let mut baggage = Baggage::default();
            for (key, value) in &pairs {
                prop_assert_eq!(baggage.insert(key, value, "p=1;q"), Ok(()));
            }
            let header = baggage.to_header();
            prop_assert!(header.is_ascii() && header.len() <= MAX_BAGGAGE_BYTES);
            prop_assert_eq!(Baggage::parse([header.as_str()]), baggage);
        }
    }
}
