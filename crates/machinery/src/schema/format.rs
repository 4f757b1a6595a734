//! `format` of strings: the names that Kubernetes knows and what they demand
//! (`kube-openapi/pkg/validation/strfmt`, `apiextensions-apiserver` validation/formats.go).
//! Any other format, those of numbers included, demands nothing.

mod identifier;
mod network;
mod time;

/// Whether text has a format; none if the format is not one that is checked.
#[must_use]
pub fn matches(format: &str, text: &str) -> Option<bool> {
    Some(match &*name(format) {
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|c| c.is_ascii_hexdigit()),
        "uri" => network::is_request_uri(text),
        "email" => network::is_email(text),
        "hostname" => network::is_hostname(text),
        "ipv4" => network::is_ipv4(text),
        "ipv6" => network::is_ipv6(text),
        "cidr" => network::is_cidr(text),
        "mac" => network::is_mac(text),
        "uuid" => identifier::is_uuid(text, None),
        "uuid3" => identifier::is_uuid(text, Some('3')),
        "uuid4" => identifier::is_uuid(text, Some('4')),
        "uuid5" => identifier::is_uuid(text, Some('5')),
        "isbn" => identifier::is_isbn10(text) || identifier::is_isbn13(text),
        "isbn10" => identifier::is_isbn10(text),
        "isbn13" => identifier::is_isbn13(text),
        "creditcard" => identifier::is_credit_card(text),
        "ssn" => identifier::is_social_security_number(text),
        "hexcolor" => identifier::is_hex_color(text),
        "rgbcolor" => identifier::is_rgb_color(text),
        "byte" => identifier::is_base64(text),
        "password" => true,
        "date" => time::is_date(text),
        "duration" => time::is_duration(text),
        "datetime" => time::is_date_time(text),
        _ => return None,
    })
}

/// Whether a format is one that is checked.
#[must_use]
pub fn is_known(format: &str) -> bool {
    !format.is_empty() && matches(format, "").is_some()
}

/// Dashes say nothing: `date-time` is `datetime`.
fn name(format: &str) -> String {
    format.chars().filter(|&c| c != '-').collect()
}
