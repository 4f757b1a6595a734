//! Names to addresses.

use std::fmt;
use std::io;
use std::net::IpAddr;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// Finds the addresses of a host.
pub trait Resolve: Send + Sync + fmt::Debug + 'static {
    /// The addresses of a name, or the address that the text is. At least one.
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The machine's own resolver (`getaddrinfo(3)`).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            let mut addresses: Vec<IpAddr> = Vec::new();
            for address in found {
                if !addresses.contains(&address.ip()) {
                    addresses.push(address.ip());
                }
            }
            if addresses.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "no address"));
            }
            Ok(addresses)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_themselves_in_any_spelling() {
        let localhost = IpAddr::from([127, 0, 0, 1]);
        for host in ["127.0.0.1", "2130706433", "0x7f.1"] {
            let found = SystemResolver.resolve(host).await.unwrap();
            assert_eq!(found, [localhost], "{host}");
        }
        let found = SystemResolver.resolve("::1").await.unwrap();
        assert_eq!(found, ["::1".parse::<IpAddr>().unwrap()]);
    }

    #[tokio::test]
    async fn a_name_without_addresses_is_an_error() {
        assert!(SystemResolver.resolve("nobody.invalid").await.is_err());
    }
}
