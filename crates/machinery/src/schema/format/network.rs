//! Formats of addresses and names.

use std::net::Ipv6Addr;
use std::sync::LazyLock;

use regex::Regex;

/// Four numbers, leading zeros allowed; or an IPv6 address that ends in four numbers.
pub(super) fn is_ipv4(text: &str) -> bool {
    is_four_numbers(text) || text.contains('.') && is_ipv6(text)
}

fn is_four_numbers(text: &str) -> bool {
    let number = |part: &str| {
        !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit()) && part.parse::<u8>().is_ok()
    };
    text.split('.').count() == 4 && text.split('.').all(number)
}

pub(super) fn is_ipv6(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok()
}

/// An address, `/` and the length of the prefix.
pub(super) fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let most = match address {
        address if is_four_numbers(address) => 32,
        address if is_ipv6(address) => 128,
        _ => return false,
    };
    let digits = !length.is_empty() && length.bytes().all(|c| c.is_ascii_digit());
    digits && length.parse::<u8>().is_ok_and(|length| length <= most)
}

/// 6, 8 or 20 bytes: `01:23:45:67:89:ab`, the same with dashes, or `0123.4567.89ab`.
pub(super) fn is_mac(text: &str) -> bool {
    let groups = |separator, length| {
        let parts: Vec<_> = text.split(separator).collect();
        let hex = |part: &&str| part.len() == length && part.bytes().all(|c| c.is_ascii_hexdigit());
        parts.iter().all(hex).then_some(parts.len() * length / 2)
    };
    [(':', 2), ('-', 2), ('.', 4)]
        .into_iter()
        .any(|(separator, length)| matches!(groups(separator, length), Some(6 | 8 | 20)))
}

/// Letters, digits and symbols of any script; dashes inside labels; a top-level domain of
/// letters where there is a dot.
pub(super) fn is_hostname(text: &str) -> bool {
    static CHARACTER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^[a-zA-Z0-9\p{S}\p{L}]$").expect("a constant pattern compiles")
    });
    static LETTERS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^\p{L}{2,63}$").expect("a constant pattern compiles"));
    let allowed =
        |c: char| c.is_ascii_alphanumeric() || CHARACTER.is_match(c.encode_utf8(&mut [0; 4]));
    if text.len() > 255 || text.split('.').any(|label| label.len() > 63) {
        return false;
    }
    let Some((labels, top)) = text.rsplit_once('.') else {
        // One label may hold one dash, after the first character.
        let mut chars = text.chars();
        let first = chars.next().is_some_and(allowed);
        let rest = chars.as_str();
        return first && rest.strip_prefix('-').unwrap_or(rest).chars().all(allowed);
    };
    let label = |label: &str| {
        label.chars().next().is_some_and(allowed)
            && label.chars().next_back().is_some_and(allowed)
            && label.chars().all(|c| c == '-' || allowed(c))
    };
    LETTERS.is_match(top) && labels.split('.').all(label)
}

/// An address of RFC 5322 §3.4, with or without a display name, without comments.
pub(super) fn is_email(text: &str) -> bool {
    let text = text.trim_matches([' ', '\t']);
    match text.strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
        Some((name, address)) => {
            is_display_name(name.trim_matches([' ', '\t'])) && is_address(address)
        }
        None => is_address(text),
    }
}

fn is_display_name(name: &str) -> bool {
    let quoted = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
    quoted.is_some_and(is_quoted_content)
        || name.split([' ', '\t']).all(|word| word.chars().all(|c| c == '.' || is_atom_char(c)))
}

fn is_address(address: &str) -> bool {
    let Some((local, domain)) = address.rsplit_once('@') else {
        return false;
    };
    let atoms =
        |text: &str| text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atom_char));
    let quoted = local.strip_prefix('"').and_then(|local| local.strip_suffix('"'));
    let literal = domain.strip_prefix('[').and_then(|domain| domain.strip_suffix(']'));
    let good_local =
        quoted.is_some_and(|it| !it.is_empty() && is_quoted_content(it)) || atoms(local);
    let good_domain =
        literal.is_some_and(|it| it.parse::<std::net::IpAddr>().is_ok()) || atoms(domain);
    good_local && good_domain
}

/// `atext` of RFC 5322, and anything beyond ASCII (RFC 6532).
fn is_atom_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii()
}

fn is_quoted_content(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let good = match c {
            '\\' => chars.next().is_some_and(|c| !c.is_control() || c == '\t'),
            '"' => false,
            c => !c.is_control() || c == '\t',
        };
        if !good {
            return false;
        }
    }
    true
}

/// An absolute URI, or a path from the root (Go's url.ParseRequestURI).
pub(super) fn is_request_uri(text: &str) -> bool {
    if text.is_empty() || text.chars().any(|c| c < ' ' || c == '\u{7f}') {
        return false;
    }
    if text == "*" {
        return true;
    }
    let (scheme, rest) = match scheme(text) {
        Scheme::Named(length) => (true, &text[length + 1..]),
        Scheme::None => (false, text),
        Scheme::Missing => return false,
    };
    let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
    if !rest.starts_with('/') {
        // `mailto:x` is opaque; `x/y` is no request.
        return scheme;
    }
    match rest.strip_prefix("//") {
        Some(after) if scheme || !rest.starts_with("///") => {
            let end = after.find('/').unwrap_or(after.len());
            is_authority(&after[..end]) && is_escaped(&after[end..])
        }
        _ => is_escaped(rest),
    }
}

enum Scheme {
    Named(usize),
    None,
    /// A colon with nothing before it.
    Missing,
}

fn scheme(text: &str) -> Scheme {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Scheme::Missing,
            ':' => return Scheme::Named(at),
            _ => return Scheme::None,
        }
    }
    Scheme::None
}

fn is_authority(authority: &str) -> bool {
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let user_char = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    if !user.chars().all(user_char) || !is_escaped(user) {
        return false;
    }
    let port_is_good = |port: &str| {
        port.is_empty()
            || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|c| c.is_ascii_digit()))
    };
    if let Some(literal) = host.strip_prefix('[') {
        return literal.rsplit_once(']').is_some_and(|(address, port)| {
            let address = address.split_once("%25").map_or(address, |(address, _)| address);
            port_is_good(port) && is_ipv6(address)
        });
    }
    let port = host.rfind(':').map_or("", |at| &host[at..]);
    let host_char = |c: char| {
        !c.is_ascii() || c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:[]<>\"%".contains(c)
    };
    // Only what is beyond ASCII may be escaped in a host.
    let ascii_escaped =
        host.split('%').skip(1).any(|part| part.starts_with(|c| matches!(c, '0'..='7')));
    port_is_good(port) && host.chars().all(host_char) && is_escaped(host) && !ascii_escaped
}

/// Whether every `%` stands before two hexadecimal digits.
fn is_escaped(text: &str) -> bool {
    let mut parts = text.split('%');
    parts.next();
    parts.all(|part| part.len() >= 2 && part.bytes().take(2).all(|c| c.is_ascii_hexdigit()))
}
