//! Certificates: the hub's CA, issuing, checking, TLS configurations.
