//! Traces, as OpenTelemetry's environment variables say: names that programs of all vendors share,
//! so no flag of ours stands beside them.
//!
//! Nothing is sent unless an endpoint is named. Empty variables are as none.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use strait_net::{TraceExporter, TraceTarget};
use strait_pki::{TrustBundle, client_config};
use strait_runtime::{Context, Tracer};
use strait_types::Sampler;

use crate::exit::Failure;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const TRACES_HEADERS: &str = "OTEL_EXPORTER_OTLP_TRACES_HEADERS";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const TRACES_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL";
const SERVICE: &str = "OTEL_SERVICE_NAME";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const DISABLED: &str = "OTEL_SDK_DISABLED";

/// What is exported, and where to.
#[derive(Debug)]
pub(crate) struct Traces {
    target: TraceTarget,
    sampler: Sampler,
    /// What was asked for that is not spoken here.
    protocol: Option<String>,
}

/// What the environment says of traces; none where it names no endpoint. `service` is the name of
/// this role.
///
/// # Errors
/// Everything that is wrong, each with its variable.
pub(crate) fn of_environment(service: &str) -> Result<Option<Traces>, Failure> {
    read(service, variable).map_err(Failure::usage)
}

#[expect(clippy::disallowed_methods, reason = "names that are nobody's flag")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn read(
    service: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Traces>, Vec<String>> {
    let said = |name: &'static str| {
        let text = variable(name).map(|text| text.trim().to_owned());
        text.filter(|text| !text.is_empty()).map(|text| (name, text))
    };
    let is = |name, expected: &str| {
        said(name).is_some_and(|(_, text)| text.eq_ignore_ascii_case(expected))
    };
    if is(DISABLED, "true") || is(EXPORTER, "none") {
        return Ok(None);
    }
    let url = match (said(TRACES_ENDPOINT), said(ENDPOINT)) {
        (Some((name, text)), _) => endpoint(name, &text, ""),
        (None, Some((name, text))) => endpoint(name, &text, "v1/traces"),
        (None, None) => return Ok(None),
    };
    let headers = match said(TRACES_HEADERS).or_else(|| said(HEADERS)) {
        Some((name, text)) => headers(name, &text),
        None => Ok(HeaderMap::new()),
    };
    let share = said(SAMPLER_ARG).map(|(_, text)| text).unwrap_or_default();
    let sampler = match said(SAMPLER) {
        Some((name, text)) => {
            Sampler::parse(&text, &share).map_err(|error| format!("{name}: {error}"))
        }
        None => Ok(Sampler::default()),
    };
    let protocol = said(TRACES_PROTOCOL).or_else(|| said(PROTOCOL)).map(|(_, text)| text);
    let service = said(SERVICE).map_or_else(|| service.to_owned(), |(_, text)| text);
    match (url, headers, sampler) {
        (Ok(url), Ok(headers), Ok(sampler)) => Ok(Some(Traces {
            target: TraceTarget { url, headers, service },
            sampler,
            protocol: protocol.filter(|own| own != "http/json"),
        })),
        (url, headers, sampler) => {
            let mistakes = [url.err(), headers.err(), sampler.err()];
            Err(mistakes.into_iter().flatten().collect())
        }
    }
}

/// A URL, with a path behind its own.
fn endpoint(name: &str, text: &str, path: &str) -> Result<Uri, String> {
    // What is wrong may hold a password: it is not repeated.
    let wrong = || format!("{name}: is not http(s)://HOST:PORT, for example http://127.0.0.1:4318");
    let url = text.parse::<Uri>().map_err(|_| wrong())?;
    let is_one = matches!(url.scheme_str(), Some("http" | "https"));
    let has_user = url.authority().is_some_and(|host| host.as_str().contains('@'));
    if !is_one || has_user || url.host().is_none_or(str::is_empty) {
        return Err(wrong());
    }
    let mut parts = url.into_parts();
    let own = parts.path_and_query.as_ref().map_or("/", |own| own.path()).to_owned();
    let query = parts.path_and_query.as_ref().and_then(|own| own.query());
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let whole = match path {
        "" => format!("{own}{query}"),
        path => format!("{}/{path}{query}", own.trim_end_matches('/')),
    };
    parts.path_and_query = Some(whole.parse().map_err(|_| wrong())?);
    Uri::from_parts(parts).map_err(|_| wrong())
}

/// `name=value` pairs joined by commas, values percent-encoded.
fn headers(name: &str, text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    for (at, pair) in pairs.enumerate() {
        let read = || {
            let (key, value) = pair.split_once('=')?;
            let key = HeaderName::from_bytes(key.trim().as_bytes()).ok()?;
            let value: Vec<u8> = percent_decode_str(value.trim()).collect();
            let mut value = HeaderValue::from_bytes(&value).ok()?;
            value.set_sensitive(true);
            Some((key, value))
        };
        // Any part of what is wrong may be a credential: its place is told, not its text.
        let (key, value) = read().ok_or_else(|| {
            format!("{name}: pair {} is not NAME=VALUE, with the value percent-encoded", at + 1)
        })?;
        headers.append(key, value);
    }
    Ok(headers)
}

impl Traces {
    /// Begins to trace in a role's context. What comes back sends what is left at the end.
    ///
    /// # Errors
    /// The collector wants to be trusted and this machine trusts nobody.
    pub(crate) fn start(self, context: &mut Context) -> Result<Arc<TraceExporter>, Failure> {
        if let Some(asked) = &self.protocol {
            tracing::warn!(asked, "spans are sent as http/json");
        }
        let is_secure = self.target.url.scheme_str() == Some("https");
        let tls = is_secure
            .then(|| client_config(&TrustBundle::of_machine()?, None, context.clock.clone()));
        let tls = tls.transpose().map_err(|error| {
            Failure::failed(&format!("cannot send spans: {}", strait_types::Report(&error)))
        })?;
        let (clock, entropy) = (context.clock.clone(), context.entropy.clone());
        let (tracer, spans) = Tracer::new(self.sampler, clock, entropy, &context.metrics);
        context.tracer = tracer;
        let exporter = TraceExporter::new(self.target, tls, spans, context);
        context.tasks.spawn_daemon("traces", exporter.clone().run());
        Ok(exporter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<Traces>, Vec<String>> {
        read("strait-hub", |name| {
            let found = variables.iter().find(|(own, _)| *own == name);
            found.map(|(_, text)| (*text).to_owned())
        })
    }

    fn url(variables: &[(&str, &str)]) -> Option<String> {
        of(variables).unwrap().map(|traces| traces.target.url.to_string())
    }

    #[test]
    fn spans_go_where_the_variables_say_and_nowhere_without_them() {
        let base = |text| url(&[(ENDPOINT, text)]);
        assert_eq!(base("http://c:4318").as_deref(), Some("http://c:4318/v1/traces"));
        assert_eq!(base("http://c:4318/").as_deref(), Some("http://c:4318/v1/traces"));
        assert_eq!(base("https://c/in/").as_deref(), Some("https://c/in/v1/traces"));
        assert_eq!(base("http://c/in?k=1").as_deref(), Some("http://c/in/v1/traces?k=1"));
        // Its own endpoint is used as it is.
        let own = [(ENDPOINT, "http://c:4318"), (TRACES_ENDPOINT, "http://t:1/spans?k=1")];
        assert_eq!(url(&own).as_deref(), Some("http://t:1/spans?k=1"));
        assert_eq!(url(&[(TRACES_ENDPOINT, "http://t:1")]).as_deref(), Some("http://t:1/"));
        assert_eq!(url(&[]), None);
        assert_eq!(url(&[(ENDPOINT, " "), (SAMPLER, "nonsense")]), None);
        assert_eq!(url(&[(ENDPOINT, "http://c"), (DISABLED, "TRUE")]), None);
        assert_eq!(url(&[(ENDPOINT, "http://c"), (EXPORTER, "none")]), None);
    }

    #[test]
    fn the_rest_is_read_too() {
        let traces = of(&[
            (ENDPOINT, "http://c:4318"),
            (HEADERS, "x-key = a%20b%3D , authorization=Bearer%20t"),
            (SERVICE, "edge"),
            (SAMPLER, "parentbased_traceidratio"),
            (SAMPLER_ARG, "0.25"),
            (PROTOCOL, "grpc"),
        ]);
        let traces = traces.unwrap().unwrap();
        let headers = &traces.target.headers;
        assert_eq!([&headers["x-key"], &headers["authorization"]], ["a b=", "Bearer t"]);
        assert!(headers.values().all(HeaderValue::is_sensitive));
        assert_eq!(traces.target.service, "edge");
        let sampler = Sampler::parse("parentbased_traceidratio", "0.25").unwrap();
        assert_eq!((traces.sampler, traces.protocol.as_deref()), (sampler, Some("grpc")));

        let own = [
            (ENDPOINT, "http://c"),
            (HEADERS, "a=1"),
            (TRACES_HEADERS, "b=2"),
            (PROTOCOL, "grpc"),
            (TRACES_PROTOCOL, "http/json"),
        ];
        let traces = of(&own).unwrap().unwrap();
        assert_eq!(traces.target.headers.keys().collect::<Vec<_>>(), ["b"]);
        let defaults = (traces.sampler, traces.protocol, &*traces.target.service);
        assert_eq!(defaults, (Sampler::default(), None, "strait-hub"));
    }

    #[test]
    fn everything_that_is_wrong_is_told_and_no_secret() {
        let mistakes = of(&[
            (ENDPOINT, "ftp://user:hidden@c"),
            (HEADERS, "a=1,b c=hidden"),
            (SAMPLER, "often"),
        ])
        .unwrap_err();
        let names: Vec<&str> = mistakes.iter().map(|own| own.split(':').next().unwrap()).collect();
        assert_eq!(names, [ENDPOINT, HEADERS, SAMPLER]);
        assert!(mistakes.iter().all(|own| !own.contains("hidden")), "{mistakes:?}");
        for (text, at) in [
            ("hidden", 1),
            ("Bearer hidden", 1),
            ("authorization: Bearer hidden==", 1),
            ("a=1,,x-key hidden", 2),
            ("a=1, x-key:hidden=,b=2", 2),
            ("a=hidden%00", 1),
        ] {
            let mistakes = of(&[(ENDPOINT, "http://c"), (HEADERS, text)]).unwrap_err();
            let told = format!("{HEADERS}: pair {at} is not NAME=VALUE");
            assert!(mistakes[0].starts_with(&told) && !mistakes[0].contains("hidden"));
        }
        for text in ["c:4318", "/v1/traces", "http://", "http://u:hidden@c", "not a url"] {
            let mistakes = of(&[(ENDPOINT, text)]).unwrap_err();
            assert!(mistakes[0].starts_with(ENDPOINT) && !mistakes[0].contains("hidden"));
        }
        let share = [(ENDPOINT, "http://c"), (SAMPLER, "traceidratio"), (SAMPLER_ARG, "2")];
        assert_eq!(
            of(&share).unwrap_err(),
            ["OTEL_TRACES_SAMPLER: \"2\" is no number from 0 to 1"]
        );
    }
}
