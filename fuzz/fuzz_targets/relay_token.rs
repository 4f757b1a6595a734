//! Tokens that nobody made: none is believed but the one that was signed.
#![cfg_attr(feature = "run", no_main)]

use std::sync::LazyLock;

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use strait_pki::PrivateKey;
use strait_relay::credential::{Claims, KeyRing, TokenKey, is_ours};
use strait_relay::token::JoinToken;

static SIGNED: LazyLock<(KeyRing, String)> = LazyLock::new(|| {
    let key = || TokenKey::new(&PrivateKey::generate().unwrap()).unwrap();
    let ring = KeyRing::new("hub", key(), &[key()]);
    let text = |text: &str| text.to_owned();
    let claims = Claims {
        iss: text("hub"),
        aud: String::new(),
        sub: text("alice"),
        groups: vec![text("team")],
        cluster: text("root:acme"),
        agent: text("smith"),
        agent_uid: text("uid"),
        service: text("ci"),
        service_type: None,
        verbs: Vec::new(),
        networks: Vec::new(),
        jti: text("1"),
        iat: 0,
        exp: 3600,
    };
    let token = ring.sign(claims).unwrap().expose().clone();
    (ring, token)
});

// Changes of the token: a place, and what stands there instead; and a text of any kind.
fuzz_target!(|input: (Vec<(u16, Option<u8>)>, String)| {
    let (changes, text) = input;
    let (ring, signed) = &*SIGNED;
    let now = Timestamp::from_second(60).unwrap();
    let mut changed = signed.clone().into_bytes();
    for (place, byte) in changes {
        let place = usize::from(place) % (changed.len() + 1);
        match byte {
            Some(byte) if place < changed.len() => changed[place] = byte,
            Some(byte) => changed.push(byte),
            None => changed.truncate(place),
        }
    }
    for token in [&*String::from_utf8_lossy(&changed), &*text] {
        assert!(token == signed || ring.verify(token, now).is_err(), "{token}");
        let _ = is_ours(token);
    }
    if let Ok(join) = text.parse::<JoinToken>() {
        assert_eq!(join.reveal(), text);
    }
});

/// What is only built with the workspace.
#[cfg(not(feature = "run"))]
fn main() {}
