//! How objects of a kind are requests of a class.

use std::sync::Arc;

use strait_api::private::MappingSpec;
use strait_machinery::field::FieldError;
use strait_machinery::json::Path;
use strait_types::GroupVersionResource;

use super::class::Class;
use super::problems::Problems;
use crate::pointer::Pointer;

/// A kind, its class, and where in its objects things stand.
#[derive(Debug)]
pub(crate) struct Mapping {
    pub(crate) resource: GroupVersionResource,
    pub(crate) class: Arc<Class>,
    pub(crate) params: Pointer,
    pub(crate) cancel: Option<Pointer>,
    pub(crate) deadline: Option<Pointer>,
    /// The block with phase and conditions, below `/status`.
    pub(crate) block: Pointer,
    /// Results with a place of their own, below `/status`, by name.
    pub(crate) results: Vec<(Box<str>, Pointer)>,
}

impl Mapping {
    pub(super) fn new(
        spec: &MappingSpec,
        class: Arc<Class>,
        problems: &mut Problems<'_>,
    ) -> Option<Self> {
        let base = Path::of(&["spec"]);
        let at = |field: &str| base.field(field);
        let params = problems.parse(&at("paramsPath"), &spec.params_path);
        let mut optional = |field: &str, text: &Option<String>| match text {
            Some(text) => problems.parse(&at(field), text).map(Some),
            None => Some(None),
        };
        let cancel = optional("cancelPath", &spec.cancel_path);
        let deadline = optional("deadlinePath", &spec.deadline_path);
        let status = Pointer::of_status();
        let block = problems.parse::<Pointer>(&at("statusPath"), &spec.status_path);
        let mut results = Vec::new();
        for (index, result) in spec.results.iter().enumerate() {
            let path = at("results").index(index);
            if !class.results.iter().any(|rule| *rule.name == result.name) {
                problems.add(&FieldError::not_found(path.field("name"), &*result.name));
            }
            let place: Option<Pointer> = problems.parse(&path.field("path"), &result.path);
            if let Some(place) = place.and_then(|place| place.below(&status)) {
                results.push((result.name.as_str().into(), place));
            }
        }
        let resource = &spec.resource;
        Some(Self {
            resource: GroupVersionResource::new(
                &resource.group,
                &resource.version,
                &resource.resource,
            ),
            class,
            params: params?,
            cancel: cancel?,
            deadline: deadline?,
            block: block?.below(&status)?,
            results,
        })
    }
}
