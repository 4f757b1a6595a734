//! Where in a tree something is, in the text form of Kubernetes' field errors.

use std::fmt;

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A declared member: `.name`.
    Field(Box<str>),
    /// An array element: `[3]`.
    Index(usize),
    /// A key of a free map: `[key]`.
    Key(Box<str>),
}

/// A path of segments: `spec.ports[0].name`, `metadata.labels[app]`. Borrow-friendly: walkers
/// push on the way down and pop on the way up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(Vec<Segment>);

impl Path {
    /// The whole document; prints as nothing.
    #[must_use]
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// A path of declared members.
    #[must_use]
    pub fn of(fields: &[&str]) -> Self {
        Self(fields.iter().map(|&field| Segment::Field(field.into())).collect())
    }

    /// This path and one declared member.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        self.child(Segment::Field(name.into()))
    }

    /// This path and one array element.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.child(Segment::Index(index))
    }

    /// This path and one key of a free map.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.child(Segment::Key(key.into()))
    }

    fn child(&self, segment: Segment) -> Self {
        let mut segments = Vec::with_capacity(self.0.len() + 1);
        segments.extend_from_slice(&self.0);
        segments.push(segment);
        Self(segments)
    }

    /// Goes down.
    pub fn push(&mut self, segment: Segment) {
        self.0.push(segment);
    }

    /// Goes up.
    pub fn pop(&mut self) {
        self.0.pop();
    }

    /// The segments from the top.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Field(name) if at == 0 => f.write_str(name)?,
                Segment::Field(name) => write!(f, ".{name}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) => write!(f, "[{key}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_field_errors_do() {
        let path = Path::of(&["spec", "ports"]).index(0).field("name");
        assert_eq!(path.to_string(), "spec.ports[0].name");
        assert_eq!(
            Path::of(&["metadata", "labels"]).key("app").to_string(),
            "metadata.labels[app]"
        );
        assert_eq!(Path::root().to_string(), "");
    }
}
