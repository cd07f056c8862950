//! What tokens of every algorithm are worth, and which keys are accepted.

mod bad;
mod support;

use self::support::{ALGORITHMS, Pair, base64, now, sign};
use super::*;
use crate::record::{ConnectionId, Dialect};
use std::fs;

fn options(algorithm: JwtAlgorithm, key_file: &std::path::Path) -> JwtOptions {
    JwtOptions::new(algorithm, key_file)
}

fn account(name: &str) -> Account {
    Account::new(name).unwrap()
}

fn room(name: &str) -> Room {
    Room::new(name).unwrap()
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn what_was_issued_is_accepted_by_either_half_of_the_key_until_it_expires() {
    for algorithm in ALGORITHMS {
        let pair = Pair::of(algorithm);
        let mut options = options(algorithm, pair.private());
        (options.audience, options.issuer) = (Some("chat".into()), Some("https://example.org".into()));
        let rooms = [room("lobby"), room("café")];
        let token = Jwt::issue(&options, &account("al ice"), &rooms, HOUR, now()).unwrap();
        for key_file in [pair.private(), pair.public()] {
            options.key_file = key_file.to_owned();
            let jwt = Jwt::open(&options).unwrap();
            let identity = jwt.verify(&token, now()).unwrap();
            assert_eq!((identity.account.as_str(), &identity.rooms[..]), ("al ice", &rooms[..]), "{algorithm}");
            assert_eq!(identity.expires, Some(now() + HOUR));
            assert!(jwt.verify(&token, now() + HOUR - Duration::from_nanos(1)).is_ok());
            let late = jwt.verify(&token, now() + HOUR).unwrap_err();
            assert_eq!((late.status, &*late.message), (401, "the token has expired"));
        }
    }
}

/// The token of these claims, judged by a server without an audience.
fn judged(claims: &str) -> Result<Identity, Refusal> {
    let pair = Pair::of(JwtAlgorithm::Hs256);
    let jwt = Jwt::open(&options(JwtAlgorithm::Hs256, pair.private())).unwrap();
    jwt.verify(&sign(r#"{"alg":"HS256"}"#, claims, Algorithm::HS256, &pair.signing()), now())
}

#[test]
fn an_expiry_may_have_a_fraction_and_may_be_further_away_than_time_goes() {
    let expires = |exp: &str| judged(&format!(r#"{{"sub":"a","exp":{exp}}}"#)).unwrap().expires.unwrap();
    assert_eq!(expires("2000000000.5"), now() + Duration::from_millis(1500));
    assert_eq!(expires("2e9"), expires("2000000000.0"));
    let end = UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    for exp in ["253402300800", "18446744073709551615", "99999999999999999999999", "1e300"] {
        assert_eq!(expires(exp), end, "{exp}");
    }
    let pair = Pair::of(JwtAlgorithm::Hs256);
    let options = options(JwtAlgorithm::Hs256, pair.private());
    let token = Jwt::issue(&options, &account("a"), &[], Duration::MAX, now()).unwrap();
    assert_eq!(Jwt::open(&options).unwrap().verify(&token, now()).unwrap().expires, Some(end));
}

#[test]
fn a_token_for_an_audience_is_not_for_a_server_without_a_name() {
    assert!(judged(r#"{"sub":"a","exp":3e9,"iss":"anybody"}"#).is_ok());
    for audience in [r#""chat""#, r#"["chat"]"#, "[]", r#""""#, "null", "5"] {
        assert!(judged(&format!(r#"{{"sub":"a","exp":3e9,"aud":{audience}}}"#)).is_err(), "{audience}");
    }
}

#[test]
fn a_token_may_begin_a_little_later_than_our_clock_says() {
    let with_start = |nbf: u64| judged(&format!(r#"{{"sub":"a","exp":3e9,"nbf":{nbf}}}"#));
    let now = now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(with_start(0).is_ok() && with_start(now + 60).is_ok());
    assert_eq!(with_start(now + 61).unwrap_err().message, "the token is not valid yet");
}

#[test]
fn a_renewal_is_for_the_same_account() {
    let pair = Pair::of(JwtAlgorithm::Es256);
    let options = options(JwtAlgorithm::Es256, pair.private());
    let jwt = Jwt::open(&options).unwrap();
    let connection = ConnectionInfo {
        dialect: Dialect::Native,
        id: ConnectionId("1".into()),
        account: account("alice"),
        device: "".into(),
        address: ([127, 0, 0, 1], 1).into(),
        since: SystemTime::now(),
    };
    let renew = |name: &str| {
        let token = Jwt::issue(&options, &account(name), &[], HOUR, SystemTime::now()).unwrap();
        jwt.renew(&connection, &token)
    };
    assert_eq!(renew("alice").unwrap().account.as_str(), "alice");
    assert_eq!(renew("bob").unwrap_err().status, 403);
    assert_eq!(jwt.renew(&connection, "x").unwrap_err().status, 401);
}

#[test]
fn what_would_not_be_accepted_is_not_issued() {
    let pair = Pair::of(JwtAlgorithm::EdDsa);
    let issue = |key_file: &std::path::Path, rooms: &[Room], lifetime| {
        let options = options(JwtAlgorithm::EdDsa, key_file);
        Jwt::issue(&options, &account("alice"), rooms, lifetime, now()).map_err(|error| error.to_string())
    };
    assert!(issue(pair.private(), &[], Duration::from_secs(1)).is_ok());
    assert!(issue(pair.private(), &[], Duration::from_millis(999)).unwrap_err().contains("at least a second"));
    let rooms: Vec<_> = (10..75).map(|n| room(&n.to_string().repeat(64))).collect();
    assert!(issue(pair.private(), &rooms[..64], HOUR).unwrap_err().contains("longer than 8192 bytes"));
    assert!(issue(pair.private(), &rooms, HOUR).unwrap_err().contains("at most 64 rooms"));
    assert!(issue(pair.public(), &[], HOUR).unwrap_err().contains("public key, which cannot sign"));
}

#[test]
fn a_key_is_of_the_algorithm_and_strong_enough() {
    for algorithm in ALGORITHMS {
        for other in ALGORITHMS.into_iter().filter(|other| *other != algorithm) {
            let pair = Pair::of(other);
            for key_file in [pair.private(), pair.public()] {
                let error =
                    Jwt::open(&options(algorithm, key_file)).err().expect("another algorithm's key").to_string();
                assert!(error.contains(&format!("{algorithm} needs ")), "{error}");
            }
        }
        let folder = support::folder();
        let pem =
            |name: &str, der: &[u8]| format!("-----BEGIN {name}-----\n{}\n-----END {name}-----\n", base64(der, false));
        let (small, short, [p384, p384_public]) =
            (support::small_rsa_key(), support::short_ed_key(), support::p384_keys());
        for (n, wrong) in [
            String::new(),
            "short".repeat(6) + "x\n",
            "-----BEGIN PUBLIC KEY-----\n".into(),
            pem("PUBLIC KEY", b""),
            pem("PRIVATE KEY", &[0x30, 0x00]),
            pem("CERTIFICATE", &[0x30, 0x00]),
            pem("PUBLIC KEY", &small),
            pem("RSA PUBLIC KEY", &small),
            pem("PRIVATE KEY", &p384),
            pem("PUBLIC KEY", &p384_public),
            pem("PUBLIC KEY", &short),
        ]
        .into_iter()
        .enumerate()
        {
            let file = folder.join(format!("{algorithm}-{n}"));
            fs::write(&file, wrong).unwrap();
            assert!(Jwt::open(&options(algorithm, &file)).is_err(), "{algorithm} {n}");
            assert!(
                Jwt::issue(&options(algorithm, &file), &account("a"), &[], HOUR, now()).is_err(),
                "{algorithm} {n}"
            );
        }
        assert!(Jwt::open(&options(algorithm, &folder.join("nowhere"))).is_err());
    }
}

#[test]
fn a_secret_loses_the_line_break_that_it_ends_with_and_no_more() {
    let folder = support::folder();
    for (name, written, meant) in
        [("lf", "s\n", "s"), ("crlf", "s\r\n", "s"), ("two", "s\n\n", "s\n"), ("space", "s ", "s ")]
    {
        let (file, prefix) = (folder.join(name), "0123456789012345678901234567890");
        fs::write(&file, format!("{prefix}{written}")).unwrap();
        let key = jsonwebtoken::EncodingKey::from_secret(format!("{prefix}{meant}").as_bytes());
        let token = sign(r#"{"alg":"HS256"}"#, r#"{"sub":"a","exp":3e9}"#, Algorithm::HS256, &key);
        assert!(Jwt::open(&options(JwtAlgorithm::Hs256, &file)).unwrap().verify(&token, now()).is_ok(), "{name}");
    }
}

/// The least that a server's threads may have.
#[test]
fn the_deepest_token_fits_on_a_small_stack() {
    let pair = Pair::of(JwtAlgorithm::Rs256);
    let deep = format!("{}{}", "[".repeat(120), "]".repeat(120));
    let token = sign(
        &format!(r#"{{"alg":"RS256","x":{deep}}}"#),
        format!(r#"{{"sub":"a","exp":3e9,"x":{deep},"rooms":["r"]}}"#),
        Algorithm::RS256,
        &pair.signing(),
    );
    let jwt = Jwt::open(&options(JwtAlgorithm::Rs256, pair.public())).unwrap();
    let thread = std::thread::Builder::new().stack_size(128 << 10);
    assert!(thread.spawn(move || jwt.verify(&token, now()).is_ok()).unwrap().join().unwrap());
}
