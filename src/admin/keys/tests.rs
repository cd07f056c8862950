//! Key files as they are made and read, and whom a request's key makes of it.

use super::*;
use crate::config::Rate;
use crate::http::HeadReader;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

/// A path of its own for each test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("heartwire-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("keys")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_file_is_made_for_its_owner_alone_and_read_again() {
    let scratch = Scratch::new("made");
    let made = KeyFile::open(scratch.file()).unwrap();
    assert!(made.made && made.warning.is_none());
    let roles: Vec<_> = made.keys.iter().map(|key| (key.name.as_str(), key.role)).collect();
    assert_eq!(
        roles,
        [("operator", AdminRole::Admin), ("back-end", AdminRole::Push), ("monitoring", AdminRole::Monitor)]
    );
    for key in &made.keys {
        let digits = key.secret.strip_prefix("hwk_").unwrap();
        assert!(digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", key.secret);
    }
    let secrets: BTreeSet<_> = made.keys.iter().map(|key| &key.secret).collect();
    assert_eq!(secrets.len(), 3);
    assert_eq!(fs::metadata(scratch.file()).unwrap().mode() & 0o777, 0o600);
    let read = KeyFile::open(scratch.file()).unwrap();
    assert!(!read.made);
    assert_eq!(read.keys, made.keys);
}

#[test]
fn a_file_that_others_may_open_is_read_with_a_warning() {
    let scratch = Scratch::new("open");
    KeyFile::open(scratch.file()).unwrap();
    for (mode, warned) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true), (0o620, true)] {
        fs::set_permissions(scratch.file(), Permissions::from_mode(mode)).unwrap();
        let warning = KeyFile::open(scratch.file()).unwrap().warning;
        assert_eq!(warning.is_some_and(|text| text.contains("chmod 600")), warned, "{mode:o}");
    }
}

#[test]
fn what_is_wrong_in_a_file_is_named_by_its_line_and_holds_no_secret() {
    let secret = "s".repeat(32);
    for (text, essence) in [
        ("".to_owned(), "it holds no key"),
        ("# nothing\n\n  \n\t# more\n".into(), "it holds no key"),
        (format!("a push {secret} more"), "line 1: a key is written as"),
        (format!("# one\na admin {secret}\nb {secret}"), "line 3: a key is written as"),
        (format!("a root {secret}"), "line 1: the role must be"),
        (format!("a push {}", &secret[1..]), "line 1: a secret has 32"),
        (format!("a push {secret}\u{e4}"), "line 1: a secret has 32"),
        (format!("a push {secret}\n\na admin {secret}"), "line 3: there is a key of the name \"a\""),
    ] {
        let wrong = parse(&text).unwrap_err();
        assert!(wrong.starts_with(essence) && !wrong.contains("sss"), "{text}: {wrong}");
    }
    let keys = parse(&format!("# one\r\n a\tpush  {secret} \r\n\r\nb admin {secret}\nc monitor {secret}")).unwrap();
    let key = |name: &str, role| AdminKey::new(name, role, &secret);
    assert_eq!(keys, [key("a", AdminRole::Push), key("b", AdminRole::Admin), key("c", AdminRole::Monitor)]);
}

#[test]
fn a_file_that_cannot_be_made_or_read_is_named() {
    let scratch = Scratch::new("nowhere");
    let missing = KeyFile::open(scratch.0.join("no/such/folder")).unwrap_err().to_string();
    assert!(missing.starts_with("admin-key-file ") && missing.contains("no/such/folder"), "{missing}");
    assert!(KeyFile::open(&scratch.0).is_err(), "a folder");
}

fn keys() -> [AdminKey; 2] {
    [AdminKey::new("back-end", AdminRole::Push, "p".repeat(32)), AdminKey::new("me", AdminRole::Admin, "a".repeat(40))]
}

/// The name and the role, or the status; for an Authorization of this.
fn identified(
    credentials: Option<&str>,
    keys: &[AdminKey],
    failures: &Failures,
    now: Instant,
) -> Result<(String, AdminRole), u16> {
    let header = credentials.map_or(String::new(), |credentials| format!("Authorization: {credentials}\r\n"));
    let request = format!("GET /?token={} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n", "a".repeat(40));
    let (head, _) = HeadReader::new().push(request.as_bytes()).unwrap().unwrap();
    identify(&head, keys, failures, IpAddr::from([192, 0, 2, 1]), now)
        .map(|caller| (caller.name.to_owned(), caller.role))
        .map_err(|refusal| refusal.status())
}

#[test]
fn a_key_says_who_asks() {
    let (failures, now) = (Failures::new(None), Instant::now());
    let asked = |credentials: &str| identified(Some(credentials), &keys(), &failures, now);
    assert_eq!(asked(&format!("Bearer {}", "p".repeat(32))), Ok(("back-end".into(), AdminRole::Push)));
    assert_eq!(asked(&format!("bearer {}", "a".repeat(40))), Ok(("me".into(), AdminRole::Admin)));
    let [push, admin] = keys().map(|key| key.secret);
    for wrong in [&push[1..], &format!("{push}p"), &push.to_uppercase(), &format!("{push}{admin}"), "x", "back-end"] {
        assert_eq!(asked(&format!("Bearer {wrong}")), Err(401), "{wrong}");
    }
    assert_eq!(asked(&format!("Basic {admin}")), Err(401));
    assert_eq!(identified(None, &keys(), &failures, now), Err(401), "what is in the query is no key");
    assert_eq!(identified(None, &[], &failures, now), Ok((String::new(), AdminRole::Admin)), "where nobody is asked");
}

#[test]
fn wrong_keys_are_throttled_and_no_key_is_not_a_wrong_one() {
    let (failures, start) = (Failures::new(Some(Rate { per_second: 1, burst: 3 })), Instant::now());
    let right = format!("Bearer {}", "p".repeat(32));
    for _ in 0..9 {
        assert_eq!(identified(None, &keys(), &failures, start), Err(401));
    }
    for _ in 0..3 {
        assert_eq!(identified(Some("Bearer x"), &keys(), &failures, start), Err(401));
    }
    assert_eq!(identified(Some("Bearer x"), &keys(), &failures, start), Err(429));
    assert_eq!(identified(Some(&right), &keys(), &failures, start), Err(429), "or guessing would pay");
    assert!(identified(Some(&right), &keys(), &failures, start + Duration::from_secs(1)).is_ok());
}
