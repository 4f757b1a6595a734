//! A backend that is added while it runs.

use std::sync::Arc;

use serde_json::{Value, json};
use strait_machinery::json::Segment;
use strait_net::EgressPolicy;
use strait_runtime::units::format_duration;

use super::compat::{Unasked, backend_name};
use super::read::understand;
use super::{API_VERSION, Backend, DynamicBackends, KIND};

/// Longest URL, as in a document.
pub const URL_BYTES_MAX: usize = 2048;

/// Makes the backend that a URL means, by the rules of a document.
///
/// # Errors
/// What is wrong with the URL, in a few words.
pub fn backend(
    url: &str,
    dynamic: &DynamicBackends,
    sources: &[Arc<str>],
) -> Result<Backend, String> {
    let document = document(url, dynamic, sources);
    let document = strait_machinery::json::parse(document.to_string().as_bytes());
    let document = document.map_err(|error| error.to_string())?;
    let (config, mistakes) = understand(document, &Unasked);
    let about_url = |segments: &[Segment]| matches!(segments, [Segment::Field(list), ..] if **list == *"backends");
    if let Some((_, text)) = mistakes.iter().find(|(path, _)| about_url(path.segments())) {
        return Err(text.split_once(": ").map_or(&**text, |(_, why)| why).to_owned());
    }
    let made = config.and_then(|mut config| config.backends.pop());
    let mut backend = made.ok_or("no backend can be added to this configuration")?;
    let policy = EgressPolicy::guarded(dynamic.networks.clone(), &[]);
    let host = backend.address.url().and_then(http::Uri::host).unwrap_or_default();
    policy.check_literal(host).map_err(|denied| denied.to_string())?;
    backend.allow_private = false;
    backend.networks.clone_from(&dynamic.networks);
    Ok(backend)
}

/// A document with this backend alone; what is private is decided by networks, not by it.
fn document(url: &str, dynamic: &DynamicBackends, sources: &[Arc<str>]) -> Value {
    let source = |(index, name): (usize, &Arc<str>)| json!({"name": **name, "path": format!("/{index}"), "scheme": "none"});
    let mut backend = json!({
        "name": backend_name(url),
        "url": url,
        "sources": sources.iter().map(|name| &**name).collect::<Vec<_>>(),
        "tls": {"insecure": dynamic.insecure},
        "allowPrivate": !dynamic.networks.is_empty(),
    });
    if let Some(timeout) = dynamic.timeout {
        backend["timeout"] = format_duration(timeout).into();
    }
    json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "sources": sources.iter().enumerate().map(source).collect::<Vec<_>>(),
        "backends": [backend],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_and_listed_networks_may_be_added() {
        let sources = [Arc::from("a")];
        let networks = vec!["10.1.0.0/16".parse().unwrap()];
        let public = DynamicBackends { networks: Vec::new(), timeout: None, insecure: false };
        let listed = DynamicBackends { networks, timeout: None, insecure: false };
        for (url, in_public, in_listed) in [
            ("https://b.example/x?y=1", "", ""),
            ("http://b.example/", "allowPrivate", ""),
            ("https://10.1.2.3/", "a private address", ""),
            ("https://10.2.2.3/", "a private address", "a private address"),
            ("https://127.0.0.1/", "a loopback address", "a loopback address"),
            ("http://169.254.169.254/", "allowPrivate", "metadata"),
            ("https://[fd00:ec2::254]/", "metadata", "metadata"),
            ("ht!tp://%%%", "nvalid", "nvalid"),
            ("", "nvalid", "nvalid"),
            ("https://u:p@b/", "no user or password", "no user or password"),
        ] {
            for (dynamic, expected) in [(&public, in_public), (&listed, in_listed)] {
                match backend(url, dynamic, &sources) {
                    Ok(made) => {
                        assert_eq!(expected, "", "{url}");
                        assert_eq!(
                            (made.allow_private, &made.networks),
                            (false, &dynamic.networks)
                        );
                        assert_eq!(*made.name, *backend_name(url));
                    }
                    Err(why) => {
                        assert!(!expected.is_empty() && why.contains(expected), "{url}: {why}")
                    }
                }
            }
        }
    }
}
