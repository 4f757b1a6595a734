//! Which objects of a list or watch a client wants.

use strait_machinery::builtin::FieldLabel;
use strait_machinery::object::Object;
use strait_machinery::selector::{FieldSelector, LabelSelector};
use strait_machinery::status::Status;
use strait_store::ObjectName;

use crate::catalog::{Definition, Resource};
use crate::query::Query;

/// A label and a field selector of one resource, checked.
#[derive(Clone, Debug)]
pub struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    known: &'static [FieldLabel],
    text: String,
}

impl Selection {
    /// Reads a query.
    ///
    /// # Errors
    /// 400 for a selector that does not parse or names a field that the kind has not.
    pub fn parse(query: &Query, resource: &Resource) -> Result<Self, Status> {
        let labels = query.get("labelSelector").unwrap_or_default();
        let fields = query.get("fieldSelector").unwrap_or_default();
        let text = format!("{labels}\n{fields}");
        let labels =
            LabelSelector::parse(labels).map_err(|error| Status::bad_request(error.to_string()))?;
        let fields =
            FieldSelector::parse(fields).map_err(|error| Status::bad_request(error.to_string()))?;
        let known: &'static [FieldLabel] = match &resource.definition {
            Definition::Builtin(kind) => &kind.fields,
            Definition::Custom(_) => &[],
        };
        let selection = Self { labels, fields, known, text };
        selection.check(resource)?;
        Ok(selection)
    }

    fn check(&self, resource: &Resource) -> Result<(), Status> {
        for term in self.fields.terms() {
            let field = &*term.field;
            let of_metadata = field == "metadata.name"
                || (field == "metadata.namespace"
                    && (resource.is_namespaced() || resource.is_builtin()));
            if of_metadata || self.known.iter().any(|label| label.label == field) {
                continue;
            }
            let message = if self.known.is_empty() && resource.is_builtin() {
                format!(
                    "\"{field}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                )
            } else {
                format!("field label not supported: {field}")
            };
            return Err(Status::bad_request(message));
        }
        Ok(())
    }

    /// Whether every object is wanted.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// The one name that is wanted, if there is one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.fields.exact("metadata.name")
    }

    /// The selectors as written, for telling lists apart.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether an object is wanted.
    #[must_use]
    pub fn matches(&self, name: &ObjectName, object: &Object) -> bool {
        if !self.labels.matches(&object.header.labels) {
            return false;
        }
        if self.fields.is_everything() {
            return true;
        }
        let mut tree = None;
        self.fields.terms().iter().all(|term| {
            let value = match &*term.field {
                "metadata.name" => name.name().to_owned(),
                "metadata.namespace" => name.namespace().unwrap_or_default().to_owned(),
                field => {
                    let tree = tree.get_or_insert_with(|| object.to_value());
                    self.field(field, tree)
                }
            };
            (value == *term.value) != term.negated
        })
    }

    fn field(&self, field: &str, tree: &strait_machinery::json::Value) -> String {
        let label = self.known.iter().find(|label| label.label == field);
        let paths = label.into_iter().flat_map(|label| &label.paths);
        let mut found = paths.filter_map(|path| {
            let value = tree.at(path)?;
            value.as_str().map_or_else(|| Some(value.to_string()), |text| Some(text.to_owned()))
        });
        found.find(|text| !text.is_empty()).unwrap_or_default()
    }
}
