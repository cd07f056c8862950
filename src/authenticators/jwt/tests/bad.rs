//! Tokens that must not pass, for every algorithm.

use super::support::{ALGORITHMS, Pair, base64, now, sign};
use super::*;
use jsonwebtoken::EncodingKey;

/// The claims of a token that passes; each bad one changes one of them.
const GOOD: [(&str, &str); 6] = [
    ("sub", r#""alice""#),
    ("exp", "2000003600"),
    ("nbf", "1999999000"),
    ("aud", r#""chat""#),
    ("iss", r#""https://example.org""#),
    ("rooms", r#"["lobby"]"#),
];

fn object(claims: &[(&str, &str)]) -> String {
    let members: Vec<_> = claims.iter().map(|(name, value)| format!(r#""{name}":{value}"#)).collect();
    format!("{{{}}}", members.join(","))
}

/// The good claims, with another value for one of them.
fn with(name: &str, value: &str) -> String {
    object(&GOOD.map(|(known, good)| (known, if known == name { value } else { good })))
}

fn without(name: &str) -> String {
    object(&GOOD.into_iter().filter(|(known, _)| *known != name).collect::<Vec<_>>())
}

/// Claims that are wrong, with a word for each.
fn bad_claims() -> Vec<(String, Vec<u8>)> {
    let mut bad = Vec::new();
    let mut add = |what: String, claims: String| bad.push((what, claims.into_bytes()));
    for name in ["sub", "exp", "aud", "iss"] {
        add(format!("no {name}"), without(name));
        add(format!("{name} in another case"), with(name, "null").replace(name, &name.to_uppercase()));
    }
    let wrong: [(&str, &[&str]); 6] = [
        (
            "exp",
            &["-1", "-0.5", "0", "1999999999", "1999999998.9", "1e400", r#""9""#, r#""9999999999""#, "[2000003600]"],
        ),
        ("sub", &[r#""""#, r#""a\u0000b""#, r#""a\nb""#, r#""\u0085""#, r#"["alice"]"#, "5", r#""\ud800""#]),
        (
            "aud",
            &[r#""other""#, "[]", r#"["other"]"#, r#""Chat""#, r#""chat ""#, r#"[["chat"]]"#, r#"["chat",5]"#, "5"],
        ),
        (
            "iss",
            &[r#""other""#, r#""https://example.org/""#, r#""HTTPS://example.org""#, r#"["https://example.org"]"#, "5"],
        ),
        ("nbf", &["2000000060", "9999999999", "1e400", r#""5""#, "[5]"]),
        ("rooms", &[r#""lobby""#, "[5]", r#"[""]"#, r#"["a\nb"]"#, r#"[["lobby"]]"#, r#"["lobby",null]"#, "5"]),
    ];
    for (name, values) in wrong {
        for value in values.iter().chain(&["null", "true", "{}", r#"{"a":1}"#]) {
            add(format!("{name} {value}"), with(name, value));
        }
        let (_, good) = GOOD.into_iter().find(|(known, _)| *known == name).unwrap();
        add(format!("{name} twice"), object(&[&GOOD[..], &[(name, good)]].concat()));
        let escaped = format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]);
        add(format!("{name} twice, escaped"), object(&[&[(&*escaped, good)], &GOOD[..]].concat()));
    }
    add("sub too long".into(), with("sub", &format!("{:?}", "x".repeat(129))));
    add("a room too long".into(), with("rooms", &format!("[{:?}]", "x".repeat(129))));
    add("too many rooms".into(), with("rooms", &format!("[{}]", [r#""r""#; 65].join(","))));
    let good = object(&GOOD);
    for whole in ["", "null", "5", "[]", "{}", "{", r#""alice""#, "NaN"] {
        add(format!("the claims {whole}"), whole.into());
    }
    add("an array of claims".into(), format!("[{good}]"));
    add("two objects".into(), format!("{good}{good}"));
    add("no end".into(), good[..good.len() - 1].into());
    add("more than an object".into(), format!("{good} x"));
    add("a byte order mark".into(), format!("\u{feff}{good}"));
    add("a comma too many".into(), good.replace('}', ",}"));
    add("a comment".into(), format!("/**/{good}"));
    add("too deep".into(), with("rooms", &format!("{}{}", "[".repeat(200), "]".repeat(200))));
    add("too long a token".into(), good.replacen('{', &format!(r#"{{"x":"{}","#, "x".repeat(8 << 10)), 1));
    bad.push(("not UTF-8".into(), [b"{\"sub\":\"\xff\",".to_vec(), without("sub")[1..].into()].concat()));
    bad
}

/// Headers that are wrong even under a signature by the right key.
fn bad_headers(own: JwtAlgorithm) -> Vec<String> {
    let own = own.to_string();
    let known = ["HS256", "HS384", "HS512", "RS256", "RS384", "PS256", "ES256", "ES384", "EdDSA"];
    let unknown = ["none", "None", "NONE", "nOnE", "", "ES256K", "ES512", "Ed25519", "HS1", "dir", "A128KW"];
    let others = known.into_iter().filter(|name| *name != own).chain(unknown).map(str::to_owned);
    let variants = [own.to_lowercase(), format!("{own} "), format!("\\u0000{own}"), own.replace('S', "\\u0455")];
    let mut bad: Vec<_> = others
        .chain(variants)
        .filter(|name| *name != own)
        .map(|name| format!(r#"{{"alg":"{name}","typ":"JWT"}}"#))
        .collect();
    for rest in [
        r#""crit":["exp"]"#,
        r#""crit":["exp"],"exp":1"#,
        r#""crit":[]"#,
        r#""crit":null"#,
        r#""crit":"b64""#,
        r#""crit":["b64"],"b64":false"#,
        r#""crit":["b64"],"b64":true"#,
        r#""b64":false"#,
        r#""alg":"none""#,
        r#""\u0061lg":"none""#,
    ] {
        bad.push(format!(r#"{{"alg":"{own}",{rest}}}"#));
        bad.push(format!(r#"{{{rest},"alg":"{own}"}}"#));
    }
    bad.extend([r#"{"typ":"JWT"}"#, "{}", "[]", "null", "", "{"].map(String::from));
    bad.extend([format!(r#"{{"alg":["{own}"]}}"#), format!(r#"{{"alg":{{"{own}":null,"x":1}}}}"#)]);
    bad.extend([format!(r#"{{"ALG":"{own}"}}"#), format!(r#"[{{"alg":"{own}"}}]"#), format!(r#""{own}""#)]);
    bad
}

/// Tokens that somebody signed who has not the key.
fn forged(own: JwtAlgorithm) -> Vec<String> {
    let claims = object(&GOOD);
    let mut secrets = vec![Vec::new(), vec![0; 32], b"secret".to_vec()];
    // What everybody may know: the public key, in any form, as the secret of HS256.
    for algorithm in ALGORITHMS.into_iter().filter(|algorithm| *algorithm != JwtAlgorithm::Hs256) {
        let pem = fs::read_to_string(Pair::of(algorithm).public()).unwrap();
        secrets.extend([pem.trim().into(), pem.trim().replace('\n', "\r\n").into(), pem.replace('\n', "").into()]);
        secrets.extend([pem.lines().nth(1).unwrap().into(), pem.into()]);
    }
    let foreign = Pair::foreign(own).signing();
    let mut forged = Vec::new();
    for header in [
        format!(r#"{{"alg":"{own}"}}"#),
        format!(r#"{{"alg":"{own}","kid":"../../../../dev/null"}}"#),
        format!(r#"{{"alg":"{own}","kid":"' UNION SELECT 'x"}}"#),
        format!(r#"{{"alg":"{own}","jku":"https://evil.example/keys"}}"#),
        format!(r#"{{"alg":"{own}","x5u":"https://evil.example/certificate","x5c":["MAA="]}}"#),
        format!(r#"{{"alg":"{own}","jwk":{{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}}}"#),
        format!(
            r#"{{"alg":"{own}","jwk":{{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}}}"#
        ),
    ] {
        forged.push(sign(&header, &claims, own.into(), &foreign));
        for secret in &secrets {
            for header in [header.clone(), header.replacen(&own.to_string(), "HS256", 1)] {
                let message = format!("{}.{}", base64(header.as_bytes(), true), base64(claims.as_bytes(), true));
                let key = EncodingKey::from_secret(secret);
                let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
                forged.push(format!("{message}.{signature}"));
            }
        }
    }
    let message = |alg: &str| {
        let header = format!(r#"{{"alg":"{alg}"}}"#);
        format!("{}.{}", base64(header.as_bytes(), true), base64(claims.as_bytes(), true))
    };
    for alg in ["none", "None", "nOnE", &own.to_string()] {
        // No signature, and signatures of nothing but zeros, which some verifiers of ECDSA took for valid.
        let zeros = [0, 1, 32, 64, 256].map(|length| format!("{}.{}", message(alg), base64(&vec![0; length], true)));
        forged.extend(zeros.into_iter().chain([message(alg)]));
    }
    forged
}

/// What becomes of a good token on a bad way.
fn mutilated(good: &str) -> Vec<String> {
    let parts: Vec<_> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("three parts") };
    let last = signature.len() - 1;
    let flipped = |at: usize| {
        let other = if signature.as_bytes()[at] == b'A' { "B" } else { "A" };
        format!("{header}.{claims}.{}{other}{}", &signature[..at], &signature[at + 1..])
    };
    let mut bad: Vec<_> = (0..good.len()).step_by(7).map(|length| good[..length].to_owned()).collect();
    bad.extend((0..last).step_by(5).map(flipped));
    bad.extend([good[..good.len() - 1].into(), good[1..].into(), good.to_lowercase(), good.to_uppercase()]);
    for (from, to) in
        [(header, ""), (claims, ""), (signature, ""), (header, "e30"), (claims, "e30"), (signature, "e30")]
    {
        bad.push(good.replace(from, to));
    }
    for part in [header, claims, signature] {
        // Padding, the other alphabet, white space, and bits behind the last byte.
        let changes = ["=", "==", "+", "/", " ", "\n", "%3D", "\0", "A", "é"];
        bad.extend(changes.iter().map(|change| good.replace(part, &format!("{part}{change}"))));
        bad.extend(changes.iter().map(|change| good.replace(part, &format!("{change}{part}"))));
        bad.extend([good.replace(part, &format!("{part}.{part}")), good.replace(part, &part.replace(['-', '_'], "+"))]);
    }
    // Two ways of writing the same bytes.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for digit in alphabet.chars().filter(|digit| !signature.ends_with(*digit)).step_by(3) {
        bad.push(format!("{}{digit}", &good[..good.len() - 1]));
    }
    for (before, behind) in [
        (".", ""),
        ("", "."),
        ("", "..."),
        ("..", ""),
        ("Bearer ", ""),
        ("\"", "\""),
        (" ", ""),
        ("", "\r\n"),
        ("", "#x"),
    ] {
        bad.push(format!("{before}{good}{behind}"));
    }
    bad.extend([
        format!("{good}.{good}"),
        format!("{good},{good}"),
        format!("{header}.{signature}.{claims}"),
        format!("{claims}.{header}.{signature}"),
        format!("{header}..{claims}.{signature}"),
        format!("{header}.{claims}.{signature}.e30.e30"),
        good.replace('.', "%2E"),
        good.replace('.', "\u{ff0e}"),
        format!(r#"{{"protected":"{header}","payload":"{claims}","signature":"{signature}"}}"#),
        "a".repeat(1 << 20),
        ".".repeat(1 << 20),
        "e30.".repeat(1 << 10),
    ]);
    bad.retain(|token| token != good);
    bad
}

#[test]
fn no_bad_token_passes() {
    for algorithm in ALGORITHMS {
        let pair = Pair::of(algorithm);
        let mut options = options(algorithm, pair.public());
        (options.audience, options.issuer) = (Some("chat".into()), Some("https://example.org".into()));
        let jwt = Jwt::open(&options).unwrap();
        let header = format!(r#"{{"alg":"{algorithm}","typ":"JWT","kid":"1"}}"#);
        let signed = |header: &str, claims: &[u8]| sign(header, claims, algorithm.into(), &pair.signing());
        let good = signed(&header, object(&GOOD).as_bytes());
        for claims in [object(&GOOD), without("nbf"), without("rooms"), with("aud", r#"["other","chat"]"#)] {
            let identity = jwt.verify(&signed(&header, claims.as_bytes()), now()).unwrap();
            assert_eq!(identity.account.as_str(), "alice", "{algorithm}: {claims}");
        }

        let bad_claims = bad_claims();
        let claims = bad_claims.iter().map(|(what, claims)| (what.clone(), signed(&header, claims)));
        let good_claims = object(&GOOD);
        let headers = bad_headers(algorithm).into_iter().map(|header| {
            let token = signed(&header, good_claims.as_bytes());
            (header, token)
        });
        let forged = forged(algorithm).into_iter().map(|token| ("forged".to_owned(), token));
        let mutilated = mutilated(&good).into_iter().map(|token| ("mutilated".to_owned(), token));
        let bad: Vec<_> = claims.chain(headers).chain(forged).chain(mutilated).collect();
        for (what, token) in &bad {
            match jwt.verify(token, now()) {
                Err(refusal) => assert_eq!(refusal.status, 401),
                Ok(identity) => panic!("{algorithm}: {what}: {token} is {identity:?}"),
            }
        }
        let different: std::collections::BTreeSet<_> = bad.iter().map(|(_, token)| token).collect();
        println!("{algorithm}: none of {} bad tokens passes", different.len());
        assert!(different.len() >= 200, "{} bad tokens", different.len());
        assert!(jwt.verify(&good, now()).is_ok());
    }
}
