//! An authenticated user.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Names of groups that the server itself knows.
pub mod groups {
    /// May do everything, everywhere.
    pub const MASTERS: &str = "system:masters";
    /// Administrates every workspace.
    pub const ADMIN: &str = "system:kcp:admin";
    /// Everybody who proved who they are.
    pub const AUTHENTICATED: &str = "system:authenticated";
    /// Everybody else.
    pub const UNAUTHENTICATED: &str = "system:unauthenticated";
    /// Agents with a certificate of their own.
    pub const AGENTS: &str = "system:strait:agents";
}

/// Who a request comes from. Cheap to share; one per connection or credential.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The user name.
    pub name: Arc<str>,
    /// An identifier that outlives renaming; often empty.
    pub uid: Arc<str>,
    /// Groups, the server's own included.
    pub groups: Vec<Arc<str>>,
    /// Further facts by key, each with its values.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user who proved who they are.
    #[must_use]
    pub fn authenticated(name: &str, groups: &[&str]) -> Self {
        let mut all: Vec<Arc<str>> = groups.iter().map(|&group| group.into()).collect();
        if !groups.contains(&groups::AUTHENTICATED) {
            all.push(groups::AUTHENTICATED.into());
        }
        Self { name: name.into(), groups: all, ..Self::default() }
    }

    /// A request without credentials.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            name: "system:anonymous".into(),
            groups: vec![groups::UNAUTHENTICATED.into()],
            ..Self::default()
        }
    }

    /// Controllers inside the hub.
    #[must_use]
    pub fn hub() -> Self {
        Self::authenticated("system:strait:hub", &[groups::MASTERS])
    }

    /// Whether the user is in a group.
    #[must_use]
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| &**own == group)
    }

    /// Whether the user may do everything.
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.is_in(groups::MASTERS)
    }

    /// Namespace and name, if the user is a service account.
    #[must_use]
    pub fn service_account(&self) -> Option<(&str, &str)> {
        self.name.strip_prefix("system:serviceaccount:")?.split_once(':')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authenticated_users_are_in_that_group_once() {
        let user = User::authenticated("a", &["x", groups::AUTHENTICATED]);
        assert_eq!(user.groups.len(), 2);
        assert!(User::authenticated("a", &[]).is_in(groups::AUTHENTICATED));
        assert!(!User::anonymous().is_in(groups::AUTHENTICATED));
    }

    #[test]
    fn service_accounts_are_recognised_by_name() {
        let user = User::authenticated("system:serviceaccount:ns:name", &[]);
        assert_eq!(user.service_account(), Some(("ns", "name")));
        assert_eq!(User::authenticated("a", &[]).service_account(), None);
    }
}
