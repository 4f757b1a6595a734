//! Heads for tests.

use strait_net::fields::{Field, Fields, text};

/// These fields, whose names may have upper case as in a message.
pub(crate) fn fields_of(lines: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in lines {
        fields.push(Field::new(&name.to_lowercase(), value.as_bytes())).unwrap();
    }
    fields
}

/// The names of fields, in their order.
pub(crate) fn names(fields: &Fields) -> Vec<&str> {
    fields.iter().map(|field| std::str::from_utf8(field.name).unwrap()).collect()
}

/// The values of a name, in their order.
pub(crate) fn all<'a>(fields: &'a Fields, name: &'a str) -> Vec<&'a str> {
    fields.all(name).map(|value| text(value).unwrap()).collect()
}
