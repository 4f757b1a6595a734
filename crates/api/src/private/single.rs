//! The document that is a file by itself: what an agent offers.

use std::sync::{Arc, LazyLock};

use strait_machinery::field::FieldError;
use strait_machinery::json::{Path, Value};
use strait_machinery::schema::Schema;
use strait_machinery::schema::compile::compile;
use strait_machinery::yaml::{self, Document, Mistake, Places};

use super::Source;
use super::read::{conform, is_agent_config};

static AGENT_CONFIG: LazyLock<Schema> = LazyLock::new(|| {
    let why = "the files in kinds/private are compiled in, and a test reads them";
    let text = include_str!("../../kinds/private/agentconfig.relay.strait.dev.yaml");
    let schema = yaml::parse(text).expect(why).pop().expect(why).value;
    compile(&schema, &Path::root(), &Arc::new(Schema::default())).expect(why)
});

/// A document with its defaults, as far as its schema understands it.
#[derive(Clone, Debug)]
pub struct Single {
    /// What it says.
    pub value: Value,
    file: String,
    places: Places,
}

impl Single {
    /// A mistake that the schema cannot find.
    #[must_use]
    pub fn mistake(&self, error: &FieldError) -> Mistake {
        Mistake {
            file: self.file.clone(),
            position: self.places.nearest(&error.path),
            message: error.to_string(),
        }
    }
}

/// What a file says.
#[derive(Debug, Default)]
pub struct Read {
    /// The document; with mistakes it may be used for nothing but to look for more.
    pub single: Option<Single>,
    /// Paths of what the schema found, so that nothing is said twice of one place.
    pub told: Vec<Path>,
    /// Every mistake that the schema can find.
    pub mistakes: Vec<Mistake>,
}

/// Reads the AgentConfig in a file, which has at most one. Documents of other kinds are passed
/// over: [`read`](super::read()) reads them.
#[must_use]
pub fn read_agent_config(source: &Source<'_>) -> Read {
    let mistake = |position, message| Mistake { file: source.file.to_owned(), position, message };
    let documents = match yaml::parse(source.text) {
        Ok(documents) => documents,
        Err(error) => {
            let mistakes = vec![mistake(error.position(), error.what().to_owned())];
            return Read { mistakes, ..Read::default() };
        }
    };
    let mut documents = documents.into_iter().filter(|one| is_agent_config(&one.value));
    let Some(Document { mut value, places }) = documents.next() else { return Read::default() };
    let (found, defaulted) = conform(&mut value, &AGENT_CONFIG);
    let mut read = Read::default();
    for (path, text) in found {
        read.mistakes.push(mistake(places.nearest(&path), text));
        read.told.push(path);
    }
    let more = documents.next().map(|another| another.places.position());
    read.mistakes
        .extend(more.map(|at| mistake(at, "there is more than one AgentConfig".to_owned())));
    let file = source.file.to_owned();
    read.single = defaulted.then_some(Single { value, file, places });
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Read {
        read_agent_config(&Source { file: "agent.yaml", text })
    }

    #[test]
    fn defaults_are_filled_in_and_every_mistake_has_its_place() {
        let head = "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\n";
        let good = read(head);
        assert!(good.mistakes.is_empty(), "{:?}", good.mistakes);
        let value = good.single.unwrap().value;
        assert_eq!(value.str_at(&["defaults", "idleTimeout"]), Some("5m"));
        assert_eq!(value.at(&["policy", "requireIdentity"]), Some(&true.into()));

        let text = format!(
            "{head}services:\n- name: A\n  type: http\n  uurl: x\nhub: {{connections: 9}}\n"
        );
        let bad = read(&text);
        let mut mistakes: Vec<String> = bad.mistakes.iter().map(Mistake::to_string).collect();
        mistakes.sort();
        let starts = [
            "agent.yaml:4:3: services[0].name",
            "agent.yaml:6:3: unknown field",
            "agent.yaml:7:7: hub.connections",
        ];
        for (mistake, start) in mistakes.iter().zip(starts) {
            assert!(mistake.starts_with(start), "{mistake}");
        }
        assert_eq!((mistakes.len(), bad.told.len()), (3, 3));
    }

    #[test]
    fn a_file_holds_one_beside_what_is_for_others() {
        let one = "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\n";
        for (text, expected) in [
            ("a: [".to_owned(), "agent.yaml:1:"),
            (format!("{one}---\n{one}"), "agent.yaml:4:1: there is more than one AgentConfig"),
        ] {
            let mistakes = read(&text).mistakes;
            assert_eq!(mistakes.len(), 1, "{mistakes:?}");
            assert!(mistakes[0].to_string().starts_with(expected), "{}", mistakes[0]);
        }
        for (text, there) in [
            (String::new(), false),
            ("kind: RequestClass\n".to_owned(), false),
            (format!("kind: RequestClass\n---\n{one}---\n"), true),
        ] {
            let read = read(&text);
            assert!(read.mistakes.is_empty() && read.single.is_some() == there, "{text}");
        }
    }

    #[test]
    fn every_field_is_described() {
        fn walk(schema: &Value, path: &str) {
            for (name, property) in schema
                .get("properties")
                .and_then(Value::as_object)
                .into_iter()
                .flat_map(|map| map.iter())
            {
                let path = format!("{path}.{name}");
                assert!(property.str_at(&["description"]).is_some(), "{path}");
                walk(property, &path);
                walk(property.get("items").unwrap_or(&Value::Null), &path);
            }
        }
        let text = include_str!("../../kinds/private/agentconfig.relay.strait.dev.yaml");
        walk(&yaml::parse(text).unwrap().pop().unwrap().value, "");
    }
}
