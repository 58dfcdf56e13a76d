//! What all pages of traces have around them: one self-contained document.

use std::fmt::Write;
use std::sync::LazyLock;

use ring::digest::{SHA256, digest};

use crate::traces::markup::Text;
use crate::traces::selection::Selection;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The policy that lets nothing run and nothing be fetched but what the page
/// has from us, by its digest: names and attributes of spans are foreign text.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        base64(digest(&SHA256, STYLE.as_bytes()).as_ref()),
        base64(digest(&SHA256, SCRIPT.as_bytes()).as_ref()),
    )
});

/// The value of the header `Content-Security-Policy` for every page.
pub(crate) fn policy() -> &'static str {
    &POLICY
}

/// A whole document.
pub(crate) fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <style>{STYLE}</style>\n</head>\n<body>\n{body}\n<script>{SCRIPT}</script>\n\
         </body>\n</html>\n",
        Text(title)
    )
}

/// A page that has nothing to show, and says why. `text` is markup.
pub(crate) fn notice(title: &str, text: &str) -> String {
    let mut body = String::new();
    header(&mut body, "");
    // Writing to a string does not fail.
    let _ = write!(body, "<main class=\"notice\"><h1>{}</h1>\n{text}</main>", Text(title));
    document(title, &body)
}

/// Appends the bar at the top. `aside` is markup.
pub(crate) fn header(out: &mut String, aside: &str) {
    // Without, this is a page below the list.
    let up = if aside.is_empty() { " up" } else { "" };
    let _ = writeln!(
        out,
        "<header><a class=\"home{up}\" href=\"/debug/traces\">Traces</a>{aside}</header>"
    );
}

/// The page that says that nothing here records spans.
pub(crate) fn no_tracing() -> String {
    notice(
        "No tracing in this node",
        "<p>This listener was started without a source of spans, so there is nothing to show. \
         Spans appear here when tracing is enabled in the application \
         <code>erlmcp_instrumentation</code>.</p>",
    )
}

/// The page for a trace that is not in the ring.
pub(crate) fn no_such_trace(selection: &Selection) -> String {
    let id = selection.trace_id.map(|id| id.to_string()).unwrap_or_default();
    let text = format!(
        "<p>No span of <code class=\"id\">{id}</code> is held here. It may have been displaced \
         by newer ones, may not have ended yet, or was recorded by another node.</p>\
         <p><a href=\"/debug/traces\">All traces that are here</a></p>"
    );
    notice("This trace is not here", &text)
}

/// RFC 4648's base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = bits >> (18 - 6 * place) & 0x3F;
            let digit = DIGITS.get(digit as usize).filter(|_| place <= group.len());
            text.push(digit.map_or('=', |digit| char::from(*digit)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_in_the_rfc() {
        let table =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (text, expected) in table {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }

    #[test]
    fn the_page_has_nothing_from_elsewhere() {
        for source in [STYLE, SCRIPT] {
            for foreign in ["http:", "https:", "@import", "url(", "</"] {
                assert!(!source.contains(foreign), "{foreign}");
            }
        }
        assert!(!SCRIPT.contains("innerHTML") && !SCRIPT.contains("eval("));
    }
}
