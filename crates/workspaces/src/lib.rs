//! Tenancy on top of the API server: workspaces, exports, bindings, virtual workspaces.
