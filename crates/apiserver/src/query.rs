//! Query parameters, each read the way Kubernetes reads it.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use strait_machinery::go_text::quoted;
use strait_machinery::status::Status;

/// A request's query, decoded; of equal names the first counts, as in Go's `url.Values.Get`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=1&b=2`. What is malformed is taken literally.
    #[must_use]
    pub fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    /// The parameter's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| &**value)
    }

    /// Every value of the parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| &**value)
    }

    /// A switch: anything but absence, `false` and `0` is on
    /// (`apimachinery/pkg/runtime/conversion.go`).
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        !matches!(self.get(name), None | Some("false" | "0" | "False" | "FALSE" | "f" | "F"))
    }

    /// A whole number.
    ///
    /// # Errors
    /// 400 where it is none.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, Status> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let number = text.parse().map_err(|error: std::num::ParseIntError| {
            use std::num::IntErrorKind::{NegOverflow, PosOverflow};
            let why = match error.kind() {
                PosOverflow | NegOverflow => "value out of range",
                _ => "invalid syntax",
            };
            Status::bad_request(format!("strconv.ParseInt: parsing {}: {why}", quoted(text)))
        });
        number.map(Some)
    }

    /// A number of seconds; zero counts as absent (`timeoutSeconds=0` means the default).
    ///
    /// # Errors
    /// 400 where it is no number.
    pub fn seconds(&self, name: &str) -> Result<Option<Duration>, Status> {
        let seconds = self.integer(name)?;
        let positive = seconds.and_then(|seconds| u64::try_from(seconds).ok());
        Ok(positive.filter(|seconds| *seconds > 0).map(Duration::from_secs))
    }

    /// How long the client waits for an answer at most (`?timeout=`, a Go duration). Zero and
    /// less count as absent.
    ///
    /// # Errors
    /// 400 where it is no duration.
    pub fn timeout(&self) -> Result<Option<Duration>, Status> {
        let Some(text) = self.get("timeout").filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let timeout = go_duration(text).map_err(|why| {
            Status::bad_request(format!(
                "invalid timeout specified in the request URL - time: {why}"
            ))
        })?;
        Ok((timeout > 0.0).then(|| Duration::try_from_secs_f64(timeout).unwrap_or(Duration::MAX)))
    }

    /// The name that a field selector narrows a list to, if it is `metadata.name=x`.
    #[must_use]
    pub fn selected_name(&self) -> Option<String> {
        let selector = self.get("fieldSelector")?;
        let term = selector.split(',').find_map(|term| {
            let name = term.strip_prefix("metadata.name=")?;
            Some(name.strip_prefix('=').unwrap_or(name))
        })?;
        (!term.is_empty() && !term.contains('\\')).then(|| term.to_owned())
    }
}

/// Seconds of a duration as Go writes it: `1h30m`, `-1.5s`, `0` (`time.ParseDuration`).
fn go_duration(text: &str) -> Result<f64, String> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned == "0" {
        return Ok(0.0);
    }
    let invalid = || format!("invalid duration {}", quoted(text));
    let (mut seconds, mut rest) = (0.0, unsigned);
    while !rest.is_empty() || unsigned.is_empty() {
        let number_end = rest.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_end);
        let number: f64 = number.parse().map_err(|_| invalid())?;
        let unit_end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let scale = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "" => return Err(format!("missing unit in duration {}", quoted(text))),
            unit => {
                return Err(format!("unknown unit {} in duration {}", quoted(unit), quoted(text)));
            }
        };
        seconds += number * scale;
        rest = after;
    }
    Ok(if text.starts_with('-') { -seconds } else { seconds })
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse("a=1&b=x%20y+z&c&a=2&=&watch=false&limit=x");
        assert_eq!(query.get("a"), Some("1"));
        assert_eq!(query.get("b"), Some("x y z"));
        assert_eq!(query.get("c"), Some(""));
        assert_eq!(query.all("a").count(), 2);
        assert!(query.flag("c") && query.flag("a") && !query.flag("watch") && !query.flag("d"));
        assert_eq!(query.integer("a"), Ok(Some(1)));
        assert_eq!(query.integer("none"), Ok(None));
        assert_eq!(Query::parse("t=0").seconds("t"), Ok(None));
    }

    #[test]
    fn numbers_are_refused_in_the_words_of_kubernetes() {
        for (text, why) in [
            ("x", "invalid syntax"),
            ("", "invalid syntax"),
            ("1.5", "invalid syntax"),
            ("99999999999999999999", "value out of range"),
        ] {
            let status = Query::parse(&format!("limit={text}")).integer("limit").unwrap_err();
            let message = format!("strconv.ParseInt: parsing \"{text}\": {why}");
            assert_eq!((status.code, status.message), (400, message));
        }
    }

    #[test]
    fn a_timeout_is_a_go_duration() {
        for (text, expected) in [
            ("5s", Ok(Some(5000))),
            ("1m1.5s", Ok(Some(61_500))),
            ("250ms", Ok(Some(250))),
            ("0", Ok(None)),
            ("-5s", Ok(None)),
            ("", Ok(None)),
            ("x", Err("invalid duration \"x\"")),
            ("5", Err("missing unit in duration \"5\"")),
            ("-", Err("invalid duration \"-\"")),
            ("1.2.3s", Err("invalid duration \"1.2.3s\"")),
            ("5d", Err("unknown unit \"d\" in duration \"5d\"")),
        ] {
            let timeout = Query::parse(&format!("timeout={text}")).timeout();
            let timeout = timeout.map(|timeout| timeout.map(|timeout| timeout.as_millis()));
            let refused = "invalid timeout specified in the request URL - time: ";
            assert_eq!(
                timeout.map_err(|status| status.message),
                expected.map_err(|why| format!("{refused}{why}"))
            );
        }
    }

    #[test]
    fn a_field_selector_may_name_one_object() {
        for (selector, name) in [
            ("metadata.name%3Dx", Some("x")),
            ("metadata.name==x,spec.y=z", Some("x")),
            ("metadata.name!=x", None),
            ("metadata.namespace=x", None),
            ("metadata.name=", None),
        ] {
            let query = Query::parse(&format!("fieldSelector={selector}"));
            assert_eq!(query.selected_name().as_deref(), name, "{selector}");
        }
    }
}
