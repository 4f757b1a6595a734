//! Which group and which version clients should prefer.

use std::cmp::{Ordering, Reverse};

/// Kubernetes' own groups, preferred first (the priorities of their APIServices).
const GROUPS: [&str; 21] = [
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
];

/// Orders groups: Kubernetes' own in their order, then the others by name.
#[must_use]
pub fn by_group(a: &str, b: &str) -> Ordering {
    let rank = |group: &str| {
        let known = GROUPS.iter().position(|known| *known == group);
        known.unwrap_or(GROUPS.len())
    };
    rank(a).cmp(&rank(b)).then_with(|| a.cmp(b))
}

/// Orders versions: stable before beta before alpha, the newest of each first, then whatever is
/// not of the form `v1`, `v1beta1`, `v1alpha1` by name.
#[must_use]
pub fn by_version(a: &str, b: &str) -> Ordering {
    match (parsed(a), parsed(b)) {
        (Some(a), Some(b)) => Reverse(a).cmp(&Reverse(b)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// Stability, major and minor number.
fn parsed(version: &str) -> Option<(u8, u64, u64)> {
    let text = version.strip_prefix('v')?;
    let (stability, major, minor) = match (text.split_once("beta"), text.split_once("alpha")) {
        (Some((major, minor)), _) => (1, major, Some(minor)),
        (None, Some((major, minor))) => (0, major, Some(minor)),
        (None, None) => (2, text, None),
    };
    // A sign would be part of a number, too.
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    Some((stability, number(major)?, minor.map_or(Some(0), number)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_and_new_versions_come_first() {
        let sorted = [
            "v10",
            "v2",
            "v1",
            "v11beta2",
            "v10beta3",
            "v3beta1",
            "v12alpha1",
            "v11alpha2",
            "foo1",
            "foo10",
            "v+1",
            "v1rc1",
        ];
        let mut versions = sorted;
        versions.reverse();
        versions.sort_by(|a, b| by_version(a, b));
        assert_eq!(versions, sorted);
    }

    #[test]
    fn kubernetes_own_groups_come_before_others() {
        let sorted = ["", "apps", "events.k8s.io", "coordination.k8s.io", "a.example", "b.example"];
        let mut groups = sorted;
        groups.reverse();
        groups.sort_by(|a, b| by_group(a, b));
        assert_eq!(groups, sorted);
    }
}
