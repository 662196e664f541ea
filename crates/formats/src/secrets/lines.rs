//! Files without what looks like a secret: of lines of JSON, whose texts change and
//! whose other bytes do not, and of text. What comes out passes [`holds`] line by
//! line, whatever it costs of it.

use super::{REDACTED, holds, named, redact};

/// Lines of JSON. Nothing where a line cannot be made harmless and stay JSON.
#[must_use]
pub fn redact_json_lines(content: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(content.len());
    for line in content.split_inclusive(|b| *b == b'\n') {
        match std::str::from_utf8(line) {
            Ok(text) if !holds(text) => out.extend_from_slice(line),
            Ok(text) => {
                let less = json_line(text)?;
                out.extend_from_slice(less.as_bytes());
            }
            // Nobody could read it as JSON anyway.
            Err(_) => return None,
        }
    }
    // Two lines may say together what neither says.
    (!holds(&String::from_utf8_lossy(&out))).then_some(out)
}

/// A text of any kind.
#[must_use]
pub fn redact_text(content: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(content);
    if !holds(&text) {
        return content.to_vec();
    }
    let less = redact(&text);
    let lines = less.split_inclusive('\n').map(|line| match holds(line) {
        true if line.ends_with('\n') => format!("{REDACTED}\n"),
        true => REDACTED.to_owned(),
        false => line.to_owned(),
    });
    let less: String = lines.collect();
    match holds(&less) {
        true => REDACTED.as_bytes().to_vec(),
        false => less.into_bytes(),
    }
}

fn json_line(line: &str) -> Option<String> {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    let mut key: Option<String> = None;
    while let Some(at) = rest.find('"') {
        let (between, from) = rest.split_at(at);
        out.push_str(between);
        // A key speaks of the text right behind it, and of nothing else.
        let of = key.take().filter(|_| between.trim() == ":");
        let (token, after) = from.split_at_checked(token_len(from)?)?;
        let text: String = serde_json::from_str(token).ok()?;
        let less = text_of(&text, of.as_deref());
        if less == text {
            out.push_str(token);
        } else {
            out.push_str(&serde_json::to_string(&less).ok()?);
        }
        if after.trim_start().starts_with(':') {
            key = Some(text);
        }
        rest = after;
    }
    out.push_str(rest);
    (!holds(&out)).then_some(out)
}

/// A text of a record, under this key.
fn text_of(text: &str, key: Option<&str>) -> String {
    if let Some(key) = key
        && named(&format!("{key}={text}")).is_some()
    {
        return REDACTED.to_owned();
    }
    let less = redact(text);
    match holds(&less) {
        // It is within JSON within this text.
        true => REDACTED.to_owned(),
        false => less,
    }
}

/// Bytes of the string that begins here, its quotes included.
fn token_len(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn lines(text: &str) -> Option<String> {
        let out = redact_json_lines(text.as_bytes());
        out.map(|out| String::from_utf8(out).unwrap())
    }

    #[test]
    fn k_x01_what_comes_out_is_json_and_holds_no_planted_secret() {
        let nested = |text: &str| json!({ "content": text }).to_string();
        for secret in super::super::tests::planted() {
            let raw = format!("first of all, {secret}\nand then");
            for text in [raw.clone(), nested(&raw), nested(&nested(&raw))] {
                let record = json!({"type": "user", "n": 1.50, "message": {"content": text}});
                let line = format!("{record}\n");
                let out = lines(&line).unwrap_or_else(|| panic!("given up: {line}"));
                assert!(!holds(&out), "{out}");
                let read: Value = serde_json::from_str(&out).unwrap();
                assert_eq!((&read["type"], &read["n"]), (&json!("user"), &json!(1.5)));
            }
            let text = redact_text(raw.as_bytes());
            assert!(!holds(&String::from_utf8(text).unwrap()), "{secret}");
        }
    }

    #[test]
    fn nothing_else_changes() {
        let line = "{\"a\" : 1.0e3,  \"b\":[\"\\u0041\",\"x\"], \"client_secret\": \"hunter22\"}\n";
        let want = line.replace("hunter22", REDACTED);
        let more = "{\"a\":\"\\u0041 stays\"}\nno json at all\n{\"cut\":\"";
        assert_eq!(
            lines(&format!("{line}{more}")),
            Some(format!("{want}{more}"))
        );
        // A secret in what is no JSON cannot be taken out of it as JSON.
        assert_eq!(lines("{\"cut\": \"password=hunter22"), None);
        assert_eq!(redact_json_lines(b"\xff"), None);
        let work = "fn main() {}\n// token parser\n";
        assert_eq!(redact_text(work.as_bytes()), work.as_bytes());
        assert_eq!(
            redact_text(b"a\nDB_PASSWORD=correcthorse\nb"),
            b"a\nDB_PASSWORD=[redacted]\nb"
        );
        assert_eq!(redact_text(b"\xff\xfe"), b"\xff\xfe");
    }
}
