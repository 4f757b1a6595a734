//! Heads and bodies as anybody may send them, before every scheme of signatures.
#![cfg_attr(feature = "run", no_main)]

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use strait_hooks::signature::{Algorithm, Encoding, HmacScheme, Scheme, Secret};

/// `NAME VALUE` lines, an empty line, the body; the first byte chooses the scheme.
fn parse(data: &[u8]) -> Option<(u8, HeaderMap, &[u8])> {
    let (choice, mut rest) = data.split_first()?;
    let mut headers = HeaderMap::new();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        let Some(blank) = line.iter().position(|byte| *byte == b' ') else { break };
        let name = HeaderName::from_bytes(&line[..blank]).ok()?;
        headers.append(name, HeaderValue::from_bytes(&line[blank + 1..]).ok()?);
    }
    Some((*choice, headers, rest))
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, headers, body)) = parse(data) else { return };
    let hmac = |encoding| {
        Scheme::Hmac(HmacScheme {
            header: HeaderName::from_static("x-sig"),
            algorithm: Algorithm::Sha256,
            encoding,
            prefix: "v0=".into(),
        })
    };
    let scheme = match choice % 9 {
        0 => Scheme::Github,
        1 => Scheme::GitlabToken,
        2 => Scheme::GitlabSigned,
        3 => Scheme::Gitea,
        4 => Scheme::Bitbucket,
        5 => Scheme::BitbucketServer,
        6 => Scheme::Standard,
        7 => hmac(Encoding::Hex),
        _ => hmac(Encoding::Base64),
    };
    let secret = Secret::new(b"whsec_bm9ib2R5IGtub3dzIHRoaXMgc2VjcmV0IGtleQ==".to_vec());
    let secrets = [secret.expect("it is not empty")];
    let Ok(mut verifier) = scheme.begin(&headers, &secrets, Timestamp::UNIX_EPOCH) else { return };
    for chunk in body.chunks(7) {
        verifier.update(chunk);
    }
    // The secret is in no input: whoever is believed here has forged a signature. A token is
    // the secret itself, which a fuzzer can read out of the program.
    let believed = verifier.finish().is_ok();
    assert!(!believed || matches!(scheme, Scheme::GitlabToken));
});

/// What is only built with the workspace.
#[cfg(not(feature = "run"))]
fn main() {}
