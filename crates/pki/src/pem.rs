//! Textual encodings (RFC 7468).

use ::pem::{EncodeConfig, LineEnding, Pem, encode_config};

pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    encode_config(&Pem::new(label, der), config)
}
