//! What looks like a secret: whether there is any, of which kinds, and a text
//! without it. A help against mistakes and no wall: what has no shape of its own is
//! not found. `lines` does it to files, without making them into others.
//!
//! Must not know where a text comes from.

mod lines;

use std::borrow::Cow;
use std::collections::BTreeMap;

pub use lines::{redact_json_lines, redact_text};

/// Levels of JSON within JSON that are looked into.
const NESTED_MAX: usize = 2;

/// What stands where a secret was.
pub const REDACTED: &str = "[redacted]";

/// What kind of secret something looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A private key.
    PrivateKey,
    /// A token that says whose it is by its beginning.
    Token,
    /// A JSON web token.
    WebToken,
    /// What stands behind `Bearer` and the like.
    Header,
    /// The value of something that is called a password, a secret, a token.
    Value,
    /// The password in an address.
    Login,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::PrivateKey,
        Self::Token,
        Self::WebToken,
        Self::Header,
        Self::Value,
        Self::Login,
    ];

    /// Its name in files and `--json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::PrivateKey => "private_key",
            Self::Token => "token",
            Self::WebToken => "web_token",
            Self::Header => "header",
            Self::Value => "value",
            Self::Login => "login",
        }
    }
}

/// How many of each kind there are.
pub type Counts = BTreeMap<Kind, u32>;

/// Beginnings of tokens, and how many more characters make it one.
const PREFIXES: [(&str, usize); 34] = [
    ("sk-ant-", 16),
    ("sk-proj-", 16),
    ("sk-", 20),
    ("sk_live_", 12),
    ("sk_test_", 12),
    ("rk_live_", 12),
    ("whsec_", 16),
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("ghr_", 20),
    ("github_pat_", 20),
    ("glpat-", 16),
    ("gldt-", 16),
    ("xoxb-", 12),
    ("xoxp-", 12),
    ("xoxa-", 12),
    ("xoxs-", 12),
    ("xapp-", 12),
    ("npm_", 24),
    ("pypi-", 24),
    ("AIza", 30),
    ("ya29.", 20),
    ("hf_", 24),
    ("dop_v1_", 24),
    ("SG.", 24),
    ("shpat_", 20),
    ("lin_api_", 20),
    ("glsa_", 20),
    ("tskey-", 16),
    ("AGE-SECRET-KEY-1", 20),
    ("AKIA", 16),
    ("ASIA", 16),
];
/// Words before which a header's value stands.
const SCHEMES: [&str; 3] = ["bearer ", "basic ", "token "];
/// Characters of such a value.
const SCHEME_CHARS_MIN: usize = 16;
/// Ends of names whose value is one.
const NAMES: [&str; 9] = [
    "password",
    "passwd",
    "secret",
    "token",
    "api_key",
    "apikey",
    "access_key",
    "private_key",
    "passphrase",
];
/// Characters of the value of such a name.
const VALUE_CHARS_MIN: usize = 6;
/// Bytes of a name or of the part of an address before its host that are looked
/// at.
const LOOK_BYTES_MAX: usize = 512;
/// Where a private key begins.
const KEY_BEGIN: &str = "-----BEGIN ";

/// The text with secrets taken out.
#[must_use]
pub fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = None;
    while let Some(c) = rest.chars().next() {
        if let Some((_, kept, secret)) = find(rest, before) {
            out.push_str(rest.get(..kept).unwrap_or_default());
            out.push_str(REDACTED);
            rest = rest.get(kept + secret..).unwrap_or_default();
            before = Some(']');
            continue;
        }
        out.push(c);
        before = Some(c);
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    out
}

/// What begins here, behind this character: its kind, and as [`Found`].
fn find(rest: &str, before: Option<char>) -> Option<(Kind, usize, usize)> {
    let as_kind = |kind, found: Found| found.map(|(kept, secret)| (kind, kept, secret));
    let login = || as_kind(Kind::Login, credentials(rest));
    if before.is_some_and(is_token_char) {
        // In the middle of a word nothing begins but an address.
        return login();
    }
    as_kind(Kind::PrivateKey, private_key(rest))
        .or_else(|| as_kind(Kind::Token, prefixed(rest)))
        .or_else(|| as_kind(Kind::WebToken, web_token(rest)))
        .or_else(|| as_kind(Kind::Header, header(rest)))
        .or_else(|| as_kind(Kind::Value, named(rest)))
        .or_else(login)
}

/// How many of each kind there are in a text, as it stands or as a text within JSON
/// within it: what [`holds`] finds, counted.
#[must_use]
pub fn count(text: &str) -> Counts {
    let mut all = Counts::new();
    let mut text = Cow::Borrowed(text);
    for _ in 0..=NESTED_MAX {
        for (kind, n) in counted(&text) {
            // The same ones are seen again a level further in.
            let most = all.entry(kind).or_default();
            *most = n.max(*most);
        }
        if !text.contains('\\') {
            break;
        }
        text = Cow::Owned(unescaped(&text));
    }
    all
}

fn counted(text: &str) -> Counts {
    let mut counts = Counts::new();
    let (mut before, mut passed) = (None, 0);
    for (at, c) in text.char_indices() {
        if at >= passed
            && let Some((kind, kept, secret)) = find(text.get(at..).unwrap_or_default(), before)
        {
            *counts.entry(kind).or_default() += 1;
            passed = at + kept + secret;
        }
        before = Some(c);
    }
    counts
}

/// Whether a text holds what looks like a secret, as it stands or as a text within
/// JSON within it, which may hold JSON itself.
#[must_use]
pub fn holds(text: &str) -> bool {
    let mut text = Cow::Borrowed(text);
    for _ in 0..=NESTED_MAX {
        if finds(&text) {
            return true;
        }
        if !text.contains('\\') {
            return false;
        }
        text = Cow::Owned(unescaped(&text));
    }
    false
}

fn finds(text: &str) -> bool {
    let mut before = None;
    for (at, c) in text.char_indices() {
        let rest = text.get(at..).unwrap_or_default();
        if find(rest, before).is_some() {
            return true;
        }
        before = Some(c);
    }
    false
}

/// One level of JSON's escapes taken off, as far as that matters here.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n' | 'r') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('u') => {
                let rest = chars.as_str();
                let code = rest.get(..4).and_then(|h| u32::from_str_radix(h, 16).ok());
                match code.and_then(char::from_u32) {
                    Some(c) => {
                        out.push(c);
                        chars = rest.get(4..).unwrap_or_default().chars();
                    }
                    None => out.push('u'),
                }
            }
            Some(c) => out.push(c),
            None => {}
        }
    }
    out
}

/// Bytes at the front that stay, and bytes behind them that go.
type Found = Option<(usize, usize)>;

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-.".contains(c)
}

fn run(text: &str, of: impl Fn(char) -> bool) -> usize {
    text.find(|c| !of(c)).unwrap_or(text.len())
}

fn private_key(text: &str) -> Found {
    let rest = text.strip_prefix(KEY_BEGIN)?;
    let (label, _) = rest.split_once("-----")?;
    if label.len() > 64 || !(label.ends_with("PRIVATE KEY") || label.ends_with("KEY BLOCK")) {
        return None;
    }
    let end = format!("-----END {label}-----");
    // One that is cut off goes to the end.
    let len = text.find(&end).map_or(text.len(), |at| at + end.len());
    Some((0, len))
}

fn prefixed(text: &str) -> Found {
    let (prefix, more) = PREFIXES.iter().find(|(prefix, more)| {
        let rest = text.strip_prefix(prefix);
        rest.is_some_and(|r| run(r, is_token_char) >= *more)
    })?;
    let rest = text.get(prefix.len()..)?;
    let len = run(rest, is_token_char);
    let token = rest.get(..len)?;
    // A word with hyphens in it may begin like one: tokens have digits, or are long.
    let likely = token.chars().any(|c| c.is_ascii_digit()) || *more >= 30 || len >= 40;
    likely.then_some((0, prefix.len() + len))
}

/// Three parts of base64, the first of which is a JSON object.
fn web_token(text: &str) -> Found {
    text.strip_prefix("eyJ")?;
    let token = text.get(..run(text, is_token_char))?;
    let mut parts = token.split('.');
    let (head, body) = (parts.next()?, parts.next()?);
    (head.len() > 8 && body.starts_with("eyJ")).then_some((0, token.len()))
}

fn header(text: &str) -> Found {
    let scheme = SCHEMES.iter().find(|scheme| {
        let front = text.get(..scheme.len());
        front.is_some_and(|f| f.eq_ignore_ascii_case(scheme))
    })?;
    let value = text.get(scheme.len()..)?;
    let len = run(value, |c| is_token_char(c) || "+/=~".contains(c));
    let token = value.get(..len)?;
    let likely = token
        .chars()
        .any(|c| c.is_ascii_digit() || "+/=".contains(c));
    (len >= SCHEME_CHARS_MIN && likely).then_some((scheme.len(), len))
}

/// `DB_PASSWORD=…`, `"api_key": "…"`.
fn named(text: &str) -> Found {
    let len = run(text, |c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if len == 0 || len > LOOK_BYTES_MAX {
        return None;
    }
    let (name, rest) = text.split_at_checked(len)?;
    // What costs nothing first: most words are followed by another one.
    let after = rest.trim_start_matches(['"', '\'']);
    let after = after.trim_start_matches(' ');
    let value = after.strip_prefix([':', '='])?;
    let lower = name.to_ascii_lowercase().replace('-', "_");
    if !NAMES.iter().any(|n| lower.ends_with(n)) {
        return None;
    }
    let value = value
        .trim_start_matches(' ')
        .trim_start_matches(['"', '\'']);
    let kept = text.len() - value.len();
    let len = run(value, |c| !c.is_whitespace() && !"\"'`,;)}".contains(c));
    let secret = value.get(..len)?;
    // A call, a variable or a word of prose is no value.
    let code = secret.contains(['(', '$', '<', '[', '{']);
    let shouted = name.chars().any(|c| c.is_ascii_uppercase())
        && !name.chars().any(|c| c.is_ascii_lowercase());
    let likely = shouted || secret.chars().any(|c| c.is_ascii_digit());
    (len >= VALUE_CHARS_MIN && likely && !code).then_some((kept, len))
}

/// The password in `scheme://user:password@host`.
fn credentials(text: &str) -> Found {
    let rest = text.strip_prefix("://")?;
    let end = run(rest, |c| !c.is_whitespace() && !"/\"'`<>".contains(c));
    let authority = rest.get(..end.min(rest.floor_char_boundary(LOOK_BYTES_MAX)))?;
    let (user_info, _) = authority.rsplit_once('@')?;
    let (user, password) = user_info.split_once(':')?;
    let code = password.is_empty() || password.starts_with(['$', '{', '<']);
    let code = code || password == REDACTED;
    (!code).then_some(("://".len() + user.len() + 1, password.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: &str) {
        assert_eq!(redact(text), want, "{text}");
    }

    #[test]
    fn every_prefix_has_its_value() {
        let tail = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8S9";
        for (prefix, _) in PREFIXES {
            check(
                &format!("use {prefix}{tail}, then"),
                &format!("use {REDACTED}, then"),
            );
            check(&format!("{prefix} alone"), &format!("{prefix} alone"));
        }
    }

    #[test]
    fn keys_headers_names_and_addresses() {
        for kind in ["RSA ", "EC ", "OPENSSH ", "ENCRYPTED ", ""] {
            check(
                &format!(
                    "a -----BEGIN {kind}PRIVATE KEY-----\nMIIE\n-----END {kind}PRIVATE KEY----- b"
                ),
                "a [redacted] b",
            );
        }
        check("-----BEGIN PRIVATE KEY-----\nMIIE", "[redacted]");
        check(
            "-----BEGIN CERTIFICATE-----\nx",
            "-----BEGIN CERTIFICATE-----\nx",
        );
        check(
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl end",
            "[redacted] end",
        );
        check(
            "Authorization: Bearer abcdef0123456789abcdef",
            "Authorization: Bearer [redacted]",
        );
        check("basic dXNlcjpwYXNzd29yZA==", "basic [redacted]");
        check("DB_PASSWORD=correcthorse", "DB_PASSWORD=[redacted]");
        check(r#""api_key": "k3yk3yk3y","#, r#""api_key": "[redacted]","#);
        check("client-secret = 'hunter22'", "client-secret = '[redacted]'");
        check(
            "postgres://ann:pa:ss@db.example.org/x",
            "postgres://ann:[redacted]@db.example.org/x",
        );
        check(
            "https://x:tok@h https://h/a@b",
            "https://x:[redacted]@h https://h/a@b",
        );
        check("key: AKIAIOSFODNN7EXAMPLE.", "key: [redacted]");
    }

    #[test]
    fn work_stays_as_it_is() {
        for text in [
            "",
            "fix the token parser in src/token.rs",
            "let token = self.next_token();",
            "password: required field",
            "PASSWORD=$(cat file) TOKEN=${X}",
            "a task-list-with-many-hyphens-in-it and risk-free",
            "ask-me-anything-about-this-very-long-thing",
            "basic understanding of the thing",
            "git@github.com:ann/x.git https://example.org/a:b",
            "测试 sk-测试 密码",
            "commit 0123456789abcdef0123456789abcdef01234567",
        ] {
            check(text, text);
        }
    }

    /// More than sixty secrets of as many kinds, none of them real.
    pub(super) fn planted() -> Vec<String> {
        let tail = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8S9";
        let mut all: Vec<String> = PREFIXES.iter().map(|(p, _)| format!("{p}{tail}")).collect();
        for kind in ["", "RSA ", "EC ", "DSA ", "OPENSSH ", "ENCRYPTED "] {
            all.push(format!(
                "-----BEGIN {kind}PRIVATE KEY-----\nMIIEow\n-----END {kind}PRIVATE KEY-----"
            ));
        }
        for scheme in ["Bearer", "bearer", "Basic", "token"] {
            all.push(format!("Authorization: {scheme} {tail}"));
        }
        for name in [
            "password",
            "DB_PASSWORD",
            "client_secret",
            "AWS_SECRET",
            "api-key",
            "apiKey",
            "accessToken",
            "private_key",
            "SSH_PASSPHRASE",
            "access_key",
            "SLACK_TOKEN",
            "passwd",
        ] {
            all.push(format!("{name}=q7Zt93hfkw"));
            all.push(format!("\"{name}\": \"q7Zt93hfkw\""));
        }
        for scheme in ["postgres", "mysql", "redis", "amqp", "mongodb+srv", "https"] {
            all.push(format!("{scheme}://ann:q7Zt93hfkw@db.example.org/x"));
        }
        all.push("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl".to_owned());
        all
    }

    #[test]
    fn they_are_counted_by_kind_at_any_level() {
        let tail = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8S9";
        let text = format!("ghp_{tail} and glpat-{tail}\nDB_PASSWORD=correcthorse");
        let json = |text: &str| serde_json::json!({ "content": text }).to_string();
        let want = Counts::from([(Kind::Token, 2), (Kind::Value, 1)]);
        for text in [text.clone(), json(&text), json(&json(&text))] {
            assert_eq!(count(&text), want, "{text}");
        }
        assert_eq!(count("let token = self.next_token();"), Counts::new());
        let words: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|k| k.word()).collect();
        assert_eq!(words.len(), Kind::ALL.len());
        for secret in planted() {
            assert!(!count(&json(&secret)).is_empty(), "{secret}");
        }
    }

    #[test]
    fn k_x01_every_planted_secret_is_seen_raw_and_within_json_within_json() {
        let json = |text: &str| serde_json::json!({ "content": text }).to_string();
        let secrets = planted();
        assert!(secrets.len() >= 60, "{}", secrets.len());
        for secret in secrets {
            let raw = format!("first of all, {secret}\nand then");
            let once = json(&raw);
            for text in [&raw, &once, &json(&once)] {
                assert!(holds(text), "{text}");
            }
        }
    }

    #[test]
    fn k_x01_of_a_thousand_clean_texts_few_are_stopped() {
        let words = [
            "let token = self.next_token();",
            "the parser fails in src/token.rs:14",
            "PASSWORD=$(cat file)",
            "git@github.com:ann/x.git",
            "commit 0123456789abcdef0123456789abcdef01234567",
            "测试 密码 令牌",
            "password: string;",
            "const secret = await vault.read(name)",
            "npm install && npm test",
            "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f2e01",
            "if (!apiKey) throw new Error(\"no key\")",
            "see https://example.org/a:b@c?x=1",
            "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "\"tokens\": 1234, \"max_tokens\": 4096",
            "basic understanding of bearer bonds",
            "toolu_01A09q90qw90lq917835lq9",
            "msg_013Zva2CMHLNnjNjJKqJ2EF",
            "req_011CSHoEeqs5C35K2UUqR7Fy",
        ];
        let mut stopped = 0;
        for n in 0..1000usize {
            let pick = |k: usize| words[(n * 7 + k * 11 + n / 18) % words.len()];
            let text = format!("{} {}\n{}\n{n}", pick(0), pick(1), pick(2));
            let line =
                serde_json::json!({ "type": "user", "uuid": pick(3), "message": text }).to_string();
            stopped += usize::from(holds(&line));
        }
        assert!(stopped <= 10, "{stopped} of 1000");
    }

    #[test]
    fn a_long_run_is_looked_at_once() {
        let long = "a".repeat(300_000);
        assert_eq!(redact(&long), long);
        let colons = "://".repeat(50_000);
        assert_eq!(redact(&colons), colons);
    }
}
