//! Who is asking, and may they: users, RBAC evaluation.
