//! Text of peers, made safe for a log: nothing in it can end the line, move the cursor or reorder what is read.

use std::fmt::{self, Write};

/// How much of a text is shown, in bytes after escaping.
const MAX_BYTES: usize = 256;

/// Shows a peer's text on one line: control, format and other unprintable characters and the backslash are escaped as
/// in Rust's literals, and what is longer than 256 bytes after that is cut between two characters and ends in `…`.
#[derive(Clone, Copy)]
pub(crate) struct Printable<'a>(pub(crate) &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut room = MAX_BYTES;
        for character in self.0.chars() {
            // Quotes end nothing in a log line; everything else is for std's table of what can be printed.
            let is_quote = matches!(character, '"' | '\'');
            let bytes = if is_quote { 1 } else { character.escape_debug().map(char::len_utf8).sum() };
            if bytes > room {
                return f.write_char('…');
            }
            room -= bytes;
            match is_quote {
                true => f.write_char(character)?,
                false => write!(f, "{}", character.escape_debug())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Printable(text).to_string()
    }

    #[test]
    fn ordinary_text_of_any_script_stays_as_it_is() {
        for text in ["", "alice", r#"it's "fine""#, "Grüße, 你好, 🦀"] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn nothing_ends_the_line_or_drives_a_terminal() {
        assert_eq!(shown("a\r\nb\tc\0"), r"a\r\nb\tc\0");
        assert_eq!(shown("\x1b[31mred\x1b[0m\x07\x7f"), r"\u{1b}[31mred\u{1b}[0m\u{7}\u{7f}");
        assert_eq!(shown("a\u{85}b\u{9b}31m"), r"a\u{85}b\u{9b}31m", "C1: next line, and CSI in one character");
        assert_eq!(shown("a\u{2028}b\u{2029}c\x0b\x0c"), r"a\u{2028}b\u{2029}c\u{b}\u{c}");
    }

    #[test]
    fn nothing_reorders_hides_or_imitates() {
        assert_eq!(shown("\u{202e}gpj.exe"), r"\u{202e}gpj.exe");
        assert_eq!(shown("\u{2066}a\u{2069}\u{200f}\u{61c}"), r"\u{2066}a\u{2069}\u{200f}\u{61c}");
        assert_eq!(shown("a\u{200b}\u{feff}\u{ad}\u{a0}"), r"a\u{200b}\u{feff}\u{ad}\u{a0}");
        assert_eq!(shown("\u{e000}\u{10ffff}\u{e0041}"), r"\u{e000}\u{10ffff}\u{e0041}", "private, unassigned, tags");
    }

    #[test]
    fn an_escape_is_told_from_a_text_that_looks_like_one() {
        assert_eq!(shown("\n"), r"\n");
        assert_eq!(shown(r"\n"), r"\\n");
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_so() {
        assert_eq!(shown(&"x".repeat(256)), "x".repeat(256));
        assert_eq!(shown(&"x".repeat(257)), "x".repeat(256) + "…");
        assert_eq!(shown(&"€".repeat(100)), "€".repeat(85) + "…");
        assert_eq!(shown(&"\n".repeat(1_000)), r"\n".repeat(128) + "…");
        assert_eq!(shown(&"\u{1b}".repeat(1_000_000)), r"\u{1b}".repeat(42) + "…", "a whole escape or none of it");
    }
}
