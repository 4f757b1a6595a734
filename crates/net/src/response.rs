//! An answer, as a handler gives it.

use http::{HeaderMap, HeaderValue, StatusCode};

use crate::body::Body;
use crate::fields::Fields;

/// An answer, whose head its handler made as it liked.
#[derive(Debug)]
pub struct Response(Kind);

#[derive(Debug)]
enum Kind {
    Lines(StatusCode, Fields, Body),
    Map(Box<http::Response<Body>>),
}

/// The fields of an answer, in the form that they have.
#[derive(Debug)]
pub(crate) enum Head<'r> {
    Lines(&'r Fields),
    Map(&'r HeaderMap),
}

impl Response {
    /// One with these fields.
    #[must_use]
    pub const fn new(status: StatusCode, fields: Fields, body: Body) -> Self {
        Self(Kind::Lines(status, fields, body))
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match &self.0 {
            Kind::Lines(status, ..) => *status,
            Kind::Map(response) => response.status(),
        }
    }

    /// Sets a field, in place of all of its name: where it can be none, there is none then.
    pub fn set(&mut self, name: &'static str, value: &[u8]) {
        match &mut self.0 {
            Kind::Lines(_, fields, _) => fields.set(name, value),
            Kind::Map(response) => {
                match HeaderValue::from_bytes(value) {
                    Ok(value) => response.headers_mut().insert(name, value),
                    Err(_) => response.headers_mut().remove(name),
                };
            }
        }
    }

    /// With its fields as a map.
    #[must_use]
    pub fn into_http(self) -> http::Response<Body> {
        let (status, fields, body) = match self.0 {
            Kind::Map(response) => return *response,
            Kind::Lines(status, fields, body) => (status, fields, body),
        };
        let mut response = http::Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = fields.to_map();
        response
    }

    /// Its fields.
    pub(crate) fn head(&self) -> Head<'_> {
        match &self.0 {
            Kind::Lines(_, fields, _) => Head::Lines(fields),
            Kind::Map(response) => Head::Map(response.headers()),
        }
    }

    /// Its body.
    pub(crate) fn body(&self) -> &Body {
        match &self.0 {
            Kind::Lines(.., body) => body,
            Kind::Map(response) => response.body(),
        }
    }

    /// The same, for itself.
    pub(crate) fn into_body(self) -> Body {
        match self.0 {
            Kind::Lines(.., body) => body,
            Kind::Map(response) => response.into_body(),
        }
    }
}

impl From<http::Response<Body>> for Response {
    fn from(response: http::Response<Body>) -> Self {
        Self(Kind::Map(Box::new(response)))
    }
}
