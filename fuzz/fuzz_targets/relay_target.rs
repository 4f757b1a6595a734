//! What a client asks for: whatever it is, scheme, authority and prefix are the configuration's.
#![cfg_attr(feature = "run", no_main)]

use http::Uri;
use libfuzzer_sys::fuzz_target;
use strait_relay::http::target::Target;
use strait_relay::http::url::ServiceUrl;

fuzz_target!(|input: (String, String)| {
    let (base, text) = input;
    let Ok(target) = Target::parse(&text) else { return };
    for base in [&*base, "https://ci.build:8443/a/b", "http://[fd00::1]"] {
        let Ok(url) = ServiceUrl::parse(base) else { continue };
        let Ok(uri) = url.uri(&target) else { continue };
        let (host, port) = url.endpoint();
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let told = uri.host().unwrap().to_owned();
        assert!(told == host || url.socket().is_some(), "{told} {host}");
        let default = if url.is_secure() { 443 } else { 80 };
        assert!(uri.port_u16().unwrap_or(default) == port || url.socket().is_some());
        assert_eq!(uri.path(), format!("{}{}", url.prefix(), target.path()));
        assert_eq!(uri.query(), target.query());
        let again: Uri = uri.to_string().parse().unwrap();
        assert_eq!((again.scheme(), again.authority()), (uri.scheme(), uri.authority()));
    }
});

/// What is only built with the workspace.
#[cfg(not(feature = "run"))]
fn main() {}
