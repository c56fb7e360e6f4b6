//! Backslashes in lists: `\,` `\:` `\\`, as the kernel's overlayfs has them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Splits at every `separator` that no backslash precedes. The parts are
/// still escaped.
pub(super) fn split(list: &OsStr, separator: u8) -> Vec<OsString> {
    let mut parts = vec![Vec::new()];
    let mut bytes = list.as_bytes().iter();
    while let Some(&byte) = bytes.next() {
        if byte == separator {
            parts.push(Vec::new());
            continue;
        }
        // Never empty: it begins with one part and only grows.
        if let Some(part) = parts.last_mut() {
            part.push(byte);
            if byte == b'\\' {
                part.extend(bytes.next());
            }
        }
    }
    parts.into_iter().map(OsString::from_vec).collect()
}

/// The options in the value of one `-o`, still escaped. A comma inside quotes
/// separates nothing: SELinux contexts have some, `context="...:c1,c2"`.
pub(super) fn options_in(list: &OsStr) -> Vec<OsString> {
    let mut options: Vec<OsString> = Vec::new();
    let mut quoted = false;
    for part in split(list, b',') {
        let quotes = part.as_bytes().iter().filter(|byte| **byte == b'"');
        let odd = quotes.count() % 2 == 1;
        match options.last_mut() {
            Some(option) if quoted => {
                option.push(",");
                option.push(&part);
                quoted = !odd;
            }
            Some(_) | None => {
                quoted = odd && part.as_bytes().starts_with(b"context=");
                options.push(part);
            }
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use overlay_core::stack::mounts::unescape_option as unescape;

    use super::*;

    fn parts(list: &[u8]) -> Vec<Vec<u8>> {
        split(OsStr::from_bytes(list), b':')
            .iter()
            .map(|part| unescape(part).into_vec())
            .collect()
    }

    #[test]
    fn a_backslash_takes_away_the_meaning_of_the_next_byte() {
        assert_eq!(parts(b"a:b"), [b"a", b"b"]);
        assert_eq!(parts(br"a\:b:c\\:d\,e"), [&b"a:b"[..], br"c\", b"d,e"]);
        assert_eq!(parts(b"\xff\\:\xfe:x"), [&b"\xff:\xfe"[..], b"x"]);
    }

    #[test]
    fn empty_parts_stay_to_be_refused() {
        assert_eq!(parts(b"a::b"), [&b"a"[..], b"", b"b"]);
        assert_eq!(parts(b""), [b""]);
        assert_eq!(parts(b"a\\"), [b"a"]);
    }
    #[test]
    fn quotes_hold_a_context_together_and_nothing_else() {
        let list = "ro,context=\"a:b:s0:c1,c2,c3\",lowerdir=x\"y,upperdir=z,context=q";
        let expected = [
            "ro",
            "context=\"a:b:s0:c1,c2,c3\"",
            "lowerdir=x\"y",
            "upperdir=z",
            "context=q",
        ];
        assert_eq!(options_in(OsStr::new(list)), expected);
    }
}
