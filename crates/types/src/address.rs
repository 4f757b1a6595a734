//! Addresses as text, without the formatter's machinery: each request writes its client's.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// Appends an address as [`Display`](std::fmt::Display) writes it.
pub fn push_ip(text: &mut String, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            push_decimal(text, a.into());
            for part in [b, c, d] {
                text.push('.');
                push_decimal(text, part.into());
            }
        }
        IpAddr::V6(address) => write!(text, "{address}").expect("a string takes all text"),
    }
}

/// Appends an address with its port as [`Display`](std::fmt::Display) writes it.
pub fn push_socket(text: &mut String, address: SocketAddr) {
    match address {
        SocketAddr::V4(address) => {
            push_ip(text, (*address.ip()).into());
            text.push(':');
            push_decimal(text, address.port());
        }
        SocketAddr::V6(address) => write!(text, "{address}").expect("a string takes all text"),
    }
}

fn push_decimal(text: &mut String, number: u16) {
    if number >= 10 {
        push_decimal(text, number / 10);
    }
    text.extend(char::from_digit(u32::from(number % 10), 10));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_read_as_the_formatter_writes_them(address: SocketAddr) {
            let mut text = String::new();
            push_socket(&mut text, address);
            prop_assert_eq!(&text, &address.to_string());
            text.clear();
            push_ip(&mut text, address.ip());
            prop_assert_eq!(text, address.ip().to_string());
        }
    }
}
