//! A request, as a handler gets it.

use http::{Method, Uri, Version};

use crate::fields::Fields;
use crate::http1::RequestHead;
use crate::incoming::Incoming;
use crate::upgrade::{OnUpgrade, Wish};

/// A request with its head as it was read: what becomes of that, its handler says.
#[derive(Debug)]
pub struct Request {
    head: Head,
    body: Incoming,
}

#[derive(Debug)]
enum Head {
    /// Of HTTP/1.1.
    Lines(Box<RequestHead>, OnUpgrade),
    /// Of HTTP/2, or made by a handler.
    Map(Box<http::request::Parts>),
}

/// What a request is made of.
#[derive(Debug)]
pub struct RequestParts {
    /// What is asked for.
    pub method: Method,
    /// Of what.
    pub uri: Uri,
    /// From HTTP/1.0 to HTTP/2.
    pub version: Version,
    /// Its fields.
    pub fields: Fields,
    /// Its body.
    pub body: Incoming,
    /// Its connection, where the answer makes another protocol of that.
    pub on_upgrade: OnUpgrade,
    /// What its stream of HTTP/2 is to become (RFC 8441).
    pub protocol: Option<hyper::ext::Protocol>,
}

impl Request {
    pub(crate) fn of_http1(head: RequestHead, body: Incoming, on_upgrade: OnUpgrade) -> Self {
        Self { head: Head::Lines(Box::new(head), on_upgrade), body }
    }

    /// Of what is asked.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        match &self.head {
            Head::Lines(head, _) => &head.uri,
            Head::Map(parts) => &parts.uri,
        }
    }

    /// The first value of a field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        match &self.head {
            Head::Lines(head, _) => head.fields.get(name),
            Head::Map(parts) => parts.headers.get(name).map(|value| value.as_bytes()),
        }
    }

    /// With its fields as a map.
    #[must_use]
    pub fn into_http(self) -> http::Request<Incoming> {
        let (head, on_upgrade) = match self.head {
            Head::Map(parts) => return http::Request::from_parts(*parts, self.body),
            Head::Lines(head, on_upgrade) => (*head, on_upgrade),
        };
        let mut request = http::Request::new(self.body);
        *request.method_mut() = head.method;
        *request.uri_mut() = head.uri;
        *request.version_mut() = head.version;
        *request.headers_mut() = head.fields.to_map();
        if head.upgrades {
            request.extensions_mut().insert(Wish::new(on_upgrade));
        }
        request
    }

    /// With its fields as lines.
    #[must_use]
    pub fn into_parts(self) -> RequestParts {
        match self.head {
            Head::Lines(head, on_upgrade) => RequestParts {
                method: head.method,
                uri: head.uri,
                version: head.version,
                fields: head.fields,
                body: self.body,
                on_upgrade,
                protocol: None,
            },
            Head::Map(parts) => {
                let mut request = http::Request::from_parts(*parts, ());
                let on_upgrade = OnUpgrade::of(&mut request);
                let (mut parts, ()) = request.into_parts();
                RequestParts {
                    method: parts.method,
                    uri: parts.uri,
                    version: parts.version,
                    fields: Fields::from(&parts.headers),
                    body: self.body,
                    on_upgrade,
                    protocol: parts.extensions.remove(),
                }
            }
        }
    }
}

impl From<http::Request<Incoming>> for Request {
    fn from(request: http::Request<Incoming>) -> Self {
        let (parts, body) = request.into_parts();
        Self { head: Head::Map(Box::new(parts)), body }
    }
}
