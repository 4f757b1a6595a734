//! Webhooks as GitHub sends them.

use anyhow::Result;
use aws_lc_rs::hmac;
use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::Full;

/// The secret of the measured source.
pub(crate) const SECRET: &str = "a secret that only this measurement knows";
/// Bodies that differ: what is sent is not always the same.
const VARIANTS: usize = 8;

/// Bodies of one length with their signatures.
#[derive(Debug)]
pub(crate) struct Webhooks {
    variants: Vec<(Bytes, HeaderValue)>,
}

impl Webhooks {
    /// Bodies of about `bytes` bytes.
    pub(crate) fn new(bytes: usize) -> Result<Self> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let variants = (0..VARIANTS).map(|variant| {
            let body = body(variant, bytes);
            let tag = hmac::sign(&key, &body);
            let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            Ok((Bytes::from(body), HeaderValue::try_from(format!("sha256={hex}"))?))
        });
        Ok(Self { variants: variants.collect::<Result<_>>()? })
    }

    /// A delivery with this number, which no other has.
    pub(crate) fn good(&self, number: u64) -> Request<Full<Bytes>> {
        self.request(number, None)
    }

    /// The same with a signature that is well written and wrong.
    pub(crate) fn bad(&self, number: u64) -> Request<Full<Bytes>> {
        self.request(number, Some(wrong()))
    }

    fn request(&self, number: u64, signature: Option<HeaderValue>) -> Request<Full<Bytes>> {
        let length = self.variants.len() as u64;
        let at = usize::try_from(number % length).unwrap_or_default();
        let (body, right) = &self.variants[at];
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = http::Uri::from_static("/github");
        let headers = request.headers_mut();
        let delivery = HeaderValue::try_from(format!("00000000-0000-4000-8000-{number:012}"))
            .expect("digits and dashes are a header's value");
        for (name, value) in [
            (header::HOST, HeaderValue::from_static("hooks")),
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::USER_AGENT, HeaderValue::from_static("GitHub-Hookshot/bench")),
            (header::HeaderName::from_static("x-github-event"), HeaderValue::from_static("push")),
            (header::HeaderName::from_static("x-github-delivery"), delivery),
            (
                header::HeaderName::from_static("x-hub-signature-256"),
                signature.unwrap_or_else(|| right.clone()),
            ),
        ] {
            headers.insert(name, value);
        }
        request
    }
}

/// A signature of nothing.
pub(crate) fn wrong() -> HeaderValue {
    let zeros = "0".repeat(64);
    HeaderValue::try_from(format!("sha256={zeros}")).expect("digits are a header's value")
}

fn body(variant: usize, bytes: usize) -> Vec<u8> {
    let head = format!(
        r#"{{"ref":"refs/heads/main","action":"opened","number":{variant},"repository":{{"full_name":"acme/site-{variant}"}},"text":""#
    );
    let mut body = head.into_bytes();
    let letters = (0..).map(|at: usize| b'a' + u8::try_from((at * 7 + variant) % 26).unwrap_or(0));
    body.extend(letters.take(bytes.saturating_sub(body.len() + 2)));
    body.extend_from_slice(br#""}"#);
    body
}

/// The number of a delivery that [`Webhooks`] made.
pub(crate) fn number(delivery: &HeaderValue) -> Option<u64> {
    delivery.to_str().ok()?.rsplit('-').next()?.parse().ok()
}
