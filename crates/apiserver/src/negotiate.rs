//! Media types: what the client would like, and what it sent.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use strait_machinery::status::Status;

/// Media types that responses can have.
pub const RESPONSE_TYPES: [&str; 2] = ["application/json", "application/yaml"];

/// Media types that request bodies can have.
pub const REQUEST_TYPES: [&str; 3] =
    ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/// How a response is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// The serialization.
    pub encoding: Encoding,
    /// What the object is turned into first.
    pub transform: Transform,
    /// Whether JSON is indented.
    pub pretty: bool,
}

/// A serialization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// `as=` in a media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// The object itself.
    None,
    /// `Table.meta.k8s.io`.
    Table,
    /// `PartialObjectMetadata(List).meta.k8s.io`.
    Partial,
}

/// What a handler can answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Stored objects, which have tables and metadata.
    Objects,
    /// Something that is only shown as it is.
    Plain,
    /// Events of stored objects, which follow each other only in JSON.
    Events,
}

impl Offer {
    const fn types(self) -> &'static [&'static str] {
        match self {
            Self::Objects | Self::Plain => &RESPONSE_TYPES,
            Self::Events => &["application/json", "application/json;stream=watch"],
        }
    }
}

/// One clause of an Accept header.
struct Clause<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl Format {
    /// Plain JSON.
    pub const JSON: Self =
        Self { encoding: Encoding::Json, transform: Transform::None, pretty: false };

    /// Chooses by the Accept header; clauses in the client's order, by quality.
    ///
    /// # Errors
    /// 406 where nothing that the client takes is on offer.
    pub fn choose(headers: &HeaderMap, pretty: Option<&str>, offer: Offer) -> Result<Self, Status> {
        let header = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let pretty = match pretty {
            Some(value) => matches!(value, "1" | "true"),
            None => is_for_people(headers),
        };
        if header.trim().is_empty() {
            return Ok(Self { pretty, ..Self::JSON });
        }
        let mut clauses: Vec<Clause<'_>> = header.split(',').filter_map(Clause::parse).collect();
        clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
        let chosen = clauses.iter().find_map(|clause| clause.format(offer));
        let (encoding, transform) = chosen.ok_or_else(|| Status::not_acceptable(offer.types()))?;
        Ok(Self { encoding, transform, pretty })
    }

    /// The response's Content-Type.
    #[must_use]
    pub const fn content_type(&self) -> &'static str {
        match self.encoding {
            Encoding::Json => "application/json",
            Encoding::Yaml => "application/yaml",
        }
    }
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next().filter(|media_type| !media_type.is_empty())?;
        let parameters: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
        let quality = parameters.iter().find(|(name, _)| *name == "q");
        let quality = quality.and_then(|(_, value)| value.parse().ok()).unwrap_or(1.0);
        Some(Self { media_type, parameters, quality })
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
    }

    fn format(&self, offer: Offer) -> Option<(Encoding, Transform)> {
        let encoding = match self.media_type {
            "application/json" | "application/*" | "*/*" => Encoding::Json,
            "application/yaml" if offer != Offer::Events => Encoding::Yaml,
            _ => return None,
        };
        let transforms = offer != Offer::Plain;
        let meta = self.parameter("g") == Some("meta.k8s.io") && self.parameter("v") == Some("v1");
        let transform = match self.parameter("as") {
            None | Some("") => Transform::None,
            Some("Table") if meta && transforms => Transform::Table,
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") if meta && transforms => {
                Transform::Partial
            }
            Some(_) => return None,
        };
        Some((encoding, transform))
    }
}

/// Whether a client shows bodies to people (`negotiation.go: isPrettyPrint`).
fn is_for_people(headers: &HeaderMap) -> bool {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|prefix| agent.starts_with(prefix))
}

/// The media type of a request body, without parameters; JSON where none is named.
#[must_use]
pub fn content_type(headers: &HeaderMap) -> &str {
    let header = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    header
        .filter(|value| !value.is_empty())
        .map_or("application/json", |value| value.split(';').next().unwrap_or_default().trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(accept: &str) -> Result<(Encoding, Transform), u16> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        let format =
            Format::choose(&headers, None, Offer::Objects).map_err(|status| status.code)?;
        Ok((format.encoding, format.transform))
    }

    #[test]
    fn the_first_clause_that_can_be_served_wins() {
        use {
            Encoding::{Json, Yaml},
            Transform::{None, Partial, Table},
        };
        for (accept, expected) in [
            ("application/json", Ok((Json, None))),
            ("*/*", Ok((Json, None))),
            ("application/yaml", Ok((Yaml, None))),
            ("application/vnd.kubernetes.protobuf,application/json", Ok((Json, None))),
            ("application/vnd.kubernetes.protobuf", Err(406)),
            ("text/html", Err(406)),
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Ok((Json, Table))),
            (
                "application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
                Ok((Json, None)),
            ),
            ("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", Ok((Json, Partial))),
            ("application/json;as=Other", Err(406)),
            ("application/yaml;q=0.5, application/json", Ok((Json, None))),
        ] {
            assert_eq!(choose(accept), expected, "{accept}");
        }
    }

    #[test]
    fn people_get_indented_json_unless_they_say_no() {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, "curl/8".parse().unwrap());
        assert!(Format::choose(&headers, None, Offer::Objects).unwrap().pretty);
        assert!(!Format::choose(&headers, Some("0"), Offer::Objects).unwrap().pretty);
    }

    #[test]
    fn what_is_not_on_offer_is_refused() {
        for (accept, offer, code) in [
            ("application/json;as=Table;v=v1;g=meta.k8s.io", Offer::Plain, Some(406)),
            ("application/json;as=Table;v=v1;g=meta.k8s.io", Offer::Events, None),
            ("application/yaml", Offer::Events, Some(406)),
            ("application/yaml, application/json", Offer::Events, None),
            ("application/yaml", Offer::Plain, None),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            let chosen = Format::choose(&headers, None, offer);
            assert_eq!(chosen.err().map(|status| status.code), code, "{accept} {offer:?}");
        }
    }
}
