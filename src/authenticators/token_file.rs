//! A file of tokens: a line for each, with the token's SHA-256 and the account that it belongs to.
//!
//! A plain hash is enough because a token is 32 random bytes: nobody finds it by trying, as they would a password.

use super::{Authenticator, SetUpError, of_connection, presented, read_file};
use crate::auth::{Identity, Refusal};
use crate::handler::Request;
use crate::protocol::message::Account;
use crate::record::ConnectionInfo;
use crate::secret::{Digest, hex, random};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::OpenOptions;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Enough for some 800,000 tokens.
const MAX_FILE_BYTES: u64 = 64 << 20;
const MAX_LINE_BYTES: usize = 1 << 10;

/// What a line's hash begins with, so that another kind can be told from it.
const HASH_PREFIX: &str = "sha256:";
/// What our tokens begin with, so that one that has leaked is recognised by who finds it.
const TOKEN_PREFIX: &str = "hwt_";
const TOKEN_BYTES: usize = 32;

/// The accounts of a file of tokens, as it was when it was opened.
///
/// A line is `sha256:HASH ACCOUNT`, HASH being the token's SHA-256 in 64 hexadecimal digits; empty lines and those that
/// begin with `#` say nothing. An account may have several lines, so that a new token can be handed out before the old one
/// is removed. The file has at most 64 MiB, a line at most 1 KiB.
pub struct TokenFile {
    accounts: HashMap<Digest, Account>,
}

impl TokenFile {
    /// Reads a file of tokens.
    ///
    /// # Errors
    /// When it cannot be read, and for the first line that is not as it must be, with its number.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SetUpError> {
        let path = path.as_ref();
        let accounts = parse(&read_file(path, MAX_FILE_BYTES)?).map_err(|wrong| at(path, &wrong))?;
        Ok(Self { accounts })
    }

    /// Makes a token for an account and adds it to a file, which is made, readable by its owner alone, where there is none.
    /// Returns the token, `hwt_` and 64 hexadecimal digits: nobody can read it from the file again.
    ///
    /// # Errors
    /// When the file cannot be read or written, or is not one of tokens, and for an account that begins or ends with white
    /// space, which a line cannot say.
    pub fn add(path: impl AsRef<Path>, account: &Account) -> Result<String, SetUpError> {
        let path = path.as_ref();
        if account.as_str().trim() != account.as_str() {
            return Err(at(path, "the account must not begin or end with white space"));
        }
        let failed = |error: &dyn std::fmt::Display| at(path, &format!("cannot add a token: {error}"));
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).mode(0o600).open(path).map_err(|error| failed(&error))?;
        let present = read_file(path, MAX_FILE_BYTES)?;
        parse(&present).map_err(|wrong| at(path, &wrong))?;
        let digits = random::<TOKEN_BYTES>().map_err(|error| failed(&error))?;
        let token = format!("{TOKEN_PREFIX}{digits}");
        let begin = if present.last().is_some_and(|byte| *byte != b'\n') { "\n" } else { "" };
        let line = format!("{begin}{HASH_PREFIX}{} {account}\n", hex(&Digest::of(&token).0));
        file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| failed(&error))?;
        Ok(token)
    }

    fn identify(&self, token: &str) -> Result<Identity, Refusal> {
        let account = self.accounts.get(&Digest::of(token));
        account.cloned().map(Identity::new).ok_or_else(|| Refusal::unauthorized("the token is not known"))
    }
}

/// Blocks for nothing.
impl Authenticator for TokenFile {
    fn authenticate(&self, request: &Request) -> Result<Identity, Refusal> {
        self.identify(presented(request)?)
    }

    fn renew(&self, connection: &ConnectionInfo, token: &str) -> Result<Identity, Refusal> {
        of_connection(self.identify(token)?, connection)
    }
}

fn at(path: &Path, wrong: &str) -> SetUpError {
    SetUpError::new(format!("{}: {wrong}", path.display()))
}

/// Reads the lines; what is wrong begins with the line's number.
fn parse(file: &[u8]) -> Result<HashMap<Digest, Account>, String> {
    let mut accounts = HashMap::new();
    for (line, number) in file.split(|byte| *byte == b'\n').zip(1..) {
        add_line(line, &mut accounts).map_err(|wrong| format!("line {number}: {wrong}"))?;
    }
    Ok(accounts)
}

fn add_line(line: &[u8], accounts: &mut HashMap<Digest, Account>) -> Result<(), String> {
    if line.len() > MAX_LINE_BYTES {
        return Err(format!("it is longer than {MAX_LINE_BYTES} bytes"));
    }
    let line = std::str::from_utf8(line).map_err(|_| "it is not UTF-8")?.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    let (hash, account) = line.split_once(char::is_whitespace).ok_or("an account is missing behind the hash")?;
    let digest = hash.strip_prefix(HASH_PREFIX).and_then(unhex).map(Digest);
    let digest = digest.ok_or("it must begin with sha256: and 64 hexadecimal digits")?;
    let account = Account::new(account.trim_start()).map_err(|error| error.to_string())?;
    match accounts.entry(digest) {
        Entry::Occupied(known) if *known.get() != account => Err("this token is another account's already".into()),
        Entry::Occupied(_) => Ok(()),
        Entry::Vacant(free) => {
            free.insert(account);
            Ok(())
        }
    }
}

impl Eq for Digest {}

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

fn unhex(text: &str) -> Option<[u8; Digest::BYTES]> {
    let mut bytes = [0; Digest::BYTES];
    if text.len() != 2 * bytes.len() || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * n..2 * n + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    fn account(name: &str) -> Account {
        Account::new(name).unwrap()
    }

    fn line(token: &str, account: &str) -> String {
        format!("{HASH_PREFIX}{} {account}\n", hex(&Digest::of(token).0))
    }

    fn parsed(text: &str) -> Result<TokenFile, String> {
        parse(text.as_bytes()).map(|accounts| TokenFile { accounts })
    }

    /// A path in a folder of the test's own, where nothing is.
    fn path(test: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("heartwire-{}-{test}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        folder.join("tokens")
    }

    #[test]
    fn the_hash_is_what_sha256sum_says() {
        assert_eq!(hex(&Digest::of("abc").0), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(unhex(&hex(&Digest::of("abc").0)), Some(Digest::of("abc").0));
    }

    #[test]
    fn hashes_that_differ_anywhere_are_not_equal() {
        let digest = Digest::of("abc");
        assert!(digest == Digest(digest.0));
        for bit in 0..256 {
            let mut other = Digest(digest.0);
            other.0[bit / 8] ^= 1 << (bit % 8);
            assert!(digest != other, "bit {bit}");
        }
    }

    #[test]
    fn every_line_is_an_account_and_its_token() {
        let [a, b] = [line("a", "alice"), line("b", "\t bob the  builder").to_uppercase().replace("SHA256", "sha256")];
        let file = format!("# Some.\n\n{a}  {b}{}\r\n{}", line("2nd", "alice").trim_end(), line("#", "#").trim_end());
        let file = parsed(&file).unwrap();
        for (token, name) in [("a", "alice"), ("b", "BOB THE  BUILDER"), ("2nd", "alice"), ("#", "#")] {
            assert_eq!(file.identify(token), Ok(Identity::new(account(name))), "{token}");
        }
        for token in ["", "A", "a ", "ab", "alice", &hex(&Digest::of("a").0)] {
            assert_eq!(file.identify(token).unwrap_err().status, 401, "{token}");
        }
    }

    #[test]
    fn a_wrong_line_is_named_and_not_shown() {
        let good = line("a", "alice");
        let hash = good.split(' ').next().unwrap();
        let long = format!("{hash} {}", "x".repeat(129));
        for (wrong, essence) in [
            (hash, "account is missing"),
            ("SECRET alice", "must begin with sha256:"),
            ("sha256:SECRET alice", "64 hexadecimal digits"),
            (&format!("{} alice", &hash[..hash.len() - 1]), "64 hexadecimal digits"),
            (&format!("{hash}0 alice"), "64 hexadecimal digits"),
            (&format!("sha256:+{} alice", &hash["sha256:".len() + 1..]), "64 hexadecimal digits"),
            (&format!("sha256:é{} alice", &hash["sha256:".len() + 2..]), "64 hexadecimal digits"),
            (&hash.replace("sha256", "sha512"), "account is missing"),
            (&format!("{} alice", hash.replace("sha256", "SHA256")), "must begin with sha256:"),
            (&format!("{hash} SECRET\u{7}"), "an account must be"),
            (&long, "an account must be"),
            (&"#".repeat(MAX_LINE_BYTES + 1), "longer than 1024"),
            (&format!("{hash} SECRET"), "another account's"),
        ] {
            let error = parsed(&format!("{good}# \n{wrong}\n")).err().unwrap();
            assert!(error.starts_with("line 3: ") && error.contains(essence), "{wrong}: {error}");
            assert!(!error.contains("SECRET"), "{error}");
        }
        assert_eq!(parse(b"\n\xff\n").err().unwrap(), "line 2: it is not UTF-8");
        assert!(parsed(&format!("{good}{good}")).is_ok(), "the same twice is no contradiction");
        assert!(parsed(&"#".repeat(MAX_LINE_BYTES)).is_ok());
    }

    #[test]
    fn an_added_token_is_known_and_those_before_it_still_are() {
        let path = path("add");
        let first = TokenFile::add(&path, &account("alice")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, fs::read_to_string(&path).unwrap().trim_end()).unwrap();
        let second = TokenFile::add(&path, &account("alice in wonderland")).unwrap();
        assert!(first.starts_with("hwt_") && first.len() == 4 + 64 && first != second, "{first}");
        let file = TokenFile::open(&path).unwrap();
        assert_eq!(file.identify(&first), Ok(Identity::new(account("alice"))));
        assert_eq!(file.identify(&second), Ok(Identity::new(account("alice in wonderland"))));
        assert!(!fs::read_to_string(&path).unwrap().contains(&first["hwt_".len()..]));
    }

    #[test]
    fn nothing_is_added_to_what_is_no_file_of_tokens() {
        let path = path("foreign");
        fs::write(&path, "root:x:0:0\n").unwrap();
        let error = TokenFile::add(&path, &account("alice")).unwrap_err().to_string();
        assert!(error.contains("tokens: line 1: "), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "root:x:0:0\n");
        assert!(TokenFile::add(&path, &account(" alice")).unwrap_err().to_string().contains("white space"));
        assert!(TokenFile::add(path.join("below"), &account("alice")).is_err());
    }

    #[test]
    fn a_file_has_its_bound() {
        let path = path("bound");
        let error = TokenFile::open(&path).err().unwrap().to_string();
        assert!(error.starts_with("cannot read ") && error.contains("tokens"), "{error}");
        fs::File::create(&path).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
        assert!(TokenFile::open(&path).err().unwrap().to_string().contains("longer than 67108864 bytes"));
    }
}
