//! Settings out of flags, environment, file and defaults, in that order of weight. Every mistake
//! is found before anything is done.

use std::path::Path;

/// A setting's text and where it came from, for messages.
pub(crate) struct Setting {
    pub(crate) text: String,
    pub(crate) from: String,
}

impl Setting {
    /// The flag if it was given, else the default.
    pub(crate) fn of(flag: Option<&String>, name: &str, default: &str) -> Self {
        match flag {
            Some(text) => Self { text: text.clone(), from: format!("--{name}") },
            None => Self { text: default.to_owned(), from: "default".to_owned() },
        }
    }

    /// The text as something else; a mistake names where it came from and an example.
    pub(crate) fn parse<T: std::str::FromStr>(
        &self,
        what: &str,
        example: &str,
        mistakes: &mut Vec<String>,
    ) -> Option<T> {
        let parsed = self.text.parse().ok();
        if parsed.is_none() {
            mistakes.push(format!(
                "{}: {:?} is not {what}, for example {example}",
                self.from, self.text
            ));
        }
        parsed
    }
}

/// A file's text, or why there is none.
pub(crate) fn read_file(path: &str, limit: usize) -> Result<String, String> {
    match strait_runtime::fs::read_capped(Path::new(path), limit) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| format!("{path} is not UTF-8")),
        Err(error) => Err(strait_types::Report(&error).to_string()),
    }
}
